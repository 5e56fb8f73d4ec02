"""One system after the other on the same budgets, judged by the paper's estimate and by the engine.

Figures 8 to 11 compare planners and what they may choose from. Of each budget come two results: `maxima`, the
paper's own estimate (all stages one after the other, see baselines.maxima), by which its published curves
were made, and `engine`, the schedule that would really be. Our planner is asked for each with that judge in
mind; a baseline has one plan, judged twice. Prices are the artifact's, as its curves are; its spot prices are
the paper's, its reserved A100 costs 3.40 dollars an hour where Table 3 says 1.80.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.types import Objective, Plan, Work
from hpcwise.core.units import HOUR_S
from hpcwise.evaluation.baselines import ditonly, helix, hexgen, monolithic, naive
from hpcwise.evaluation.baselines.maxima import maxima, provision_in_turn, whole_nodes
from hpcwise.evaluation.baselines.ways import text
from hpcwise.evaluation.published import Published
from hpcwise.evaluation.rows import SUM_OF_STAGES, Cell, Point, Row, Table
from hpcwise.evaluation.run import ARTIFACT_RESERVED, ARTIFACT_SPOT, Context, PriceList, label, pools_of

Planner = Literal["ours", "naive", "ddit", "hexgen", "helix", "monolith"]
Judge = Literal["maxima", "engine"]
JUDGES: Final[tuple[Judge, ...]] = ("maxima", "engine")
Budget = Mapping[str, int]
_PLANNERS: Final[Mapping[Planner, Callable[..., Plan]]] = {
    "naive": naive.plan, "ddit": ditonly.plan, "hexgen": hexgen.plan, "helix": helix.plan,
    "monolith": monolithic.plan,
}  # fmt: skip

#: A baseline is a fair one within this of its source.
GOAL: Final = 0.15
#: Few budgets that tell the curves apart, as each is planned and carried out for a dozen systems.
A100: Final[tuple[Budget, ...]] = tuple({"a100": n} for n in (8, 16, 64, 256))
MIXED: Final[tuple[Budget, ...]] = (
    {"h100": 16}, {"h100": 64}, {"h200": 64}, {"gb200": 64}, {"a100": 48, "h200": 16},
    {"a100": 96, "h200": 32}, {"a100": 256, "h200": 64},
)  # fmt: skip
ALL: Final[tuple[Budget, ...]] = (*A100, *MIXED)


class Result(NamedTuple):
    """A budget's plan by one judge. used: devices; ready_s: film whole; ttff_s: start without a stall."""

    budget: Budget
    used: Budget
    ttff_s: float
    ready_s: float
    replicas: str

    def cost_usd(self, spot: bool) -> float:
        """All devices until ready_s."""
        prices = ARTIFACT_SPOT if spot else ARTIFACT_RESERVED
        return sum(n * prices[kind] for kind, n in self.used.items()) * self.ready_s / HOUR_S


class System(NamedTuple):
    """Something that plans, on a row of budgets. published: the artifact's series of it, if there is one."""

    name: str
    spot: bool
    maxima: tuple[Result, ...]
    engine: tuple[Result, ...]
    published: str = ""

    def points(self, judge: Judge, *kinds: str) -> list[Point]:
        """As points of start and cost; kinds: only budgets of just these GPU types."""
        return [
            Point(each.ttff_s, each.cost_usd(self.spot), label(each.budget))
            for each in getattr(self, judge)
            if not kinds or set(each.budget) == set(kinds)
        ]

    def at(self, judge: Judge, **budget: int) -> Result:
        """Of one budget. Raises UsageError where it is none of its own."""
        for each in getattr(self, judge):
            if dict(each.budget) == budget:
                return each  # type: ignore[no-any-return]
        raise UsageError(f"evaluation: {self.name} was not asked for {label(budget)}; add the budget")

    def priced(self, name: str, spot: bool, published: str = "") -> System:
        """The same plans at the other price: for planners that do not look at prices."""
        return System(name, spot, self.maxima, self.engine, published)


