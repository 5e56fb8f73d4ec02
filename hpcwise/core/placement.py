"""Which worker holds which models: idle workers load what the provisioner's plan says.

It is no rule for the scheduler: a task goes where it ends first, wherever its model is, and may load another
one. What is placed makes that rare.
"""

from __future__ import annotations

from hpcwise.core import messages as m
from hpcwise.core.scheduler import Emit, room_for
from hpcwise.core.state import WorkerRecord
from hpcwise.core.units import ModelName
from hpcwise.core.world import World


def place_models(world: World, emit: Emit) -> None:
    """Idle workers that no place of the plan suits load one model more, or exchange one, towards a place that
    is left."""
    idle = {w.info.worker_id: w for w in world.fleet.idle() if not w.loading}
    if not idle:
        return
    places: dict[str, dict[tuple[ModelName, ...], int]] = {}
    for hold in world.state.holds:
        of_kind = places.setdefault(hold.kind, {})
        of_kind[hold.models] = of_kind.get(hold.models, 0) + hold.n
    unsuited: list[WorkerRecord] = []
    for worker in world.state.workers.values():
        left = places.get(worker.info.kind)
        if not left or worker.state != "joined":
            continue
        suits = [models for models, n in left.items() if n and all(_has(worker, x) for x in models)]
        if suits:
            left[max(suits, key=len)] -= 1
        elif worker.info.worker_id in idle:
            unsuited.append(worker)
    for worker in unsuited:
        left = places[worker.info.kind]
        open_places = [models for models, n in left.items() if n and set(models) <= set(worker.info.models)]
        if not open_places:
            continue
        models = max(open_places, key=lambda models: sum(_has(worker, x) for x in models))
        left[models] -= 1
        missing = next(x for x in models if not _has(worker, x))
        room = room_for(world, worker, missing, models)
        if room is not None:
            for name in room:
                emit(m.UnloadModel(worker.info.worker_id, name))
            emit(m.LoadModel(worker.info.worker_id, missing))


def _has(worker: WorkerRecord, model: ModelName) -> bool:
    return model in worker.loaded or model in worker.loading
