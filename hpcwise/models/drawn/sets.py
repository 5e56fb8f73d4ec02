"""A place as pictures of a size, and the table that stands in it."""

from __future__ import annotations

import skia

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


def draw_table(canvas: Canvas, name: str, width: float, y: float, height: float) -> None:
    """The table from its far edge at y down; wider than the picture, so that a camera may move."""
    top, front, edge = PLACES[name].table
    canvas.drawRect(box(-width, y, 3 * width, height + 200), linear(0, y, 0, y + 90, top, front))
    canvas.drawRect(box(-width, y, 3 * width, 3.0), fill(edge))
    canvas.drawRect(
        box(-width, y + 3, 3 * width, 12), linear(0, y + 3, 0, y + 15, ("#000000", 0.28), ("#000000", 0.0))
    )
