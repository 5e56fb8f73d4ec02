"""Torso and arms. The origin is the neck's base; y grows downwards; a table lies at y = TABLE_Y."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import skia

from hpcwise.models.drawn import hands
from hpcwise.models.drawn.clothes import drape, draw_clothes
from hpcwise.models.drawn.gestures import Gesture, lift
from hpcwise.models.drawn.hands import Hand, draw_hand
from hpcwise.models.drawn.looks import Look
from hpcwise.models.drawn.paint import Canvas, drawn_shape, line, linear, radial, recorded

#: The far edge of the table, where a torso vanishes behind it.
TABLE_Y = 158.0
FOREARM = 58.0


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm's pose for the right-hand side (the left is mirrored): elbow, forearm's angle, hand, beat.

    Angles in degrees, clockwise from outwards; they grow from rest (146, inwards on the table) over the
    chest (200) to beside the shoulder (290), so that blending two poses never swings through the body.
    beat: degrees by which the raised forearm beats time.
    """

    elbow_x: float
    elbow_y: float
    angle: float
    hand: Hand
    beat: float = 3.0

    def toward(self, goal: Arm, share: float) -> Arm:
        """The pose that is `share` of the way to `goal`."""

        def mix(a: float, b: float) -> float:
            return a + (b - a) * share

        return Arm(
            mix(self.elbow_x, goal.elbow_x),
            mix(self.elbow_y, goal.elbow_y),
            mix(self.angle, goal.angle),
            self.hand.toward(goal.hand, min(1.0, share * 1.25)),
            goal.beat * share,
        )


REST = Arm(99.0, 124.0, 145.0, hands.REST, 0.0)
_OPEN = Arm(106.0, 126.0, 282.0, hands.OPEN)
_POINT = Arm(100.0, 122.0, 292.0, hands.POINT, 1.5)
#: The leading arm's pose and the other's.
_POSES: dict[str, tuple[Arm, Arm]] = {
    "open": (_OPEN, REST),
    "both": (_OPEN, _OPEN),
    "chop": (Arm(102.0, 126.0, 236.0, hands.FLAT, 9.0), REST),
    "pinch": (Arm(103.0, 127.0, 258.0, hands.PINCH, 4.0), REST),
    "point": (_POINT, REST),
    "stop": (Arm(104.0, 124.0, 276.0, hands.STOP, 1.5), REST),
    "weigh": (Arm(110.0, 126.0, 300.0, hands.CUPPED, 6.0), Arm(108.0, 130.0, 292.0, hands.CUPPED, -6.0)),
    "wide": (Arm(113.0, 122.0, 310.0, hands.OPEN, 2.0), Arm(113.0, 122.0, 310.0, hands.OPEN, 2.0)),
    "offer": (Arm(102.0, 128.0, 214.0, hands.CUPPED), Arm(102.0, 128.0, 214.0, hands.CUPPED)),
    "chest": (Arm(101.0, 122.0, 203.0, hands.FLAT, 1.0), REST),
    "shrug": (Arm(110.0, 124.0, 304.0, hands.CUPPED, 1.5), Arm(110.0, 124.0, 304.0, hands.CUPPED, 1.5)),
}
GESTURES = (*_POSES, "count")


def arm_goals(gesture: Gesture) -> tuple[Arm, Arm]:
    """Poses at a gesture's peak: the leading arm's and the other's."""
    if gesture.kind == "count":
        return Arm(104.0, 128.0, 272.0, hands.counting(gesture.fingers), 2.0), REST
    return _POSES[gesture.kind]


def draw_torso(canvas: Canvas, look: Look, breath: float) -> None:
    """Neck and clothes, down to below the table."""
    canvas.save()
    canvas.translate(0, -breath * 0.9)
    canvas.scale(1 + breath * 0.006, 1)
    canvas.drawPicture(_torso(look))
    canvas.restore()


#: Raised forearms point up like this where there is no room beside the body.
_UPRIGHT = 264.0


