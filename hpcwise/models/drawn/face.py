"""Heads: skull, hair, eyes, brows, nose and mouth, in units of which a head is about 94 wide.

The origin is the middle of the head. `turn` shifts the features over the skull, which reads as a head
that turns; +1 looks to the right of the picture.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import skia

from hpcwise.models.drawn.looks import Look
from hpcwise.models.drawn.paint import (
    Canvas,
    Path,
    box,
    drawn_shape,
    fill,
    line,
    linear,
    radial,
    recorded,
    rounded,
    shape,
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A face at one instant. mouth: opening, width, rounding, teeth, tongue; the others as in `Acting`."""

    mouth: tuple[float, float, float, float, float]
    blink: float
    gaze: float
    turn: float
    brows: float
    smile: float


def draw_head(canvas: Canvas, look: Look, face: Expression) -> None:
    """The head and all that is on it, but the hair that falls behind the neck (`draw_back_hair`)."""
    shift = face.turn * 8.5
    for side in (-1, 1):
        # The ear on the far side hides behind the cheek.
        canvas.drawOval(box(side * 45 - 8 - shift * 0.45, -4, 16, 26), fill(look.shade))
        canvas.drawOval(box(side * 45 - 4 - shift * 0.45, 2, 8, 14), fill(look.skin, 0.65))
    canvas.drawPicture(_skull(look))
    canvas.save()
    canvas.clipPath(_head(look.jaw), doAntiAlias=True)
    if look.beard:
        _beard(canvas, look, shift)
    for side in (-1, 1):
        canvas.drawOval(box(shift + side * 27 - 13, 13, 26, 16), _blush(look.blush, shift + side * 27))
    canvas.restore()
    for side in (-1, 1):
        _eye(canvas, look, face, side, shift)
        _brow(canvas, look, face, side, shift)
    _nose(canvas, look, shift, face.turn)
    _mouth(canvas, look, face, shift)
    _front_hair(canvas, look, face.turn)
    if look.glasses:
        _glasses(canvas, shift, face.turn)


def draw_back_hair(canvas: Canvas, look: Look, turn: float) -> None:
    """Hair behind head and neck."""
    canvas.save()
    canvas.translate(-turn * 3.0, 0)
    if look.hair != "curly":
        # A cap behind the skull, so that no background shows through a parting.
        canvas.drawPath(
            shape("M -46 2 C -58 -42 -48 -80 0 -80 C 48 -80 58 -42 46 2 Z"), fill(look.hair_colour)
        )
    if look.hair == "long":
        canvas.drawPicture(_long_back(look))
    elif look.hair == "curly":
        canvas.drawPicture(_curls(look))
    canvas.restore()


@functools.lru_cache(maxsize=32)
def _head(jaw: float) -> Path:
    j, cheek = 27 * jaw, 44 * jaw**0.5
    # The chin's curve goes on in the direction in which the jaw's ends: no corner between them.
    chin = 51 + j * 0.5 * 17 / (cheek - j)
    return shape(
        f"M -46 -16 C -47 -70 47 -70 46 -16 C 47 10 {cheek} 34 {j} 51 C {j * 0.5} {chin} {-j * 0.5} {chin} "
        f"{-j} 51 C {-cheek} 34 -47 10 -46 -16 Z"
    )


@functools.lru_cache(maxsize=32)
def _skull(look: Look) -> Any:
    def draw(canvas: Canvas) -> None:
        canvas.drawPath(_head(look.jaw), radial(-14, -22, 96, look.light, look.skin, look.skin, look.shade))
        canvas.save()
        canvas.clipPath(_head(look.jaw), doAntiAlias=True)
        # Light comes from the upper left: a soft shade on the right cheek and under the hair.
        canvas.drawRect(box(8, -70, 44, 140), linear(8, 0, 52, 0, (look.shade, 0.0), (look.shade, 0.55)))
        canvas.drawRect(box(-50, -60, 100, 34), linear(0, -46, 0, -26, (look.shade, 0.7), (look.shade, 0.0)))
        canvas.restore()

    return recorded(120, 120, draw)


