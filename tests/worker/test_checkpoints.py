"""Loops whose steps survive the worker."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

from hpcwise.core import messages as m
from hpcwise.core.checkpointing import MOST_OVERHEAD, interval_s
from hpcwise.models.base import LoopState
from hpcwise.store.checkpoints import CheckpointStore
from hpcwise.store.paths import RunPaths
from hpcwise.worker.saving import Saver
from tests.worker.conftest import Start
from tests.worker.scripted import ScriptedHead, task

KEY = hashlib.sha256(b"loop").hexdigest()
OFTEN = 1e9  # losses an hour: a checkpoint at every step


def test_checkpoints_come_more_often_where_workers_are_lost_more_often_and_never_cost_much() -> None:
    assert interval_s(0.1, 0.02) == pytest.approx(math.sqrt(2 * 0.1 * 180_000))
    assert interval_s(0.1, 2.0) < interval_s(0.1, 0.02)
    assert interval_s(0.1, 1e9) == pytest.approx(0.1 / MOST_OVERHEAD)
    assert interval_s(0.1, 0.0) == math.inf


def test_what_a_checkpoint_takes_is_told_once_with_its_size(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "run")
    paths.create()
    told: list[tuple[m.FileTaken, ...]] = []
    saver = Saver(CheckpointStore(paths), KEY, 0.0, lambda: False, lambda _: told.append(saver.files()))
    state = LoopState({"latents": np.zeros((3, 1000), np.float32), "random": np.zeros(8, np.uint8)})
    saver.offer(0, 3, 0.3, lambda: state)
    assert saver.latest(0) is None, "none is due"
    saver.offer(0, 4, 0.4, lambda: state, now=True)
    assert saver.latest(0) is not None and saver.latest(1) is None
    ((wrote,),), (read,) = told, saver.files()
    assert [(f.how, round(f.size_gb * 1e9)) for f in (wrote, read)] == [("write", 12008), ("read", 12008)]
    assert min(wrote.seconds, read.seconds) > 0 and saver.files() == ()


def test_a_killed_worker_loses_only_the_steps_since_the_last_checkpoint(
    head: ScriptedHead, start: Start
) -> None:
    first = start("w1", losses_per_h=OFTEN)
    head.until(lambda: head.hellos)
    work = task("t", KEY, chunks=1, nbytes=1000, steps=40, seconds=4.0, checkpoints=True)
    head.run("w1", work)
    told = head.until(lambda: [e for e in head.events if isinstance(e, m.TaskProgress) and e.saved >= 0.5])
    first.kill()
    first.wait()
    saved = CheckpointStore(head.paths).latest(KEY, 0)
    assert saved is not None and saved.step >= 40 * told[0].saved - 1e-9
    written = [f for e in head.events if isinstance(e, m.TaskProgress) for f in e.files]
    head.forget()
    start("w2")
    head.until(lambda: [h for h in head.hellos if h.worker.worker_id == "w2"])
    again = task("t", KEY, attempt=2, chunks=1, nbytes=1000, steps=40, seconds=4.0, checkpoints=True)
    head.run("w2", again)
    done = head.event(m.TaskFinished, "t")
    # What was saved was not made again.
    assert done.seconds >= 4.0 * (1 - saved.step / 40)
    steps = [e.done for e in head.events if isinstance(e, m.TaskProgress) and e.done]
    assert steps and min(steps) >= saved.step
    # What its files took is told: of the first worker as they were written, of the second as one was read.
    read = [f for e in head.events if isinstance(e, m.TaskProgress) for f in e.files if f.how == "read"]
    assert {f.how for f in written} == {"write"} and len(read) == 1
    assert all(f.seconds > 0 for f in (*written, *read))
    assert not head.paths.checkpoints_of(KEY).exists()


def test_a_paused_task_saves_its_last_step_before_it_says_so(head: ScriptedHead, start: Start) -> None:
    start("w1", losses_per_h=0.0)
    head.until(lambda: head.hellos)
    head.run("w1", task("t", KEY, nbytes=1000, steps=400, seconds=20.0, checkpoints=True))
    head.until(lambda: [e for e in head.events if isinstance(e, m.TaskProgress) and e.done >= 5])
    assert CheckpointStore(head.paths).latest(KEY, 0) is None
    head.say("w1", m.Pause("w1", "t", 1))
    paused = head.event(m.TaskPaused, "t")
    saved = CheckpointStore(head.paths).latest(KEY, 0)
    assert saved is not None
    assert (paused.checkpoint, paused.saved) == (KEY, saved.step / 400)
    assert saved.step >= paused.done
