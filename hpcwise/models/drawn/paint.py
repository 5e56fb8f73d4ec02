"""Small words for skia: colours from #rrggbb, paints in one call, paths from SVG-like strings."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import skia

Canvas = Any
Path = Any
Paint = Any
Image = Any

LINEAR = skia.SamplingOptions(skia.FilterMode.kLinear)
CUBIC = skia.SamplingOptions(skia.CubicResampler.Mitchell())


@functools.lru_cache(maxsize=1024)
def colour(code: str, alpha: float = 1.0) -> int:
    """`#rrggbb` with an opacity from 0 to 1."""
    return int(skia.Color(int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16), round(255 * alpha)))


@functools.lru_cache(maxsize=2048)
def fill(code: str, alpha: float = 1.0) -> Paint:
    """A flat, smooth fill. Cached: never change what it returns."""
    return skia.Paint(AntiAlias=True, Color=colour(code, alpha))


@functools.lru_cache(maxsize=2048)
def line(code: str, width: float, alpha: float = 1.0) -> Paint:
    """A round-ended stroke. Cached: never change what it returns."""
    return skia.Paint(
        AntiAlias=True,
        Color=colour(code, alpha),
        Style=skia.Paint.kStroke_Style,
        StrokeWidth=width,
        StrokeCap=skia.Paint.kRound_Cap,
        StrokeJoin=skia.Paint.kRound_Join,
    )


def linear(x0: float, y0: float, x1: float, y1: float, *codes: str | tuple[str, float]) -> Paint:
    """A fill along a line, through evenly spaced colours (`#rrggbb` or with an opacity)."""
    return _shaded(skia.GradientShader.MakeLinear([skia.Point(x0, y0), skia.Point(x1, y1)], _colours(codes)))


def radial(x: float, y: float, radius: float, *codes: str | tuple[str, float]) -> Paint:
    """A fill from a centre outwards."""
    return _shaded(skia.GradientShader.MakeRadial(skia.Point(x, y), radius, _colours(codes)))


def blurred(code: str, sigma: float, alpha: float = 1.0) -> Paint:
    """A soft fill; costly, for pictures that are made once."""
    paint = skia.Paint(AntiAlias=True, Color=colour(code, alpha))
    paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, sigma))
    return paint


def _colours(codes: Sequence[str | tuple[str, float]]) -> list[int]:
    return [colour(c) if isinstance(c, str) else colour(*c) for c in codes]


def _shaded(shader: Any) -> Paint:
    paint = skia.Paint(AntiAlias=True)
    paint.setShader(shader)
    return paint


@functools.lru_cache(maxsize=512)
def shape(text: str) -> Path:
    """A path from absolute `M L C Q Z` commands. Cached: never change what it returns."""
    return drawn_shape(text)


def drawn_shape(text: str) -> Path:
    """As `shape`, for strings that are new in every frame."""
    path, tokens, i = skia.Path(), text.replace(",", " ").split(), 0
    while i < len(tokens):
        command = tokens[i]
        count = {"M": 2, "L": 2, "C": 6, "Q": 4, "Z": 0}[command]
        numbers = [float(t) for t in tokens[i + 1 : i + 1 + count]]
        getattr(path, {"M": "moveTo", "L": "lineTo", "C": "cubicTo", "Q": "quadTo", "Z": "close"}[command])(
            *numbers
        )
        i += 1 + count
    return path


def box(x: float, y: float, width: float, height: float) -> Any:
    """A rectangle."""
    return skia.Rect.MakeXYWH(x, y, width, height)


def rounded(x: float, y: float, width: float, height: float, radius: float) -> Any:
    """A rectangle with round corners."""
    return skia.RRect.MakeRectXY(box(x, y, width, height), radius, radius)


def recorded(width: float, height: float, draw: Any) -> Any:
    """What `draw(canvas)` draws, as a picture that replays fast; bounds from the origin both ways."""
    recorder = skia.PictureRecorder()
    draw(recorder.beginRecording(skia.Rect.MakeLTRB(-width, -height, width, height)))
    return recorder.finishRecordingAsPicture()


def eased(x: float) -> float:
    """0 to 1 with a soft start and end."""
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)
