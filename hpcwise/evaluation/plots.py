"""How pictures look: one style for all figures, published points hollow, ours filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from hpcwise.evaluation.rows import Figure, Point, frontier

#: Colour-blind safe (Okabe and Ito), by what is drawn.
COLOURS: Final[dict[str, str]] = {
    "ours": "#0072B2", "paper": "#000000", "artifact": "#7F7F7F", "naive": "#D55E00", "a100": "#009E73",
    "h100": "#0072B2", "h200": "#56B4E9", "gb200": "#CC79A7", "a100+h100": "#E69F00", "a100+h200": "#D55E00",
    "a100+gb200": "#8C564B", "hexgen": "#CC79A7", "helix": "#E69F00", "ddit": "#009E73",
    "monolith": "#8C564B", "high": "#0072B2", "medium": "#009E73", "low": "#E69F00", "adaptive": "#D55E00",
}  # fmt: skip
STYLE: Final[Any] = {
    "font.size": 9, "axes.grid": True, "grid.alpha": 0.25, "axes.spines.top": False,
    "axes.spines.right": False, "legend.fontsize": 7.5, "legend.frameon": False, "figure.dpi": 100,
    "savefig.dpi": 150, "axes.axisbelow": True,
}  # fmt: skip


#: Axes over more than this ratio name powers of ten only.
WIDE: Final = 500.0


def save(figure: Figure, path: Path) -> None:
    """Draw a figure into a PNG, the same bytes for the same figure; it must have a picture."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Sheet

    assert figure.draw is not None
    with mpl.rc_context(STYLE):
        sheet = Sheet(figsize=figure.size_in, layout="constrained")
        figure.draw(sheet)
        sheet.suptitle(figure.title, fontsize=10, x=0.01, ha="left")
        beside = path.with_suffix(".tmp")
        sheet.savefig(beside, format="png", metadata={"Software": None})
    beside.replace(path)


def start_and_cost(ax: Any, cost: str = "cost until ready ($, spot)") -> None:
    """Axes of most figures."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("start of playback without a stall (s)")
    ax.set_ylabel(cost)
    plain(ax)


def plain(ax: Any) -> None:
    """Numbers as people write them on logarithmic axes; 2 and 5 only where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def formatter(axis: Any) -> FuncFormatter:
        def text(value: float, _place: float) -> str:
            low, high = sorted(axis.get_view_interval())
            round_ten = f"{value:.0e}".startswith("1")
            return f"{value:,.10g}" if round_ten or high / low < WIDE else ""

        return FuncFormatter(text)

    for axis, scale in ((ax.xaxis, ax.get_xscale()), (ax.yaxis, ax.get_yscale())):
        if scale == "log":
            axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=30))
            axis.set_major_formatter(formatter(axis))
            axis.set_minor_formatter(NullFormatter())


def curve(ax: Any, points: Iterable[Point], label: str, colour: str, *, dashed: bool = False) -> None:
    """A frontier of ours: line and filled points."""
    rim = frontier(list(points))
    starts, costs = [p.ttff_s for p in rim], [p.cost_usd for p in rim]
    line = "--" if dashed else "-"
    ax.plot(starts, costs, line, marker="o", markersize=3.5, linewidth=1.3, color=colour, label=label)


def published(ax: Any, points: Iterable[Point], label: str, colour: str) -> None:
    """A frontier of the artifact: dotted with hollow points."""
    rim = frontier(list(points))
    ax.plot(
        [p.ttff_s for p in rim], [p.cost_usd for p in rim], ":", marker="o", markersize=3, linewidth=0.9,
        color=colour, markerfacecolor="none", alpha=0.75, label=label,
    )  # fmt: skip


def stars(ax: Any, points: Sequence[Point], label: str = "paper's text") -> None:
    """Single points that the paper's text names."""
    ax.plot(
        [p.ttff_s for p in points], [p.cost_usd for p in points], linestyle="none", marker="*", markersize=11,
        color=COLOURS["paper"], markerfacecolor="#FFD92F", label=label, zorder=5,
    )  # fmt: skip
    for point in points:
        if point.label:
            ax.annotate(
                point.label, (point.ttff_s, point.cost_usd), xytext=(5, 5), textcoords="offset points",
                fontsize=7,
            )  # fmt: skip
