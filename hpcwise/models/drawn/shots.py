"""The kinds of shots: title, two people at a table, close-up, figure, end."""

from __future__ import annotations

import math

import skia

from hpcwise.models.drawn.characters import draw_character
from hpcwise.models.drawn.layout import Box, Stage, card_layout, figure_layout
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
    linear,
    rounded,
)
from hpcwise.models.drawn.scene import (
    ACCENT,
    Material,
    Moment,
    ShotDrawing,
    draw_backdrop,
    draw_inset,
    draw_people,
)
from hpcwise.models.drawn.text import BOLD, DISPLAY, REGULAR, SEMI, Block, fitted, width_of, write

PINK = "#FF6FA5"


def drawing_of(material: Material) -> ShotDrawing:
    """The drawing of the shot's kind; a figure shot without its figure becomes a shot of two."""
    match material.shot.kind:
        case "title":
            return CardShot(material, end=False)
        case "end":
            return CardShot(material, end=True)
        case "close_up":
            return CloseUp(material)
        case "figure" if material.figure is not None:
            return FigureShot(material, material.figure)
        case _:
            return TwoShot(material)


class TwoShot:
    """Both hosts at the table; the camera goes slowly in, or out in every other shot."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self.captions = material.stage.captions

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        inwards = self._material.index % 2 == 0
        zoom = 1.0 + 0.06 * eased(moment.progress if inwards else 1 - moment.progress)
        draw_people(canvas, self._material, self._material.stage, moment, zoom)


class CloseUp:
    """One person before the blurred set; introduced by name the first time."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self.captions = material.stage.captions
        self._person = material.main_speaker()
        self._behind = _blurred_set(material)

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, material = self._material.stage, self._material
        grow = 1.0 + 0.035 * eased(moment.progress)
        wide = stage.width * 1.12 * (1 + (grow - 1) * 0.5)
        tall = stage.height * 1.12 * (1 + (grow - 1) * 0.5)
        drift = (moment.progress - 0.5) * stage.width * 0.03
        canvas.drawImageRect(
            self._behind, box((stage.width - wide) / 2 + drift, (stage.height - tall) / 2, wide, tall), LINEAR
        )
        size = (1.36 if not stage.portrait else 1.5) * grow
        top = stage.height * (0.075 if not stage.portrait else 0.2)
        side = next((s for c, s in material.seated() if c.id == self._person.id), 0.0)
        canvas.save()
        # A little off the middle, with room on the side that they face.
        canvas.translate(
            stage.width / 2 + side * stage.width * 0.035,
            top + 168 * 1.36 * (1 if not stage.portrait else 1.1),
        )
        canvas.scale(size, size)
        draw_character(
            canvas,
            self._person.look,
            material.acting[self._person.id],
            moment.frame,
            moment.time_s,
            lead=-1 if side <= 0 else 1,
        )
        canvas.restore()
        canvas.drawRect(
            box(0, stage.height - 150, stage.width, 150),
            linear(0, stage.height - 150, 0, stage.height, ("#0B0612", 0.0), ("#0B0612", 0.6)),
        )
        if material.show_name:
            self._lower_third(canvas, moment)

    def _lower_third(self, canvas: Canvas, moment: Moment) -> None:
        shown = (
            1.0
            if moment.still
            else eased((moment.time_s - 0.3) / 0.4) * (1 - eased((moment.time_s - 4.2) / 0.4))
        )
        if shown <= 0:
            return
        name, role = self._person.name, self._person.role
        wide = min(
            max(width_of(name, BOLD, 17), width_of(role, REGULAR, 12.5)) + 34,
            self._material.stage.width * 0.6,
        )
        y = self.captions.y - 62
        canvas.save()
        canvas.translate(-(1 - shown) * (wide + 40), 0)
        canvas.drawRRect(rounded(22, y, wide, 48, 7), fill("#140E22", 0.86))
        canvas.drawRRect(rounded(22, y, 5, 48, 2.5), fill(ACCENT))
        fitted(name, BOLD, 17, 10, wide - 26, 22).draw(canvas, 38, y + 6, fill("#FFFFFF"))
        fitted(role, REGULAR, 12.5, 9, wide - 26, 17).draw(canvas, 38, y + 27, fill("#FFFFFF", 0.78))
        canvas.restore()


