"""A site's own price of a device, from Slurm's billing weights (TRESBillingWeights of a partition).

    weights = parse_weights("CPU=1.0,Mem=0.25G,GRES/gpu:a100=40")
    priced = billed(hardware, {"a100": DeviceShare(cpus=12, memory_gb=128)}, weights, usd_per_unit_h=0.01)
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hpcwise.core.catalogue import HardwareInfo
from hpcwise.core.errors import UsageError

#: Suffixes of Slurm's sizes, in megabytes.
_MEGABYTES = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}


class DeviceShare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with one device when it is allocated. gres: its name in Slurm when it is not ours;
    gpu: no for hardware that is cores only."""

    cpus: float = 0.0
    memory_gb: float = 0.0
    gres: str = ""
    gpu: bool = True


def parse_weights(text: str) -> dict[str, float]:
    """Billing units by resource, keys in lower case; memory is per GB.

    Raises UsageError that names the part that is wrong.
    """
    weights: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = part.partition("=")
        unit = value[-1:].upper()
        number = value[:-1] if unit in _MEGABYTES else value
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not equals or not name or not 0 <= weight < float("inf"):
            raise UsageError(f"billing.weights: {part!r} is not NAME=NUMBER; copy Slurm's TRESBillingWeights")
        if name.lower() == "mem":
            # Slurm's weight is per megabyte unless it has a suffix.
            weight *= 1024 / _MEGABYTES.get(unit, 1.0)
        weights[name.lower()] = weight
    return weights


def billed_usd_per_h(
    name: str, share: DeviceShare, weights: Mapping[str, float], usd_per_unit_h: float
) -> float:
    """Price of one device an hour: its own weight (by type, else any GPU's), its cores and its memory."""
    gpu = 0.0
    if share.gpu:
        typed = f"gres/gpu:{(share.gres or name).lower()}"
        gpu = weights.get(typed, weights.get("gres/gpu", 0.0))
    units = gpu + weights.get("cpu", 0.0) * share.cpus + weights.get("mem", 0.0) * share.memory_gb
    return units * usd_per_unit_h


def billed(
    hardware: Mapping[str, HardwareInfo],
    shares: Mapping[str, DeviceShare],
    weights: Mapping[str, float],
    usd_per_unit_h: float,
) -> dict[str, HardwareInfo]:
    """The same hardware at a site's prices; hardware that the site does not have keeps its own.

    A batch system bills reserved and preemptible work alike, so both prices become the site's. Raises
    UsageError for a share of hardware that is not in `hardware`, or that would cost nothing.
    """
    priced = dict(hardware)
    for name, share in shares.items():
        if name not in hardware:
            known = ", ".join(hardware)
            raise UsageError(f"billing.devices: {name!r} is not in hardware.yaml; known are {known}")
        usd = billed_usd_per_h(name, share, weights, usd_per_unit_h)
        if usd <= 0:
            raise UsageError(f"billing.devices.{name}: no weight applies to it; name its gres or its cpus")
        priced[name] = msgspec.structs.replace(
            hardware[name], usd_per_h=usd, spot_usd_per_h=usd, price_source="billing weights of this site"
        )
    return priced
