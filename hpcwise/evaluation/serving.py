"""Many requests on one cluster: how many replicas a rate needs, by the paper's rule and by the engine.

The rule (it gives the paper's numbers, section 5.3): a model that takes T seconds for one film with the
replicas of a plan needs ceil(rate x T) times those replicas. The engine then serves real arrivals with them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hpcwise.core.catalogue import Catalogue, LinearProfile
from hpcwise.core.config import EngineConfig
from hpcwise.core.provisioner.fleet import fleet_of
from hpcwise.core.provisioner.types import Plan, Pool, Replicas
from hpcwise.core.resources import FleetItem
from hpcwise.sim.arrivals import SloClass, poisson
from hpcwise.sim.config import SimConfig
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import PAPER, paper_job

#: What reads the document and finds faces runs on a host's cores (Table 4).
_CORES: Final = {"yolo": 0.1, "pdf-document": 1.2}
MINUTE_S: Final = 60.0


def stage_s(plan: Plan) -> dict[str, float]:
    """Seconds of each stage for one film with the plan's replicas, first unit included."""
    return {time.stage: time.first_s + time.rest_s for time in plan.estimate.stages}


def sets(times_s: Mapping[str, float], qpm: float) -> dict[str, int]:
    """How many times a model's replicas a rate needs, by stage."""
    return {stage: max(1, math.ceil(qpm * t / MINUTE_S - 1e-9)) for stage, t in times_s.items()}


def hourly_usd(
    plan: Plan, times_s: Mapping[str, float], qpm: float, usd_per_h: Mapping[str, float]
) -> dict[str, float]:
    """Dollars an hour by stage; usd_per_h: of a device by pool."""
    needed = sets(times_s, qpm)
    found: dict[str, float] = {}
    for row in plan.replicas:
        each = max(needed[stage] for stage in row.stages)
        stage = row.stages[0]
        found[stage] = found.get(stage, 0.0) + each * row.n * row.devices * usd_per_h[row.pool]
    return found


def scaled(plan: Plan, qpm: float, headroom: float) -> tuple[Replicas, ...]:
    """The plan's replicas for a rate, single replicas instead of whole sets, and so much more of each. What
    every film needs before its first segment and the plan has once, has a spare: two may come at a time."""
    times_s = stage_s(plan)
    found = []
    for row in plan.replicas:
        busy = qpm * max(times_s[stage] for stage in row.stages) / MINUTE_S
        spare = 1 if row.n == 1 and set(row.stages) & {"screenplay", "image", "speech"} else 0
        n = max(1, math.ceil(row.n * headroom * busy)) + spare
        found.append(msgspec.structs.replace(row, n=n))
    return tuple(found)


def on_cores(catalogue: Catalogue) -> tuple[Catalogue, FleetItem]:
    """The catalogue with what a podcast does on a host's cores, and workers for it."""
    models = dict(catalogue.models)
    for name, seconds in _CORES.items():
        profiles = {**models[name].profiles, "cpu": LinearProfile(base_s=seconds)}
        models[name] = msgspec.structs.replace(models[name], profiles=profiles)
    cores = FleetItem(
        kind="cores", hardware="cpu", models=tuple(_CORES), memory_gb=1e3, min_workers=8, max_workers=8,
        idle_timeout_s=1e9,
    )  # fmt: skip
    return msgspec.structs.replace(catalogue, models=models), cores


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """met: share of the requests that could be watched from the promised time on without a stall, or, where
    nothing was promised, were made. start_s: median start without a stall of those with a promise."""

    usd_per_h: float
    devices: int
    met: float
    start_s: float
    ready_s: float
    headroom: float


def serve(
    plan: Plan,
    pools: Sequence[Pool],
    catalogue: Catalogue,
    *,
    qpm: float,
    n: int,
    classes: Sequence[SloClass],
    headroom: float,
    seed: int,
    usd_per_h: Mapping[str, float],
) -> Served:
    """`n` podcasts that arrive at random, `qpm` a minute."""
    known, cores = on_cores(catalogue)
    rows = scaled(plan, qpm, headroom)
    fleet = (*fleet_of(msgspec.structs.replace(plan, replicas=rows), pools, known), cores)
    engine = EngineConfig(catalogue=known, fleet=fleet)
    config = SimConfig(engine=engine, warm=True, seed=seed, overhead_s=0.0, tick_s=2.0, patience_s=7200.0)
    more: dict[str, Any] = {"slo": classes[0].slo(0.0, 0.0)}
    arrivals = poisson(paper_job(**more), n, qpm * 60, seed, classes)
    requests = Simulation(config, arrivals, PAPER).run().requests
    limits = {f"live, first frame in {c.live_s:g} s": c.live_s for c in classes if c.live_s is not None}
    starts = [r.ttff_stall_free_s for r in requests if r.slo in limits and r.ttff_stall_free_s is not None]
    kept = [
        r.state == "done" and (r.slo not in limits or (r.ttff_stall_free_s or math.inf) <= limits[r.slo])
        for r in requests
    ]
    return Served(
        usd_per_h=sum(row.n * row.devices * usd_per_h[row.pool] for row in rows),
        devices=sum(row.n * row.devices for row in rows),
        met=sum(kept) / len(kept),
        start_s=statistics.median(starts) if starts else math.nan,
        ready_s=max((r.ready_s for r in requests if r.ready_s is not None), default=math.nan),
        headroom=headroom,
    )
