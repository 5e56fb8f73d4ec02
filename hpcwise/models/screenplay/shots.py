"""Lines -> shots: who is seen while they speak, where it cuts, how long the pauses are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from hpcwise.core.document import Document
from hpcwise.core.screenplay import Character, Line, Scene, Shot, ShotKind
from hpcwise.models.screenplay.speakable import as_second
from hpcwise.models.screenplay.timing import AFTER_SHOT_S, lines_s, voices_of

#: A shot lasts no longer than this, in seconds.
MAX_SHOT_S = 14.0
_MERGE_S = 9.5
_MIN_SHOT_S = 4.0
#: A question that is over sooner gets no cut of its own.
_QUICK_S = 1.8
#: Between two scenes, in seconds.
_AFTER_SCENE_S = 0.6
#: Pauses are stretched or shortened by no more than this to meet the wished length.
_MOST_AFTER_S, _LEAST_AFTER_S, _MOST_END_S = 0.8, 0.12, 2.5
#: Where a document has nothing more to say just before the wished length, pauses are a little longer, and
#: pictures are looked at after the last word; a film that would still be far too short stays brisk.
_AT_EASE_AFTER_S, _AT_EASE_FIGURE_S, _NEARLY_ENOUGH = 1.0, 1.8, 0.12


class ShotMaker:
    """Shots for one cast; sources are looked up in one document."""

    def __init__(self, document: Document, cast: Sequence[Character]) -> None:
        self._spans, self._text = document.spans(), document.text
        self._voices, self._paces = voices_of(cast), {c.id: c.pace for c in cast}

    def _exchange(self, question: Line, answer: Line, prominence: float) -> list[Shot]:
        quick = min(self._length([question]) / _QUICK_S, self._length([answer]) / _MIN_SHOT_S) < 1
        if quick and self._length([question, answer]) <= MAX_SHOT_S:
            return [self._shot("two_shot", [question, answer], prominence)]
        return [
            self._shot("two_shot", [question], prominence),
            self._shot("close_up", [answer], max(0.45, prominence - 0.2)),
        ]

    def _continue(self, shots: list[Shot], line: Line) -> list[Shot]:
        """The teller goes on: in the same close-up where that stays short, else in one of its own."""
        last = shots[-1] if shots else None
        said = last.lines[-1] if last is not None else None
        if said and said.speaker == line.speaker and re.match(r"The authors|They|Their", said.text):
            line = msgspec.structs.replace(line, text=as_second(line.text))
        if last is not None and last.kind == "close_up" and len(last.lines) == 1:
            both = [*last.lines, line]
            tiny = last.expected_s < _MIN_SHOT_S or self._length([line]) < _MIN_SHOT_S
            if self._length(both) <= (MAX_SHOT_S if tiny else _MERGE_S):
                return [*shots[:-1], self._shot("close_up", both, last.prominence)]
        return [*shots, self._shot("close_up", [line], 0.45)]

    def _repaused(self, shot: Shot, after_s: float) -> Shot:
        length_s = round(self._length(shot.lines, after_s), 2)
        return msgspec.structs.replace(shot, pause_after_s=after_s, expected_s=length_s)

    def _ended(self, shots: Sequence[Shot]) -> tuple[Shot, ...]:
        """The shots of a scene, a breath after the last."""
        return (*shots[:-1], self._repaused(shots[-1], _AFTER_SCENE_S)) if shots else ()

    def _paced(self, scenes: list[Scene], wished_s: float) -> list[Scene]:
        """The scenes with pauses stretched or shortened to the wished length, as far as sounds natural."""
        missing_s = wished_s - scenes_s(scenes)
        shots = [shot for scene in scenes for shot in scene.shots]
        if abs(missing_s) < 0.2 or not shots:
            return scenes
        out = []
        short_s = missing_s - (_MOST_AFTER_S - AFTER_SHOT_S) * len(shots)
        at_ease = 0 < short_s <= _NEARLY_ENOUGH * wished_s
        most = _AT_EASE_AFTER_S if at_ease else _MOST_AFTER_S
        figures = [s for s in shots if s.kind == "figure"] if at_ease else []
        for_figures_s = max(0.0, missing_s - (most - AFTER_SHOT_S) * len(shots)) / max(1, len(figures))
        share_s = missing_s / len(shots)
        for scene in scenes:
            paced = []
            for shot in scene.shots:
                most_s = _MOST_END_S if shot.kind == "end" else max(most, shot.pause_after_s)
                after_s = min(max(shot.pause_after_s + share_s, _LEAST_AFTER_S), most_s)
                if shot in figures:
                    after_s = min(after_s + for_figures_s, _AT_EASE_FIGURE_S)
                paced.append(self._repaused(shot, round(after_s, 2)))
            out.append(msgspec.structs.replace(scene, shots=tuple(paced)))
        # What is left over is taken by the end card, which may stand a little longer.
        left_s, end = wished_s - scenes_s(out), out[-1].shots[-1]
        if end.kind == "end" and abs(left_s) >= 0.2:
            after_s = min(max(end.pause_after_s + left_s, _LEAST_AFTER_S), _MOST_END_S)
            last = (*out[-1].shots[:-1], self._repaused(end, round(after_s, 2)))
            out[-1] = msgspec.structs.replace(out[-1], shots=last)
        return out

    def _shot(
        self,
        kind: ShotKind,
        lines: Sequence[Line],
        prominence: float,
        after_s: float = AFTER_SHOT_S,
        heading: str = "",
        subheading: str = "",
        figure: int | None = None,
    ) -> Shot:
        return Shot(
            kind=kind,
            lines=tuple(lines),
            heading=heading,
            subheading=subheading,
            figure=figure,
            prominence=prominence,
            expected_s=round(self._length(lines, after_s), 2),
            pause_after_s=after_s,
        )

    def _length(self, lines: Sequence[Line], after_s: float = AFTER_SHOT_S) -> float:
        return lines_s(lines, after_s, self._voices, self._paces)

    def sourced(self, speaker: str, text: str, source: str, page: int) -> Line:
        """A line that rests on a sentence or caption, with its place in the document."""
        at = self._text.find(source)  # a sentence of a caption stands in a line of it
        span = self._spans.get(source) or ((at, at + len(source)) if at >= 0 else (0, 0))
        return Line(speaker=speaker, text=text, source=source, page=page, span=span)

    def worded(self, planned: Scene, lines: Sequence[Line], wished_s: float) -> Scene:
        """A planned scene with these lines in place of its own: its pictures stay with what rests on the same
        sentences, lines that are too many go, and the plan's own come back where there are too few."""
        figures = {
            line.source: s for s in planned.shots if s.figure is not None for line in s.lines if line.source
        }
        kept = list(lines)
        scene = self._assembled(planned, kept, figures)
        while scenes_s([scene]) > 1.15 * wished_s and sum(bool(x.source) for x in kept) > 1:
            kept.pop()
            while kept and not kept[-1].source:
                kept.pop()  # a question without its answer
            scene = self._assembled(planned, kept, figures)
        cited = " ".join(line.source for line in kept)
        spare = [x for s in planned.shots for x in s.lines if x.source and x.source not in cited]
        for line in spare:
            longer = self._assembled(planned, [*kept, line], figures)
            if scenes_s([longer]) > 1.05 * wished_s:
                break
            kept, scene = [*kept, line], longer
        return self._paced([scene], wished_s)[0]

    def _assembled(self, planned: Scene, lines: Sequence[Line], figures: Mapping[str, Shot]) -> Scene:
        shots: list[Shot] = []
        asked: Line | None = None
        chapter = planned.shots[0] if planned.shots[0].kind == "chapter" else None
        for line in lines:
            if not line.source:
                if asked is not None:
                    shots.append(self._shot("two_shot", [asked], 0.5))
                asked = line
                continue
            shown = next((s for text, s in figures.items() if text in line.source), None)
            if chapter is not None and asked is not None and not shots:
                shots.append(msgspec.structs.replace(
                    chapter, lines=(asked,), expected_s=round(self._length([asked], chapter.pause_after_s), 2)
                ))  # fmt: skip
                asked = None
            if shown is not None:
                said = [line] if asked is None else [asked, line]
                shots.append(self._shot("figure", said, 0.8, heading=shown.heading, figure=shown.figure))
            elif asked is not None:
                shots += self._exchange(asked, line, 0.5)
            else:
                shots = self._continue(shots, line)
            asked = None
        return msgspec.structs.replace(planned, shots=self._ended(shots))


def scenes_s(scenes: Sequence[Scene]) -> float:
    """Seconds that scenes are expected to last."""
    return sum(shot.expected_s for scene in scenes for shot in scene.shots)
