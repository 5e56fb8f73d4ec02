"""The memory of a worker as the engine keeps its books of it."""

from __future__ import annotations

from hpcwise.core.state import WorkerRecord
from hpcwise.core.units import ModelName
from hpcwise.core.world import World


def held_gb(world: World, worker: WorkerRecord, model: ModelName) -> float:
    """What a model that is there takes: its card's figure, which counts what it computes with, or what
    loading it was measured to take where that is more."""
    card_gb = world.profiles.memory_gb(model)
    return max(card_gb, worker.sizes[model]) if model in worker.sizes else card_gb


def booked_free_gb(world: World, worker: WorkerRecord) -> float:
    """The worker's memory less what is loaded, or being loaded."""
    free_gb = worker.info.memory_gb
    for name in worker.loaded:
        free_gb -= held_gb(world, worker, name)
    for name in worker.loading:
        if name not in worker.loaded:
            free_gb -= held_gb(world, worker, name)
    return free_gb
