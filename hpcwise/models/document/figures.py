"""Pictures of a PDF: found by their captions, bounded by prose, cut out whole with their labels.

A picture is what lies between a caption and the nearest line of running text: the drawn objects there and
the text that touches them. Running text bounds it better than any distance, because figures have gaps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from hpcwise.models.document.glyphs import Line, PageText
from hpcwise.models.document.layout import text_area
from hpcwise.models.document.sentences import clean, join_lines, resolve_levels

_CAPTION = re.compile(
    r"^(figure|fig\.?|table|tab\.|scheme|chart)\s*([A-Z]?\.?\d+(?:\.\d+)?|[IVX]+)\b\s*([.:|–—)]|$)?", re.I
)
_KINDS = {
    "fig": "Figure",
    "figure": "Figure",
    "table": "Table",
    "tab": "Table",
    "scheme": "Scheme",
    "chart": "Chart",
}
_MIN_WIDTH_PT, _MIN_HEIGHT_PT = 60.0, 36.0
_DRAWN = (
    raw.FPDF_PAGEOBJ_IMAGE,
    raw.FPDF_PAGEOBJ_PATH,
    raw.FPDF_PAGEOBJ_FORM,
    raw.FPDF_PAGEOBJ_SHADING,
)
_MAX_OBJECTS = 20_000

Box = tuple[float, float, float, float]
Region = tuple[Box, list[Line]]


@dataclass(slots=True)
class Found:
    """A picture: `box` is x0, y0, x1, y1 in points from the top left of the page; `lines` belong to it."""

    label: str
    caption: str
    page: int
    box: Box | None
    lines: list[Line] = field(default_factory=list)


def drawn_boxes(page: pdfium.PdfPage, width: float, height: float) -> list[Box]:
    """Bounds of all that is drawn and is no text, in points from the top left; page backgrounds left out."""
    left, bottom, _, _ = page.get_bbox()
    out: list[Box] = []
    depth = 1
    objects = list(page.get_objects(filter=_DRAWN, max_depth=1))
    if any(_covers_page(obj, width, height) and obj.type == raw.FPDF_PAGEOBJ_FORM for obj in objects):
        depth = 2  # the whole page is one form: look inside of it (its matrix is the identity in practice)
    for count, obj in enumerate(page.get_objects(filter=_DRAWN, max_depth=depth)):
        if count >= _MAX_OBJECTS:
            break
        if _covers_page(obj, width, height):
            continue
        try:
            x0, y0, x1, y1 = obj.get_bounds()
        except pdfium.PdfiumError:
            continue
        box = (x0 - left, height - (y1 - bottom), x1 - left, height - (y0 - bottom))
        if box[2] > 0 and box[0] < width and box[3] > 0 and box[1] < height:
            out.append((max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3])))
    return out


def _covers_page(obj: pdfium.PdfObject, width: float, height: float) -> bool:
    try:
        x0, y0, x1, y1 = obj.get_bounds()
    except pdfium.PdfiumError:
        return False
    return bool(x1 - x0 > 0.93 * width and y1 - y0 > 0.85 * height)


def captions(page: PageText) -> list[list[Line]]:
    """Blocks of lines that are captions, in reading order."""
    out: list[list[Line]] = []
    used: set[int] = set()
    ordered = sorted(page.lines, key=lambda line: (round(line.base), line.x0))
    for line in ordered:
        match = _CAPTION.match(line.text)
        if not match or id(line) in used or not (match.group(3) or line.bold_lead >= 5):
            continue
        block = [line]
        for other in ordered:
            last = block[-1]
            if other is last or id(other) in used or abs(other.size - line.size) > 0.35:
                continue
            if abs(other.base - last.base) < 1 and -1 < other.x0 - last.x1 < 2.6 * line.size:
                block.append(other)  # set off from its label, or torn by a wide space
                continue
            x0, x1 = min(x.x0 for x in block), max(x.x1 for x in block)
            if other.base <= last.base + 1 or _CAPTION.match(other.text) or other.x1 < x0 or other.x0 > x1:
                continue
            beside = [
                x for x in ordered if x is not other and abs(x.base - other.base) < 1 and x0 <= x.x0 <= x1
            ]
            if any(x.x0 - other.x1 > 2 * line.size for x in beside):
                break  # cells of a table below its caption
            if other.y0 - last.y1 > 0.55 * line.size or len(block) >= 14:
                break
            block.append(other)
        used.update(id(x) for x in block)
        out.append(block)
    return out


def find(page: PageText, drawn: Sequence[Box], body_pt: float, words: frozenset[str]) -> list[Found]:
    """All captioned pictures and tables of a page whose lines have their columns set."""
    blocks = captions(page)
    owned = {id(line) for block in blocks for line in block}
    left, right = text_area(page)
    middle = (left + right) / 2
    two = any(line.column == 1 for line in page.lines)
    out: list[Found] = []
    choices: list[list[Region]] = []
    for block in blocks:
        match = _CAPTION.match(block[0].text)
        if match is None:
            continue
        kind = _KINDS[match.group(1).lower().rstrip(".")]
        label = f"{kind} {match.group(2)}"
        text = clean(resolve_levels(join_lines([line.text for line in block], words)))
        text = text[match.end() :].strip(" .:|–—") if len(text) > match.end() else ""
        column = -1 if not two or any(line.column == -1 for line in block) else block[0].column
        # pictures may stand out of the text into the margins
        x_range = (
            (0.0, page.width) if column == -1 else (0.0, middle) if column == 0 else (middle, page.width)
        )
        others = [x for b in blocks if b is not block for x in b]
        x_range = _beside(block, [b for b in blocks if b is not block], x_range)
        regions = _regions(page, block, others, drawn, body_pt, x_range, kind, owned)
        if two:
            regions = [(_in_gutter(box, page, column), inside) for box, inside in regions]
        out.append(Found(label, text, page.index, None, [*block]))
        choices.append(regions)
    for found, chosen in zip(out, _settled(_unborrowed(out, choices)), strict=True):
        if chosen is not None:
            found.box, found.lines = chosen[0], [*found.lines, *chosen[1]]
    _part(out, drawn)
    return out


def _unborrowed(found: Sequence[Found], choices: Sequence[list[Region]]) -> list[list[Region]]:
    """A figure that is no drawing (a listing) does not take the one below it, which stands above the next
    figure's caption and is all that this one has."""

    def is_of_next(i: int) -> bool:
        if found[i].label.startswith("Table") or choices[i][0][0][1] < found[i].lines[0].y0:
            return False
        return any(
            len(choice) == 1
            and not other.label.startswith("Table")
            and choice[0][0][3] <= other.lines[0].y0 + 16
            and _same(choices[i][0], choice[0])
            for other, choice in zip(found, choices, strict=True)
            if other is not found[i]
        )

    return [[] if regions and is_of_next(i) else regions for i, regions in enumerate(choices)]