def draw_arms(
    canvas: Canvas,
    look: Look,
    gestures: tuple[Gesture, ...],
    time_s: float,
    sway: float,
    lead: int,
    tuck: float = 0.0,
) -> None:
    """Both arms over the table. lead: the side (1 right, -1 left of the picture) that gestures first.

    tuck: from 0 (arms as wide as they like) to 1 (no wider than the elbows), for narrow pictures.
    """
    moving = next((g for g in gestures if g.start_s < time_s < g.end_s), None)
    share = lift(moving, time_s) if moving else 0.0
    goals = arm_goals(moving) if moving else (REST, REST)
    for side in (-lead, lead):
        goal = goals[0 if side == lead else 1]
        if goal.angle > _UPRIGHT:
            goal = replace(
                goal,
                angle=goal.angle + (_UPRIGHT - goal.angle) * tuck,
                elbow_x=goal.elbow_x + (96.0 - goal.elbow_x) * tuck,
            )
        pose = REST.toward(goal, share)
        _draw_arm(canvas, look, side, pose, math.sin(time_s * 8.2) * pose.beat, sway)


def _draw_arm(canvas: Canvas, look: Look, side: int, pose: Arm, beat: float, sway: float) -> None:
    """An arm from shoulder to fingers."""
    ex, ey = pose.elbow_x + look.shoulders - 90.0, pose.elbow_y + sway
    angle = math.radians(pose.angle + beat)
    sleeve, light, edge = _cloth(look, side)
    canvas.save()
    canvas.scale(side, 1)
    _upper_arm(canvas, look, ex, ey, sleeve, light, edge)
    wx, wy = ex + FOREARM * math.cos(angle), ey + FOREARM * math.sin(angle)
    draw_hand(canvas, look, wx, wy, angle, pose.hand)
    _limb(canvas, ex, ey, 15.0, wx, wy, 11.0, sleeve, edge)
    bend = math.degrees(angle) % 360
    if bend > 190:  # a raised forearm folds the sleeve
        canvas.drawPath(
            drawn_shape(f"M {ex - 13} {ey - 5} Q {ex - 3} {ey + 2} {ex + 8} {ey - 3}"),
            line(look.top_shade, 1.8, 0.8),
        )
    nx, ny = -math.sin(angle) * 9.8, math.cos(angle) * 9.8
    canvas.drawLine(
        wx - nx, wy - ny, wx + nx, wy + ny, line(look.accent if look.cuffs else look.top_shade, 4.4)
    )
    canvas.restore()


def _upper_arm(canvas: Canvas, look: Look, ex: float, ey: float, sleeve: Any, light: Any, edge: Any) -> None:
    """From the shoulder, whose outline and colour it shares, to the elbow."""
    w = look.shoulders
    outer = f"M {w * 0.74} 17.2 C {w * 0.96} 24 {w + 1} 42 {w + 3} 70 L {ex + 15} {ey - 4}"
    inner = f"L {ex - 14.5} {ey + 4} L {w * 0.7} 66"
    arm = drawn_shape(f"{outer} {inner} C {w * 0.62} 48 {w * 0.64} 26 {w * 0.74} 17.2 Z")
    canvas.save()
    if look.hair == "scarf":  # its cloth lies on the shoulders
        canvas.clipPath(drape(), skia.ClipOp.kDifference, True)
    rim = f"M {w * 0.9} 36 Q {w + 1.5} 46 {w + 3} 70 L {ex + 15} {ey - 4}"
    canvas.drawPath(drawn_shape(f"{rim} M {w * 0.7} 66 L {ex - 14.5} {ey + 4}"), edge)
    canvas.drawCircle(ex, ey, 15.0, edge)
    canvas.drawPath(arm, sleeve)
    canvas.drawPath(arm, light)
    canvas.restore()


@functools.lru_cache(maxsize=32)
def _cloth(look: Look, side: int) -> tuple[Any, Any, Any]:
    """A sleeve's colour, which is the torso's beside it; the light on it or the shade; its edge."""
    w = look.shoulders
    sleeve = linear(side * -w, 20, side * w * 0.7, 200, look.top_colour, look.top_colour, look.top_shade)
    light = (
        radial(w * 0.7, 18, 60, ("#FFFFFF", 0.2), ("#FFFFFF", 0.0))
        if side < 0  # light comes from the upper left
        else linear(w * 0.72, 40, w + 16, 52, (look.top_shade, 0.0), (look.top_shade, 0.6))
    )
    return sleeve, light, line(look.top_shade, 2.2, 0.85)


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


@functools.lru_cache(maxsize=32)
def _torso(look: Look) -> Any:
    return recorded(220, 320, lambda canvas: draw_clothes(canvas, look))
