"""What of a job a shot is made from, and nothing else: equal needs are equal recipes (core/cache.py).

Where a person changes one speaker's pace, voice or look, a word of the lexicon or the show's name, the shots
that this cannot be heard or seen in keep their keys, and nothing of them is made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from hpcwise.core.screenplay import Character, Line, Scene, Shot
from hpcwise.core.spec import JobSpec

_WORDS: Final = re.compile(r"\w+")
#: Between two shots of these kinds is a plain cut: nothing of the one before is seen in the next.
_CUT: Final = frozenset({"two_shot", "close_up", "over_shoulder"})
#: Kinds that show the name of the show.
_NAMED: Final = frozenset({"title", "end"})
#: What tells the kind of a voice, for engines that have few: accent and sex ("af_" of "af_heart").
_KIND: Final = 3


def spoken(job: JobSpec, shot: Shot) -> dict[str, Any]:
    """The speech stage's parameters for a shot."""
    said: dict[str, Any] = {
        "lines": [{"speaker": line.speaker, "text": line.text} for line in shot.lines],
        "cast": msgspec.to_builtins(_heard(job.cast, {line.speaker for line in shot.lines})),
        "pause_after_s": shot.pause_after_s,
    }
    words = {word for line in shot.lines for word in _WORDS.findall(line.text)}
    here = {
        word: as_said for word, as_said in sorted(job.lexicon.items()) if words & set(_WORDS.findall(word))
    }
    return said | ({"lexicon": here} if here else {})


def drawn(job: JobSpec, shot: Shot, cut: dict[str, Any], *, introduces: bool) -> dict[str, Any]:
    """What of job and shot can be seen in the shot. cut: as `cut_of` says; introduces: the name is shown."""
    lines = tuple(Line(speaker=line.speaker, text=line.text) for line in shot.lines)
    # A new source or estimate is no reason to draw it again.
    seen = msgspec.structs.replace(shot, lines=lines, expected_s=0.0, prominence=0.0)
    before = cut.get("before", {})
    kinds = {shot.kind, before.get("kind")}
    people = _seen(job.cast, shot.kind, [line.speaker for line in lines])
    if before:
        people |= _seen(job.cast, before["kind"], before["speakers"])
    named = {line.speaker for line in lines} if introduces else set[str]()
    cast = [
        msgspec.structs.replace(
            c, voice="", pace=1.0, name=c.name * (c.id in named), role=c.role * (c.id in named)
        )
        for c in job.cast
        if c.id in people
    ]
    found = {"shot": msgspec.to_builtins(seen), "cast": msgspec.to_builtins(cast), "show_name": introduces}
    return found | ({"show_title": job.show} if kinds & _NAMED else {}) | cut


def cut_of(scene: Scene, first: int, i: int) -> dict[str, Any]:
    """How shot `i` of a scene follows the one before and gives way to the next, for those who draw it.

    first: place of the scene's first shot in the film. Of the shot before only what can be seen at its end,
    not its words: a new line makes one shot again.
    """
    cut: dict[str, Any] = {}
    if first + i == 0:
        cut["index"] = 0
    elif i == 0:
        cut["opens"] = True
    elif not {scene.shots[i - 1].kind, scene.shots[i].kind} <= _CUT:
        last = scene.shots[i - 1]
        card = {"heading": last.heading, "subheading": last.subheading, "notes": last.notes}
        cut["before"] = {"kind": last.kind, "speakers": [line.speaker for line in last.lines]}
        cut["before"] |= {name: value for name, value in card.items() if value}
        if last.kind == "figure":
            cut["before"]["figure"] = last.figure
    if i == len(scene.shots) - 1 and not scene.last:
        cut["closes"] = True
    return cut


def _heard(cast: Sequence[Character], speaking: set[str]) -> list[Character]:
    """Who speaks, and of those before them in the cast the kind of their voice: an engine that has few voices
    tells people of one kind apart by their order."""
    last = max((i for i, c in enumerate(cast) if c.id in speaking), default=-1)
    return [
        Character(
            id=c.id, name="", role="", look="",
            voice=c.voice if c.id in speaking else c.voice[:_KIND],
            pace=c.pace if c.id in speaking else 1.0,
        )
        for c in cast[: last + 1]
    ]  # fmt: skip


def _seen(cast: Sequence[Character], kind: str, speakers: Iterable[str]) -> set[str]:
    """Who speaks, and the two at the table: those who speak come first, in the order of the cast. A chapter's
    card shows nobody."""
    speaking = set(speakers)
    seated = {c.id for c in sorted(cast, key=lambda c: c.id not in speaking)[:2]}
    return speaking if speaking and kind == "chapter" else speaking | seated
