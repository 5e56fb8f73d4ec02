"""How a request goes on: a live picture on a terminal, one line a change elsewhere. Views in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hpcwise.cli.halfblocks import half_blocks
from hpcwise.cli.values import format_s
from hpcwise.core.report import Receipt, RequestView, ShotRow

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from hpcwise.cli.output import Fitted

_STAGES: Final = {
    "document": "read the document",
    "screenplay": "write the screenplay",
    "image": "draw the set",
    "speech": "speak",
    "animate": "film",
    "detect": "find the faces",
    "encode": "encode the prompt",
    "sketch": "draw",
    "decode": "develop",
    "sync": "sync the lips",
    "upscale": "enlarge",
}
#: What is told of once a film, not once a shot.
_ONCE: Final = frozenset({"document", "screenplay", "image"})
_TIER_STYLE: Final = {"high": "green", "medium": "cyan", "low": "yellow", "static": "magenta"}
_RUNS: Final = frozenset({"running", "pausing", "recalling", "revoking"})
_BAR: Final = 28
_MOST_RUNNING: Final = 4
#: Cells of the picture of a shot that is being made: half blocks, so 32 × 18 pixels.
PREVIEW_CELLS: Final = (32, 9)


def picture(
    view: RequestView, play: str, note: str = "", previews: Mapping[int, bytes] | None = None, width: int = 80
) -> Group:
    """The whole state of a request for a terminal `width` cells wide. play: what to open to watch it while it
    is made. previews: JPEGs of shots that are being made, by shot."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    row = view.row
    head = Text()
    head.append(view.title or row.name or row.request_id, style="bold")
    head.append(f"  {row.request_id}  {row.slo}", style="dim")
    stages = Table.grid(padding=(0, 2))
    for stage in view.stages:
        done = stage.done >= stage.planned > 0
        bar = _bar(stage.done, stage.planned, "green" if done else "blue", min(_BAR, max(4, width - 42)))
        count = Text(f"{stage.done}/{stage.planned}", style="green" if done else "")
        running = Text(f"{stage.running} running" if stage.running else "", style="dim")
        stages.add_row(Text(_STAGES.get(stage.stage, stage.stage)), bar, count, running)
    parts: list[RenderableType] = [head, stages]
    if view.shots:
        strip = Text("shots  ")
        for shot in view.shots:
            strip.append(*_cell(shot))
        strip.append("·" * max(0, row.shots - len(view.shots)), style="dim")
        strip.append(f"  {row.shots_done}/{row.shots}  ")
        for tier, style in _TIER_STYLE.items():
            if any(shot.tier == tier and shot.state == "finished" for shot in view.shots):
                strip.append(f" {tier}", style=style)
        parts.append(strip)
        at_work = [s for s in view.shots if s.state in _RUNS or s.work is not None][:_MOST_RUNNING]
        parts += [Text(f"       shot {s.shot}: {_doing(s)}", style="dim") for s in at_work]
        if shown := _previews(view, previews or {}, width):
            parts += [Text(), shown, Text()]
    parts.append(_clock_line(view, play))
    if note:
        parts.append(Text(note, style="yellow"))
    return Group(*parts)


