"""What a testbed is for: GPUs, accounting, preemption, and faults that Slurm notices.

What Slurm needs half a minute for (a grace time ends, a silent node is given up) is begun first and looked
at last.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpcwise.testbed import hosts, network
from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import CONTROLLER, Shape, TestbedError
from tests.testbed.making import end_those_left, made_or_said

#: What the partition promises a preempted job. Slurm looks every 30 s whether such a time is over.
_GRACE_S, _LOOKS_S = 5, 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[Testbed]:
    """Three A100 nodes and two H200 nodes; faults are noticed as early as Slurm can."""
    end_those_left()
    shape = Shape(a100=3, h200=2, users=("nobody",), grace_s=_GRACE_S, slurmd_timeout_s=6)
    with made_or_said(shape, "t") as made:  # the one of the tests beside it may still be up
        yield made


@dataclass(frozen=True)
class Troubles:
    """Jobs that meet them. noted: what the preempted one wrote."""

    preempted: str
    preempting: str
    on_cut_node: str
    on_crashing_node: str
    under_a_new_controller: str
    noted: Path


@pytest.fixture(scope="module", autouse=True)
def troubles(cluster: Testbed) -> Troubles:
    """A job on h200-1 is preempted, and the cable of a100-2 is pulled while a job runs there."""
    noted = cluster.shared / "noted"
    script = cluster.shared / "job.sh"
    script.write_text(
        "#!/bin/bash\n"
        f'srun bash -c \'trap "date +term\\ %s.%N >> {noted}" TERM; echo up >> {noted};'
        f" while :; do sleep 0.1; date +%s.%N > {noted}.next; mv {noted}.next {noted}.last; done'\n"
    )
    spot = ["-p", "spot", "-w", "h200-1", "--gpus=4", "--requeue", str(script)]
    preempted = _submit(cluster, *spot)
    on_cut_node = _submit(cluster, "-w", "a100-2", "--exclusive", "--requeue", "--wrap", "sleep 600")
    on_crashing_node = _submit(cluster, "-w", "a100-1", "--no-requeue", "--wrap", "sleep 600")
    under_a_new_controller = _submit(cluster, "-w", "a100-0", "--wrap", "sleep 600")
    _until(noted.exists)
    preempting = _submit(cluster, "-p", "h200", "-w", "h200-1", "--gpus=4", "--wrap", "sleep 1")
    cluster.wait_job(on_cut_node, "RUNNING")
    cluster.cut("a100-2")
    return Troubles(preempted, preempting, on_cut_node, on_crashing_node, under_a_new_controller, noted)


def test_a_job_sees_its_gpus_on_a_node_of_its_own_name(cluster: Testbed) -> None:
    said = 'echo "$(hostname) $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"'
    done = cluster.run(["srun", "-p", "h200", "-C", "ib", "--gres=gpu:h200:2", "sh", "-c", said])
    assert done.stdout == "h200-0 h200-0 0,1\n"


def test_every_node_has_a_tmp_of_its_own_and_all_share_one_folder(cluster: Testbed) -> None:
    script = f"touch /tmp/$(hostname) {cluster.shared}/$(hostname).seen; ls /tmp | grep a100"
    two = ["-w", "a100-0,a100-1", "-N2", "--ntasks-per-node=1"]
    done = cluster.run(["srun", *two, "sh", "-c", script])
    assert sorted(done.stdout.split()) == ["a100-0", "a100-1"]
    assert sorted(path.name for path in cluster.shared.glob("*.seen")) == ["a100-0.seen", "a100-1.seen"]
    assert not Path("/tmp/a100-0").exists()


def test_a_node_reaches_this_machine_and_other_nodes_by_name(cluster: Testbed) -> None:
    script = "getent hosts login a100-1 | awk '{print $1}'"
    done = cluster.run(["srun", "-w", "a100-0", "sh", "-c", script])
    assert done.stdout.split() == [
        cluster.address,
        cluster.record.address(cluster.record.shape.node("a100-1")),
    ]


def test_sacct_knows_what_a_job_of_another_user_took(cluster: Testbed) -> None:
    job = _submit(cluster, "-p", "h200", "--gpus=1", "-A", "teaching", "--wrap", "true", user="nobody")
    line = _sacct(cluster, job, "User,Account,QOS,State,AllocTRES", "nobody|teaching|normal|COMPLETED|")
    took = dict(part.split("=") for part in line.split("|")[-1].split(","))
    assert (took["gres/gpu:h200"], took["billing"]) == ("1", "36")


def test_an_account_without_access_and_a_time_over_the_limit_are_refused(cluster: Testbed) -> None:
    with pytest.raises(TestbedError, match="Invalid account"):
        _submit(cluster, "-A", "closed", "--wrap", "true")
    with pytest.raises(TestbedError, match="Job violates accounting/QOS policy"):
        _submit(cluster, "--qos=short", "-t", "60", "--wrap", "true", user="nobody")
    with pytest.raises(TestbedError, match="Requested time limit is invalid"):
        _submit(cluster, "-p", "h200", "-t", "3-0", "--wrap", "true", user="nobody")


def test_a_slow_cable_delays_a_node_both_ways_until_it_is_healed(cluster: Testbed) -> None:
    cluster.slow("a100-0", 150)
    assert cluster.status().nodes[0].slow_ms == 150
    assert _round_trip_s(cluster, "a100-0") >= 0.3
    # A megabyte in large segments passes whole.
    done = cluster.run(["srun", "-w", "a100-0", "head", "-c", "1000000", "/dev/zero"])
    assert len(done.stdout) == 1_000_000
    cluster.heal("a100-0")
    assert cluster.status().nodes[0].slow_ms == 0
    assert _round_trip_s(cluster, "a100-0") < 0.3


def test_accounting_that_was_killed_keeps_what_it_knew(cluster: Testbed) -> None:
    job = _submit(cluster, "-w", "a100-1", "--wrap", "true")
    assert _sacct(cluster, job, "State", "COMPLETED") == "COMPLETED"
    cluster.kill("slurmdbd")
    cluster.kill("mariadbd")
    assert cluster.status().services == {
        "munged": True, "mariadbd": False, "slurmdbd": False, "slurmctld": True
    }  # fmt: skip
    cluster.restart("mariadbd")
    cluster.restart("slurmdbd")
    assert _sacct(cluster, job, "State", "COMPLETED") == "COMPLETED"


def test_a_job_outlives_its_slurmd(cluster: Testbed) -> None:
    job = _submit(cluster, "-p", "h200", "-w", "h200-0", "--wrap", "sleep 600")
    cluster.wait_job(job, "RUNNING")
    cluster.kill("h200-0", daemon_only=True)
    assert [node.slurmd for node in cluster.status().nodes] == [True, True, True, False, True]
    cluster.restart("h200-0")
    assert cluster.run(["srun", "-p", "h200", "-w", "h200-0", "hostname"]).stdout == "h200-0\n"
    assert cluster.job_state(job) == "RUNNING"


def test_a_cut_node_goes_down_its_job_is_requeued_and_healing_brings_it_back(
    cluster: Testbed, troubles: Troubles
) -> None:
    cluster.wait_state("a100-2", "down", "down*")
    assert cluster.wait_job(troubles.on_cut_node, "PENDING") == "PENDING"
    # Both sides live: what was started there goes on.
    assert "sleep" in network.programs(cluster.record, "a100-2")
    assert cluster.status().nodes[2].cut
    cluster.run(["scancel", troubles.on_cut_node])
    cluster.heal("a100-2")
    assert cluster.wait_state("a100-2", "idle") == "idle"


def test_a_program_has_its_name_also_in_the_midst_of_exec(cluster: Testbed) -> None:
    # While the kernel exchanges one program for the next, a process has no command line.
    again = cluster.shared / "again.sh"
    again.write_text(f"exec /bin/sh {again}\n")
    hosts.start(
        cluster.record, CONTROLLER, ["/bin/sh", str(again)], cluster.record.folder / "log" / "again.log"
    )
    while not (pids := network.daemons(cluster.record, CONTROLLER, "sh")):
        pass  # it still is the `setsid` that starts it
    named = {name for _ in range(2000) for name in network.names(pids)}
    network.kill(cluster.record, CONTROLLER, "sh")
    assert named == {"sh"}


def test_a_preempted_job_gets_sigterm_its_grace_time_and_its_place_in_the_queue(
    cluster: Testbed, troubles: Troubles
) -> None:
    cluster.wait_job(troubles.preempting, "RUNNING", "COMPLETED")
    assert cluster.wait_job(troubles.preempted, "PENDING") == "PENDING"
    assert "Restarts=1 " in cluster.run(["scontrol", "show", "job", troubles.preempted]).stdout
    words = troubles.noted.read_text().split()
    assert words[:2] == ["up", "term"]
    lived_s = float(Path(f"{troubles.noted}.last").read_text()) - float(words[2])
    assert _GRACE_S - 1 <= lived_s <= _GRACE_S + _LOOKS_S + 10
    cluster.run(["scancel", troubles.preempted])


def test_a_job_does_not_outlive_its_node(cluster: Testbed, troubles: Troubles) -> None:
    assert cluster.job_state(troubles.on_crashing_node) == "RUNNING"
    cluster.kill("a100-1")
    assert network.processes(cluster.record, "a100-1") == []
    cluster.restart("a100-1")
    assert cluster.wait_job(troubles.on_crashing_node, "NODE_FAIL", "FAILED") == "NODE_FAIL"
    assert cluster.wait_state("a100-1", "idle") == "idle"


def test_a_controller_that_hangs_takes_a_job_whose_sbatch_has_given_up(cluster: Testbed) -> None:
    cluster.pause("slurmctld")
    with pytest.raises(TestbedError, match="Socket timed out"):
        _submit(cluster, "-J", "late", "--wrap", "true")
    cluster.resume("slurmctld")
    _until(
        lambda: cluster.run(["squeue", "-h", "-t", "all", "-n", "late", "-o", "%T"]).stdout == "COMPLETED\n"
    )


def test_a_killed_controller_comes_back_with_its_jobs(cluster: Testbed, troubles: Troubles) -> None:
    job = troubles.under_a_new_controller
    assert cluster.job_state(job) == "RUNNING"
    cluster.kill("slurmctld")
    status = cluster.status()
    assert not status.services["slurmctld"]
    assert [node.state for node in status.nodes] == [""] * 5
    cluster.restart("slurmctld")
    assert cluster.job_state(job) == "RUNNING"
    cluster.run(["scancel", job])
    assert cluster.wait_state("a100-0", "idle") == "idle"


def _submit(cluster: Testbed, *words: str, user: str | None = None) -> str:
    done = cluster.run(["sbatch", "--parsable", "-o", "/dev/null", *words], user=user)
    return done.stdout.strip()


def _round_trip_s(cluster: Testbed, node: str) -> float:
    """How long a connection to a node's slurmd takes: one way and back."""
    address = cluster.record.address(cluster.record.shape.node(node))
    begun_s = time.monotonic()
    with socket.create_connection((address, 6818), timeout=20):
        return time.monotonic() - begun_s


def _sacct(cluster: Testbed, job: str, fields: str, begins: str) -> str:
    """A job's line of accounting, once it begins so: slurmctld sends it some seconds after the job."""
    found = ""

    def there() -> bool:
        nonlocal found
        command = ["sacct", "-X", "-n", "-P", "-j", job, "-o", fields]
        found = cluster.run(command, check=False).stdout.strip()
        return found.startswith(begins)

    _until(there)
    return found


def _until(true: Callable[[], object], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.02)
