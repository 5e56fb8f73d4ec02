"""`hpcwise plan SPEC --cluster NAME`: what each shape that a Slurm site offers would cost, and when the film
would be ready, queue included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from hpcwise.cli.clusterfile import Learned
from hpcwise.cli.contract import midnight_s, money, shapes, site_of
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.specfile import relative
from hpcwise.cli.values import format_s, printable
from hpcwise.core.contract import Offer
from hpcwise.core.contractoffers import terms_of
from hpcwise.core.errors import ModelMissing
from hpcwise.core.spec import By, JobSpec
from hpcwise.core.units import HOUR_S


class ShapeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One shape, asked for now. *_s from now on. best: no other shape is both cheaper and sooner (at nine of
    ten). missed: its 90 % time is after the job's deadline."""

    offer: Offer
    queue50_s: float
    queue90_s: float
    ready50_s: float
    ready90_s: float
    usd: float
    best: bool
    missed: bool
    waits: str


class ShapesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    cluster: str
    by_s: float | None
    shapes: tuple[ShapeRow, ...]
    plot: str | None


def rows_of(
    offers: tuple[Offer, ...], learned: Learned | None, sigma: float, now_s: float, by_s: float | None
) -> list[ShapeRow]:
    """Shapes by cost. A shape's 90 % time takes the queue and the profiles' error at that quantile, and an
    eviction's loss where there may be one."""
    terms = terms_of(offers, learned.waits if learned else None, 0.9, sigma, midnight_s(now_s))
    found = []
    for i, offer in enumerate(terms.offers):
        waits = terms.waits[i][terms.hour(now_s)]
        queue50_s, queue90_s = waits.at(0.5), waits.at(0.9)
        # Whatever is evicted waits and loads again; segments that are done stay.
        again = offer.evictions_per_h * (offer.load_s + offer.work_s) / HOUR_S
        ready50_s = queue50_s + offer.load_s + offer.work_s + again * (queue50_s + offer.load_s)
        ready90_s = (
            queue90_s + offer.load_s + offer.work_s * terms.slower + again * (queue90_s + offer.load_s)
        )
        found.append((offer, queue50_s, queue90_s, ready50_s, ready90_s, waits.of, again))
    usd = {o.name: o.usd + again * o.load_s * o.usd_per_h / HOUR_S for o, *_, again in found}
    rows = []
    for offer, queue50_s, queue90_s, ready50_s, ready90_s, of, _ in found:
        best = not any(
            other != offer and usd[other.name] <= usd[offer.name] and sooner_s < ready90_s
            for other, _, _, _, sooner_s, _, _ in found
        )
        missed = by_s is not None and now_s + ready90_s > by_s
        rows.append(
            ShapeRow(
                offer=offer, queue50_s=queue50_s, queue90_s=queue90_s, ready50_s=ready50_s,
                ready90_s=ready90_s, usd=usd[offer.name], best=best, missed=missed, waits=of,
            )
        )  # fmt: skip
    return rows


def plan_shapes(job: JobSpec, name: str, now_s: float, plot: Path | None, as_json: bool) -> int:
    """Print the table; exit code 1 where the job has a deadline that no shape keeps at nine of ten."""
    site = site_of(name)
    _, _, offers, sigma = shapes(job, site)
    by_s = job.slo.wall_s if isinstance(job.slo, By) else None
    rows = rows_of(offers, site.learned, sigma, now_s, by_s)
    if plot is not None:
        draw(rows, plot, f"{job.name or job.workflow} on {name}", None if by_s is None else by_s - now_s)
    answer = ShapesAnswer(cluster=name, by_s=by_s, shapes=tuple(rows), plot=str(plot) if plot else None)
    if as_json:
        print_json(answer)
    else:
        _print(answer, site.learned)
    return 1 if by_s is not None and all(row.missed for row in rows) else 0


def _print(answer: ShapesAnswer, learned: Learned | None) -> None:
    out = console()
    columns = ("shape", "GPUs", "walltime", "queue 50 %", "90 %", "works", "ready 50 %", "90 %", "cost", "")
    cells = [
        (
            row.offer.name, _gpus(row.offer), format_s(row.offer.walltime_s),
            format_s(row.queue50_s), format_s(row.queue90_s), format_s(row.offer.load_s + row.offer.work_s),
            format_s(row.ready50_s), format_s(row.ready90_s), money(row.usd),
            "too late" if row.missed else "best" if row.best else "",
        )
        for row in answer.shapes
    ]  # fmt: skip
    out.print(table(columns, cells, right=columns[1:-1]))
    prices = dict.fromkeys(f"{row.offer.partition}: {row.offer.price}" for row in answer.shapes)
    for i, price in enumerate(prices):
        out.print(f"{'prices' if not i else '':<14}{price}", markup=False)
    if learned is None:
        out.print("queues        a guess; hpcwise cluster learn knows better", markup=False)
    if answer.plot:
        out.print(f"plot          {relative(Path(answer.plot))}", markup=False)


def _gpus(offer: Offer) -> str:
    """Those of its workers, and of what is kept beside them."""
    return " + ".join(str(n) for n in (offer.gpus, *(each.gpus for each in offer.kept)) if n) or "cores"


def draw(rows: list[ShapeRow], path: Path, title: str, by_s: float | None) -> None:
    """Cost over the time at which the film is there, from as likely as not to nine of ten."""
    try:
        import matplotlib
    except ImportError:
        raise ModelMissing("plot: matplotlib is not installed; run pip install 'hpcwise[film]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 5), dpi=120)
    try:
        _fill(axis, rows, by_s)
        axis.set_title(printable(title, 70))
        beside = path.with_name(f".{path.name}.part")
        figure.savefig(beside, format="png", bbox_inches="tight")
        beside.replace(path)
    finally:
        plt.close(figure)


def _fill(axis: Any, rows: list[ShapeRow], by_s: float | None) -> None:
    from matplotlib import ticker

    pools = list(dict.fromkeys(row.offer.pools[0] for row in rows))
    colours = ("#4E79A7", "#F28E2B", "#59A14F", "#B07AA1", "#E15759", "#76B7B2")
    scale, unit = (3600.0, "h") if max(row.ready90_s for row in rows) > 2 * HOUR_S else (60.0, "min")
    for number, pool in enumerate(pools):
        own = sorted((row for row in rows if row.offer.pools[0] == pool), key=lambda row: row.offer.nodes)
        colour = colours[number % len(colours)]
        for row in own:
            axis.plot(
                [row.ready50_s / scale, row.ready90_s / scale], [row.usd, row.usd], color=colour,
                linewidth=5, alpha=0.35, solid_capstyle="butt", zorder=2,
            )  # fmt: skip
            axis.annotate(
                f"{row.offer.nodes}", (row.ready90_s / scale, row.usd), xytext=(5, 0),
                textcoords="offset points", fontsize=8, color=colour, va="center",
            )  # fmt: skip
        axis.plot(
            [row.ready90_s / scale for row in own], [row.usd for row in own], "o", color=colour, markersize=6,
            label=f"{pool} (number: nodes)", zorder=3,
        )  # fmt: skip
    best = sorted((row for row in rows if row.best), key=lambda row: row.ready90_s)
    axis.plot([r.ready90_s / scale for r in best], [r.usd for r in best], color="0.55", linewidth=1, zorder=1)
    if by_s is not None and by_s < 4 * max(row.ready90_s for row in rows):
        axis.axvline(by_s / scale, color="crimson", linestyle=":", label="the deadline")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
    axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.set_xlabel(f"ready after, {unit} (bar: from as likely as not to nine of ten)")
    axis.set_ylabel("cost of the film, USD")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
