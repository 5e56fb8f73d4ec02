"""How long a shot takes to say, before anybody has said it: the speech stage's own estimate of its voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcwise.core.screenplay import Character, Line
from hpcwise.models.kokoro.estimate import shot_s, speech_s

#: After the last line of a shot, in seconds, unless the shot says otherwise.
AFTER_SHOT_S = 0.25


def expected_s(text: str, voice: str = "") -> float:
    """Seconds that speech of the text takes, pauses inside of it included."""
    return speech_s(text, voice)


def lines_s(
    lines: Sequence[Line], after_s: float = AFTER_SHOT_S, voices: Mapping[str, str] | None = None
) -> float:
    """Seconds of a shot with these lines. voices: of the speakers by id, where they are known."""
    said = [speech_s(line.text, (voices or {}).get(line.speaker, "")) for line in lines]
    return shot_s(said, after_s)


def voices_of(cast: Sequence[Character]) -> dict[str, str]:
    """Voice of each speaker by id."""
    return {character.id: character.voice for character in cast}