def system(
    context: Context,
    name: str,
    work: Work,
    planner: Planner,
    budgets: Sequence[Budget],
    *,
    spot: bool,
    published: str = "",
    objective: Objective | None = None,
) -> System:
    """Plan and judge a system on budgets; those that it has too few devices for are left out."""
    # The paper's spot prices are the artifact's, and plans at the paper's are made for other figures too.
    prices: PriceList = "paper" if spot else "artifact"
    by_maxima: list[Result] = []
    by_engine: list[Result] = []
    for budget in budgets:
        context.step(f"{name}, {label(budget)}")
        pools = pools_of(budget, spot=spot)
        asked = context.problem(work, pools, prices=prices)
        try:
            if planner == "ours":
                in_mind = provision_in_turn(asked, objective)
                plan, done = context.checked(work, pools, objective, prices=prices)
            else:
                in_mind = plan = _PLANNERS[planner](context, work, pools, objective, prices=prices)
                done = context.execute(plan, work, pools, prices=prices)
        except UsageError:
            continue
        judged = maxima(asked, in_mind)
        by_maxima.append(
            Result(budget, whole_nodes(in_mind), judged.ttff_s, judged.total_s, text(in_mind))
        )  # fmt: skip
        by_engine.append(Result(budget, plan.estimate.devices, done.ttff_eff_s, done.ready_s, text(plan)))
    return System(name, spot, tuple(by_maxima), tuple(by_engine), published)


def published_at(context: Context, series: str, budget: Budget) -> Published | None:
    """The artifact's result of a series for a budget, None where it published none."""
    return context.budget(series, **budget) if series else None


def table(name: str, context: Context, systems: Sequence[System]) -> Table:
    """Every plan of a figure with both judges' and the artifact's results."""
    rows: list[tuple[Cell, ...]] = []
    for each in systems:
        for by_maxima, by_engine in zip(each.maxima, each.engine, strict=True):
            theirs = published_at(context, each.published, by_maxima.budget)
            rows.append(
                (
                    each.name, label(by_maxima.budget), "spot" if each.spot else "reserved",
                    by_maxima.ttff_s, by_maxima.cost_usd(each.spot), by_engine.ttff_s,
                    by_engine.cost_usd(each.spot), theirs.ttff_s if theirs else None,
                    theirs.cost_usd if theirs else None, by_maxima.replicas, by_engine.replicas,
                )
            )  # fmt: skip
    columns = (
        "system", "gpus", "price", "maxima_ttff_s", "maxima_cost_usd", "engine_ttff_s", "engine_cost_usd",
        "artifact_ttff_s", "artifact_cost_usd", "maxima_replicas", "engine_replicas",
    )  # fmt: skip
    return Table(name=name, columns=columns, rows=tuple(rows))


def ratios(a: System, b: System, judge: Judge, what: Literal["cost", "start"]) -> list[float]:
    """What `a` has of it over what `b` has, for each budget of both."""
    others = {label(each.budget): each for each in getattr(b, judge)}
    found = []
    for mine in getattr(a, judge):
        other = others.get(label(mine.budget))
        if other is not None and what == "cost":
            found.append(mine.cost_usd(a.spot) / other.cost_usd(b.spot))
        elif other is not None:
            found.append(mine.ttff_s / other.ttff_s)
    return found


def mean(values: Sequence[float]) -> float:
    """Geometric. Raises UsageError for none: nothing follows from nothing."""
    if not values:
        raise UsageError("evaluation: the systems have no budget in common; give them one")
    return math.exp(sum(math.log(value) for value in values) / len(values))


def beside_published(
    figure: str, context: Context, each: System, reason: str = "", goal: float | None = GOAL
) -> list[Row]:
    """How far a baseline is from what the artifact published of it, over all budgets of both: the means, and
    the worst one in each direction, so that nothing is won by a baseline that is worse than theirs."""
    pairs = []
    for mine in each.maxima:
        theirs = published_at(context, each.published, mine.budget)
        if theirs is not None:
            pairs.append((mine, theirs))
    if not pairs:
        return []
    found = []
    for what, of_pair in (
        ("cost", [(m.cost_usd(each.spot) / t.cost_usd, label(m.budget)) for m, t in pairs]),
        ("start", [(m.ttff_s / t.ttff_s, label(m.budget)) for m, t in pairs]),
    ):
        common: Any = {
            "figure": figure, "unit": "x", "kind": "outcome", "artifact": 1.0, "estimator": "stage-maxima",
            "price": ("spot" if each.spot else "reserved") if what == "cost" else "",
            "window": SUM_OF_STAGES if what == "cost" else "",
        }  # fmt: skip
        name = f"{each.name}: {what} over the artifact's"
        middle = mean([ratio for ratio, _ in of_pair])
        (low, at_low), (high, at_high) = min(of_pair), max(of_pair)
        found.append(
            Row(
                what=f"{name}, mean of {len(pairs)} budgets",
                ours=middle,
                goal=goal,
                note=reason if middle < 1 - GOAL else "",
                **common,
            )
        )
        found.append(Row(what=f"{name}, highest ({at_high})", ours=high, goal=goal, **common))
        better = reason if low < 1 - GOAL else ""
        found.append(Row(what=f"{name}, lowest ({at_low})", ours=low, note=better, **common))
    return found
