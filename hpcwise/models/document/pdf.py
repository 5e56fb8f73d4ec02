"""A PDF file -> `Document` and cut-out pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from hpcwise.core.document import Document, Figure
from hpcwise.core.errors import DocumentError
from hpcwise.models.document import figures, front, glyphs, layout, prose
from hpcwise.models.document.sentences import vocabulary

Step = Callable[[int, int, str], None]

_REASONS = {
    raw.FPDF_ERR_PASSWORD: "is encrypted; save a copy without a password and give that one",
    raw.FPDF_ERR_SECURITY: "is protected by a scheme that is not supported; save an unprotected copy",
    raw.FPDF_ERR_FORMAT: "is not a readable PDF (damaged or cut off); export it again",
}


def read_pdf(path: Path, name: str, work: Path, max_pages: int, step: Step) -> Document:
    """Read at most `max_pages` pages; pictures are written into `work` as fig-<index>.png.

    Raises DocumentError for a file that is encrypted, damaged, or has pages without a text layer.
    """
    try:
        pdf = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        reason = _REASONS.get(getattr(error, "err_code", None) or 0, "is not a readable PDF; export it again")
        raise DocumentError(f"{name}: {reason}") from error
    with pdf:
        return _read(pdf, name, work, max_pages, step)


def _read(pdf: pdfium.PdfDocument, name: str, work: Path, max_pages: int, step: Step) -> Document:
    n_pages = len(pdf)
    if n_pages == 0:
        raise DocumentError(f"{name}: has no pages; export it again")
    count = min(n_pages, max_pages)
    total = 2 * count + 1
    pages = []
    for i in range(count):
        pages.append(glyphs.read_page(pdf[i], i))
        step(i + 1, total, f"read page {i + 1}")
    characters = sum(len(line.text) for page in pages for line in page.lines)
    pictured = any(
        obj.type == raw.FPDF_PAGEOBJ_IMAGE
        for i in range(min(count, 5))
        for obj in pdf[i].get_objects(max_depth=2)
    )
    if characters < 40 * count and pictured:
        raise DocumentError(
            f"{name}: its pages are pictures without a text layer, as in a scan; OCR is not there yet, "
            "so give a PDF with text (for example after `ocrmypdf`)"
        )
    letters = sum(char.isalnum() for page in pages for line in page.lines for char in line.text)
    if characters >= 200 and letters < 0.4 * characters:
        raise DocumentError(
            f"{name}: its fonts do not say which letters they draw, so its text cannot be read; "
            "make the PDF again with outline fonts, or give the text as .md or .txt"
        )
    layout.strip_line_numbers(pages)
    metadata = pdf.get_metadata_dict()
    body_pt = layout.body_size(pages)
    layout.drop_running_heads(pages)
    title, title_lines = front.find_title(pages, metadata.get("Title", ""), body_pt)
    authors, front_ends = front.find_authors(pages[0], title_lines, metadata.get("Author", ""))
    words = vocabulary([line.text for page in pages for line in page.lines])
    found: list[figures.Found] = []
    lines: list[glyphs.Line] = []
    for page in pages:
        layout.set_columns(page)
        drawn = [] if page.rotated else figures.drawn_boxes(pdf[page.index], page.width, page.height)
        here = figures.find(page, drawn, body_pt, words)
        found += here
        gone = {id(line) for f in here for line in f.lines}
        gone |= {id(line) for line in title_lines}
        page.lines = [
            line
            for line in page.lines
            if id(line) not in gone and not (page.index == 0 and line.y1 < front_ends - 1)
        ]
        lines += layout.in_reading_order(page)
        step(count + page.index + 1, total, f"lay out page {page.index + 1}")
    sections = prose.to_sections(lines, body_pt, words, count)
    pictures = _cut_out(pdf, pages, found, work, step, total)
    return Document(
        title=title,
        authors=authors,
        sections=tuple(sections),
        figures=tuple(pictures),
        n_pages=n_pages,
        truncated=n_pages > max_pages,
    )


def _cut_out(
    pdf: pdfium.PdfDocument,
    pages: list[glyphs.PageText],
    found: list[figures.Found],
    work: Path,
    step: Step,
    total: int,
) -> list[Figure]:
    out: list[Figure] = []
    seen: set[str] = set()
    for item in found:
        if item.box is None or item.label in seen or not item.caption:
            continue
        index = len(out)
        page = pages[item.page]
        target = work / f"fig-{index}.png"
        size = figures.cut_out(pdf[item.page], item.box, page.width, page.height, target)
        step(total - 1, total, item.label)
        if size is None:
            continue
        seen.add(item.label)
        out.append(
            Figure(
                index=index,
                label=item.label,
                caption=item.caption,
                file=target.name,
                width_px=size[0],
                height_px=size[1],
                page=item.page + 1,
            )
        )
    return out
