"""`hpcwise report`: the morning's one page. What was promised, what it took and cost, what was lost on the
way and how it came back; as HTML that needs nothing else, and as a picture."""

from __future__ import annotations

import base64
import html
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hpcwise.cli.completion import request_ids
from hpcwise.cli.contract import money
from hpcwise.cli.output import print_json
from hpcwise.cli.replay import find_track, records_of
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.specfile import relative
from hpcwise.cli.timebuild import build
from hpcwise.cli.timeline import Slice, Timeline, short_name
from hpcwise.cli.values import format_s, printable
from hpcwise.core.contracthead import Agreement
from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.core.report import Receipt
from hpcwise.core.units import HOUR_S
from hpcwise.store.paths import storage_errors, write_beside

#: Rows of a table on the page; the receipt has all.
_MOST: Final = 24
_FONTS: Final = ["Inter", "DejaVu Sans"]
_LOST: Final = frozenset({"lost", "failed"})


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """Work that was interrupted. at_s, back_s: seconds after the request arrived, of the loss and of the end
    of the attempt that made up for it; None where none did. wasted_s: of the lost attempt."""

    what: str
    worker: str
    why: str
    at_s: float
    wasted_s: float
    back_s: float | None
    on: str


class KindCost(msgspec.Struct, frozen=True, kw_only=True):
    """Workers of one kind. held_h: of their lives within the request."""

    kind: str
    workers: int
    held_h: float
    busy_h: float
    lost: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    request_id: str
    title: str
    state: str
    asked: str
    kept: bool | None
    took_s: float
    cost_usd: float | None
    energy_kwh: float | None
    degraded: int | None
    promised: str
    losses: tuple[Loss, ...]
    kinds: tuple[KindCost, ...]
    heads: int
    html: str
    png: str


@click.command("report")
@click.argument("request_id", metavar="REQUEST", shell_complete=request_ids)
@run_dir_option
@json_option
def report_command(request_id: str, run: Run, as_json: bool) -> None:
    """Write report.html and report.png into the folder of REQUEST; a head may run meanwhile."""
    page = make(run, request_id)
    if as_json:
        print_json(page)
        return
    for name, value in _facts(page):
        click.echo(f"{name:<14}{value}")
    for loss in page.losses[:_MOST]:
        click.echo(f"{'lost':<14}{_of_loss(loss)}")
    click.echo(f"{'page':<14}{relative(Path(page.html))}, {relative(Path(page.png))}")


def make(run: Run, request_id: str) -> Page:
    """The page of a request. Raises UsageError where there is no journal or no such request."""
    records = list(records_of(run))
    if not records:
        raise UsageError(f"{run.results}: has no journal yet; nothing was run here")
    whole = build(record for _, record in records)
    name = find_track(whole, request_id)
    timeline = whole.of(name)
    folder = run.film(name)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    receipt = _read(folder / "receipt.json", Receipt)
    agreement = _read(folder / "contract.json", Agreement)
    [track] = timeline.requests
    ended_s = track.ended_s if track.ended_s is not None else timeline.end_s
    page = Page(
        request_id=name,
        title=printable(receipt.title if receipt and receipt.title else track.name, 80),
        state=track.state,
        asked=track.slo,
        kept=receipt.slo_met if receipt else None,
        took_s=ended_s - track.arrived_s,
        cost_usd=receipt.cost_usd if receipt else None,
        energy_kwh=receipt.energy_j / 3.6e6 if receipt else None,
        degraded=receipt.n_degraded if receipt else None,
        promised=_promised(agreement, track.state, timeline.wall_s + ended_s - timeline.start_s),
        losses=losses(timeline),
        kinds=kinds(timeline),
        heads=1 + sum(1 for at in timeline.epochs if at > timeline.start_s),
        html=str(folder / "report.html"),
        png=str(folder / "report.png"),
    )
    _draw(timeline, page, folder)
    return page


