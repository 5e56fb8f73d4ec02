"""What runs for a shot at this moment, found from the task that ends it."""

from __future__ import annotations

import pytest

from hpcwise.core.shotwork import ShotWork, shot_work
from hpcwise.core.state import TaskRecord
from hpcwise.core.workflow import Alternative, Edge, TaskSpec


def record(name: str, *inputs: Edge, shot: int = 0, n_chunks: int = 1, **fields: object) -> TaskRecord:
    spec = TaskSpec(
        task_id=name, request_id="film", stage=name.split("-")[0], inputs=inputs, shot=shot,
        params={"chunks": n_chunks}, alternatives=(Alternative(tier="high", model=f"{name}-model"),),
    )  # fmt: skip
    usual = {"attempt": 3, "worker": "w1"} if fields else {}
    return TaskRecord(spec=spec, ordinal=0, **{**usual, **fields})  # type: ignore[arg-type]


def running(name: str, *inputs: Edge, **fields: object) -> TaskRecord:
    return record(name, *inputs, **{"state": "running", "started_s": 1.0, **fields})  # type: ignore[arg-type]


def found(*tasks: TaskRecord) -> ShotWork | None:
    """For the first of the tasks."""
    return shot_work({task.spec.task_id: task for task in tasks}, tasks[0])


def test_nothing_runs_for_a_shot_that_waits_or_whose_worker_has_not_begun() -> None:
    assert found(record("sync", Edge("video", "decode")), record("decode")) is None
    assert found(record("animate", state="assigned")) is None
    assert found(running("animate", state="finished")) is None


def test_the_task_that_ends_the_shot_tells_its_own_steps() -> None:
    assert found(running("animate", step=3, steps=12, saved=0.25)) == ShotWork(
        task_id="animate", attempt=3, stage="animate", model="animate-model", worker="w1", step=3, steps=12,
        saved=0.25,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "chunk", "expected"),
    [
        (0, 0, (0, 0, 0.0)), (7, 0, (0, 7, 0.5)), (7, 1, None), (10, 0, None), (10, 1, (10, 0, 0.0)),
        (29, 2, (20, 9, 0.0)), (30, 2, (20, 10, 0.0)), (30, 1, None),
    ],
)  # fmt: skip
def test_of_a_task_that_makes_three_segments_each_shot_has_its_own_loop(
    at: int, chunk: int, expected: tuple[int, int, float] | None
) -> None:
    saved = 5 / 30 if at == 7 else 0.0
    sketch = running("sketch", n_chunks=3, step=at, steps=30, saved=saved)
    work = found(record("decode", Edge("latents", "sketch", "stream", chunk)), sketch)
    if expected is None:
        assert work is None
    else:
        assert work is not None and work.steps == 10
        assert (work.begin, work.step, round(work.saved, 9)) == expected


def test_a_loop_comes_before_other_work_and_tasks_of_the_whole_film_are_none_of_a_shot() -> None:
    inputs = (Edge("speech", "speech"), Edge("video", "decode"))
    picture = running("image", shot=-1, step=1, steps=4)
    sketch = running("sketch", Edge("image", "image"), step=1, steps=4)
    speech, decode = running("speech"), record("decode", Edge("latents", "sketch", "stream", 0))
    work = found(record("sync", *inputs), speech, decode, sketch, picture)
    assert work is not None and work.task_id == "sketch"
    sketch.state = "finished"
    work = found(record("sync", *inputs), speech, decode, sketch, picture)
    assert work is not None and (work.task_id, work.steps) == ("speech", 0)
