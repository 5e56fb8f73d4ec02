"""Figure 8: start of playback and cost of a 10-minute high-quality podcast on many budgets (section 5.2).

Our planner on each budget, by the paper's estimate (`stage-maxima`) and as the engine carries it out, beside
the curve that the artifact published. Naive on 8 A100 is the baseline of that name.
"""

from __future__ import annotations

from typing import Any, Final

from hpcwise.core.units import HOUR_S
from hpcwise.evaluation import comparison
from hpcwise.evaluation.baselines import ways
from hpcwise.evaluation.comparison import JUDGES, Budget, Judge, System
from hpcwise.evaluation.plots import COLOURS, curve, plain, published, stars, start_and_cost
from hpcwise.evaluation.rows import (
    SUM_OF_STAGES,
    UNTIL_READY,
    Estimator,
    Figure,
    Point,
    Row,
    cost_at,
    dominates,
    frontier,
    ordering,
    start_at,
)
from hpcwise.evaluation.run import Context, label

BUDGETS: Final[tuple[Budget, ...]] = (
    *({"a100": n} for n in (8, 16, 32, 64, 128, 256, 320)),
    *({kind: n} for kind in ("h100", "h200") for n in (8, 16, 32, 64, 128, 192)),
    *({"gb200": n} for n in (8, 16, 32, 64, 128, 192)),
    *({"a100": 64, kind: 8} for kind in ("h100", "h200", "gb200")),
    *({"a100": 96, kind: 32} for kind in ("h100", "h200", "gb200")),
    *({"a100": 256, kind: 64} for kind in ("h100", "h200", "gb200")),
    {"a100": 48, "h200": 16},
)  # fmt: skip
SERIES: Final = "streamwise_high"
#: What the paper's text says of single configurations: start of playback and dollars.
TEXT: Final = (
    Point(2 * HOUR_S, 25.0, "16 A100"),
    Point(120.0, 25.0, "64 A100"),
    Point(22.0, 45.0, "256 A100 + 64 H200"),
    Point(8.3 * HOUR_S - 600, 70.0, "naive, 8 A100"),
)


def reproduce(context: Context) -> Figure:
    ours = comparison.system(
        context, "StreamWise", ways.ours(context), "ours", BUDGETS, spot=True, published=SERIES
    )
    naive = comparison.system(
        context, "naive", ways.restricted(context, upscale=False, split=False), "naive",
        comparison.A100, spot=True, published="naive_spot",
    )  # fmt: skip
    rows = [*_naive(context, ours, naive)]
    for judge in JUDGES:
        rows += _text(context, ours, judge)
        rows += _orderings(ours, naive, judge)
    rows.append(_gain(context, ours))
    return Figure(
        name="fig8", title="Figure 8: start and cost of a 10-minute podcast by hardware", rows=tuple(rows),
        tables=(comparison.table("fig8", context, (ours, naive)),),
        draw=lambda sheet: _draw(sheet, context, ours, naive), size_in=(11.0, 4.4),
    )  # fmt: skip


def _naive(context: Context, ours: System, naive: System) -> list[Row]:
    mine, theirs = naive.at("maxima", a100=8), context.budget("naive_spot", a100=8)
    best, published_best = ours.at("maxima", a100=8), context.budget(SERIES, a100=8)
    common: Any = {"figure": "fig8", "kind": "outcome", "estimator": "stage-maxima"}
    return [
        Row(what="naive on 8 A100: film whole", unit="h", paper=8.3, ours=mine.ready_s / HOUR_S, goal=0.15,
            artifact=theirs.total_s / HOUR_S if theirs else None, stall_free_s=mine.ttff_s,
            note="serial stages, drawn at full size in 10 steps, as the artifact reckons", **common),
        Row(what="naive on 8 A100: cost", unit="$", paper=70, ours=mine.cost_usd(True), goal=0.15,
            artifact=theirs.cost_usd if theirs else None, price="spot", window=SUM_OF_STAGES, **common),
        Row(what="naive over StreamWise on 8 A100: time", unit="x", paper=2.2,
            artifact=theirs.total_s / published_best.total_s if theirs and published_best else None,
            ours=mine.ready_s / best.ready_s, note=f"{mine.ready_s:.0f} s over {best.ready_s:.0f} s; the "
            "paper's 3.8 h is not the sum of its stages that its 8.3 h is", **common),
        Row(what="naive over StreamWise on 8 A100: dearer by", unit="$", paper=50,
            artifact=theirs.cost_usd - published_best.cost_usd if theirs and published_best else None,
            ours=mine.cost_usd(True) - best.cost_usd(True), price="spot", window=SUM_OF_STAGES,
            note="the paper: more than", **common),
        *comparison.beside_published("fig8", context, naive),
    ]  # fmt: skip


