"""Workers as jobs of a real Slurm: submitted in arrays, found again, moved when their jobs end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import zmq

from hpcwise.launch.jobs import SlurmLauncher
from hpcwise.launch.processes import by_folder
from hpcwise.testbed.network import signal_all
from tests.head.harness import REPOSITORY, graph, node, until
from tests.slurm.sites import Make, chunked

#: What another user of the login node tries: the run directory, Slurm's own books, and all processes.
SPY = """
for path in "" /run /run/keys /run/workers; do ls "$0$path" > /dev/null 2>&1 && echo "LISTED $path"; done
for path in /run/keys/client.key /run/head.json; do cat "$0$path" 2> /dev/null && echo "READ $path"; done
echo done
{ scontrol show job -dd; squeue -o %all; ps -eww -o args; } >&2
"""


def stranger_hears(address: str) -> bool:
    """Whether the head's port answers a peer without keys, or with keys of its own."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        for curve in (False, True):
            peer = context.socket(zmq.DEALER)
            peer.linger = 0
            if curve:
                peer.curve_publickey, peer.curve_secretkey = zmq.curve_keypair()
                peer.curve_serverkey = zmq.curve_keypair()[0]
            peer.connect(address)
            peer.send(b"hello")
            answered = peer.poll(500)
            peer.close()
            if answered:
                return True
        return False
    finally:
        context.destroy(linger=0)


def test_two_requests_run_as_one_array_of_gpu_jobs_that_tell_others_nothing(make: Make) -> None:
    site = make("a100", workers=3)
    site.start()
    for name in ("one", "two"):
        site.drop(graph(*(node(f"{name}{i}", seconds=1.0, steps=10, nbytes=1000) for i in range(4))), name)
    until(lambda: len(site.jobs("RUNNING")) == 3)
    jobs = site.jobs()
    assert {job.partition("_")[2] for job in jobs} == {"0", "1", "2"}, "equal workers are one array"
    until(lambda: len(site.status().view.workers) == 3)
    workers = site.status().view.workers
    assert all(w.hardware == "a100" and w.nodes[0].startswith("a100-") for w in workers)
    # The walltime follows the work that is left, not the partition's limit.
    assert all(w.ends_in_s is not None and 500 < w.ends_in_s <= 600 for w in workers)

    secrets = re.findall(r"[^\s\"]{40}", site.paths.client_key.read_text())
    assert secrets
    spied = site.testbed.run(["sh", "-c", SPY, str(site.root)], user="nobody", cwd=Path("/"))
    assert spied.stdout == "done\n"
    assert site.run_name in spied.stderr, "jobs can be seen by others, as everywhere"
    assert not stranger_hears(site.address().addresses[0])
    assert not any(secret in spied.stderr for secret in secrets)
    folders = [site.paths.root, *site.paths.workers.iterdir(), *site.paths.workers.glob("*/submitit")]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}

    assert [site.ended(name).row.state for name in ("one", "two")] == ["done", "done"]
    use = site.status().slurm
    assert use is not None and use.calls["sbatch"] == 1 and use.last_minute <= 6, use


def test_a_preempted_worker_leaves_in_time_and_its_task_goes_on_elsewhere(make: Make) -> None:
    site = make("spot")
    site.start()
    site.submit(chunked("film", 5.0, 10), "film")
    until(lambda: site.runs("film"))
    [worker] = site.status().view.workers
    where, job = worker.nodes[0], site.job_of(worker.worker_id)
    urgent = site.testbed.run(
        ["sbatch", "--parsable", "-A", "research", "-p", "a100", "-w", where, "--gres=gpu:a100:4", "-t", "5",
         "-o", "/dev/null", "--wrap", "sleep 300"]
    ).stdout.strip()  # fmt: skip
    try:
        until(
            lambda: "SIGTERM: preempted or cancelled" in site.paths.worker_log(worker.worker_id).read_text()
        )
        view = site.ended("film")
        assert view.row.state == "done", view
        last = site.status().view.workers
        assert [w.worker_id for w in last] != [worker.worker_id]
        assert site.testbed.wait_job(job, "PREEMPTED", "COMPLETED") in ("PREEMPTED", "COMPLETED")
        # Not requeued: the new submission has taken its place.
        assert len(site.jobs("PENDING,RUNNING")) == 1
    finally:
        site.testbed.run(["scancel", urgent])
        site.testbed.wait_job(urgent, "CANCELLED")


