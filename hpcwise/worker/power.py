"""What the devices of a replica have taken, in joules.

A GPU's own counter (from Volta on) is read where it has one; else its power is sampled by a thread. What
cannot be told apart is not told: of a MIG slice, or of a card that this worker shares with others, the engine
estimates the energy by the hardware's table, as it does where there is no NVML.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from hpcwise.worker.nvml import Gpu, asked

log = logging.getLogger(__name__)

#: How often power is sampled where there is no counter, seconds.
SAMPLE_S: Final = 0.1


class Meter:
    """Of the devices of one process. shared: others compute on them too.

    others: joules of the replica's other processes, None where they cannot tell. Call it from one thread.
    """

    def __init__(
        self, gpus: tuple[Gpu, ...], *, shared: bool = False, others: Callable[[], float | None] = lambda: 0.0
    ) -> None:
        self._others = others
        self._cards = list({gpu.index: gpu.card for gpu in gpus}.values())
        self._sampler: Sampler | None = None
        self._tells = bool(gpus) and not shared and not any(gpu.sliced for gpu in gpus)
        if not self._tells:
            return
        try:
            if any(asked("nvmlDeviceGetTotalEnergyConsumption", card) is None for card in self._cards):
                self._tells = all(asked("nvmlDeviceGetPowerUsage", card) is not None for card in self._cards)
                if self._tells:
                    self._sampler = Sampler(lambda: sum(_watts(card) for card in self._cards))
                    self._sampler.start()
        except Exception as error:
            self._stop(error)

    def joules(self) -> float | None:
        """Taken so far; only the difference of two readings says anything. None where it cannot be told."""
        own = self.own_joules()
        if own is None:
            return None
        others = self._others()
        return None if others is None else own + others

    def own_joules(self) -> float | None:
        """Of this process's devices alone."""
        if not self._tells:
            return None
        try:
            if self._sampler is not None:
                return self._sampler.joules()
            found = (asked("nvmlDeviceGetTotalEnergyConsumption", card) for card in self._cards)
            return sum(float(millijoules) / 1000.0 for millijoules in found)
        except Exception as error:
            self._stop(error)
            return None

    def since(self, before: float | None) -> float:
        """Joules since an earlier reading; 0 where that cannot be told, or the counter has not moved."""
        now = None if before is None else self.joules()
        return 0.0 if now is None or before is None else max(0.0, now - before)

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()

    def _stop(self, error: Exception) -> None:
        """NVML raises its own errors, and a card that is lost anything: no reason to end a task."""
        log.warning("energy is estimated from now on: %s", error)
        self._tells = False


class Sampler(threading.Thread):
    """Adds up power, by the trapezoid between two samples. watts: of all devices together, now."""

    def __init__(self, watts: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="power", daemon=True)
        self._watts = watts
        self._clock = clock
        self._lock = threading.Lock()
        self._quit = threading.Event()
        self._joules = 0.0
        self._last_s, self._last_w = clock(), watts()
        self._error: Exception | None = None

    def run(self) -> None:
        while not self._quit.wait(SAMPLE_S):
            try:
                self.joules()
            except Exception as error:
                self._error = error
                return

    def joules(self) -> float:
        """Up to this moment: takes a sample. Raises what NVML raised in the thread."""
        if self._error is not None:
            raise self._error
        with self._lock:
            watts, now_s = self._watts(), self._clock()
            self._joules += (watts + self._last_w) / 2 * (now_s - self._last_s)
            self._last_s, self._last_w = now_s, watts
            return self._joules

    def stop(self) -> None:
        self._quit.set()
        self.join()


def _watts(card: Any) -> float:
    return float(asked("nvmlDeviceGetPowerUsage", card)) / 1000.0