class FigureShot:
    """A figure of the document, whole, on a card; the speaker in a round window; captions clear of both."""

    def __init__(self, material: Material, figure: Image) -> None:
        self._material = material
        stage = material.stage
        self.layout = figure_layout(stage, figure.width() / figure.height())
        self.captions = self.layout.captions
        self._ground = _ground(material)
        self._card = self._painted_card(figure)

    def _painted_card(self, figure: Image) -> Image:
        """Card, figure and label in one picture at the size at which the shot ends."""
        card, inner, label = self.layout.card, self.layout.figure, self.layout.label
        scale = self._material.scale
        surface = skia.Surface(math.ceil((card.width + 40) * scale), math.ceil((card.height + 40) * scale))
        canvas = surface.getCanvas()
        canvas.scale(scale, scale)
        canvas.translate(20 - card.x, 20 - card.y)
        canvas.drawRRect(
            rounded(card.x, card.y + 5, card.width, card.height, 12), blurred("#000000", 8, 0.45)
        )
        canvas.drawRRect(rounded(card.x, card.y, card.width, card.height, 12), fill("#FFFFFF"))
        canvas.drawImageRect(figure, box(inner.x, inner.y, inner.width, inner.height), CUBIC)
        text = self._label()
        if text:
            block = fitted(text, REGULAR, 12.0, 10.5, label.width, label.height - 4)
            block.draw(canvas, label.x, label.y + 2, fill("#3A3A4A"))
            self._bold_head(canvas, block, label)
        return surface.makeImageSnapshot()

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
        head = self._figure_text()[0]
        if head and block.lines and block.lines[0].lower().startswith(head.lower()):
            wide = width_of(block.lines[0][: len(head)], block.name, block.size)
            canvas.drawRect(box(label.x - 0.5, label.y + 2, wide + 1, block.leading), fill("#FFFFFF"))
            size = block.size * wide / max(1e-6, width_of(block.lines[0][: len(head)], SEMI, block.size))
            write(
                canvas,
                block.lines[0][: len(head)],
                label.x,
                label.y + 2 + block.size * 0.92,
                SEMI,
                size,
                fill("#14141E"),
            )

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, card = self._material.stage, self.layout.card
        canvas.drawImageRect(self._ground, box(0, 0, stage.width, stage.height), LINEAR)
        canvas.save()
        if not moment.still:
            # The push ends at full size: at no time is any of the figure outside the picture.
            canvas.translate(0, 16 * (1 - eased(moment.time_s / 0.45)))
            zoom = 0.955 + 0.045 * eased(moment.progress)
            x, y = card.x + card.width / 2, card.y + card.height / 2
            canvas.translate(x, y)
            canvas.scale(zoom, zoom)
            canvas.translate(-x, -y)
        canvas.drawImageRect(
            self._card,
            box(
                card.x - 20,
                card.y - 20,
                self._card.width() / self._material.scale,
                self._card.height() / self._material.scale,
            ),
            LINEAR,
        )
        canvas.restore()
        draw_inset(
            canvas, self._material, self._material.speaker_at(moment.said_s), moment, self.layout.inset
        )


