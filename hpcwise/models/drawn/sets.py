"""A place as pictures of a size, and the table that stands in it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import skia

from hpcwise.models.drawn.layout import Box
from hpcwise.models.drawn.paint import Canvas, Image, box, fill, linear
from hpcwise.models.drawn.places import PLACES
from hpcwise.models.drawn.places.base import Layer

UNITS = 400.0


def far_picture(name: str, width_px: int, height_px: int, seed: int = 0) -> Image:
    """What of a place is far, as an image that covers that size."""
    return _picture(PLACES[name].far, PLACES[name].mood(seed), width_px, height_px)


def near_picture(name: str, width_px: int, height_px: int, seed: int = 0) -> Image:
    """What of a place is near; clear where people are."""
    return _picture(PLACES[name].near, PLACES[name].mood(seed), width_px, height_px)


def _picture(layer: Layer, mood: str, width_px: int, height_px: int) -> Image:
    surface = skia.Surface(width_px, height_px)
    canvas = surface.getCanvas()
    canvas.clear(skia.ColorTRANSPARENT)
    scale = min(width_px, height_px) / UNITS
    canvas.scale(scale, scale)
    layer(canvas, width_px / scale, height_px / scale, mood)
    return surface.makeImageSnapshot()


def used_areas(picture: Image) -> tuple[Box, ...]:
    """Where a picture is not clear, as boxes in shares of it that do not overlap."""
    alpha = picture.toarray(colorType=skia.kRGBA_8888_ColorType)[..., 3] > 0
    rows, columns = np.linspace(0, alpha.shape[0], 11), np.linspace(0, alpha.shape[1], 17)
    found: list[Box] = []
    for top, bottom in pairwise(rows):
        left: float | None = None
        for i in range(len(columns)):
            here = i + 1 < len(columns) and bool(
                alpha[int(top) : int(bottom), int(columns[i]) : int(columns[i + 1])].any()
            )
            if here and left is None:
                left = columns[i]
            elif not here and left is not None:
                area = Box(left / columns[-1], top / rows[-1], (columns[i] - left) / columns[-1], 0.1)
                above = next((b for b in found if (b.x, b.width) == (area.x, area.width)), None)
                if above is not None and abs(above.bottom - area.y) < 1e-9:
                    found[found.index(above)] = Box(above.x, above.y, above.width, above.height + 0.1)
                else:
                    found.append(area)
                left = None
    return tuple(found)


def draw_table(canvas: Canvas, name: str, width: float, y: float, height: float) -> None:
    """The table from its far edge at y down; wider than the picture, so that a camera may move."""
    top, front, edge = PLACES[name].table
    canvas.drawRect(box(-width, y, 3 * width, height + 200), linear(0, y, 0, y + 90, top, front))
    canvas.drawRect(box(-width, y, 3 * width, 3.0), fill(edge))
    canvas.drawRect(
        box(-width, y + 3, 3 * width, 12), linear(0, y + 3, 0, y + 15, ("#000000", 0.28), ("#000000", 0.0))
    )
