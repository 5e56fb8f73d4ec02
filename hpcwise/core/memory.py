"""The memory of a worker as the engine keeps its books of it."""

from __future__ import annotations

from hpcwise.core.state import WorkerRecord
from hpcwise.core.units import ModelName
from hpcwise.core.world import World


def held_gb(world: World, worker: WorkerRecord, model: ModelName) -> float:
    """What a model that is there takes: its card's figure, which counts what it computes with, or what
    loading it was measured to take where that is more."""
    return max(world.profiles.memory_gb(model), worker.sizes.get(model, 0.0))


def booked_free_gb(world: World, worker: WorkerRecord) -> float:
    """The worker's memory less what is loaded, or being loaded."""
    present = {**worker.loaded, **worker.loading}
    return worker.info.memory_gb - sum(held_gb(world, worker, name) for name in present)
