"""Standard output: JSON for programs, tables for people. Rich is imported when a table is printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

#: Cells between two columns.
_GAP: Final = 2
#: A column of text that is longer than this may go on in the next line.
_PROSE: Final = 24


def print_json(value: Any) -> None:
    """One JSON value, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def console() -> Console:
    """Standard output. Where it is no terminal, lines are as long as they need to be."""
    from rich.console import Console

    plain = not sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=plain, width=160 if plain else None)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    right: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Fitted:
    """A table without lines; `right` names columns of numbers, `drop` those that a narrow terminal is shown
    without, the least needed first."""
    from rich.text import Text

    texts = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    return Fitted(list(columns), texts, frozenset(right), tuple(drop))


class Fitted:
    """A table that fits into its terminal: nothing of a cell is cut off, so that a name can be copied.

    Long text goes on in the next line; where that is not enough, columns of `drop` are left out (and named);
    where even that is not, each row is a few lines of its own.
    """

    def __init__(
        self, columns: list[str], rows: list[list[Any]], right: frozenset[str], drop: tuple[str, ...]
    ) -> None:
        self._columns, self._rows, self._right, self._drop = columns, rows, right, drop

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        widths = {
            name: max([len(name), *(row[at].cell_len for row in self._rows)])
            for at, name in enumerate(self._columns)
        }
        shown = [name for name in self._columns if widths[name]]
        prose = [n for n in shown[1:] if n not in self._right and widths[n] > _PROSE]
        least = {name: _PROSE if name in prose else widths[name] for name in shown}
        left_out = []
        for name in self._drop:
            if _total(least, shown) > options.max_width and name in shown:
                shown.remove(name)
                left_out.append(name)
        if _total(least, shown) > options.max_width:
            yield from self._stacked(shown)
        else:
            yield self._table(shown, prose, least)
        if left_out:
            names = ", ".join(name for name in self._columns if name in left_out)
            yield Text(f"left out here: {names}; a wider terminal or --json shows them", style="dim")

    def _table(self, shown: list[str], prose: list[str], least: dict[str, int]) -> Table:
        from rich.table import Table

        found = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for name in shown:
            found.add_column(
                name, justify="right" if name in self._right else "left", no_wrap=name not in prose,
                min_width=least[name], overflow="fold",
            )  # fmt: skip
        at = [self._columns.index(name) for name in shown]
        for row in self._rows:
            found.add_row(*(row[i] for i in at))
        return found

    def _stacked(self, shown: list[str]) -> RenderResult:
        from rich.padding import Padding
        from rich.text import Text

        for row in self._rows:
            cells = dict(zip(self._columns, row, strict=True))
            yield Text(cells[shown[0]].plain, style="bold", overflow="fold")
            for name in shown[1:]:
                if cells[name].plain.strip():
                    yield Padding(Text(f"{name}  " if name else "", style="dim") + cells[name], (0, 0, 0, 2))


def _total(widths: dict[str, int], shown: Sequence[str]) -> int:
    return sum(widths[name] for name in shown) + _GAP * (len(shown) - 1)