def _text(context: Context, ours: System, judge: Judge) -> list[Row]:
    """Single configurations of the text; the paper's are outcomes of another planner."""
    found = []
    estimator, window = _by(judge)
    for budget, start_s, usd in (
        ({"a100": 16}, None, 25.0), ({"a100": 64}, 120.0, 25.0), ({"a100": 256, "h200": 64}, 22.0, 45.0),
    ):  # fmt: skip
        mine, theirs = ours.at(judge, **budget), context.budget(SERIES, **budget)
        name = label(budget)
        common: Any = {"figure": "fig8", "kind": "outcome", "estimator": estimator}
        if start_s is not None or theirs is not None:
            found.append(
                Row(what=f"{name}: start without a stall", unit="s", paper=start_s, ours=mine.ttff_s,
                    artifact=theirs.ttff_s if theirs else None, stall_free_s=mine.ttff_s, **common)
            )  # fmt: skip
        found.append(
            Row(what=f"{name}: cost", unit="$", paper=usd, artifact=theirs.cost_usd if theirs else None,
                ours=mine.cost_usd(True), price="spot", window=window, stall_free_s=mine.ttff_s,
                note="what our planner makes of the budget", **common)
        )  # fmt: skip
    eight, sixteen = ours.at(judge, a100=8), ours.at(judge, a100=16)
    theirs, other = context.budget(SERIES, a100=8), context.budget(SERIES, a100=16)
    found.append(
        Row(figure="fig8", what="8 A100 over 16 A100: cost", unit="x", kind="outcome", paper=2.0,
            artifact=theirs.cost_usd / other.cost_usd if theirs and other else None,
            ours=eight.cost_usd(True) / sixteen.cost_usd(True), price="spot", window=window,
            stall_free_s=eight.ttff_s, estimator=estimator, note="the paper: nearly")
    )  # fmt: skip
    return found


def _orderings(ours: System, naive: System, judge: Judge) -> list[Row]:
    by_kind = {kind: ours.points(judge, kind) for kind in ("a100", "h100", "h200", "gb200")}
    mixed = [p for kind in ("h100", "h200", "gb200") for p in ours.points(judge, "a100", kind)]
    with_h200 = ours.points(judge, "a100", "h200")
    cheapest = {kind: min(p.cost_usd for p in points) for kind, points in by_kind.items()}
    first = {kind: min(p.ttff_s for p in points) for kind, points in by_kind.items()}
    product = {kind: ways.best(points) for kind, points in by_kind.items()}
    same = [
        (ours.at(judge, h200=n), ours.at(judge, h100=n)) for n in (8, 16, 32, 64, 128, 192)
    ]  # fmt: skip
    dearer = comparison.mean([a.cost_usd(True) / b.cost_usd(True) for a, b in same])
    sooner = comparison.mean([a.ttff_s / b.ttff_s for a, b in same])
    minute = cost_at(with_h200, 60.0)
    alone_50, mixed_50 = start_at(by_kind["a100"], 50.0), start_at(mixed, 50.0)
    estimator, _ = _by(judge)

    def row(what: str, kept: bool, note: str) -> Row:
        return ordering("fig8", what, kept, note, estimator)

    return [
        row("every point of naive has one of ours that is cheaper and earlier",
            dominates(ours.points(judge), naive.points(judge)), "same spot prices"),
        row("8 A100 are dearer than 16 A100",
            ours.at(judge, a100=8).cost_usd(True) > ours.at(judge, a100=16).cost_usd(True), ""),
        row("A100 alone are the cheapest of all types", cheapest["a100"] == min(cheapest.values()),
            ", ".join(f"{kind} ${usd:.0f}" for kind, usd in cheapest.items())),
        row("A100 and H200 start within a minute for less than $50", minute is not None and minute < 50,
            f"${minute:.1f}" if minute is not None else "none starts within a minute"),
        row("for $50, A100 with something faster start before A100 alone",
            None not in (alone_50, mixed_50) and (mixed_50 or 0) < (alone_50 or 0),
            f"{mixed_50:.0f} s, {alone_50:.0f} s" if alone_50 and mixed_50 else ""),
        row("H200 gain little over as many H100 (less than 25 % of the start)", sooner > 0.75,
            f"start x {sooner:.2f}, cost x {dearer:.2f}"),
        row("GB200 start before H100, H200 and A100", first["gb200"] == min(first.values()),
            ", ".join(f"{kind} {start_s:.1f} s" for kind, start_s in first.items())),
        row("GB200 are less cost-effective than H100 (cost x start)",
            product["gb200"].cost_usd * product["gb200"].ttff_s
            > product["h100"].cost_usd * product["h100"].ttff_s,
            ", ".join(f"{kind} {p.cost_usd * p.ttff_s:.0f} $s" for kind, p in product.items())),
    ]  # fmt: skip