class CardShot:
    """Title or end card: words on the left, the hosts in a window on the right (below if narrow)."""

    def __init__(self, material: Material, end: bool) -> None:
        self._material, self._end = material, end
        self.layout = card_layout(material.stage)
        self.captions = self.layout.captions
        self._ground = _ground(material)
        self._text = self._blocks()

    def _blocks(self) -> list[tuple[Block, str, float, float]]:
        """(block, colour, opacity, space below), top to bottom, that together fit the text's box."""
        area, shot, document = self.layout.text, self._material.shot, self._material.document
        small = 13.0
        kicker = fitted(self._material.show_title.upper(), SEMI, small + 1, 9, area.width, 20)
        if self._end:
            head, foot = shot.heading or "Thanks for watching", "Made with hpcwise"
            notes = [text for text in (document.title, shot.subheading) if text and text != head]
        else:
            head, foot, notes = shot.heading or document.title, "", [shot.subheading]
            if not shot.subheading and document.authors:
                more = " et al." if len(document.authors) > 4 else ""
                notes = [", ".join(document.authors[:4]) + more]
        rest = area.height - kicker.height - 22
        room = min(rest * 0.34, 84) / max(1, len(notes))
        below = [
            fitted(text, REGULAR, 15.5 if i == 0 else small, 9, area.width, room)
            for i, text in enumerate(notes)
            if text
        ]
        made = fitted(foot, SEMI, small, 9, area.width, 20) if foot else None
        used = sum(b.height + 12 for b in below) + (made.height + 12 if made else 0)
        title = fitted(head or " ", DISPLAY, 39, 14, area.width, rest - used, 1.14)
        out = [(kicker, ACCENT, 1.0, 22.0), (title, "#FFFFFF", 1.0, 14.0)]
        out += [(block, "#FFFFFF", 0.82 - 0.14 * i, 12.0) for i, block in enumerate(below)]
        if made:
            out.append((made, PINK, 1.0, 0.0))
        return out

    def draw(self, canvas: Canvas, moment: Moment) -> None:
        """Draw all but captions and fades."""
        stage, area = self._material.stage, self.layout.text
        canvas.drawImageRect(self._ground, box(0, 0, stage.width, stage.height), LINEAR)
        drift = 0.0 if moment.still else moment.time_s
        for k in range(6):
            x = stage.width * (0.08 + 0.19 * k) + math.sin(drift * 0.5 + k) * 16
            y = stage.height * (0.9 - ((k * 37) % 83) / 100) + math.cos(drift * 0.4 + k * 1.7) * 14
            canvas.drawCircle(x, y, 26 + (k * 29) % 48, fill("#FFFFFF", 0.045))
        self._window(canvas, moment)
        total = sum(b.height + space for b, _, _, space in self._text) - self._text[-1][3]
        y = area.y + max(0.0, (area.height - total) / 2)
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
        draw_people(canvas, self._material, Stage(window.width / scale, window.height / scale), moment, 1.0)
        canvas.restore()
        canvas.drawRRect(frame, line("#FFFFFF", 2.5, 0.85))


def _ground(material: Material) -> Image:
    """A dark, soft ground for cards, made once."""
    stage, scale = material.stage, material.scale
    surface = skia.Surface(math.ceil(stage.width * scale), math.ceil(stage.height * scale))
    canvas = surface.getCanvas()
    canvas.scale(scale, scale)
    tints = (
        ("#1C1434", "#3A2160", "#124B5B")
        if material.set_name == "studio"
        else ("#1B2F2A", "#24523F", "#6B4A2A")
    )
    canvas.drawRect(box(0, 0, stage.width, stage.height), linear(0, 0, stage.width, stage.height, *tints))
    return surface.makeImageSnapshot()


def _blurred_set(material: Material) -> Image:
    """The set out of focus and closer, at half of the picture's size: blur needs no more."""
    stage = material.stage
    scale = material.scale * 0.5
    surface = skia.Surface(max(2, round(stage.width * scale)), max(2, round(stage.height * scale)))
    canvas = surface.getCanvas()
    side = next((s for c, s in material.seated() if c.id == material.main_speaker().id), 0.0)
    canvas.scale(scale * 1.5, scale * 1.5)
    canvas.translate(-stage.width * (0.167 + 0.12 * side), -stage.height * 0.06)
    layer = skia.Paint(ImageFilter=skia.ImageFilters.Blur(4.0, 4.0))
    canvas.saveLayer(None, layer)
    draw_backdrop(canvas, material.backdrop, stage)
    canvas.restore()
    return surface.makeImageSnapshot()
