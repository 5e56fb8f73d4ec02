"""From shot to shot, though every segment is made alone and cannot see the one before it.

Between people shots there is a plain cut, at a pause of the speech. To and from cards and figures there is a
dissolve: its first picture is the shot before as it is at its end, which can be drawn anew from the few
things that can be seen of it then (nobody speaks, hands are down, the camera has arrived). Scenes end in the
set's colour and begin from it, which needs no other shot at all.
"""

from __future__ import annotations

from dataclasses import replace

import skia

from hpcwise.core.screenplay import Line, Shot, Speech
from hpcwise.models.drawn.motion import acting
from hpcwise.models.drawn.paint import LINEAR, Canvas, Image, box, eased
from hpcwise.models.drawn.params import Before
from hpcwise.models.drawn.scene import Material, Moment, seated, still_acting
from hpcwise.models.drawn.shots import drawing_of

DISSOLVE_S = 0.42
DIP_S = 0.26
#: A dip never hides the picture altogether: no frame of a film is empty.
DEEPEST = 0.8
_CARDS = frozenset(["title", "chapter", "figure", "split", "end"])


def dissolves(before: Before | None, kind: str) -> bool:
    """Whether a shot of that kind begins with a dissolve."""
    return before is not None and (before.kind in _CARDS or kind in _CARDS)


class Dissolve:
    """The end of the shot before, as one picture that gives way."""

    def __init__(self, material: Material, before: Before, figure: Image | None, fps: float) -> None:
        self._stage = material.stage
        self._picture = _end_of(material, before, figure, fps)

    def draw(self, canvas: Canvas, time_s: float) -> None:
        """Draw over the shot what is left of the one before."""
        left = 1 - eased((time_s + 0.02) / DISSOLVE_S)
        if left > 0:
            area = box(0, 0, self._stage.width, self._stage.height)
            canvas.drawImageRect(self._picture, area, LINEAR, skia.Paint(Alphaf=left))


def _end_of(material: Material, before: Before, figure: Image | None, fps: float) -> Image:
    """The last picture of a shot, when all has been said."""
    length_s = 1.0
    n = max(1, len(before.speakers))
    speech = Speech(
        duration_s=length_s,
        sample_rate_hz=material.speech.sample_rate_hz,
        words=(),
        visemes=(),
        spans=tuple((who, i / n * 0.5, (i + 1) / n * 0.5) for i, who in enumerate(before.speakers)),
    )
    shot = Shot(
        kind=before.kind,
        lines=tuple(Line(speaker=who, text="") for who in before.speakers),
        heading=before.heading,
        subheading=before.subheading,
        notes=before.notes,
        figure=before.figure,
    )
    sides = {c.id: side for c, side in seated(material.cast, speech)}
    there = replace(
        material,
        shot=shot,
        speech=speech,
        figure=figure,
        acting=still_acting(acting(speech, material.cast, sides, fps)),
        show_name=False,
        index=max(0, material.index - 1),
    )
    wide, tall = material.stage.width * material.scale, material.stage.height * material.scale
    surface = skia.Surface(round(wide), round(tall))
    canvas = surface.getCanvas()
    canvas.scale(material.scale, material.scale)
    canvas.clear(skia.ColorBLACK)
    drawing_of(there, still=True).draw(canvas, Moment(0, length_s, length_s, 1.0, still=True))
    return surface.makeImageSnapshot()


def dip_at(time_s: float, left_s: float, opens: bool, closes: bool) -> float:
    """How far a frame is in the set's colour: the two ends of a scene."""
    share = 1 - eased(time_s / DIP_S) if opens else 0.0
    return DEEPEST * (max(share, 1 - eased(left_s / DIP_S)) if closes else share)
