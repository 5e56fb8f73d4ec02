"""Holding a device's clock down: less power, more time (StreamWise sections 3.3 and 4.6)."""

from __future__ import annotations

from bisect import bisect_left

from hpcwise.core.catalogue import Frequency, HardwareInfo


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
