"""What a reproduced figure consists of: rows of published numbers beside ours, tables, and a picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

#: input: the paper's own measurement went in, so agreement says nothing. regression: fixed by inputs and
#: arithmetic. outcome: of a search or a schedule, never fitted. ordering: what is better than what.
Kind = Literal["input", "regression", "outcome", "ordering"]
#: stage-maxima: the paper's, every stage's work split perfectly. engine: the schedule of the real engine.
Estimator = Literal["stage-maxima", "engine", ""]
Price = Literal["spot", "reserved", ""]
Cell = str | float | int | None
#: Draws a picture on an empty matplotlib figure.
Draw = Callable[[Any], None]

#: What a cost is billed for: all planned devices from the request until the film is ready; the sum of the
#: stages' times, as the paper bills 320 GPUs; the length of the film after the first frame; an hour.
UNTIL_READY: Final = "until ready"
SUM_OF_STAGES: Final = "sum of stages"
WHOLE_FILM: Final = "first frame + film"
AN_HOUR: Final = "an hour"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One published number. paper, artifact: as published, None where they say nothing; ours: None where
    it could not be made. For an ordering: 1 kept, 0 not kept. price, window: of a cost, never empty for
    one. stall_free_s: our start of playback without a stall, beside every time to the first frame.
    goal: greatest error at which the row counts as reproduced, None where only its ordering or range is
    fair. note: the rule, or why it falls short.
    """

    figure: str
    what: str
    unit: str
    kind: Kind
    paper: float | None = None
    artifact: float | None = None
    ours: float | None = None
    price: Price = ""
    window: str = ""
    stall_free_s: float | None = None
    estimator: Estimator = ""
    goal: float | None = None
    note: str = ""

    @property
    def error(self) -> float | None:
        """Ours over the paper's (else the artifact's) less one; None where either is missing."""
        reference = self.paper if self.paper is not None else self.artifact
        if self.kind == "ordering" or reference in (None, 0) or self.ours is None:
            return None
        return self.ours / float(reference) - 1

    @property
    def kept(self) -> bool | None:
        """Whether an ordering holds, or a number is within its goal; None where nothing is asked."""
        if self.kind == "ordering":
            return self.ours == 1
        if self.goal is None:
            return None
        return self.error is not None and abs(self.error) <= self.goal


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A CSV file: results/streamwise/<name>.csv. Columns carry their unit."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def csv(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_cell(value) for value in row] for row in self.rows])
        return out.getvalue()


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """name: fig8, table4, ... title: one line. draw: see Draw; size_in: of the picture in inches."""

    name: str
    title: str
    rows: tuple[Row, ...]
    tables: tuple[Table, ...] = ()
    draw: Draw | None = None
    size_in: tuple[float, float] = (7.0, 4.2)


class Point(msgspec.Struct, frozen=True):
    """A configuration in the plane of most figures; ttff_s: start of playback without a stall."""

    ttff_s: float
    cost_usd: float
    label: str = ""


def ordering(figure: str, what: str, kept: bool, note: str = "", estimator: Estimator = "engine") -> Row:
    """A row that says whether what the paper found better is better here. kept: computed, never given."""
    return Row(
        figure=figure, what=what, unit="", kind="ordering", paper=1.0, ours=1.0 if kept else 0.0,
        estimator=estimator, note=note,
    )  # fmt: skip


def frontier(points: list[Point]) -> list[Point]:
    """Those than which none is both as early and as cheap, by start."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.ttff_s, p.cost_usd)):
        if not kept or point.cost_usd < kept[-1].cost_usd:
            kept.append(point)
    return kept


def cost_at(points: list[Point], ttff_s: float) -> float | None:
    """Least cost of a point that starts within `ttff_s`; None where none does."""
    return min((p.cost_usd for p in points if p.ttff_s <= ttff_s), default=None)


def start_at(points: list[Point], cost_usd: float) -> float | None:
    """Earliest start of a point that costs no more; None where none does."""
    return min((p.ttff_s for p in points if p.cost_usd <= cost_usd), default=None)


def dominates(better: list[Point], worse: list[Point], share: float = 1.0) -> bool:
    """Whether at least `share` of the worse one's frontier has a point of the better that is no dearer and
    no later. False where either is empty: nothing is proven by nothing."""
    rim = frontier(worse)
    if not rim or not better:
        return False
    beaten = sum(any(b.ttff_s <= w.ttff_s and b.cost_usd <= w.cost_usd for b in better) for w in rim)
    return beaten >= math.ceil(share * len(rim) - 1e-9)


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
