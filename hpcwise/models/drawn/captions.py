"""Captions word by word: at most two lines at a time, the word that is spoken in colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcwise.core.screenplay import Speech, Word
from hpcwise.models.drawn.paint import Canvas, fill, rounded
from hpcwise.models.drawn.text import SEMI, width_of, write

LEADING = 1.28
PAD_X, PAD_Y = 13.0, 7.0
#: A page stays this long after its last word, if no other follows, seconds.
LINGER_S = 0.45
#: A page shows up this much before its first word, seconds.
EARLY_S = 0.08


@dataclass(frozen=True, slots=True)
class Page:
    """What is on the screen at once: lines of words, from start to end (seconds)."""

    lines: tuple[tuple[Word, ...], ...]
    start_s: float
    end_s: float


def paged(speech: Speech, size: float, width: float, font: str = SEMI) -> tuple[Page, ...]:
    """The shot's words as pages that fit `width`; a page never mixes two speakers."""
    room = width - 2 * PAD_X
    groups: list[list[list[Word]]] = []
    for _, start_s, end_s in speech.spans:
        said = [w for w in speech.words if start_s - 1e-3 <= w.start_s < end_s + 1e-3]
        for sentence in _sentences(said):
            groups += [_balanced(page, size, room, font) for page in _shared(sentence, size, room, font)]
    return tuple(_timed(groups, speech.duration_s))


def _sentences(words: Sequence[Word]) -> list[list[Word]]:
    """The words by sentence; one of three words or fewer goes with the next."""
    out: list[list[Word]] = [[]]
    for i, word in enumerate(words):
        out[-1].append(word)
        following = words[i + 1].text if i + 1 < len(words) else ""
        # "i.e." and "Fig." end no sentence: what follows tells.
        ends = word.text[-1:] in ".?!" and not (following[:1].islower() or following[:1].isdigit())
        if ends and len(out[-1]) > 3 and following:
            out.append([])
    return [sentence for sentence in out if sentence]


def _shared(words: list[Word], size: float, room: float, font: str) -> list[list[Word]]:
    """A sentence on as few pages of two lines as it needs, shared out so that none holds a lonely word.

    Breaks after a comma are preferred to breaks elsewhere.
    """
    widths = [width_of(w.text + " ", font, size) for w in words]
    count = len(words)
    #: Least (pages, unevenness) for the words up to each, and where the last page of it begins.
    best: list[tuple[int, float, int]] = [(0, 0.0, 0)]
    for end in range(1, count + 1):
        options = []
        for start in range(end - 1, -1, -1):
            if end - start > 1 and len(_lines(words[start:end], size, room, font)) > 2:
                break
            empty = max(0.0, 2 * room - sum(widths[start:end])) / room
            mark = 0.0 if end == count or words[end - 1].text[-1:] in ",;:—.?!" else 0.25
            used, cost, _ = best[start]
            options.append((used + 1, cost + empty * empty + mark, start))
        best.append(min(options))
    pages: list[list[Word]] = []
    while count:
        start = best[count][2]
        pages.insert(0, words[start:count])
        count = start
    return pages


def _lines(words: Sequence[Word], size: float, room: float, font: str) -> list[list[Word]]:
    """Words filled into lines, as many as they need."""
    lines: list[list[Word]] = [[]]
    used = 0.0
    for word in words:
        wide = width_of(word.text, font, size)
        if lines[-1] and used + wide > room:
            lines.append([])
            used = 0.0
        lines[-1].append(word)
        used += wide + width_of(" ", font, size)
    return lines


def _balanced(words: Sequence[Word], size: float, room: float, font: str) -> list[list[Word]]:
    """The same number of lines, as equal in width as they get: no word alone on the second line."""
    lines = _lines(words, size, room, font)
    if len(lines) != 2:
        return lines
    widths = [width_of(w.text + " ", font, size) for w in words]
    cuts = [c for c in range(1, len(words)) if sum(widths[:c]) <= room + 6 and sum(widths[c:]) <= room + 6]
    best = min(cuts or [len(lines[0])], key=lambda c: abs(sum(widths[:c]) - sum(widths[c:])))
    return [list(words[:best]), list(words[best:])]


def _timed(groups: Sequence[list[list[Word]]], duration_s: float) -> list[Page]:
    pages = []
    for i, lines in enumerate(groups):
        start_s = lines[0][0].start_s - EARLY_S
        end_s = min(duration_s, lines[-1][-1].end_s + LINGER_S)
        if i + 1 < len(groups):
            following_s = groups[i + 1][0][0].start_s - EARLY_S
            end_s = following_s if following_s - end_s < 0.4 else end_s
        pages.append(Page(tuple(tuple(line) for line in lines), start_s, end_s))
    return pages


def page_at(pages: Sequence[Page], time_s: float) -> Page | None:
    """The page on the screen at a time."""
    return next((p for p in pages if p.start_s <= time_s < p.end_s), None)


def draw_captions(
    canvas: Canvas,
    page: Page,
    time_s: float,
    left: float,
    bottom: float,
    width: float,
    size: float,
    accent: str,
    still: bool = False,
    font: str = SEMI,
) -> None:
    """`page` centred over `left`..`left + width`, ending at `bottom`. `still`: no word is singled out."""
    leading = size * LEADING
    widths = [width_of(" ".join(w.text for w in line), font, size) for line in page.lines]
    wide, tall = max(widths) + 2 * PAD_X, len(page.lines) * leading + 2 * PAD_Y
    top = bottom - tall
    canvas.drawRRect(rounded(left + (width - wide) / 2, top, wide, tall, 9), fill("#0B0812", 0.78))
    for i, (line, length) in enumerate(zip(page.lines, widths, strict=True)):
        x, y = left + (width - length) / 2, top + PAD_Y + i * leading + size * 0.98
        for word in line:
            if still or time_s >= word.end_s + 0.06:
                paint = fill("#FFFFFF")
            elif time_s >= word.start_s - 0.03:
                paint = fill(accent)
            else:
                paint = fill("#FFFFFF", 0.62)
            write(canvas, word.text, x, y, font, size, paint)
            x += width_of(word.text + " ", font, size)


def caption_height(size: float) -> float:
    """Height of a full page of two lines."""
    return 2 * size * LEADING + 2 * PAD_Y
