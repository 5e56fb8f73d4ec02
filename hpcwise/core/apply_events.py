"""What each event changes in the world. Facts only: nothing here decides what follows.

Messages about an attempt that is not the present one are stale (a worker that was thought lost, a message
sent twice) and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.deadlines import Positions
from hpcwise.core.errors import CoreError
from hpcwise.core.resources import AttemptRef
from hpcwise.core.spec import By
from hpcwise.core.state import (
    HELD,
    LIVE_REQUEST,
    RequestRecord,
    TaskRecord,
    WorkerRecord,
    step_request,
    step_task,
    step_worker,
)
from hpcwise.core.world import World


def apply_event(world: World, event: m.Event) -> None:
    """Change the world by `event`; raises CoreError for a type that is not in the table."""
    handler = _HANDLERS.get(type(event))
    if handler is None:
        raise CoreError(f"no handler for event {type(event).__name__}")
    handler(world, event)


def current(world: World, task_id: str, attempt: int) -> TaskRecord | None:
    """The task, if `attempt` is the one that a worker holds now."""
    task = world.state.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.state not in HELD:
        return None
    return task


# --- requests ---------------------------------------------------------------------------------------


def _request_arrived(world: World, e: m.RequestArrived) -> None:
    state = world.state
    old = state.requests.get(e.request_id)
    if old is not None:
        if old.state in LIVE_REQUEST or old.state == "done":
            return
        for task_id in old.tasks:
            task = state.tasks.pop(task_id)
            if task.state in HELD:
                world.strays.append((task.worker, task_id, task.attempt))
                world.release(task)
            world.consumers.pop(task_id, None)
    if e.wall_s:
        state.wall_offset_s = e.wall_s - state.now_s
    slo = e.job.slo
    state.requests[e.request_id] = RequestRecord(
        request_id=e.request_id,
        ordinal=world.next_ordinal(),
        job=e.job,
        arrived_s=state.now_s,
        due_wall_s=slo.wall_s if isinstance(slo, By) else 0.0,
    )
    world.positions[e.request_id] = Positions()
    world.arrived.append(e.request_id)
    world.work_changed = True


def _request_cancelled(world: World, e: m.RequestCancelled) -> None:
    request = world.state.requests.get(e.request_id)
    if request is None or request.state not in LIVE_REQUEST:
        return
    end_request(world, request, "cancelled", "cancelled by the user")


def end_request(world: World, request: RequestRecord, state: str, reason: str) -> None:
    """The request is over; what has not started is dropped, what runs is noted to be cancelled."""
    step_request(request, state)
    request.ended_s = world.state.now_s
    request.reason = reason
    for task_id in request.tasks:
        task = world.state.tasks[task_id]
        if task.state in HELD:
            if task.state != "cancelling":
                world.stalled[task_id] = None
        elif task.state not in ("finished", "dropped", "quarantined"):
            world.drop(task)
            world.free_twins(task)
    for pool in world.pools.values():
        pool.forget(request.request_id)
    world.work_changed = True


def _published(world: World, e: m.Published) -> None:
    request = world.state.requests.get(e.request_id)
    if request is None or e.index != len(request.published) or request.publishing == 0:
        return
    _, task_id, chunk = request.segments[e.index]
    artifact = world.state.artifacts[world.state.tasks[task_id].key]
    frames = artifact.chunk_facts[chunk].get("frames", 0) if chunk < len(artifact.chunk_facts) else 0
    request.published.append((world.state.now_s, int(frames)))
    request.publishing -= 1
    if request.start_s < 0:
        request.start_s = world.state.now_s
        world.retime(request)
    world.moved_requests[e.request_id] = None


def _film_made(world: World, e: m.FilmMade) -> None:
    request = world.state.requests.get(e.request_id)
    if request is not None and request.state in LIVE_REQUEST:
        request.film_version = max(request.film_version, e.version)
        world.moved_requests[e.request_id] = None


def _publish_failed(world: World, e: m.PublishFailed) -> None:
    request = world.state.requests.get(e.request_id)
    if request is None or request.state not in LIVE_REQUEST:
        return
    if not e.key:
        end_request(world, request, "failed", f"stitching failed: {e.reason}")
        return
    # The segment's bytes are gone: take it back from the film and make it again.
    if 0 <= e.index == len(request.published) and request.publishing:
        shot, _, chunk = request.segments[e.index]
        del request.segments[e.index :]
        request.publishing = 0
        request.next_shot, request.next_chunk = shot, chunk
    request.film_asked = request.film_version
    tear(world, e.key)


def _artifact_torn(world: World, e: m.ArtifactTorn) -> None:
    tear(world, e.key)


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
            world.request_of(task).open_tasks += 1
            world.make_ready(task)
            for task_id in world.consumers.get(task.spec.task_id, ()):
                consumer = world.state.tasks[task_id]
                if consumer.state in ("ready", "paused", "failed"):
                    step_task(consumer, "inputs_lost")
                    world.recheck_inputs(consumer)
                elif consumer.state == "waiting":
                    world.recheck_inputs(consumer)


# --- workers ----------------------------------------------------------------------------------------


def _worker_joined(world: World, e: m.WorkerJoined) -> None:
    state, info = world.state, e.worker
    state.launches.pop(info.launch, None)
    state.launch_failures = 0
    worker = state.workers.get(info.worker_id)
    ends_s = None if info.lifetime_s is None else state.now_s + info.lifetime_s
    loaded = dict.fromkeys(info.loaded, state.now_s)
    if worker is None:
        worker = state.workers[info.worker_id] = WorkerRecord(
            info=info, ordinal=world.next_ordinal(), joined_s=state.now_s, idle_since_s=state.now_s
        )
    else:
        step_worker(worker, "join")
        worker.info = info
    worker.ends_s, worker.loaded, worker.loading = ends_s, loaded, {}
    worker.suspect_until_s = -1.0
    _reconcile(world, worker, e.running)
    world.fleet.add(worker)
    world.work_changed = True


def _reconcile(world: World, worker: WorkerRecord, running: tuple[AttemptRef, ...]) -> None:
    """What the worker holds is the truth: attempts that it lacks are lost, others that it has are strays."""
    has = {ref.task_id: ref.attempt for ref in running}
    for task_id in list(worker.held):
        task = world.state.tasks[task_id]
        if has.get(task_id) != task.attempt:
            fail(world, task, "the worker no longer has it", transient=True)
    for ref in running:
        task_or_none = world.state.tasks.get(ref.task_id)
        mine = (
            task_or_none is not None
            and task_or_none.worker == worker.info.worker_id
            and task_or_none.attempt == ref.attempt
        )
        if not mine:
            world.strays.append((worker.info.worker_id, ref.task_id, ref.attempt))


def _worker_lost(world: World, e: m.WorkerLost) -> None:
    lose_worker(world, e.worker_id, e.reason)


def lose_worker(world: World, worker_id: str, reason: str) -> None:
    """The worker is gone with all that it held."""
    worker = world.state.workers.pop(worker_id, None)
    if worker is None:
        return
    step_worker(worker, "lose")
    world.state.killed.pop(worker_id, None)
    world.fleet.remove(worker)
    for task_id in list(worker.held):
        fail(world, world.state.tasks[task_id], f"worker {worker_id} lost: {reason}", transient=True)
    world.work_changed = True


def _worker_draining(world: World, e: m.WorkerDraining) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is None:
        return
    step_worker(worker, "drain")
    worker.draining_since_s = world.state.now_s
    ends_s = world.state.now_s + e.remaining_s
    worker.ends_s = ends_s if worker.ends_s is None else min(worker.ends_s, ends_s)
    world.fleet.update(worker)
    world.work_changed = True


def _launch_failed(world: World, e: m.LaunchFailed) -> None:
    state = world.state
    if state.launches.pop(e.token, None) is None:
        return
    state.launch_failures += 1
    wait_s = world.config.launch_retry_s * 2 ** min(state.launch_failures - 1, 10)
    state.launch_after_s = state.now_s + wait_s
    world.work_changed = True


def _model_loaded(world: World, e: m.ModelLoaded) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is not None:
        worker.loading.pop(e.model, None)
        worker.loaded[e.model] = world.state.now_s
        world.fleet.update(worker)


def _model_unloaded(world: World, e: m.ModelUnloaded) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is not None:
        worker.loaded.pop(e.model, None)
        world.fleet.update(worker)


def _model_load_failed(world: World, e: m.ModelLoadFailed) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is None:
        return
    worker.loading.pop(e.model, None)
    left = tuple(name for name in worker.info.models if name != e.model)
    worker.info = msgspec.structs.replace(worker.info, models=left)
    world.fleet.add(worker)
    world.work_changed = True


# --- tasks ------------------------------------------------------------------------------------------


def _task_started(world: World, e: m.TaskStarted) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is not None:
        step_task(task, "start")
        task.started_s = task.moved_s = world.state.now_s


def _task_progress(world: World, e: m.TaskProgress) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is not None:
        task.step, task.steps = e.done, e.total
        task.moved_s = world.state.now_s


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
    world.free_twins(task)
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
    usd = world.profiles.cost_usd(info.hardware, info.n_devices, seconds)
    joules = energy_j or world.profiles.energy_j(info.hardware, info.n_devices, seconds)
    task.cost_usd += usd
    task.energy_j += joules
    request = world.request_of(task)
    request.cost_usd += usd
    request.energy_j += joules


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
        fail(world, task, e.reason, e.transient)


def fail(world: World, task: TaskRecord, reason: str, transient: bool) -> None:
    """The attempt is over without an artifact; the engine decides in this call what follows."""
    spent_s = world.state.now_s - task.started_s if task.started_s >= 0 else 0.0
    worker = world.state.workers.get(task.worker)
    if worker is not None and spent_s > 0:
        _account(world, task, worker, spent_s, 0.0)
    was = task.state
    step_task(task, "fail")
    task.why = reason
    task.history.append(reason)
    task.started_s = -1.0
    world.release(task)
    if task.state == "dropped":
        world.end_task(task)
        world.free_twins(task)
        return
    world.failed[task.spec.task_id] = transient or was == "revoking"


def _task_paused(world: World, e: m.TaskPaused) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is None:
        return
    step_task(task, "paused")
    task.checkpoint, task.step, task.started_s = e.checkpoint, e.done, -1.0
    world.release(task)
    world.make_ready(task)


def _task_cancelled(world: World, e: m.TaskCancelled) -> None:
    task = current(world, e.task_id, e.attempt)
    if task is None or task.state not in ("cancelling", "recalling"):
        return
    step_task(task, "stopped")
    task.started_s = -1.0
    world.release(task)
    if task.state == "dropped":
        world.end_task(task)
        world.free_twins(task)
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


# --- store, time, planning --------------------------------------------------------------------------


def _artifacts_known(world: World, e: m.ArtifactsKnown) -> None:
    for known in e.artifacts:
        artifact = world.artifact(known.key)
        if artifact.done:
            continue
        artifact.done, artifact.n_chunks, artifact.facts = known.done, known.n_chunks, known.facts
        artifact.chunk_facts = list(known.chunk_facts)
        artifact.nbytes, artifact.inline, artifact.region = known.nbytes, known.inline, known.region
    world.work_changed = True


def _store_full(world: World, e: m.StoreFull) -> None:
    world.state.store_full = e.reason


def _store_available(world: World, e: m.StoreAvailable) -> None:
    world.state.store_full = ""
    world.work_changed = True


def _clock_stepped(world: World, e: m.ClockStepped) -> None:
    world.state.wall_offset_s += e.delta_s
    for request in world.state.requests.values():
        if request.state in LIVE_REQUEST and isinstance(request.job.slo, By):
            world.retime(request)


def _plan_ready(world: World, e: m.PlanReady) -> None:
    world.state.wanted = dict(e.wanted)
    world.work_changed = True


def _head_started(world: World, e: m.HeadStarted) -> None:
    world.state.epoch = e.epoch
    for worker in world.state.workers.values():
        step_worker(worker, "doubt")
        worker.suspect_until_s = world.state.now_s + e.grace_s
        world.fleet.update(worker)
    for request in world.state.requests.values():
        if request.state in LIVE_REQUEST:
            # Publishing is idempotent: whatever the last head had asked for and not seen done goes again.
            del request.segments[len(request.published) :]
            request.publishing = 0
            _rewind(world, request)
            request.film_asked = request.film_version
            world.moved_requests[request.request_id] = None
    world.work_changed = True


def _rewind(world: World, request: RequestRecord) -> None:
    if request.segments:
        shot, _, chunk = request.segments[-1]
        request.next_shot, request.next_chunk = shot, chunk + 1
    else:
        request.next_shot = request.next_chunk = 0
    world.turn_page(request)


def _tick(world: World, e: m.Tick) -> None:
    pass


_HANDLERS: dict[type[m.Event], Callable[[World, Any], None]] = {
    m.RequestArrived: _request_arrived,
    m.RequestCancelled: _request_cancelled,
    m.Published: _published,
    m.FilmMade: _film_made,
    m.PublishFailed: _publish_failed,
    m.WorkerJoined: _worker_joined,
    m.WorkerLost: _worker_lost,
    m.WorkerDraining: _worker_draining,
    m.LaunchFailed: _launch_failed,
    m.ModelLoaded: _model_loaded,
    m.ModelUnloaded: _model_unloaded,
    m.ModelLoadFailed: _model_load_failed,
    m.TaskStarted: _task_started,
    m.TaskProgress: _task_progress,
    m.ChunkReady: _chunk_ready,
    m.TaskFinished: _task_finished,
    m.TaskFailed: _task_failed,
    m.TaskPaused: _task_paused,
    m.TaskCancelled: _task_cancelled,
    m.Revoked: _revoked,
    m.TooLate: _too_late,
    m.ArtifactsKnown: _artifacts_known,
    m.ArtifactTorn: _artifact_torn,
    m.StoreFull: _store_full,
    m.StoreAvailable: _store_available,
    m.ClockStepped: _clock_stepped,
    m.PlanReady: _plan_ready,
    m.HeadStarted: _head_started,
    m.Tick: _tick,
}