def _settled(choices: Sequence[Sequence[Region]]) -> list[Region | None]:
    """The first choice of each caption, but where two have the same one, and one of them has another that
    nobody took, that one: a caption between two tables belongs to the one that has no other caption."""
    taken = [choice[0] if choice else None for choice in choices]
    for i, choice in enumerate(choices):
        shared = any(_same(taken[i], other) for j, other in enumerate(taken) if j != i)
        free = [x for x in choice[1:] if not any(_same(x, other) for other in taken)]
        if shared and free:
            taken[i] = free[0]
    return taken


def _same(one: Region | None, other: Region | None) -> bool:
    if one is None or other is None:
        return False
    a, b = one[0], other[0]
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    least = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return wide > 0 and tall > 0 and wide * tall > 0.8 * least


def _beside(
    block: Sequence[Line], others: Sequence[Sequence[Line]], x_range: tuple[float, float]
) -> tuple[float, float]:
    """The part of a column that belongs to a caption with another one to its left or right."""
    x0, x1 = x_range
    left, right = min(x.x0 for x in block), max(x.x1 for x in block)
    top, bottom = block[0].y0, block[-1].y1
    for other in others:
        if other[0].y0 > bottom or other[-1].y1 < top:
            continue
        its_left, its_right = min(x.x0 for x in other), max(x.x1 for x in other)
        if x0 < its_right < left:
            x0 = (its_right + left) / 2
        elif right < its_left < x1:
            x1 = (right + its_left) / 2
    return x0, x1


