"""Shots of people: two at a table, close-up, over a shoulder, split screen; and takes of them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcwise.core.screenplay import Character
from hpcwise.models.drawn.cards import CardShot, ChapterShot
from hpcwise.models.drawn.coverage import Take, takes_of
from hpcwise.models.drawn.figures import FigureShot
from hpcwise.models.drawn.layout import split_layout
from hpcwise.models.drawn.looks import LOOKS
from hpcwise.models.drawn.paint import LINEAR, Canvas, box, eased, fill, linear, rounded
from hpcwise.models.drawn.people import (
    NARROW,
    back_picture,
    blurred_set,
    draw_people,
    draw_person,
    draw_tile,
)
from hpcwise.models.drawn.scene import ACCENT, Material, Moment, ShotDrawing
from hpcwise.models.drawn.text import fitted, width_of


def drawing_of(material: Material, still: bool = False) -> ShotDrawing:
    """The drawing of the shot's kind; a figure shot without its figure becomes a shot of two.

    Long shots of people are taken from several sides; still ones are not.
    """
    match material.shot.kind:
        case "title":
            return CardShot(material, end=False)
        case "end":
            return CardShot(material, end=True)
        case "chapter":
            return ChapterShot(material)
        case "figure" if material.figure is not None:
            return FigureShot(material, material.figure)
    speaker = material.main_speaker()
    takes = () if still else takes_of(material.shot.kind, material.speech, speaker.id, len(material.cast) > 1)
    if len(takes) > 1:
        return Coverage(material, takes)
    return _of_people(material, material.shot.kind, speaker)


def _of_people(material: Material, kind: str, speaker: Character) -> ShotDrawing:
    other = material.listener(speaker)
    if kind == "close_up":
        return CloseUp(material, speaker)
    if kind == "over_shoulder" and other is not None:
        return OverShoulder(material, speaker, other)
    if kind == "split" and other is not None:
        return Split(material)
    return TwoShot(material)


class Coverage:
    """One shot from several sides, cut between words only."""

    corner = True

    def __init__(self, material: Material, takes: Sequence[Take]) -> None:
        by_id = {c.id: c for c in material.cast}
        self.captions = material.stage.captions
        self.takes = tuple(takes)
        self._drawings = [
            # Who has been introduced in the first take need not be in the others.
            _of_people(
                replace(material, show_name=material.show_name and i == 0, index=material.index + i),
                take.kind,
                by_id[take.speaker],
            )
            for i, take in enumerate(takes)
        ]

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw the take of this moment."""
        i = max(i for i, take in enumerate(self.takes) if i == 0 or take.start_s <= moment.said_s)
        take = self.takes[i]
        share = (moment.said_s - take.start_s) / max(1e-6, take.end_s - take.start_s)
        self._drawings[i].draw(canvas, replace(moment, progress=min(1.0, max(0.0, share))))


class TwoShot:
    """Both hosts at the table; the camera goes slowly in and to a side, or back in every other shot."""

    corner = True

    def __init__(self, material: Material) -> None:
        self._material = material
        self.captions = material.stage.captions

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        share = eased(moment.progress if self._material.every_other else 1 - moment.progress)
        drift = 0.0 if moment.still else (share - 0.5) * 9.0
        draw_people(canvas, self._material, self._material.stage, moment, 1.0 + 0.05 * share, drift)


class CloseUp:
    """One person before the blurred set; introduced by name the first time."""

    corner = True

    def __init__(self, material: Material, person: Character) -> None:
        self._person = person
        self.captions = material.stage.captions
        self._side = material.side_of(person)
        # Faces fill the picture, or every other time leave room for the hands.
        self._near = 1.2 if material.every_other else 0.94
        if self._near > 1 and not material.stage.portrait:  # a hand would come up behind the captions
            calm = replace(material.acting[person.id], gestures=())
            material = replace(material, acting={**material.acting, person.id: calm})
        self._material = material
        self._behind = blurred_set(material, self._side)

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, material, side = self._material.stage, self._material, self._side
        grow = 1.0 + 0.035 * eased(moment.progress)
        wide = stage.width * 1.12 * (1 + (grow - 1) * 0.5)
        tall = stage.height * 1.12 * (1 + (grow - 1) * 0.5)
        drift = (moment.progress - 0.5) * stage.width * 0.03
        canvas.drawImageRect(
            self._behind, box((stage.width - wide) / 2 + drift, (stage.height - tall) / 2, wide, tall), LINEAR
        )
        near = self._near
        size = (1.34 if not stage.portrait else 1.4) * grow * near
        # A little off the middle, with room on the side that they face.
        x = stage.width / 2 + side * stage.width * 0.035
        head = stage.height * (0.05 if not stage.portrait else 0.2 if near > 1 else 0.23)
        y = head + LOOKS[self._person.look].crown * size / grow
        tuck = 1.0 if stage.width < NARROW else 0.2
        lead = -1 if side <= 0 else 1
        draw_person(canvas, material, self._person, moment, x, y, size, lead, tuck, table=stage.portrait)
        _foot(canvas, self._material)
        if material.show_name:
            _lower_third(canvas, material, self._person, moment)


