"""From a plan to workers: the fleet that would hold it, how many of each kind are wanted, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.frequency import held_down
from hpcwise.core.provisioner.types import NOTHING, Plan, Pool, Replicas
from hpcwise.core.resources import FleetItem, WorkerInfo


def kind_of(replicas: Replicas) -> str:
    """Name of the kind of worker that one of these replicas is."""
    clock = f"@{replicas.mhz}" if replicas.mhz else ""
    return f"{'+'.join(replicas.models)}-{replicas.pool}x{replicas.devices}{clock}"


def fleet_of(plan: Plan, pools: Sequence[Pool], catalogue: Catalogue) -> tuple[FleetItem, ...]:
    """Exactly the plan's replicas, as kinds of workers that are kept. Those whose clock is held down are of
    hardware of their own (see hpcwise.core.frequency.with_clocks)."""
    by_name = {pool.name: pool for pool in pools}
    found = []
    for row in plan.replicas:
        hardware = catalogue.hardware[by_name[row.pool].hardware]
        held_gb = sum(catalogue.models[name].memory_gb for name in row.models)
        found.append(
            FleetItem(
                kind=kind_of(row),
                hardware=held_down(hardware.name, row.mhz),
                models=row.models,
                memory_gb=max(hardware.memory_gb, held_gb, 1.0),
                min_workers=row.n,
                max_workers=row.n,
                nodes=row.nodes,
                devices_per_node=row.devices // row.nodes,
                idle_timeout_s=1e9,
                launch_s=by_name[row.pool].queue_s,
            )
        )
    return tuple(found)


def wanted(plan: Plan, fleet: Iterable[FleetItem], pools: Sequence[Pool]) -> dict[str, int]:
    """How many workers of each kind of a given fleet the plan wants: what `PlanReady` tells the engine.

    A kind serves a replica when hardware and devices are the same and it can host the models; kinds that
    serve none are wanted 0 times.
    """
    hardware = {pool.name: pool.hardware for pool in pools}
    left = [(row, row.n) for row in plan.replicas]
    found: dict[str, int] = {}
    for item in fleet:
        devices = max(1, item.nodes) * max(1, item.devices_per_node)
        n = 0
        for i, (row, rest) in enumerate(left):
            fits = hardware[row.pool] == item.hardware and row.devices == devices
            if fits and set(row.models) <= set(item.models):
                taken = min(rest, item.max_workers - n)
                left[i] = (row, rest - taken)
                n += taken
        found[item.kind] = n
    return found


def present_of(workers: Iterable[WorkerInfo], pools: Sequence[Pool], work: str = "") -> Plan:
    """What stands now, as a plan to go on from. A worker belongs to the first pool of its hardware, region
    and price; those of no pool are left out."""
    counts: dict[tuple[str, tuple[str, ...], int, int], int] = {}
    for info in workers:
        for pool in pools:
            if (pool.hardware, pool.region, pool.spot) == (info.hardware, info.region, info.spot):
                key = (pool.name, info.loaded or info.models, info.n_devices, len(info.ranks))
                counts[key] = counts.get(key, 0) + 1
                break
    rows = [
        Replicas(stages=(), models=models, pool=pool, devices=devices, n=n, nodes=nodes)
        for (pool, models, devices, nodes), n in counts.items()
    ]
    return Plan(work=work, variant="", tier="", replicas=tuple(sorted(rows)), estimate=NOTHING)


def devices_used(replicas: Iterable[Replicas]) -> Mapping[str, int]:
    """Devices by pool."""
    found: dict[str, int] = {}
    for row in replicas:
        found[row.pool] = found.get(row.pool, 0) + row.devices * row.n
    return found
