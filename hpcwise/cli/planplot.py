"""The frontier of `hpcwise plan --plot` as a picture: cost over the start of playback, energy as colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcwise.cli.values import printable
from hpcwise.core.errors import ModelMissing
from hpcwise.core.provisioner.pareto import Point
from hpcwise.core.provisioner.types import Plan


def draw(points: Sequence[Point], chosen: Plan, path: Path, title: str) -> None:
    """Write the PNG, beside and then renamed. Raises ModelMissing without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise ModelMissing("plot: matplotlib is not installed; run pip install 'hpcwise[film]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5), dpi=120)
    beside = path.with_name(f".{path.name}.part")
    try:
        _fill(figure, axis, points, chosen)
        axis.set_title(printable(title, 60))
        figure.savefig(beside, format="png", bbox_inches="tight")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
        plt.close(figure)


def _fill(figure: Any, axis: Any, points: Sequence[Point], chosen: Plan) -> None:
    from matplotlib import ticker

    starts = [point.ttff_eff_s for point in points]
    costs = [point.cost_usd for point in points]
    dots = axis.scatter(starts, costs, c=[p.energy_kwh for p in points], cmap="viridis", s=36, zorder=3)
    figure.colorbar(dots, ax=axis, label="energy, kWh")
    # The lower left edge alone is joined: the other points are there for their energy.
    edge = [p for i, p in enumerate(points) if all(p.ttff_eff_s < q.ttff_eff_s for q in points[:i])]
    axis.plot([p.ttff_eff_s for p in edge], [p.cost_usd for p in edge], color="0.6", zorder=2)
    e = chosen.estimate
    axis.scatter(
        [e.ttff_eff_s], [e.cost_usd], marker="*", s=220, facecolor="none", edgecolor="crimson",
        label="the plan", zorder=4,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
    axis.xaxis.set_major_formatter(ticker.ScalarFormatter())
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.set_xlabel("playback starts and never stalls, s")
    axis.set_ylabel("cost of the film, USD")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
