"""What every kind of shot has in common: its material, the people at the table, captions and fades."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import skia

from hpcwise.core.errors import BadOutput
from hpcwise.core.screenplay import Character, Shot, Speech
from hpcwise.models.drawn.body import TABLE_Y
from hpcwise.models.drawn.captions import Page, draw_captions
from hpcwise.models.drawn.characters import draw_character
from hpcwise.models.drawn.layout import Box, Stage
from hpcwise.models.drawn.motion import Acting
from hpcwise.models.drawn.paint import (
    LINEAR,
    Canvas,
    Image,
    box,
    eased,
    fill,
    line,
    linear,
    recorded,
    rounded,
)
from hpcwise.models.drawn.sets import draw_table

ACCENT = "#FFD166"


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant of a shot. progress: 0 at its start, 1 at its end.

    time_s: of everything that moves; said_s: of what is said. They differ where `still` is set: one picture
    then stands for many frames.
    """

    frame: int
    time_s: float
    said_s: float
    progress: float
    still: bool = False


class FigureText(msgspec.Struct, frozen=True):
    """What a figure shot prints below the picture."""

    label: str = ""
    caption: str = ""
    file: str = ""


class DocumentText(msgspec.Struct, frozen=True):
    """The few fields of `document.json` that are drawn; the others are ignored."""

    title: str = ""
    authors: tuple[str, ...] = ()
    figures: tuple[FigureText, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """All that a shot is drawn from, made once a call."""

    shot: Shot
    cast: tuple[Character, ...]
    speech: Speech
    acting: dict[str, Acting]
    stage: Stage
    scale: float
    set_name: str
    backdrop: Image
    document: DocumentText
    figure: Image | None
    show_title: str
    show_name: bool
    #: The shot's place in the film, or a number from its words: only whether it is even counts.
    index: int

    def seated(self) -> tuple[tuple[Character, float], ...]:
        """Those at the table, left to right, with their side (-1 to 1)."""
        return seated(self.cast, self.speech)

    def speaker_at(self, time_s: float) -> Character:
        """Who speaks, or spoke last; the first of the cast in a shot without lines."""
        said = [who for who, start_s, _ in self.speech.spans if start_s - 0.12 <= time_s]
        who = said[-1] if said else (self.speech.spans[0][0] if self.speech.spans else self.cast[0].id)
        return next(c for c in self.cast if c.id == who)

    def main_speaker(self) -> Character:
        """Who speaks longest."""
        spoken: dict[str, float] = {}
        for who, start_s, end_s in self.speech.spans:
            spoken[who] = spoken.get(who, 0.0) + end_s - start_s
        longest = max(spoken, key=lambda w: spoken[w]) if spoken else self.cast[0].id
        return next(c for c in self.cast if c.id == longest)


def seated(cast: tuple[Character, ...], speech: Speech) -> tuple[tuple[Character, float], ...]:
    """Two at the table, left to right, with their sides: those who speak first, in the order of the cast."""
    heard = {who for who, _, _ in speech.spans}
    chosen = sorted(range(len(cast)), key=lambda i: (cast[i].id not in heard, i))[:2]
    people = [cast[i] for i in sorted(chosen)]
    return ((people[0], 0.0),) if len(people) == 1 else ((people[0], -1.0), (people[1], 1.0))


class ShotDrawing(Protocol):
    """One kind of shot. Coordinates are the stage's units."""

    #: Where captions go, and how large their type is.
    captions: Box

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""


def still_acting(acting: dict[str, Acting]) -> dict[str, Acting]:
    """The same people at ease: mouths closed, hands down, looking into the camera."""
    return {
        who: replace(
            a,
            mouth=np.zeros_like(a.mouth) + np.array([0, 1.0, 0, 0, 0]),
            stress=a.stress * 0,
            blink=a.blink * 0,
            gaze=a.gaze * 0,
            turn=a.turn * 0,
            nod=a.nod * 0,
            talking=a.talking * 0,
            brows=a.brows * 0,
            smile=a.smile * 0 + 0.8,
            gestures=(),
        )
        for who, a in acting.items()
    }


def draw_people(canvas: Canvas, material: Material, stage: Stage, moment: Moment, zoom: float) -> None:
    """Set, people at the table and what stands on it, filling `stage`."""
    room = 104.0 if not stage.portrait else stage.height * 0.21
    table_y = stage.height - room
    size = min((table_y - 22) / 328.0, stage.width / 2 / 246.0, 1.0)
    apart = min(stage.width * 0.245, 172.0)
    middle = stage.width / 2
    canvas.save()
    _zoomed(canvas, stage, 1 + (zoom - 1) * 0.55)
    draw_backdrop(canvas, material.backdrop, stage)
    canvas.restore()
    canvas.save()
    _zoomed(canvas, stage, zoom)
    seated = material.seated()
    for phase in ("bodies", "table", "arms"):
        if phase == "table":
            draw_table(canvas, material.set_name, stage.width, table_y, stage.height)
            _draw_props(canvas, material.set_name, middle, table_y, size)
            continue
        for character, side in seated:
            canvas.save()
            canvas.translate(middle + side * apart, table_y - TABLE_Y * size)
            canvas.scale(size, size)
            draw_character(
                canvas,
                character.look,
                material.acting[character.id],
                moment.frame,
                moment.time_s,
                upper=phase == "bodies",
                arms=phase == "arms",
                lead=-1 if side <= 0 else 1,
            )
            canvas.restore()
    canvas.restore()


def _zoomed(canvas: Canvas, stage: Stage, zoom: float) -> None:
    x, y = stage.width / 2, stage.height * 0.42
    canvas.translate(x, y)
    canvas.scale(zoom, zoom)
    canvas.translate(-x, -y)


def draw_backdrop(canvas: Canvas, backdrop: Image, stage: Stage) -> None:
    """The set's picture so that it covers the stage."""
    scale = max(stage.width / backdrop.width(), stage.height / backdrop.height())
    wide, tall = backdrop.width() * scale, backdrop.height() * scale
    canvas.drawImageRect(
        backdrop, box((stage.width - wide) / 2, (stage.height - tall) / 2, wide, tall), LINEAR
    )


def _draw_props(canvas: Canvas, set_name: str, middle: float, table_y: float, size: float) -> None:
    canvas.save()
    canvas.translate(middle, table_y)
    canvas.scale(size, size)
    canvas.drawPicture(_props(set_name))
    canvas.restore()


@functools.lru_cache(maxsize=8)
def _props(set_name: str) -> Any:
    def draw(canvas: Canvas) -> None:
        if set_name == "studio":
            for side in (-1, 1):
                canvas.drawOval(box(side * 30 - 15, 21, 30, 8), fill("#15171B"))
                canvas.drawPath(_boom(side), line("#2A2D34", 3.6))
                canvas.save()
                canvas.translate(side * 47, -30)
                canvas.rotate(side * 38)
                canvas.drawRRect(
                    rounded(-9, -19, 18, 33, 9), linear(-9, 0, 9, 0, "#3B3F48", "#757B88", "#22252B")
                )
                canvas.drawRRect(rounded(-9, -2, 18, 4, 1.5), fill("#F2B84B"))
                canvas.restore()
            canvas.drawRRect(rounded(-11, 8, 22, 26, 4), linear(-11, 0, 11, 0, "#EFE8DC", "#BDB3A1"))
            canvas.drawPath(_handle(), line("#CFC5B4", 3.4))
        else:
            for i, tint in enumerate(("#4A6FA5", "#C5574D", "#E8DFCF")):
                canvas.drawRRect(rounded(-34 + i * 3, 22 - i * 7, 62 - i * 5, 7, 1.5), fill(tint))
            canvas.drawCircle(-6, 0, 8.5, fill("#C94F3D"))
            canvas.drawLine(-6, -7, -4, -12, line("#5B3A22", 2))

    return recorded(200, 200, draw)


def _boom(side: int) -> Any:
    path = skia.Path()
    path.moveTo(side * 30, 24)
    path.cubicTo(side * 26, -4, side * 30, -20, side * 43, -24)
    return path


def _handle() -> Any:
    path = skia.Path()
    path.moveTo(11, 13)
    path.cubicTo(21, 12, 21, 28, 11, 27)
    return path


def draw_inset(canvas: Canvas, material: Material, character: Character, moment: Moment, area: Box) -> None:
    """A round window with one person's head and shoulders."""
    x, y, radius = area.x + area.width / 2, area.y + area.height / 2, area.width / 2 - 3
    canvas.drawCircle(x, y + 2, radius + 3, fill("#000000", 0.35))
    canvas.save()
    circle = skia.Path()
    circle.addCircle(x, y, radius)
    canvas.clipPath(circle, doAntiAlias=True)
    canvas.drawRect(
        box(area.x, area.y, area.width, area.height), linear(0, area.y, 0, area.bottom, "#6A5A96", "#2E2547")
    )
    size = area.width / 196.0
    canvas.translate(x, y + 58 * size)
    canvas.scale(size, size)
    draw_character(
        canvas, character.look, material.acting[character.id], moment.frame, moment.time_s, arms=False
    )
    canvas.restore()
    canvas.drawCircle(x, y, radius, line(ACCENT, 3.0))


def draw_overlays(
    canvas: Canvas, material: Material, drawing: ShotDrawing, page: Page | None, moment: Moment, fade: float
) -> None:
    """Captions, and the black of a fade (0 none, 1 all)."""
    if page is not None:
        area = drawing.captions
        draw_captions(
            canvas,
            page,
            moment.said_s,
            area.x,
            area.bottom,
            area.width,
            material.stage.caption_size,
            ACCENT,
            moment.still,
        )
    if fade > 0:
        canvas.drawColor(skia.Color(0, 0, 0, round(255 * min(1.0, fade))))


def fade_at(time_s: float, left_s: float, first: bool, last: bool) -> float:
    """How black a frame is: half a second at the film's two ends."""
    dark = 1 - eased(time_s / 0.5) if first else 0.0
    return max(dark, 1 - eased(left_s / 0.6)) if last else dark


def read_image(path: Path) -> Image:
    """A picture file as an image on white; raises `BadOutput` if it is none."""
    decoded = skia.Image.open(str(path)) if path.is_file() else None
    if decoded is None:
        raise BadOutput(f"animate: {path.name} is missing or no picture")
    return decoded
