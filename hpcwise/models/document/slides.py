"""A deck of slides in a PDF -> `Document`: a slide is a section, and one with a picture is shown whole."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import pypdfium2 as pdfium

from hpcwise.core.document import Document
from hpcwise.models.document.blocks import Block, to_document
from hpcwise.models.document.figures import Box
from hpcwise.models.document.glyphs import LINE_HYPHEN, Line, PageText
from hpcwise.models.document.layout import drop_running_heads
from hpcwise.models.document.sentences import clean, join_lines, resolve_levels

#: A slide has fewer characters than this, a landscape page of prose has more.
_MOST_CHARS = 1100
#: Share of a slide that pictures cover before it is worth showing.
_LEAST_DRAWN = 0.06
_POINT = re.compile(r"^\s*[•▪◦‣●○■–—*►▶✓➢\uf0b7-]\s*|^\(?\d{1,2}[.)]\s+")


def are_slides(pages: Sequence[PageText]) -> bool:
    """Whether the pages lie on their side and hold little text each."""
    if len(pages) < 2:
        return False
    wide = median(page.width / page.height for page in pages) > 1.2
    return wide and median(sum(len(line.text) for line in page.lines) for page in pages) < _MOST_CHARS


def read_slides(
    pdf: pdfium.PdfDocument,
    pages: Sequence[PageText],
    boxes: Sequence[Sequence[Box]],
    work: Path,
    metadata: dict[str, str],
) -> Document:
    """boxes: what is drawn on each page, in points from the top left."""
    drop_running_heads(pages)
    blocks = [block for page, drawn in zip(pages, boxes, strict=True) for block in _blocks(pdf, page, drawn)]
    first = next((b.text for b in blocks if b.kind == "heading"), "")
    title = clean(first) or clean(metadata.get("Title", ""))
    author = clean(metadata.get("Author", ""))
    return to_document(
        blocks, title, (author,) if " " in author else (), len(pdf), work, picture_name="Slide",
        truncated=len(pdf) > len(pages), kind="talk",
    )  # fmt: skip


def _blocks(pdf: pdfium.PdfDocument, page: PageText, drawn: Sequence[Box]) -> Iterator[Block]:
    number = page.index + 1
    lines = sorted(page.lines, key=lambda line: (round(line.base), line.x0))
    heading = _heading(lines, page)
    if heading:
        yield Block("heading", _joined(heading), number)
    rest = [line for line in lines if line not in heading]
    area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in drawn if b[3] - b[1] > 30 and b[2] - b[0] > 30)
    if heading and number > 1 and area > _LEAST_DRAWN * page.width * page.height:
        picture = io.BytesIO()
        scale = min(3.0, 1600 / page.width)
        pdf[page.index].render(scale=scale).to_pil().convert("RGB").save(picture, format="PNG")
        yield Block("picture", _joined(heading), number, picture.getvalue())
    for point in _points(rest):
        yield Block("text", _POINT.sub("", _joined(point)), number, clause=True)


def _heading(lines: Sequence[Line], page: PageText) -> list[Line]:
    """The largest type in the upper half; the lines that go on in the same size."""
    upper = [x for x in lines if x.y0 < 0.5 * page.height and sum(c.isalpha() for c in x.text) >= 3]
    if not upper:
        return []
    size = max(x.size for x in upper)
    if len({round(x.size) for x in lines}) < 2 and len(lines) > 2:
        return upper[:1]
    found: list[Line] = []
    for line in upper:
        if abs(line.size - size) < 0.08 * size and (not found or line.base - found[-1].base < 2 * size):
            found.append(line)
    return found


def _points(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines of the same point: close, in the same type, and not marked as a new one."""
    out: list[list[Line]] = []
    for line in lines:
        last = out[-1][-1] if out else None
        goes_on = (
            last is not None
            and not _POINT.match(line.text)
            and abs(line.size - last.size) < 0.1 * line.size
            and 0 < line.base - last.base < 1.6 * line.size
            and (line.text[:1].islower() or not re.search(r"[.?!:]$", last.text))
            and line.x0 >= out[-1][0].x0 - 2
            and len(last.text) > 25
        )
        if goes_on:
            out[-1].append(line)
        else:
            out.append([line])
    return out


def _joined(lines: Sequence[Line]) -> str:
    text = join_lines([resolve_levels(x.text) for x in lines], frozenset())
    return clean(text.replace(LINE_HYPHEN, "-"))
