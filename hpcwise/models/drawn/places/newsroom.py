"""The newsroom: a wall of screens with a map, charts and a ticker, under studio lights."""

from __future__ import annotations

import math
import random

from hpcwise.models.drawn.paint import Canvas, blurred, box, drawn_shape, fill, line, linear, radial, rounded
from hpcwise.models.drawn.places.base import Place, vignette
from hpcwise.models.drawn.text import SEMI, width_of, write

_TINTS = {"blue": ("#0A1A3A", "#12356B", "#3FA9F5"), "night": ("#0B1026", "#22265C", "#8E7BFF")}
#: Land on a map of 40 columns and 16 rows: column ranges by row.
_LAND: tuple[tuple[tuple[int, int], ...], ...] = (
    ((5, 9), (13, 15), (24, 34)),
    ((3, 10), (13, 15), (19, 37)),
    ((3, 11), (18, 37)),
    ((4, 11), (18, 36)),
    ((4, 10), (17, 23), (24, 35)),
    ((5, 9), (17, 19), (21, 24), (25, 34)),
    ((6, 8), (17, 24), (25, 28), (29, 33)),
    ((7, 9), (17, 25), (26, 28), (30, 32)),
    ((9, 12), (17, 25), (27, 27), (31, 33)),
    ((9, 14), (18, 24), (31, 34)),
    ((9, 14), (20, 24), (32, 35)),
    ((10, 13), (20, 24), (33, 36)),
    ((10, 13), (21, 23), (32, 37)),
    ((10, 12), (21, 22), (33, 37)),
    ((10, 11), (36, 36)),
    ((10, 11), (38, 38)),
)
_CITIES = ((7, 4), (19, 4), (33, 5), (12, 10), (22, 11), (35, 12), (27, 6))


def _screen_at(width: float, height: float) -> tuple[float, float, float, float]:
    """The screen in the middle: left, top, width, height."""
    wide = min(width * 0.56, 380.0)
    tall = min(wide * 0.52, 178.0)
    return (width - wide) / 2, max(26.0, max(120.0, height * 0.46) - 150), wide, tall


def _dot(area: tuple[float, float, float, float], column: float, row: float) -> tuple[float, float]:
    x, y, wide, tall = area
    return x + (column + 0.8) * wide / 41, y + 10 + (row + 0.5) * (tall - 40) / 16


def _far(canvas: Canvas, width: float, height: float, mood: str) -> None:
    low, mid, light = _TINTS[mood]
    canvas.drawRect(box(0, 0, width, height), linear(0, 0, 0, height, low, mid, "#071022"))
    area = x, y, wide, tall = _screen_at(width, height)
    for i in range(9):  # panels of the wall
        left = width * (i / 8) - 2
        canvas.drawRect(box(left, 0, 2, height), fill("#000000", 0.3))
        canvas.drawRect(box(left + 2, 0, 1, height), fill(light, 0.14))
    for side in (-1, 1):  # a strip of light around the screen
        canvas.drawRRect(rounded(x - 8, y - 8, wide + 16, tall + 16, 10), blurred(light, 9, 0.45))
        _side_screen(canvas, width / 2 + side * (wide / 2 + 62), y + 14, side, light)
    canvas.drawRRect(rounded(x - 5, y - 5, wide + 10, tall + 10, 8), fill("#05080F"))
    canvas.drawRRect(rounded(x, y, wide, tall, 5), linear(x, y, x, y + tall, "#0E2A55", "#0A1A38"))
    for row, ranges in enumerate(_LAND):
        for first, last in ranges:
            for column in range(first, last + 1):
                canvas.drawCircle(*_dot(area, column, row), 2.5 * wide / 380, fill(light, 0.62))
    canvas.drawRect(box(x, y + tall - 24, wide, 24), fill("#B3202C"))
    canvas.drawRect(box(x, y + tall - 24, 58, 24), fill("#FFFFFF"))
    write(canvas, "PAPERS", x + 8, y + tall - 8, SEMI, 11.5, fill("#B3202C"))
    floor = y + tall + 70
    canvas.drawRect(
        box(0, floor, width, height), linear(0, floor, 0, height, (light, 0.22), ("#000000", 0.0))
    )
    for i in range(4):  # lights from above
        at = width * (0.14 + 0.24 * i)
        cone = drawn_shape(
            f"M {at - 6} 0 L {at + 6} 0 L {at + 64} {height * 0.7} L {at - 64} {height * 0.7} Z"
        )
        canvas.drawPath(cone, linear(0, 0, 0, height * 0.7, ("#DDEBFF", 0.2), ("#DDEBFF", 0.0)))
    vignette(canvas, width, height, "#02050C", 0.6)


def _side_screen(canvas: Canvas, x: float, y: float, side: int, light: str) -> None:
    canvas.drawRRect(rounded(x - 44, y, 88, 58, 5), fill("#05080F"))
    canvas.drawRRect(rounded(x - 40, y + 4, 80, 50, 3), linear(0, y, 0, y + 54, "#10305E", "#0A1C3C"))
    canvas.drawRRect(rounded(x - 44, y + 70, 88, 58, 5), fill("#05080F"))
    canvas.drawRRect(rounded(x - 40, y + 74, 80, 50, 3), linear(0, y + 70, 0, y + 124, "#1A1F4A", "#0A1C3C"))
    chance = random.Random(f"news {side}")
    for i in range(6):
        canvas.drawRect(box(x - 33, y + 82 + i * 6.4, chance.uniform(24, 64), 2.6), fill("#C9DCF7", 0.5))