def losses(timeline: Timeline) -> tuple[Loss, ...]:
    """Attempts that were lost with their workers or failed, and which attempt made up for each."""
    start_s = timeline.start_s
    reasons = {life.worker: life.reason for life in timeline.workers}
    done: dict[str, Slice] = {}
    for item in timeline.slices:
        if item.outcome == "finished" and item.task_id not in done:
            done[item.task_id] = item
    found = []
    for item in timeline.slices:
        if item.outcome not in _LOST:
            continue
        again = done.get(item.task_id)
        found.append(
            Loss(
                what=short_name(item),
                worker=item.worker,
                why=printable(reasons.get(item.worker, "") or item.outcome, 60),
                at_s=item.end_s - start_s,
                wasted_s=item.end_s - item.start_s,
                back_s=again.end_s - start_s if again is not None else None,
                on=again.worker if again is not None else "",
            )
        )
    return tuple(sorted(found, key=lambda loss: loss.at_s))


def kinds(timeline: Timeline) -> tuple[KindCost, ...]:
    """Hours of workers by kind."""
    rows: dict[str, list[float]] = {}
    of_worker = {life.worker: life.kind for life in timeline.workers}
    for life in timeline.workers:
        row = rows.setdefault(life.kind, [0, 0.0, 0.0, 0])
        ended_s = min(timeline.end_s if life.ended_s is None else life.ended_s, timeline.end_s)
        row[0] += 1
        row[1] += max(0.0, ended_s - max(life.joined_s, timeline.start_s)) / HOUR_S
    for item in timeline.slices:
        kind = of_worker.get(item.worker)
        if kind is not None:
            rows[kind][2] += (item.end_s - item.start_s) / HOUR_S
            rows[kind][3] += item.outcome in _LOST
    return tuple(
        KindCost(kind=kind, workers=int(r[0]), held_h=r[1], busy_h=r[2], lost=int(r[3]))
        for kind, r in sorted(rows.items())
    )


def _facts(page: Page) -> list[tuple[str, str]]:
    kept = {True: "kept", False: "missed", None: "open or nothing promised"}[page.kept]
    found = [
        ("film", f"{page.title} ({page.request_id})"),
        ("asked for", f"{page.asked}: {kept}"),
        ("state", f"{page.state} after {format_s(page.took_s)}"),
    ]
    if page.promised:
        found.append(("contract", page.promised))
    if page.cost_usd is not None:
        found.append(("cost", f"{money(page.cost_usd)} while working, {page.energy_kwh or 0:.2g} kWh"))
    held = ", ".join(
        f"{row.workers} {row.kind} for {format_s(row.held_h * HOUR_S)} in all (busy "
        f"{100 * row.busy_h / row.held_h if row.held_h else 0:.0f} %)"
        for row in page.kinds
    )
    found.append(("workers", held or "none"))
    back = sum(loss.back_s is not None for loss in page.losses)
    wasted_s = sum(loss.wasted_s for loss in page.losses)
    found.append(
        ("interrupted", f"{len(page.losses)} times, {back} made up for, {format_s(wasted_s)} of work lost"
         if page.losses else "nothing")
    )  # fmt: skip
    if page.heads > 1:
        found.append(("heads", f"{page.heads}: the work went on each time"))
    if page.degraded is not None:
        found.append(
            ("quality", f"{page.degraded} shots below the best tier" if page.degraded else "best tier")
        )
    return found


def _of_loss(loss: Loss) -> str:
    back = (
        f"made again by {format_s(loss.back_s)} on {loss.on}" if loss.back_s is not None else "not made again"
    )
    return (
        f"{loss.what} on {loss.worker} after {format_s(loss.at_s)} ({loss.why}; "
        f"{format_s(loss.wasted_s)} lost): {back}"
    )


def _promised(agreement: Agreement | None, state: str, ended_s: float) -> str:
    """ended_s: Unix time of the request's end."""
    if agreement is None:
        return ""
    c = agreement.contract
    by = datetime.fromtimestamp(c.by_s)
    early_s = c.by_s - ended_s
    kept = (
        f"; ready {format_s(abs(early_s))} {'early' if early_s >= 0 else 'late'}" if state == "done" else ""
    )
    return (
        f"by {by:%H:%M} on {by:%Y-%m-%d} with {100 * c.confidence:.0f} %, {money(c.quote.usd)} expected, on "
        f"cluster {agreement.cluster}{kept}"
    )


