"""What makes a prediction less than certain: asked outside what was measured, or measured too long ago."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from hpcwise.core.catalogue import ModelInfo

#: Real runs that take this much more or less than the profile say that it is stale.
DRIFT = 0.25
#: Beyond the measured range by less than this share of it is still called measured.
SLACK = 0.001

FlagKind = Literal["unmeasured", "estimated", "extrapolates", "size", "stale", "drift"]


class ProfileFlag(msgspec.Struct, frozen=True, kw_only=True):
    """One reason for doubt. text: one line for a person."""

    kind: FlagKind
    text: str


def profile_flags(
    model: ModelInfo,
    hardware: str,
    features: Mapping[str, float] | None = None,
    n_devices: int = 1,
    ratio: float = 1.0,
) -> tuple[ProfileFlag, ...]:
    """Reasons to doubt a prediction for these features and this size of a replica; empty when there are none.

    features: raw ones; None asks about the profile itself only. ratio: what real runs take over the profile.
    """
    profile = model.profiles.get(hardware)
    pair = f"{model.name} on {hardware}"
    if profile is None:
        return (ProfileFlag(kind="unmeasured", text=f"{pair}: no profile; run hpcwise profile {model.name}"),)
    flags = []
    fit = profile.fit
    if fit is not None and fit.estimated:
        flags.append(ProfileFlag(kind="estimated", text=f"{pair}: not measured, {fit.source}"))
    if fit is not None and fit.model_version and fit.model_version != model.version:
        text = f"{pair}: measured for version {fit.model_version}, the card says {model.version}"
        flags.append(ProfileFlag(kind="stale", text=text))
    if abs(ratio - 1) > DRIFT:
        flags.append(ProfileFlag(kind="drift", text=f"{pair}: real runs take {ratio:.2f} times the profile"))
    for name, value in (features or {}).items():
        low, high = (fit.ranges if fit else {}).get(name, (value, value))
        if not low - SLACK * (high - low) <= value <= high + SLACK * (high - low):
            text = f"{pair}: {name} {value:g} is outside what was measured, {low:g} to {high:g}"
            flags.append(ProfileFlag(kind="extrapolates", text=text))
    measured = sorted({1, *profile.sizes, *profile.speedup})
    if n_devices not in measured:
        known = ", ".join(map(str, measured))
        word = "interpolates" if n_devices < measured[-1] else "extrapolates"
        text = f"{pair}: {n_devices} devices {word}; measured are {known}"
        flags.append(ProfileFlag(kind="size", text=text))
    return tuple(flags)
