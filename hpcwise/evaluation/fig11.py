"""Figure 11: systems made for LLMs, and DiT apart from VAE, ported to the podcast; one model for all of it.

HexGen, Helix and DDiT plan for all hardware, at full size and with DiT and VAE of the sketch apart, as the
artifact's policies of those names do; price plays no part in their plans, so spot is the same plan for less.
The monolithic comparison is of the text (section 5.2), which draws no curve of it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hpcwise.core.provisioner.types import Work
from hpcwise.evaluation import comparison
from hpcwise.evaluation.baselines import monolithic, ways
from hpcwise.evaluation.comparison import A100, ALL, JUDGES, Judge, Planner, System, mean, ratios
from hpcwise.evaluation.fig9 import by
from hpcwise.evaluation.plots import COLOURS, curve, plain, published, start_and_cost
from hpcwise.evaluation.rows import Figure, Point, Row, dominates, ordering
from hpcwise.evaluation.run import Context

LOOKS: Final[dict[str, str]] = {
    "StreamWise": COLOURS["ours"], "HexGen": COLOURS["hexgen"], "Helix": COLOURS["helix"],
    "DDiT": COLOURS["ddit"], "naive": COLOURS["naive"], "one model": COLOURS["monolith"],
    "one model, our planner": "#56B4E9",
}  # fmt: skip
_PORTS: Final[tuple[tuple[str, Planner, str], ...]] = (
    ("HexGen", "hexgen", "llm-hexgen"), ("Helix", "helix", "llm-helix"), ("DDiT", "ddit", "llm-ddit"),
)  # fmt: skip
_BETTER: Final = {
    "HexGen": "a genetic search that goes on; the artifact's port climbs model by model and stops early",
    "Helix": "programs solved to the optimum; the artifact stops each after 30 s",
}


def systems(context: Context) -> dict[str, System]:
    """By name; those with `(spot)` are the same plans at spot prices."""
    apart = ways.restricted(context, upscale=False, split=True)
    fused = ways.restricted(context, upscale=False, split=False)
    found = [
        comparison.system(context, "StreamWise", ways.ours(context), "ours", ALL, spot=True,
                          published="streamwise_high")
    ]  # fmt: skip
    for name, planner, series in _PORTS:
        made = comparison.system(context, name, apart, planner, ALL, spot=False, published=series)
        found += [made, made.priced(f"{name} (spot)", True, f"{series}_spot")]
    naive = comparison.system(context, "naive", fused, "naive", A100, spot=False, published="naive")
    found += [naive, naive.priced("naive (spot)", True, "naive_spot")]
    one = monolithic.work(context)
    found.append(comparison.system(context, "one model", one, "monolith", A100, spot=False))
    both = msgspec.structs.replace(one, variants=(*one.variants, *_apart(context).variants))
    found.append(comparison.system(context, "one model, our planner", both, "ours", A100, spot=True))
    return {each.name: each for each in found}


def _apart(context: Context) -> Work:
    return monolithic.work(context, split=True)


def reproduce(context: Context) -> Figure:
    found = systems(context)
    rows: list[Row] = []
    for name, _, _ in _PORTS:
        rows += comparison.beside_published("fig11", context, found[name], _BETTER.get(name, ""))
    for judge in JUDGES:
        rows += _numbers(context, found, judge)
        rows += _orderings(found, judge)
    return Figure(
        name="fig11", title="Figure 11: planners made for LLMs, and one model, on the podcast",
        rows=tuple(rows), tables=(comparison.table("fig11", context, list(found.values())),),
        draw=lambda sheet: _draw(sheet, context, found), size_in=(11.0, 4.4),
    )  # fmt: skip


def _numbers(context: Context, found: dict[str, System], judge: Judge) -> list[Row]:
    """Ratios at each one's best cost x start, as the paper does not say where it takes them."""
    estimator, window = by(judge)
    best = {name: ways.best(each.points(judge)) for name, each in found.items()}
    theirs = {
        name: ways.best(points)
        for name, each in found.items()
        if each.published and (points := context.points(each.published))
    }

    def pair(of: str, over: str, paper_cost: float | None, paper_start: float | None) -> list[Row]:
        a, b = best[of], best[over]
        published_pair = (theirs[of], theirs[over]) if of in theirs and over in theirs else None
        note = f"best cost x start: {_text(a)} over {_text(b)}"
        common: Any = {"figure": "fig11", "unit": "x", "kind": "outcome", "estimator": estimator}
        rows = []
        for what, paper in (("cost", paper_cost), ("start", paper_start)):
            if paper is None:
                continue
            field = "cost_usd" if what == "cost" else "ttff_s"
            artifact = None
            if published_pair is not None:
                artifact = getattr(published_pair[0], field) / getattr(published_pair[1], field)
            rows.append(
                Row(what=f"{of} over {over}: {what}", paper=paper, artifact=artifact, note=note,
                    ours=getattr(a, field) / getattr(b, field), window=window if what == "cost" else "",
                    price="spot" if what == "cost" else "", stall_free_s=a.ttff_s, **common)
            )  # fmt: skip
        return rows

    return [
        *pair("HexGen (spot)", "StreamWise", 3.0, 5.0),
        *pair("one model", "one model, our planner", 3.5, None),
        *pair("one model, our planner", "StreamWise", 2.7, 4.3),
    ]


