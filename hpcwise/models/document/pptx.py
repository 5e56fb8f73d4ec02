"""Slides (PPTX) -> `Document`: a slide is a section; its notes come first, since they are what is said."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcwise.core.document import Document
from hpcwise.core.errors import DocumentError
from hpcwise.models.document.blocks import Block, to_document
from hpcwise.models.document.front import names_in
from hpcwise.models.document.sentences import clean


def read_pptx(path: Path, name: str, work: Path, max_pages: int) -> Document:
    """At most `max_pages` slides. Raises DocumentError for a file that is damaged or encrypted."""
    from pptx import Presentation
    from pptx.exc import PythonPptxError

    try:
        deck = Presentation(str(path))
        slides = [slide for slide in deck.slides if slide._element.get("show") != "0"]
        blocks = [block for n, slide in enumerate(slides[:max_pages], 1) for block in _blocks(slide, n)]
    except (PythonPptxError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DocumentError(
            f"{name}: is not a readable PPTX (damaged or encrypted); export it again"
        ) from error
    stated = clean(deck.core_properties.title or "")
    title = stated if stated and stated.lower() not in ("powerpoint presentation", "presentation") else ""
    first = _title(slides[0]) if slides else ""
    author = clean(deck.core_properties.author or "")
    shown = [b for b in blocks if b.page == 1 and b.kind == "text" and names_in(b.text)]
    authors = dict.fromkeys(name for b in shown for name in names_in(b.text))
    return to_document(
        [b for b in blocks if b not in shown],
        first or title,
        tuple(authors) or ((author,) if " " in author else ()),
        len(slides),
        work,
        picture_name="Slide",
        truncated=len(slides) > max_pages,
        kind="talk",
    )


def _title(slide: Any) -> str:
    shape = slide.shapes.title
    return clean(shape.text_frame.text.replace("\x0b", " ")) if shape is not None else ""


def _blocks(slide: Any, number: int) -> Iterator[Block]:
    heading = _title(slide)
    if heading:
        yield Block("heading", heading, number)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        for paragraph in slide.notes_slide.notes_text_frame.paragraphs:
            yield Block("text", paragraph.text, number, clause=True)
    shapes = sorted(_flat(slide.shapes), key=lambda s: (s.top or 0, s.left or 0))
    # Of pictures that only the slide's title describes one is enough.
    untold = [shape for shape in shapes if hasattr(shape, "image") and not _described(shape)]
    largest = max(untold, key=lambda s: (s.width or 0) * (s.height or 0), default=None)
    for shape in shapes:
        if slide.shapes.title is not None and shape.shape_id == slide.shapes.title.shape_id:
            continue
        if hasattr(shape, "image"):
            if shape is largest or _described(shape):
                caption = _described(shape) or heading
                if caption:
                    yield Block("picture", caption, number, shape.image.blob)
        elif shape.has_text_frame:
            for paragraph in shape.text_frame.paragraphs:
                yield Block("text", paragraph.text.replace("\x0b", " "), number, clause=True)


#: Text that a program wrote beside a picture: its address, its page's name, what it believes to see.
_BY_MACHINE = re.compile(
    r"automati(?:cally|sch|quement|camente)|description generated|https?:|\bwww\.|\.(?:png|jpe?g|svg|gif"
    r"|webp)\b"
    r"|\s[|–-]\s|\b(?:logos?|icons?|emojis?)\b|\bfree (?:download|vector|icon)|\b(?:stock|clip ?art|getty)\b",
    re.I,
)


def _described(shape: Any) -> str:
    """What a person wrote about a picture, or ""."""
    text = clean(shape._element._nvXxPr.cNvPr.get("descr") or "")
    return text if len(text.split()) > 3 and not _BY_MACHINE.search(text) else ""


def _flat(shapes: Any) -> Iterator[Any]:
    """All shapes, those inside of groups too."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _flat(shape.shapes)
        else:
            yield shape
