"""The screenplay: what is said, by whom, over which picture. Written by the screenplay stage, scene by
scene, read by the planner (which makes tasks of shots) and by the stages that film it."""

from __future__ import annotations

from typing import Literal

import msgspec

ShotKind = Literal["title", "chapter", "two_shot", "close_up", "over_shoulder", "split", "figure", "end"]


class Character(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member of the cast. `voice` names a voice of the speech model, `look` one of the renderer.

    pace: how fast this one speaks, by the voice's own pace.
    """

    id: str
    name: str
    role: str
    voice: str
    look: str
    pace: float = 1.0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One spoken line. `source` is the sentence of the document that it rests on, if it makes a claim.

    page: where that is printed, from 1. span: first character of the source in `document.txt` and the one
    after its last.
    """

    speaker: str
    text: str
    source: str = ""
    page: int = 0
    span: tuple[int, int] = (0, 0)


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """What plays without a cut. `expected_s` is an estimate until speech has been made.

    prominence: 0 to 1; the quality ladder lowers prominent shots last (opening, figures, close).
    figure: index into the document's figures, for kind `figure`. heading, subheading: words of cards (a
    chapter's name and its number). notes: more lines of an end card, such as sources.
    """

    kind: ShotKind
    lines: tuple[Line, ...]
    heading: str = ""
    subheading: str = ""
    figure: int | None = None
    prominence: float = 0.5
    expected_s: float = 5.0
    pause_after_s: float = 0.25
    notes: tuple[str, ...] = ()


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A run of shots on one topic. Streamed as one chunk of the screenplay stage."""

    title: str
    shots: tuple[Shot, ...]
    last: bool = False


class Screenplay(msgspec.Struct, frozen=True, kw_only=True):
    """`screenplay.json`: the whole film. notes: one line for each line of a model that was not taken."""

    title: str
    scenes: tuple[Scene, ...]
    written_by: str = ""
    notes: tuple[str, ...] = ()


def script_problem(scenes: tuple[Scene, ...], speakers: list[str]) -> str:
    """What keeps these scenes from being filmed with these speakers, in words; "" when nothing does."""
    shots = [shot for scene in scenes for shot in scene.shots]
    if not shots or not scenes[-1].last or any(scene.last for scene in scenes[:-1]):
        return "has no shots, or does not end with its last scene"
    unknown = sorted({line.speaker for shot in shots for line in shot.lines} - set(speakers))
    if unknown:
        return f"speaker {unknown[0]} is not in the cast"
    if any(shot.kind == "figure" and shot.figure is None for shot in shots):
        return "a figure shot names no figure"
    return ""


class Word(msgspec.Struct, frozen=True, array_like=True):
    """A caption word, seconds from the start of the shot."""

    text: str
    start_s: float
    end_s: float


class Viseme(msgspec.Struct, frozen=True, array_like=True):
    """A mouth shape (letters A-H and X of the Preston Blair set; ! marks stress), seconds in the shot."""

    shape: str
    start_s: float
    length_s: float
    speaker: str


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """What the speech stage knows of a shot: `speech.json` in its artifact, beside `audio.wav`.

    duration_s covers the pause after the last word; spans are (speaker, start_s, end_s) of each line.
    """

    duration_s: float
    sample_rate_hz: int
    words: tuple[Word, ...]
    visemes: tuple[Viseme, ...]
    spans: tuple[tuple[str, float, float], ...]
