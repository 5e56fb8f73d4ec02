"""Scanned pages -> lines with geometry, by RapidOCR (PP-OCR models, which lie in its wheel)."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import pypdfium2 as pdfium

from hpcwise.core.errors import DocumentError
from hpcwise.models.document.glyphs import Line, PageText

#: Pixels a point: 144 dots an inch read as well as more on clean scans, in half the time.
_SCALE = 2.0
_LEAST_SCORE = 0.6
#: Height of a line's box, ascenders and descenders included, by its font size.
_BOX_BY_SIZE = 1.25
#: A line in title case is taken for bold: weight is not read, and a heading of the text's own size would
#: run into its sentences.
_HEADING = re.compile(
    r"(?:[A-Z][a-z'’-]+|[A-Z]{2,})(?: (?:[A-Z][\w'’-]*|a|an|and|at|by|for|from|in|of|on|or|the|to|with"
    r"|without)){1,7}$"
)


@dataclass(slots=True)
class Reader:
    """The models in memory. Made when the first scanned page is met."""

    engine: Any

    @classmethod
    def load(cls, name: str) -> Reader:
        """Raises DocumentError where the package is missing."""
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise DocumentError(
                f"{name}: its pages are pictures without a text layer, as in a scan; to read them install "
                "hpcwise[ocr], or give a PDF with text (for example after `ocrmypdf`)"
            ) from error
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        engine = RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False})
        return cls(engine)

    def read(self, page: pdfium.PdfPage, index: int) -> PageText:
        """The page's lines; words that were not read with confidence are left out."""
        width, height = page.get_size()
        image = page.render(scale=_SCALE).to_pil().convert("RGB")
        found = self.engine(np.asarray(image)[:, :, ::-1])
        text = PageText(index=index, width=width, height=height, rotated=False)
        if found.boxes is None:
            return text
        for box, said, score in zip(found.boxes, found.txts, found.scores, strict=True):
            if score < _LEAST_SCORE or not said.strip():
                continue
            xs, ys = [float(p[0]) / _SCALE for p in box], [float(p[1]) / _SCALE for p in box]
            x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
            size = (y1 - y0) / _BOX_BY_SIZE
            text.lines.append(Line(index, x0, y0, x1, y1, y1 - 0.2 * (y1 - y0), size, _plain_capitals(said)))
        _level(text.lines)
        for line in text.lines:
            if _HEADING.match(line.text):
                line.bold, line.bold_lead = 1.0, sum(c != " " for c in line.text)
        return text


def _plain_capitals(said: str) -> str:
    """ "MUTÉ" -> "MUTE": specks over words in capitals are read as accents, and English has none there."""

    def plain(match: re.Match[str]) -> str:
        letters = unicodedata.normalize("NFD", match.group())
        return "".join(c for c in letters if not unicodedata.combining(c))

    return re.sub(r"\b[A-ZÀ-ÖØ-Þ]{3,}\b", plain, said.strip())


def _level(lines: list[Line]) -> None:
    """Sizes of lines differ by what letters they hold: those near the usual one are the usual one."""
    if not lines:
        return
    weight = np.repeat([x.size for x in lines], [max(1, len(x.text)) for x in lines])
    usual = float(np.median(weight))
    for line in lines:
        if abs(line.size - usual) < 0.18 * usual:
            line.size = usual
    lines.sort(key=lambda x: (round(x.base / max(1.0, 0.5 * usual)), x.x0))
