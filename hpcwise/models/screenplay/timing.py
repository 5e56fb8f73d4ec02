"""How long a shot takes to say, before anybody has said it: the speech stage's own estimate of its voices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hpcwise.core.screenplay import Character, Line
from hpcwise.models.kokoro.estimate import shot_s, speech_s

#: After the last line of a shot, in seconds, unless the shot says otherwise.
AFTER_SHOT_S = 0.25


_UNITS_TEXT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS_TEXT = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS, _TENS = tuple(_UNITS_TEXT.split()), tuple(_TENS_TEXT.split())
#: Years and larger numbers are read in other ways: these are left to the estimate's seconds a digit.
_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3})(?:\.(\d+))?(?![\d,.]*\d)")


def expected_s(text: str, voice: str = "") -> float:
    """Seconds that speech of the text takes, pauses inside of it included."""
    return speech_s(_in_words(text), voice)


def _in_words(text: str) -> str:
    """ "12 of 2.5" -> "twelve of two point five": "12" is not twice as long to say as "7"."""

    def said(match: re.Match[str]) -> str:
        after = [_UNITS[int(digit)] for digit in match[2] or ""]
        return " ".join([_cardinal(int(match[1])), *(["point", *after] if after else [])])

    return _NUMBER.sub(said, text)


def _cardinal(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    if number < 100:
        rest = number % 10
        return _TENS[number // 10 - 2] + (f" {_UNITS[rest]}" if rest else "")
    rest = number % 100
    return f"{_UNITS[number // 100]} hundred" + (f" and {_cardinal(rest)}" if rest else "")


def lines_s(
    lines: Sequence[Line],
    after_s: float = AFTER_SHOT_S,
    voices: Mapping[str, str] | None = None,
    paces: Mapping[str, float] | None = None,
) -> float:
    """Seconds of a shot with these lines. voices, paces: of the speakers by id, where they are known."""
    said = [
        expected_s(line.text, (voices or {}).get(line.speaker, "")) / (paces or {}).get(line.speaker, 1.0)
        for line in lines
    ]
    return shot_s(said, after_s)


def voices_of(cast: Sequence[Character]) -> dict[str, str]:
    """Voice of each speaker by id."""
    return {character.id: character.voice for character in cast}
