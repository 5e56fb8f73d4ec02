"""How many workers there should be: by demand, within the fleet that the head was given."""

from __future__ import annotations

from hpcwise.core import messages as m
from hpcwise.core.planner import sketch_shots
from hpcwise.core.resources import FleetItem
from hpcwise.core.scheduler import Emit
from hpcwise.core.state import WorkerRecord
from hpcwise.core.world import World


def scale(world: World, emit: Emit) -> None:
    """Launch what work needs and the fleet allows; drain what has been idle for too long."""
    state, now_s = world.state, world.state.now_s
    busy = bool(world.live)
    of_kind: dict[str, list[WorkerRecord]] = {}
    for worker in state.workers.values():
        if worker.state != "draining":
            of_kind.setdefault(worker.info.kind, []).append(worker)
    for item in world.config.fleet:
        alive = of_kind.get(item.kind, [])
        coming = sum(1 for launch in state.launches.values() if launch.kind == item.kind)
        wanted = _wanted(world, item, busy)
        if now_s >= state.launch_after_s and state.launch_failures < world.config.max_launch_failures:
            for _ in range(wanted - len(alive) - coming):
                emit(m.Launch(item.kind, f"e{state.epoch}-{item.kind}-{state.launched + 1}"))
        spare = len(alive) - max(wanted, item.min_workers)
        if spare <= 0:
            continue
        for worker in sorted(alive, key=lambda w: (w.idle_since_s, w.ordinal)):
            if spare <= 0:
                break
            idle = worker.state == "joined" and not worker.held
            if idle and now_s - worker.idle_since_s >= item.idle_timeout_s:
                emit(m.Drain(worker.info.worker_id, "idle"))
                spare -= 1


def idle_at_s(world: World) -> float | None:
    """When the first idle worker will have waited long enough to be drained."""
    limits = {item.kind: item.idle_timeout_s for item in world.config.fleet}
    idle = (
        worker.idle_since_s + limits[worker.info.kind]
        for worker in world.state.workers.values()
        if worker.state == "joined" and not worker.held and worker.info.kind in limits
    )
    return min(idle, default=None)


def _wanted(world: World, item: FleetItem, busy: bool) -> int:
    planned = world.state.wanted.get(item.kind)
    if planned is not None:
        return max(item.min_workers, min(item.max_workers, planned))
    if not busy:
        return item.min_workers
    # Growing films will need as many as there may be; otherwise one for each task that could run.
    demand = 0
    for request_id in world.live:
        request = world.state.requests[request_id]
        demand += sketch_shots(request)
        demand += request.open_tasks
        if demand >= item.max_workers:
            break
    return max(item.min_workers, min(item.max_workers, demand))
