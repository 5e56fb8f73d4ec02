"""What a testbed is for: GPUs, accounting, preemption, faults, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.testbed import network, record
from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape, TestbedError
from tests.testbed.making import end_those_left, made_or_said, name, need

_CLONE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Testbed]:
    """Two A100 nodes and an H200 node; faults are noticed as early as Slurm can."""
    end_those_left()
    with made_or_said(Shape(a100=2, h200=1, users=("nobody",), grace_s=5, slurmd_timeout_s=6)) as made:
        yield made


def test_a_job_sees_its_gpus_on_a_node_of_its_own_name(cluster: Testbed) -> None:
    said = 'echo "$(hostname) $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"'
    done = cluster.run(["srun", "-p", "h200", "-C", "ib", "--gres=gpu:h200:2", "sh", "-c", said])
    assert done.stdout == "h200-0 h200-0 0,1\n"


def test_every_node_has_a_tmp_of_its_own_and_all_share_one_folder(cluster: Testbed) -> None:
    script = f"touch /tmp/$(hostname) {cluster.shared}/$(hostname).seen; ls /tmp | grep a100"
    done = cluster.run(["srun", "-p", "a100", "-N2", "--ntasks-per-node=1", "sh", "-c", script])
    assert sorted(done.stdout.split()) == ["a100-0", "a100-1"]
    assert sorted(path.name for path in cluster.shared.glob("*.seen")) == ["a100-0.seen", "a100-1.seen"]
    assert not Path("/tmp/a100-0").exists()


def test_a_node_reaches_this_machine_and_other_nodes_by_name(cluster: Testbed) -> None:
    script = "getent hosts login a100-1 | awk '{print $1}'"
    done = cluster.run(["srun", "-w", "a100-0", "sh", "-c", script])
    assert done.stdout.split() == [cluster.address, cluster.address.rpartition(".")[0] + ".11"]


def test_sacct_knows_what_a_job_of_another_user_took(cluster: Testbed) -> None:
    done = cluster.run(
        ["sbatch", "--wait", "--parsable", "-p", "h200", "--gpus=1", "-A", "teaching", "-o", "/dev/null"]
        + ["--wrap", "true"],
        user="nobody",
    )
    line = _sacct(cluster, done.stdout.strip(), "User,Account,QOS,State,AllocTRES")
    assert line.startswith("nobody|teaching|normal|COMPLETED|billing=")
    assert "gres/gpu:h200=1" in line


def test_an_account_without_access_and_a_qos_over_its_limit_are_refused(cluster: Testbed) -> None:
    job = ["sbatch", "-o", "/dev/null", "--wrap", "true"]
    with pytest.raises(TestbedError, match="Invalid account"):
        cluster.run([*job, "-A", "closed"])
    with pytest.raises(TestbedError, match=r"[Jj]ob violates accounting/QOS policy|Requested time limit"):
        cluster.run([*job, "--qos=short", "-t", "60"], user="nobody")


def test_a_preempted_job_gets_sigterm_its_grace_time_and_its_place_in_the_queue(cluster: Testbed) -> None:
    note = cluster.shared / "preempted"
    script = cluster.shared / "job.sh"
    script.write_text(
        "#!/bin/bash\n"
        f'srun bash -c \'trap "date +term\\ %s.%N >> {note}" TERM; echo up >> {note};'
        f" while :; do sleep 0.1; date +%s.%N > {note}.last; done'\n"
    )
    spot = ["sbatch", "--parsable", "-p", "spot", "-w", "h200-0", "--gpus=4", "--requeue", "-o", "/dev/null"]
    job = cluster.run([*spot, str(script)]).stdout.strip()
    _until(note.exists)
    dear = ["sbatch", "--parsable", "-p", "h200", "--gpus=4", "-o", "/dev/null", "--wrap", "sleep 1"]
    other = cluster.run(dear).stdout.strip()
    assert cluster.wait_job(other, "RUNNING", "COMPLETED")
    assert cluster.wait_job(job, "PENDING") == "PENDING"
    lines = note.read_text().split()
    assert lines[:2] == ["up", "term"]
    # It lived on for the grace time that the partition gives, and no longer.
    lived_s = float(Path(f"{note}.last").read_text() or "nan") - float(lines[2])
    assert 3.0 < lived_s < 15.0
    shown = cluster.run(["scontrol", "show", "job", job]).stdout
    assert "Restarts=1" in shown
    cluster.run(["scancel", job])


def test_a_cut_node_goes_down_its_job_is_requeued_and_healing_brings_it_back(cluster: Testbed) -> None:
    job = cluster.run(
        ["sbatch", "--parsable", "-w", "a100-1", "--requeue", "-o", "/dev/null", "--wrap", "sleep 600"]
    ).stdout.strip()
    cluster.wait_job(job, "RUNNING")
    begun = len(network.processes(cluster.record, "a100-1"))
    cluster.cut("a100-1")
    cluster.wait_state("a100-1", "down", "down*")
    assert cluster.wait_job(job, "PENDING") == "PENDING"
    # Both sides live: what was started there goes on.
    assert len(network.processes(cluster.record, "a100-1")) == begun
    cluster.run(["scancel", job])
    cluster.heal("a100-1")
    assert cluster.wait_state("a100-1", "idle") == "idle"


def test_a_crashed_node_and_a_killed_controller_come_back(cluster: Testbed) -> None:
    cluster.kill("a100-0")
    assert network.processes(cluster.record, "a100-0") == []
    cluster.kill("slurmctld")
    status = cluster.status()
    assert not status.services["slurmctld"]
    assert [node.slurmd for node in status.nodes] == [False, True, True]
    assert cluster.states() == {}
    cluster.restart("slurmctld")
    cluster.restart("a100-0")
    assert cluster.wait_state("a100-0", "idle") == "idle"
    assert cluster.run(["srun", "-w", "a100-0", "hostname"]).stdout == "a100-0\n"


def test_accounting_that_was_killed_keeps_what_it_knew(cluster: Testbed) -> None:
    job = cluster.run(["sbatch", "--wait", "--parsable", "-o", "/dev/null", "--wrap", "true"]).stdout.strip()
    cluster.kill("slurmdbd")
    assert cluster.run(["sacct", "-j", job], check=False).returncode != 0
    cluster.kill("mariadbd")
    cluster.restart("mariadbd")
    cluster.restart("slurmdbd")
    assert _sacct(cluster, job, "State") == "COMPLETED"


def test_a_slow_cable_delays_a_node_both_ways_until_it_is_healed(cluster: Testbed) -> None:
    quick_s = _round_trip_s(cluster, "a100-0")
    cluster.slow("a100-0", 150)
    assert cluster.status().nodes[0].slow_ms == 150
    slow_s = _round_trip_s(cluster, "a100-0")
    assert slow_s >= 0.3
    # A megabyte in large segments passes whole.
    done = cluster.run(["srun", "-w", "a100-0", "head", "-c", "1000000", "/dev/zero"])
    assert len(done.stdout) == 1_000_000
    cluster.heal("a100-0")
    assert cluster.status().nodes[0].slow_ms == 0
    assert quick_s < 0.3 and _round_trip_s(cluster, "a100-0") < 0.3


def test_two_testbeds_know_nothing_of_each_other(cluster: Testbed) -> None:
    with made_or_said(Shape(a100=1, h200=0, gpus=1), "b") as other:
        assert other.states() == {"a100-0": "idle"}
        assert len(cluster.states()) == 3
        assert other.record.subnet != cluster.record.subnet
        assert {known.name for known in record.known()} >= {cluster.name, other.name}
        with pytest.raises(UsageError, match=f"testbed '{cluster.name}' exists"):
            Testbed.up(Shape(), cluster.name)
        mine = _traces(other.record)
        assert mine
    assert _traces(other.record) == []
    assert len(cluster.states()) == 3


def test_an_up_that_was_killed_half_way_leaves_nothing_after_down() -> None:
    need(Shape())
    called = name("k")
    command = [
        sys.executable,
        "-m",
        "hpcwise",
        "testbed",
        "up",
        "--name",
        called,
        "--a100",
        "1",
        "--h200",
        "0",
    ]
    # Three moments: files and database, the controller, the nodes.
    for moment in ("nodes on", "accounting", "slurmctld"):
        with subprocess.Popen(command, cwd=_CLONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if moment in line.decode():
                    break
            process.send_signal(signal.SIGKILL)
        left = record.find(called)
        assert left is not None and not left.ready and not record.being_made(left)
        assert _traces(left) != []
        if moment == "slurmctld":
            # The next `up` of that name cleans up by itself.
            Testbed.up(Shape(a100=1, h200=0), called).down()
        else:
            done = subprocess.run([*command[:4], "down", "--name", called], cwd=_CLONE, check=False)
            assert done.returncode == 0
        assert _traces(left) == []
        assert record.find(called) is None


def test_down_works_after_every_daemon_was_killed() -> None:
    made = made_or_said(Shape(a100=1, h200=0), "d")
    made.slow("a100-0", 5)
    network.kill(made.record)
    assert _traces(made.record) != []
    made.down()
    assert _traces(made.record) == []


def _round_trip_s(cluster: Testbed, node: str) -> float:
    """How long a connection to a node's slurmd takes: one way and back."""
    import socket

    begun_s = time.monotonic()
    with socket.create_connection(
        (cluster.record.address(cluster.record.shape.node(node)), 6818), timeout=20
    ):
        return time.monotonic() - begun_s


def _sacct(cluster: Testbed, job: str, fields: str) -> str:
    """A job's line of accounting; slurmctld sends it a moment after the job has ended."""
    found = ""

    def ended() -> bool:
        nonlocal found
        found = cluster.run(["sacct", "-X", "-n", "-P", "-j", job, "-o", fields], check=False).stdout.strip()
        return "COMPLETED" in found

    _until(ended)
    return found


def _traces(known: record.Record) -> list[str]:
    """Whatever exists of a testbed: processes, namespaces, interfaces, mounts, files."""
    found = [f"process {pid}" for pid in network.processes(known)]
    found += [str(path) for path in Path("/run/netns").glob(f"{known.namespace('')}*")]
    found += [path.name for path in Path("/sys/class/net").glob(f"hw{known.index}[vrs]*")]
    found += [path.name for path in Path("/sys/class/net").glob(known.bridge)]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if known.dir in line]
    found += [str(known.folder)] if known.folder.exists() else []
    mark = known.dir.encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if int(path.parent.name) != os.getpid():
            try:
                found += [str(path)] if mark in path.read_bytes() else []
            except OSError:
                continue
    return found


def _until(true: Callable[[], object], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.02)
