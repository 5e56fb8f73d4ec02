"""What a worker must be told again when it joins again: messages of the last session may be lost.

No decisions: everything here was decided and journalled before. Attempts that the worker does not hold
any more, or that the engine does not know, are the engine's matter (WorkerJoined).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpcwise.core import messages as m
from hpcwise.core.resources import AttemptRef
from hpcwise.core.state import State, TaskRecord
from hpcwise.core.units import WorkerId


def said_again(
    state: State, worker_id: WorkerId, running: Sequence[AttemptRef]
) -> Iterator[m.DeliverChunk | m.Cancel | m.Revoke | m.Pause]:
    """How far each stream input is, and what was asked of the attempts that the worker holds."""
    for ref in running:
        task = state.tasks.get(ref.task_id)
        if task is None or task.worker != worker_id or task.attempt != ref.attempt:
            continue
        if task.state in ("cancelling", "recalling"):
            yield m.Cancel(worker_id, ref.task_id, ref.attempt, task.state == "recalling")
        elif task.state == "revoking":
            yield m.Revoke(worker_id, ref.task_id, ref.attempt)
        elif task.state == "pausing":
            yield m.Pause(worker_id, ref.task_id, ref.attempt)
        else:
            yield from _deliveries(state, worker_id, task)


def _deliveries(state: State, worker_id: WorkerId, task: TaskRecord) -> Iterator[m.DeliverChunk]:
    for edge in task.spec.inputs:
        if edge.kind == "stream":
            source = state.tasks[edge.source]
            yield m.DeliverChunk(
                worker_id=worker_id,
                task_id=task.spec.task_id,
                attempt=task.attempt,
                name=edge.name,
                key=source.key,
                n_chunks=source.chunks,
                done=source.state == "finished",
            )
