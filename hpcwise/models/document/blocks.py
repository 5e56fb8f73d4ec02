"""Headings, paragraphs and pictures in reading order -> `Document`: for HTML, EPUB and slides."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpcwise.core.document import Document, Figure, Section, Sentence, split_sentences
from hpcwise.models.document.prose import BOILERPLATE, REST_SKIPPED, SKIPPED
from hpcwise.models.document.sentences import clean, is_sentence

#: "are important": the second half of a title that a slide tears in two.
_HALF = re.compile(r"^(?:is|are|was|were|and|or|of|in|to|for|with|by|from|the|that|which|as|at|on)\b")
_NUMBERING = re.compile(r"^(?:chapter|part)?\s*(?:\d+(?:\.\d+)*|[IVXLC]+)[.:)]?\s+(?=\S)", re.I)
_CAPTION_LABEL = re.compile(r"^(fig(?:ure)?|table|scheme|chart)\.?\s*(\d+(?:\.\d+)?)\s*[.:–—-]*\s*", re.I)
#: A caption in the midst of the text, which "Table 2 shows" is not.
CAPTION = re.compile(
    r"^(?:fig(?:ure)?|table|scheme|chart|listing)\.? (?:\d+(?:\.\d+)?|[IVX]+)\s?[.:–—|]\s*\S", re.I
)
#: Icons, rules and logos are smaller than this.
_LEAST_SIDE_PX = 160
_MOST_SIDE_PX = 2400
_MOST_PICTURES = 60


@dataclass(frozen=True, slots=True)
class Block:
    """text: of a heading or paragraph, or a picture's caption. data: a picture's file. page: from 1.

    clause: text is a point of a slide, which ends without a full stop and still says something.
    """

    kind: Literal["heading", "text", "picture"]
    text: str
    page: int
    data: bytes = b""
    clause: bool = False


def to_document(
    blocks: Iterable[Block],
    title: str,
    authors: tuple[str, ...],
    n_pages: int,
    work: Path,
    *,
    picture_name: str = "Figure",
    truncated: bool = False,
    kind: str = "",
) -> Document:
    """Sections and pictures of the blocks; pictures are written into `work` as fig-<index>.png.

    picture_name: what a picture without a label of its own is called, with a number.
    """
    drafts: list[tuple[str, int, list[Sentence]]] = [("", 1, [])]
    figures: list[Figure] = []
    labels: set[str] = set()
    skip = ended = False
    for block in blocks:
        text = clean(block.text)
        if block.kind == "heading":
            heading = _NUMBERING.sub("", text).rstrip(" .:")
            if not title and not any(s for _, _, s in drafts):
                title = heading
                continue
            ended = ended or bool(REST_SKIPPED.match(heading) and any(s for _, _, s in drafts))
            skip = ended or bool(SKIPPED.match(heading) or REST_SKIPPED.match(heading))
            if heading and not skip and heading != title and not _HALF.match(heading):
                drafts.append((heading, block.page, []))
        elif skip:
            continue
        elif block.kind == "picture":
            figure = _picture(block, text, len(figures), labels, picture_name, work)
            if figure is not None and len(figures) < _MOST_PICTURES:
                labels.add(figure.label)
                figures.append(figure)
        elif not CAPTION.match(text):
            drafts[-1][2].extend(_sentences(text, block))
    sections = tuple(
        Section(heading=heading, page=page, sentences=tuple(said)) for heading, page, said in drafts if said
    )
    return Document(
        title=title,
        authors=authors,
        sections=sections,
        figures=tuple(figures),
        n_pages=n_pages,
        truncated=truncated,
        kind=kind,
    )


def _sentences(text: str, block: Block) -> list[Sentence]:
    if block.clause:
        text = as_sentence(text)
    out = []
    for i, sentence in enumerate(split_sentences(text)):
        if is_sentence(sentence) and not BOILERPLATE.search(sentence):
            out.append(Sentence(text=sentence, page=block.page, starts_paragraph=i == 0))
    return out


def as_sentence(point: str) -> str:
    """A point of a slide as a sentence, where its words make one: a capital and a full stop."""
    point = re.sub(r"^[•▪◦‣●○■–—*·\-\s]+", "", point).strip()
    if not point or _HALF.match(point):
        return ""
    point = point[0].upper() + point[1:] if point[0].islower() and point.split()[0].islower() else point
    return point if re.search(r"[.?!:;,]$", point) else point + "."


def _picture(
    block: Block, caption: str, index: int, labels: set[str], picture_name: str, work: Path
) -> Figure | None:
    size = write_png(block.data, work / f"fig-{index}.png")
    if size is None:
        return None
    match = _CAPTION_LABEL.match(caption)
    label = f"{picture_name} {block.page}" if picture_name == "Slide" else f"{picture_name} {index + 1}"
    if match:
        kind = "Figure" if match.group(1).lower().startswith("fig") else match.group(1).title()
        label, caption = f"{kind} {match.group(2)}", caption[match.end() :]
    while label in labels:
        label += "b"
    return Figure(
        index=index,
        label=label,
        caption=caption,
        file=f"fig-{index}.png",
        width_px=size[0],
        height_px=size[1],
        page=block.page,
    )


def write_png(data: bytes, target: Path, least_px: int = _LEAST_SIDE_PX) -> tuple[int, int] | None:
    """Any picture that Pillow reads as a PNG on white, at most 2,400 pixels a side; None for icons and for
    what is no picture (nothing is written then)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            image = opened.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    if min(image.size) < least_px / 2 or max(image.size) < least_px:
        return None
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A"))
    flat.thumbnail((_MOST_SIDE_PX, _MOST_SIDE_PX))
    beside = target.with_name(target.name + ".part")
    flat.save(beside, format="PNG")
    beside.replace(target)
    return flat.width, flat.height
