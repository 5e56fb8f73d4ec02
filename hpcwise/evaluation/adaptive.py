"""Adaptive quality (section 5.2, Figure 13): low at once, medium and high as soon as playback allows it.

The rule is the paper's (section 4.5): all segments are meant to be high; those that would come after their
turn in playback are lowered by one rung, and everything is carried out again, until none is late or the late
ones are low. What was lowered while others were in its way is then raised again where playback still keeps
up. The engine schedules every round on the same replicas: a plan for high quality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.provisioner.fleet import fleet_of
from hpcwise.core.provisioner.types import Plan, Pool, StageShape, Variant, Work
from hpcwise.core.resources import FleetItem
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.core.units import HOUR_S
from hpcwise.core.workflow import Edge
from hpcwise.evaluation.plots import COLOURS
from hpcwise.evaluation.rows import Table
from hpcwise.sim.arrivals import at_once
from hpcwise.sim.config import SimConfig
from hpcwise.sim.simulation import Simulation

TIERS: Final = ("high", "medium", "low")
_PER_TIER: Final = ("image", "detect")


class Adapted(msgspec.Struct, frozen=True, kw_only=True):
    """A film of adaptive quality. tiers, made_s: of each segment. first_s: the first segment; start_s: start
    of playback without a stall. rounds: films carried out."""

    plan: Plan
    segment_s: float
    tiers: tuple[str, ...]
    made_s: tuple[float, ...]
    first_s: float
    start_s: float
    ready_s: float
    cost_usd: float
    rounds: int

    def share(self, tier: str) -> float:
        """Of the film."""
        return self.tiers.count(tier) / len(self.tiers)

    def since(self, *tiers: str) -> float | None:
        """Seconds of the film after which every segment is of one of these; None if the last is not."""
        others = [k for k, tier in enumerate(self.tiers) if tier not in tiers]
        first = others[-1] + 1 if others else 0
        return first * self.segment_s if first < len(self.tiers) else None

    @property
    def table(self) -> Table:
        rows = tuple(
            (k, k * self.segment_s, tier, made_s, self.start_s + k * self.segment_s)
            for k, (tier, made_s) in enumerate(zip(self.tiers, self.made_s, strict=True))
        )
        columns = ("segment", "at_s", "quality", "made_s", "played_s")
        return Table(name="fig13-adaptive", columns=columns, rows=rows)

    def draw(self, ax: Any) -> None:
        """When segments are made and played, coloured by their quality."""
        at_s = [k * self.segment_s for k in range(len(self.tiers))]
        ax.plot(at_s, [self.start_s + t for t in at_s], "-", color="#CC0000", linewidth=1, label="played")
        for tier in reversed(TIERS):
            mine = [k for k, each in enumerate(self.tiers) if each == tier]
            text = f"made, {tier} ({self.share(tier):.0%} of the film)"
            ax.plot([at_s[k] for k in mine], [self.made_s[k] for k in mine], "o", markersize=3,
                    color=COLOURS[tier], label=text)  # fmt: skip
        ax.set_xlim(-2, 150)
        ax.set_ylim(0, 1.25 * max(s for s, t in zip(self.made_s, at_s, strict=True) if t <= 150))
        ax.set_xlabel("place in the film (s)")
        ax.set_ylabel("seconds after the request")
        ax.legend(loc="upper left")


def adapt(
    plan: Plan, works: Mapping[str, Work], pools: Sequence[Pool], catalogue: Catalogue, seed: int
) -> Adapted:
    """Carry out a film that starts at low quality on the replicas of a plan for high quality.

    works: the film by tier. Raises UsageError where the engine could not finish it.
    """
    variants = {tier: _like(works[tier], plan.variant) for tier in TIERS}
    n = variants["high"].stages[-1].units
    each_s = works["high"].film_s / n
    rounds = 0

    def carried_out(chosen: Sequence[str], start_s: float) -> list[float]:
        nonlocal rounds
        rounds += 1
        return _run(chosen, variants, plan, pools, catalogue, seed, start_s, each_s)

    def late(made: Sequence[float]) -> list[int]:
        return [k for k in range(n) if made[k] > max(first_s, made[0]) + k * each_s + 1e-6]

    first_s = carried_out(["low"] * n, 0.0)[0]
    tiers = ["low"] + ["high"] * (n - 1)
    made = carried_out(tiers, first_s)
    while lower := [k for k in late(made) if tiers[k] != "low"]:
        for k in lower:
            tiers[k] = TIERS[TIERS.index(tiers[k]) + 1]
        made = carried_out(tiers, first_s)
    for old, new in (("low", "medium"), ("medium", "high")):
        for k in [k for k in range(n - 1, 0, -1) if tiers[k] == old]:
            tried = [*tiers[:k], new, *tiers[k + 1 :]]
            then = carried_out(tried, first_s)
            if not late(then):
                tiers, made = tried, then
    ready_s = max(made)
    return Adapted(
        plan=plan, segment_s=each_s, tiers=tuple(tiers), made_s=tuple(made), first_s=made[0],
        start_s=max(end - k * each_s for k, end in enumerate(made)), ready_s=ready_s,
        cost_usd=plan.estimate.usd_per_h * ready_s / HOUR_S, rounds=rounds,
    )  # fmt: skip


def _like(work: Work, variant: str) -> Variant:
    """The way of a film of another quality that needs the same models: names differ in their first word."""
    way = variant.partition(", ")[2]
    return next(each for each in work.variants if each.name.partition(", ")[2] == way)


def _run(
    tiers: Sequence[str], variants: Mapping[str, Variant], plan: Plan, pools: Sequence[Pool],
    catalogue: Catalogue, seed: int, start_s: float, each_s: float,
) -> list[float]:  # fmt: skip
    """When each segment is made."""
    tasks, fixed_s = _graph(tiers, variants, start_s, each_s)
    models = dict(catalogue.models)
    for name, seconds in fixed_s.items():
        profile = LinearProfile(base_s=seconds)
        models[name] = ModelInfo(name=name, family="fixed", profiles={"cpu": profile}, light=True)
    known = msgspec.structs.replace(catalogue, models=models)
    cores = FleetItem(
        kind="cores", hardware="cpu", models=tuple(fixed_s), memory_gb=1e3, min_workers=8, max_workers=8,
        idle_timeout_s=1e9,
    )  # fmt: skip
    engine = EngineConfig(catalogue=known, fleet=(*fleet_of(plan, pools, known), cores))
    ends: dict[str, float] = {}

    def watch(now_s: float, event: m.Event, _commands: list[m.Command]) -> None:
        if isinstance(event, m.TaskFinished):
            ends[event.task_id.partition("/")[2]] = now_s

    config = SimConfig(engine=engine, warm=True, seed=seed, overhead_s=0.0)
    Simulation(config, at_once(JobSpec(workflow="graph", graph=tasks), "film"), watch=watch).run()
    last = {tier: variant.stages[-1].name for tier, variant in variants.items()}
    return [ends[_name(last[tier], k)] for k, tier in enumerate(tiers)]


def _graph(
    tiers: Sequence[str], variants: Mapping[str, Variant], start_s: float, each_s: float
) -> tuple[tuple[GraphTask, ...], dict[str, float]]:
    """Tasks of a film whose segments have qualities of their own, and models of fixed length."""
    n = len(tiers)
    by_tier = {tier: {stage.name: stage for stage in variant.stages} for tier, variant in variants.items()}
    tasks: list[GraphTask] = []
    fixed_s: dict[str, float] = {}

    def add(stage: StageShape, tier: str, name: str, unit: int, at: float) -> None:
        model = stage.model
        if stage.fixed_s is not None:
            model = f"fixed-{stage.name}"
            fixed_s[model] = stage.fixed_s
        edges = [Edge("before", _name(stage.name, unit - 1))] if stage.serial and unit else []
        for source in stage.after:
            shape = by_tier[tier][source]
            if source in _PER_TIER:
                edges.append(Edge(source, f"{source}-{tier}"))
            elif shape.units == n:
                edges.append(Edge(source, _name(source, unit)))
            else:
                # A picture needs the first scene only; what is made of segments, the scene that they are in.
                scene = unit * shape.units // stage.units if stage.units > 1 else 0
                edges.append(Edge(source, _name(source, min(shape.units - 1, scene))))
        features: dict[str, Any] = dict(stage.first if stage.first and not unit else stage.features)
        tasks.append(
            GraphTask(
                name=name, stage=stage.name, model=model, params={"unit": unit, "tier": tier},
                features=features, inputs=tuple(edges), deadline_s=start_s + at * each_s,
            )
        )  # fmt: skip

    for stage in variants["high"].stages:
        if stage.name in _PER_TIER:
            for tier in dict.fromkeys(tiers):
                add(by_tier[tier][stage.name], tier, f"{stage.name}-{tier}", 0, tiers.index(tier))
        elif stage.units < n:
            for k in range(stage.units):
                add(stage, "high", _name(stage.name, k), k, k * n / stage.units)
        else:
            for k, tier in enumerate(tiers):
                if stage.name in by_tier[tier]:
                    add(by_tier[tier][stage.name], tier, _name(stage.name, k), k, k)
    return tuple(tasks), fixed_s


def _name(stage: str, unit: int) -> str:
    return f"{stage}-{unit:05d}"
