"""A plan of the provisioner carried out by the engine: what its estimate is checked against.

The film becomes a graph of tasks, one for each unit of each stage, due in the film's order; the workers are
the plan's replicas. The engine schedules it as it would schedule any job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.core.frequency import with_clocks
from hpcwise.core.provisioner.fleet import fleet_of
from hpcwise.core.provisioner.types import Plan, Pool, Variant, Work
from hpcwise.core.resources import FleetItem
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.core.units import HOUR_S
from hpcwise.core.workflow import Edge
from hpcwise.sim.arrivals import at_once
from hpcwise.sim.config import SimConfig, Site
from hpcwise.sim.simulation import Simulation

_CORES = "cores"


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: see Estimate. utilisation: of the planned devices. tasks: how many ran."""

    ttff_s: float
    ready_s: float
    ttff_eff_s: float
    cost_usd: float
    utilisation: float
    tasks: int

    @property
    def cost_x_ttff(self) -> float:
        return self.cost_usd * self.ttff_eff_s


def execute(plan: Plan, work: Work, pools: Sequence[Pool], catalogue: Catalogue, seed: int = 0) -> Executed:
    """Raises UsageError where the engine could not finish the film with this plan."""
    [variant] = [each for each in work.variants if each.name == plan.variant and each.tier == plan.tier]
    job, known, fixed = graph_job(variant, work.film_s, catalogue)
    hardware = {pool.name: pool.hardware for pool in pools}
    known = with_clocks(known, ((hardware[row.pool], row.mhz) for row in plan.replicas))
    fleet = fleet_of(plan, pools, known)
    if fixed:
        cores = FleetItem(
            kind=_CORES, hardware="cpu", models=fixed, memory_gb=1e3, min_workers=8, max_workers=8,
            idle_timeout_s=1e9,
        )  # fmt: skip
        fleet = (*fleet, cores)
    by_name = {pool.name: pool for pool in pools}
    sites = {
        item.kind: Site(region=by_name[row.pool].region, spot=by_name[row.pool].spot)
        for item, row in zip(fleet, plan.replicas, strict=False)
    }
    ends: dict[str, float] = {}

    def watch(now_s: float, event: m.Event, _commands: list[m.Command]) -> None:
        if isinstance(event, m.TaskFinished):
            ends[event.task_id] = now_s

    engine = EngineConfig(catalogue=known, fleet=fleet)
    warm = all(by_name[row.pool].warm for row in plan.replicas)
    config = SimConfig(engine=engine, sites=sites, warm=warm, seed=seed, overhead_s=0.0)
    result = Simulation(config, at_once(job, work.name), watch=watch).run()
    [request] = result.requests
    if request.state != "done":
        raise UsageError(f"plan: the engine could not finish {work.name!r} with it: {request.reason}")
    last = variant.stages[-1]
    made = [ends[f"{work.name}/{last.name}-{k:05d}"] for k in range(last.units)]
    each_s = work.film_s / last.units
    ready_s = max(ends.values())
    kinds = [kind for kind in result.kinds if kind.kind != _CORES]
    held_s = sum(kind.held_s * kind.devices for kind in kinds)
    return Executed(
        ttff_s=made[0],
        ready_s=ready_s,
        ttff_eff_s=max(end - k * each_s for k, end in enumerate(made)),
        cost_usd=plan.estimate.usd_per_h * ready_s / HOUR_S,
        utilisation=sum(kind.busy_s * kind.devices for kind in kinds) / held_s if held_s else 0.0,
        tasks=result.tasks,
    )


def graph_job(
    variant: Variant, film_s: float, catalogue: Catalogue
) -> tuple[JobSpec, Catalogue, tuple[str, ...]]:
    """The film as a graph, the catalogue with models for stages of fixed length, and those models' names."""
    models = dict(catalogue.models)
    fixed = []
    tasks: list[GraphTask] = []
    units = {stage.name: stage.units for stage in variant.stages}
    for stage in variant.stages:
        model = stage.model
        if stage.fixed_s is not None:
            model = f"fixed-{stage.name}"
            profile = LinearProfile(base_s=stage.fixed_s)
            models[model] = ModelInfo(name=model, family="fixed", profiles={"cpu": profile}, light=True)
            fixed.append(model)
        for k in range(stage.units):
            edges = [Edge("before", f"{stage.name}-{k - 1:05d}")] if stage.serial and k else []
            for source in stage.after:
                matched = min(units[source] - 1, k * units[source] // stage.units)
                edges.append(Edge(source, f"{source}-{matched:05d}"))
            features: dict[str, Any] = dict(stage.first if stage.first and not k else stage.features)
            tasks.append(
                GraphTask(
                    name=f"{stage.name}-{k:05d}",
                    stage=stage.name,
                    model=model,
                    params={"unit": k},
                    features=features,
                    inputs=tuple(edges),
                    deadline_s=1.0 + film_s * k / stage.units,
                )
            )
    job = JobSpec(workflow="graph", graph=tuple(tasks))
    return job, msgspec.structs.replace(catalogue, models=models), tuple(fixed)
