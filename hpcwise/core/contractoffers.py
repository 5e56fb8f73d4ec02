"""The offers of a cluster for a film: jobs of its pools in several sizes, with what each would take and cost.

catalogue = site_catalogue(cluster, catalogue, work)     # every pool is a kind of hardware at its price
shapes = offers_of(cluster, work, catalogue, waits, level=0.9)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from hpcwise.core.billing import DeviceShare, billed_usd_per_h, parse_weights
from hpcwise.core.catalogue import Catalogue, HardwareInfo
from hpcwise.core.cluster import Cluster, Pool, Replica
from hpcwise.core.contract import Kept, Offer, Terms
from hpcwise.core.contractquote import cheapest_first
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.provision import problem, provision
from hpcwise.core.provisioner.types import Objective, Plan, Work
from hpcwise.core.provisioner.types import Pool as PlanPool
from hpcwise.core.queuewait import WaitModel, Waits, flat

#: Walltimes are asked for in quarters of an hour.
_ROUND_S: Final = 900.0
#: Sizes of a job that are looked at, in nodes.
_SIZES: Final = (1, 2, 4, 8, 16, 32)
#: A wide replica's job is as long as its partition allows, else this.
_LONGEST_S: Final = 7 * 24 * 3600.0
#: Where nothing is known of a site's waits: a guess that is said to be one.
_GUESS_S: Final = 600.0


class Price(msgspec.Struct, frozen=True):
    """Of one device an hour, and which price that is."""

    usd_per_h: float
    what: str


def usable(cluster: Cluster, partition: str = "") -> tuple[Pool, ...]:
    """Pools that may be used, of one partition if it is named. Raises UsageError where none is."""
    found = tuple(p for p in cluster.pools if p.use and p.nodes > 0)
    if partition:
        known = ", ".join(dict.fromkeys(p.partition for p in found)) or "none"
        found = tuple(p for p in found if p.partition == partition)
        if not found:
            raise UsageError(
                f"partition: {partition!r} is not in the cluster file of {cluster.cluster!r}; it has {known}"
            )
    if not found:
        raise UsageError(
            f"cluster: {cluster.cluster!r} has no pool to use; set use: true and nodes of one in its file"
        )
    return found


def on_cores(pool: Pool, work: Work, catalogue: Catalogue) -> bool:
    """Whether the film's models run on the cores of these nodes: there is no GPU, or some of them have no
    profile on it while all have one on cores. A device is a worker's then: a core, or with GPUs one a GPU."""
    if not pool.gpus_per_node:
        return True
    known = [catalogue.models[name] for name in _models_of(work) if name in catalogue.models]
    if all(pool.hardware in model.profiles for model in known):
        return False
    return all("cpu" in model.profiles for model in known)


def workers_per_node(pool: Pool) -> int:
    """As a head has them: one a GPU, also for models that run on the cores beside it, or one a core."""
    return pool.gpus_per_node or pool.cpus_per_node


def price_of(pool: Pool, cluster: Cluster, hardware: HardwareInfo) -> Price:
    """Of a worker's share of a node: by hand, else by billing weights, else of hardware.yaml."""
    spot = pool.preempts != "off"
    gpus = max(1, pool.gpus_per_node)
    share = 1 / workers_per_node(pool)
    if pool.usd_per_gpu_h is not None:
        node = pool.usd_per_gpu_h * gpus
        return Price(node * share, "the cluster file's own price")
    if pool.billing_weights and cluster.usd_per_unit_h:
        weights = parse_weights(pool.billing_weights)
        cpus, memory = pool.cpus_per_node * share, pool.memory_gb_per_node * share
        of_device = DeviceShare(cpus=cpus, memory_gb=memory, gres=pool.gpu, gpu=pool.gpus_per_node > 0)
        usd = billed_usd_per_h(pool.hardware, of_device, weights, cluster.usd_per_unit_h)
        if usd > 0:
            return Price(usd, f"billing weights of {pool.partition}")
    usd = hardware.spot_usd_per_h if spot else hardware.usd_per_h
    kind = "spot" if spot else "reserved"
    whole_host = not pool.gpus_per_node or pool.hardware == "cpu"
    node = usd if whole_host else usd * gpus
    source = hardware.price_source or "hardware.yaml"
    return Price(node * share, f"{kind} price, {source}")


