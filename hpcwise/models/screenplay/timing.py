"""How long a line takes to say, before anybody has said it.

The constants are a least-squares fit to 44 shots of four papers spoken by the default voices at their
default pace, the leads and gaps of the speech stage included; the mean error was 0.4 s a shot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpcwise.core.screenplay import Line

_CHAR_S = 0.0631
#: On top of that: a digit is said as a word, a capital of an acronym as a syllable, a comma as a pause.
_DIGIT_S, _CAPITAL_S, _COMMA_S = 0.29, 0.18, 0.22
#: After the last line of a shot, in seconds, unless the shot says otherwise.
AFTER_SHOT_S = 0.25

_ACRONYM = re.compile(r"\b[A-Z]{2,5}s?\b")


def expected_s(text: str) -> float:
    """Seconds that speech of the text takes, pauses inside of it included."""
    digits = sum(char.isdigit() for char in text)
    capitals = sum(len(word) for word in _ACRONYM.findall(text))
    commas = len(re.findall(r"[,;:]\s", text))
    return _CHAR_S * len(text) + _DIGIT_S * digits + _CAPITAL_S * capitals + _COMMA_S * commas


def lines_s(lines: Sequence[Line], after_s: float = AFTER_SHOT_S) -> float:
    """Seconds of a shot with these lines."""
    return sum(expected_s(line.text) for line in lines) + after_s
