"""A worker in a real Slurm job replaces its broken process and keeps job, step and walltime.

And a node that a worker found unwell gets no more of them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.core import messages as m
from hpcwise.launch.base import LaunchProfile
from hpcwise.testbed.cluster import Testbed
from tests.head.harness import REPOSITORY
from tests.worker.scripted import ScriptedHead, config_of, task
from tests.worker.test_broken_contexts import REASON, K

pytestmark = pytest.mark.timeout(300)
SLOW_S = 100.0

#: As a head asks for it; one of the two nodes has been found unwell.
LAUNCH = """
import sys
from pathlib import Path
import msgspec
from hpcwise.launch.base import Entry, LaunchProfile
from hpcwise.launch.jobs import SlurmLauncher
profile = msgspec.json.decode(sys.argv[2], type=LaunchProfile)
launcher = SlurmLauncher(Path(sys.argv[1]) / "workers", {"gpu": profile})
launcher.avoid(["a100-0"])
print(launcher.launch("gpu", "w1", Entry("tests.worker.poisoned:work", sys.argv[3].encode())).job_id)
"""


def test_a_broken_worker_goes_on_in_its_job_and_leaves_it_when_that_does_not_help(
    testbed: Testbed, shared: Path
) -> None:
    head = ScriptedHead(shared, interface="*")
    profile = LaunchProfile(
        partition="a100", gres="gpu:a100:1", account="research", timeout_min=10,
        setup=(f"export PYTHONPATH={REPOSITORY}",),
    )  # fmt: skip
    config = config_of(shared, kind="gpu", hardware="a100", heartbeat_s=5.0, restarts=1).decode()
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, str(shared), msgspec.json.encode(profile).decode(), config],
        env={**testbed.env, "PYTHONPATH": "."}, cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    job = done.stdout.strip()
    assert job.isdigit(), done.stderr
    try:
        poison: dict[str, Any] = {"poison": {"file": str(shared / "count"), "times": 1}}
        [first] = head.until(lambda: head.hellos, SLOW_S)
        assert first.worker.ranks[0].node == "a100-1"
        head.run("w1", task("t", K[0], **poison))
        assert head.event(m.TaskFailed) == m.TaskFailed("t", 1, REASON, transient=True)
        head.until(lambda: len(head.hellos) == 2, SLOW_S)
        second = head.hellos[1]
        assert (second.worker.worker_id, second.running) == ("w1", ()) and second.nonce != first.nonce
        left_s = [hello.worker.lifetime_s or 0.0 for hello in head.hellos]
        assert 500.0 < left_s[1] < left_s[0] <= 600.0, "Slurm's end of the job, not a new walltime"
        assert testbed.run(["squeue", "-h", "-j", job, "-o", "%T"]).stdout.split() == ["RUNNING"]
        head.run("w1", task("t", K[0], attempt=2, **poison))
        assert head.event(m.TaskFinished).attempt == 2

        head.run("w1", task("bad", K[1], poison={"file": str(shared / "always"), "times": 99}))
        assert head.until(lambda: head.goodbyes) == [f"unhealthy: {REASON} (2 times within an hour)"]
        assert head.unwell == [("a100-1",)]
        testbed.wait_job(job, "COMPLETED")
    finally:
        testbed.run(["scancel", job], check=False)
        head.close()
