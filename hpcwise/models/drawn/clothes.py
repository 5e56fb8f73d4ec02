"""What people wear: neck, collar and top, each drawn once and replayed. The origin is the neck's base."""

from __future__ import annotations

from collections.abc import Callable

from hpcwise.models.drawn.looks import Look
from hpcwise.models.drawn.paint import Canvas, Path, box, fill, line, linear, radial, shape


def draw_clothes(canvas: Canvas, look: Look) -> None:
    """Neck and torso, down to below any table."""
    w = look.shoulders
    _neck(canvas, look)
    low = 6 if look.top == "turtleneck" else 26
    body = shape(
        f"M -20 2 C -30 7 {-w * 0.62} 11 {-w * 0.78} 18 "
        f"C {-w * 0.98} 26 {-w} 46 {-w * 1.0} 74 L {-w * 0.9} 300 "
        f"L {w * 0.9} 300 L {w * 1.0} 74 C {w} 46 {w * 0.98} 26 {w * 0.78} 18 C {w * 0.62} 11 30 7 20 2 "
        f"C 12 {low} -12 {low} -20 2 Z"
    )
    canvas.drawPath(body, linear(-w, 20, w * 0.7, 200, look.top_colour, look.top_colour, look.top_shade))
    canvas.save()
    canvas.clipPath(body, doAntiAlias=True)
    # Light on the shoulder at the left, shade down the right side and under the chin.
    canvas.drawRect(box(-w, 0, w, 90), radial(-w * 0.7, 18, 60, ("#FFFFFF", 0.2), ("#FFFFFF", 0.0)))
    canvas.drawPath(
        shape(f"M {w} 74 L {w} 300 L {w * 0.5} 300 C {w * 0.86} 200 {w * 0.8} 110 {w * 0.7} 68 Z"),
        fill(look.top_shade, 0.55),
    )
    canvas.drawPath(shape("M -34 0 C -24 40 24 40 34 0 Z"), fill("#000000", 0.1))
    canvas.restore()
    _TOPS[look.top](canvas, look)
    for s in (-1, 1):
        canvas.drawPath(
            shape(f"M {s * w * 0.72} 62 C {s * w * 0.68} 92 {s * w * 0.66} 130 {s * w * 0.68} 170"),
            line(look.top_shade, 2.2, 0.7),
        )


def _neck(canvas: Canvas, look: Look) -> None:
    neck = 16.5 + 4.0 * (look.jaw - 0.9) / 0.14
    canvas.drawPath(
        shape(
            f"M {-neck} -46 L {-neck - 1} -8 C {-neck - 4} 4 {-neck - 14} 8 -34 12 L 34 12 "
            f"C {neck + 14} 8 {neck + 4} 4 {neck + 1} -8 L {neck} -46 Z"
        ),
        linear(-neck, 0, neck, 0, look.skin, look.skin, look.shade),
    )
    canvas.drawPath(shape("M -19 -2 L -13 28 L 13 28 L 19 -2 Z"), fill(look.skin))
    # The chin's shadow keeps head and neck apart.
    canvas.drawPath(
        shape(f"M {-neck} -40 L {-neck - 0.8} -14 C -9 1 9 1 {neck + 0.8} -14 L {neck} -40 Z"),
        fill(look.shade),
    )
    for s in (-1, 1):  # collar bones
        canvas.drawPath(shape(f"M {s * 4} 9 Q {s * 12} 6 {s * 20} 8"), line(look.shade, 1.6, 0.6))


def _sweater(canvas: Canvas, look: Look) -> None:
    canvas.drawPath(shape("M -20 2 C -12 26 12 26 20 2"), line(look.top_shade, 7.0))
    canvas.drawPath(shape("M -22 1 C -13 30 13 30 22 1"), line(look.accent, 1.4, 0.55))
    for y in (58, 66):  # a knitted band
        canvas.drawPath(
            shape(f"M {-look.shoulders * 0.7} {y} C -30 {y + 9} 30 {y + 9} {look.shoulders * 0.7} {y}"),
            line(look.accent, 2.0, 0.28),
        )


def _turtleneck(canvas: Canvas, look: Look) -> None:
    canvas.drawPath(
        shape("M -20 -20 C -10 -14 10 -14 20 -20 L 22 8 C 10 16 -10 16 -22 8 Z"),
        linear(-20, 0, 20, 0, look.top_colour, look.top_colour, look.top_shade),
    )
    canvas.drawPath(
        shape("M -21 -8 C -10 -1 10 -1 21 -8 M -22 8 C -10 16 10 16 22 8"), line(look.top_shade, 2.0)
    )
    canvas.drawPath(shape("M -30 12 Q 0 78 30 12"), line(look.accent, 1.6, 0.8))
    canvas.drawCircle(0, 47, 5.5, fill(look.accent))
    canvas.drawCircle(-1.6, 45.4, 1.8, fill("#FFFFFF", 0.8))


