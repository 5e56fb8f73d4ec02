"""Hands: a palm, four fingers of two bones and a thumb, in poses that blend into each other.

The wrist is at the origin, the forearm comes from -x; -y is the side of the thumb.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hpcwise.models.drawn.looks import Look
from hpcwise.models.drawn.paint import Canvas, box, fill, line, shape

#: Length of the two bones of index, middle, ring and little finger; where they start across the palm.
_BONES = ((9.0, 8.0), (10.0, 9.0), (9.2, 8.4), (7.4, 6.6))
_BASES = ((18.5, -6.9), (20.0, -2.3), (19.4, 2.3), (17.4, 6.6))
SIZE = 1.22


@dataclass(frozen=True, slots=True)
class Hand:
    """curls: 0 straight to 1 folded into the palm, index first. spread: of the fingers. thumb: degrees from
    the forearm's direction, 0 along it. wrist: degrees by which the hand is bent against the forearm."""

    curls: tuple[float, float, float, float]
    spread: float
    thumb: float
    wrist: float = 0.0

    def toward(self, other: Hand, share: float) -> Hand:
        """The hand that is `share` of the way from this one to `other`."""

        def mix(a: float, b: float) -> float:
            return a + (b - a) * share

        first, second, third, fourth = (mix(a, b) for a, b in zip(self.curls, other.curls, strict=True))
        return Hand(
            (first, second, third, fourth),
            mix(self.spread, other.spread),
            mix(self.thumb, other.thumb),
            mix(self.wrist, other.wrist),
        )


REST = Hand((0.3, 0.34, 0.38, 0.44), 0.15, 38.0, -8.0)
OPEN = Hand((0.0, 0.0, 0.04, 0.08), 1.0, 62.0)
FLAT = Hand((0.03, 0.0, 0.02, 0.04), 0.1, 30.0)
CUPPED = Hand((0.12, 0.16, 0.2, 0.26), 0.7, 66.0, 10.0)
PINCH = Hand((0.46, 0.3, 0.42, 0.52), 0.7, 24.0)
POINT = Hand((0.0, 0.94, 0.98, 1.0), 0.2, 26.0)
STOP = Hand((0.0, 0.0, 0.0, 0.04), 0.42, 50.0, 6.0)


def counting(fingers: int) -> Hand:
    """A hand that shows one to five."""
    up = [0.0 if i < min(fingers, 4) else 1.0 for i in range(4)]
    return Hand((up[0], up[1], up[2], up[3]), 0.55, 64.0 if fingers >= 5 else 14.0)


def draw_hand(canvas: Canvas, look: Look, x: float, y: float, angle: float, hand: Hand) -> None:
    """At the wrist (x, y), along `angle` (radians)."""
    canvas.save()
    canvas.translate(x, y)
    canvas.rotate(math.degrees(angle) + hand.wrist)
    canvas.scale(SIZE, SIZE)
    canvas.drawPath(_palm(), line(look.shade, 2.0))
    canvas.drawPath(_palm(), fill(look.skin))
    bones = [_finger(i, hand) for i in range(4)]
    edge, skin = line(look.shade, 8.0), line(look.skin, 6.2)
    for i in (3, 2, 1, 0):
        (x0, y0), (x1, y1), (x2, y2) = bones[i]
        folded = hand.curls[i] > 0.6
        for paint in (edge, skin):
            canvas.drawLine(x0, y0, x1, y1, paint)
            canvas.drawLine(x1, y1, x2, y2, paint)
        if not folded:  # the root has no outline: finger and palm are one
            canvas.drawCircle(x0 - 2.0, y0 * 0.94, 3.5, fill(look.skin))
    tip = _thumb(hand)
    for paint in (line(look.shade, 8.8), line(look.skin, 7.0)):
        canvas.drawLine(6.0, -6.2, *tip[0], paint)
        canvas.drawLine(*tip[0], *tip[1], paint)
    canvas.drawOval(_heel(), fill(look.skin))
    canvas.drawPath(_crease(), line(look.shade, 1.0, 0.55))
    canvas.restore()


def _finger(i: int, hand: Hand) -> tuple[tuple[float, float], ...]:
    """Root, knuckle and tip. A curled finger shortens, then its end folds back over the palm."""
    curl = hand.curls[i]
    near, far = _BONES[i]
    near, far = near * (1 - 0.55 * curl), far * (1 - 1.75 * curl)
    x, y = _BASES[i]
    angle = (i - 1.4) * 0.2 * hand.spread + curl * 0.1 * (1.4 - i)
    bend = angle * (1 + 0.4 * hand.spread)
    x1, y1 = x + near * math.cos(angle), y + near * math.sin(angle)
    return (x, y), (x1, y1), (x1 + far * math.cos(bend), y1 + far * math.sin(bend))


def _thumb(hand: Hand) -> tuple[tuple[float, float], tuple[float, float]]:
    first, second = math.radians(hand.thumb), math.radians(hand.thumb * 0.72 - 6)
    x, y = 6.0 + 8.5 * math.cos(first), -6.2 - 8.5 * math.sin(first)
    return (x, y), (x + 7.0 * math.cos(second), y - 7.0 * math.sin(second))


def _palm() -> Any:
    return shape("M -4 -7.2 C 3 -9.6 13 -10.4 19 -9.4 C 23 -5 22.6 5 18.4 9.4 C 13 10.6 3 9.4 -4 7.2 Z")


def _heel() -> Any:
    return box(0.5, -7.4, 12.0, 12.5)


def _crease() -> Any:
    return shape("M 7.5 -3.5 C 11 1 10.6 5 8.6 8")