@functools.lru_cache(maxsize=256)
def _blush_at(strength: float, x: int) -> Any:
    return radial(x, 21, 14, ("#E4685C", strength), ("#E4685C", 0.0))


def _blush(strength: float, x: float) -> Any:
    return _blush_at(strength, round(x))


def _beard(canvas: Canvas, look: Look, shift: float) -> None:
    s = shift * 0.75
    canvas.drawPath(
        drawn_shape(
            f"M -56 -4 C -47 4 -42 18 -34 24 C -24 27 {-17 + s} 22.5 {-11 + s} 22.5 "
            f"C {-5 + s} 24.5 {5 + s} 24.5 {11 + s} 22.5 "
            f"C {17 + s} 22.5 24 27 34 24 C 42 18 47 4 56 -4 L 60 80 L -60 80 Z"
        ),
        fill("#2A1C15", 0.9),
    )
    canvas.drawOval(box(s - 17, 27, 34, 18), fill(look.skin, 0.22))


def _eye(canvas: Canvas, look: Look, face: Expression, side: int, shift: float) -> None:
    near = 1.0 - 0.13 * max(0.0, side * face.turn)
    x, y = shift + side * 19.5 * (1 - 0.04 * abs(face.turn)), -3.0
    half, high = 10.6 * near, 8.6 * (1 - face.blink)
    if face.blink < 0.86:
        eye = drawn_shape(
            f"M {x - half} {y + 1.5} "
            f"C {x - half * 0.6} {y - high} {x + half * 0.6} {y - high} {x + half} {y + 1.5} "
            f"C {x + half * 0.5} {y + high * 0.82} {x - half * 0.5} {y + high * 0.82} {x - half} {y + 1.5} Z"
        )
        canvas.drawPath(eye, fill("#FCF9F5"))
        canvas.save()
        canvas.clipPath(eye, doAntiAlias=True)
        iris = x + face.gaze * 4.6
        canvas.drawCircle(iris, y - 0.4, 6.2, fill(look.iris))
        canvas.drawCircle(iris, y - 0.4, 3.1, fill("#0E0908"))
        canvas.drawCircle(iris - 2.1, y - 2.9, 1.7, fill("#FFFFFF"))
        canvas.drawRect(box(x - 14, y - 12, 28, 12 - high * 0.62), fill("#43251A", 0.28))
        canvas.restore()
    lid = drawn_shape(
        f"M {x - half} {y + 1.5} C {x - half * 0.6} {y - high + face.blink * 4} {x + half * 0.6} "
        f"{y - high + face.blink * 4} {x + half} {y + 1.5}"
    )
    canvas.drawPath(lid, line(look.hair_colour if look.lashes else "#2B1C17", 2.7 if look.lashes else 2.0))
    if look.lashes:
        canvas.drawLine(
            x + side * half, y + 1.5, x + side * (half + 3.4), y - 1.8, line(look.hair_colour, 2.0)
        )


def _brow(canvas: Canvas, look: Look, face: Expression, side: int, shift: float) -> None:
    x, y = shift + side * 19.5, -19.5 - face.brows * 4.6
    inner, outer = x - side * 10.5, x + side * 11.5
    canvas.drawPath(
        drawn_shape(f"M {inner} {y + 1.5} Q {x + side * 2} {y - 4.5} {outer} {y + 2.8}"),
        line(look.hair_colour if look.hair != "parted" else "#6E7076", look.brow),
    )


def _nose(canvas: Canvas, look: Look, shift: float, turn: float) -> None:
    x, lean = shift * 1.25, 1.0 if turn >= 0 else -1.0
    canvas.drawPath(
        drawn_shape(
            f"M {x + lean * 2.5} 2 Q {x + lean * 7.5} 13 {x + lean * 4.5} 16.8 "
            f"Q {x} 19.6 {x - lean * 4.5} 16.6"
        ),
        line(look.shade, 2.4),
    )
    canvas.drawOval(box(x - 3.4 - lean, 8, 5, 6), fill(look.light, 0.55))


