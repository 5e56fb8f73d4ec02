"""Mistakes of a spec file: collected while it is read, said all at once, in the order of its lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpcwise.cli import specread as f
from hpcwise.cli import values
from hpcwise.cli.yamlread import Value
from hpcwise.core.errors import SpecError

#: Mistakes listed at once.
_MOST_LINES: Final = 20


@dataclass(slots=True)
class Complaints:
    """shown: the file as it is called in messages; root: all of it; lines: (line, message)."""

    shown: str
    root: Value
    lines: list[tuple[int, str]]

    def add(self, field: str, value: Value | None, fix: str, line: int | None = None) -> None:
        at = line if line is not None else value.line if value is not None else self.root.line
        if value is None:
            self.lines.append((at, f"{self.shown}:{at}: {field}: {fix}"))
            return
        written = value.text if value.text and not isinstance(value.data, str) else repr(value.plain())
        text = values.printable(written, 60)
        said = fix if fix.startswith("there is no such field") else f"{text} is not usable; {fix}"
        self.lines.append((at, f"{self.shown}:{at}: {values.printable(field)}: {said}"))

    def part(self, field: str, error: f.Part, whole: Value) -> None:
        self.add(field + error.path, error.value, error.fix, None if error.value is not None else whole.line)

    def check(self) -> None:
        if self.lines:
            ordered = [text for _, text in sorted(self.lines, key=lambda entry: entry[0])]
            more = len(ordered) - _MOST_LINES
            shown = ordered[:_MOST_LINES] + ([f"{self.shown}: and {more} more mistakes"] if more > 0 else [])
            raise SpecError("\n".join(shown))
