"""Which replicas there can be: for each station (stages that are held together) every size on every pool,
with its times, price and power. Whatever can never be is said here, in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hpcwise.core.catalogue import Catalogue, HardwareInfo, ModelInfo
from hpcwise.core.errors import UsageError
from hpcwise.core.parallel import usp_degrees
from hpcwise.core.profiles import Profiles
from hpcwise.core.provisioner.types import Pool, StageShape, Variant
from hpcwise.core.units import HOUR_S

#: Largest share of a spot replica's time that evictions are taken to cost.
_MOST_RISK: Final = 0.9


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One size of replica of a station on a pool.

    first_s: of each of its stages' first unit. work_s: in which one such replica alone would make all the
    other units. late_s: until a new one works (queue, load, warm-up). risk: share of its time that
    evictions cost, already in work_s. busy_w, idle_w: of the whole replica. mhz: clock that it is held down
    to, 0 for the highest.
    """

    pool: int
    devices: int
    nodes: int
    first_s: tuple[float, ...]
    work_s: float
    usd_per_h: float
    busy_w: float
    idle_w: float
    late_s: float
    risk: float
    mhz: int = 0


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """Stages that one replica holds, by their place in the variant. serial: one replica at a time works.
    units: of the stage with most."""

    stages: tuple[int, ...]
    names: tuple[str, ...]
    models: tuple[str, ...]
    serial: bool
    units: int
    options: tuple[Option, ...]


def check_pools(pools: Sequence[Pool], catalogue: Catalogue) -> None:
    """Raises UsageError for an empty cluster, unknown hardware, or two regions without a link."""
    if not any(pool.devices > 0 for pool in pools):
        raise UsageError("cluster: has no devices; give at least one pool and a number of 1 or more")
    names = [pool.name for pool in pools]
    for pool in pools:
        where = f"cluster.{pool.name}"
        if names.count(pool.name) > 1:
            raise UsageError(f"{where}: is named twice; give every pool a name of its own")
        if pool.hardware not in catalogue.hardware:
            known = ", ".join(catalogue.hardware)
            raise UsageError(
                f"{where}: hardware {pool.hardware!r} is not in hardware.yaml; known are {known}"
            )
        for field in ("devices", "queue_s", "evictions_per_h", "together", "size", "memory_gb"):
            value = getattr(pool, field)
            if not 0 <= value < float("inf"):
                raise UsageError(f"{where}.{field}: {value} is not usable; give 0 or more")
    regions = sorted({pool.region for pool in pools if pool.devices})
    linked = {frozenset((link.a, link.b)) for link in catalogue.links if link.gb_per_s > 0}
    for i, a in enumerate(regions):
        for b in regions[i + 1 :]:
            if frozenset((a, b)) not in linked:
                raise UsageError(
                    f"cluster.region: {a!r} and {b!r} have no link; add one to links in hardware.yaml"
                )


def stations(
    variant: Variant,
    pools: Sequence[Pool],
    profiles: Profiles,
    near: Mapping[str, str],
    known: dict[tuple[object, ...], tuple[Option, ...]],
) -> tuple[Station, ...]:
    """The stations of a variant in the order of their first stage.

    near: region to which stages of that `near` are bound. known: options of stations that other variants
    have too; grows. Raises UsageError for a model that fits nowhere.
    """
    catalogue = profiles.catalogue
    groups: dict[str, list[int]] = {}
    for i, stage in enumerate(variant.stages):
        if stage.fixed_s is None:
            groups.setdefault(f"/{stage.share}" if stage.share else stage.name, []).append(i)
    total = sum(pool.devices for pool in pools)
    found = []
    for members in groups.values():
        shapes = [variant.stages[i] for i in members]
        key = tuple(
            (shape.model, shape.units, *shape.features.items(), *shape.first.items(), shape.resolution,
             shape.frames, near.get(shape.near))
            for shape in shapes
        )  # fmt: skip
        if key not in known:
            options = []
            for p, pool in enumerate(pools):
                if any(near.get(shape.near, pool.region) != pool.region for shape in shapes):
                    continue
                zone = pool.zone or pool.name
                of_zone = sum(other.devices for other in pools if (other.zone or other.name) == zone)
                options += _options(shapes, p, pool, of_zone / total if total else 0.0, profiles)
            if not options:
                raise UsageError(_fits_nowhere(shapes, pools, catalogue))
            known[key] = _undominated(options)
        station = Station(
            stages=tuple(members),
            names=tuple(shape.name for shape in shapes),
            models=tuple(dict.fromkeys(shape.model for shape in shapes)),
            serial=all(shape.serial for shape in shapes),
            units=max(shape.units for shape in shapes),
            options=known[key],
        )
        found.append(station)
    return tuple(found)


def sizes(model: ModelInfo, hardware: HardwareInfo, shape: StageShape) -> tuple[int, ...]:
    """Devices that a replica may have: valid degrees up to the largest that was measured. Models without
    attention heads that were measured on several devices split their frames over them."""
    profile = model.profiles.get(hardware.name)
    valid = usp_degrees(model, hardware, shape.resolution, shape.frames)
    if profile is None or not valid:
        return ()
    measured = {1, *profile.sizes, *profile.speedup}
    if not model.attention_heads:
        most = model.max_devices or max(measured)
        node = max(1, hardware.devices_per_node)
        return tuple(n for n in sorted(measured) if n <= most and (node % n == 0 or n % node == 0))
    return tuple(n for n in valid if n <= max(measured))


