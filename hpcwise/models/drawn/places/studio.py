"""The podcast studio at night: a window on a city, shelves, a lamp and a neon sign."""

from __future__ import annotations

import math
import random

from hpcwise.models.drawn.paint import (
    Canvas,
    blurred,
    box,
    drawn_shape,
    fill,
    line,
    linear,
    radial,
    rounded,
    shape,
)
from hpcwise.models.drawn.places.base import Place, cloud, passing, shadow_below, vignette
from hpcwise.models.drawn.text import DISPLAY, width_of, write

_SKIES = {
    "night": ("#18244A", "#47528C", "#E09A72"),
    "rain": ("#141C30", "#2C3A56", "#59657E"),
    "dusk": ("#3B2A63", "#B0577A", "#FFB66E"),
}


def _window_at(width: float, height: float) -> tuple[float, float, float, float]:
    """The window: left, top, width, height."""
    horizon = max(120.0, height * 0.46)
    return width / 2 - 104, horizon - 138, 208, 158


def _far(canvas: Canvas, width: float, height: float, mood: str) -> None:
    canvas.drawRect(box(0, 0, width, height), linear(0, 0, 0, height, "#2B2346", "#43325C", "#251B36"))
    x = 14.0
    while x < width * 0.26:  # acoustic slats
        canvas.drawRect(box(x, 0, 8, height * 0.86), fill("#17112A", 0.55))
        canvas.drawRect(box(x + 8, 0, 1.5, height * 0.86), fill("#6A568C", 0.25))
        x += 15
    x, y, wide, tall = _window_at(width, height)
    canvas.drawRect(
        box(x - 40, y - 30, wide + 80, tall + 90),
        radial(x + wide / 2, y + tall / 2, wide * 0.8, (_SKIES[mood][1], 0.4), (_SKIES[mood][1], 0.0)),
    )
    _city(canvas, x, y, wide, tall, mood)
    _neon(canvas, width / 2, max(26.0, y - 14), "ON AIR")
    vignette(canvas, width, height, "#0B0616", 0.62)


def _city(canvas: Canvas, x: float, y: float, width: float, height: float, mood: str) -> None:
    chance = random.Random("studio")
    canvas.save()
    canvas.clipRRect(rounded(x, y, width, height, 10), True)
    canvas.drawRect(box(x, y, width, height), linear(0, y, 0, y + height, *_SKIES[mood]))
    if mood != "rain":
        sun = x + width * 0.76
        canvas.drawCircle(sun, y + 34, 11, fill("#FBEFD0"))
        canvas.drawCircle(sun, y + 34, 34, radial(sun, y + 34, 34, ("#FBEFD0", 0.4), ("#FBEFD0", 0.0)))
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


def _life(canvas: Canvas, width: float, height: float, time_s: float, mood: str) -> None:
    x, y, wide, tall = _window_at(width, height)
    frame = rounded(x, y, wide, tall, 10)
    canvas.save()
    canvas.clipRRect(frame, True)
    for i in range(2):
        at = passing(time_s, 70.0, 24.0 + i * 37, x - 50, x + wide + 50)
        cloud(canvas, at, y + 34 + i * 22, 0.6 + 0.25 * i, "#C9CFEA" if mood == "night" else "#8C93AC", 0.16)
    if mood == "rain":
        for i in range(16):
            fall = ((time_s * (1.5 + 0.05 * (i % 7)) + i * 0.37) % 1.0) * (tall + 20) - 10
            left = x + (i * 53.0) % wide
            canvas.drawLine(left, y + fall, left - 2, y + fall + 11, line("#BFD0F2", 1.0, 0.5))
    for i in range(3):  # lights that go on and off
        if math.sin(time_s * (0.5 + 0.17 * i) + i * 2.2) > 0.2:
            left, top = x + 30 + i * 61, y + tall - 22 - i * 9
            canvas.drawRect(box(left, top, 2.4, 3), fill("#FFE3A6"))
    plane = passing(time_s, 26.0, 9.0, x - 10, x + wide + 10)
    canvas.drawCircle(plane, y + 22, 1.2, fill("#FF8A8A", 0.4 + 0.5 * (int(time_s * 1.6) % 2)))
    canvas.restore()
    canvas.drawRRect(frame, line("#120C20", 5.5))
    canvas.drawLine(x + wide / 2, y, x + wide / 2, y + tall, line("#120C20", 3))
    canvas.drawRRect(rounded(x - 9, y + tall - 1, wide + 18, 7, 2), fill("#1B1330"))


def _near(canvas: Canvas, width: float, height: float, mood: str) -> None:
    chance = random.Random("shelves")
    middle, horizon = width / 2, max(120.0, height * 0.46)
    left = max(middle + 128, width * 0.715)
    for i in range(4):
        _shelf(canvas, left, horizon - 104 + i * 68, width - left + 40, chance)
    _lamp(canvas, max(34.0, width * 0.105), horizon - 66, height)
    _plant(canvas, width - 26, horizon + 130)


_SPINES = ("#C5574D", "#418090", "#E0A95F", "#6B5197", "#5B8155", "#DAD0C3", "#33506F", "#A8577E")


def _shelf(canvas: Canvas, x: float, y: float, width: float, chance: random.Random) -> None:
    canvas.drawRect(box(x, y, width, 9), linear(0, y + 6, 0, y + 9, "#7C563F", "#3D281F"))
    shadow_below(canvas, x, y + 9, width)
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


def _props(canvas: Canvas) -> None:
    """Two microphones and a mug."""
    for side in (-1, 1):
        canvas.drawOval(box(side * 30 - 15, 21, 30, 8), fill("#15171B"))
        boom = f"M {side * 30} 24 C {side * 26} -4 {side * 30} -20 {side * 43} -24"
        canvas.drawPath(shape(boom), line("#2A2D34", 3.6))
        canvas.save()
        canvas.translate(side * 47, -30)
        canvas.rotate(side * 38)
        canvas.drawRRect(rounded(-9, -19, 18, 33, 9), linear(-9, 0, 9, 0, "#3B3F48", "#757B88", "#22252B"))
        canvas.drawRRect(rounded(-9, -2, 18, 4, 1.5), fill("#F2B84B"))
        canvas.restore()
    mug(canvas, 0, "#EFE8DC", "#BDB3A1")


def mug(canvas: Canvas, x: float, light: str, dark: str) -> None:
    """A mug on the table."""
    canvas.drawOval(box(x - 16, 29, 34, 8), fill("#000000", 0.25))
    canvas.drawRRect(rounded(x - 11, 8, 22, 26, 4), linear(x - 11, 0, x + 11, 0, light, dark))
    canvas.drawPath(drawn_shape(f"M {x + 11} 13 C {x + 21} 12 {x + 21} 28 {x + 11} 27"), line(dark, 3.4))
    canvas.drawOval(box(x - 9.5, 7, 19, 4.5), fill("#5A3A28"))


STUDIO = Place(
    far=_far,
    near=_near,
    life=_life,
    props=_props,
    moods=("night", "dusk", "rain"),
    table=("#8E5F42", "#452A1E", "#C08A62"),
    ground=("#1C1434", "#3A2160", "#124B5B"),
)
