"""What follows a failed attempt, a broken stream, a stray attempt or a worker that does not obey."""

from __future__ import annotations

from typing import Final

from hpcwise.core import messages as m
from hpcwise.core.moving import spared
from hpcwise.core.scheduler import Emit
from hpcwise.core.state import HELD, LIVE_REQUEST, TaskRecord
from hpcwise.core.world import World

#: A worker that is lost says nothing against its task if so large a share of that became durable there.
PROGRESS: Final = 0.05


def settle_failed(world: World, emit: Emit) -> None:
    """Each failed attempt goes again, goes on with the next alternative, or ends its task."""
    failed, world.failed = world.failed, {}
    for task_id, blame in failed.items():
        task = world.state.tasks[task_id]
        if task.state != "failed":
            continue
        if world.request_of(task).state not in LIVE_REQUEST:
            emit(m.Quarantine(task_id, task.why))
            continue
        # A task may be longer than a worker's life: what it got done there was kept.
        if blame == "lost" and spared(task) - task.begun >= PROGRESS:
            blame = "blameless"
        if blame == "blameless":
            emit(m.Requeue(task_id, task.why, counts=False, blameless=True))
            continue
        if blame == "bad" and not task.reseeds:
            emit(m.Requeue(task_id, task.why, seed=reseeded(task.spec.seed)))
            continue
        # Who loses one worker after the other may be what they die of.
        lost = blame == "lost" and task.losses < world.config.max_attempts
        # A second seed that fails too is the recipe's fault: the ladder has others.
        if blame != "bad" and (lost or task.failures + 1 < world.config.max_attempts):
            emit(m.Requeue(task_id, task.why, counts=not lost))
            continue
        following = _next_alternative(task)
        if following is None:
            emit(m.Quarantine(task_id, task.why))
        else:
            tier = task.spec.alternatives[following].tier
            reason = f"{tier} after {task.failures + 1} failures: {task.why}"
            emit(m.SetAlternative(task_id, following, reason))
            emit(m.Requeue(task_id, task.why, counts=False))


def reseeded(seed: int) -> int:
    """The seed to try when a model made nothing of `seed`; always the same one (Knuth's MMIX generator)."""
    return (seed * 6364136223846793005 + 1442695040888963407) % 2**63


def _next_alternative(task: TaskRecord) -> int | None:
    """The next rung by another way: the static one if there is one, otherwise whatever comes next."""
    for i in range(task.alternative + 1, len(task.spec.alternatives)):
        if task.spec.alternatives[i].tier == "static":
            return i
    following = task.alternative + 1
    return following if following < len(task.spec.alternatives) else None


def leave_unloadable(world: World, emit: Emit) -> None:
    """Where no worker could load a model, its tasks go on with their next alternative, or end by name."""
    for model, reason in list(world.state.unloadable.items()):
        pool = world.pools.get(model)
        if pool is None or world.fleet.hosting(model):
            continue
        for task in sorted(pool.tasks(), key=lambda t: t.ordinal):
            following = _next_alternative(task)
            if following is None:
                emit(m.Quarantine(task.spec.task_id, f"{model} cannot be loaded: {reason}"))
            else:
                name = task.spec.alternatives[following].model
                emit(m.SetAlternative(task.spec.task_id, following, f"{name} instead of {model}: {reason}"))


def settle_stalled(world: World, emit: Emit) -> None:
    """Attempts of ended requests stop; readers of a stream that broke give their worker back."""
    stalled, world.stalled = world.stalled, {}
    for task_id in stalled:
        task = world.state.tasks.get(task_id)
        if task is None or task.state not in HELD or task.state == "cancelling":
            continue
        over = world.request_of(task).state not in LIVE_REQUEST
        if over:
            emit(m.Cancel(task.worker, task_id, task.attempt))
        elif task.state in ("assigned", "running") and not all(world.edge_met(e) for e in task.spec.inputs):
            emit(m.Cancel(task.worker, task_id, task.attempt, recall=True))
    strays, world.strays = world.strays, []
    for worker_id, task_id, attempt in strays:
        if worker_id in world.state.workers:
            emit(m.Cancel(worker_id, task_id, attempt))


def deliver_chunks(world: World, emit: Emit) -> None:
    """Tell running readers of a stream how much of it there is now."""
    streamed, world.streamed = world.streamed, {}
    for task_id in streamed:
        task = world.state.tasks[task_id]
        if task.state not in HELD:
            continue
        for edge in task.spec.inputs:
            if edge.kind == "stream" and edge.chunk < 0:
                source = world.state.tasks[edge.source]
                emit(
                    m.DeliverChunk(
                        worker_id=task.worker,
                        task_id=task_id,
                        attempt=task.attempt,
                        name=edge.name,
                        key=source.key,
                        n_chunks=source.chunks,
                        done=source.state == "finished",
                    )
                )


def forget_old(world: World, emit: Emit) -> None:
    """Requests that ended long ago and of which no worker holds anything leave the memory."""
    before_s = world.state.now_s - world.config.keep_ended_s
    for request in list(world.state.requests.values()):
        if request.state in LIVE_REQUEST or request.ended_s > before_s:
            continue
        if all(world.state.tasks[t].state not in HELD for t in request.tasks):
            emit(m.ForgetRequest(request.request_id))


def watch_workers(world: World, emit: Emit) -> None:
    """Workers that a new head waited for in vain, attempts that do not stop, attempts that hang."""
    now_s = world.state.now_s
    config = world.config
    for worker in list(world.state.workers.values()):
        worker_id = worker.info.worker_id
        if worker.state == "suspect":
            # What it did meanwhile it could tell nobody.
            if now_s >= worker.suspect_until_s:
                emit(m.ForgetWorker(worker_id, "did not join the new head in time"))
            continue
        for task_id in worker.held:
            task = world.state.tasks[task_id]
            deaf = (
                task.state in ("cancelling", "recalling")
                and task.cancelled_s >= 0
                and now_s - task.cancelled_s > config.cancel_grace_s
            )
            limit_s = config.overdue_s + config.overdue_factor * task.expected_s
            hung = task.state == "running" and 0 <= task.moved_s < now_s - limit_s
            if deaf or hung:
                if worker_id not in world.state.killed:
                    why = "did not stop when told to" if deaf else f"hangs: no step for over {limit_s:.0f} s"
                    emit(m.Kill(worker_id, f"{task_id} {why}"))
                break
