"""Expected runtime, price and energy of a task on a worker.

Linear models (StreamWise section 4.3) from the catalogue, corrected by what real runs took: the ratio of
measured to expected, smoothed, by model and hardware.
"""

from __future__ import annotations

from bisect import bisect_left

from hpcwise.core.catalogue import Catalogue, LinearProfile
from hpcwise.core.units import HOUR_S, ModelName

#: Weight of the newest run in the smoothed ratio of measured to expected seconds.
RATIO_WEIGHT = 0.2
#: Where a model was never profiled on a hardware: one second, corrected after the first run.
UNKNOWN = LinearProfile(base_s=1.0)


def speedup(profile: LinearProfile, n_devices: int) -> float:
    """Speed-up of a replica of `n_devices`; linear between measured sizes, flat beyond the largest."""
    if n_devices <= 1 or not profile.speedup:
        return 1.0
    sizes = sorted(profile.speedup)
    i = bisect_left(sizes, n_devices)
    if i == len(sizes):
        return profile.speedup[sizes[-1]]
    if sizes[i] == n_devices or i == 0:
        return profile.speedup[sizes[i]]
    low, high = sizes[i - 1], sizes[i]
    share = (n_devices - low) / (high - low)
    return profile.speedup[low] * (1 - share) + profile.speedup[high] * share


class Profiles:
    """Answers for one catalogue; `ratios` is part of the engine's state and shared with it."""

    def __init__(self, catalogue: Catalogue, ratios: dict[str, float]) -> None:
        self.catalogue = catalogue
        self._ratios = ratios

    def expected_s(
        self,
        model: ModelName,
        hardware: str,
        features: dict[str, float],
        n_devices: int = 1,
        scale: float = 1.0,
    ) -> float:
        """Seconds that one task takes; `scale` multiplies the features (a shot that turned out longer)."""
        info = self.catalogue.models.get(model)
        profile = info.profiles.get(hardware, UNKNOWN) if info else UNKNOWN
        seconds = profile.base_s
        for name, value in features.items():
            seconds += profile.per.get(name, 0.0) * value * scale
        if n_devices > 1:
            seconds /= speedup(profile, n_devices)
        return seconds * self._ratios.get(f"{model}@{hardware}", 1.0)

    def learn(self, model: ModelName, hardware: str, expected_s: float, measured_s: float) -> None:
        """Move the ratio of this pair towards what a run took (expected_s already holds the old ratio)."""
        if expected_s <= 0 or measured_s <= 0:
            return
        pair = f"{model}@{hardware}"
        old = self._ratios.get(pair, 1.0)
        sample = min(100.0, max(0.01, old * measured_s / expected_s))
        self._ratios[pair] = old + RATIO_WEIGHT * (sample - old)

    def load_s(self, model: ModelName) -> float:
        info = self.catalogue.models.get(model)
        return info.load_s if info else 0.0

    def memory_gb(self, model: ModelName) -> float:
        info = self.catalogue.models.get(model)
        return info.memory_gb if info else 0.0

    def cost_usd(self, hardware: str, n_devices: int, seconds: float) -> float:
        """Price of `seconds` on `n_devices` units of `hardware`."""
        info = self.catalogue.hardware.get(hardware)
        return info.usd_per_h * n_devices * seconds / HOUR_S if info else 0.0

    def energy_j(self, hardware: str, n_devices: int, seconds: float) -> float:
        """Energy by the hardware's busy power, for workers that cannot measure theirs."""
        info = self.catalogue.hardware.get(hardware)
        return info.busy_w * n_devices * seconds if info else 0.0

    def transfer_s(self, source: str, target: str, nbytes: int) -> float:
        """Seconds to bring `nbytes` from one region to another; a missing link is a minute at least."""
        if source == target or not source:
            return 0.0
        for link in self.catalogue.links:
            if {link.a, link.b} == {source, target}:
                return link.latency_s + nbytes / 1e9 / link.gb_per_s
        return 60.0 + nbytes / 1e7