def _blazer(canvas: Canvas, look: Look) -> None:
    canvas.drawPath(shape("M -23 0 L 0 92 L 23 0 C 12 20 -12 20 -23 0 Z"), fill(look.accent))
    canvas.drawPath(shape("M -23 0 L -4 34 L -16 26 Z M 23 0 L 4 34 L 16 26 Z"), fill("#FFFFFF"))
    for s in (-1, 1):
        canvas.drawPath(
            shape(f"M {s * 24} -1 L {s * 38} 8 L {s * 44} 52 L {s * 34} 56 L 0 116 L 0 96 Z"),
            fill(look.top_shade),
        )
    canvas.drawPath(shape("M 24 -1 L 0 96 M -24 -1 L 0 96"), line("#000000", 1.2, 0.22))
    canvas.drawPath(shape("M 0 98 L 0 300"), line(look.top_shade, 2.0))
    canvas.drawCircle(6, 128, 3.2, fill("#16203F"))
    canvas.drawPath(shape("M 34 76 L 58 72 L 58 82 L 35 86 Z"), fill(look.accent, 0.9))


def _shirt(canvas: Canvas, look: Look) -> None:
    canvas.drawPath(shape("M -22 1 L -8 30 L 0 16 L 8 30 L 22 1 C 12 14 -12 14 -22 1 Z"), fill(look.accent))
    canvas.drawPath(shape("M -8 30 L 0 16 L 8 30"), line(look.top_shade, 1.2, 0.5))
    canvas.drawPath(shape("M 0 18 L 0 300"), line(look.top_shade, 2.2))
    for y in (44, 84, 124):
        canvas.drawCircle(0, y, 2.6, fill(look.accent))
    canvas.drawPath(shape("M 28 62 L 58 62 L 58 92 Q 43 102 28 92 Z"), line(look.top_shade, 1.8, 0.8))


def _hoodie(canvas: Canvas, look: Look) -> None:
    canvas.drawPath(
        shape(
            "M -40 14 C -34 -14 -22 -18 -18 -4 C -12 26 12 26 18 -4 C 22 -18 34 -14 40 14 "
            "C 20 44 -20 44 -40 14 Z"
        ),
        linear(0, -16, 0, 40, look.top_colour, look.top_shade),
    )
    canvas.drawPath(shape("M -18 -4 C -12 28 12 28 18 -4"), line(look.top_shade, 2.4))
    for s in (-1, 1):
        canvas.drawPath(shape(f"M {s * 11} 32 C {s * 12} 48 {s * 9} 58 {s * 11} 74"), line(look.accent, 2.6))
        canvas.drawCircle(s * 11, 76, 2.6, fill(look.accent))
    canvas.drawPath(shape("M -40 170 L -26 128 L 26 128 L 40 170"), line(look.top_shade, 2.2, 0.8))


def _cardigan(canvas: Canvas, look: Look) -> None:
    canvas.drawPath(shape("M -23 0 L 0 108 L 23 0 C 12 24 -12 24 -23 0 Z"), fill(look.accent))
    canvas.drawPath(shape("M -19 7 C -10 22 10 22 19 7"), line("#FFFFFF", 1.6, 0.7))
    for s in (-1, 1):
        canvas.drawPath(shape(f"M {s * 26} 1 L {s * 3} 108 L {s * 3} 300"), line(look.top_shade, 6.0))
    for y in (120, 144):
        canvas.drawCircle(0, y, 3.0, fill(look.accent))
    for i in range(7):  # pearls
        x = -15 + i * 5
        canvas.drawCircle(x, 10 + 9 * (1 - (x / 16) ** 2), 2.5, fill("#FBF4E6"))


def drape() -> Path:
    """The cloth of a headscarf that lies on the shoulders; it does not turn with the head."""
    return shape(
        "M -44 -40 C -49 -12 -60 2 -80 24 C -86 32 -84 38 -76 44 C -52 63 -22 72 4 71 "
        "C 34 70 62 60 79 43 C 86 36 86 30 80 23 C 60 2 49 -12 44 -40 C 26 4 -26 4 -44 -40 Z"
    )


def _draped(canvas: Canvas, look: Look) -> None:
    """A plain top under a headscarf, whose front is drawn with the head."""
    canvas.drawPath(shape("M 0 40 L 0 300"), line(look.top_shade, 2.0))
    for x in (-44, 44):
        canvas.drawPath(
            shape(f"M {x} 60 C {x * 0.9} 110 {x * 0.95} 140 {x * 0.9} 300"), line(look.top_shade, 1.8, 0.6)
        )
    canvas.save()
    canvas.translate(0, 4)
    canvas.drawPath(drape(), fill("#000000", 0.22))
    canvas.restore()
    canvas.drawPath(drape(), linear(-60, -40, 50, 72, look.hair_light, look.hair_colour, look.hair_colour))
    for path in (
        "M -50 -6 C -42 30 0 58 62 46",
        "M -62 8 C -50 40 -14 62 30 66",
        "M 52 -4 C 58 8 64 16 74 26",
    ):
        canvas.drawPath(shape(path), line("#000000", 1.8, 0.16))
    canvas.drawPath(shape("M -46 -20 C -30 24 34 34 70 16 C 40 46 -26 40 -46 -20 Z"), fill("#000000", 0.12))


_TOPS: dict[str, Callable[[Canvas, Look], None]] = {
    "sweater": _sweater,
    "turtleneck": _turtleneck,
    "blazer": _blazer,
    "shirt": _shirt,
    "hoodie": _hoodie,
    "cardigan": _cardigan,
    "draped": _draped,
}