def _text(point: Point) -> str:
    return f"${point.cost_usd:.0f} and {point.ttff_s:.0f} s ({point.label})"


def _orderings(found: dict[str, System], judge: Judge) -> list[Row]:
    estimator, _ = by(judge)

    def row(what: str, kept: bool, note: str = "") -> Row:
        return ordering("fig11", what, kept, note, estimator)

    def over(a: str, b: str) -> tuple[float, float]:
        return tuple(mean(ratios(found[a], found[b], judge, what)) for what in ("cost", "start"))  # type: ignore[return-value]

    ours = found["StreamWise"].points(judge)
    helix_hexgen, helix_naive = over("Helix (spot)", "HexGen (spot)"), over("Helix (spot)", "naive (spot)")
    ddit_naive = ratios(found["DDiT"], found["naive"], judge, "cost")
    best = {name: ways.best(each.points(judge)) for name, each in found.items()}

    def product(name: str) -> float:
        return best[name].cost_usd * best[name].ttff_s

    every = [
        row(f"StreamWise: cheaper and earlier than {name} at every point",
            dominates(ours, found[name].points(judge)))
        for name in ("HexGen (spot)", "Helix (spot)", "DDiT (spot)", "naive (spot)", "one model")
    ]  # fmt: skip
    return [
        *every,
        row("Helix starts later than HexGen", helix_hexgen[1] > 1,
            f"start x {helix_hexgen[1]:.2f}, cost x {helix_hexgen[0]:.2f}"),
        row("Helix is worse than naive", min(helix_naive) > 1,
            f"start x {helix_naive[1]:.2f}, cost x {helix_naive[0]:.2f}"),
        row("DDiT is dearer than naive on few devices", ddit_naive[0] > 1, f"8 A100: x {ddit_naive[0]:.2f}"),
        row("DDiT costs less over naive the more devices there are", ddit_naive[-1] < ddit_naive[0],
            f"x {ddit_naive[0]:.2f} on 8 A100, x {ddit_naive[-1]:.2f} on 256; the artifact's: x 1.26 on 8, "
            "1.18 on 128: the VAE's share is the partition's, not what it needs"),
        row("DDiT alone is not enough: ten times StreamWise's cost x start",
            product("DDiT (spot)") > 10 * product("StreamWise"),
            f"{product('DDiT (spot)'):.0f} over {product('StreamWise'):.0f} $s"),
        row("one model: our planner is cheaper than the partition",
            best["one model, our planner"].cost_usd < best["one model"].cost_usd,
            f"{_text(best['one model, our planner'])}, {_text(best['one model'])}"),
    ]  # fmt: skip


def _draw(sheet: Any, context: Context, found: dict[str, System]) -> None:
    axes = sheet.subplots(1, 2, sharex=True, sharey=True)
    for ax, judge, title in zip(
        axes, JUDGES, ("the paper's estimate; dotted: the artifact's", "the engine's schedule"), strict=True
    ):
        for name, each in found.items():
            spot = name.endswith("(spot)")
            colour = LOOKS[name.removesuffix(" (spot)")]
            points = each.points(judge)
            ax.plot([p.ttff_s for p in points], [p.cost_usd for p in points], "o", markersize=2.5,
                    color=colour, alpha=0.5)  # fmt: skip
            curve(ax, points, "" if spot else name, colour, dashed=spot)
            if judge == "maxima" and each.published and (spot or name == "StreamWise"):
                published(ax, context.points(each.published), "", colour)
        start_and_cost(ax, "cost until ready ($); dashed: spot")
        ax.set_title(title, fontsize=9)
        ax.set_xlim(8, 200_000)
        ax.set_ylim(8, 2000)
        plain(ax)
    axes[1].legend(ncol=2, loc="upper right")
