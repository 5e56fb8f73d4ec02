"""What events about tasks and their artifacts change.

Messages about an attempt that is not the present one are stale (a worker that was thought lost, a message
sent twice) and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hpcwise.core import messages as m
from hpcwise.core.filetimes import FileTimes, learn
from hpcwise.core.state import HELD, LIVE_REQUEST, TaskRecord, WorkerRecord, step_task
from hpcwise.core.units import QUICK_S
from hpcwise.core.world import World


def current(world: World, task_id: str, attempt: int) -> TaskRecord | None:
    """The task, if `attempt` is the one that a worker holds now."""
    task = world.state.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.state not in HELD:
        return None
    return task


def _task_started(world: World, e: m.TaskStarted) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is not None:
        step_task(task, "start")
        task.started_s = task.moved_s = world.state.now_s


def _task_progress(world: World, e: m.TaskProgress) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is not None:
        task.step, task.steps = e.done, e.total
        task.saved = max(task.saved, min(1.0, e.saved))
        task.moved_s = world.state.now_s
        for file in e.files:
            learn(world.state.files.setdefault(file.how, FileTimes()), file.size_gb, file.seconds)


def _chunk_ready(world: World, e: m.ChunkReady) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is None:
        return
    if task.state == "assigned":
        step_task(task, "start")
        task.started_s = world.state.now_s
    task.moved_s = world.state.now_s
    artifact = world.artifact(task.key)
    if e.index == len(artifact.chunk_facts):
        artifact.chunk_facts.append(e.facts)
        artifact.chunk_digests.append(e.digests)
        artifact.n_chunks = e.index + 1
        artifact.nbytes += e.nbytes
        artifact.region = world.state.workers[task.worker].info.region
        world.note_chunks(task, artifact.n_chunks)


def _task_finished(world: World, e: m.TaskFinished) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is None:
        return
    now_s = world.state.now_s
    worker = world.state.workers[task.worker]
    info = worker.info
    step_task(task, "finish")
    task.finished_s, task.seconds = now_s, e.seconds
    if world.state.sick:
        world.state.sick.pop(info.kind, None)
    _account(world, task, worker, e.seconds, e.energy_j)
    artifact = world.artifact(task.key)
    artifact.done, artifact.facts, artifact.inline = True, e.facts, e.inline
    artifact.n_chunks, artifact.region = e.n_chunks, info.region
    artifact.nbytes = max(artifact.nbytes, e.nbytes)
    if e.n_chunks == 1 and not artifact.chunk_facts:
        artifact.chunk_facts.append(e.facts)
    if task.state == "finished":
        alternative = world.alternative_of(task)
        if e.seconds > 0 and not task.resumed:
            plain = world.profiles.expected_s(
                alternative.model, info.hardware, alternative.features, info.n_devices, task.scale
            )
            world.profiles.learn(alternative.model, info.hardware, plain, e.seconds)
    world.release(task)
    complete(world, task)


def complete(world: World, task: TaskRecord) -> None:
    """The task's artifact is whole: its length, its chunks, its consumers and twins follow from it."""
    world.end_task(task)
    world.unclaim(task)
    if task.state != "finished":
        return
    artifact = world.state.artifacts[task.key]
    if task.spec.times_shot:
        _set_shot_length(world, task, artifact.facts)
    if artifact.n_chunks > task.chunks:
        world.note_chunks(task, artifact.n_chunks)
    if task.spec.publishes:
        world.turn_page(world.request_of(task))
    if task.spec.task_id in world.consumers:
        world.input_arrived(task, first_chunk=False)


def _account(world: World, task: TaskRecord, worker: WorkerRecord, seconds: float, energy_j: float) -> None:
    info = worker.info
    worker.busy_s += seconds
    usd = world.profiles.cost_usd(info.hardware, info.n_devices, seconds, spot=info.spot)
    joules = energy_j or world.profiles.energy_j(info.hardware, info.n_devices, seconds)
    task.cost_usd += usd
    task.energy_j += joules
    task.measured_j += energy_j
    request = world.request_of(task)
    request.cost_usd += usd
    request.energy_j += joules
    request.measured_j += energy_j


def _set_shot_length(world: World, task: TaskRecord, facts: dict[str, Any]) -> None:
    duration_s = facts.get("duration_s")
    request = world.request_of(task)
    if not isinstance(duration_s, int | float) or not 0 <= task.spec.shot < len(request.shots):
        return
    shot = request.shots[task.spec.shot]
    film_task = world.state.tasks[shot.task_id]
    film_task.scale = float(duration_s) / shot.expected_s if shot.expected_s > 0 else 1.0
    request.total_s += float(duration_s) - shot.expected_s
    shot.expected_s = float(duration_s)
    world.positions[request.request_id].set(shot.index, float(duration_s))
    world.retime(request)
    world.moved_requests[request.request_id] = None


