"""A picture of a page as a PNG of its own, and the words that stand in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium

from hpcwise.core.document import FigureWord
from hpcwise.models.document.figures import Box
from hpcwise.models.document.glyphs import Line

_MAX_SIDE_PX = 2400


def cut_out(
    page: pdfium.PdfPage, box: Box, width: float, height: float, target: Path
) -> tuple[int, int, Box] | None:
    """Render the box at three pixels a point, trim its white rim, write a PNG.

    Returns width and height in pixels and what is left of the box in points, or None where nothing is drawn
    (no file is written then).
    """
    x0, y0, x1, y1 = max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3])
    scale = min(3.0, _MAX_SIDE_PX / max(x1 - x0, y1 - y0))
    bitmap = page.render(scale=scale, crop=(x0, height - y1, width - x1, y0))
    image = bitmap.to_pil().convert("RGB")
    ink = np.asarray(image).min(axis=2) < 245
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if rows.size < 20 or columns.size < 40:
        return None
    rim = 12
    left, top = max(0, int(columns[0]) - rim), max(0, int(rows[0]) - rim)
    right, bottom = min(image.width, int(columns[-1]) + rim), min(image.height, int(rows[-1]) + rim)
    image = image.crop((left, top, right, bottom))
    beside = target.with_name(target.name + ".part")
    image.save(beside, format="PNG")
    beside.replace(target)
    kept = (x0 + left / scale, y0 + top / scale, x0 + right / scale, y0 + bottom / scale)
    return image.width, image.height, kept


def words_in(lines: Sequence[Line], box: Box) -> tuple[FigureWord, ...]:
    """Words of the lines that lie in the box. A line's letters are taken to be equally wide."""
    wide, tall = box[2] - box[0], box[3] - box[1]
    out: list[FigureWord] = []
    for line in lines:
        if not (box[0] <= (line.x0 + line.x1) / 2 <= box[2] and box[1] <= (line.y0 + line.y1) / 2 <= box[3]):
            continue
        letter = line.width / max(1, len(line.text))
        out += [
            FigureWord(
                text=match.group(),
                left=round(max(0.0, (line.x0 + match.start() * letter - box[0]) / wide), 4),
                top=round(max(0.0, (line.y0 - box[1]) / tall), 4),
                right=round(min(1.0, (line.x0 + match.end() * letter - box[0]) / wide), 4),
                bottom=round(min(1.0, (line.y1 - box[1]) / tall), 4),
            )
            for match in re.finditer(r"\S+", line.text)
        ]
    return tuple(out)
