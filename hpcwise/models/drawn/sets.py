"""Places: pictures without people, drawn once, that scenes are played in front of.

A set is drawn in units: the short side of the picture is 400. The table is not part of it, because people
sit behind the table; `draw_table` draws it between torso and arms.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import skia

from hpcwise.models.drawn.paint import (
    Canvas,
    Image,
    blurred,
    box,
    drawn_shape,
    fill,
    line,
    linear,
    radial,
    rounded,
)
from hpcwise.models.drawn.text import DISPLAY, width_of, write

UNITS = 400.0


def set_picture(name: str, width_px: int, height_px: int) -> Image:
    """The set as an image of that size."""
    surface = skia.Surface(width_px, height_px)
    canvas = surface.getCanvas()
    scale = min(width_px, height_px) / UNITS
    canvas.scale(scale, scale)
    SETS[name](canvas, width_px / scale, height_px / scale)
    return surface.makeImageSnapshot()


def draw_table(canvas: Canvas, name: str, width: float, y: float, height: float) -> None:
    """The table from its far edge at y down; wider than the picture, so that a camera may move."""
    top, front, edge = _TABLES[name]
    canvas.drawRect(box(-width, y, 3 * width, height + 200), linear(0, y, 0, y + 90, top, front))
    canvas.drawRect(box(-width, y, 3 * width, 3.0), fill(edge))
    canvas.drawRect(
        box(-width, y + 3, 3 * width, 12), linear(0, y + 3, 0, y + 15, ("#000000", 0.28), ("#000000", 0.0))
    )


def _studio(canvas: Canvas, width: float, height: float) -> None:
    chance = random.Random("studio")
    middle, horizon = width / 2, max(120.0, height * 0.46)
    canvas.drawRect(box(0, 0, width, height), linear(0, 0, 0, height, "#2B2346", "#43325C", "#251B36"))
    x = 14.0
    while x < width * 0.26:  # acoustic slats
        canvas.drawRect(box(x, 0, 8, height * 0.86), fill("#17112A", 0.55))
        canvas.drawRect(box(x + 8, 0, 1.5, height * 0.86), fill("#6A568C", 0.25))
        x += 15
    _window(canvas, middle - 96, horizon - 132, 192, 150, chance)
    left = max(middle + 120, width * 0.715)
    for i in range(4):
        _shelf(canvas, left, horizon - 104 + i * 68, width - left + 20, chance)
    _lamp(canvas, max(34.0, width * 0.105), horizon - 66, height)
    _plant(canvas, width - 26, horizon + 130)
    _neon(canvas, middle, max(26.0, horizon - 148), "ON AIR")
    canvas.drawRect(
        box(0, 0, width, height),
        radial(
            middle,
            height * 0.45,
            math.hypot(width, height) * 0.62,
            ("#000000", 0.0),
            ("#000000", 0.05),
            ("#0B0616", 0.62),
        ),
    )


def _window(canvas: Canvas, x: float, y: float, width: float, height: float, chance: random.Random) -> None:
    frame = rounded(x, y, width, height, 10)
    canvas.save()
    canvas.clipRRect(frame, True)
    canvas.drawRect(box(x, y, width, height), linear(0, y, 0, y + height, "#18244A", "#47528C", "#E09A72"))
    canvas.drawCircle(x + width * 0.76, y + 34, 11, fill("#FBEFD0"))
    canvas.drawCircle(
        x + width * 0.76,
        y + 34,
        30,
        radial(x + width * 0.76, y + 34, 30, ("#FBEFD0", 0.35), ("#FBEFD0", 0.0)),
    )
    for depth, tint in ((0.62, "#2C3566"), (1.0, "#171D38")):
        at = x - 4.0
        while at < x + width:
            wide, tall = chance.uniform(11, 19), chance.uniform(24, 86) * depth + (26 if depth < 1 else 0)
            canvas.drawRect(box(at, y + height - tall, wide, tall), fill(tint))
            for _ in range(8 if depth == 1.0 else 0):
                lit = fill("#FFD793", round(chance.uniform(0.3, 0.9), 1))
                canvas.drawRect(
                    box(at + 2 + chance.randrange(0, 4) * 3, y + height - chance.uniform(6, tall), 1.8, 2.4),
                    lit,
                )
            at += wide + (1.0 if depth == 1.0 else 0.0)
    canvas.restore()
    canvas.drawRRect(frame, line("#120C20", 5.5))
    canvas.drawLine(x + width / 2, y, x + width / 2, y + height, line("#120C20", 3))
    canvas.drawRRect(rounded(x - 9, y + height - 1, width + 18, 7, 2), fill("#1B1330"))


_SPINES = ("#C5574D", "#418090", "#E0A95F", "#6B5197", "#5B8155", "#DAD0C3", "#33506F", "#A8577E")


def _shelf(canvas: Canvas, x: float, y: float, width: float, chance: random.Random) -> None:
    canvas.drawRect(box(x, y, width, 9), linear(0, y + 6, 0, y + 9, "#7C563F", "#3D281F"))
    canvas.drawRect(
        box(x, y + 6, width, 12), linear(0, y + 6, 0, y + 18, ("#000000", 0.32), ("#000000", 0.0))
    )
    at = x + 5
    while at < x + width - 14:
        if chance.random() < 0.05:
            canvas.drawRRect(rounded(at, y - 18, 17, 18, 4), fill("#D9C7A8"))
            canvas.drawCircle(at + 8.5, y - 22, 9, fill("#4F8A63"))
            at += 23
            continue
        wide, tall = chance.uniform(6, 12), chance.uniform(27, 47)
        spine = chance.choice(_SPINES)
        canvas.drawRect(box(at, y - tall, wide, tall), fill(spine))
        canvas.drawRect(box(at, y - tall, 1.4, tall), fill("#FFFFFF", 0.18))
        canvas.drawRect(box(at, y - tall + 6, wide, 2.6), fill("#FFFFFF", 0.4))
        at += wide + 0.8


def _lamp(canvas: Canvas, x: float, y: float, height: float) -> None:
    canvas.drawCircle(x, y, 150, radial(x, y, 150, ("#FFCE87", 0.55), ("#FFCE87", 0.16), ("#FFCE87", 0.0)))
    canvas.drawRect(box(x - 1.8, y, 3.6, height), fill("#35281F"))
    canvas.drawPath(
        drawn_shape(f"M {x - 27} {y + 16} L {x + 27} {y + 16} L {x + 16} {y - 24} L {x - 16} {y - 24} Z"),
        linear(0, y - 24, 0, y + 16, "#FFF3D6", "#FFD793"),
    )


def _plant(canvas: Canvas, x: float, y: float) -> None:
    for i in range(11):
        angle = -math.pi / 2 + (i - 5) * 0.25
        leaf = drawn_shape(
            f"M {x} {y} Q {x + math.cos(angle) * 42 - 8} {y + math.sin(angle) * 66} "
            f"{x + math.cos(angle) * 76} {y + math.sin(angle) * 104}"
        )
        canvas.drawPath(leaf, line("#2E6B49" if i % 2 else "#46936A", 7.5))


def _neon(canvas: Canvas, x: float, y: float, text: str) -> None:
    size = 20.0
    left = x - width_of(text, DISPLAY, size) / 2
    for sigma, alpha in ((9.0, 0.75), (3.0, 0.8)):
        write(canvas, text, left, y, DISPLAY, size, blurred("#FF5FA2", sigma, alpha))
    write(canvas, text, left, y, DISPLAY, size, fill("#FFE6F2"))


def _lecture(canvas: Canvas, width: float, height: float) -> None:
    middle = width / 2
    horizon = max(130.0, height * 0.46)
    canvas.drawRect(box(0, 0, width, height), linear(0, 0, 0, height, "#F1E6D3", "#E5D4BA", "#C9B391"))
    canvas.drawRect(
        box(0, horizon + 78, width, height), linear(0, horizon + 78, 0, height, "#B98F63", "#8F6A46")
    )
    x = 0.0
    while x < width:  # wainscot
        canvas.drawRect(box(x, horizon + 78, 1.6, height), fill("#6E4F33", 0.5))
        x += 44
    canvas.drawRect(box(0, horizon + 74, width, 6), fill("#7D5B3C"))
    wide, tall = min(width - 56, 560.0), 190.0
    left, top = middle - wide / 2, horizon - 150
    canvas.drawRRect(rounded(left - 6, top - 4, wide + 16, tall + 16, 6), blurred("#4A3520", 7, 0.35))
    canvas.drawRRect(
        rounded(left - 9, top - 9, wide + 18, tall + 18, 5),
        linear(0, top, 0, top + tall, "#A87C4F", "#7B5733"),
    )
    canvas.drawRect(
        box(left, top, wide, tall),
        linear(left, top, left + wide, top + tall, "#2E5A4A", "#27493F", "#1F3B34"),
    )
    _chalk(canvas, left, top, wide, tall)
    canvas.drawRect(box(left, top + tall + 4, wide, 6), fill("#6A4A2C"))
    for i, tint in enumerate(("#FFFFFF", "#F6D479", "#9FD3F0")):
        canvas.drawRRect(rounded(left + 30 + i * 26, top + tall + 1, 18, 4, 2), fill(tint))
    for x in (max(20.0, middle - wide / 2 + 70), min(width - 20, middle + wide / 2 - 70)):  # picture lights
        canvas.drawCircle(x, top - 10, 120, radial(x, top - 10, 120, ("#FFF6DC", 0.5), ("#FFF6DC", 0.0)))
    canvas.drawRect(
        box(0, 0, width, height),
        radial(
            middle,
            height * 0.45,
            math.hypot(width, height) * 0.66,
            ("#000000", 0.0),
            ("#3A2713", 0.04),
            ("#2A1A0A", 0.42),
        ),
    )


def _chalk(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    """A plot, a small graph and a few lines of notes, in chalk."""
    chalk, soft = line("#F2F5EE", 2.0, 0.85), line("#F2F5EE", 1.6, 0.45)
    canvas.drawPath(drawn_shape(f"M {x + 28} {y + 24} L {x + 28} {y + 112} L {x + 136} {y + 112}"), chalk)
    canvas.drawPath(
        drawn_shape(f"M {x + 34} {y + 104} C {x + 62} {y + 100} {x + 72} {y + 44} {x + 130} {y + 34}"),
        line("#F6D479", 2.4, 0.9),
    )
    canvas.drawPath(
        drawn_shape(f"M {x + 34} {y + 92} C {x + 70} {y + 86} {x + 96} {y + 78} {x + 130} {y + 74}"),
        line("#9FD3F0", 2.2, 0.8),
    )
    nodes = [(0.60, 0.2), (0.76, 0.14), (0.72, 0.46), (0.90, 0.34)]
    at = [(x + width * a, y + height * b) for a, b in nodes]
    for a, b in ((0, 1), (0, 2), (1, 3), (2, 3)):
        canvas.drawLine(*at[a], *at[b], soft)
    for cx, cy in at:
        canvas.drawCircle(cx, cy, 10, fill("#27493F"))
        canvas.drawCircle(cx, cy, 10, chalk)
    chance = random.Random("notes")
    for row in range(3 if width > 450 else 0):
        left = x + width * 0.36
        right = left + chance.uniform(50, 92) * min(1.0, width / 560)
        base, waves = y + 30 + row * 22, range(int((right - left) / 7))
        text = " ".join(
            f"Q {left + k * 7 + 3.5} {base + (-3 if k % 2 else 3)} {left + k * 7 + 7} {base}" for k in waves
        )
        canvas.drawPath(drawn_shape(f"M {left} {base} {text}"), soft)


#: name -> draw(canvas, width, height) in units.
SETS: dict[str, Callable[[Canvas, float, float], None]] = {"studio": _studio, "lecture": _lecture}
#: Table colours by set: far, near, edge.
_TABLES = {"studio": ("#8E5F42", "#452A1E", "#C08A62"), "lecture": ("#A97D50", "#5E4026", "#D5AC7A")}
