"""Torso, arms and hands. The origin is the neck's base; y grows downwards; a table lies at y = TABLE_Y."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from hpcwise.models.drawn.looks import Look
from hpcwise.models.drawn.motion import Gesture, lift
from hpcwise.models.drawn.paint import Canvas, drawn_shape, fill, line, linear, recorded, shape

#: The far edge of the table, where a torso vanishes behind it.
TABLE_Y = 158.0
FOREARM = 70.0


@dataclass(frozen=True, slots=True)
class _Arm:
    """One arm's pose for the right-hand side (the left is mirrored): elbow, forearm's angle, fingers.

    Angles in degrees, clockwise from outwards; they grow from rest (146, inwards on the table) over the
    chest (200) to beside the shoulder (290), so that blending two poses never swings through the body.
    """

    elbow_x: float
    elbow_y: float
    angle: float
    spread: float
    length: float


_REST = _Arm(99.0, 124.0, 143.0, 0.3, 0.62)
_NEAR = _Arm(106.0, 128.0, 281.0, 1.0, 1.0)
_FAR = _Arm(110.0, 122.0, 302.0, 1.2, 1.0)
_COUNT = _Arm(104.0, 130.0, 256.0, 0.25, 0.8)
_OFFER = _Arm(102.0, 128.0, 212.0, 0.8, 1.0)
#: The leading hand's pose and the other's, if that moves too.
_POSES: dict[str, tuple[_Arm, _Arm]] = {
    "open_near": (_NEAR, _REST),
    "open_far": (_FAR, _REST),
    "both": (_NEAR, _NEAR),
    "count": (_COUNT, _REST),
    "offer": (_OFFER, _OFFER),
}


def draw_torso(canvas: Canvas, look: Look, breath: float) -> None:
    """Neck and clothes, down to below the table."""
    canvas.save()
    canvas.translate(0, -breath * 0.9)
    canvas.scale(1 + breath * 0.006, 1)
    canvas.drawPicture(_torso(look))
    canvas.restore()


def draw_arms(
    canvas: Canvas, look: Look, gestures: tuple[Gesture, ...], time_s: float, sway: float, lead: int
) -> None:
    """Both arms over the table. lead: the side (1 right, -1 left of the picture) that gestures first."""
    moving = next((g for g in gestures if g.start_s < time_s < g.end_s), None)
    share = lift(moving, time_s) if moving else 0.0
    for side in (-lead, lead):
        goal = _POSES[moving.kind][0 if side == lead else 1] if moving else _REST
        pose = _Arm(
            *(getattr(_REST, f) + (getattr(goal, f) - getattr(_REST, f)) * share for f in _Arm.__slots__)
        )
        # A raised hand beats time with the voice.
        beat = math.sin(time_s * 8.2) * 3.0 * share if goal is not _REST else 0.0
        _draw_arm(canvas, look, side, pose, beat, sway)


def _draw_arm(canvas: Canvas, look: Look, side: int, pose: _Arm, beat: float, sway: float) -> None:
    """An arm from shoulder to fingers."""
    sx, sy = look.shoulders - 17.0, 36.0
    ex, ey = pose.elbow_x + look.shoulders - 90.0, pose.elbow_y + sway
    angle = math.radians(pose.angle + beat)
    canvas.save()
    canvas.scale(side, 1)
    edge = line(look.top_shade, 2.2, 0.85)
    sleeve = fill(look.top_colour)
    _limb(canvas, sx, sy, 18.0, ex, ey, 15.0, sleeve, edge)
    wx, wy = ex + (FOREARM - 12) * math.cos(angle), ey + (FOREARM - 12) * math.sin(angle)
    _hand(canvas, look, wx, wy, angle, pose.spread, pose.length)
    _limb(canvas, ex, ey, 15.0, wx, wy, 11.0, sleeve, edge)
    nx, ny = -math.sin(angle) * 9.6, math.cos(angle) * 9.6
    canvas.drawLine(
        wx - nx, wy - ny, wx + nx, wy + ny, line(look.accent if look.top == "blazer" else look.top_shade, 4.0)
    )
    canvas.restore()


def _limb(
    canvas: Canvas, x0: float, y0: float, r0: float, x1: float, y1: float, r1: float, paint: Any, edge: Any
) -> None:
    """A tapered sleeve between two joints."""
    angle = math.atan2(y1 - y0, x1 - x0)
    nx, ny = -math.sin(angle), math.cos(angle)
    hull = drawn_shape(
        f"M {x0 + nx * r0} {y0 + ny * r0} L {x1 + nx * r1} {y1 + ny * r1} "
        f"L {x1 - nx * r1} {y1 - ny * r1} L {x0 - nx * r0} {y0 - ny * r0} Z"
    )
    canvas.drawCircle(x1, y1, r1, edge)
    canvas.drawPath(hull, edge)
    canvas.drawCircle(x0, y0, r0, paint)
    canvas.drawCircle(x1, y1, r1, paint)
    canvas.drawPath(hull, paint)


def _hand(canvas: Canvas, look: Look, x: float, y: float, angle: float, spread: float, length: float) -> None:
    """Palm, four fingers and a thumb along `angle`."""
    canvas.save()
    canvas.translate(x, y)
    canvas.rotate(math.degrees(angle))
    # Raised, the thumb points to the body; on the table, to its owner: the same side of the forearm.
    canvas.scale(1.18, 1.18)
    skin, edge = line(look.skin, 6.0), line(look.shade, 7.6)
    fingers = []
    for i, reach in enumerate((13.0, 16.5, 17.0, 14.5)):
        bend = (i - 1.5) * 0.21 * spread
        base = (i - 1.5) * 4.4
        fingers.append(
            (
                17.0,
                base,
                17.0 + reach * length * math.cos(bend),
                base + reach * length * math.sin(bend) + base * 0.12,
            )
        )
    out = 0.45 + 0.55 * spread
    thumb = (6.0, -7.0, 14.0 + 1.5 * spread, -7.0 - 10.5 * out)
    canvas.drawPath(_palm(), line(look.shade, 1.6))
    for f in (*fingers, thumb):
        canvas.drawLine(*f, edge)
    canvas.drawPath(_palm(), fill(look.skin))
    for f in (*fingers, thumb):
        canvas.drawLine(*f, skin)
    canvas.restore()


def _palm() -> Any:
    return shape("M -4 -7.5 C 4 -10 14 -10.5 19 -9 C 22 -4 22 4 19 9 C 14 10.5 4 10 -4 7.5 Z")


@functools.lru_cache(maxsize=16)
def _torso(look: Look) -> Any:
    return recorded(220, 320, lambda canvas: _draw_torso(canvas, look))


def _draw_torso(canvas: Canvas, look: Look) -> None:
    w = look.shoulders
    neck = 15.5 + 4.0 * (look.jaw - 0.9) / 0.14
    canvas.drawPath(
        shape(
            f"M {-neck} -46 L {-neck - 1} -8 C {-neck - 4} 4 {-neck - 14} 8 -34 12 L 34 12 "
            f"C {neck + 14} 8 {neck + 4} 4 {neck + 1} -8 L {neck} -46 Z"
        ),
        fill(look.skin),
    )
    canvas.drawPath(shape("M -19 -2 L -13 28 L 13 28 L 19 -2 Z"), fill(look.skin))
    # The chin's shadow keeps head and neck apart.
    canvas.drawPath(
        shape(f"M {-neck} -40 L {-neck - 0.6} -22 C -8 -8 8 -8 {neck + 0.6} -22 L {neck} -40 Z"),
        fill(look.shade),
    )
    body = shape(
        f"M -20 2 C -30 7 {-w * 0.62} 11 {-w * 0.78} 18 "
        f"C {-w * 0.98} 26 {-w} 46 {-w * 1.0} 74 L {-w * 0.9} 300 "
        f"L {w * 0.9} 300 L {w * 1.0} 74 C {w} 46 {w * 0.98} 26 {w * 0.78} 18 C {w * 0.62} 11 30 7 20 2 "
        f"C 12 {26 if look.top != 'turtleneck' else 6} -12 {26 if look.top != 'turtleneck' else 6} -20 2 Z"
    )
    canvas.drawPath(body, linear(0, 60, 0, 190, look.top_colour, look.top_shade))
    if look.top == "sweater":
        canvas.drawPath(shape("M -20 2 C -12 26 12 26 20 2"), line(look.top_shade, 6.5))
        canvas.drawPath(shape("M -22 1 C -13 29 13 29 22 1"), line(look.accent, 1.4, 0.5))
    elif look.top == "turtleneck":
        canvas.drawPath(
            shape("M -20 -20 C -10 -14 10 -14 20 -20 L 22 8 C 10 16 -10 16 -22 8 Z"), fill(look.top_colour)
        )
        canvas.drawPath(
            shape("M -21 -8 C -10 -1 10 -1 21 -8 M -22 8 C -10 16 10 16 22 8"), line(look.top_shade, 2.0)
        )
    elif look.top == "blazer":
        canvas.drawPath(shape("M -23 0 L 0 92 L 23 0 C 12 20 -12 20 -23 0 Z"), fill(look.accent))
        canvas.drawPath(shape("M -23 0 L -4 34 L -16 26 Z M 23 0 L 4 34 L 16 26 Z"), fill("#FFFFFF"))
        for s in (-1, 1):
            canvas.drawPath(
                shape(f"M {s * 24} -1 L {s * 38} 8 L {s * 44} 52 L {s * 34} 56 L 0 116 L 0 96 Z"),
                fill(look.top_shade),
            )
        canvas.drawPath(shape("M 0 98 L 0 300"), line(look.top_shade, 2.0))
        canvas.drawCircle(6, 128, 3.2, fill("#16203F"))
    else:
        canvas.drawPath(
            shape("M -22 1 L -8 30 L 0 16 L 8 30 L 22 1 C 12 14 -12 14 -22 1 Z"), fill(look.accent)
        )
        canvas.drawPath(shape("M 0 18 L 0 300"), line(look.top_shade, 2.2))
        for y in (44, 84, 124):
            canvas.drawCircle(0, y, 2.6, fill(look.accent))
    for s in (-1, 1):
        canvas.drawPath(
            shape(f"M {s * w * 0.72} 62 C {s * w * 0.68} 92 {s * w * 0.66} 130 {s * w * 0.68} 170"),
            line(look.top_shade, 2.2, 0.7),
        )
