"""Figure 9: each technique of StreamWise added alone to the naive baseline (section 5.2, ablation).

Naive is drawn at full size on reserved A100, DiT and VAE in one replica, dealt out statically. Each other
system changes one thing: the pools (all hardware), the price (spot), the variant (DiT and VAE apart; drawn
small and enlarged), or the planner (ours for cost x start in place of the static partition).
"""

from __future__ import annotations

from typing import Any, Final

from hpcwise.evaluation import comparison
from hpcwise.evaluation.baselines import ways
from hpcwise.evaluation.comparison import A100, ALL, JUDGES, Judge, System, mean, ratios
from hpcwise.evaluation.plots import COLOURS, curve, plain, published, start_and_cost
from hpcwise.evaluation.rows import (
    SUM_OF_STAGES,
    UNTIL_READY,
    Estimator,
    Figure,
    Row,
    dominates,
    ordering,
)
from hpcwise.evaluation.run import Context

#: Name, colour; the systems in the order of the paper's legend.
LOOKS: Final[dict[str, str]] = {
    "naive": COLOURS["naive"], "+ hardware": "#009E73", "+ spot": "#CC79A7", "+ disaggregation": "#8C564B",
    "+ upscaler": "#E69F00", "+ time x cost": "#56B4E9", "StreamWise": COLOURS["ours"],
}  # fmt: skip
#: Starts closer than this are as good as one another.
NEAR: Final = 1.15
#: A cost that changes by less than this is "little effect".
LITTLE: Final = 0.25


def systems(context: Context) -> dict[str, System]:
    """Naive, naive with one technique each, and all of them."""
    fused = ways.restricted(context, upscale=False, split=False)
    apart = ways.restricted(context, upscale=False, split=True)
    small = ways.restricted(context, upscale=True, split=False)
    found = [
        comparison.system(context, "+ hardware", fused, "naive", ALL, spot=False,
                          published="naive_hardware"),
        comparison.system(context, "+ disaggregation", apart, "ddit", A100, spot=False,
                          published="naive_disag"),
        comparison.system(context, "+ upscaler", small, "naive", A100, spot=False,
                          published="naive_upscaler"),
        comparison.system(context, "+ time x cost", fused, "ours", A100, spot=False,
                          published="naive_ttffxcost_allocator"),
        comparison.system(context, "StreamWise", ways.ours(context), "ours", ALL, spot=True,
                          published="streamwise_high"),
    ]  # fmt: skip
    alone = comparison.system(context, "naive", fused, "naive", A100, spot=False, published="naive")
    found += [alone, alone.priced("+ spot", True, "naive_spot")]
    return {each.name: each for each in sorted(found, key=lambda each: list(LOOKS).index(each.name))}


def reproduce(context: Context) -> Figure:
    found = systems(context)
    naive, all_of_them = found["naive"], found["StreamWise"]
    rows: list[Row] = []
    for name in ("naive", "+ hardware", "+ spot", "+ disaggregation", "+ upscaler"):
        rows += comparison.beside_published("fig9", context, found[name])
    rows += comparison.beside_published(
        "fig9",
        context,
        found["+ time x cost"],
        "our planner, so nothing is asked: theirs finds dearer plans",
        None,
    )
    for judge in JUDGES:
        rows += _effects(found, naive, judge)
        rows += _orderings(found, naive, all_of_them, judge)
    return Figure(
        name="fig9", title="Figure 9: each technique added alone to naive", rows=tuple(rows),
        tables=(comparison.table("fig9", context, list(found.values())),),
        draw=lambda sheet: _draw(sheet, context, found), size_in=(11.0, 4.4),
    )  # fmt: skip


def _effects(found: dict[str, System], naive: System, judge: Judge) -> list[Row]:
    """What each technique does to cost and start, mean of the A100 budgets; the paper gives no numbers."""
    estimator, window = by(judge)
    rows = []
    for name in ("+ spot", "+ disaggregation", "+ upscaler", "+ time x cost"):
        for what in ("cost", "start"):
            value = mean(ratios(found[name], naive, judge, what))
            rows.append(
                Row(figure="fig9", what=f"{name} over naive: {what}", unit="x", kind="outcome", ours=value,
                    price="reserved" if what == "cost" else "", window=window if what == "cost" else "",
                    estimator=estimator, note="spot over reserved" if name == "+ spot" else "")
            )  # fmt: skip
    return rows


