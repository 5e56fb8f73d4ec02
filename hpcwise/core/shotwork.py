"""What is being computed for a shot at this moment, which need not be the task that ends it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hpcwise.core.state import HELD, TaskRecord
from hpcwise.core.units import ModelName, TaskId, WorkerId


class ShotWork(msgspec.Struct, frozen=True, kw_only=True):
    """A running attempt at a task of a shot. A task may make several segments, one loop each: step and steps
    count in this one's loop, whose first step is step `begin` of the task. saved: share of these steps, 0 to
    1, that a checkpoint keeps. steps is 0 where the task has told of none yet.
    """

    task_id: TaskId
    attempt: int
    stage: str
    model: ModelName
    worker: WorkerId
    begin: int = 0
    step: int = 0
    steps: int = 0
    saved: float = 0.0


def shot_work(tasks: Mapping[TaskId, TaskRecord], film_task: TaskRecord) -> ShotWork | None:
    """What runs for the shot that `film_task` ends: the task itself, else one that it is made from.

    Of several the one that is in a loop, then the one nearest to the end. None where nothing runs.
    """
    queue = [(film_task, -1)]
    seen = {film_task.spec.task_id}
    found: ShotWork | None = None
    for task, chunk in queue:
        work = _work(task, chunk)
        if work is not None and (found is None or (work.steps and not found.steps)):
            found = work
        if found is not None and found.steps:
            return found
        if task.state == "finished":
            continue
        for edge in task.spec.inputs:
            source = tasks.get(edge.source)
            if source is not None and source.spec.shot >= 0 and edge.source not in seen:
                seen.add(edge.source)
                queue.append((source, edge.chunk))
    return found


def progress(task: TaskRecord) -> float:
    """Share of a task's steps that are done, 0 to 1."""
    if task.state == "finished":
        return 1.0
    return task.step / task.steps if task.steps else 0.0


def _work(task: TaskRecord, chunk: int) -> ShotWork | None:
    """chunk: the one that the shot needs, -1 for all. None where that one is not under way."""
    if task.state not in HELD or task.started_s < 0:
        return None
    alternative = task.spec.alternatives[task.alternative]
    n_chunks = max(1, int({**task.spec.params, **alternative.params}.get("chunks", 1)))
    steps, at, begin = task.steps, task.step, 0
    if chunk >= 0 and n_chunks > 1:
        steps //= n_chunks
        if chunk != (min(at // steps, n_chunks - 1) if steps else task.chunks):
            return None
        begin = chunk * steps
    kept = task.saved * task.steps - begin
    return ShotWork(
        task_id=task.spec.task_id,
        attempt=task.attempt,
        stage=task.spec.stage,
        model=alternative.model,
        worker=task.worker,
        begin=begin,
        step=min(at - begin, steps),
        steps=steps,
        saved=min(1.0, max(0.0, kept / steps)) if steps else 0.0,
    )
