"""Figure 10: each technique of StreamWise taken away alone (section 5.2, ablation).

The planner is ours throughout, but for the last system: without other hardware than A100, without spot
prices, without variants that keep DiT and VAE apart, without variants that enlarge, and with the naive static
partition in its place. The price of a missing technique is the higher cost or the later start.
"""

from __future__ import annotations

from typing import Any, Final

from hpcwise.core.provisioner.types import Objective
from hpcwise.evaluation import comparison
from hpcwise.evaluation.baselines import ways
from hpcwise.evaluation.comparison import A100, ALL, JUDGES, Budget, Judge, System, mean, ratios
from hpcwise.evaluation.fig9 import by
from hpcwise.evaluation.plots import COLOURS, curve, plain, published, start_and_cost
from hpcwise.evaluation.rows import Figure, Price, Row, ordering
from hpcwise.evaluation.run import Context

LOOKS: Final[dict[str, str]] = {
    "StreamWise": COLOURS["ours"], "A100 only": "#009E73", "no spot": "#E69F00",
    "no disaggregation": "#CC79A7", "no upscaler": "#D55E00", "naive allocation": "#8C564B",
}  # fmt: skip
_PRICES: Final[dict[str, Price]] = {"no spot": "reserved"}
#: Where the earliest start is sought, whatever it costs.
FASTEST: Final[tuple[Budget, ...]] = ({"a100": 256}, {"a100": 256, "h200": 64})
#: Seconds that A100 alone cannot reach, by the text.
A100_S: Final = 30.0


def systems(context: Context) -> dict[str, System]:
    """StreamWise, and StreamWise less one technique each."""
    whole = ways.ours(context)
    full = comparison.system(
        context, "StreamWise", whole, "ours", ALL, spot=True, published="streamwise_high"
    )
    found = [
        full,
        full._replace(
            name="A100 only", published="streamwise_A100", maxima=full.maxima[: len(A100)],
            engine=full.engine[: len(A100)],
        ),
        comparison.system(context, "no spot", whole, "ours", ALL, spot=False),
        comparison.system(
            context, "no disaggregation", ways.ours(context, split=False), "ours", ALL, spot=True
        ),
        comparison.system(
            context, "no upscaler", ways.ours(context, upscale=False), "ours", ALL, spot=True
        ),
        comparison.system(
            context, "naive allocation", ways.restricted(context, upscale=True, split=True), "naive", ALL,
            spot=True, published="streamwise_naive",
        ),
    ]  # fmt: skip
    return {each.name: each for each in found}


def reproduce(context: Context) -> Figure:
    found = systems(context)
    fastest = comparison.system(
        context, "earliest", ways.ours(context), "ours", FASTEST, spot=True, objective=Objective(name="ttff")
    )
    rows = comparison.beside_published("fig10", context, found["naive allocation"])
    for judge in JUDGES:
        rows += _rows(found, fastest, judge)
    return Figure(
        name="fig10", title="Figure 10: StreamWise less one technique each", rows=tuple(rows),
        tables=(comparison.table("fig10", context, [*found.values(), fastest]),),
        draw=lambda sheet: _draw(sheet, context, found), size_in=(11.0, 4.4),
    )  # fmt: skip


def _rows(found: dict[str, System], fastest: System, judge: Judge) -> list[Row]:
    full = found["StreamWise"]
    estimator, window = by(judge)
    rows = []
    effect: dict[str, tuple[float, float]] = {}
    for name in ("no spot", "no disaggregation", "no upscaler", "naive allocation"):
        cost, start = (mean(ratios(found[name], full, judge, what)) for what in ("cost", "start"))
        effect[name] = cost, start
        for what, value in (("cost", cost), ("start", start)):
            rows.append(
                Row(figure="fig10", what=f"{name} over StreamWise: {what}", unit="x", kind="outcome",
                    ours=value, price=_PRICES.get(name, "spot") if what == "cost" else "",
                    window=window if what == "cost" else "", estimator=estimator,
                    note="reserved over spot" if name == "no spot" and what == "cost" else "")
            )  # fmt: skip

    def row(what: str, kept: bool, note: str) -> Row:
        return ordering("fig10", what, kept, note, estimator)

    alone, mixed = (fastest.at(judge, **dict(budget)).ttff_s for budget in FASTEST)
    apart = effect["no disaggregation"]
    same = "; the same plans: in turn, one replica that does both never waits" if apart == (1, 1) else ""
    rows += [
        Row(figure="fig10", what="A100 only: earliest start", unit="s", kind="outcome", paper=A100_S,
            artifact=27.55, ours=alone, stall_free_s=alone, estimator=estimator,
            note="the paper: not lower than; the artifact's of 512 A100, ours of 256"),
        row("A100 only: starts later than with other hardware", alone > mixed,
            f"256 A100 {alone:.1f} s, with 64 H200 {mixed:.1f} s"),
        row("no spot: dearer", effect["no spot"][0] > 1, f"cost x {effect['no spot'][0]:.2f}"),
        row("no disaggregation: later start", apart[1] > 1,
            f"start x {apart[1]:.3f}, cost x {apart[0]:.3f}{same}"),
        row("no upscaler: dearer and later", min(effect["no upscaler"]) > 1,
            f"cost x {effect['no upscaler'][0]:.2f}, start x {effect['no upscaler'][1]:.2f}"),
        row("naive allocation: dearer", effect["naive allocation"][0] > 1,
            f"cost x {effect['naive allocation'][0]:.2f}, start x {effect['naive allocation'][1]:.1f}"),
    ]  # fmt: skip
    return rows


def _draw(sheet: Any, context: Context, found: dict[str, System]) -> None:
    axes = sheet.subplots(1, 2, sharex=True, sharey=True)
    for ax, judge, title in zip(
        axes, JUDGES, ("the paper's estimate; dotted: the artifact's", "the engine's schedule"), strict=True
    ):
        for name, each in found.items():
            points = each.points(judge)
            ax.plot([p.ttff_s for p in points], [p.cost_usd for p in points], "o", markersize=2.5,
                    color=LOOKS[name], alpha=0.5)  # fmt: skip
            curve(ax, points, name, LOOKS[name], dashed=name in ("naive allocation", "no disaggregation"))
            if judge == "maxima" and each.published:
                published(ax, context.points(each.published), "", LOOKS[name])
        start_and_cost(ax, "cost until ready ($)")
        ax.set_title(title, fontsize=9)
        ax.set_xlim(8, 20_000)
        ax.set_ylim(8, 300)
        plain(ax)
    axes[1].legend(ncol=2, loc="upper right")
