"""A PDF file -> `Document` and cut-out pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from hpcwise.core.document import Document, Figure
from hpcwise.core.errors import DocumentError
from hpcwise.models.document import cut, equations, figures, front, glyphs, layout, ocr, prose, slides
from hpcwise.models.document.sentences import vocabulary

#: A page with less text than this, and a picture all over it, was scanned.
_LEAST_CHARS = 40
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
    _read_scans(pdf, pages, name, step, total)
    characters = sum(len(line.text) for page in pages for line in page.lines)
    letters = sum(char.isalnum() for page in pages for line in page.lines for char in line.text)
    if characters >= 200 and letters < 0.4 * characters:
        raise DocumentError(
            f"{name}: its fonts do not say which letters they draw, so its text cannot be read; "
            "make the PDF again with outline fonts, or give the text as .md or .txt"
        )
    layout.strip_line_numbers(pages)
    metadata = pdf.get_metadata_dict()
    if slides.are_slides(pages):
        boxes = [[] if p.rotated else figures.drawn_boxes(pdf[p.index], p.width, p.height) for p in pages]
        return slides.read_slides(pdf, pages, boxes, work, metadata)
    body_pt = layout.body_size(pages)
    layout.drop_running_heads(pages)
    title, title_lines = front.find_title(pages, metadata.get("Title", ""), body_pt)
    front_page = title_lines[0].page if title_lines else 0
    authors, front_ends = front.find_authors(pages[front_page], title_lines, metadata.get("Author", ""))
    words = vocabulary([line.text for page in pages for line in page.lines])
    found: list[figures.Found] = []
    formulas: list[figures.Found] = []
    lines: list[glyphs.Line] = []
    for page in pages:
        layout.set_columns(page)
        drawn = [] if page.rotated else figures.drawn_boxes(pdf[page.index], page.width, page.height)
        here = figures.find(page, drawn, body_pt, words)
        found += here
        formulas += [] if page.rotated else equations.find(page)
        gone = {id(line) for f in here for line in f.lines}
        gone |= {id(line) for line in title_lines}
        if page.index == front_page:
            gone |= {id(line) for line in front.front_lines(page, front_ends)}
        page.lines = [line for line in page.lines if id(line) not in gone]
        lines += layout.in_reading_order(page)
        step(count + page.index + 1, total, f"lay out page {page.index + 1}")
    sections = prose.to_sections(lines, body_pt, words, count)
    pictures = _cut_out(pdf, pages, [*found, *equations.mentioned(formulas, sections)], work, step, total)
    return Document(
        title=title,
        authors=authors,
        sections=tuple(sections),
        figures=tuple(pictures),
        n_pages=n_pages,
        truncated=n_pages > max_pages,
    )


def _read_scans(
    pdf: pdfium.PdfDocument, pages: list[glyphs.PageText], name: str, step: Step, total: int
) -> None:
    """Pages that are a picture without text are read by OCR. Raises DocumentError where that is missing."""
    reader: ocr.Reader | None = None
    for page in pages:
        if sum(len(line.text) for line in page.lines) >= _LEAST_CHARS or not _is_picture(pdf[page.index]):
            continue
        reader = reader or ocr.Reader.load(name)
        page.lines = reader.read(pdf[page.index], page.index).lines
        step(page.index + 1, total, f"read scanned page {page.index + 1}")


def _is_picture(page: pdfium.PdfPage) -> bool:
    width, height = page.get_size()
    for obj in page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE,), max_depth=2):
        try:
            x0, y0, x1, y1 = obj.get_bounds()
        except pdfium.PdfiumError:
            continue
        if (x1 - x0) * (y1 - y0) > 0.5 * width * height:
            return True
    return False


def bare_text(path: Path) -> str:
    """Text of the first pages as PDFium gives it, whatever its script."""
    with pdfium.PdfDocument(path) as pdf:
        return " ".join(pdf[i].get_textpage().get_text_bounded() for i in range(min(4, len(pdf))))


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
        formula = item.label.startswith("Equation")
        if item.box is None or item.label in seen or not (item.caption or formula):
            continue
        index = len(out)
        page = pages[item.page]
        target = work / f"fig-{index}.png"
        size = cut.cut_out(pdf[item.page], item.box, page.width, page.height, target)
        step(total - 1, total, item.label)
        if size is None:
            continue
        if formula:
            size = (*equations.roomy(target), size[2])
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
                words=cut.words_in(item.lines, size[2]),
            )
        )
    return out
