"""Cards: the film's title, a chapter's, and the end with its sources."""

from __future__ import annotations

import math

import skia

from hpcwise.models.drawn.layout import Box, Stage, card_layout
from hpcwise.models.drawn.paint import LINEAR, Canvas, Image, blurred, box, eased, fill, line, linear, rounded
from hpcwise.models.drawn.people import draw_backdrop, draw_people
from hpcwise.models.drawn.scene import ACCENT, Material, Moment, draw_logo
from hpcwise.models.drawn.text import Block, fitted, width_of, wrapped

PINK = "#FF6FA5"
#: Height of the logo on title and end cards, units.
CARD_LOGO = 40.0
#: A window for the hosts that is wider than so many times its height is too low for their table.
WIDE_WINDOW = 1.9
#: How much larger the first of several notes is.
LEAD_NOTE = 1.15


class CardShot:
    """Title or end card: words on the left, the hosts in a window on the right (below if narrow)."""

    corner = False

    def __init__(self, material: Material, end: bool) -> None:
        self._material, self._end = material, end
        self.layout = card_layout(material.stage, end)
        self.captions = self.layout.captions
        self._ground = ground(material)
        self._logo = self._logo_area()
        self._text = self._blocks()

    def _logo_area(self) -> Box | None:
        logo, area = self._material.logo, self.layout.text
        if logo is None:
            return None
        wide = min(CARD_LOGO * logo.width() / logo.height(), area.width * 0.6)
        return Box(area.x, area.y, wide, wide * logo.height() / logo.width())

    def _blocks(self) -> list[tuple[Block, str, float, float]]:
        """(block, colour, opacity, space below), top to bottom, that together fit the text's box."""
        area, shot, document = self.layout.text, self._material.shot, self._material.document
        fonts, small = self._material.fonts, 13.0
        height = area.height - (self._logo.height + 12 if self._logo else 0)
        kicker = fitted(self._material.show_title.upper(), fonts.semi, small + 1, 9, area.width, 20)
        if self._end:
            head, foot = shot.heading or "Thanks for watching", "Made with hpcwise"
            named = shot.subheading or document.title
            notes = [text for text in (named, *shot.notes) if text and text != head]
        else:
            head, foot, notes = shot.heading or document.title, "", [shot.subheading]
            if not shot.subheading and document.authors:
                more = " et al." if len(document.authors) > 4 else ""
                notes = [", ".join(document.authors[:4]) + more]
        rest = height - kicker.height - 22
        many = self._end and len(notes) > 1  # sources matter more than the thanks
        room = rest * 0.58 - 12 * len(notes) if many else min(rest * 0.34, 84)
        below = _notes([text for text in notes if text], fonts.regular, 7.5 if many else 9, area.width, room)
        last = below[-1].size if below else small
        made = fitted(foot, fonts.semi, last, 7.5, area.width, 20) if foot else None
        used = sum(b.height + 12 for b in below) + (made.height + 12 if made else 0)
        title = fitted(head or " ", fonts.display, 39, 14, area.width, max(20.0, rest - used), 1.14)
        out = [(kicker, ACCENT, 1.0, 22.0), (title, "#FFFFFF", 1.0, 14.0)]
        out += [(block, "#FFFFFF", max(0.6, 0.82 - 0.08 * i), 12.0) for i, block in enumerate(below)]
        if made:
            out.append((made, PINK, 1.0, 0.0))
        # Where the room is short, the space between the blocks is.
        text, spaces = sum(b.height for b, *_ in out), sum(space for *_, space in out[:-1])
        tight = min(1.0, max(0.25, (height - text) / max(1.0, spaces)))
        return [(block, tint, opacity, space * tight) for block, tint, opacity, space in out]

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, area = self._material.stage, self.layout.text
        canvas.drawImageRect(self._ground, box(0, 0, stage.width, stage.height), LINEAR)
        draw_bokeh(canvas, stage, moment)
        self._window(canvas, moment)
        total = sum(b.height + space for b, _, _, space in self._text) - self._text[-1][3]
        top = self._logo.height + 12 if self._logo else 0.0
        y = area.y + top + max(0.0, (area.height - top - total) / 2)
        if self._logo:
            draw_logo(canvas, self._material, self._logo)
        for i, (block, tint, opacity, space) in enumerate(self._text):
            shown = 1.0 if moment.still or self._end else eased((moment.time_s - 0.12 * i) / 0.5)
            if shown > 0:
                block.draw(canvas, area.x - 14 * (1 - shown), y, fill(tint, round(opacity * shown, 2)))
            if i == 0:
                canvas.drawRRect(rounded(area.x, y + block.height + 5, 64 * shown, 3.5, 1.75), fill(PINK))
            y += block.height + space

    def _window(self, canvas: Canvas, moment: Moment) -> None:
        """The hosts at their table, small."""
        window = self.layout.window
        scale = min(window.width, window.height) / 400.0
        frame = rounded(window.x, window.y, window.width, window.height, 16)
        canvas.save()
        canvas.clipRRect(frame, True)
        canvas.translate(window.x, window.y)
        canvas.scale(scale, scale)
        inner = Stage(window.width / scale, window.height / scale)
        if window.width > window.height * WIDE_WINDOW:  # a low window shows them from the chest up
            inner = Stage(640.0, 400.0)
            canvas.scale(window.width / scale / inner.width, window.width / scale / inner.width)
            canvas.translate(0, -24)
        draw_people(canvas, self._material, inner, moment, 1.0, 0.0)
        canvas.restore()
        canvas.drawRRect(frame, line("#FFFFFF", 2.5, 0.85))


