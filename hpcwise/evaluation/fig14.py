"""Figure 14: energy of a podcast by the set of GPU types.

Energy is that of the planned GPUs while they work and while they wait until the film is ready, by the
measured power of each model; hosts, network and cooling are not counted, as in the paper. It is the
estimate's of a plan, beside the engine's start.
"""

from __future__ import annotations

from typing import Any, Final

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.types import Objective
from hpcwise.evaluation.baselines import naive
from hpcwise.evaluation.baselines.ways import restricted
from hpcwise.evaluation.cluster import mixes, singles
from hpcwise.evaluation.plots import COLOURS, curve, published, start_and_cost
from hpcwise.evaluation.rows import Figure, Point, Row, Table, cost_at, frontier, ordering
from hpcwise.evaluation.run import Context, label, pools_of
from hpcwise.evaluation.sweep import sweep

#: Budgets of the naive partition, which has no use for more of them before a start of two minutes.
NAIVE: Final = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
#: "H100 with a few A100".
H100_FIRST: Final = tuple({"a100": a, "h100": h} for a, h in ((8, 32), (16, 48), (16, 64)))
SETS: Final = ("a100", "h100", "h200", "gb200", "a100+h100")


def reproduce(context: Context) -> Figure:
    work = context.work()
    ours: dict[str, list[Point]] = {}
    for name in SETS:
        budgets = [*mixes("h100"), *H100_FIRST] if name == "a100+h100" else singles(name)
        small = [budget for budget in budgets if sum(budget.values()) <= 128]
        swept = sweep(context, work, budgets) + sweep(context, work, small[::2], Objective(name="energy"))
        ours[name] = [each.energy for each in swept]
    naive_points = _naive(context)
    everything = [point for points in ours.values() for point in points]
    theirs = {name: _published(context, "streamwise_disag", *name.split("+")) for name in SETS}
    theirs_naive = _published(context, "naive")
    least = {name: min(point.cost_usd for point in points) for name, points in ours.items()}
    their_least = {name: _least(points) for name, points in theirs.items()}
    fastest = min(naive_points, key=lambda point: point.ttff_s)
    mixed, of_a100 = cost_at(ours["a100+h100"], 60.0), cost_at(ours["a100"], 60.0)
    rows = [
        Row(figure="fig14", what="H100 with some A100, start within a minute: least energy", unit="kWh",
            paper=2, artifact=cost_at(theirs["a100+h100"], 60.0), ours=mixed, kind="outcome",
            stall_free_s=60.0, estimator="engine", note="the paper: about"),
        *(
            Row(figure="fig14", what=f"least energy on {name.upper()} alone", unit="kWh",
                artifact=their_least[name], ours=least[name], kind="outcome", estimator="engine")
            for name in SETS[:4]
        ),
        Row(figure="fig14", what="A100 over H100: least energy", unit="x", paper=2,
            artifact=_over(their_least["a100"], their_least["h100"]), ours=least["a100"] / least["h100"],
            kind="outcome", estimator="engine"),
        Row(figure="fig14", what="naive: least energy", unit="kWh", paper=10, artifact=_least(theirs_naive),
            ours=min(point.cost_usd for point in naive_points), kind="outcome", estimator="engine",
            note="the paper: over"),
        Row(figure="fig14", what="naive: energy of its fastest", unit="kWh", paper=50,
            artifact=_fastest(theirs_naive), ours=fastest.cost_usd, kind="outcome", estimator="engine",
            stall_free_s=fastest.ttff_s, note="the paper: over, with a start of over 2 min"),
        ordering("fig14", "A100 alone takes more energy than H100 alone", least["a100"] > least["h100"]),
        ordering("fig14", "GB200 alone is nearer to A100 than to H100",
                 abs(least["gb200"] - least["a100"]) < abs(least["gb200"] - least["h100"])),
        ordering("fig14", "within a minute, H100 with some A100 takes less than A100 alone",
                 mixed is not None and (of_a100 is None or mixed < of_a100),
                 f"{_kwh(mixed)} and {_kwh(of_a100)}; H100 alone {_kwh(cost_at(ours['h100'], 60.0))}"),
        ordering("fig14", "naive takes at least three times the energy of ours",
                 min(p.cost_usd for p in naive_points) >= 3 * min(p.cost_usd for p in everything)),
    ]  # fmt: skip

    def draw(sheet: Any) -> None:
        ax = sheet.subplots()
        for name, points in ours.items():
            curve(ax, points, f"ours, {name.upper().replace('+', ' + ')}", COLOURS[name])
            published(ax, theirs[name], "", COLOURS[name])
        curve(ax, naive_points, "naive, carried out by the engine", COLOURS["naive"], dashed=True)
        published(ax, theirs_naive, "hollow, dotted: artifact (stages in turn)", COLOURS["naive"])
        start_and_cost(ax, "energy of the GPUs (kWh)")
        ax.legend(ncols=2, loc="upper right")
        ax.set_ylim(0.5, 150)

    lines = tuple(
        (name, point.label, point.ttff_s, point.cost_usd)
        for name, points in {**ours, "naive": naive_points}.items()
        for point in points
    )
    return Figure(
        name="fig14", title="Figure 14: energy of a 10-minute podcast", rows=tuple(rows),
        tables=(Table(name="fig14-points", columns=("set", "devices", "start_s", "energy_kwh"), rows=lines),),
        draw=draw, size_in=(7.0, 4.4),
    )  # fmt: skip


def _naive(context: Context) -> list[Point]:
    """The naive partition on reserved A100, drawn at the film's size."""
    work = restricted(context, upscale=False, split=False)
    found = []
    for n in NAIVE:
        context.step(f"naive, {n} A100")
        pools = pools_of({"a100": n}, spot=False)
        try:
            plan = naive.plan(context, work, pools)
            done = context.execute(plan, work, pools)
        except UsageError:
            continue
        found.append(Point(done.ttff_eff_s, plan.estimate.energy_kwh, label(plan.estimate.devices)))
    return found


def _published(context: Context, series: str, *kinds: str) -> list[Point]:
    """A published series with energy in kWh in place of dollars."""
    rows = [row for row in context.series(series) if row.energy_kwh > 0]
    return [
        Point(row.ttff_s, row.energy_kwh, label(row.devices))
        for row in rows
        if not kinds or set(row.devices) == set(kinds)
    ]


def _least(points: list[Point]) -> float | None:
    return min((point.cost_usd for point in points), default=None)


def _fastest(points: list[Point]) -> float | None:
    return frontier(points)[0].cost_usd if points else None


def _over(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def _kwh(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f} kWh"