def _mouth(canvas: Canvas, look: Look, face: Expression, shift: float) -> None:
    opening, width, rounding, teeth, tongue = face.mouth
    x, y = shift * 0.95, 35.0
    closed = (1 - min(1.0, opening * 1.6)) * (1 - rounding)
    half = 16.0 * width * (1 - 0.12 * rounding) + 1.6 * face.smile * closed
    gap, smile = opening * 14.5, (1.4 + 3.0 * face.smile) * closed
    up, low = 2.0 + gap * 0.24 + rounding * 1.8, gap * 0.92 + 2.3 + rounding * 1.8
    lips = drawn_shape(
        f"M {x - half} {y - smile} "
        f"C {x - half * 0.55} {y - up * 1.3} {x - half * 0.18} {y - up * 1.45} {x} {y - up * 0.95} "
        f"C {x + half * 0.18} {y - up * 1.45} {x + half * 0.55} {y - up * 1.3} {x + half} {y - smile} "
        f"C {x + half * 0.66} {y + low * 1.25} {x - half * 0.66} {y + low * 1.25} {x - half} {y - smile} Z"
    )
    canvas.drawPath(lips, fill(look.lip))
    if gap <= 1.1:
        canvas.drawPath(
            drawn_shape(f"M {x - half} {y - smile} Q {x} {y + 1.4 + smile * 0.5} {x + half} {y - smile}"),
            line("#5E2022", 1.5, 0.9),
        )
        return
    wide, top, bottom = half - 2.6, max(0.3, up - 2.1), max(0.6, low - 2.9)
    inside = drawn_shape(
        f"M {x - wide} {y - smile * 0.8} "
        f"C {x - wide * 0.5} {y - top * 1.4} {x + wide * 0.5} {y - top * 1.4} {x + wide} {y - smile * 0.8} "
        f"C {x + wide * 0.66} {y + bottom * 1.25} {x - wide * 0.66} {y + bottom * 1.25} "
        f"{x - wide} {y - smile * 0.8} Z"
    )
    canvas.drawPath(inside, fill("#3C1015"))
    canvas.save()
    canvas.clipPath(inside, doAntiAlias=True)
    canvas.drawOval(
        box(x - wide * 0.62, y + bottom * 0.92 - 5 - 3 * tongue, wide * 1.24, 12), fill("#CB5B5E")
    )
    if teeth > 0.12:
        canvas.drawRRect(
            rounded(
                x - wide * 0.8, y - top * 1.4 - 4, wide * 1.6, 4 + top + min(4.4, 1.2 + gap * 0.3) * teeth, 3
            ),
            fill("#F8F4EE"),
        )
    canvas.restore()


@functools.lru_cache(maxsize=16)
def _long_back(look: Look) -> Any:
    return recorded(
        140,
        140,
        lambda c: c.drawPath(
            shape(
                "M -52 -26 C -66 14 -74 58 -66 104 C -58 116 -40 118 -32 108 "
                "C -24 100 24 100 32 108 C 40 118 58 116 66 104 "
                "C 74 58 66 14 52 -26 C 44 -84 -44 -84 -52 -26 Z"
            ),
            linear(0, -70, 0, 110, look.hair_colour, look.hair_colour, "#1F1210"),
        ),
    )


@functools.lru_cache(maxsize=16)
def _curls(look: Look) -> Any:
    def draw(canvas: Canvas) -> None:
        rings = [
            (-52, 26, 20),
            (52, 26, 20),
            (-60, 2, 23),
            (60, 2, 23),
            (-56, -28, 26),
            (56, -28, 26),
            (-38, -54, 27),
            (38, -54, 27),
            (-14, -68, 26),
            (14, -68, 26),
            (0, -40, 44),
        ]
        for x, y, r in rings:
            canvas.drawCircle(x, y, r, fill(look.hair_colour))
        for x, y, r in rings[:-1]:
            canvas.drawCircle(x - r * 0.25, y - r * 0.3, r * 0.5, fill(look.hair_light, 0.28))

    return recorded(120, 120, draw)


