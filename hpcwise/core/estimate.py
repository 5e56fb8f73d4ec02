"""When a request is expected to be done."""

from __future__ import annotations

from hpcwise.core.engine import Engine
from hpcwise.core.planner import sketch_shots
from hpcwise.core.state import ENDED, RequestRecord
from hpcwise.core.world import World


def eta_s(engine: Engine, request: RequestRecord) -> float | None:
    """Expected seconds until the request is done: its open work over the workers there are."""
    if request.ended_s >= 0:
        return 0.0
    world = engine.world
    work_s, models = 0.0, dict[str, None]()
    for task_id in request.tasks:
        task = world.state.tasks[task_id]
        if task.state not in ENDED:
            alternative = world.alternative_of(task)
            models[alternative.model] = None
            spent_s = engine.now_s - task.started_s if task.started_s >= 0 else 0.0
            work_s += max(0.05, world.typical_s(alternative, task.scale) - spent_s)
    sketched = sketch_shots(request)
    if sketched and request.shots:
        mean_s = work_s / max(1, sum(not _ended(world, s.task_id) for s in request.shots))
        work_s += sketched * mean_s
    hosts = {w for name in models for c in world.fleet.hosting(name) for w in c.members}
    return work_s / len(hosts) if hosts else None


def _ended(world: World, task_id: str) -> bool:
    return world.state.tasks[task_id].state in ENDED