def site_catalogue(cluster: Cluster, catalogue: Catalogue, work: Work) -> Catalogue:
    """The same catalogue in which every pool is a kind of hardware of its own name, at its own price.

    Raises UsageError for hardware that hardware.yaml does not have.
    """
    hardware = dict(catalogue.hardware)
    models = dict(catalogue.models)
    for pool in usable(cluster):
        cores = on_cores(pool, work, catalogue)
        name = "cpu" if cores else pool.hardware
        if name not in catalogue.hardware or pool.hardware not in catalogue.hardware:
            known = ", ".join(catalogue.hardware)
            raise UsageError(
                f"pools.{pool.pool}.hardware: {pool.hardware!r} is not in hardware.yaml; known are {known}"
            )
        price = price_of(pool, cluster, catalogue.hardware[pool.hardware])
        share = 1 / workers_per_node(pool) if cores else 1.0
        info = catalogue.hardware[name]
        hardware[pool.pool] = msgspec.structs.replace(
            info,
            name=pool.pool,
            usd_per_h=price.usd_per_h,
            spot_usd_per_h=price.usd_per_h,
            busy_w=info.busy_w * share,
            idle_w=info.idle_w * share,
            memory_gb=0.0 if cores else info.memory_gb,
            devices_per_node=workers_per_node(pool),
            price_source=price.what,
        )
        for key, model in models.items():
            if name in model.profiles:
                limited = (*model.hardware, pool.pool) if name in model.hardware else model.hardware
                profiles = {**model.profiles, pool.pool: model.profiles[name]}
                models[key] = msgspec.structs.replace(model, profiles=profiles, hardware=limited)
    return msgspec.structs.replace(catalogue, models=models, hardware=hardware)


def offers_of(
    cluster: Cluster, work: Work, catalogue: Catalogue, waits: WaitModel | None, level: float = 0.9,
    partition: str = "", evictions_per_h: float = 0.1, sigma: float = 0.1,
) -> tuple[Offer, ...]:  # fmt: skip
    """Every pool in every size that its nodes allow and that makes the film. catalogue: `site_catalogue`.

    evictions_per_h: of a job in a preemptible pool. Raises UsageError where no pool can make the film.
    """
    found: list[Offer] = []
    wrong: list[UsageError] = []
    for pool in usable(cluster, partition):
        of_node = workers_per_node(pool)
        least: float | None = None
        for nodes in [n for n in _SIZES if n <= pool.nodes]:
            try:
                made = _plan(pool, nodes * of_node, work, catalogue)
            except UsageError as error:
                wrong.append(error)
                continue
            wide = sum(row.devices for row in made.replicas if row.pool != pool.pool)
            if nodes + wide / of_node > pool.nodes:
                left = f"leave too few of its {pool.nodes} nodes to other workers; make them smaller"
                wrong.append(UsageError(f"pools.{pool.pool}.replicas: {left}, or leave one out"))
                break
            work_s = made.estimate.ready_s
            # A size that gains less than a twentieth on the next smaller one is not worth its price.
            if least is not None and work_s > 0.95 * least:
                break
            least = work_s
            offer = _offer(pool, nodes, of_node, made, catalogue, waits, evictions_per_h, level, sigma)
            models = {name for row in made.replicas for name in row.models}
            found.append(msgspec.structs.replace(offer, kept=_kept(cluster, models, catalogue)))
    if not found:
        raise wrong[0] if wrong else UsageError("cluster: no pool can make this film")
    return tuple(found)


def terms_of(
    offers: Sequence[Offer], waits: WaitModel | None, level: float, sigma: float, midnight_s: float
) -> Terms:
    """The terms of a choice of offers."""
    ordered = cheapest_first(offers)
    kept = tuple({each.name: each for offer in ordered for each in offer.kept}.values())
    return Terms(
        offers=ordered,
        waits=tuple(waits_of(offer, waits) for offer in ordered),
        level=level,
        sigma=sigma,
        midnight_s=midnight_s,
        kept=kept,
        kept_waits=tuple(waits_of(each, waits) for each in kept),
    )


def waits_of(offer: Offer | Kept, waits: WaitModel | None) -> tuple[Waits, ...]:
    """Waits by hour; the same guess for all where nothing was learned."""
    if waits is None:
        return (flat(_GUESS_S, "a guess; run hpcwise cluster learn"),) * 24
    return waits.by_hour(offer.partition, offer.nodes, offer.walltime_s)


def choices(offers: Iterable[Offer]) -> tuple[tuple[Offer, ...], ...]:
    """Sets of one offer of each pool, from the thriftiest to the fastest; then mixed ones, much of the pool
    that is cheapest by the hour and little of the others."""
    by_pool: dict[str, list[Offer]] = {}
    for offer in offers:
        by_pool.setdefault(offer.pools[0], []).append(offer)
    for rows in by_pool.values():
        rows.sort(key=lambda offer: offer.nodes)
    longest = max(len(rows) for rows in by_pool.values())

    def of_step(step: int, others: int) -> tuple[Offer, ...]:
        return tuple(
            rows[min(len(rows) - 1, step if pool == cheap else others)] for pool, rows in by_pool.items()
        )

    cheap = min(by_pool, key=lambda pool: by_pool[pool][0].usd_per_h / by_pool[pool][0].nodes)
    made = [of_step(step, step) for step in range(longest)]
    made += [of_step(step, step - 1) for step in range(1, longest)]
    return tuple(dict.fromkeys(made))


