"""A café table on a street: house fronts, trees, cars that pass, and whatever the sky does."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from hpcwise.models.drawn.paint import Canvas, box, drawn_shape, fill, line, linear, radial, rounded
from hpcwise.models.drawn.places.base import Place, cloud, passing, shadow_below, vignette
from hpcwise.models.drawn.places.studio import mug


@dataclass(frozen=True, slots=True)
class _Weather:
    sky: tuple[str, str, str]
    cloud: str
    cover: float
    shade: float
    lit: float


_WEATHERS = {
    "sunny": _Weather(("#5EB2EA", "#A9DAF6", "#E8F5FB"), "#FFFFFF", 0.9, 0.0, 0.0),
    "evening": _Weather(("#5A4A8C", "#E07F7A", "#FFD08A"), "#FFC9A8", 0.55, 0.24, 0.9),
    "rain": _Weather(("#6E7F92", "#98A8B6", "#BFCBD3"), "#DCE4EA", 0.8, 0.18, 0.55),
}
_FRONTS = ("#E9B17A", "#C9695B", "#7FA6B8", "#E6D3A8", "#9C7FA8", "#8DB08A", "#D98F6E")
_AWNINGS = ("#C4473D", "#2F7D6B", "#D9982B", "#3D5A94")


def _pavement(height: float) -> float:
    """Where the houses end and the street begins."""
    return max(120.0, height * 0.46) + 62


def _far(canvas: Canvas, width: float, height: float, mood: str) -> None:
    weather, foot = _WEATHERS[mood], _pavement(height)
    canvas.drawRect(box(0, 0, width, height), linear(0, 0, 0, foot, *weather.sky))
    chance = random.Random("street")
    x = -30.0
    while x < width + 30:  # a far row of roofs, then the fronts
        wide, tall = chance.uniform(40, 80), chance.uniform(120, 170)
        canvas.drawRect(
            box(x, foot - tall, wide, tall), fill("#8FA3B8" if mood != "evening" else "#8A6A8C", 0.7)
        )
        x += wide
    x, i = -14.0, 0
    while x < width + 20:
        wide, tall = chance.uniform(84, 116), chance.uniform(104, 142)
        # The houses leave a gap in the middle, where the street runs away between them.
        if abs(x + wide / 2 - width / 2) > 46:
            _front(canvas, x, foot - tall, wide - 2, tall, _FRONTS[i % len(_FRONTS)], chance, weather)
        x += wide
        i += 1
    canvas.drawRect(box(0, foot, width, height), linear(0, foot, 0, height, "#7D8087", "#5F626A"))
    canvas.drawRect(box(0, foot, width, 9), fill("#C9C5BC"))
    shadow_below(canvas, 0, foot + 9, width, 8)
    x = 0.0
    while x < width:
        canvas.drawRect(box(x, foot + 46, 34, 3), fill("#F0EBDD", 0.7))
        x += 68
    if weather.shade:
        tint = "#2A1B45" if mood == "evening" else "#33414F"
        canvas.drawRect(box(0, 0, width, height), fill(tint, weather.shade))
        _lit_windows(canvas, width, foot, weather.lit)
    if mood != "rain":
        x, y = (width * 0.8, 46.0) if mood == "sunny" else (width * 0.56, foot - 148)
        glow = "#FFF6CF" if mood == "sunny" else "#FFE0A0"
        canvas.drawCircle(x, y, 90, radial(x, y, 90, (glow, 0.7), (glow, 0.2), (glow, 0.0)))
        canvas.drawCircle(x, y, 17, fill(glow))
    if mood == "rain":  # wet asphalt mirrors the sky
        canvas.drawRect(
            box(0, foot + 9, width, height), linear(0, foot, 0, height, ("#DDE7EE", 0.32), ("#DDE7EE", 0.0))
        )
    vignette(canvas, width, height, "#10131F", 0.34)


def _front(
    canvas: Canvas,
    x: float,
    y: float,
    width: float,
    height: float,
    tint: str,
    chance: random.Random,
    weather: _Weather,
) -> None:
    canvas.drawRect(box(x, y, width, height), linear(x, 0, x + width, 0, tint, tint))
    canvas.drawRect(
        box(x, y, width * 0.5, height), linear(x, 0, x + width * 0.5, 0, ("#FFFFFF", 0.18), ("#FFFFFF", 0.0))
    )
    canvas.drawRect(box(x - 2, y - 6, width + 4, 8), fill("#FFFFFF", 0.55))
    columns = 3 if width > 96 else 2
    for row in range(2):
        for column in range(columns):
            left = x + (column + 0.5) * width / columns - 9
            top = y + 12 + row * 36
            canvas.drawRRect(rounded(left - 2, top - 2, 22, 28, 2), fill("#FFFFFF", 0.75))
            canvas.drawRect(box(left, top, 18, 24), linear(0, top, 0, top + 24, "#4C6A86", "#9CC3DB"))
            canvas.drawLine(left + 9, top, left + 9, top + 24, line("#FFFFFF", 1.4, 0.9))
            if chance.random() < 0.4:
                for k in range(4):  # a flower box
                    canvas.drawCircle(
                        left + 2 + k * 4.6, top + 25, 3, fill("#D9566B" if k % 2 else "#5F9C57")
                    )
    shop = y + height - 38
    canvas.drawRect(box(x + 6, shop + 8, width - 12, 30), linear(0, shop, 0, shop + 38, "#33465A", "#6F90A6"))
    if weather.lit:
        canvas.drawRect(box(x + 6, shop + 8, width - 12, 30), fill("#FFD79A", 0.5 * weather.lit))
    awning = chance.choice(_AWNINGS)
    stripes = max(4, int(width / 14))
    for k in range(stripes):
        left = x + 2 + k * (width - 4) / stripes
        wide = (width - 4) / stripes
        canvas.drawPath(
            drawn_shape(
                f"M {left} {shop - 4} L {left + wide} {shop - 4} L {left + wide} {shop + 9} "
                f"Q {left + wide / 2} {shop + 15} {left} {shop + 9} Z"
            ),
            fill(awning if k % 2 == 0 else "#FBF5EA"),
        )


def _lit_windows(canvas: Canvas, width: float, foot: float, lit: float) -> None:
    chance = random.Random("windows")
    for _ in range(int(width / 26)):
        x, y = chance.uniform(0, width), foot - chance.uniform(56, 120)
        if abs(x - width / 2) > 60:
            canvas.drawRect(box(x, y, 7, 10), fill("#FFDF9E", 0.75 * lit))


def _life(canvas: Canvas, width: float, height: float, time_s: float, mood: str) -> None:
    weather, foot = _WEATHERS[mood], _pavement(height)
    for i in range(3):
        x = passing(time_s, 80.0 + 15 * i, 20.0 + 31 * i, -70, width + 70)
        cloud(canvas, x, 34 + 26 * i, 0.9 - 0.2 * i, weather.cloud, weather.cover * (0.8 - 0.15 * i))
    if mood == "sunny":
        for i in range(3):
            x = passing(time_s, 19.0, 4.0 + i * 0.5, width + 20, -20)
            y = 70 + 7 * i + math.sin(time_s * 0.8 + i) * 6
            flap = 3.0 * math.sin(time_s * 9 + i)
            canvas.drawPath(
                drawn_shape(
                    f"M {x - 6} {y - flap} Q {x - 2} {y - 2} {x} {y} Q {x + 2} {y - 2} {x + 6} {y - flap}"
                ),
                line("#3A4652", 1.4, 0.8),
            )
    for i, tint in enumerate(("#D24B3E", "#3E78B2", "#F0C24B")):
        period = 11.0 + 3.7 * i
        right = i % 2 == 0
        x = passing(time_s, period, 2.0 + 5.3 * i, -90, width + 90)
        _car(
            canvas,
            x if right else width - x,
            foot + (31 if right else 20),
            1 if right else -1,
            tint,
            weather.lit,
            time_s,
        )
    if mood == "rain":
        for i in range(int(width / 11)):
            fall = ((time_s * (1.9 + 0.07 * (i % 5)) + i * 0.618) % 1.0) * (height * 0.9)
            x = (i * 89.0) % (width + 30)
            canvas.drawLine(x - fall * 0.05, fall, x - fall * 0.05 - 3, fall + 15, line("#F2F7FB", 1.0, 0.35))


def _car(canvas: Canvas, x: float, y: float, way: int, tint: str, lit: float, time_s: float) -> None:
    canvas.save()
    canvas.translate(x, y)
    canvas.scale(way, 1)
    canvas.drawOval(box(-42, 7, 84, 9), fill("#000000", 0.28))
    canvas.drawPath(
        drawn_shape(
            "M -40 6 C -42 -6 -36 -10 -28 -11 C -20 -24 -8 -26 4 -26 C 16 -26 22 -18 27 -11 "
            "C 38 -9 42 -5 40 6 Z"
        ),
        fill(tint),
    )
    canvas.drawPath(
        drawn_shape("M -22 -11 C -16 -20 -8 -22 -2 -22 L -2 -11 Z M 2 -22 C 12 -22 17 -18 21 -11 L 2 -11 Z"),
        fill("#CFE3EF"),
    )
    canvas.drawRect(box(-40, -2, 80, 2), fill("#FFFFFF", 0.25))
    for wheel in (-23, 23):
        canvas.drawCircle(wheel, 7, 7.5, fill("#22252B"))
        canvas.drawCircle(wheel, 7, 3.2, fill("#B9BEC6"))
    canvas.drawCircle(38, -1, 2.6, fill("#FFF3C4"))
    if lit:
        canvas.drawCircle(40, -1, 14, radial(40, -1, 14, ("#FFF3C4", 0.7 * lit), ("#FFF3C4", 0.0)))
    canvas.restore()


def _near(canvas: Canvas, width: float, height: float, mood: str) -> None:
    """A street lamp with a basket of flowers at the left, a tree at the right."""
    foot, x = _pavement(height), max(26.0, width * 0.06)
    top = max(30.0, foot - 190)
    canvas.drawRect(box(x - 3, top, 6, height), linear(x - 3, 0, x + 3, 0, "#3B434C", "#1D2228"))
    canvas.drawPath(
        drawn_shape(f"M {x - 12} {top} L {x + 12} {top} L {x + 8} {top - 26} L {x - 8} {top - 26} Z"),
        fill("#FFF2C9", 0.95),
    )
    canvas.drawPath(
        drawn_shape(f"M {x - 15} {top - 25} L {x + 15} {top - 25} L {x} {top - 38} Z"), fill("#262C33")
    )
    if mood != "sunny":
        canvas.drawCircle(x, top - 12, 90, radial(x, top - 12, 90, ("#FFE3A0", 0.6), ("#FFE3A0", 0.0)))
    canvas.drawPath(
        drawn_shape(f"M {x} {top + 26} Q {x + 30} {top + 22} {x + 32} {top + 40}"), line("#262C33", 3)
    )
    chance = random.Random("leaves")
    for i in range(22):
        dx, dy = chance.uniform(-18, 18), chance.uniform(-9, 13)
        canvas.drawCircle(
            x + 32 + dx,
            top + 52 + dy,
            chance.uniform(4, 6.5),
            fill(("#5F9C57", "#3F7A45", "#E26A86", "#F2B3C4")[i % 4]),
        )
    trunk = width - 24
    canvas.drawPath(
        drawn_shape(
            f"M {trunk - 9} {height} "
            f"C {trunk - 5} {foot} {trunk - 7} {foot - 60} {trunk - 16} {foot - 96} "
            f"L {trunk + 20} {foot - 96} "
            f"C {trunk + 10} {foot - 50} {trunk + 8} {foot} {trunk + 12} {height} Z"
        ),
        linear(trunk - 10, 0, trunk + 12, 0, "#7B5A40", "#4F3828"),
    )
    greens = ("#4E8C4B", "#3C7440", "#6BA758") if mood != "evening" else ("#4A6B45", "#38563B", "#6B7F4A")
    for i in range(60):
        angle, reach = chance.uniform(0, math.tau), math.sqrt(chance.random())
        cx, cy = trunk + 6 + math.cos(angle) * reach * 74, foot - 142 + math.sin(angle) * reach * 58
        canvas.drawCircle(cx, cy, chance.uniform(9, 19), fill(greens[i % 3], 0.95))


def _props(canvas: Canvas) -> None:
    """Two coffees and a small vase."""
    mug(canvas, -30, "#F7F3EC", "#C9C0B2")
    mug(canvas, 34, "#4C8C86", "#2F625E")
    canvas.drawRRect(rounded(-5, 4, 14, 26, 6), linear(-5, 0, 9, 0, "#D9EEF5", "#8FB9C9"))
    for dx, dy, tint in ((-8, -14, "#E26A86"), (3, -22, "#F6C945"), (13, -12, "#FFFFFF")):
        canvas.drawLine(2, 6, dx, dy, line("#4E8C4B", 2))
        canvas.drawCircle(dx, dy, 5.2, fill(tint))
        canvas.drawCircle(dx, dy, 2, fill("#C98A2B"))


STREET = Place(
    far=_far,
    near=_near,
    life=_life,
    props=_props,
    moods=("sunny", "evening", "rain"),
    table=("#F3EEE4", "#BDB2A2", "#FFFFFF"),
    ground=("#173B57", "#2B6C8C", "#C77B4A"),
)