def _task_failed(world: World, e: m.TaskFailed) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is not None:
        fail(world, task, e.reason, e.transient, e.energy_j)
        if e.bad_output and e.task_id in world.failed:
            world.failed[e.task_id] = "bad"


def charge_spent(world: World, task: TaskRecord, worker: WorkerRecord, energy_j: float = 0.0) -> None:
    """What an attempt that makes no artifact has cost so far."""
    spent_s = world.state.now_s - task.started_s if task.started_s >= 0 else 0.0
    if spent_s > 0:
        _account(world, task, worker, spent_s, energy_j)


def fail(world: World, task: TaskRecord, reason: str, transient: bool, energy_j: float = 0.0) -> None:
    """The attempt is over without an artifact; the engine decides in this call what follows."""
    worker = world.state.workers.get(task.worker)
    if worker is not None:
        charge_spent(world, task, worker, energy_j)
    was, began = task.state, task.started_s >= 0 or task.expected_s < QUICK_S
    step_task(task, "fail")
    task.why = reason
    task.history.append(reason)
    task.started_s = -1.0
    world.release(task)
    if task.state == "dropped":
        world.end_task(task)
        world.unclaim(task)
        return
    transient = transient or was == "revoking"
    blameless = transient and (not began or bool(world.state.store_full))
    world.failed[task.spec.task_id] = "blameless" if blameless else "lost" if transient else "fault"


def _task_paused(world: World, e: m.TaskPaused) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is None:
        return
    if task.state != "pausing":  # the pause crossed a cancel, or a drain, on its way: it has stopped anyway
        stopped(world, task, e.energy_j)
        return
    charge_spent(world, task, world.state.workers[task.worker], e.energy_j)
    step_task(task, "paused")
    task.checkpoint, task.step, task.started_s = e.checkpoint, e.done, -1.0
    task.saved = max(task.saved, min(1.0, e.saved))
    world.release(task)
    world.make_ready(task)


def _task_cancelled(world: World, e: m.TaskCancelled) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is not None:
        stopped(world, task, e.energy_j)


def stopped(world: World, task: TaskRecord, energy_j: float = 0.0) -> None:
    """The worker no longer runs the attempt, and that is no failure of the task."""
    if task.state not in ("cancelling", "recalling"):
        fail(world, task, "its worker stopped it", transient=True, energy_j=energy_j)
        return
    charge_spent(world, task, world.state.workers[task.worker], energy_j)
    step_task(task, "stopped")
    task.started_s = -1.0
    world.release(task)
    world.unclaim(task)
    if task.state == "dropped":
        world.end_task(task)
    else:
        world.recheck_inputs(task)


def _revoked(world: World, e: m.Revoked) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is None:
        return
    if task.state == "assigned":  # a draining worker gave it back unasked
        step_task(task, "revoke")
    if task.state == "revoking":
        step_task(task, "revoked")
        world.release(task)
        world.make_ready(task)
    elif task.state in ("cancelling", "recalling"):
        _task_cancelled(world, m.TaskCancelled(e.task_id, e.attempt))


def _too_late(world: World, e: m.TooLate) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is not None and task.state == "revoking":
        step_task(task, "too_late")


def tear(world: World, key: str) -> None:
    """Forget the artifact; finished tasks of live requests that have it become ready again."""
    artifact = world.state.artifacts.pop(key, None)
    if artifact is None:
        return
    for task in world.state.tasks.values():
        if task.key != key or world.request_of(task).state not in LIVE_REQUEST:
            continue
        if task.state == "finished":
            step_task(task, "torn")
            task.chunks = 0
            world.begin_task(task)
            world.make_ready(task)
            for task_id in world.consumers.get(task.spec.task_id, ()):
                consumer = world.state.tasks[task_id]
                if consumer.state in ("ready", "paused", "failed"):
                    step_task(consumer, "inputs_lost")
                    world.unclaim(consumer)
                    world.recheck_inputs(consumer)
                elif consumer.state == "waiting":
                    world.recheck_inputs(consumer)


TASK_HANDLERS: Final[dict[type[m.Event], Callable[[World, Any], None]]] = {
    m.TaskStarted: _task_started,
    m.TaskProgress: _task_progress,
    m.ChunkReady: _chunk_ready,
    m.TaskFinished: _task_finished,
    m.TaskFailed: _task_failed,
    m.TaskPaused: _task_paused,
    m.TaskCancelled: _task_cancelled,
    m.Revoked: _revoked,
    m.TooLate: _too_late,
}
