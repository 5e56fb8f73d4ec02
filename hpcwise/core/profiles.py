"""Expected runtime, price, power and energy of a task on a worker.

Linear models (StreamWise section 4.3) from the catalogue, corrected by what real runs took: the ratio of
measured to expected, smoothed, by model and hardware.

    profiles = Profiles(catalogue, ratios={})
    profiles.expected_s("fantasytalking", "h100", {"steps": 10, "frames": 77, "frame_mpx": 0.3}, 8)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from hpcwise.core.catalogue import Catalogue, LinearProfile, SizeProfile
from hpcwise.core.parallel import usp_degrees
from hpcwise.core.units import HOUR_S, ModelName

#: Weight of the newest run in the smoothed ratio of measured to expected seconds.
RATIO_WEIGHT = 0.2
#: Where a model was never profiled on a hardware: one second, corrected after the first run.
UNKNOWN = LinearProfile(base_s=1.0)
#: Answers of a profile that are kept.
KNOWN_MOST = 20_000
#: Features that stay what they are when a shot turns out longer.
FIXED_FEATURES = frozenset({"steps", "frame_mpx"})


def term_value(term: str, features: Mapping[str, float], scale: float = 1.0) -> float:
    """Value of a term; `scale` multiplies once each feature that grows with a shot's length."""
    if "*" not in term:
        return features.get(term, 0.0) * (1.0 if term in FIXED_FEATURES else scale)
    value = 1.0
    for name in term.split("*"):
        value *= features.get(name, 0.0) * (1.0 if name in FIXED_FEATURES else scale)
    return value


def _sum(base_s: float, per: Mapping[str, float], features: Mapping[str, float], scale: float) -> float:
    for term, each_s in per.items():
        base_s += each_s * term_value(term, features, scale)
    return base_s


def shape_s(shape: LinearProfile | SizeProfile, features: Mapping[str, float], scale: float = 1.0) -> float:
    """Seconds by constant, terms and floors alone."""
    seconds = _sum(shape.base_s, shape.per, features, scale)
    for feature, each_s in shape.floor.items():
        above = {term: each for term, each in shape.per.items() if feature in term.split("*")}
        least_s = each_s * term_value(feature, features, scale)
        seconds += max(0.0, least_s - _sum(0.0, above, features, scale))
    return seconds


def speedup(profile: LinearProfile, n_devices: int) -> float:
    """Speed-up of a replica of `n_devices`; linear between measured sizes, flat beyond the largest."""
    if n_devices <= 1 or not profile.speedup:
        return 1.0
    return interpolate(profile.speedup if 1 in profile.speedup else {1: 1.0, **profile.speedup}, n_devices)


def interpolate(curve: Mapping[int, float], n_devices: int) -> float:
    """Value at `n_devices`; linear between two entries, flat before the first and beyond the last."""
    sizes = sorted(curve)
    i = bisect_left(sizes, n_devices)
    if i == len(sizes):
        return curve[sizes[-1]]
    if sizes[i] == n_devices or i == 0:
        return curve[sizes[i]]
    low, high = sizes[i - 1], sizes[i]
    share = (n_devices - low) / (high - low)
    return curve[low] * (1 - share) + curve[high] * share


def profile_s(
    profile: LinearProfile, features: Mapping[str, float], n_devices: int = 1, scale: float = 1.0
) -> float:
    """Seconds by a profile alone, without what real runs taught."""
    one_s = shape_s(profile, features, scale)
    if n_devices > 1 and profile.sizes:
        one_s = _by_size_s(profile, one_s, features, n_devices, scale)
    elif n_devices > 1:
        one_s /= speedup(profile, n_devices)
    return _sum(one_s + profile.serial_s, profile.serial, features, scale)


def _by_size_s(
    profile: LinearProfile, one_s: float, features: Mapping[str, float], n_devices: int, scale: float
) -> float:
    """Seconds of the part that has measured sizes; between two of them the rate is interpolated."""

    def at(size: int) -> float:
        if size == 1:
            return one_s
        return shape_s(profile.sizes[size], features, scale)

    sizes = sorted({1, *profile.sizes})
    i = bisect_left(sizes, n_devices)
    if i == len(sizes):
        return at(sizes[-1])
    if sizes[i] == n_devices:
        return at(n_devices)
    low_s, high_s = at(sizes[i - 1]), at(sizes[i])
    if low_s <= 0 or high_s <= 0:
        return max(low_s, high_s)
    share = (n_devices - sizes[i - 1]) / (sizes[i] - sizes[i - 1])
    return 1 / ((1 - share) / low_s + share / high_s)