def _orderings(found: dict[str, System], naive: System, all_of_them: System, judge: Judge) -> list[Row]:
    estimator, _ = by(judge)

    def row(what: str, kept: bool, note: str = "") -> Row:
        return ordering("fig9", what, kept, note, estimator)

    def effect(name: str) -> tuple[float, float]:
        return mean(ratios(found[name], naive, judge, "cost")), mean(
            ratios(found[name], naive, judge, "start")
        )

    def least(each: System) -> tuple[float, float]:
        points = each.points(judge)
        return min(p.cost_usd for p in points), min(p.ttff_s for p in points)

    hardware, alone = least(found["+ hardware"]), least(naive)
    spot, disag, upscaled, sought = (
        effect(name) for name in ("+ spot", "+ disaggregation", "+ upscaler", "+ time x cost")
    )
    few = [ratio for ratio, each in zip(
        ratios(found["+ upscaler"], naive, judge, "start"), naive.maxima, strict=True
    ) if sum(each.budget.values()) <= 16]  # fmt: skip
    others = [each for name, each in found.items() if name not in ("StreamWise", "naive")]
    return [
        row("hardware: cheaper and earlier than naive", hardware[0] < alone[0] and hardware[1] < alone[1],
            f"${hardware[0]:.0f} and {hardware[1]:.0f} s, naive ${alone[0]:.0f} and {alone[1]:.0f} s"),
        row("disaggregation: cheaper than naive", disag[0] < 1,
            f"cost x {disag[0]:.2f}; the text says so, the artifact's own curve does not (8 A100: $281 over "
            "$225): the static partition gives the VAE too few or too many"),
        row("spot: cheaper at the same start", spot[0] < 1 and 1 / NEAR < spot[1] < NEAR,
            f"cost x {spot[0]:.2f}"),
        row("time x cost: cheaper, start not later", sought[0] < 1 and sought[1] < NEAR,
            f"cost x {sought[0]:.2f}, start x {sought[1]:.2f}"),
        row("upscaler: less than half the start on 8 and 16 A100", bool(few) and max(few) < 0.5,
            f"start x {max(few):.2f}" if few else ""),
        row("upscaler: little effect on cost", abs(upscaled[0] - 1) < LITTLE,
            f"cost x {upscaled[0]:.2f}, mean of 8 to 256 A100; the artifact's: x 0.40 on 8, 1.04 on 64"),
        row("all together: cheaper and earlier than any alone",
            all(dominates(all_of_them.points(judge), each.points(judge)) for each in others)),
    ]  # fmt: skip


def by(judge: Judge) -> tuple[Estimator, str]:
    """The judge as rows name it, and what it bills."""
    return ("stage-maxima", SUM_OF_STAGES) if judge == "maxima" else ("engine", UNTIL_READY)


def _draw(sheet: Any, context: Context, found: dict[str, System]) -> None:
    axes = sheet.subplots(1, 2, sharex=True, sharey=True)
    for ax, judge, title in zip(
        axes, JUDGES, ("the paper's estimate; dotted: the artifact's", "the engine's schedule"), strict=True
    ):
        for name, each in found.items():
            points = each.points(judge)
            ax.plot([p.ttff_s for p in points], [p.cost_usd for p in points], "o", markersize=2.5,
                    color=LOOKS[name], alpha=0.5)  # fmt: skip
            curve(ax, points, name, LOOKS[name], dashed=name == "naive")
            if judge == "maxima":
                published(ax, context.points(each.published), "", LOOKS[name])
        start_and_cost(ax, "cost until ready ($)")
        ax.set_title(title, fontsize=9)
        ax.set_xlim(8, 60_000)
        ax.set_ylim(8, 1000)
        plain(ax)
    axes[1].legend(ncol=2, loc="upper right")
