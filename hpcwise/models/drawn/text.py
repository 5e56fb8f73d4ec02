"""Type: Inter from this package or a person's own; characters that it lacks from the system, else dropped."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skia

from hpcwise.core.errors import UsageError
from hpcwise.models.drawn.paint import Canvas, Paint

_FOLDER = Path(__file__).parent / "fonts"
REGULAR, SEMI, BOLD, DISPLAY = "Inter-Regular", "Inter-SemiBold", "Inter-Bold", "InterDisplay-Bold"
ELLIPSIS = "…"
#: Between the path of a person's own font and what tells its content.
_AT = "#"


@dataclass(frozen=True, slots=True)
class Fonts:
    """Names of the fonts of a film: Inter's, or those of a person's own files (`own_font`)."""

    regular: str = REGULAR
    semi: str = SEMI
    bold: str = BOLD
    display: str = DISPLAY

    @staticmethod
    def of(own: Mapping[str, str]) -> Fonts:
        """Fonts of a film for which `regular`, and perhaps `bold`, are names given by `own_font`."""
        if "regular" not in own:
            return INTER
        bold = own.get("bold", own["regular"])
        return Fonts(own["regular"], bold, bold, bold)


INTER = Fonts()


def own_font(path: str, sha256: str) -> str:
    """The name of a font file; raises `UsageError` where it holds none."""
    name = f"{path}{_AT}{sha256}"
    if _typeface(name) is None:
        raise UsageError(f"animate: font {path}: holds no font that can be read; give an .otf or .ttf file")
    return name


@functools.lru_cache(maxsize=32)
def _typeface(name: str) -> Any:
    path = name.rpartition(_AT)[0] if _AT in name else str(_FOLDER / f"{name}.otf")
    return skia.Typeface.MakeFromFile(path) if Path(path).is_file() else None


@functools.lru_cache(maxsize=256)
def font(name: str, size: float) -> Any:
    """A font of this package at a size."""
    return _font_of(_typeface(name), size)


def _font_of(typeface: Any, size: float) -> Any:
    made = skia.Font(typeface, size)
    made.setSubpixel(True)
    made.setEdging(skia.Font.Edging.kAntiAlias)
    made.setHinting(skia.FontHinting.kNone)
    return made


@functools.lru_cache(maxsize=4096)
def _fallback(character: str) -> Any:
    """A typeface of the system that has the character, or None."""
    found = skia.FontMgr.RefDefault().matchFamilyStyleCharacter(
        "", skia.FontStyle.Normal(), [], ord(character)
    )
    return found if found is not None and found.unicharToGlyph(ord(character)) else None


@functools.lru_cache(maxsize=8192)
def _runs(text: str, name: str, size: float) -> tuple[tuple[str, Any, float], ...]:
    """(text, font, width) pieces: one where Inter has every character, which is nearly always."""
    main = _typeface(name)
    pieces: list[tuple[str, Any]] = []
    for character in text:
        if main.unicharToGlyph(ord(character)):
            typeface = main
        elif not character.isprintable() or (typeface := _fallback(character)) is None:
            continue
        if pieces and pieces[-1][1] is typeface:
            pieces[-1] = (pieces[-1][0] + character, typeface)
        else:
            pieces.append((character, typeface))
    out = []
    for piece, typeface in pieces:
        made = font(name, size) if typeface is main else _font_of(typeface, size)
        out.append((piece, made, float(made.measureText(piece))))
    return tuple(out)


def width_of(text: str, name: str, size: float) -> float:
    """Advance of a line of text."""
    return sum(run[2] for run in _runs(text, name, size))


def write(canvas: Canvas, text: str, x: float, y: float, name: str, size: float, paint: Paint) -> None:
    """Text with its baseline's left end at (x, y)."""
    for piece, made, width in _runs(text, name, size):
        canvas.drawString(piece, x, y, made, paint)
        x += width


def wrapped(text: str, name: str, size: float, width: float) -> list[str]:
    """Lines no wider than `width`; a word that is wider alone is cut."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        while width_of(word, name, size) > width and len(word) > 1:
            cut = len(word) - 1
            while cut > 1 and width_of(word[:cut], name, size) > width:
                cut -= 1
            if line:
                lines.append(line)
                line = ""
            lines.append(word[:cut])
            word = word[cut:]
        longer = f"{line} {word}" if line else word
        if line and width_of(longer, name, size) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of one size that fit a box."""

    lines: tuple[str, ...]
    name: str
    size: float
    leading: float

    @property
    def height(self) -> float:
        """From the top of the first line to the bottom of the last."""
        return len(self.lines) * self.leading

    def draw(self, canvas: Canvas, x: float, y: float, paint: Paint, centre_width: float = 0.0) -> None:
        """With its top at y; centred in `centre_width` if that is given."""
        for i, text in enumerate(self.lines):
            left = x + (centre_width - width_of(text, self.name, self.size)) / 2 if centre_width else x
            write(canvas, text, left, y + i * self.leading + self.size * 0.92, self.name, self.size, paint)


def fitted(
    text: str, name: str, largest: float, smallest: float, width: float, height: float, leading: float = 1.18
) -> Block:
    """`text` at the largest size that fits the box; at the smallest size the rest becomes an ellipsis."""
    size = largest
    while True:
        lines = wrapped(text, name, size, width)
        whole = not any(width_of(w, name, size) > width for w in text.split())
        if (len(lines) * size * leading <= height and whole) or size <= smallest:
            break
        size = max(smallest, size * 0.94)
    most = max(1, int(height / (size * leading) + 1e-6))
    if len(lines) > most:
        last = lines[most - 1]
        while last and width_of(last + ELLIPSIS, name, size) > width:
            last = last[:-1]
        lines = [*lines[: most - 1], last.rstrip(" ,;:") + ELLIPSIS]
    elif len(lines) > 1:
        lines = _evened(text, name, size, width, len(lines))
    return Block(tuple(lines), name, size, size * leading)


def _evened(text: str, name: str, size: float, width: float, count: int) -> list[str]:
    """`text` in as many lines, the longest as short as possible: no word alone at the end."""
    low, high = width * 0.5, width
    while high - low > 2:
        middle = (low + high) / 2
        low, high = (low, middle) if len(wrapped(text, name, size, middle)) <= count else (middle, high)
    return wrapped(text, name, size, high)
