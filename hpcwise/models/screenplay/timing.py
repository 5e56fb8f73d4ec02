"""How long a line takes to say, before anybody has said it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpcwise.core.screenplay import Line

#: Characters a second of the default voices at their default speed.
CHARS_PER_S = 14.5
#: Between two lines of one shot, and after the last line of a shot, in seconds.
BETWEEN_LINES_S, AFTER_SHOT_S = 0.15, 0.25

_DIGIT_CHARS = 3.6  # "7" is said with about as many characters as "seven" has, less the space
_CAPITALS = re.compile(r"\b[A-Z]{2,5}s?\b")


def expected_s(text: str) -> float:
    """Seconds that speech of the text takes, pauses inside of it included."""
    spelled = sum(2.0 * len(word) for word in _CAPITALS.findall(text))
    digits = sum(char.isdigit() for char in text)
    chars = len(text) + digits * (_DIGIT_CHARS - 1) + spelled
    pauses = 0.12 * len(re.findall(r"[,;:—]\s", text)) + 0.25 * len(re.findall(r"[.?!][\"”’]?\s", text))
    return chars / CHARS_PER_S + pauses


def lines_s(lines: Sequence[Line], after_s: float = AFTER_SHOT_S) -> float:
    """Seconds of a shot with these lines."""
    return sum(expected_s(x.text) for x in lines) + BETWEEN_LINES_S * max(0, len(lines) - 1) + after_s
