"""Holding a device's clock down: less power, more time (StreamWise sections 3.3 and 4.6)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from hpcwise.core.catalogue import Catalogue, Frequency, HardwareInfo, LinearProfile, SizeProfile


def at_mhz(hardware: HardwareInfo, mhz: float) -> Frequency:
    """Power and time at a clock, linear between two measured ones and never outside them; without measured
    clocks, the highest: full power and no delay."""
    curve = hardware.frequencies
    if not curve:
        return Frequency(mhz=round(mhz), power=1.0, time=1.0)
    i = bisect_left([point.mhz for point in curve], mhz)
    if i == 0 or i == len(curve):
        return curve[min(i, len(curve) - 1)]
    low, high = curve[i - 1], curve[i]
    share = (mhz - low.mhz) / (high.mhz - low.mhz)
    return Frequency(
        mhz=round(mhz),
        power=low.power * (1 - share) + high.power * share,
        time=low.time * (1 - share) + high.time * share,
    )


def thriftiest(hardware: HardwareInfo) -> Frequency:
    """The measured clock that needs the least energy for the same work, idle power included."""
    if not hardware.frequencies:
        return at_mhz(hardware, 0)
    return min(hardware.frequencies, key=lambda point: (point.power * point.time, -point.mhz))


def held_down(hardware: str, mhz: int) -> str:
    """Name of a kind of hardware at a clock."""
    return f"{hardware}@{mhz}" if mhz else hardware


def with_clocks(catalogue: Catalogue, pairs: Iterable[tuple[str, int]]) -> Catalogue:
    """The catalogue with each (hardware, MHz) as hardware of its own, named by `held_down`: its power, and
    every profile of its models, as the frequency-power curve says."""
    hardware, models = dict(catalogue.hardware), dict(catalogue.models)
    for name, mhz in dict.fromkeys(pairs):
        if not mhz:
            continue
        point, own = at_mhz(hardware[name], mhz), held_down(name, mhz)
        plain = hardware[name]
        hardware[own] = msgspec.structs.replace(plain, name=own, busy_w=plain.busy_w * point.power)
        for info in list(models.values()):
            if name in info.profiles:
                slow = {**info.profiles, own: _slower(info.profiles[name], point)}
                models[info.name] = msgspec.structs.replace(info, profiles=slow)
    return msgspec.structs.replace(catalogue, hardware=hardware, models=models)


def _slower(profile: LinearProfile, point: Frequency) -> LinearProfile:
    def by(terms: dict[str, float]) -> dict[str, float]:
        return {term: each * point.time for term, each in terms.items()}

    sizes = {
        n: SizeProfile(base_s=size.base_s * point.time, per=by(size.per), floor=by(size.floor))
        for n, size in profile.sizes.items()
    }
    return msgspec.structs.replace(
        profile, base_s=profile.base_s * point.time, per=by(profile.per), floor=by(profile.floor),
        sizes=sizes, serial_s=profile.serial_s * point.time, serial=by(profile.serial),
        power_w={n: watts * point.power for n, watts in profile.power_w.items()},
    )  # fmt: skip