class OverShoulder:
    """The speaker, past the shoulder of who listens."""

    corner = True

    def __init__(self, material: Material, speaker: Character, listener: Character) -> None:
        self._material, self._speaker, self._listener = material, speaker, listener
        self.captions = material.stage.captions
        self._side = material.side_of(speaker) or 1.0
        self._behind = blurred_set(material, self._side * 0.6, 1.3)
        self._back, self._sharp = back_picture(listener.look, material.scale, self._side)

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, side = self._material.stage, self._side
        share = eased(moment.progress)
        grow = 1.08 + 0.03 * share
        wide, tall = stage.width * grow, stage.height * grow
        x = (stage.width - wide) / 2 - side * 5 * share
        canvas.drawImageRect(self._behind, box(x, (stage.height - tall) / 2, wide, tall), LINEAR)
        size = (1.08 if not stage.portrait else 1.12) + 0.03 * share
        at = stage.width * (0.5 + side * (0.14 if stage.width >= NARROW else 0.12))
        neck = stage.height * (0.555 if not stage.portrait else 0.46)
        tuck = 1.0 if stage.width < NARROW else 0.4
        # The hand on the far side of the shoulder is the one that can be seen.
        lead = 1 if side > 0 else -1
        draw_person(
            canvas, self._material, self._speaker, moment, at, neck, size, lead, tuck, table=stage.portrait
        )
        _foot(canvas, self._material)
        large = 1.9 if stage.width >= NARROW else 1.5
        sway = 0.0 if moment.still else float(self._material.acting[self._listener.id].nod[moment.frame]) * 4
        x = stage.width * (0.5 - side * (0.43 if stage.width >= NARROW else 0.45)) - side * 6 * share
        y = stage.height * 0.8 + sway
        canvas.drawImageRect(
            self._back,
            box(x - 150 * large, y - 180 * large, *(n / self._sharp * large for n in _size(self._back))),
            LINEAR,
        )


def _size(image: object) -> tuple[float, float]:
    return float(image.width()), float(image.height())  # type: ignore[attr-defined]


class Split:
    """Both hosts, each in a window of their own: beside each other, or one above the other."""

    corner = True

    def __init__(self, material: Material) -> None:
        self._material = material
        self.layout = split_layout(material.stage, material.logo is not None)
        self.captions = self.layout.captions
        self._behind = [blurred_set(material, side, 1.7) for side in (-1.0, 1.0)]

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, material = self._material.stage, self._material
        ground = linear(0, 0, stage.width, stage.height, *material.scenery.place.ground)
        canvas.drawRect(box(0, 0, stage.width, stage.height), ground)
        speaker = material.speaker_at(moment.said_s)
        for (person, _), area, behind in zip(
            material.seated(), (self.layout.first, self.layout.second), self._behind, strict=True
        ):
            draw_tile(canvas, material, person, moment, area, behind)
            if person.id == speaker.id:
                accent = fill(ACCENT)
                canvas.drawRRect(rounded(area.x + 10, area.bottom - 6, area.width - 20, 3.5, 1.7), accent)


def _foot(canvas: Canvas, material: Material) -> None:
    """Darkness at the lower edge, that captions are read on."""
    stage = material.stage
    canvas.drawRect(
        box(0, stage.height - 150, stage.width, 150),
        linear(0, stage.height - 150, 0, stage.height, ("#0B0612", 0.0), ("#0B0612", 0.6)),
    )


def _lower_third(canvas: Canvas, material: Material, person: Character, moment: Moment) -> None:
    """Name and role, for the first seconds of the first close-up."""
    shown = (
        1.0 if moment.still else eased((moment.time_s - 0.3) / 0.4) * (1 - eased((moment.time_s - 4.2) / 0.4))
    )
    if shown <= 0:
        return
    name, fonts = person.name, material.fonts
    role = person.role[:1].upper() + person.role[1:]
    wide = max(width_of(name, fonts.bold, 17), width_of(role, fonts.regular, 12.5)) + 34
    wide = min(wide, material.stage.width * 0.6)
    y = material.stage.captions.y - 62
    canvas.save()
    canvas.translate(-(1 - shown) * (wide + 40), 0)
    canvas.drawRRect(rounded(22, y, wide, 48, 7), fill("#140E22", 0.86))
    canvas.drawRRect(rounded(22, y, 5, 48, 2.5), fill(ACCENT))
    fitted(name, fonts.bold, 17, 10, wide - 26, 22).draw(canvas, 38, y + 6, fill("#FFFFFF"))
    fitted(role, fonts.regular, 12.5, 9, wide - 26, 17).draw(canvas, 38, y + 27, fill("#FFFFFF", 0.78))
    canvas.restore()
