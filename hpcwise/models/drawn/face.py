"""Heads: skull, hair, eyes, brows, nose and mouth, in units of which a head is about 94 wide.

The origin is the middle of the head. `turn` shifts the features over the skull, which reads as a head
that turns; +1 looks to the right of the picture.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from hpcwise.models.drawn.hair import draw_front_hair
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
    shift = face.turn * 10.5
    canvas.save()
    # The lower half of a head that turns goes ahead of the crown.
    canvas.skew(face.turn * 0.05, 0.0)
    for side in (-1, 1) if look.hair not in ("scarf", "bob") else ():
        _ear(canvas, look, side, side * 45 - shift * 0.45)
    canvas.drawPicture(_skull(look))
    canvas.save()
    canvas.clipPath(_head(look.jaw), doAntiAlias=True)
    if look.beard:
        _beard(canvas, look, shift)
    for side in (-1, 1):
        canvas.drawOval(box(shift + side * 27 - 13, 13, 26, 16), _blush(look.blush, shift + side * 27))
    if look.freckles:
        canvas.save()
        canvas.translate(shift, 0)
        canvas.drawPicture(_freckles(look))
        canvas.restore()
    canvas.restore()
    for side in (-1, 1):
        _eye(canvas, look, face, side, shift)
        _brow(canvas, look, face, side, shift)
    _nose(canvas, look, shift, face.turn)
    _mouth(canvas, look, face, shift)
    if look.age:
        _lines(canvas, look, face, shift)
    draw_front_hair(canvas, look, face.turn)
    if look.glasses or look.round_glasses:
        _glasses(canvas, look, shift, face.turn)
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
        canvas.drawOval(box(-33, -8, 26, 30), radial(-20, 8, 20, (look.light, 0.55), (look.light, 0.0)))
        canvas.drawRect(box(-50, 40, 100, 30), linear(0, 44, 0, 66, (look.shade, 0.0), (look.shade, 0.6)))
        # The light behind draws the right edge.
        canvas.drawPath(_head(look.jaw), line("#FFF1DC", 3.4, 0.16))
        canvas.restore()

    return recorded(120, 120, draw)


@functools.lru_cache(maxsize=256)
def _blush_at(strength: float, x: int) -> Any:
    return radial(x, 21, 14, ("#E4685C", strength), ("#E4685C", 0.0))


def _blush(strength: float, x: float) -> Any:
    return _blush_at(strength, round(x))


def _ear(canvas: Canvas, look: Look, side: int, x: float) -> None:
    """One ear; that on the far side hides behind the cheek."""
    canvas.drawOval(box(x - 8.5, -5, 17, 27), fill(look.skin if side < 0 else look.shade))
    canvas.drawOval(box(x - 5 + side * 0.5, 0, 9, 17), fill(look.shade, 0.75))
    canvas.drawOval(box(x - 4 - side, 2, 6, 12), fill(look.skin, 0.6))
    if look.earrings:
        canvas.drawCircle(x + side * 2, 25.5, 3.6, fill("#E9BE4C"))
        canvas.drawCircle(x + side * 2 - 1.2, 24.3, 1.2, fill("#FFF6D8"))


@functools.lru_cache(maxsize=8)
def _freckles(look: Look) -> Any:
    def draw(canvas: Canvas) -> None:
        for i, (x, y) in enumerate(((0, 0), (6, 3), (-6, 4), (2, 8), (10, -2), (-9, 10), (8, 9), (-3, 13))):
            for side in (-1, 1):
                canvas.drawCircle(
                    side * (24 + x * 0.9),
                    13 + y + 1.5 * side,
                    1.0 + 0.12 * (i % 3),
                    fill(look.hair_colour, 0.34),
                )
        for x, y in ((-4, 8), (3, 5), (5, 10)):
            canvas.drawCircle(x, y, 1.05, fill(look.hair_colour, 0.38))

    return recorded(60, 40, draw)


def _lines(canvas: Canvas, look: Look, face: Expression, shift: float) -> None:
    """What years of laughing leave: beside the mouth and at the corners of the eyes."""
    for side in (-1, 1):
        x = shift * 0.95
        canvas.drawPath(
            drawn_shape(f"M {x + side * 14} 20 Q {x + side * 23} 26 {x + side * (21 + face.smile)} 36"),
            line(look.shade, 1.8, 0.7 * look.age),
        )
        corner = shift + side * 31
        canvas.drawLine(corner, -4, corner + side * 5, -7, line(look.shade, 1.5, 0.7 * look.age))
        canvas.drawLine(corner, 0, corner + side * 5, 1, line(look.shade, 1.5, 0.7 * look.age))


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
    canvas.drawOval(box(s - 17, 27, 34, 18), fill(look.skin, 0.12))


def _eye(canvas: Canvas, look: Look, face: Expression, side: int, shift: float) -> None:
    near = 1.0 - 0.13 * max(0.0, side * face.turn)
    x, y = shift + side * 19.5 * (1 - 0.04 * abs(face.turn)), -3.0
    # A real smile narrows the eyes, a surprise widens them.
    wide = 1 - 0.1 * max(0.0, face.smile - 0.6) + 0.1 * max(0.0, face.brows)
    half, high = 10.8 * near, 8.8 * (1 - face.blink) * wide
    canvas.drawOval(box(x - 13 * near, y - 9, 26 * near, 20), fill(look.shade, 0.22))
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
        canvas.drawCircle(iris, y - 0.4, 6.4, fill("#140D0A", 0.8))
        canvas.drawCircle(iris, y - 0.4, 5.6, fill(look.iris))
        canvas.drawOval(box(iris - 3.8, y + 0.6, 7.6, 4.2), fill("#FFFFFF", 0.2))
        canvas.drawCircle(iris, y - 0.4, 3.0, fill("#0E0908"))
        canvas.drawCircle(iris - 2.1, y - 2.9, 1.8, fill("#FFFFFF"))
        canvas.drawCircle(iris + 2.4, y + 1.8, 0.9, fill("#FFFFFF", 0.7))
        canvas.drawRect(box(x - 14, y - 12, 28, 12 - high * 0.62), fill("#43251A", 0.28))
        canvas.restore()
    lid = drawn_shape(
        f"M {x - half} {y + 1.5} C {x - half * 0.6} {y - high + face.blink * 4} {x + half * 0.6} "
        f"{y - high + face.blink * 4} {x + half} {y + 1.5}"
    )
    dark = _dark(look)
    canvas.drawPath(lid, line(dark, 2.8 if look.lashes else 2.0))
    fold = drawn_shape(
        f"M {x - half * 0.8} {y - high * 0.72 - 2.6} "
        f"Q {x} {y - high * 0.95 - 4.2} {x + half * 0.84} {y - high * 0.6 - 2.2}"
    )
    canvas.drawPath(fold, line(look.shade, 1.5, 0.8))
    if look.lashes:
        canvas.drawLine(x + side * half, y + 1.5, x + side * (half + 3.6), y - 2.2, line(dark, 2.0))
        canvas.drawLine(x + side * half * 0.86, y - 1.5, x + side * (half + 2.0), y - 5.2, line(dark, 1.6))


def _dark(look: Look) -> str:
    """The colour of lashes and lids: dark, whatever the hair."""
    return look.hair_colour if look.hair in ("long", "curly", "short") else "#2B1C17"


def _brow(canvas: Canvas, look: Look, face: Expression, side: int, shift: float) -> None:
    # Raised in surprise, drawn together in doubt; the outer one leads when a question is asked.
    lift = face.brows * (4.6 if face.brows > 0 else 2.4)
    x, y = shift + side * 19.5, -19.5 - lift
    pinch = max(0.0, -face.brows) * 2.6
    inner, outer = x - side * (10.5 + pinch * 0.5), x + side * 11.5
    colour = {"parted": "#6E7076", "bun": "#8B8680", "scarf": "#2A1B16"}.get(look.hair, look.hair_colour)
    brow = drawn_shape(
        f"M {inner} {y + 1.2 + pinch - look.brow * 0.3} Q {x + side * 2} {y - 4.8} {outer} {y + 3.0} "
        f"Q {x + side * 2} {y - 4.8 + look.brow * 0.9} {inner} {y + 1.2 + pinch + look.brow * 0.5} Z"
    )
    canvas.drawPath(brow, fill(colour))
    canvas.drawPath(brow, line(colour, 1.2))


def _nose(canvas: Canvas, look: Look, shift: float, turn: float) -> None:
    x, lean = shift * 1.25, 1.0 if turn >= 0 else -1.0
    canvas.drawPath(
        drawn_shape(f"M {x + lean} -6 Q {x + lean * 8} 10 {x + lean * 6} 17 Q {x} 20.5 {x - lean * 2} 16 Z"),
        fill(look.shade, 0.35),
    )
    canvas.drawPath(
        drawn_shape(
            f"M {x + lean * 2.5} 3 Q {x + lean * 7.5} 13 {x + lean * 4.5} 16.8 "
            f"Q {x} 19.6 {x - lean * 4.5} 16.6"
        ),
        line(look.shade, 2.3),
    )
    canvas.drawOval(box(x - 3.4 - lean, 8, 5, 6), fill(look.light, 0.6))


def _mouth(canvas: Canvas, look: Look, face: Expression, shift: float) -> None:
    opening, width, rounding, teeth, tongue = face.mouth
    x, y = shift * 0.95, 35.0
    closed = (1 - min(1.0, opening * 1.6)) * (1 - rounding)
    half = 16.0 * width * (1 - 0.12 * rounding) + 1.6 * face.smile * closed
    gap, smile = opening * 14.5, (1.4 + 3.0 * face.smile) * max(closed, 0.5 * (1 - rounding))
    up, low = 2.0 + gap * 0.24 + rounding * 1.8, gap * 0.92 + 2.3 + rounding * 1.8
    lips = drawn_shape(
        f"M {x - half} {y - smile} "
        f"C {x - half * 0.55} {y - up * 1.3} {x - half * 0.18} {y - up * 1.45} {x} {y - up * 0.95} "
        f"C {x + half * 0.18} {y - up * 1.45} {x + half * 0.55} {y - up * 1.3} {x + half} {y - smile} "
        f"C {x + half * 0.66} {y + low * 1.25} {x - half * 0.66} {y + low * 1.25} {x - half} {y - smile} Z"
    )
    canvas.drawPath(lips, fill(look.lip))
    canvas.drawOval(
        box(x - half * 0.42, y + low * 0.74, half * 0.84, 2.4), fill("#FFFFFF", 0.1 if look.beard else 0.2)
    )
    canvas.drawOval(box(x - 9, y + low + 3.5, 18, 4), fill(look.shade, 0.4))
    if closed > 0.4 and face.smile > 0.5:
        for side in (-1, 1):  # the corners of a smile
            corner = x + side * (half + 1.5)
            canvas.drawPath(
                drawn_shape(
                    f"M {corner} {y - smile - 3} Q {corner + side * 3} {y - smile} "
                    f"{corner + side * 1.5} {y - smile + 3}"
                ),
                line(look.shade, 1.7, 0.8),
            )
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
                x - wide * 0.68,
                y - top * 1.4 - 4,
                wide * 1.36,
                4 + top + min(4.4, 1.2 + gap * 0.3) * teeth,
                3,
            ),
            fill("#F8F4EE"),
        )
    canvas.restore()


def _glasses(canvas: Canvas, look: Look, shift: float, turn: float) -> None:
    frame = "#17120F" if look.glasses else "#8A5A2B"
    round_by = 8.0 if look.glasses else 13.0
    tall = 23.0 if look.glasses else 27.0
    for side in (-1, 1):
        wide = 28 * (1.0 - 0.1 * max(0.0, side * turn))
        x, y = shift * 1.06 + side * 19.5 - wide / 2, -3 - tall / 2
        canvas.drawRRect(rounded(x, y, wide, tall, round_by), fill("#CFE8FF", 0.12))
        canvas.drawRRect(rounded(x, y, wide, tall, round_by), line(frame, 2.5 if look.glasses else 2.0))
        canvas.drawLine(x + 5, y + 6, x + 10, y + 3, line("#FFFFFF", 1.6, 0.5))
        edge = x + (wide if side > 0 else 0)
        canvas.drawLine(edge, -6, side * 45 - shift * 0.4, -5, line(frame, 2.2))
    canvas.drawPath(
        drawn_shape(f"M {shift * 1.06 - 6} -5 Q {shift * 1.06} -9 {shift * 1.06 + 6} -5"),
        line(frame, 2.3),
    )
