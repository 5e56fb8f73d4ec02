"""Rows as CSV, JSON, Markdown and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from hpcwise.evaluation.rows import Estimator, Figure, Kind, Price, Row, Table

_COLUMNS: Final = (
    "figure", "what", "unit", "paper", "artifact", "ours", "error", "kind", "kept", "price", "window",
    "stall_free_s", "estimator", "goal", "note",
)  # fmt: skip


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row with what follows from it, as `--json` prints it."""

    figure: str
    what: str
    unit: str
    paper: float | None
    artifact: float | None
    ours: float | None
    error: float | None
    kind: Kind
    kept: bool | None
    price: Price
    window: str
    stall_free_s: float | None
    estimator: Estimator
    goal: float | None
    note: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """orderings, goals: (kept, of how many)."""

    orderings: tuple[int, int]
    goals: tuple[int, int]
    rows: tuple[Line, ...]


def line_of(row: Row) -> Line:
    return Line(error=row.error, kept=row.kept, **msgspec.structs.asdict(row))


def summary(rows: Sequence[Row]) -> Summary:
    def count(found: list[Row]) -> tuple[int, int]:
        return sum(row.kept is True for row in found), len(found)

    return Summary(
        orderings=count([row for row in rows if row.kind == "ordering"]),
        goals=count([row for row in rows if row.kind != "ordering" and row.kept is not None]),
        rows=tuple(line_of(row) for row in rows),
    )


def write(figure: Figure, out: Path) -> None:
    """The tables of a figure as CSV files, its rows in <name>.csv, or <name>-rows.csv if a table has that."""
    taken = any(table.name == figure.name for table in figure.tables)
    rows = _rows_table(f"{figure.name}-rows" if taken else figure.name, figure.rows)
    for table in (*figure.tables, rows):
        _replace(out / f"{table.name}.csv", table.csv())


def write_rows(rows: Sequence[Row], out: Path) -> None:
    """rows.csv: every published number beside ours."""
    _replace(out / "rows.csv", _rows_table("rows", rows).csv())


def show(figures: Sequence[Figure], console: Any) -> None:
    """A table for each figure and one line of totals."""
    from rich import box
    from rich.table import Table as Sheet
    from rich.text import Text

    rows = [row for figure in figures for row in figure.rows]
    for figure in figures:
        sheet = Sheet(title=f"{figure.name}: {figure.title}", title_justify="left", box=box.SIMPLE_HEAD)
        sheet.add_column("what", ratio=3)
        for name in ("paper", "artifact", "ours", "error"):
            sheet.add_column(name, justify="right", no_wrap=True)
        for name in ("kind", "kept", "price, window", "stall-free", "by"):
            sheet.add_column(name)
        sheet.add_column("note", ratio=2)
        for row in figure.rows:
            sheet.add_row(*(Text(cell) for cell in _cells(row)))
        console.print(sheet)
    total = summary(rows)
    console.print(
        f"orderings kept: {total.orderings[0]} of {total.orderings[1]}; "
        f"numbers within their goal: {total.goals[0]} of {total.goals[1]}; {len(rows)} rows"
    )


def markdown(rows: Sequence[Row]) -> str:
    """One table for each figure, as docs/reproduction.md holds them."""
    out = []
    for name in dict.fromkeys(row.figure for row in rows):
        out.append(f"\n#### {name}\n\n| what | paper | artifact | ours | error | kind | kept | cost: price, "
                   "billed for | stall-free | by | note |")  # fmt: skip
        out.append("|---|---|---|---|---|---|---|---|---|---|---|")
        out += ["| " + " | ".join(_cells(row)) + " |" for row in rows if row.figure == name]
    total = summary(rows)
    out.append(
        f"\nOrderings kept: {total.orderings[0]} of {total.orderings[1]}. Numbers within their goal: "
        f"{total.goals[0]} of {total.goals[1]}."
    )
    return "\n".join(out) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    what = f"{row.what} ({row.unit})" if row.unit else row.what
    ordering = row.kind == "ordering"
    return (
        what,
        "" if ordering else _number(row.paper),
        "" if ordering else _number(row.artifact),
        "" if ordering else _number(row.ours),
        "" if row.error is None else f"{100 * row.error:+.0f} %",
        row.kind,
        "-" if row.kept is None else "yes" if row.kept else "NO",
        ", ".join(part for part in (row.price, row.window) if part),
        "" if row.stall_free_s is None else f"{_number(row.stall_free_s)} s",
        row.estimator,
        row.note,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value and abs(value) < 1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def _rows_table(name: str, rows: Sequence[Row]) -> Table:
    lines = [msgspec.structs.asdict(line_of(row)) for row in rows]
    cells = tuple(
        tuple(
            ("" if v is None else str(v).lower() if isinstance(v, bool) else v)
            for v in (d[c] for c in _COLUMNS)
        )
        for d in lines
    )
    return Table(name=name, columns=_COLUMNS, rows=cells)


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
