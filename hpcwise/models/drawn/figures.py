"""A figure of the document, whole, on a card; its panels lit as the words name them; who speaks beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median

import skia

from hpcwise.core.document import FigureWord
from hpcwise.models.drawn.cards import draw_bokeh, ground
from hpcwise.models.drawn.layout import Box, figure_layout
from hpcwise.models.drawn.paint import (
    CUBIC,
    LINEAR,
    Canvas,
    Image,
    blurred,
    box,
    eased,
    fill,
    line,
    radial,
    rounded,
)
from hpcwise.models.drawn.people import blurred_set, draw_inset, draw_person, draw_tile
from hpcwise.models.drawn.regions import Cue, cues_of, panels_of
from hpcwise.models.drawn.scene import Material, Moment
from hpcwise.models.drawn.text import Block, fitted, width_of, write

#: A region is brought this much closer at most; the figure is drawn this much larger than it is shown.
CLOSEST = 1.5
#: As closely parts are read that no word names.
READING = 1.8
#: Seconds that it takes to turn to a region.
TURN_S = 0.45
#: Figures lower than this are shown part by part, if the words name none, units.
SMALL = 150.0
#: So are those with so many words in lines lower than this, units.
MANY_WORDS, SMALL_LINE = 24, 8.5
#: Regions that are named this soon after each other are one movement, seconds.
NEXT_S = 0.05


@dataclass(frozen=True, slots=True)
class _Paper:
    """What a picture is laid on: colour, and the colour and place of an edge ("" for none)."""

    colour: str
    edge: str = ""
    on_top: bool = False


def _paper_of(label: str) -> _Paper:
    """Tables and equations are told from drawings by their card."""
    if label.startswith("Table"):
        return _Paper("#F3F7FC", "#3E7CB1", on_top=True)
    if label.startswith("Equation"):
        return _Paper("#FFF8E6", "#D08B1E")
    return _Paper("#FFFFFF")


class FigureShot:
    """Nothing ever overlaps the figure but the light on it, a pointer and, for a moment, the frame's edge."""

    corner = True

    def __init__(self, material: Material, figure: Image) -> None:
        self._material = material
        stage = material.stage
        self.layout = figure_layout(stage, figure.width() / figure.height(), material.logo is not None)
        self.captions = self.layout.captions
        self._paper = _paper_of(self._figure_text()[0])
        pixels = figure.toarray(colorType=skia.kRGBA_8888_ColorType)
        self.cues: tuple[Cue, ...] = cues_of(material.speech, panels_of(pixels), self._words())
        # A wide picture off a slide is a photograph or a logo, with nothing to read in its parts.
        # And a formula is one: half of it says nothing.
        whole = self._figure_text()[0].startswith(("Slide", "Picture", "Equation"))
        self._tour = () if self.cues or whole else self._read_in_parts()
        self._ground = ground(material, board=True)
        self._behind = blurred_set(material, 0.0) if stage.portrait else None
        self._card = self._painted_card()
        self._picture = self._large(figure)

    def _read_in_parts(self) -> tuple[Cue, ...]:
        """What is shown too small, or written too small, part by part; nothing where there is no need."""
        inner, length_s = self.layout.figure, self._material.speech.duration_s
        if inner.height < SMALL:
            return _tour_of(length_s, _STRIPS)
        lines = [word.bottom - word.top for word in self._words()]
        if len(lines) >= MANY_WORDS and median(lines) * inner.height < SMALL_LINE:
            return _tour_of(length_s, _QUARTERS if length_s > 9 else _QUARTERS[::3])
        return ()

    def _words(self) -> tuple[FigureWord, ...]:
        index, figures = self._material.shot.figure, self._material.document.figures
        return figures[index].words if index is not None and 0 <= index < len(figures) else ()

    def _large(self, figure: Image) -> Image:
        """The figure at the size at which it is shown, or closest where the words name parts of it."""
        inner, scale = (
            self.layout.figure,
            self._material.scale * (CLOSEST if self.cues else READING if self._tour else 1.0),
        )
        surface = skia.Surface(max(2, round(inner.width * scale)), max(2, round(inner.height * scale)))
        canvas = surface.getCanvas()
        canvas.clear(skia.ColorWHITE)
        # A mean of several pixels where the figure is much larger than shown: thin lines stay whole.
        fine = skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kLinear)
        shrinks = figure.width() > 2 * surface.width()
        canvas.drawImageRect(figure, box(0, 0, surface.width(), surface.height()), fine if shrinks else CUBIC)
        return surface.makeImageSnapshot()

    def _painted_card(self) -> Image:
        """Card and label in one picture at the size at which the shot ends."""
        card, label = self.layout.card, self.layout.label
        scale = self._material.scale
        surface = skia.Surface(math.ceil((card.width + 40) * scale), math.ceil((card.height + 40) * scale))
        canvas = surface.getCanvas()
        canvas.clear(skia.ColorTRANSPARENT)
        canvas.scale(scale, scale)
        canvas.translate(20 - card.x, 20 - card.y)
        canvas.drawRRect(
            rounded(card.x, card.y + 5, card.width, card.height, 12), blurred("#000000", 8, 0.45)
        )
        canvas.drawRRect(rounded(card.x, card.y, card.width, card.height, 12), fill(self._paper.colour))
        if self._paper.edge:
            self._edge(canvas, card)
        text = self._label()
        if text:
            block = fitted(text, self._material.fonts.regular, 12.0, 10.5, label.width, label.height - 4)
            label = replace(label, y=label.y + (label.height - 4 - block.height) / 2)
            block.draw(canvas, label.x, label.y + 2, fill("#3A3A4A"))
            self._bold_head(canvas, block, label)
        if self._material.scenery.name == "lecture":  # held on the board
            for x in (card.x + 26, card.right - 26):
                canvas.drawCircle(x + 1, card.y + 3, 6.5, fill("#000000", 0.3))
                canvas.drawCircle(x, card.y + 1, 6.5, fill("#D24B3E"))
                canvas.drawCircle(x - 2, card.y - 1, 2.2, fill("#FFFFFF", 0.7))
        return surface.makeImageSnapshot()

    def _edge(self, canvas: Canvas, card: Box) -> None:
        """A coloured edge: along the top of a table, down the side of an equation."""
        canvas.save()
        canvas.clipRRect(rounded(card.x, card.y, card.width, card.height, 12), True)
        along = (card.width, 7.0) if self._paper.on_top else (7.0, card.height)
        canvas.drawRect(box(card.x, card.y, *along), fill(self._paper.edge))
        canvas.restore()

    def _figure_text(self) -> tuple[str, str]:
        index = self._material.shot.figure
        figures = self._material.document.figures
        if index is None or not 0 <= index < len(figures):
            return "", self._material.shot.heading
        return figures[index].label.strip(), figures[index].caption.strip()

    def _label(self) -> str:
        label, caption = self._figure_text()
        if not label or caption.lower().startswith(label.lower()):
            return caption
        return f"{label}: {caption}" if caption else label

    def _bold_head(self, canvas: Canvas, block: Block, label: Box) -> None:
        """ "Figure 3" once more in a heavier weight, where the caption starts with it."""
        head, semi = self._figure_text()[0], self._material.fonts.semi
        if head and block.lines and block.lines[0].lower().startswith(head.lower()):
            wide = width_of(block.lines[0][: len(head)], block.name, block.size)
            cover = fill(self._paper.colour)
            canvas.drawRect(box(label.x - 0.5, label.y + 2, wide + 1, block.leading), cover)
            size = block.size * wide / max(1e-6, width_of(block.lines[0][: len(head)], semi, block.size))
            write(
                canvas,
                block.lines[0][: len(head)],
                label.x,
                label.y + 2 + block.size * 0.92,
                semi,
                size,
                fill("#14141E"),
            )

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, card = self._material.stage, self.layout.card
        canvas.drawImageRect(self._ground, box(0, 0, stage.width, stage.height), LINEAR)
        draw_bokeh(canvas, stage, moment)
        canvas.save()
        if not moment.still:
            # The push ends at full size: at no time is any of the card outside the picture.
            canvas.translate(0, 16 * (1 - eased(moment.time_s / 0.45)))
            zoom = 0.955 + 0.045 * eased(moment.progress)
            x, y = card.x + card.width / 2, card.y + card.height / 2
            canvas.translate(x, y)
            canvas.scale(zoom, zoom)
            canvas.translate(-x, -y)
        scale = self._material.scale
        size = (self._card.width() / scale, self._card.height() / scale)
        canvas.drawImageRect(self._card, box(card.x - 20, card.y - 20, *size), LINEAR)
        self._figure(canvas, moment)
        canvas.restore()
        speaker = self._material.speaker_at(moment.said_s)
        if self._behind is not None:
            draw_tile(canvas, self._material, speaker, moment, self.layout.inset, self._behind)
            return
        if not self.layout.presented:
            draw_inset(canvas, self._material, speaker, moment, self.layout.inset)
            return
        area = self.layout.inset
        person = area.width / 222.0
        # The figure is at their right hand, which is the picture's left.
        draw_person(
            canvas,
            self._material,
            speaker,
            moment,
            area.x + area.width / 2,
            area.bottom - 152 * person,
            person,
            -1,
            tuck=0.9,
        )

    def _figure(self, canvas: Canvas, moment: Moment) -> None:
        """The figure in its frame, turned to what is spoken of."""
        inner = self.layout.figure
        lit, share = self._lit(moment.said_s, moment.still)
        canvas.save()
        canvas.clipRect(box(inner.x, inner.y, inner.width, inner.height))
        if lit is not None and not moment.still:
            grown = 1 + (_closeness(lit, CLOSEST if self.cues else READING) - 1) * share
            # The part comes to the middle as far as the figure still fills its frame.
            x = inner.x + inner.width * _pivot(lit.x + lit.width / 2, grown)
            y = inner.y + inner.height * _pivot(lit.y + lit.height / 2, grown)
            canvas.translate(x, y)
            canvas.scale(grown, grown)
            canvas.translate(-x, -y)
        where = box(inner.x, inner.y, inner.width, inner.height)
        # White takes the colour of the paper, as if printed on it.
        printed = skia.Paint(BlendMode=skia.BlendMode.kMultiply) if self._paper.edge else None
        canvas.drawImageRect(self._picture, where, LINEAR, printed)
        if lit is not None and self.cues:
            _light(canvas, inner, lit, share, moment)
        canvas.restore()

    def region_at(self, time_s: float) -> Cue | None:
        """What is spoken of at a time."""
        return next((c for c in self.cues if c.start_s <= time_s < c.end_s), None)

    def _lit(self, time_s: float, still: bool) -> tuple[Box | None, float]:
        """The region that is spoken of, and how far the picture has turned to it (0 to 1)."""
        cues = self.cues or (() if still else self._tour)
        cue = next((c for c in cues if c.start_s <= time_s < c.end_s), None)
        if cue is None:
            return None, 0.0
        if still:
            return cue.area, 1.0
        turned = eased((time_s - cue.start_s) / (TURN_S if self.cues else 2.5 * TURN_S))
        i = cues.index(cue)
        before = cues[i - 1] if i and cue.start_s - cues[i - 1].end_s < NEXT_S else None
        follows = i + 1 < len(cues) and cues[i + 1].start_s - cue.end_s < NEXT_S
        left = 1.0 if follows else eased((cue.end_s - time_s) / TURN_S)
        if before is not None:  # from region to region, without stepping back in between
            return _between(before.area, cue.area, turned), left
        return cue.area, turned * left


