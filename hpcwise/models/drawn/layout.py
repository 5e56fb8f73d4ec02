"""Where things are in pictures of any shape. Units: the short side is 400; (0, 0) is the upper left."""

from __future__ import annotations

from dataclasses import dataclass

from hpcwise.models.drawn.captions import caption_height

MARGIN = 16.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in units."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.x < other.right - 1e-6
            and other.x < self.right - 1e-6
            and self.y < other.bottom - 1e-6
            and other.y < self.bottom - 1e-6
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """A picture's size in units."""

    width: float
    height: float

    @staticmethod
    def of(width_px: int, height_px: int) -> Stage:
        """The stage of a picture of that many pixels."""
        scale = min(width_px, height_px) / 400.0
        return Stage(width_px / scale, height_px / scale)

    @property
    def portrait(self) -> bool:
        """Taller than wide by enough to stack things."""
        return self.height > self.width * 1.2

    @property
    def caption_size(self) -> float:
        """Type size of captions."""
        return 17.0 if self.width > 500 else 16.5

    @property
    def captions(self) -> Box:
        """Where captions may be in shots of people."""
        wide = min(self.width - 2 * MARGIN, 520.0)
        tall = caption_height(self.caption_size)
        bottom = self.height - (14.0 if not self.portrait else 44.0)
        return Box((self.width - wide) / 2, bottom - tall, wide, tall)


@dataclass(frozen=True, slots=True)
class FigureLayout:
    """A figure shot: the card, the figure inside of it, the label, the speaker's inset and the captions.

    presented: the speaker stands in `inset` from the waist up, instead of looking out of a round window.
    """

    card: Box
    figure: Box
    label: Box
    inset: Box
    captions: Box
    presented: bool = False


#: A presenter who stands beside the figure may cost this share of its greatest size.
PRESENTER_COST = 0.3


#: Where the corner is kept free for a logo, nothing else starts above this line, units.
BELOW_LOGO = 50.0


def figure_layout(stage: Stage, aspect: float, logo: bool = False) -> FigureLayout:
    """The arrangement that shows a figure of that width / height large, with nothing overlapping it.

    With a person beside it where that costs little, else with their face in a round window. logo: the upper
    right corner is kept free.
    """
    if stage.portrait:
        return _stacked(stage, aspect, logo)
    choices = [_strip(stage, aspect, logo), _column(stage, aspect)]
    best = max(choices, key=lambda c: c.figure.width * c.figure.height)
    beside = _presented(stage, aspect)
    cost = 1 - beside.figure.width * beside.figure.height / (best.figure.width * best.figure.height)
    return beside if stage.width > stage.height * 1.3 and cost <= PRESENTER_COST else best


_LABEL, _PAD = 34.0, 12.0
PRESENTER_WIDTH = 178.0


def _card(area: Box, aspect: float) -> tuple[Box, Box, Box]:
    """Card, figure and label inside `area`: the card hugs what is in it."""
    room_w, room_h = area.width - 2 * _PAD, area.height - 2 * _PAD - _LABEL
    wide = min(room_w, room_h * aspect)
    tall = wide / aspect
    card_w = max(wide + 2 * _PAD, min(area.width, 300.0))
    card_h = tall + 2 * _PAD + _LABEL
    x, y = area.x + (area.width - card_w) / 2, area.y + (area.height - card_h) / 2
    return (
        Box(x, y, card_w, card_h),
        Box(x + (card_w - wide) / 2, y + _PAD, wide, tall),
        Box(x + _PAD, y + _PAD + tall + 4, card_w - 2 * _PAD, _LABEL),
    )


def _strip(stage: Stage, aspect: float, logo: bool) -> FigureLayout:
    """Card over a strip that holds captions and inset side by side."""
    tall = caption_height(stage.caption_size)
    strip = max(tall, 92.0)
    inset = Box(stage.width - MARGIN - 92, stage.height - 10 - 92, 92, 92)
    captions = Box(MARGIN, stage.height - 10 - strip + (strip - tall) / 2, inset.x - 2 * MARGIN, tall)
    top = BELOW_LOGO if logo else 12.0
    area = Box(MARGIN, top, stage.width - 2 * MARGIN, stage.height - 10 - strip - 8 - top)
    return FigureLayout(*_card(area, aspect), inset, captions)


def _column(stage: Stage, aspect: float) -> FigureLayout:
    """Card over captions, inset in a column on the right: for tall figures."""
    captions = stage.captions
    column = 132.0 if stage.width > 500 else 104.0
    area = Box(MARGIN, 12, stage.width - 2 * MARGIN - column - 12, captions.y - 22)
    inset = Box(stage.width - MARGIN - column, (captions.y - column) / 2, column, column)
    return FigureLayout(*_card(area, aspect), inset, captions)


def _presented(stage: Stage, aspect: float) -> FigureLayout:
    """Card over captions on the left, the speaker on the right, down to the lower edge."""
    tall = caption_height(stage.caption_size)
    inset = Box(stage.width - PRESENTER_WIDTH - 4, 60, PRESENTER_WIDTH, stage.height - 60)
    captions = Box(MARGIN, stage.height - 12 - tall, inset.x - MARGIN - 8, tall)
    area = Box(MARGIN, 12, inset.x - MARGIN - 8, captions.y - 22)
    return FigureLayout(*_card(area, aspect), inset, captions, presented=True)


def _stacked(stage: Stage, aspect: float, logo: bool) -> FigureLayout:
    """Card, below it the speaker in a window as wide, below that the captions."""
    captions = stage.captions
    size = min(250.0, captions.y * 0.4)
    inset = Box(MARGIN, captions.y - 18 - size, stage.width - 2 * MARGIN, size)
    top = BELOW_LOGO if logo else 24.0
    area = Box(MARGIN, top, stage.width - 2 * MARGIN, inset.y - top - 18)
    return FigureLayout(*_card(area, aspect), inset, captions)


@dataclass(frozen=True, slots=True)
class CardLayout:
    """A title or end card: text, the window with the hosts, captions."""

    text: Box
    window: Box
    captions: Box


def card_layout(stage: Stage, end: bool = False) -> CardLayout:
    """Text beside the window, or above it where the picture is not wide; an end card has more text."""
    captions = stage.captions
    if stage.width >= stage.height * 1.2:
        left = stage.width * 0.60
        window = Box(left, 34, stage.width - left - 30, captions.y - 34 - 16)
        return CardLayout(Box(38, 34, left - 38 - 24, captions.y - 34 - 16), window, captions)
    middle = captions.y * (0.62 if end and not stage.portrait else 0.5)
    return CardLayout(
        Box(28, 26, stage.width - 56, middle - 30),
        Box(28, middle + 6, stage.width - 56, captions.y - middle - 6 - 14),
        captions,
    )


@dataclass(frozen=True, slots=True)
class SplitLayout:
    """Two windows and the captions."""

    first: Box
    second: Box
    captions: Box


def split_layout(stage: Stage, logo: bool = False) -> SplitLayout:
    """Windows side by side, or above each other where the picture is tall; below a logo, if any."""
    captions = stage.captions
    top, gap = BELOW_LOGO if logo else 18.0, 12.0
    room = captions.y - top - 14
    if stage.portrait:
        wide, tall = stage.width - 2 * MARGIN, (room - gap) / 2
        return SplitLayout(Box(MARGIN, top, wide, tall), Box(MARGIN, top + tall + gap, wide, tall), captions)
    wide = (stage.width - 2 * MARGIN - gap) / 2
    return SplitLayout(Box(MARGIN, top, wide, room), Box(MARGIN + wide + gap, top, wide, room), captions)