def _notes(texts: list[str], font: str, smallest: float, width: float, room: float) -> list[Block]:
    """Texts at one size, the first a little larger; at the smallest size each keeps its share of the room."""
    size = 13.0
    while (
        size > smallest
        and sum(
            len(wrapped(text, font, size * (LEAD_NOTE if i == 0 else 1.0), width)) * size * 1.18
            for i, text in enumerate(texts)
        )
        > room * 0.96
    ):
        size = max(smallest, size * 0.96)
    lines = [math.ceil(width_of(text, font, size) * 1.05 / width) for text in texts]
    return [
        fitted(
            text,
            font,
            size * (LEAD_NOTE if i == 0 else 1.0),
            smallest,
            width,
            max(12.0, room * lines[i] / sum(lines)) if size <= smallest else room,
        )
        for i, text in enumerate(texts)
    ]


class ChapterShot:
    """A chapter's name, large, over the place; who speaks is in a round window."""

    corner = True

    def __init__(self, material: Material) -> None:
        self._material = material
        stage, fonts = material.stage, material.fonts
        self.captions = stage.captions
        self._ground = ground(material)
        wide = stage.width - 2 * (60 if not stage.portrait else 30)
        room = self.captions.y - 30
        self._x = (stage.width - wide) / 2
        self._kicker = fitted(material.shot.subheading.upper() or " ", fonts.semi, 15, 9, wide - 60, 22)
        self._title = fitted(material.shot.heading or " ", fonts.display, 50, 16, wide, room * 0.6, 1.12)
        self._y = 20 + (room - self._kicker.height - self._title.height - 26) / 2

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage = self._material.stage
        canvas.drawImageRect(self._ground, box(0, 0, stage.width, stage.height), LINEAR)
        draw_bokeh(canvas, stage, moment)
        shown = 1.0 if moment.still else eased(moment.time_s / 0.6)
        canvas.drawRRect(
            rounded(self._x, self._y, 5, (self._kicker.height + self._title.height + 24) * shown, 2.5),
            fill(PINK),
        )
        self._kicker.draw(canvas, self._x + 20, self._y, fill(ACCENT, round(shown, 2)))
        y = self._y + self._kicker.height + 16
        self._title.draw(canvas, self._x + 20 - 18 * (1 - shown), y, fill("#FFFFFF", round(shown, 2)))


def draw_bokeh(canvas: Canvas, stage: Stage, moment: Moment) -> None:
    """Soft discs that drift over a card's ground."""
    drift = 0.0 if moment.still else moment.time_s
    for k in range(6):
        x = stage.width * (0.08 + 0.19 * k) + math.sin(drift * 0.5 + k) * 16
        y = stage.height * (0.9 - ((k * 37) % 83) / 100) + math.cos(drift * 0.4 + k * 1.7) * 14
        canvas.drawCircle(x, y, 26 + (k * 29) % 48, fill("#FFFFFF", 0.04))


def ground(material: Material, board: bool = False) -> Image:
    """A dark, soft ground for cards, made once: the place out of focus. board: a lecture's blackboard."""
    stage, scale = material.stage, material.scale
    surface = skia.Surface(math.ceil(stage.width * scale), math.ceil(stage.height * scale))
    canvas = surface.getCanvas()
    canvas.scale(scale, scale)
    whole = box(0, 0, stage.width, stage.height)
    if board and material.scenery.name == "lecture":
        _board(canvas, stage)
        return surface.makeImageSnapshot()
    canvas.saveLayer(None, skia.Paint(ImageFilter=skia.ImageFilters.Blur(9.0 * scale, 9.0 * scale)))
    draw_backdrop(canvas, material.scenery.far, stage)
    canvas.restore()
    tints = material.scenery.place.ground
    over = [(tint, strength) for tint, strength in zip(tints, (0.9, 0.76, 0.6), strict=True)]
    canvas.drawRect(whole, linear(0, 0, stage.width, stage.height, *over))
    return surface.makeImageSnapshot()


def _board(canvas: Canvas, stage: Stage) -> None:
    """A blackboard that fills the picture, wiped not quite clean, in a wooden frame."""
    whole = box(0, 0, stage.width, stage.height)
    canvas.drawRect(whole, linear(0, 0, stage.width, stage.height, "#2F5D4C", "#27493F", "#1D3731"))
    for k in range(11):
        x, y = stage.width * ((k * 0.37) % 1.0), stage.height * ((k * 0.61 + 0.1) % 1.0)
        canvas.drawOval(box(x - 90, y - 16, 180, 32), blurred("#FFFFFF", 12, 0.045))
    edge = line("#8A6238", 14)
    canvas.drawRect(whole, edge)
    canvas.drawRect(box(7, 7, stage.width - 14, stage.height - 14), line("#5F4225", 2))