_FRINGES = {
    "long": "M -50 22 C -60 -24 -54 -80 4 -81 C 58 -80 60 -24 51 24 "
    "C 51 4 47 -14 38 -33 C 22 -24 -4 -27 -20 -46 "
    "C -30 -30 -47 -12 -50 22 Z",
    "short": "M -47 -2 C -56 -46 -42 -82 6 -83 C 54 -82 57 -42 47 -2 "
    "C 46 -18 44 -30 38 -38 C 22 -46 2 -40 -16 -48 "
    "C -30 -50 -40 -38 -42 -24 C -45 -16 -46 -10 -47 -2 Z",
    "curly": "M -46 -8 C -54 -40 -40 -66 0 -68 C 40 -66 54 -40 46 -8 "
    "C 44 -22 38 -32 28 -38 C 18 -32 8 -36 0 -42 "
    "C -8 -36 -20 -32 -28 -38 C -38 -32 -44 -22 -46 -8 Z",
    "parted": "M -47 0 C -58 -42 -46 -80 -4 -81 C 50 -84 60 -40 47 0 "
    "C 47 -14 45 -24 40 -34 C 18 -34 -8 -38 -26 -58 "
    "C -30 -42 -46 -30 -47 0 Z",
}


@functools.lru_cache(maxsize=16)
def _fringe(look: Look) -> Any:
    def draw(canvas: Canvas) -> None:
        canvas.drawPath(
            shape(_FRINGES[look.hair]), linear(-40, -84, 34, 6, look.hair_light, look.hair_colour)
        )
        if look.hair != "curly":
            canvas.drawPath(shape("M -30 -62 C -8 -74 18 -74 34 -60"), line(look.hair_light, 3.4, 0.5))
            canvas.drawPath(shape("M -24 -54 C -6 -64 16 -66 36 -52"), line(look.hair_light, 2.0, 0.35))
        else:
            for x, y, r in ((-38, -44, 15), (36, -44, 16), (-19, -53, 18), (19, -52, 17), (0, -56, 18)):
                canvas.drawCircle(x, y, r, fill(look.hair_colour))
                canvas.drawCircle(x - r * 0.25, y - r * 0.3, r * 0.5, fill(look.hair_light, 0.28))

    return recorded(120, 120, draw)


def _front_hair(canvas: Canvas, look: Look, turn: float) -> None:
    canvas.save()
    canvas.translate(turn * 2.4, 0)
    canvas.drawPicture(_fringe(look))
    canvas.restore()


def _glasses(canvas: Canvas, shift: float, turn: float) -> None:
    for side in (-1, 1):
        wide = 28 * (1.0 - 0.1 * max(0.0, side * turn))
        x = shift * 1.06 + side * 19.5 - wide / 2
        canvas.drawRRect(rounded(x, -14, wide, 23, 8), fill("#CFE8FF", 0.12))
        canvas.drawRRect(rounded(x, -14, wide, 23, 8), line("#17120F", 2.5))
        canvas.drawLine(x + 5, -9, x + 10, -12, line("#FFFFFF", 1.6, 0.5))
        edge = x + (wide if side > 0 else 0)
        canvas.drawLine(edge, -6, side * 45 - shift * 0.4, -5, line("#17120F", 2.2))
    canvas.drawPath(
        drawn_shape(f"M {shift * 1.06 - 6} -5 Q {shift * 1.06} -9 {shift * 1.06 + 6} -5"),
        line("#17120F", 2.3),
    )


def head_outline() -> Any:
    """Bounds of a head with any hair, for layouts: left, top, right, bottom."""
    return skia.Rect.MakeLTRB(-84, -98, 84, 62)