class Lines:
    """The same for pipes and logs: what has changed since the last view, one line each."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._shots: set[int] = set()
        self._title = ""
        self._first = False
        self._state = ""

    def of(self, view: RequestView, play: str) -> list[str]:
        """Lines to print for `view`."""
        at = f"{view.row.age_s:7.1f} s  "
        lines: list[str] = []
        if view.row.state != self._state:
            if not self._state:
                lines.append(f"{at}{view.row.request_id}: {view.row.slo}")
            self._state = view.row.state
        if view.title and view.title != self._title:
            self._title = view.title
            lines.append(f"{at}title: {view.title}")
        for stage in view.stages:
            before = self._done.get(stage.stage, 0)
            self._done[stage.stage] = stage.done
            if stage.done > before and (stage.stage in _ONCE or stage.stage not in _STAGES):
                lines.append(f"{at}{_STAGES.get(stage.stage, stage.stage)}: done")
        if view.play is not None and not self._first:
            self._first = True
            lines.append(f"{at}first frame after {format_s(view.play.ttff_s)}; plays: {play}")
        for shot in view.shots:
            if shot.state == "finished" and shot.shot not in self._shots:
                self._shots.add(shot.shot)
                lines.append(
                    f"{at}shot {shot.shot} ({len(self._shots)}/{view.row.shots}): {_made(shot)}{_eta(view)}"
                )
        return lines


def receipt_table(receipt: Receipt) -> Fitted:
    """Per shot: what it is made of, by whom, at what cost, and whether it was in time."""
    from rich.text import Text

    from hpcwise.cli.output import table

    rows = []
    for s in receipt.shots:
        if s.slack_s is None:
            met = Text("-" if s.met_s is None else f"{s.met_s:.1f} s")
        else:
            late = s.slack_s < 0
            met = Text(f"{s.met_s or 0:.1f} s {'late' if late else 'ok'}", style="red" if late else "green")
        tier = Text(s.tier + (" remade" if s.remade else ""), style=_TIER_STYLE.get(s.tier, ""))
        rows.append(
            (
                s.shot,
                f"{s.film_s:.1f} s",
                s.model,
                tier,
                s.steps,
                f"{s.width}x{s.height}",
                s.seed,
                "cache" if s.cache_hit else s.worker,
                f"{s.seconds:.1f} s",
                f"{s.energy_j / 3600:.3f}",
                f"{s.cost_usd:.5f}",
                "-" if s.deadline_s is None else f"{s.deadline_s:.1f} s",
                met,
                s.key[:10],
            )
        )
    columns = (
        "SHOT",
        "FILM",
        "MODEL",
        "TIER",
        "STEPS",
        "SIZE",
        "SEED",
        "WORKER",
        "WORK",
        "Wh",
        "USD",
        "DUE",
        "MET",
        "HASH",
    )
    least_needed = ("HASH", "SEED", "STEPS", "SIZE", "Wh", "MODEL", "WORK", "USD", "WORKER", "FILM", "DUE")
    right = ("SHOT", "FILM", "STEPS", "SEED", "WORK", "Wh", "USD", "DUE")
    return table(columns, rows, right, least_needed)


def _bar(done: int, planned: int, style: str, cells: int) -> Text:
    from rich.text import Text

    filled = cells * done // max(1, planned)
    return Text("━" * filled, style=style) + Text("━" * (cells - filled), style="bright_black")


def _cell(shot: ShotRow) -> tuple[str, str]:
    style = _TIER_STYLE.get(shot.tier, "white")
    if shot.state == "finished":
        return "█", style
    if shot.state in _RUNS:
        return ("▆" if shot.progress > 0.66 else "▄" if shot.progress > 0.33 else "▂"), style
    return ("×", "red") if shot.state in ("quarantined", "failed") else ("░", "dim")


def _previews(view: RequestView, previews: Mapping[int, bytes], width: int) -> Table | None:
    """The pictures side by side, as many as there is room for, each above its step."""
    from rich.table import Table
    from rich.text import Text

    columns, rows = PREVIEW_CELLS
    shots = [s for s in view.shots if s.shot in previews][: max(1, width // (columns + 3))]
    drawn = {s.shot: half_blocks(previews[s.shot], columns, rows) for s in shots}
    made = [(s, shown) for s in shots if (shown := drawn[s.shot]) is not None]
    if not made:
        return None
    grid = Table.grid(padding=(0, 3, 0, 0))
    for _ in made:
        grid.add_column(no_wrap=True, vertical="bottom")
    grid.add_row(*(shown for _, shown in made))
    grid.add_row(*(Text(f"shot {s.shot}  {steps_of(s)}") for s, _ in made))
    return grid


def steps_of(shot: ShotRow) -> str:
    """`step 7/20, 50 % saved`; empty where no loop runs."""
    work = shot.work
    if work is None or not work.steps:
        return ""
    return f"step {work.step}/{work.steps}" + (f", {100 * work.saved:.0f} % saved" if work.saved else "")


def _doing(shot: ShotRow) -> str:
    if shot.work is not None and (steps := steps_of(shot)):
        return f"{shot.work.stage} by {shot.work.model}, {steps}, on {shot.work.worker}"
    if shot.work is not None and shot.state not in _RUNS:
        return f"{shot.work.stage} by {shot.work.model} on {shot.work.worker}"
    share = f" {100 * shot.progress:.0f} %" if shot.progress else ""
    lowered = f", {shot.why}" if shot.degraded and shot.why else ""
    return f"{shot.model}, tier {shot.tier}{share} on {shot.worker}{lowered}"


def _made(shot: ShotRow) -> str:
    if shot.cache_hit:
        return f"{shot.tier}, in the store already"
    late = (
        ""
        if shot.slack_s is None
        else ", in time"
        if shot.slack_s >= 0
        else f", {format_s(-shot.slack_s)} late"
    )
    return f"{shot.tier} by {shot.worker} in {format_s(shot.seconds)}{late}"


def _eta(view: RequestView) -> str:
    eta_s = view.row.eta_s
    return f"; about {format_s(eta_s)} to go" if eta_s and view.row.state in ("growing", "running") else ""


def _clock_line(view: RequestView, play: str) -> Text:
    from rich.text import Text

    line = Text()
    if view.play is not None:
        line.append("▶ plays ", style="green")
        line.append(play)
        line.append(f"  first frame after {format_s(view.play.ttff_s)}", style="green")
        if view.play.stalls:
            line.append(f", stalled {format_s(view.play.stall_s)}", style="yellow")
        line.append("   ")
    over = view.row.state not in ("growing", "running")
    passed = f"{format_s(view.row.age_s)} {'in all' if over else 'so far'}"
    line.append(passed + _eta(view).replace("; ", ", "), style="dim")
    return line
