"""What every kind of shot has in common: its material, who sits where, captions, the logo and fades."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import skia

from hpcwise.core.document import FigureWord
from hpcwise.core.errors import BadOutput
from hpcwise.core.screenplay import Character, Shot, Speech
from hpcwise.models.drawn.captions import Page, draw_captions
from hpcwise.models.drawn.layout import MARGIN, Box, Stage
from hpcwise.models.drawn.motion import Acting
from hpcwise.models.drawn.paint import LINEAR, Canvas, Image, box, eased
from hpcwise.models.drawn.places.base import Place
from hpcwise.models.drawn.text import INTER, Fonts

ACCENT = "#FFD166"
#: How black the first frame of a film is.
OPENS_AT = 0.3
#: The logo's height in the corner; the greatest width as a share of the picture's, and in units.
LOGO_HEIGHT, LOGO_SHARE, LOGO_WIDEST = 30.0, 0.22, 140.0


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
    """What a figure shot prints below the picture. words: in the picture."""

    label: str = ""
    caption: str = ""
    file: str = ""
    words: tuple[FigureWord, ...] = ()


class DocumentText(msgspec.Struct, frozen=True):
    """The few fields of `document.json` that are drawn; the others are ignored."""

    title: str = ""
    authors: tuple[str, ...] = ()
    figures: tuple[FigureText, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenery:
    """The place of a film as pictures. near is None, and nothing lives, where another model drew the set.

    near_areas: where near is not clear, in shares of the picture.
    """

    name: str
    place: Place
    mood: str
    far: Image
    near: Image | None
    near_areas: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """All that a shot is drawn from, made once a call."""

    shot: Shot
    cast: tuple[Character, ...]
    speech: Speech
    acting: dict[str, Acting]
    stage: Stage
    scale: float
    scenery: Scenery
    document: DocumentText
    figure: Image | None
    show_title: str
    show_name: bool
    #: The shot's place in the film, or a number from its words: see `every_other`.
    index: int
    fonts: Fonts = INTER
    logo: Image | None = None

    @property
    def every_other(self) -> bool:
        """What alternates from shot to shot of a kind; a question and its answer go together."""
        return self.index // 2 % 2 == 1

    def seated(self) -> tuple[tuple[Character, float], ...]:
        """Those at the table, left to right, with their side (-1 to 1)."""
        return seated(self.cast, self.speech)

    def speaker_at(self, time_s: float) -> Character:
        """Who speaks, or spoke last; the first of the cast in a shot without lines."""
        said = [who for who, start_s, _ in self.speech.spans if start_s - 0.12 <= time_s]
        who = said[-1] if said else (self.speech.spans[0][0] if self.speech.spans else self.cast[0].id)
        return next(c for c in self.cast if c.id == who)

    def listener(self, speaker: Character) -> Character | None:
        """The other one at the table, if there is one."""
        return next((c for c, _ in self.seated() if c.id != speaker.id), None)

    def side_of(self, character: Character) -> float:
        """Where somebody sits: -1 left, 1 right, 0 in the middle or not at the table."""
        return next((side for c, side in self.seated() if c.id == character.id), 0.0)

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

    #: Where captions go.
    captions: Box
    #: Whether the upper right corner is free for a logo.
    corner: bool

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


def draw_overlays(
    canvas: Canvas, material: Material, drawing: ShotDrawing, page: Page | None, moment: Moment, fade: float
) -> None:
    """Logo, captions, and the black of a fade (0 none, 1 all)."""
    if material.logo is not None and drawing.corner:
        draw_logo(canvas, material, logo_box(material.logo, material.stage))
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
            material.fonts.semi,
        )
    if fade > 0:
        canvas.drawColor(skia.Color(0, 0, 0, round(255 * min(1.0, fade))))


def logo_box(logo: Image, stage: Stage, height: float = LOGO_HEIGHT) -> Box:
    """Where a logo stands in the upper right corner."""
    aspect = logo.width() / logo.height()
    wide = min(height * aspect, stage.width * LOGO_SHARE, LOGO_WIDEST)
    return Box(stage.width - MARGIN - wide, MARGIN - 2, wide, wide / aspect)


def draw_logo(canvas: Canvas, material: Material, area: Box) -> None:
    """The person's own logo, filling `area`."""
    if material.logo is not None:
        canvas.drawImageRect(material.logo, box(area.x, area.y, area.width, area.height), LINEAR)


def fade_at(time_s: float, left_s: float, first: bool, last: bool) -> float:
    """How black a frame is: half a second at the film's two ends.

    The first frame can be made out: it is the picture that a file manager or a message shows of the film.
    """
    dark = OPENS_AT * (1 - eased(time_s / 0.5)) if first else 0.0
    return max(dark, 1 - eased(left_s / 0.6)) if last else dark


def read_image(path: Path) -> Image:
    """A picture file as an image; raises `BadOutput` if it is none."""
    decoded = skia.Image.open(str(path)) if path.is_file() else None
    if decoded is None:
        raise BadOutput(f"animate: {path.name} is missing or no picture")
    return decoded
