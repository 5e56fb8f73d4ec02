"""The workers of a running head as pools and plans: those that stand, those that come, those to be had."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.provisioner.types import NOTHING, Plan, Pool, Replicas, Work
from hpcwise.core.provisioner.view import Standing
from hpcwise.core.resources import FleetItem
from hpcwise.core.units import ModelName


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where workers of a kind come from, as far as a plan needs it; see Pool."""

    region: str = ""
    zone: str = ""
    spot: bool = False
    queue_s: float = 0.0
    evictions_per_h: float = 0.0
    together: float = 0.0


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of worker that may be had."""

    item: FleetItem
    place: Place = Place()

    @property
    def size(self) -> int:
        return max(1, self.item.nodes) * max(1, self.item.devices_per_node)


def pools_of(
    offers: Sequence[Offer], waits: dict[str, float], standing: Sequence[Standing], free: dict[str, int]
) -> list[Pool]:
    """Each kind as up to three pools: `kind|+` those that stand, which wait in no queue, `kind|~` those that
    are on their way, `kind|` new ones."""
    found = []
    for offer in offers:
        item, place = offer.item, offer.place
        there = min(free[item.kind], sum(s.n for s in standing if s.kind == item.kind and not s.coming))
        coming = [s for s in standing if s.kind == item.kind and s.coming]
        n_coming = min(free[item.kind] - there, sum(s.n for s in coming))
        new_s = max(item.launch_s, place.queue_s, waits.get(item.kind, 0.0))
        left_s = max(1.0, new_s - min((s.asked_s for s in coming), default=0.0))
        more = free[item.kind] - there - n_coming
        rows = (("+", there, 0.0), ("~", n_coming, left_s), ("", more, new_s))
        for mark, n, queue_s in rows:
            if n > 0:
                found.append(
                    Pool(
                        name=f"{item.kind}|{mark}", hardware=item.hardware, devices=n * offer.size,
                        region=place.region, zone=place.zone or item.kind, spot=place.spot, queue_s=queue_s,
                        evictions_per_h=place.evictions_per_h, together=place.together, warm=False,
                        size=offer.size, models=item.models, memory_gb=item.memory_gb,
                    )
                )  # fmt: skip
    return found


def kind_of(pool: str) -> str:
    """The kind of worker that a pool of `pools_of` is made of."""
    return pool.rpartition("|")[0]


def present_of(work: Work, standing: Sequence[Standing], pools: Sequence[Pool]) -> Plan:
    """What stands as replicas: each worker of the models that it has loaded and of which fewest stand."""
    sizes = {pool.name: pool.size for pool in pools}
    rows: dict[tuple[tuple[ModelName, ...], str], int] = {}
    for variant in work.variants:
        groups: dict[str, list[ModelName]] = {}
        for stage in variant.stages:
            models = groups.setdefault(f"/{stage.share}" if stage.share else stage.name, [])
            if stage.model not in models:
                models.append(stage.model)
        stations = list(dict.fromkeys(tuple(models) for models in groups.values()))
        for row in standing:
            if row.coming or f"{row.kind}|+" not in sizes:
                continue
            for _ in range(row.n):
                fits = [models for models in stations if set(models) <= set(row.models)]
                if fits:
                    best = min(fits, key=lambda models: rows.get((models, f"{row.kind}|+"), 0))
                    rows[best, f"{row.kind}|+"] = rows.get((best, f"{row.kind}|+"), 0) + 1
    replicas = tuple(
        Replicas(stages=(), models=models, pool=pool, devices=sizes[pool], n=n)
        for (models, pool), n in rows.items()
    )
    return Plan(work=work.name, variant="", tier="", replicas=replicas, estimate=NOTHING)


def followed(work: Work, holds: Sequence[m.Hold], pools: Sequence[Pool]) -> Plan:
    """The plan that the engine follows, in workers that stand as far as they do, then in those to come."""
    free = {pool.name: pool.devices // pool.size for pool in pools}
    sizes = {pool.name: pool.size for pool in pools}
    replicas = []
    for hold in holds:
        n = hold.n
        for name in (f"{hold.kind}|+", f"{hold.kind}|~", f"{hold.kind}|"):
            taken = min(n, free.get(name, 0))
            if taken:
                free[name] -= taken
                n -= taken
                replicas.append(
                    Replicas(stages=(), models=hold.models, pool=name, devices=sizes[name], n=taken)
                )
    return Plan(work=work.name, variant="", tier="", replicas=tuple(replicas), estimate=NOTHING)


def without(standing: Sequence[Standing], plan: Plan) -> list[Standing]:
    """What a plan leaves of the workers that stand, for the requests that are planned for next."""
    taken: dict[tuple[str, bool], list[Replicas]] = {}
    for row in plan.replicas:
        if row.pool[-1] in "+~":
            taken.setdefault((kind_of(row.pool), row.pool[-1] == "~"), []).append(row)
    left = list(standing)
    for (kind, coming), rows in taken.items():
        for row in rows:
            n = row.n
            mine = [i for i, s in enumerate(left) if s.kind == kind and s.coming == coming]
            # Those that hold its models first.
            for i in sorted(mine, key=lambda i: -len(set(left[i].models) & set(row.models))):
                used = min(n, left[i].n)
                left[i] = Standing(kind, left[i].models, left[i].n - used, left[i].asked_s)
                n -= used
    return [row for row in left if row.n]