class Profiles:
    """Answers for one catalogue; `ratios` is part of the engine's state and shared with it."""

    def __init__(self, catalogue: Catalogue, ratios: dict[str, float]) -> None:
        self.catalogue = catalogue
        self._ratios = ratios
        # The catalogue never changes, and the same work is asked about many times (each worker class, each
        # tick, each equal segment): answers are kept.
        self._known_s: dict[tuple[object, ...], float] = {}

    def profile(self, model: ModelName, hardware: str) -> LinearProfile | None:
        """The profile of this pair, None where it was never measured."""
        info = self.catalogue.models.get(model)
        return info.profiles.get(hardware) if info else None

    @staticmethod
    def pair(model: ModelName, hardware: str) -> str:
        """Under what the ratio of this pair is kept."""
        return f"{model}@{hardware}"

    def ratio(self, model: ModelName, hardware: str) -> float:
        """How many times its profile the runs of this pair really take; 1 before any run."""
        return self._ratios.get(self.pair(model, hardware), 1.0)

    def expected_s(
        self,
        model: ModelName,
        hardware: str,
        features: dict[str, float],
        n_devices: int = 1,
        scale: float = 1.0,
    ) -> float:
        """Seconds that one task takes; `scale` multiplies the features (a shot that turned out longer)."""
        return self.profiled_s(model, hardware, features, n_devices, scale) * self.ratio(model, hardware)

    def profiled_s(
        self, model: ModelName, hardware: str, features: dict[str, float], n_devices: int, scale: float
    ) -> float:
        """As expected_s, by the profile alone."""
        asked = (model, hardware, n_devices, scale, *features.items())
        seconds = self._known_s.get(asked)
        if seconds is None:
            profile = self.profile(model, hardware) or UNKNOWN
            seconds = profile_s(profile, features, n_devices, scale)
            if len(self._known_s) >= KNOWN_MOST:
                self._known_s.clear()
            self._known_s[asked] = seconds
        return seconds

    def learn(self, model: ModelName, hardware: str, expected_s: float, measured_s: float) -> None:
        """Move the ratio of this pair towards what a run took (expected_s already holds the old ratio)."""
        if expected_s <= 0 or measured_s <= 0:
            return
        pair = self.pair(model, hardware)
        old = self._ratios.get(pair, 1.0)
        sample = min(100.0, max(0.01, old * measured_s / expected_s))
        self._ratios[pair] = old + RATIO_WEIGHT * (sample - old)

    def load_s(self, model: ModelName) -> float:
        info = self.catalogue.models.get(model)
        return info.load_s if info else 0.0

    def warmup_s(self, model: ModelName) -> float:
        """Seconds that the first request takes more than the next ones (compilation)."""
        info = self.catalogue.models.get(model)
        return info.warmup_s if info else 0.0

    def memory_gb(self, model: ModelName) -> float:
        info = self.catalogue.models.get(model)
        return info.memory_gb if info else 0.0

    def usp_degrees(
        self, model: ModelName, hardware: str, resolution: tuple[int, int], frames: int = 0
    ) -> tuple[int, ...]:
        """Numbers of devices that a replica may have at this width and height; empty where it fits none."""
        info = self.catalogue.models.get(model)
        device = self.catalogue.hardware.get(hardware)
        return usp_degrees(info, device, resolution, frames) if info and device else ()

    def cost_usd(self, hardware: str, n_devices: int, seconds: float, *, spot: bool = False) -> float:
        """Price of `seconds` on `n_devices` units of `hardware`; reserved unless `spot`."""
        info = self.catalogue.hardware.get(hardware)
        if info is None:
            return 0.0
        usd_per_h = info.spot_usd_per_h if spot and info.spot_usd_per_h > 0 else info.usd_per_h
        return usd_per_h * n_devices * seconds / HOUR_S

    def power_w(self, model: ModelName, hardware: str, n_devices: int = 1) -> float:
        """Mean power of a whole replica while it works: as measured with this model, else by hardware."""
        profile = self.profile(model, hardware)
        if profile and profile.power_w:
            per_device = {n: watts / n for n, watts in profile.power_w.items()}
            return interpolate(per_device, n_devices) * n_devices
        info = self.catalogue.hardware.get(hardware)
        return info.busy_w * n_devices if info else 0.0

    def idle_w(self, hardware: str, n_devices: int = 1) -> float:
        """Power of devices that wait."""
        info = self.catalogue.hardware.get(hardware)
        return info.idle_w * n_devices if info else 0.0

    def energy_j(self, hardware: str, n_devices: int, seconds: float, model: ModelName = "") -> float:
        """Energy of work that took `seconds`, for workers that cannot measure theirs."""
        return self.power_w(model, hardware, n_devices) * seconds

    def transfer_s(self, source: str, target: str, nbytes: int) -> float:
        """Seconds to bring `nbytes` from one region to another; a missing link is a minute at least."""
        if source == target or not source:
            return 0.0
        for link in self.catalogue.links:
            if {link.a, link.b} == {source, target}:
                return link.latency_s + nbytes / 1e9 / link.gb_per_s
        return 60.0 + nbytes / 1e7