def test_jobs_that_a_person_cancels_or_that_crash_are_named_and_replaced(make: Make) -> None:
    site = make("h200")
    site.start()
    site.submit(chunked("film", 8.0, 16), "film")
    until(lambda: site.runs("film"))
    [first] = site.status().view.workers
    site.testbed.run(["scancel", site.job_of(first.worker_id)])
    until(lambda: f"{first.worker_id} has left, job {site.job_of(first.worker_id)} CANCELLED" in site.log())

    [second] = until(lambda: [w for w in site.status().view.workers if w.running])
    assert second.worker_id != first.worker_id
    folder = site.paths.workers / second.worker_id / "submitit"
    # Slurm ends what is left of a job whose script has ended, maybe before we come to it.
    signal_all(by_folder([folder])[folder])
    gone = f"worker {second.worker_id} is gone: job {site.job_of(second.worker_id)} FAILED on h200-"
    until(lambda: gone in site.log())

    view = site.ended("film")
    assert view.row.state == "done", view


def test_an_sbatch_that_answers_too_late_is_found_and_not_repeated(make: Make, tmp_path: Path) -> None:
    site = make("a100")
    slow = tmp_path / "sbatch"
    slow.write_text('#!/bin/sh\n/usr/bin/sbatch "$@"\ncode=$?\nsleep 1000\nexit $code\n')
    slow.chmod(0o755)
    path = site.environment()["PATH"]
    launch = f"""
import sys, time
from pathlib import Path
from hpcwise.launch.base import Entry, LaunchProfile
from hpcwise.launch.jobs import SlurmLauncher
from hpcwise.launch.processes import by_folder
profile = LaunchProfile(partition="a100", gres="gpu:a100:1", account="research", timeout_min=5)
launcher = SlurmLauncher(Path({str(site.paths.workers)!r}), {{"a100": profile}}, timeout_s=1.0)
print(launcher.launch("a100", "late", Entry("time:sleep", b"")))
handle = launcher.find("late")
import hpcwise.launch.jobs as jobs
states = {{}}
while states.get("late") not in ("running", "gone"):
    states = launcher.states([handle]) or states
    time.sleep(0.1)
print(launcher.find("late"))
print(launcher.words("late"))
"""
    site.paths.create()
    done = subprocess.run(
        [sys.executable, "-c", launch], env={**site.environment(), "PATH": f"{tmp_path}:{path}"},
        capture_output=True, text=True, timeout=60, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, found, words = done.stdout.splitlines()
    assert "job_id=''" in first
    job = re.search(r"job_id='(\d+)'", found)
    assert job is not None and words.startswith(f"job {job[1]} ")
    assert len(site.jobs("all")) == 1
    assert SlurmLauncher(site.paths.workers, {}).find("late") is not None


def test_a_slurm_that_is_down_delays_launches_and_fails_nothing(make: Make) -> None:
    site = make("h200")
    site.start()
    site.testbed.kill("slurmctld")
    site.testbed.kill("slurmdbd")
    try:
        site.submit(chunked("film", 0.5, 1), "film")
        until(lambda: "launches wait: sbatch: " in site.log(), 40)
        use = site.status().slurm
        assert use is not None and "asked again in" in use.trouble
    finally:
        site.testbed.restart("slurmdbd")
        site.testbed.restart("slurmctld")
    assert site.ended("film").row.state == "done", site.log()
    assert len(site.jobs("all")) == 1
