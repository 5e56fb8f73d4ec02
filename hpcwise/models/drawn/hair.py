"""Hair and headscarves: what falls behind the neck, and what lies on the forehead. Units as in `face`."""

from __future__ import annotations

import functools
from typing import Any

import skia

from hpcwise.models.drawn.looks import Look
from hpcwise.models.drawn.paint import (
    Canvas,
    drawn_shape,
    fill,
    line,
    linear,
    radial,
    recorded,
    shape,
)

_BACKS = {
    "long": "M -52 -26 C -66 14 -74 58 -66 104 C -58 116 -40 118 -32 108 C -24 100 24 100 32 108 "
    "C 40 118 58 116 66 104 C 74 58 66 14 52 -26 C 44 -84 -44 -84 -52 -26 Z",
    "bob": "M -51 -26 C -64 0 -69 34 -60 50 C -50 64 -31 58 -27 44 L 27 44 C 31 58 50 64 60 50 "
    "C 69 34 64 0 51 -26 C 44 -85 -44 -85 -51 -26 Z",
    "scarf": "M 0 -84 C -54 -86 -66 -34 -61 6 C -59 40 -60 66 -76 92 C -44 112 44 112 76 92 "
    "C 60 66 59 40 61 6 C 66 -34 54 -86 0 -84 Z",
}
_FRINGES = {
    "long": "M -50 22 C -60 -24 -54 -80 4 -81 C 58 -80 60 -24 51 24 "
    "C 51 4 47 -14 38 -33 C 22 -24 -4 -27 -20 -46 C -30 -30 -47 -12 -50 22 Z",
    "short": "M -47 -2 C -56 -46 -42 -82 6 -83 C 54 -82 57 -42 47 -2 "
    "C 46 -18 44 -30 38 -38 C 22 -46 2 -40 -16 -48 C -30 -50 -40 -38 -42 -24 C -45 -16 -46 -10 -47 -2 Z",
    "curly": "M -46 -8 C -54 -40 -40 -66 0 -68 C 40 -66 54 -40 46 -8 "
    "C 44 -22 38 -32 28 -38 C 18 -32 8 -36 0 -42 C -8 -36 -20 -32 -28 -38 C -38 -32 -44 -22 -46 -8 Z",
    "parted": "M -47 0 C -58 -42 -46 -80 -4 -81 C 50 -84 60 -40 47 0 "
    "C 47 -14 45 -24 40 -34 C 18 -33 -8 -36 -26 -49 C -31 -38 -45 -28 -47 0 Z",
    "bob": "M -54 46 C -66 -10 -56 -84 0 -84 C 56 -84 66 -10 54 46 C 46 55 37 50 38 40 C 44 22 46 -6 42 -24 "
    "C 28 -16 -28 -16 -42 -24 C -46 -6 -44 22 -38 40 C -37 50 -46 55 -54 46 Z",
    "bun": "M -47 4 C -57 -44 -42 -80 2 -80 C 46 -80 58 -44 47 4 "
    "C 45 -16 42 -30 31 -40 C 18 -46 -2 -42 -12 -48 C -22 -38 -44 -30 -47 4 Z",
    "quiff": "M -46 -4 C -53 -36 -51 -58 -41 -66 C -38 -90 -6 -102 20 -94 C 44 -90 58 -66 50 -44 "
    "C 49 -28 47 -14 46 -4 C 44 -18 42 -28 38 -37 C 24 -40 12 -50 2 -46 C -14 -41 -28 -46 -38 -38 "
    "C -42 -26 -45 -14 -46 -4 Z",
}
#: Strands that catch the light: (path, width, opacity).
_STRANDS = {
    "long": (
        ("M -40 -40 C -26 -66 10 -78 34 -62", 3.4, 0.5),
        ("M -44 -16 C -40 -44 -24 -58 -14 -66", 2.2, 0.4),
    ),
    "short": (
        ("M -30 -62 C -8 -74 18 -74 34 -60", 3.4, 0.5),
        ("M -24 -54 C -6 -64 16 -66 36 -52", 2.0, 0.35),
    ),
    "parted": (("M -22 -66 C 0 -76 28 -72 40 -52", 3.2, 0.55), ("M -14 -58 C 8 -62 32 -56 42 -40", 2.2, 0.4)),
    "bob": (("M -38 -44 C -30 -66 -4 -74 20 -70", 4.0, 0.45), ("M -30 -20 C -20 -40 0 -52 26 -50", 1.8, 0.3)),
    "bun": (("M -34 -46 C -20 -66 12 -74 34 -56", 3.0, 0.7), ("M -38 -30 C -28 -52 4 -64 40 -40", 2.0, 0.5)),
    "quiff": (
        ("M -30 -62 C -22 -80 2 -90 26 -80", 4.0, 0.6),
        ("M -24 -54 C -12 -70 12 -76 38 -62", 2.6, 0.5),
        ("M -14 -50 C 2 -62 22 -62 42 -48", 2.0, 0.4),
    ),
}
_RINGS = (
    (-52, 26, 20), (52, 26, 20), (-60, 2, 23), (60, 2, 23), (-56, -28, 26), (56, -28, 26),
    (-38, -54, 27), (38, -54, 27), (-14, -68, 26), (14, -68, 26), (0, -40, 44),
)  # fmt: skip