def _life(canvas: Canvas, width: float, height: float, time_s: float, mood: str) -> None:
    light = _TINTS[mood][2]
    area = x, y, wide, tall = _screen_at(width, height)
    for i, (column, row) in enumerate(_CITIES):
        share = (time_s * 0.45 + i * 0.29) % 1.0
        cx, cy = _dot(area, column, row)
        canvas.drawCircle(cx, cy, 2.4, fill("#FFD166"))
        canvas.drawCircle(cx, cy, 2 + 9 * share, line("#FFD166", 1.4, round(0.8 * (1 - share), 2)))
    a, b = (_dot(area, *_CITIES[int(time_s / 2.6 + k) % len(_CITIES)]) for k in (0, 1))
    share = (time_s / 2.6) % 1.0
    px, py = a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share - 22 * math.sin(math.pi * share)
    canvas.drawPath(
        drawn_shape(f"M {a[0]} {a[1]} Q {(a[0] + b[0]) / 2} {(a[1] + b[1]) / 2 - 44} {b[0]} {b[1]}"),
        line("#FFFFFF", 1.1, 0.35),
    )
    canvas.drawCircle(px, py, 2.2, fill("#FFFFFF"))
    canvas.save()
    canvas.clipRect(box(x + 60, y + tall - 24, wide - 60, 24))
    text = "SCIENCE  •  METHODS  •  RESULTS  •  DATA  •  REVIEW  •  OPEN CODE  •  "
    length = width_of(text, SEMI, 11.5)
    at = x + 62 - (time_s * 26) % length
    while at < x + wide:
        write(canvas, text, at, y + tall - 8, SEMI, 11.5, fill("#FFFFFF"))
        at += length
    canvas.restore()
    for side in (-1, 1):  # charts that move
        left, top = width / 2 + side * (wide / 2 + 62) - 36, y + 20
        if left < -60 or left > width:
            continue
        for i in range(8):
            tall_bar = 10 + 26 * (0.5 + 0.5 * math.sin(time_s * 0.9 + i * 0.9 + side))
            canvas.drawRect(box(left + i * 9, top + 44 - tall_bar, 6.5, tall_bar), fill(light, 0.75))


def _near(canvas: Canvas, width: float, height: float, mood: str) -> None:
    """Spotlights above, a camera at the left and a monitor at the right, both dark."""
    canvas.drawRect(box(0, 0, width, 7), fill("#04060B"))
    for i in range(max(3, int(width / 130))):
        x = (i + 0.5) * width / max(3, int(width / 130))
        canvas.drawRRect(rounded(x - 10, 4, 20, 17, 4), fill("#0A0E17"))
        canvas.drawOval(box(x - 8, 16, 16, 7), fill("#F4F9FF"))
        canvas.drawCircle(x, 20, 30, radial(x, 20, 30, ("#DDEBFF", 0.5), ("#DDEBFF", 0.0)))
    foot = max(120.0, height * 0.46) + 30
    canvas.drawRRect(rounded(-26, foot - 34, 62, 44, 6), fill("#070B14"))
    canvas.drawRRect(rounded(30, foot - 24, 26, 24, 4), fill("#0B111D"))
    canvas.drawCircle(56, foot - 12, 9, radial(53, foot - 15, 12, "#4A6A96", "#0B111D"))
    canvas.drawCircle(-4, foot - 26, 3, fill("#FF3B3B"))
    canvas.drawRect(box(-2, foot + 8, 8, height), fill("#070B14"))
    canvas.drawRRect(rounded(width - 46, foot - 46, 80, 56, 5), fill("#070B14"))
    canvas.drawRRect(
        rounded(width - 42, foot - 42, 80, 48, 3), linear(width - 42, 0, width, 0, "#17407A", "#0B1C38")
    )
    canvas.drawRect(box(width - 12, foot + 8, 8, height), fill("#070B14"))


def _props(canvas: Canvas) -> None:
    """Sheets of paper, a pen and a glass of water."""
    canvas.save()
    canvas.rotate(-4)
    for i in range(3):
        canvas.drawRRect(
            rounded(-50 + i * 2, 15 - i * 2.2, 62, 17, 1.5), fill("#FFFFFF" if i == 2 else "#CBD5E2")
        )
    for i in range(3):
        canvas.drawRect(box(-41, 14 + i * 4, 42 - i * 8, 1.4), fill("#7B8794"))
    canvas.restore()
    canvas.drawLine(18, 30, 36, 22, line("#C9303B", 3))
    canvas.drawRRect(rounded(42, 2, 16, 30, 4), fill("#E6F4FF", 0.4))
    canvas.drawRRect(rounded(44, 14, 12, 16, 3), fill("#9FD3FF", 0.6))
    canvas.drawLine(46, 6, 46, 26, line("#FFFFFF", 1.6, 0.8))


NEWSROOM = Place(
    far=_far,
    near=_near,
    life=_life,
    props=_props,
    moods=("blue", "night"),
    table=("#D9E4F2", "#5E7595", "#7FD0FF"),
    ground=("#081530", "#123A75", "#7A1B3A"),
)
