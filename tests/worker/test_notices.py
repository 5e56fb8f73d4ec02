"""What SIGUSR2 means: the end of the walltime, which comes early, or somebody else's turn."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

from hpcwise.core import messages as m
from tests.worker.conftest import Start
from tests.worker.scripted import WITHIN_S, ScriptedHead, task

K = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(3)]


def test_a_worker_that_knows_its_end_works_on_when_slurm_announces_it_early(
    head: ScriptedHead, start: Start
) -> None:
    worker = start("w1", lifetime_s=100.0, drain_margin_s=60.0)
    head.until(lambda: head.hellos)
    os.kill(worker.pid, signal.SIGUSR2)
    head.run("w1", task("after", K[0]))
    head.event(m.TaskFinished, "after")
    assert not [e for e in head.events if isinstance(e, m.WorkerDraining)]
    os.kill(worker.pid, signal.SIGTERM)
    head.until(lambda: head.goodbyes)
    assert worker.wait(WITHIN_S) == 0


@pytest.mark.parametrize(
    ("spot", "lifetime_s", "remaining_s", "reason"),
    [
        # Slurm's end is nearer than what the worker was told.
        (False, 1000.0, 60.0, "its allocation ends"),
        # Others come first there: it may be their turn, with the grace of the partition.
        (True, 1000.0, 7.0, "SIGUSR2: preempted or cancelled"),
    ],
)
def test_sigusr2_long_before_the_known_end_is_news(
    head: ScriptedHead, start: Start, spot: bool, lifetime_s: float, remaining_s: float, reason: str
) -> None:
    worker = start("w1", spot=spot, lifetime_s=lifetime_s, drain_margin_s=60.0, grace_s=7.0)
    head.until(lambda: head.hellos)
    os.kill(worker.pid, signal.SIGUSR2)
    draining = head.event(m.WorkerDraining)
    assert (draining.remaining_s, draining.reason) == (remaining_s, reason)
    head.until(lambda: head.goodbyes)
    assert worker.wait(WITHIN_S) == 0
