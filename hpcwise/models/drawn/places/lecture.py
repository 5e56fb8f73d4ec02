"""The lecture hall: a board with chalk on it, wainscot, daylight from tall windows, a clock."""

from __future__ import annotations

import math
import random

from hpcwise.models.drawn.paint import Canvas, blurred, box, drawn_shape, fill, line, linear, radial, rounded
from hpcwise.models.drawn.places.base import Place, vignette

_LIGHTS = {"morning": ("#FFF4D6", 0.55), "afternoon": ("#FFD08A", 0.6), "overcast": ("#E6EEF6", 0.35)}


def board_at(width: float, height: float) -> tuple[float, float, float, float]:
    """The board: left, top, width, height."""
    wide = min(width - 56, 560.0)
    return (width - wide) / 2, max(130.0, height * 0.46) - 150, wide, 190.0


def _far(canvas: Canvas, width: float, height: float, mood: str) -> None:
    horizon = max(130.0, height * 0.46)
    canvas.drawRect(box(0, 0, width, height), linear(0, 0, 0, height, "#F1E6D3", "#E5D4BA", "#C9B391"))
    canvas.drawRect(
        box(0, horizon + 78, width, height), linear(0, horizon + 78, 0, height, "#B98F63", "#8F6A46")
    )
    x = 0.0
    while x < width:  # wainscot
        canvas.drawRect(box(x, horizon + 78, 1.6, height), fill("#6E4F33", 0.5))
        canvas.drawRRect(rounded(x + 7, horizon + 92, 31, height, 3), line("#6E4F33", 1.4, 0.35))
        x += 44
    canvas.drawRect(box(0, horizon + 74, width, 6), fill("#7D5B3C"))
    left, top, wide, tall = board_at(width, height)
    canvas.drawRRect(rounded(left - 6, top - 4, wide + 16, tall + 16, 6), blurred("#4A3520", 7, 0.35))
    frame = linear(0, top, 0, top + tall, "#A87C4F", "#7B5733")
    canvas.drawRRect(rounded(left - 9, top - 9, wide + 18, tall + 18, 5), frame)
    canvas.drawRect(
        box(left, top, wide, tall),
        linear(left, top, left + wide, top + tall, "#2E5A4A", "#27493F", "#1F3B34"),
    )
    smear = random.Random("wiped")
    for _ in range(7):  # where it has been wiped
        x, y = left + smear.uniform(0.05, 0.75) * wide, top + smear.uniform(0.1, 0.8) * tall
        canvas.drawOval(box(x, y, smear.uniform(50, 120), smear.uniform(10, 22)), blurred("#FFFFFF", 8, 0.06))
    _chalk(canvas, left, top, wide, tall)
    canvas.drawRect(box(left, top + tall + 4, wide, 6), fill("#6A4A2C"))
    for i, tint in enumerate(("#FFFFFF", "#F6D479", "#9FD3F0")):
        canvas.drawRRect(rounded(left + 30 + i * 26, top + tall + 1, 18, 4, 2), fill(tint))
    for x in (max(20.0, left + 70), min(width - 20, left + wide - 70)):  # picture lights
        canvas.drawCircle(x, top - 10, 120, radial(x, top - 10, 120, ("#FFF6DC", 0.4), ("#FFF6DC", 0.0)))
    light, strength = _LIGHTS[mood]
    for i in range(3):  # daylight from windows that are out of the picture
        x = width * (-0.05 + 0.2 * i)
        beam = drawn_shape(
            f"M {x} 0 L {x + 46} 0 L {x + 46 + height * 0.6} {height} L {x + height * 0.45} {height} Z"
        )
        canvas.drawPath(beam, linear(x, 0, x + height * 0.5, height, (light, 0.3 * strength), (light, 0.0)))
    vignette(canvas, width, height, "#2A1A0A", 0.42)


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


def _clock_at(width: float, height: float) -> tuple[float, float]:
    left, top, wide, _ = board_at(width, height)
    return min(left + wide - 24, width - 40), max(24.0, top - 24)


