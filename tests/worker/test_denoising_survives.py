"""kill -9 in the middle of a denoising loop, by real worker processes and a real (tiny) Wan."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef, RunTask
from hpcwise.models.diffusion import tiny
from hpcwise.store.artifacts import Store
from hpcwise.store.checkpoints import CheckpointStore
from tests.models.tinies import picture
from tests.worker.conftest import Start
from tests.worker.scripted import ScriptedHead

KEYS = [hashlib.sha256(name).hexdigest() for name in (b"picture", b"whole", b"killed")]
#: Four seconds or so: saving holds a loop up for a hundredth of its time, so a short one has few checkpoints.
STEPS = 240
OFTEN = 1e9  # losses an hour: a checkpoint after every step


def _sketch(key: str, attempt: int = 1) -> RunTask:
    params: dict[str, Any] = {
        "prompt": "A host speaks.", "steps": STEPS, "render_width": 96, "render_height": 64, "frames": 17,
        "fps": 16,
    }  # fmt: skip
    image = InputRef(name="image", kind="finish", key=KEYS[0], n_chunks=1, done=True)
    return RunTask(
        task_id=key, attempt=attempt, stage="sketch", model="tiny-wan-dit", key=key, params=params, seed=5,
        inputs=(image,),
    )  # fmt: skip


def _give_picture(store: Store) -> None:
    scratch = store.begin(KEYS[0], 0)
    picture(scratch)
    store.commit(KEYS[0], 0, scratch, {})
    store.finish(KEYS[0], 1, {})


@pytest.mark.timeout(300)
def test_a_worker_killed_at_any_step_leaves_latents_that_another_ends_to_the_same_bits(
    head: ScriptedHead, start: Start, tmp_path: Path
) -> None:
    tiny.build("tiny-wan2.1-i2v", tmp_path / "run" / "models" / "tiny-wan2.1-i2v")
    _give_picture(head.store)
    first = start("w1", models=("tiny-wan-dit",), losses_per_h=OFTEN)
    head.until(lambda: head.hellos, 60.0)
    head.run("w1", _sketch(KEYS[1]))
    whole = head.event(m.TaskFinished, KEYS[1], 120.0)
    head.run("w1", _sketch(KEYS[2]))
    head.until(
        lambda: [
            e for e in head.events if isinstance(e, m.TaskProgress) and e.task_id == KEYS[2] and e.saved > 0.2
        ],
        60.0,
    )
    first.kill()
    first.wait()
    kept = CheckpointStore(head.paths).latest(KEYS[2], 0)
    assert kept is not None and 0.1 * STEPS < kept.step < STEPS
    assert head.store.chunks(KEYS[2]) == 0
    head.forget()
    start("w2", models=("tiny-wan-dit",), losses_per_h=OFTEN)
    head.until(lambda: [h for h in head.hellos if h.worker.worker_id == "w2"], 60.0)
    head.run("w2", _sketch(KEYS[2], attempt=2))
    head.event(m.TaskFinished, KEYS[2], 120.0)
    steps = [e.done for e in head.events if isinstance(e, m.TaskProgress) and e.done]
    assert not steps or min(steps) > kept.step  # what was saved was not made again
    one, other = (head.store.read_latent(key, 0, "latents.h5")[0] for key in KEYS[1:])
    assert np.array_equal(one, other) and whole.n_chunks == 1
    assert not head.paths.checkpoints_of(KEYS[2]).exists()
