"""Workers on nodes that fail twice or lose slurmd, without work, in a full queue, of a packed environment."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import yaml

from hpcwise.launch.base import Entry, Handle, LaunchProfile
from hpcwise.launch.jobs import SlurmLauncher
from tests.head.harness import REPOSITORY, graph, node, until
from tests.slurm.sites import Make, chunked


def test_a_node_that_failed_twice_is_excluded_from_new_jobs(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make("h200")
    slurm = site.testbed
    for name, value in slurm.variables.items():
        monkeypatch.setenv(name, value)
    profile = LaunchProfile(partition="h200", gres="gpu:h200:1", account="research", timeout_min=5)
    # Its minutes pass in seconds, so that it may look as often as it likes.
    launcher = SlurmLauncher(
        site.paths.workers, {"h200": profile}, rpcs_per_minute=10_000, clock=lambda: 60 * time.monotonic()
    )
    nap = Entry("os:system", b"sleep 60")

    def seen(handle: Handle, word: str) -> bool:
        launcher.hurry()
        launcher.states([handle])
        return word in launcher.words(handle.token)

    slurm.run(["scontrol", "update", "NodeName=h200-1", "State=DRAIN", "Reason=test"])
    try:
        for token in ("first", "second"):
            assert launcher.use().avoided == ()
            handle = launcher.launch("h200", token, nap)
            until(lambda handle=handle: seen(handle, "RUNNING on h200-0"))  # type: ignore[misc]
            slurm.run(["scontrol", "update", "NodeName=h200-0", "State=DOWN", "Reason=test"])
            until(lambda handle=handle: seen(handle, "NODE_FAIL on h200-0"))  # type: ignore[misc]
            # Slurm may have taken it back by itself: slurmd answers there.
            slurm.run(["scontrol", "update", "NodeName=h200-0", "State=RESUME"], check=False)
        assert launcher.use().avoided == ("h200-0",)
        third = launcher.launch("h200", "third", nap)
        slurm.wait_state("h200-0", "idle")
        asked = slurm.run(["scontrol", "show", "job", third.job_id]).stdout
        assert "ExcNodeList=h200-0" in asked
        slurm.run(["scontrol", "update", "NodeName=h200-1", "State=RESUME"])
        until(lambda: seen(third, "RUNNING on h200-1"))
    finally:
        for name in ("h200-0", "h200-1"):
            slurm.run(["scontrol", "update", f"NodeName={name}", "State=RESUME"], check=False)
            slurm.wait_state(name, "idle", "mixed")


def test_a_worker_outlives_the_slurmd_beside_it(make: Make) -> None:
    site = make("a100")
    site.start()
    site.submit(chunked("film", 4.0, 8), "film")
    until(lambda: site.runs("film"))
    [worker] = site.status().view.workers
    site.testbed.kill(worker.nodes[0], daemon_only=True)
    try:
        assert site.ended("film").row.state == "done", site.log()
        assert [w.worker_id for w in site.status().view.workers] == [worker.worker_id]
    finally:
        site.testbed.restart(worker.nodes[0])
        site.testbed.wait_state(worker.nodes[0], "idle", "mixed", "allocated")


def test_what_is_not_needed_is_given_back_be_it_running_or_pending(make: Make) -> None:
    site = make("a100", "h200", idle_s=3.0)
    full = site.testbed.run(
        ["sbatch", "--parsable", "-A", "research", "-p", "h200", "-N", "2", "--gres=gpu:h200:4", "-t", "5",
         "-o", "/dev/null", "--wrap", "sleep 300"]
    ).stdout.strip()  # fmt: skip
    try:
        site.testbed.wait_job(full, "RUNNING")
        site.start()
        site.submit(graph(*(node(f"n{i}", seconds=2.0, steps=20) for i in range(2))), "two")
        until(lambda: sorted(site.jobs().values()) == ["PENDING", "RUNNING"])
        assert site.ended("two").row.state == "done", site.log()
        until(lambda: not site.jobs(), 40)
    finally:
        site.testbed.run(["scancel", full])
    log = site.log()
    assert re.search(r"launch e1-h200-\d taken back: no longer wanted", log), log
    assert not site.status().view.workers


def test_a_worker_starts_from_a_packed_environment(make: Make, tmp_path: Path) -> None:
    """An environment of its own, which borrows its packages, packed and unpacked on the node."""
    made = tmp_path / "made"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    [packages] = made.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    site = make("a100")
    done = subprocess.run(
        [str(made / "bin" / "python"), "-m", "hpcwise", "env", "pack", "--output", str(site.root)],
        env={**site.environment(), "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = done.stdout.rstrip().splitlines()[-1]
    content = yaml.safe_load(site.cluster_file.read_text())
    site.cluster_file.write_text(yaml.safe_dump({**content, **yaml.safe_load(line)}))
    site.start()
    site.submit(chunked("film", 1.5, 3), "film")
    until(lambda: site.runs("film"), 60)
    [worker] = site.status().view.workers
    pids = site.worker_pids()[worker.worker_id]
    started = {Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode() for pid in pids}
    assert any("-hpcwise-env-" in path for path in started), started
    assert site.ended("film").row.state == "done", site.log()