def _life(canvas: Canvas, width: float, height: float, time_s: float, mood: str) -> None:
    light = _LIGHTS[mood][0]
    for i in range(18):  # dust in the light
        x = (i * 61 + time_s * (3 + i % 4)) % (width * 0.6)
        y = (i * 97 + math.sin(time_s * 0.4 + i) * 9 + time_s * 2.0) % (height * 0.8)
        canvas.drawCircle(x, y, 0.9 + (i % 3) * 0.35, fill(light, 0.28 + 0.12 * (i % 3)))
    x, y = _clock_at(width, height)
    canvas.drawCircle(x, y, 17, fill("#4B3623"))
    canvas.drawCircle(x, y, 14.5, fill("#FBF7EC"))
    for reach, angle, wide in ((7.5, 2.2, 2.2), (10.5, 5.1, 1.6), (12.0, int(time_s) * math.pi / 30, 0.9)):
        tint = "#B23A2E" if wide < 1 else "#2B2118"
        canvas.drawLine(x, y, x + reach * math.sin(angle), y - reach * math.cos(angle), line(tint, wide))


def _near(canvas: Canvas, width: float, height: float, mood: str) -> None:
    """A globe on a cupboard at the left, a plant at the right."""
    base = max(130.0, height * 0.46) + 92
    x = max(30.0, width * 0.07)
    canvas.drawRRect(
        rounded(x - 60, base, 104, height, 3), linear(x - 60, 0, x + 44, 0, "#8A623C", "#6B4A2C")
    )
    canvas.drawRect(box(x - 64, base - 5, 112, 8), fill("#A97B4C"))
    canvas.drawRect(box(x - 4, base - 18, 8, 14), fill("#5B4128"))
    canvas.drawOval(box(x - 20, base - 8, 40, 6), fill("#5B4128"))
    canvas.drawCircle(x, base - 46, 29, radial(x - 10, base - 56, 44, "#9FD0E4", "#3E86AE", "#1F5277"))
    land = (
        f"M {x - 20} {base - 60} Q {x - 6} {base - 72} {x + 4} {base - 60} "
        f"Q {x + 2} {base - 48} {x - 8} {base - 44} "
        f"Q {x - 22} {base - 46} {x - 20} {base - 60} Z"
    )
    canvas.drawPath(drawn_shape(land), fill("#7DAA5B"))
    canvas.drawOval(box(x + 4, base - 44, 17, 20), fill("#7DAA5B"))
    canvas.drawPath(
        drawn_shape(f"M {x + 14} {base - 78} Q {x + 46} {base - 40} {x - 4} {base - 13}"),
        line("#D7B25A", 2.6),
    )
    pot = width - 34
    for i in range(9):
        angle = -math.pi / 2 + (i - 4) * 0.28
        canvas.drawPath(
            drawn_shape(
                f"M {pot} {base + 6} Q {pot + math.cos(angle) * 30} {base + math.sin(angle) * 60} "
                f"{pot + math.cos(angle) * 62} {base + math.sin(angle) * 92}"
            ),
            line("#3E7A4A" if i % 2 else "#5B9C5F", 8.0),
        )
    canvas.drawPath(
        drawn_shape(
            f"M {pot - 24} {base} L {pot + 24} {base} L {pot + 18} {base + 60} L {pot - 18} {base + 60} Z"
        ),
        linear(pot - 24, 0, pot + 24, 0, "#D6815A", "#A8583A"),
    )


def _props(canvas: Canvas) -> None:
    """Books with an apple on them."""
    canvas.drawOval(box(-40, 26, 80, 10), fill("#000000", 0.22))
    for i, tint in enumerate(("#4A6FA5", "#C5574D", "#E8DFCF")):
        canvas.drawRRect(rounded(-34 + i * 3, 22 - i * 7, 62 - i * 5, 7, 1.5), fill(tint))
        canvas.drawRect(box(-30 + i * 3, 24 - i * 7, 8, 3), fill("#FFFFFF", 0.35))
    canvas.drawCircle(-6, 0, 8.5, radial(-9, -3, 12, "#E8705A", "#B23A2C"))
    canvas.drawLine(-6, -7, -4, -12, line("#5B3A22", 2))
    canvas.drawPath(drawn_shape("M -4 -11 Q 3 -16 7 -11 Q 1 -8 -4 -11 Z"), fill("#6DA34D"))


LECTURE = Place(
    far=_far,
    near=_near,
    life=_life,
    props=_props,
    moods=("morning", "afternoon", "overcast"),
    table=("#A97D50", "#5E4026", "#D5AC7A"),
    ground=("#1B2F2A", "#24523F", "#6B4A2A"),
)
