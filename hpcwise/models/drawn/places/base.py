"""What every place has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import skia

from hpcwise.models.drawn.paint import Canvas, box, fill, linear, radial

#: Draws on a canvas of (width, height) units; the last argument is the mood.
Layer = Callable[[Canvas, float, float, str], None]
#: As a layer, with the time in seconds before the mood.
Life = Callable[[Canvas, float, float, float, str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """far covers the picture, near leaves it clear where people are; both are drawn once a film.

    table: colours of its top, far, near and edge. ground: three colours of cards, from corner to corner.
    props: what stands on the table between two people, the origin in the middle of its far edge.
    """

    far: Layer
    near: Layer
    life: Life
    props: Callable[[Canvas], None]
    moods: tuple[str, ...]
    table: tuple[str, str, str]
    ground: tuple[str, str, str]

    def mood(self, seed: int) -> str:
        """The mood that a film's seed chooses."""
        return self.moods[seed % len(self.moods)]


def vignette(canvas: Canvas, width: float, height: float, code: str, strength: float) -> None:
    """Darker corners."""
    reach = math.hypot(width, height) * 0.62
    paint = radial(width / 2, height * 0.45, reach, (code, 0.0), (code, strength * 0.08), (code, strength))
    canvas.drawRect(box(0, 0, width, height), paint)


def shadow_below(canvas: Canvas, x: float, y: float, width: float, tall: float = 12.0) -> None:
    """A soft shadow under an edge."""
    canvas.drawRect(box(x, y, width, tall), linear(0, y, 0, y + tall, ("#000000", 0.32), ("#000000", 0.0)))


def cloud(canvas: Canvas, x: float, y: float, size: float, code: str, alpha: float) -> None:
    """A round cloud, its flat base at y."""
    shape = skia.Path()
    for dx, dy, r in ((-26, -6, 12), (-10, -14, 17), (10, -11, 15), (27, -5, 11)):
        shape.addCircle(x + dx * size, y + dy * size, r * size)
    shape.addRect(box(x - 30 * size, y - 9 * size, 60 * size, 10 * size))
    canvas.drawPath(shape, fill(code, alpha))


def passing(time_s: float, period_s: float, offset_s: float, from_x: float, to_x: float) -> float:
    """Where something is that crosses the picture every `period_s` seconds."""
    share = ((time_s + offset_s) % period_s) / period_s
    return from_x + (to_x - from_x) * share
