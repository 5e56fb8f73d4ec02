"""Lines of pages -> lines in reading order, without running heads, page numbers and line numbers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from hpcwise.models.document.glyphs import Line, PageText

_FIXED_NOISE = re.compile(
    r"^(arxiv:\d{4}\.\d+|accepted manuscript\b|author manuscript\b|downloaded from\b|preprint\b.{0,60}$"
    r"|under review\b|published as a conference paper|proceedings of the\b|©|copyright\b|\(c\) \d{4}"
    r"|permission to make digital|licensed under|this work is licensed|doi:|https?://doi\.org"
    r"|page \d+( of \d+)?$|received:? \d|issn\b|isbn\b|all rights reserved)",
    re.I,
)
_SAME_HEIGHT_PT, _MOST_IN_A_HEAD = 2.0, 4
_LINE_NUMBER = re.compile(r"^(\d{1,4})(?:\s+|$)")


def body_size(pages: Sequence[PageText]) -> float:
    """Font size in which most of the text is set, in points (10 for an empty document)."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            sizes[round(line.size * 4) / 4] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 10.0


def _pattern(text: str) -> str:
    """The text with numbers blanked: what repeats in running heads."""
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", text.lower()).strip()


def drop_running_heads(pages: Sequence[PageText]) -> None:
    """Remove lines in the top and bottom margin that repeat over pages, page numbers, stamps."""
    places: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for page in pages:
        for line in _margin(page):
            places[_pattern(line.text)].append((page.index, line.base))

    def on_pages(line: Line, pattern: str) -> int:
        """A head stands at one height on all pages; the labels of two figures that share a word do not."""
        return len({page for page, base in places[pattern] if abs(base - line.base) <= _SAME_HEIGHT_PT})

    for page in pages:
        margin = {id(line) for line in _margin(page)}
        kept = []
        for line in page.lines:
            pattern = _pattern(line.text)
            if (
                id(line) in margin
                and page.index > 0
                and (on_pages(line, pattern) >= 2 or pattern in ("#", "- # -"))
            ):
                continue
            if id(line) in margin and page.index == 0 and (pattern == "#" or on_pages(line, pattern) >= 3):
                continue
            if _FIXED_NOISE.match(line.text):
                continue
            kept.append(line)
        for line in (x for x in page.lines if id(x) in margin and x not in kept):
            if line.y1 < page.height / 2:
                page.head = max(page.head, line.y1)
            else:
                page.foot = min(page.foot, line.y0)
        page.lines = kept


def _margin(page: PageText) -> list[Line]:
    """Lines on the first two or last two baselines of the page near its edge."""
    tops = sorted({round(line.base) for line in page.lines})
    edge = set(tops[:2] + tops[-2:])
    found = [
        line
        for line in page.lines
        if round(line.base) in edge and (line.y1 < 0.14 * page.height or line.y0 > 0.88 * page.height)
    ]
    rows: dict[int, list[Line]] = defaultdict(list)
    for line in found:
        rows[round(line.base)].append(line)
    # More than an outer and an inner head, or numbers side by side: the first row of a table.
    heads = [
        row
        for row in rows.values()
        if len(row) == 1
        or (len(row) <= _MOST_IN_A_HEAD and any(c.isalpha() for line in row for c in line.text))
    ]
    return [line for row in heads for line in row]


def strip_line_numbers(pages: Sequence[PageText]) -> None:
    """Manuscripts number every line at the margin: where a page does so, the numbers go."""
    for page in pages:
        numbered = [(line, m) for line in page.lines if (m := _LINE_NUMBER.match(line.text))]
        if len(numbered) < 8:
            continue
        edge = min(line.x0 for line, _ in numbered)
        numbered = [(line, m) for line, m in numbered if line.x0 - edge < 16]
        numbered.sort(key=lambda pair: pair[0].base)
        values = [int(m.group(1)) for _, m in numbered]
        steps = sum(1 for a, b in pairwise(values) if b - a == 1)
        if len(values) < 8 or steps < 0.8 * (len(values) - 1):
            continue
        for line, m in numbered:
            line.text = line.text[m.end() :]
            line.x0 += 26.0
        page.lines = [line for line in page.lines if line.text]
        left = Counter(round(line.x0 / 4) for line in page.lines).most_common(1)
        for line in page.lines:
            if left and abs(line.x0 - left[0][0] * 4) < 12:
                line.x0 = left[0][0] * 4.0


def text_area(page: PageText) -> tuple[float, float]:
    """Left and right edge of the text of a page, in points."""
    wide = [line for line in page.lines if len(line.text) > 15] or page.lines
    if not wide:
        return 0.0, page.width
    return min(line.x0 for line in wide), max(line.x1 for line in wide)


def set_columns(page: PageText) -> bool:
    """Mark each line with its column: 0 left or only, 1 right, -1 across both; True for two columns."""
    left, right = text_area(page)
    middle = (left + right) / 2
    prose = [line for line in page.lines if len(line.text) > 20]
    on_left = [line for line in prose if line.x1 <= middle + 8]
    on_right = [line for line in prose if line.x0 >= middle - 8]
    across = len(prose) - len(on_left) - len(on_right)
    two = len(on_left) >= 4 and len(on_right) >= 4 and len(on_left) + len(on_right) > 1.2 * across
    for line in page.lines:
        if not two or line.x1 <= middle + 8:
            line.column = 0
        elif line.x0 >= middle - 8:
            line.column = 1
        else:
            line.column = -1
    return two


def in_reading_order(page: PageText) -> list[Line]:
    """Lines down the left column, then the right one, between the lines that cross both.

    A layout of neither one nor two columns keeps the order in which the file draws it.
    """
    if set_columns(page):
        out: list[Line] = []
        bands: list[Line] = []
        for line in [*sorted(page.lines, key=_top), None]:
            if line is not None and line.column >= 0:
                bands.append(line)
                continue
            left = sorted((x for x in bands if x.column == 0), key=_top)
            right = sorted((x for x in bands if x.column == 1), key=_top)
            below = [left.pop()] if line is not None and _heads_what_follows(left, right) else []
            out += [*left, *right, *below]
            bands = []
            if line is not None:
                out.append(line)
        return out
    by_base: dict[int, list[Line]] = defaultdict(list)
    for line in page.lines:
        by_base[round(line.base / 3)].append(line)
    side_by_side = sum(1 for row in by_base.values() if sum(len(x.text) > 20 for x in row) > 1)
    if side_by_side > 0.3 * max(1, len(by_base)):
        return list(page.lines)
    return sorted(page.lines, key=_top)


def _heads_what_follows(left: Sequence[Line], right: Sequence[Line]) -> bool:
    """Whether the last line on the left stands alone below both columns: the heading of text across them."""
    if len(left) < 2 or not right:
        return False
    last, before = left[-1], left[-2]
    ends = max(before.base, *(x.base for x in right))
    return last.base - ends > 1.5 * last.size and last.width < 0.7 * max(x.width for x in left)


def _top(line: Line) -> tuple[float, float]:
    return (round(line.base), line.x0)


def column_edges(lines: Iterable[Line]) -> dict[tuple[int, int], tuple[float, float]]:
    """Left and right edge of each (page, column), the left one by majority: paragraphs are told by it."""
    lefts: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    rights: dict[tuple[int, int], float] = defaultdict(float)
    for line in lines:
        key = (line.page, line.column)
        lefts[key][round(line.x0)] += len(line.text)
        rights[key] = max(rights[key], line.x1)
    return {key: (float(count.most_common(1)[0][0]), rights[key]) for key, count in lefts.items()}
