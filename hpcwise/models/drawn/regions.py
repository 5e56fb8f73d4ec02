"""What of a figure the words are about: its panels, found by the white between them, and its own text.

A region is found only where words name it (panel b, top left, the x-axis, a word that stands in the
figure): a pointer at the wrong place is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwise.core.document import FigureWord
from hpcwise.core.screenplay import Speech, Word
from hpcwise.models.drawn.gestures import plain
from hpcwise.models.drawn.layout import Box

#: White between panels is at least this share of the figure, and a panel at least that.
GUTTER, PANEL = 0.022, 0.17
#: A region stays lit this long at least, seconds, and this long after the sentence that names it.
SHORTEST_S, AFTER_S = 1.6, 0.5
EARLY_S = 0.2
#: Words of a figure are pointed at if they have this many letters, and in figures with no more words.
SHORTEST_WORD, MOST_WORDS = 5, 60
_COMMON = frozenset(
    (
        "about",
        "above",
        "after",
        "before",
        "being",
        "below",
        "could",
        "current",
        "every",
        "first",
        "given",
        "large",
        "number",
        "other",
        "right",
        "second",
        "small",
        "their",
        "there",
        "these",
        "those",
        "three",
        "times",
        "under",
        "using",
        "value",
        "values",
        "where",
        "which",
        "while",
        "whole",
        "would",
    )
)
_PARTS = frozenset(["panel", "part", "subfigure", "subplot", "plot", "column", "row"])
_SIDES = {
    "left": (0.0, 0.5), "right": (1.0, 0.5), "top": (0.5, 0.0), "upper": (0.5, 0.0),
    "bottom": (0.5, 1.0), "lower": (0.5, 1.0),
}  # fmt: skip
_BY_SIDE = frozenset(["panel", "side", "plot", "column", "half", "part", "one", "corner", "row", "curve"])
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}


@dataclass(frozen=True, slots=True)
class Cue:
    """A region (shares of the figure) and when it is spoken of."""

    start_s: float
    end_s: float
    area: Box


def panels_of(pixels: NDArray[np.uint8]) -> tuple[Box, ...]:
    """Panels of a picture (rows, columns, RGB or RGBA), in reading order; the whole picture if it is one."""
    grey = pixels[..., :3].min(axis=2)
    step = max(1, max(grey.shape) // 480)
    ink = grey[::step, ::step] < 236
    found = _split(ink, 0, 0, ink.shape[0], ink.shape[1], 0)
    tall, wide = ink.shape
    return tuple(Box(x0 / wide, y0 / tall, (x1 - x0) / wide, (y1 - y0) / tall) for y0, x0, y1, x1 in found)


def _split(
    ink: NDArray[Any], y0: int, x0: int, y1: int, x1: int, depth: int
) -> list[tuple[int, int, int, int]]:
    """Cut at the widest band of white that leaves two panels, rows before columns where equal."""
    best: tuple[float, int, int, int] | None = None
    for axis in (0, 1):
        low, high = (y0, y1) if axis == 0 else (x0, x1)
        used = [bool(x) for x in np.any(ink[y0:y1, x0:x1], axis=1 - axis)]
        total = ink.shape[axis]
        blank_from = None
        for i, has in enumerate([*used, True]):
            if not has and blank_from is None:
                blank_from = i
            elif has and blank_from is not None:
                width = i - blank_from
                before, after = blank_from / total, (high - low - i) / total
                fits = width / total >= GUTTER and min(before, after) >= PANEL and i < len(used)
                if fits and (best is None or width / total > best[0]):
                    best = (width / total, axis, low + blank_from, low + i)
                blank_from = None
    if best is None or depth >= 4:
        return [_trimmed(ink, y0, x0, y1, x1)]
    _, axis, end, start = best
    if axis == 0:
        return _split(ink, y0, x0, end, x1, depth + 1) + _split(ink, start, x0, y1, x1, depth + 1)
    return _split(ink, y0, x0, y1, end, depth + 1) + _split(ink, y0, start, y1, x1, depth + 1)


def _trimmed(ink: NDArray[Any], y0: int, x0: int, y1: int, x1: int) -> tuple[int, int, int, int]:
    """The same area without white at its edges."""
    rows = np.flatnonzero(ink[y0:y1, x0:x1].any(axis=1))
    columns = np.flatnonzero(ink[y0:y1, x0:x1].any(axis=0))
    if not len(rows) or not len(columns):
        return y0, x0, y1, x1
    return y0 + int(rows[0]), x0 + int(columns[0]), y0 + int(rows[-1]) + 1, x0 + int(columns[-1]) + 1


def cues_of(speech: Speech, panels: Sequence[Box], words: Sequence[FigureWord]) -> tuple[Cue, ...]:
    """Regions that the speech names, in order and apart."""
    cues: list[Cue] = []
    said = speech.words
    for i, word in enumerate(said):
        area = _named(said, i, panels) or _in_figure(plain(word.text), words)
        if area is None or area.width * area.height > 0.8:
            continue
        sentence_s = next((w.end_s for w in said[i:] if w.text[-1:] in ".?!;"), speech.duration_s)
        end_s = min(max(sentence_s + AFTER_S, word.start_s + SHORTEST_S), speech.duration_s - 0.3)
        start_s = max(0.0, word.start_s - EARLY_S)
        if cues and start_s < cues[-1].end_s:
            if area == cues[-1].area or start_s - cues[-1].start_s < 1.0:
                continue
            cues[-1] = Cue(cues[-1].start_s, start_s, cues[-1].area)
        if end_s - start_s >= 1.0:
            cues.append(Cue(start_s, end_s, area))
    return tuple(cues)


def _named(said: Sequence[Word], i: int, panels: Sequence[Box]) -> Box | None:
    """The region that word `i` names together with its neighbours."""
    here = plain(said[i].text)
    before = plain(said[i - 1].text) if i else ""
    after = plain(said[i + 1].text) if i + 1 < len(said) else ""
    if len(panels) > 1:
        letter = re.fullmatch(r"\(?([a-h])\)?[.,;:]?", said[i].text.lower())
        if letter and before in _PARTS:
            place = ord(letter.group(1)) - ord("a")
            return panels[place] if place < len(panels) else None
        if here in _ORDINALS and after in ("panel", "plot", "subfigure", "part"):
            place = _ORDINALS[here]
            return panels[place] if place < len(panels) else None
    earlier = plain(said[i - 2].text) if i > 1 else ""
    placed = before == "the" and earlier in ("on", "at")
    if here in _SIDES and (after in _BY_SIDE or after in _SIDES or before in _SIDES or placed):
        if after in _SIDES:
            return None  # "top left": the second word decides
        x, y = _SIDES[here]
        if before in _SIDES:
            px, py = _SIDES[before]
            x, y = (x if x != 0.5 else px), (y if y != 0.5 else py)
        if len(panels) > 1:
            return min(panels, key=lambda p: abs(p.x + p.width / 2 - x) + abs(p.y + p.height / 2 - y))
        return Box(
            0.5 if x == 1.0 else 0.0, 0.5 if y == 1.0 else 0.0, 1 - 0.5 * (x != 0.5), 1 - 0.5 * (y != 0.5)
        )
    axis = here if here in ("x-axis", "y-axis") else f"{before}-axis" if here == "axis" else ""
    if axis in ("x-axis", "horizontal-axis"):
        return Box(0.0, 0.84, 1.0, 0.16)
    if axis in ("y-axis", "vertical-axis"):
        return Box(0.0, 0.0, 0.14, 1.0)
    return None


def _in_figure(text: str, words: Sequence[FigureWord]) -> Box | None:
    """The label in the figure that a word of the speech stands in, if that is one place.

    Pages and tables full of words are left alone: most of theirs are found by chance.
    """
    if len(text) < SHORTEST_WORD or text in _COMMON or len(words) > MOST_WORDS:
        return None
    at = [i for i, w in enumerate(words) if plain(w.text) == text]
    if len(at) != 1:
        return None
    first = last = at[0]
    while first > 0 and _beside(words[first - 1], words[first]):
        first -= 1
    while last + 1 < len(words) and _beside(words[last], words[last + 1]):
        last += 1
    x, y = max(0.0, words[first].left - 0.015), max(0.0, words[first].top - 0.02)
    return Box(x, y, min(1.0, words[last].right + 0.015) - x, min(1.0, words[first].bottom + 0.02) - y)


def _beside(one: FigureWord, other: FigureWord) -> bool:
    """Whether two words stand in one line of text."""
    return one.top == other.top and 0 <= other.left - one.right < 0.03