def _in_gutter(box: Box, page: PageText, column: int) -> Box:
    """The box without what reaches into the text of the other column."""
    x0, y0, x1, y1 = box
    if column == 1:
        x0 = max(
            x0, min(x1, max((x.x1 for x in page.lines if x.column == 0 and _level(x, box)), default=x0) + 2)
        )
    elif column == 0:
        x1 = min(
            x1, max(x0, min((x.x0 for x in page.lines if x.column == 1 and _level(x, box)), default=x1) - 2)
        )
    return x0, y0, x1, y1


def _level(line: Line, box: Box) -> bool:
    return line.y1 > box[1] and line.y0 < box[3]


def _part(found: Sequence[Found], drawn: Sequence[Box]) -> None:
    """A table below its caption and a picture above its own, with nothing between them, are one region to
    both captions: it is parted where most is white."""
    for upper in found:
        for lower in found:
            if upper is lower or upper.box is None or lower.box is None:
                continue
            a, b = upper.box, lower.box
            together = min(a[3], b[3]) - max(a[1], b[1]) > 0.8 * min(a[3] - a[1], b[3] - b[1])
            across = min(a[2], b[2]) - max(a[0], b[0]) > 0.5 * min(a[2] - a[0], b[2] - b[0])
            between = upper.lines[0].y1 <= a[1] + 14 and lower.lines[0].y0 >= b[3] - 14
            if not (together and across and between):
                continue
            whole = _union([a, b])
            inside = [(x.y0, x.y1) for x in [*upper.lines, *lower.lines] if _holds(whole, x)]
            inside += [(d[1], d[3]) for d in drawn if d[1] >= whole[1] - 1 and d[3] <= whole[3] + 1]
            cut = _widest_white(inside)
            if cut is not None:
                upper.box, lower.box = (a[0], a[1], a[2], cut), (b[0], cut, b[2], b[3])
                both = {id(x): x for x in [*upper.lines, *lower.lines]}.values()
                captions_of = {id(upper): upper.lines[0], id(lower): lower.lines[0]}
                upper.lines = [captions_of[id(upper)], *(x for x in both if _holds(upper.box, x))]
                lower.lines = [captions_of[id(lower)], *(x for x in both if _holds(lower.box, x))]


def _holds(box: Box, line: Line) -> bool:
    return box[1] - 1 <= line.y0 and line.y1 <= box[3] + 1 and line.x1 > box[0] and line.x0 < box[2]


def _widest_white(spans: Sequence[tuple[float, float]]) -> float | None:
    """The middle of the widest gap between spans, in points; None where there is none worth it."""
    best, at, reach = 8.0, None, float("-inf")
    for start, end in sorted(spans):
        if reach > float("-inf") and start - reach > best:
            best, at = start - reach, (start + reach) / 2
        reach = max(reach, end)
    return at


def _is_prose(line: Line, body_pt: float, two: bool, area: tuple[float, float]) -> bool:
    column_width = (area[1] - area[0]) * (0.47 if two and line.column >= 0 else 1.0)
    return abs(line.size - body_pt) < 0.07 * body_pt and line.width > 0.72 * column_width and line.mono < 0.5


