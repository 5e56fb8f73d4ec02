"""What the speech stage is asked for; shared by every family that speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Character, Line

#: Samples a second of every voice here.
RATE_HZ = 24_000


class SpeechParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lines of one shot and how they are spoken. Times in seconds; pace 1.0 is the voice's own,
    and is multiplied by that of who speaks.

    lexicon: words of these lines that are said otherwise than they are written ("USP": "U S P").
    """

    lines: tuple[Line, ...]
    cast: tuple[Character, ...]
    pace: float = 1.05
    lead_s: float = 0.15
    gap_s: float = 0.25
    pause_after_s: float = 0.25
    lexicon: dict[str, str] = {}

    def pace_of(self, speaker: str) -> float:
        """The pace of one of the cast."""
        return self.pace * next(c.pace for c in self.cast if c.id == speaker)


def speech_params(raw: Mapping[str, Any]) -> SpeechParams:
    """`raw` as a `SpeechParams`; raises `UsageError` that names the field and its value."""
    try:
        params = msgspec.convert(raw, SpeechParams)
    except msgspec.ValidationError as error:
        raise UsageError(f"speech: {error}") from error
    if not 0.5 <= params.pace <= 2.0:
        raise UsageError(f"speech: pace is {params.pace}; give a number from 0.5 to 2")
    for character in params.cast:
        if not 0.5 <= character.pace <= 2.0:
            raise UsageError(
                f"speech: pace of {character.id} is {character.pace}; give a number from 0.5 to 2"
            )
    for field in ("lead_s", "gap_s", "pause_after_s"):
        if not 0.0 <= getattr(params, field) <= 30.0:
            raise UsageError(f"speech: {field} is {getattr(params, field)}; give seconds from 0 to 30")
    ids = [c.id for c in params.cast]
    for i, line in enumerate(params.lines):
        if line.speaker not in ids:
            known = ", ".join(ids) or "nobody"
            raise UsageError(f"speech: lines[{i}].speaker is {line.speaker!r}; the cast has {known}")
    return params