def draw_back_hair(canvas: Canvas, look: Look, turn: float) -> None:
    """Hair behind head and neck."""
    canvas.save()
    canvas.translate(-turn * 3.0, 0)
    canvas.drawPicture(_back(look))
    canvas.restore()


def draw_front_hair(canvas: Canvas, look: Look, turn: float) -> None:
    """Hair over the forehead, or the front of a headscarf."""
    canvas.save()
    canvas.translate(turn * 2.4, 0)
    canvas.drawPicture(_front(look))
    canvas.restore()


@functools.lru_cache(maxsize=32)
def _back(look: Look) -> Any:
    def draw(canvas: Canvas) -> None:
        if look.hair == "curly":
            for x, y, r in _RINGS:
                canvas.drawCircle(x, y, r, fill(look.hair_colour))
            for x, y, r in _RINGS[:-1]:
                canvas.drawCircle(x - r * 0.25, y - r * 0.3, r * 0.5, fill(look.hair_light, 0.28))
            return
        # A cap behind the skull, so that no background shows through a parting.
        canvas.drawPath(
            shape("M -46 2 C -58 -42 -48 -80 0 -80 C 48 -80 58 -42 46 2 Z"), fill(look.hair_colour)
        )
        if look.hair == "bun":
            canvas.drawCircle(4, -88, 23, radial(-3, -97, 32, look.hair_light, look.hair_colour))
            canvas.drawPath(shape("M -12 -84 C -4 -100 14 -102 22 -90"), line(look.hair_light, 2.2, 0.8))
        elif look.hair in _BACKS:
            deep = "#1F1210" if look.hair != "scarf" else look.hair_colour
            canvas.drawPath(
                shape(_BACKS[look.hair]), linear(0, -70, 0, 110, look.hair_colour, look.hair_colour, deep)
            )

    return recorded(140, 140, draw)


@functools.lru_cache(maxsize=32)
def _front(look: Look) -> Any:
    def draw(canvas: Canvas) -> None:
        if look.hair == "scarf":
            _scarf(canvas, look)
            return
        canvas.drawPath(
            shape(_FRINGES[look.hair]), linear(-40, -84, 34, 6, look.hair_light, look.hair_colour)
        )
        for path, width, alpha in _STRANDS.get(look.hair, ()):
            canvas.drawPath(shape(path), line(look.hair_light, width, alpha))
        if look.hair == "curly":
            for x, y, r in ((-38, -44, 15), (36, -44, 16), (-19, -53, 18), (19, -52, 17), (0, -56, 18)):
                canvas.drawCircle(x, y, r, fill(look.hair_colour))
                canvas.drawCircle(x - r * 0.25, y - r * 0.3, r * 0.5, fill(look.hair_light, 0.28))

    return recorded(120, 120, draw)


def _scarf(canvas: Canvas, look: Look) -> None:
    """A headscarf around the face; what falls on the shoulders is `clothes.drape`."""
    cloth = linear(-56, -80, 50, 90, look.hair_light, look.hair_colour, look.hair_colour)
    canvas.drawPath(
        _with_hole(
            "M 0 -84 C -56 -84 -64 -30 -58 12 C -54 44 -32 70 0 72 "
            "C 32 70 54 44 58 12 C 64 -30 56 -84 0 -84 Z "
            "M 0 -47 C 33 -47 43 -20 41 6 C 38 34 22 60 0 61 C -22 60 -38 34 -41 6 C -43 -20 -33 -47 0 -47 Z"
        ),
        cloth,
    )
    canvas.drawPath(shape("M 40 -66 C 54 -40 56 -10 50 30"), line("#000000", 1.6, 0.16))
    canvas.drawPath(shape("M -44 46 C -26 70 20 74 44 46"), line("#000000", 2.0, 0.16))
    canvas.drawPath(shape("M -40 -54 C -26 -74 10 -80 34 -66"), line("#FFFFFF", 3.0, 0.3))
    canvas.drawPath(shape("M -38 -18 C -32 -46 32 -46 38 -18"), line("#000000", 1.8, 0.18))
    canvas.drawCircle(46, 50, 4.0, fill(look.accent))
    canvas.drawCircle(44.8, 48.8, 1.4, fill("#FFFFFF", 0.8))


def _with_hole(text: str) -> Any:
    """A path whose inner outline is left out."""
    path = drawn_shape(text)
    path.setFillType(skia.PathFillType.kEvenOdd)
    return path
