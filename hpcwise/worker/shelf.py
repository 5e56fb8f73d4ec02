"""Models in memory: loaded once, used by many tasks."""

from __future__ import annotations

import gc
import logging

from hpcwise.models.base import Adapter, Devices
from hpcwise.models.registry import Registry
from hpcwise.worker.room import Room, free_memory

log = logging.getLogger(__name__)


class Shelf:
    """Loaded adapters by model name. Which fit together is the engine's decision, not this one's; whether the
    memory is really there is looked at before each (room)."""

    def __init__(self, registry: Registry, devices: Devices, room: Room) -> None:
        self._registry = registry
        self._devices = devices
        self._adapters: dict[str, Adapter] = {}
        self.room = room

    @property
    def loaded(self) -> tuple[str, ...]:
        return tuple(self._adapters)

    def get(self, model: str) -> Adapter | None:
        """The adapter if it is loaded."""
        return self._adapters.get(model)

    def needs_gb(self, model: str) -> float:
        """By its card. Raises ModelMissing where there is none."""
        return self._registry.card(model).memory_gb

    def load(self, model: str) -> Adapter:
        """The adapter, loaded now unless it is already. Raises ModelMissing, NoRoom, whatever it raises."""
        adapter = self._adapters.get(model)
        if adapter is None:
            self.room.check(model, self.needs_gb(model))
            spec = self._registry.spec(model)
            adapter = self._registry.adapter(model)
            adapter.load(spec, self._devices)
            self._adapters[model] = adapter
        return adapter

    def unload(self, model: str) -> None:
        """Drop the adapter and give its memory back."""
        if self._adapters.pop(model, None) is None:
            gc.collect()
            return
        self.room.gone(model)
        free_memory()