_STRIPS = tuple(Box(i / 3, 0.0, 1 / 3, 1.0) for i in range(3))
_QUARTERS = tuple(Box(x, y, 0.45, 0.45) for y in (0.0, 0.55) for x in (0.0, 0.55))


def _tour_of(duration_s: float, parts: tuple[Box, ...]) -> tuple[Cue, ...]:
    """A figure part by part in the order of reading; whole before and after."""
    first_s, last_s = 1.3, duration_s - 0.9
    if last_s - first_s < 4.5:
        return ()
    step_s = (last_s - first_s) / len(parts)
    return tuple(Cue(first_s + i * step_s, first_s + (i + 1) * step_s, part) for i, part in enumerate(parts))


def _between(one: Box, other: Box, share: float) -> Box:
    """The box that is `share` of the way from one to the other."""
    pairs = ((one.x, other.x), (one.y, other.y), (one.width, other.width), (one.height, other.height))
    x, y, wide, tall = (a + (b - a) * share for a, b in pairs)
    return Box(x, y, wide, tall)


def _closeness(area: Box, most: float) -> float:
    return min(most, max(1.0, 0.8 / area.width if area.height == 1.0 else 0.8 / max(area.width, area.height)))


def _pivot(middle: float, grown: float) -> float:
    """The point that stands still while a frame grows, so that `middle` comes to 0.5 if it can."""
    if grown <= 1.0:
        return 0.5
    return min(1.0, max(0.0, (middle * grown - 0.5) / (grown - 1)))


def _light(canvas: Canvas, inner: Box, area: Box, share: float, moment: Moment) -> None:
    """All but the region is dimmed; a frame is around it and a pointer on its edge."""
    x, y = inner.x + area.x * inner.width, inner.y + area.y * inner.height
    wide, tall = area.width * inner.width, area.height * inner.height
    frame = rounded(x - 2, y - 2, wide + 4, tall + 4, 5)
    dim = skia.Path()
    dim.addRect(box(inner.x, inner.y, inner.width, inner.height))
    dim.addRRect(frame)
    dim.setFillType(skia.PathFillType.kEvenOdd)
    # A label is framed without taking the light off what it is about.
    strength = 0.12 + 0.22 * min(1.0, area.width * area.height / 0.06)
    canvas.drawPath(dim, fill("#1B1730", round(strength * share, 2)))
    canvas.drawRRect(frame, line("#F08A24", 2.4, round(share, 2)))
    swing = 0.0 if moment.still else math.sin(moment.time_s * 2.1)
    # The pointer runs along the frame: it never lies on what is read.
    px = min(inner.right - 6, max(inner.x + 6, x + wide * (0.5 + 0.22 * swing)))
    py = y + tall + 2 if y + tall + 5 < inner.bottom else max(inner.y + 4, y - 2)
    canvas.drawCircle(px, py, 11, radial(px, py, 11, ("#FF3B3B", 0.5 * share), ("#FF3B3B", 0.0)))
    canvas.drawCircle(px, py, 3.4, fill("#FF3B3B", round(share, 2)))
    canvas.drawCircle(px - 0.8, py - 0.8, 1.2, fill("#FFFFFF", round(0.9 * share, 2)))