def _plan(pool: Pool, devices: int, work: Work, catalogue: Catalogue) -> Plan:
    """The fastest with that many workers of one process, and one of each wide kind of the pool."""
    spot, wide = pool.preempts != "off", _needed(pool, work)
    there = [
        PlanPool(
            name=replica.kind_in(pool.pool), hardware=pool.pool, devices=replica.processes, spot=spot,
            size=replica.processes, models=replica.models,
        )
        for replica in wide
    ]  # fmt: skip
    shared = {name for replica in wide for name in replica.models}
    others = tuple(sorted(_models_of(work) - shared)) if wide else ()
    if others or not wide:  # no models are all models
        there.append(PlanPool(name=pool.pool, hardware=pool.pool, devices=devices, spot=spot, models=others))
    return provision(problem(work, there, catalogue), Objective(name="ready"), iterations=2000)


def _models_of(work: Work) -> set[str]:
    return {s.model for v in work.variants for s in v.stages if s.fixed_s is None}


def _needed(pool: Pool, work: Work) -> tuple[Replica, ...]:
    """Wide replicas of the pool that hold something of what the film may need."""
    models = _models_of(work)
    return tuple(replica for replica in pool.replicas if models & set(replica.models))


def _kept(cluster: Cluster, models: set[str], catalogue: Catalogue) -> tuple[Kept, ...]:
    """One of each wide kind of the site that holds one of these models, as a head has them
    (contracthead.py)."""
    found = []
    for pool in usable(cluster):
        for replica in pool.replicas:
            if held := models & set(replica.models):
                infos = [catalogue.models[name] for name in held]
                found.append(
                    Kept(
                        name=replica.kind_in(pool.pool), partition=pool.partition, nodes=replica.nodes,
                        gpus=replica.processes if pool.gpus_per_node else 0,
                        walltime_s=pool.max_min * 60.0 if pool.max_min else _LONGEST_S,
                        load_s=max(info.load_s + info.warmup_s for info in infos),
                        usd_per_h=catalogue.hardware[pool.pool].usd_per_h * replica.processes,
                    )
                )  # fmt: skip
    return tuple(found)


def _offer(
    pool: Pool, nodes: int, of_node: int, made: Plan, catalogue: Catalogue, waits: WaitModel | None,
    evictions_per_h: float, level: float, sigma: float,
) -> Offer:  # fmt: skip
    info = catalogue.hardware[pool.pool]
    held = [catalogue.models[name] for row in made.replicas for name in row.models]
    spot = pool.preempts != "off"
    offer = Offer(
        name=f"{pool.pool} x{nodes}",
        partition=pool.partition,
        nodes=nodes,
        gpus=nodes * pool.gpus_per_node,
        walltime_s=_ROUND_S,
        load_s=max((m.load_s + m.warmup_s for m in held), default=0.0),
        work_s=max(1.0, made.estimate.ready_s),
        usd_per_h=info.usd_per_h * of_node * nodes,
        evictions_per_h=evictions_per_h if spot else 0.0,
        pools=(pool.pool,),
        tier=made.tier,
        price=info.price_source,
    )
    return msgspec.structs.replace(offer, walltime_s=_walltime_s(pool, offer, waits, level, sigma))


def _walltime_s(pool: Pool, offer: Offer, waits: WaitModel | None, level: float, sigma: float) -> float:
    """What is asked for: enough for all of it with a margin, or less where several short jobs, which
    backfill holes, are expected to be done sooner than one long one."""
    margin = math.exp(2.5 * sigma)
    full_s = _up(offer.load_s + offer.work_s * margin)
    most_s = pool.max_min * 60.0 if pool.max_min else math.inf
    full_s = min(full_s, most_s)
    if waits is None:
        return full_s
    best = (math.inf, full_s)
    for part in (1, 2, 4):
        each_s = min(most_s, _up(offer.load_s + offer.work_s * margin / part))
        useful_s = each_s - offer.load_s
        if useful_s < 4 * offer.load_s and part > 1:
            break
        pieces = max(1, math.ceil(offer.work_s / max(1.0, useful_s)))
        rows = waits.by_hour(pool.partition, offer.nodes, each_s)
        wait_s = sum(row.at(0.5) + row.at(level) for row in rows) / (2 * len(rows))
        total_s = pieces * (wait_s + offer.load_s)
        best = min(best, (total_s, each_s))
    return best[1]


def _up(seconds: float) -> float:
    return math.ceil(seconds / _ROUND_S - 1e-9) * _ROUND_S
