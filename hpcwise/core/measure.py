"""Measurements of models and what a profile is fitted from: the terms, the split, the judgement. Pure.

A measurement is one configuration on one hardware: raw features and the least time that any of its runs
took, because everything that disturbs a run makes it longer.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence

import msgspec

from hpcwise.core.catalogue import LinearProfile, SizeProfile
from hpcwise.core.errors import UsageError
from hpcwise.core.profiles import profile_s

#: Features of a measurement of an image or video model, in the order of a file's columns.
VIDEO_FEATURES = ("steps", "frames", "frame_mpx")
#: What the time of a diffusion model is made of (StreamWise sections 3.2 and 4.3). A step costs a constant
#: and a share of the tokens; attention within a frame is quadratic in its pixels, over a clip in all of them.
VIDEO_TERMS = (
    "steps",
    "steps*frame_mpx",
    "steps*frame_mpx*frames",
    "steps*frame_mpx*frame_mpx*frames",
    "steps*frame_mpx*frame_mpx*frames*frames",
    "steps*frames",
    "frames",
    "frame_mpx",
    "frame_mpx*frames",
)
#: The feature that a diffusion model repeats its work by; sequence parallelism splits the terms that have it.
STEPS = "steps"
#: One configuration in this many is held out of every fit and judges it.
HELDOUT_OF = 4


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration. seconds: the least of `runs`."""

    model: str
    hardware: str
    n_devices: int = 1
    features: dict[str, float]
    seconds: float
    runs: int = 1

    @property
    def heldout(self) -> bool:
        """Whether it judges the fit instead of making it; the same for every hardware and size."""
        text = ",".join(f"{name}={value:g}" for name, value in sorted(self.features.items()))
        return zlib.crc32(f"{self.model}|{text}".encode()) % HELDOUT_OF == 0


def check_measurement(m: Measurement, where: str) -> None:
    """Raises UsageError with one line when a number cannot have been measured."""
    numbers = {"seconds": m.seconds, **m.features}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise UsageError(f"{where}: {name}: {value} is not a number; measure again or remove the line")
        if value < 0 or (name == "seconds" and value == 0):
            raise UsageError(f"{where}: {name}: {value:g} cannot be; measure again or remove the line")
    if m.n_devices < 1 or m.runs < 1:
        raise UsageError(f"{where}: n_devices and runs must be 1 or more; got {m.n_devices} and {m.runs}")


def ranges(measurements: Iterable[Measurement]) -> dict[str, tuple[float, float]]:
    """Least and greatest value of each feature."""
    found: dict[str, tuple[float, float]] = {}
    for m in measurements:
        for name, value in m.features.items():
            low, high = found.get(name, (value, value))
            found[name] = (min(low, value), max(high, value))
    return found


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """How a profile predicts measurements. mape: mean of the relative errors, a fraction."""

    points: int
    r2: float
    mape: float
    worst: float


def judge(profile: LinearProfile, measurements: Sequence[Measurement]) -> Judgement:
    """R squared and relative errors over `measurements` of any size; none give zeros."""
    if not measurements:
        return Judgement(points=0, r2=0.0, mape=0.0, worst=0.0)
    truth = [m.seconds for m in measurements]
    errors = [profile_s(profile, m.features, m.n_devices) - m.seconds for m in measurements]
    mean = sum(truth) / len(truth)
    spread = sum((t - mean) ** 2 for t in truth)
    relative = [abs(e) / t for e, t in zip(errors, truth, strict=True)]
    return Judgement(
        points=len(truth),
        r2=1 - sum(e * e for e in errors) / spread if spread > 0 else 0.0,
        mape=sum(relative) / len(relative),
        worst=max(relative),
    )


def scaled_shape(shape: LinearProfile | SizeProfile, factor: float, only: str = "") -> SizeProfile:
    """The same shape at another level; `only`: nothing but the terms with that feature changes."""

    def by(term: str) -> float:
        return factor if not only or only in term.split("*") else 1.0

    return SizeProfile(
        base_s=rounded(shape.base_s * (1.0 if only else factor)),
        per={term: rounded(each_s * by(term)) for term, each_s in shape.per.items()},
        floor={feature: rounded(each_s * by(feature)) for feature, each_s in shape.floor.items()},
    )


def part_of_shape(shape: LinearProfile | SizeProfile, feature: str, *, with_it: bool) -> SizeProfile:
    """The terms that have a feature, or the rest with the constant."""
    per = {term: each_s for term, each_s in shape.per.items() if (feature in term.split("*")) == with_it}
    return SizeProfile(
        base_s=0.0 if with_it else shape.base_s,
        per=per,
        floor={name: each_s for name, each_s in shape.floor.items() if (name == feature) == with_it},
    )


def rounded(value: float) -> float:
    """Six digits: files stay readable, and a last bit of a solver's does not change them."""
    return float(f"{value:.6g}")