def _draw(timeline: Timeline, page: Page, folder: Path) -> None:
    """The picture of the timeline, the whole page as a picture, and the page; each written beside first."""
    from hpcwise.cli.gantt import draw

    try:
        from matplotlib import image
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ModelMissing(f"matplotlib: {error}; install hpcwise[film]") from error
    picture = folder / ".report-timeline.png"
    try:
        with storage_errors(folder):
            draw(timeline, picture, "Who made what, when")
            data = picture.read_bytes()
            pixels = image.imread(str(picture))
    finally:
        picture.unlink(missing_ok=True)
    with storage_errors(folder):
        write_beside(Path(page.html), _html(page, data).encode(), durable=False)
        _png(plt, pixels, page)


def _png(plt: Any, pixels: Any, page: Page) -> None:
    lines = [f"{name:<12}  {value}" for name, value in _facts(page)]
    lines += [f"{'lost':<12}  {_of_loss(loss)}" for loss in page.losses[:8]]
    wide_in = 12.5
    text_in = 0.5 + 0.24 * len(lines)
    picture_in = wide_in * pixels.shape[0] / pixels.shape[1]
    figure = plt.figure(figsize=(wide_in, text_in + picture_in), dpi=120, facecolor="white")
    try:
        share = picture_in / (text_in + picture_in)
        axis = figure.add_axes((0, 0, 1, share))
        axis.imshow(pixels, interpolation="lanczos")
        axis.axis("off")
        for number, line in enumerate(lines):
            at = 1 - (0.35 + 0.24 * number) / (text_in + picture_in)
            name, _, value = line.partition("  ")
            text = {"fontsize": 10, "va": "center", "fontfamily": _FONTS}
            figure.text(0.03, at, name.strip(), color="#6B7280", **text)
            figure.text(0.13, at, printable(value.strip(), 150), color="#22262E", **text)
        path = Path(page.png)
        beside = path.with_name(f".{path.name}.part")
        figure.savefig(beside, format="png")
        beside.replace(path)
    finally:
        plt.close(figure)


def _html(page: Page, picture: bytes) -> str:
    facts = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in _facts(page)
    )
    rows = "".join(
        f"<tr><td>{html.escape(loss.what)}</td><td>{html.escape(loss.worker)}</td>"
        f"<td>{html.escape(loss.why)}</td><td>{format_s(loss.at_s)}</td><td>{format_s(loss.wasted_s)}</td>"
        f"<td>{format_s(loss.back_s) if loss.back_s is not None else 'no'}</td>"
        f"<td>{html.escape(loss.on)}</td></tr>"
        for loss in page.losses[:_MOST]
    )
    lost = (
        "<h2>Preempted, lost, recovered</h2><table><tr><th>work</th><th>worker</th><th>why</th><th>after</th>"
        f"<th>lost</th><th>made again by</th><th>on</th></tr>{rows}</table>" if rows else ""
    )  # fmt: skip
    data = base64.b64encode(picture).decode()
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{html.escape(page.title)}</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;color:#22262e;max-width:62rem;margin:2rem auto;"
        "padding:0 1rem}h1{font-size:1.4rem}h2{font-size:1.1rem}th{text-align:left;color:#6b7280;"
        "font-weight:normal;padding-right:1.5rem;vertical-align:top}td{padding-right:1rem}"
        "table{border-collapse:collapse}img{width:100%;margin-top:1rem}</style>"
        f"<h1>{html.escape(page.title)}</h1><table>{facts}</table>"
        f"<img alt='timeline' src='data:image/png;base64,{data}'>{lost}</html>\n"
    )


def _read(path: Path, kind: type[Any]) -> Any:
    """None where there is none, or one of another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
