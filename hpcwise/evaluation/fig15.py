"""Figure 15: the nine workflows of Table 1, naive partition and ours.

What each workflow needs is ours, made from the table's words (configs/workflows.yaml), but for the podcast's
numbers, which are the paper's: only orderings and means are fair.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.types import Objective
from hpcwise.evaluation.baselines import naive
from hpcwise.evaluation.baselines.ways import restricted
from hpcwise.evaluation.comparison import mean
from hpcwise.evaluation.plots import COLOURS, start_and_cost
from hpcwise.evaluation.rows import UNTIL_READY, Figure, Point, Row, Table, ordering
from hpcwise.evaluation.run import Context, label, pools_of

#: As many GPUs each: ours with H200 among them at spot prices, naive on reserved A100.
BUDGETS: Final = (
    ({"a100": 64, "h200": 16}, {"a100": 80}),
    ({"a100": 256, "h200": 64}, {"a100": 320}),
)  # fmt: skip
_MARKS: Final = "osD^v<>Ph"


class Pair(NamedTuple):
    """A workflow on as many GPUs, by the engine. better: a plan of ours starts sooner and costs less."""

    workflow: str
    minutes: float
    budget: str
    ours: Point
    naive: Point
    better: bool


def reproduce(context: Context) -> Figure:
    pairs: list[Pair] = []
    for name in context.workflows:
        for budget, theirs in BUDGETS:
            context.step(f"{name}, {label(budget)}")
            pairs.append(_pair(context, name, budget, theirs))
    starts = mean([pair.naive.ttff_s / pair.ours.ttff_s for pair in pairs])
    costs = mean([pair.naive.cost_usd / pair.ours.cost_usd for pair in pairs])
    a_minute = {
        name: min(pair.ours.cost_usd / pair.minutes for pair in pairs if pair.workflow == name)
        for name in context.workflows
    }
    cheapest, dearest = min(a_minute, key=a_minute.__getitem__), max(a_minute, key=a_minute.__getitem__)

    def row(what: str, unit: str, paper: float | None, ours: float, **more: Any) -> Row:
        fields: dict[str, Any] = {"figure": "fig15", "kind": "outcome", "estimator": "engine", **more}
        return Row(what=what, unit=unit, paper=paper, ours=ours, **fields)

    priced: dict[str, Any] = {"price": "spot", "window": UNTIL_READY}
    rows = [
        row(f"naive over ours, start, mean of {len(pairs)}", "x", 10.4, starts,
            note="needs of all but the podcast are ours, made from Table 1's words"),
        row(f"naive over ours, cost, mean of {len(pairs)}", "x", 17.5, costs, window=UNTIL_READY,
            price="spot", note="naive: reserved, at the paper's $1.80 an A100-hour; the artifact's is $3.40"),
        *(
            row(f"{pair.workflow} on {pair.budget}: cost of a minute of film", "$", None,
                pair.ours.cost_usd / pair.minutes, stall_free_s=pair.ours.ttff_s,
                note=f"naive: ${pair.naive.cost_usd / pair.minutes:.2f} reserved, "
                f"start {pair.naive.ttff_s:,.0f} s", **priced)
            for pair in pairs if pair.budget == label(BUDGETS[0][0])
        ),
        ordering("fig15", "in every workflow ours starts sooner than naive for less money",
                 all(pair.better for pair in pairs),
                 ", ".join(f"not {p.workflow} on {p.budget}" for p in pairs if not p.better)),
        ordering("fig15", "a minute of slides with presenter is the cheapest", cheapest == "slide",
                 f"cheapest: {cheapest} at ${a_minute[cheapest]:.2f}, slide ${a_minute['slide']:.2f}"),
        ordering("fig15", "a minute of chat is the dearest", dearest == "chat",
                 f"dearest: {dearest} at ${a_minute[dearest]:.2f}, chat ${a_minute['chat']:.2f}"),
    ]  # fmt: skip

    def draw(sheet: Any) -> None:
        ax = sheet.subplots()
        colours = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C564B", "#7F7F7F",
                   "#000000")  # fmt: skip
        for name, mark, colour in zip(context.workflows, _MARKS, colours, strict=False):
            mine = [pair for pair in pairs if pair.workflow == name]
            for which, line, face in (("ours", "-", colour), ("naive", "--", "none")):
                points = [getattr(pair, which) for pair in mine]
                ax.plot(
                    [p.ttff_s for p in points],
                    [p.cost_usd / pair.minutes for p, pair in zip(points, mine, strict=True)],
                    line, marker=mark, color=colour, markerfacecolor=face, linewidth=1, markersize=5,
                    label=name if which == "ours" else None,
                )  # fmt: skip
        ax.plot([], [], "--", marker="o", color=COLOURS["artifact"], markerfacecolor="none",
                label="hollow, dashed: naive ($ reserved)")  # fmt: skip
        start_and_cost(ax, "cost of a minute of film until ready ($)")
        ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))

    lines = tuple(
        (p.workflow, p.budget, p.ours.label, p.ours.ttff_s, p.ours.cost_usd, p.naive.label, p.naive.ttff_s,
         p.naive.cost_usd)
        for p in pairs
    )  # fmt: skip
    columns = ("workflow", "budget", "ours", "ours_start_s", "ours_cost_usd_spot", "naive", "naive_start_s",
               "naive_cost_usd_reserved")  # fmt: skip
    return Figure(
        name="fig15", title="Figure 15: start and cost of the nine workflows, naive and ours (engine)",
        rows=tuple(rows), tables=(Table(name="fig15-points", columns=columns, rows=lines),), draw=draw,
        size_in=(8.0, 4.2),
    )  # fmt: skip


def _pair(context: Context, name: str, budget: dict[str, int], theirs: dict[str, int]) -> Pair:
    work, pools = context.work(name), pools_of(budget)
    plan, done = context.checked(work, pools)
    whole = restricted(context, name, upscale=False, split=False)
    if not whole.variants:
        raise UsageError(f"workflows.{name}: has no way in one replica; the naive partition needs one")
    theirs_pools = pools_of(theirs, spot=False)
    partition = naive.plan(context, whole, theirs_pools)
    made = context.execute(partition, whole, theirs_pools)
    if done.ttff_eff_s >= made.ttff_eff_s or done.cost_usd >= made.cost_usd:
        # Least cost x start may buy neither; then the soonest start for the partition's money decides.
        soonest = Objective(name="ttff", budget_usd=made.cost_usd)
        _, other = context.checked(work, pools, soonest)
    else:
        other = done
    return Pair(
        name,
        work.film_s / 60,
        label(budget),
        Point(done.ttff_eff_s, done.cost_usd, label(plan.estimate.devices)),
        Point(made.ttff_eff_s, made.cost_usd, label(partition.estimate.devices)),
        other.ttff_eff_s < made.ttff_eff_s and other.cost_usd < made.cost_usd,
    )
