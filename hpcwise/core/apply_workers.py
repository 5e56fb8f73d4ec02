"""What events about workers change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.apply_tasks import charge_spent, fail
from hpcwise.core.memory import booked_free_gb
from hpcwise.core.resources import AttemptRef
from hpcwise.core.state import Refusals, WorkerRecord, step_worker
from hpcwise.core.world import World

#: Weight of the newest wait for a worker in the usual one of its kind.
WAIT_WEIGHT: Final = 0.3
#: Memory that others hold on a worker's device is looked at again after so long, seconds.
SHORT_S: Final = 30.0


def _worker_joined(world: World, e: m.WorkerJoined) -> None:
    state, info = world.state, e.worker
    launch = state.launches.pop(info.launch, None)
    if launch is not None:
        waited_s = state.now_s - launch.asked_s
        usual_s = state.waits.get(launch.kind, waited_s)
        state.waits[launch.kind] = usual_s + WAIT_WEIGHT * (waited_s - usual_s)
    state.refusals.pop(info.kind, None)
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
    worker.sizes = {name: gb for name, gb in worker.sizes.items() if name in loaded}
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
        elif task.moved_s >= 0:
            task.moved_s = world.state.now_s  # its steps since the last head went unheard
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
    worker = world.state.workers.get(e.worker_id)
    if worker is not None and e.unhealthy:
        # Another would come at once, perhaps to the same device: as with launches that fail.
        kind = worker.info.kind
        count = world.state.sick[kind] = world.state.sick.get(kind, 0) + 1
        world.state.refusals[kind] = Refusals(count, _not_before_s(world, count))
    lose_worker(world, e.worker_id, e.reason)


def _not_before_s(world: World, count: int) -> float:
    """When the next launch of a kind is due after so many failures, one after the other."""
    wait_s: float = world.config.launch_retry_s * 2 ** min(count - 1, 20)
    return world.state.now_s + min(wait_s, world.config.launch_rest_s)


def lose_worker(world: World, worker_id: str, reason: str) -> None:
    """The worker is gone with all that it held."""
    worker = world.state.workers.pop(worker_id, None)
    if worker is None:
        return
    step_worker(worker, "lose")
    world.state.killed.pop(worker_id, None)
    world.fleet.remove(worker)
    for task_id in list(worker.held):
        charge_spent(world, world.state.tasks[task_id], worker)
        fail(world, world.state.tasks[task_id], f"worker {worker_id} lost: {reason}", transient=True)
    world.work_changed = True


def _worker_draining(world: World, e: m.WorkerDraining) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is None:
        return
    step_worker(worker, "drain")
    ends_s = world.state.now_s + e.remaining_s
    worker.ends_s = ends_s if worker.ends_s is None else min(worker.ends_s, ends_s)
    world.fleet.update(worker)
    world.work_changed = True


def _launch_failed(world: World, e: m.LaunchFailed) -> None:
    state = world.state
    launch = state.launches.pop(e.token, None)
    if launch is None:
        return
    refused = state.refusals.setdefault(launch.kind, Refusals())
    refused.count += 1
    refused.after_s = _not_before_s(world, refused.count)
    world.work_changed = True


def _model_loaded(world: World, e: m.ModelLoaded) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is not None:
        world.state.unloadable.pop(e.model, None)
        worker.loading.pop(e.model, None)
        worker.loaded[e.model] = world.state.now_s
        if e.memory_gb > 0:
            worker.sizes[e.model] = e.memory_gb
        world.fleet.update(worker)


def _model_unloaded(world: World, e: m.ModelUnloaded) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is not None:
        worker.loaded.pop(e.model, None)
        worker.sizes.pop(e.model, None)
        world.fleet.update(worker)


def _model_load_failed(world: World, e: m.ModelLoadFailed) -> None:
    worker = world.state.workers.get(e.worker_id)
    if worker is None:
        return
    worker.loading.pop(e.model, None)
    if e.transient:
        if e.free_gb >= 0:
            # What the books say is free, and is not, somebody else holds for a while.
            worker.short_gb = max(0.0, booked_free_gb(world, worker) - e.free_gb)
            worker.short_until_s = world.state.now_s + SHORT_S
        world.fleet.update(worker)
        world.work_changed = True
        return
    world.state.unloadable[e.model] = e.reason
    left = tuple(name for name in worker.info.models if name != e.model)
    worker.info = msgspec.structs.replace(worker.info, models=left)
    world.fleet.add(worker)
    world.work_changed = True


WORKER_HANDLERS: Final[dict[type[m.Event], Callable[[World, Any], None]]] = {
    m.WorkerJoined: _worker_joined,
    m.WorkerLost: _worker_lost,
    m.WorkerDraining: _worker_draining,
    m.LaunchFailed: _launch_failed,
    m.ModelLoaded: _model_loaded,
    m.ModelUnloaded: _model_unloaded,
    m.ModelLoadFailed: _model_load_failed,
}
