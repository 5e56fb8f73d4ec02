"""A member of the cast at one instant: acting becomes a pose, a pose becomes pixels."""

from __future__ import annotations

import math

from hpcwise.models.drawn.body import draw_arms, draw_torso
from hpcwise.models.drawn.face import Expression, draw_head
from hpcwise.models.drawn.hair import draw_back_hair
from hpcwise.models.drawn.looks import LOOKS, Look
from hpcwise.models.drawn.motion import Acting
from hpcwise.models.drawn.paint import Canvas

#: The middle of the head above the neck's base.
HEAD_Y = -66.0


def draw_character(
    canvas: Canvas,
    look_name: str,
    acting: Acting,
    frame: int,
    time_s: float,
    upper: bool = True,
    arms: bool = True,
    lead: int = 1,
    tuck: float = 0.0,
) -> None:
    """Draw at the origin. Upper body and arms can be drawn apart, since a table stands between them.

    lead: the hand that gestures first, 1 the one at the picture's right. tuck: as for `draw_arms`.
    """
    look = LOOKS[look_name]
    breath = math.sin(time_s * 1.45 + acting.phase)
    if upper:
        _draw_upper(canvas, look, acting, frame, time_s, breath)
    if arms:
        draw_arms(canvas, look, acting.gestures, time_s, breath * 0.4, lead, tuck)


def _draw_upper(canvas: Canvas, look: Look, acting: Acting, frame: int, time_s: float, breath: float) -> None:
    """Head, neck and torso."""
    stress, talking = float(acting.stress[frame]), float(acting.talking[frame])
    nod, turn = float(acting.nod[frame]), float(acting.turn[frame])
    bob = math.sin(time_s * 1.7 + acting.phase) * 0.8 + stress * 2.4 + nod * 4.2 - breath * 0.7
    tilt = (
        math.sin(time_s * 0.83 + acting.phase) * 1.3
        + turn * 2.2
        + stress * 1.6 * (1 if acting.phase < 1 else -1)
        + math.sin(time_s * 2.9 + acting.phase) * 1.1 * talking
    )
    lean = turn * 3.0 + math.sin(time_s * 0.6 + acting.phase) * 1.2
    face = Expression(
        mouth=tuple(float(v) for v in acting.mouth[frame]),  # type: ignore[arg-type]
        blink=float(acting.blink[frame]),
        gaze=float(acting.gaze[frame]),
        turn=turn,
        brows=float(acting.brows[frame]) + stress * 0.6 + max(0.0, nod) * 0.3,
        smile=float(acting.smile[frame]) - 0.3 * talking,
    )
    canvas.save()
    canvas.translate(lean * 0.4, 0)
    for part in (_back, None, _front):
        canvas.save()
        if part is None:
            draw_torso(canvas, look, breath)
        else:
            canvas.translate(lean, bob)
            canvas.rotate(tilt, 0.0, -20.0)
            canvas.translate(0, HEAD_Y)
            part(canvas, look, face)
        canvas.restore()
    canvas.restore()


def _back(canvas: Canvas, look: Look, face: Expression) -> None:
    draw_back_hair(canvas, look, face.turn)


def _front(canvas: Canvas, look: Look, face: Expression) -> None:
    draw_head(canvas, look, face)