def _gain(context: Context, ours: System) -> Row:
    """Cost x start of ours over the artifact's planner by the same estimate, budget by budget."""
    pairs = [
        (mine, theirs)
        for mine in ours.maxima
        if (theirs := context.budget(SERIES, **mine.budget)) is not None
    ]
    ratio = comparison.mean(
        [m.cost_usd(True) * m.ttff_s / (t.cost_usd * t.ttff_s) for m, t in pairs]
    )  # fmt: skip
    return Row(
        figure="fig8", what=f"our cost x start over the artifact's, mean of {len(pairs)} budgets", unit="x",
        kind="outcome", artifact=1.0, ours=ratio, price="spot", window=SUM_OF_STAGES,
        estimator="stage-maxima", note="both by the paper's estimate; ours may also keep DiT and VAE in one "
        "replica and mixes sizes of replicas more freely",
    )  # fmt: skip


def _by(judge: Judge) -> tuple[Estimator, str]:
    return ("stage-maxima", SUM_OF_STAGES) if judge == "maxima" else ("engine", UNTIL_READY)


def _draw(sheet: Any, context: Context, ours: System, naive: System) -> None:
    axes = sheet.subplots(1, 2, sharex=True, sharey=True)
    for ax, judge, title in zip(axes, JUDGES, ("the paper's estimate", "the engine's schedule"), strict=True):
        for kind in ("a100", "h100", "h200", "gb200"):
            points = ours.points(judge, kind)
            ax.plot([p.ttff_s for p in points], [p.cost_usd for p in points], "o", markersize=4,
                    color=COLOURS[kind], label=kind.upper())  # fmt: skip
        for kind in ("h100", "h200", "gb200"):
            points = ours.points(judge, "a100", kind)
            ax.plot([p.ttff_s for p in points], [p.cost_usd for p in points], "x", markersize=5,
                    color=COLOURS[f"a100+{kind}"], label=f"A100 + {kind.upper()}")  # fmt: skip
        rim = frontier(ours.points(judge))
        ax.plot([p.ttff_s for p in rim], [p.cost_usd for p in rim], color="#333333", linewidth=1.0,
                label="ours, frontier", zorder=1)  # fmt: skip
        curve(ax, naive.points(judge), "naive, spot", COLOURS["naive"], dashed=True)
        published(ax, context.points(SERIES), "artifact", COLOURS["artifact"])
        stars(ax, TEXT)
        start_and_cost(ax)
        ax.set_title(title, fontsize=9)
        ax.set_xlim(8, 200_000)
        ax.set_ylim(8, 400)
        plain(ax)
    axes[0].legend(ncol=2, loc="upper right")