def _options(
    shapes: list[StageShape], p: int, pool: Pool, zone_share: float, profiles: Profiles
) -> list[Option]:
    catalogue = profiles.catalogue
    hardware = catalogue.hardware[pool.hardware]
    models = []
    for shape in shapes:
        if shape.model not in catalogue.models:
            raise UsageError(f"model: {shape.model!r} is not in the catalogue; see hpcwise models ls")
        models.append(catalogue.models[shape.model])
    held = {model.name: model for model in models}
    if 0 < (pool.memory_gb or hardware.memory_gb) < sum(model.memory_gb for model in held.values()):
        return []
    if pool.models and not held.keys() <= set(pool.models):
        return []
    valid = (
        [{pool.size}]
        if pool.size
        else [set(sizes(model, hardware, shape)) for model, shape in zip(models, shapes, strict=True)]
    )
    load_s = sum(model.load_s + model.warmup_s for model in held.values())
    late_s = 0.0 if pool.warm else pool.queue_s + load_s
    outage_h = (pool.queue_s + load_s) / HOUR_S
    risk = 0.0
    if pool.spot:
        risk = min(_MOST_RISK, pool.evictions_per_h * outage_h * (1 + pool.together * zone_share))
    found = []
    for n in sorted(set.intersection(*valid)):
        if n > pool.devices:
            continue
        first_s, work_s, watt_s, busy_s = [], 0.0, 0.0, 0.0
        for shape in shapes:
            each_s = profiles.expected_s(shape.model, pool.hardware, shape.features, n)
            of_first_s = each_s
            if shape.first:
                of_first_s = profiles.expected_s(shape.model, pool.hardware, shape.first, n)
            first_s.append(of_first_s)
            work_s += each_s * (shape.units - 1)
            busy = of_first_s + each_s * (shape.units - 1)
            busy_s += busy
            watt_s += busy * profiles.power_w(shape.model, pool.hardware, n)
        found.append(
            Option(
                pool=p,
                devices=n,
                nodes=max(1, -(-n // max(1, hardware.devices_per_node))),
                first_s=tuple(first_s),
                work_s=work_s / (1 - risk),
                usd_per_h=profiles.cost_usd(pool.hardware, n, HOUR_S, spot=pool.spot),
                busy_w=watt_s / busy_s if busy_s > 0 else 0.0,
                idle_w=profiles.idle_w(pool.hardware, n),
                late_s=late_s,
                risk=risk,
            )
        )
    return found


def clocked(options: Sequence[Option], pools: Sequence[Pool], catalogue: Catalogue) -> tuple[Option, ...]:
    """The options, and each at every lower measured clock of its hardware: slower, for less power."""
    found = list(options)
    for option in options:
        points = catalogue.hardware[pools[option.pool].hardware].frequencies
        found += [
            msgspec.structs.replace(
                option,
                first_s=tuple(each_s * point.time for each_s in option.first_s),
                work_s=option.work_s * point.time,
                busy_w=option.busy_w * point.power,
                mhz=point.mhz,
            )
            for point in points
            if point.power < 1
        ]
    return tuple(found)


def _undominated(options: list[Option]) -> tuple[Option, ...]:
    """Without sizes to which a smaller one of the same pool is in nothing inferior."""
    return tuple(
        a
        for a in options
        if not any(
            b.pool == a.pool and b.devices < a.devices and b.work_s <= a.work_s and b.first_s <= a.first_s
            and all(x <= y for x, y in zip(b.first_s, a.first_s, strict=True)) and b.busy_w <= a.busy_w
            for b in options
        )
    )  # fmt: skip


def _fits_nowhere(shapes: list[StageShape], pools: Sequence[Pool], catalogue: Catalogue) -> str:
    """One line: which model, what it needs, what there is."""
    for shape in shapes:
        model = catalogue.models[shape.model]
        there = [catalogue.hardware[pool.hardware] for pool in pools if pool.devices]
        if all(model.name and hw.name not in model.profiles for hw in there):
            names = ", ".join(dict.fromkeys(hw.name for hw in there))
            return (
                f"model: {model.name!r} has no profile on {names}; measure it (hpcwise profile) or add "
                f"hardware of {', '.join(model.profiles) or 'its own'}"
            )
        if all(not sizes(model, hw, shape) for hw in there):
            what = ", ".join(f"{hw.name} ({hw.memory_gb:g} GB)" for hw in there)
            width, height = shape.resolution
            return (
                f"model: {model.name!r} ({model.memory_gb:g} GB, at {width}x{height}) fits none of {what}; "
                "add hardware with more memory, or choose another model or size"
            )
    names = " and ".join(dict.fromkeys(shape.model for shape in shapes))
    return f"model: {names} fit no pool together; add devices with more memory"