def _regions(
    page: PageText,
    block: list[Line],
    other_captions: list[Line],
    drawn: Sequence[Box],
    body_pt: float,
    x_range: tuple[float, float],
    kind: str,
    owned: set[int],
) -> list[Region]:
    """Where the picture may be, with the lines in it, likeliest first: above the caption, for tables at the
    nearer side."""
    area = text_area(page)
    two = any(line.column == 1 for line in page.lines)
    near = [x for x in page.lines if x.x1 > x_range[0] + 4 and x.x0 < x_range[1] - 4 and id(x) not in owned]
    near.sort(key=lambda line: line.y0)
    top, bottom = block[0].y0, block[-1].y1
    # What lies under the caption too is the page's ground, or a watermark.
    drawn = [b for b in drawn if not (b[1] < top - 2 and b[3] > bottom + 2 and b[0] < block[0].x1)]
    prose = [x for x in near if _is_prose(x, body_pt, two, area)]
    walls = prose + [x for x in other_captions if x.x1 > x_range[0] and x.x0 < x_range[1]]
    ceiling = max((x.y1 for x in walls if x.y1 <= top + 2), default=max(0.03 * page.height, page.head))
    steps = sorted(b.y0 - a.y1 for a, b in pairwise(prose) if 0 < b.y0 - a.y1 < 2.5 * body_pt)
    spacing = 1.1 * steps[len(steps) // 2] if steps else 0.0
    for line in near:  # the short last line of the paragraph above is running text too
        gap = line.y0 - ceiling
        flush = gap < spacing and abs(line.x0 - min((x.x0 for x in prose), default=0.0)) < 3
        follows = gap > -2 and line.y1 < top and (gap < 0.45 * body_pt or flush)
        if follows and prose and abs(line.size - body_pt) < 0.07 * body_pt and ceiling > 0.04 * page.height:
            ceiling = line.y1
    floor = min((x.y0 for x in walls if x.y0 >= bottom - 2), default=min(0.95 * page.height, page.foot))
    # Turned labels have no column of their own: those of the figure beside this one stay there.
    labels = near + [x for x in page.turned if x_range[0] < (x.x0 + x.x1) / 2 < x_range[1]]
    above = _grow((x_range[0], ceiling, x_range[1], top), labels, drawn, kind)
    below = _grow((x_range[0], bottom, x_range[1], floor), labels, drawn, kind)
    found = [region for region in (above, below) if region is not None]
    if above and below and kind == "Table" and top - above[0][3] >= below[0][1] - bottom:
        found.reverse()
    return found


def _grow(window: Box, near: list[Line], drawn: Sequence[Box], kind: str) -> tuple[Box, list[Line]] | None:
    """Union of what is drawn in the window and of the text that touches it."""
    x0, y0, x1, y1 = window
    if y1 - y0 < 20:
        return None
    boxes = []
    for b in drawn:
        inside_y = min(b[3], y1 + 3) - max(b[1], y0 - 3)
        inside_x = min(b[2], x1 + 12) - max(b[0], x0 - 12)
        if inside_y >= 0.7 * (b[3] - b[1]) - 0.1 and inside_x >= 0.7 * (b[2] - b[0]) - 0.1:
            boxes.append((max(b[0], x0 - 12), max(b[1], y0), min(b[2], x1 + 12), min(b[3], y1)))
    labels = [x for x in near if x.y0 >= y0 - 1 and x.y1 <= y1 + 1]
    if not boxes:
        rows = {round(x.base) for x in labels}
        if kind != "Table" or len(labels) < 2 * len(rows) or len(rows) < 2:
            return None
        boxes = [(x.x0, x.y0, x.x1, x.y1) for x in labels]
    box = _union(boxes)
    if kind != "Table" and box[3] - box[1] < _MIN_HEIGHT_PT:
        return None  # a footnote's rule is no picture
    taken: list[Line] = []
    for _ in range(4):
        reach = 14.0
        touched = [
            x
            for x in labels
            if x.x1 > box[0] - reach - 8
            and x.x0 < box[2] + reach + 8
            and x.y1 > box[1] - reach
            and x.y0 < box[3] + reach
        ]
        if len(touched) == len(taken):
            break
        taken = touched
        box = _union([box, *((x.x0, x.y0, x.x1, x.y1) for x in taken)])
    if box[2] - box[0] < _MIN_WIDTH_PT or box[3] - box[1] < _MIN_HEIGHT_PT:
        return None
    pad = 5.0
    padded = (
        box[0] - pad,
        max(box[1] - pad, min(y0 + 1, box[1])),
        box[2] + pad,
        min(box[3] + pad, max(y1 - 1, box[3])),
    )
    return padded, taken


def _union(boxes: Sequence[Box]) -> Box:
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )
