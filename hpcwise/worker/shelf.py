"""Models in memory: loaded once, used by many tasks."""

from __future__ import annotations

import gc
import logging

from hpcwise.models.base import Adapter, Devices
from hpcwise.models.registry import Registry

log = logging.getLogger(__name__)


class Shelf:
    """Loaded adapters by model name. Which fit together is the engine's decision, not this one's."""

    def __init__(self, registry: Registry, devices: Devices) -> None:
        self._registry = registry
        self._devices = devices
        self._adapters: dict[str, Adapter] = {}

    @property
    def loaded(self) -> tuple[str, ...]:
        return tuple(self._adapters)

    def get(self, model: str) -> Adapter | None:
        """The adapter if it is loaded."""
        return self._adapters.get(model)

    def load(self, model: str) -> Adapter:
        """The adapter, loaded now unless it is already. Raises ModelMissing, and whatever it raises."""
        adapter = self._adapters.get(model)
        if adapter is None:
            spec = self._registry.spec(model)
            adapter = self._registry.adapter(model)
            adapter.load(spec, self._devices)
            self._adapters[model] = adapter
        return adapter

    def unload(self, model: str) -> None:
        """Drop the adapter and give its memory back."""
        self._adapters.pop(model, None)
        gc.collect()
