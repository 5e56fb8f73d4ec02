"""When a request is expected to be done."""

from __future__ import annotations

from hpcwise.core.engine import Engine
from hpcwise.core.planner import sketch_shots
from hpcwise.core.state import ENDED, RequestRecord
from hpcwise.core.units import ModelName
from hpcwise.core.world import World


def eta_s(engine: Engine, request: RequestRecord) -> float | None:
    """Expected seconds until the request is done: its open work over the workers there are."""
    if request.ended_s >= 0:
        return 0.0
    world = engine.world
    work_s, models = _open_work(engine, request)
    hosts = {w for name in models for c in world.fleet.hosting(name) for w in c.members}
    return work_s / len(hosts) if hosts else None


def worker_work_s(engine: Engine) -> float | None:
    """Expected seconds of work that one more worker would have, if all that is open were shared evenly.

    None while a film has no shots yet: what it will need is not known.
    """
    total_s = 0.0
    for request_id in engine.world.live:
        request = engine.state.requests[request_id]
        if sketch_shots(request, engine.config) and not request.shots:
            return None
        total_s += _open_work(engine, request)[0]
    return total_s / max(1, len(engine.state.workers) + len(engine.state.launches))


def _open_work(engine: Engine, request: RequestRecord) -> tuple[float, dict[ModelName, None]]:
    """Seconds of work that the request still needs, shots that are only sketched too, and on which models."""
    world = engine.world
    work_s, models = 0.0, dict[ModelName, None]()
    for task_id in request.tasks:
        task = world.state.tasks[task_id]
        if task.state not in ENDED:
            alternative = world.alternative_of(task)
            models[alternative.model] = None
            spent_s = engine.now_s - task.started_s if task.started_s >= 0 else 0.0
            work_s += max(0.05, world.typical_s(alternative, task.scale) - spent_s)
    sketched = sketch_shots(request, engine.config)
    if sketched and request.shots:
        mean_s = work_s / max(1, sum(not _ended(world, s.task_id) for s in request.shots))
        work_s += sketched * mean_s
    return work_s, models


def _ended(world: World, task_id: str) -> bool:
    return world.state.tasks[task_id].state in ENDED
