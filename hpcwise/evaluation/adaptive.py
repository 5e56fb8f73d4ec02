"""Adaptive quality (section 5.2, Figure 13): low at once, medium and high as soon as playback allows it.

The film is made by our head's engine with a ladder of three rungs (core/streamcast.py, core/quality.py) on
the replicas of a plan that the provisioner made for a film that rises (shapes.rising). As everywhere, the
engine has the last word: of the plans for a few budgets and rises, the best one carried out is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.fleet import fleet_of
from hpcwise.core.provisioner.shapes import rising, work_of_job
from hpcwise.core.provisioner.types import Plan, Pool, Work
from hpcwise.core.spec import JobSpec, Live, Tier
from hpcwise.core.units import HOUR_S
from hpcwise.evaluation.cluster import SPLIT
from hpcwise.evaluation.plots import COLOURS
from hpcwise.evaluation.rows import Table
from hpcwise.evaluation.serving import on_cores
from hpcwise.sim.arrivals import at_once
from hpcwise.sim.config import SimConfig
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import PAPER, paper_job

#: "High quality within 45 seconds", of over 90 % of the film (section 5.2).
HIGH_S: Final = 45.0
HIGH_SHARE: Final = 0.9
TIERS: Final[tuple[Tier, ...]] = ("high", "medium", "low")


class Adapted(msgspec.Struct, frozen=True, kw_only=True):
    """A film of adaptive quality. tiers, made_s: of each segment. first_s: the first segment; start_s: start
    of playback without a stall. ready_s: the last segment (what was lowered is then made anew for film.mp4).
    changes: of rungs, by the ladder."""

    plan: Plan
    segment_s: float
    tiers: tuple[str, ...]
    made_s: tuple[float, ...]
    first_s: float
    start_s: float
    ready_s: float
    cost_usd: float
    changes: int

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


def film_job(start_s: float = 0.0) -> JobSpec:
    """The paper's podcast with all three rungs, watched from its first segment on."""
    return paper_job(slo=Live(ttff_s=max(start_s, 1.0)), ladder=TIERS, fixed_ladder=False)


def rising_work() -> Work:
    """What such a film needs, as far as our workflow makes it: the sketch's DiT and VAE apart."""
    work = rising(work_of_job(film_job()))
    return msgspec.structs.replace(work, variants=tuple(v for v in work.variants if v.name == SPLIT))


def best(films: Iterable[Adapted], budget_usd: float) -> Adapted:
    """The film that starts soonest without a stall, of those that keep the budget, are high from HIGH_S on
    and high for more than HIGH_SHARE; of none such, the one that misses least of it."""

    def missed(film: Adapted) -> tuple[int, float]:
        since_s = film.since("high")
        kept = (
            film.cost_usd < budget_usd,
            since_s is not None and since_s <= HIGH_S,
            film.share("high") > HIGH_SHARE,
        )
        return kept.count(False), film.start_s

    return min(films, key=missed)


def adapt(plan: Plan, pools: Sequence[Pool], catalogue: Catalogue, seed: int) -> Adapted:
    """The film on the plan's replicas. Raises UsageError where the engine could not finish it."""
    known, cores = on_cores(catalogue)
    engine = EngineConfig(catalogue=known, fleet=(*fleet_of(plan, pools, known), cores))
    made: dict[int, float] = {}
    tiers: dict[int, str] = {}
    changes = 0

    def watch(now_s: float, _event: m.Event, commands: list[m.Command]) -> None:
        nonlocal changes
        for command in commands:
            if isinstance(command, m.Publish):
                task = simulation.engine.state.tasks[f"film/sync/{command.index:04d}"]
                made[command.index] = now_s
                tiers[command.index] = task.spec.alternatives[task.alternative].tier
            elif isinstance(command, m.SetAlternative):
                changes += 1

    config = SimConfig(engine=engine, warm=True, seed=seed, overhead_s=0.0, publish_s=0.0, film_s=0.0)
    job = film_job(plan.estimate.ttff_s)
    simulation = Simulation(config, at_once(job, "film"), PAPER, watch=watch)
    [request] = simulation.run().requests
    if request.state != "done":
        raise UsageError(f"plan: the engine could not finish the adaptive film with it: {request.reason}")
    n = len(made)
    ends = tuple(made[k] for k in range(n))
    each_s = job.duration_s / n
    return Adapted(
        plan=plan, segment_s=each_s, tiers=tuple(tiers[k] for k in range(n)), made_s=ends, first_s=ends[0],
        start_s=max(end - k * each_s for k, end in enumerate(ends)), ready_s=max(ends),
        cost_usd=plan.estimate.usd_per_h * max(ends) / HOUR_S, changes=changes,
    )  # fmt: skip
