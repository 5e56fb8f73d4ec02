"""Displayed equations of a PDF as pictures: found by their number at the edge of the column.

Only numbered ones: what the text refers to is what a film can show while it is spoken of.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from hpcwise.core.document import Section
from hpcwise.models.document.figures import Box, Found
from hpcwise.models.document.glyphs import SUB, SUP, Line, PageText

_NUMBER = re.compile(r"^(?:(?P<before>.*\S)\s*)?\((?P<number>\d{1,3}(?:\.\d{1,2})?)\)$")
_MENTION = re.compile(r"\b(?:Eqs?\.|Eqns?\.?|Equation)\s*\(?(\d+(?:\.\d+)?)\)?")
#: Equations of a document that are cut out: each one is drawn, which takes a moment.
_MOST = 10
_WORDS = re.compile(r"[A-Za-z]{4,}")
_MOST_WORDS = 4
#: A picture is no flatter than this: a line of an equation would be a thread on the screen.
_FLATTEST = 3.2


def find(page: PageText) -> list[Found]:
    """Numbered equations of a page whose lines have their columns set; what they are called, and where."""
    edges: dict[int, float] = {}
    for line in page.lines:
        edges[line.column] = max(edges.get(line.column, 0.0), line.x1)
    out: list[Found] = []
    for line in page.lines:
        match = _NUMBER.match(line.text.strip())
        if match is None or line.x1 < edges[line.column] - 0.6 * line.size or line.column < 0:
            continue
        mates = [line] if match["before"] else _beside(page.lines, line)
        if not mates:
            continue
        box = _grown(page.lines, mates, line)
        inside = [x for x in page.lines if _overlap(x, box) and x.column == line.column]
        text = " ".join(x.text for x in inside)
        if not _is_mathematics(text):
            continue
        out.append(Found(f"Equation {match['number']}", "", page.index, box, []))
    return out


def mentioned(found: Sequence[Found], sections: Sequence[Section]) -> list[Found]:
    """Those that the text speaks of, by its order, and not too many: each one is drawn."""
    wanted: dict[str, None] = {}
    for section in sections:
        for sentence in section.sentences:
            for number in _MENTION.findall(sentence.text):
                wanted.setdefault(f"Equation {number}")
    by_label = {item.label: item for item in found}
    return [by_label[label] for label in wanted if label in by_label][:_MOST]


def _beside(lines: Sequence[Line], number: Line) -> list[Line]:
    return [
        x
        for x in lines
        if x is not number
        and x.column == number.column
        and x.x1 <= number.x0 + 1
        and min(x.y1, number.y1) - max(x.y0, number.y0) > 0.2 * number.size
        and len(_WORDS.findall(x.text)) <= _MOST_WORDS
    ]


def _grown(lines: Sequence[Line], mates: Sequence[Line], number: Line) -> Box:
    """The lines beside the number and those of the same display above and below: close, and no prose."""
    taken = [*mates, number]
    while True:
        y0, y1 = min(x.y0 for x in taken), max(x.y1 for x in taken)
        more = [
            x
            for x in lines
            if x not in taken
            and x.column == number.column
            and x.y0 < y1 + 0.5 * number.size
            and x.y1 > y0 - 0.5 * number.size
            and len(_WORDS.findall(x.text)) <= 1
            and (_is_mathematics(x.text) or (len(x.text) <= 8 and _within(x, taken)))
        ]
        if not more:
            break
        taken += more
    shown = [x for x in taken if x is not number] or taken
    return (
        min(x.x0 for x in shown) - 6,
        min(x.y0 for x in shown) - 5,
        max(x.x1 for x in shown) + 6,
        max(x.y1 for x in shown) + 5,
    )


def _within(line: Line, taken: Sequence[Line]) -> bool:
    """Whether it stands over or under what was taken, as limits of a sum and parts of a fraction do."""
    return line.x0 > min(x.x0 for x in taken) - line.size and line.x1 < max(x.x1 for x in taken) + line.size


def _overlap(line: Line, box: Box) -> bool:
    return line.x0 < box[2] and line.x1 > box[0] and line.y0 < box[3] - 2 and line.y1 > box[1] + 2


def _is_mathematics(text: str) -> bool:
    signs = sum(unicodedata.category(c) == "Sm" or c in "=∼∝|" for c in text)
    greek = sum("α" <= c <= "ω" or "Α" <= c <= "Ω" for c in text)
    raised = text.count(SUP) + text.count(SUB)
    return signs + greek + raised >= 1 and len(_WORDS.findall(text)) <= 2 * _MOST_WORDS


def roomy(path: Path) -> tuple[int, int]:
    """Put a white margin above and below a flat picture; returns its size in pixels."""
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    height = max(image.height, round(image.width / _FLATTEST))
    if height > image.height:
        page = Image.new("RGB", (image.width, height), "white")
        page.paste(image, (0, (height - image.height) // 2))
        beside = path.with_name(path.name + ".part")
        page.save(beside, format="PNG")
        beside.replace(path)
        image = page
    return image.width, image.height
