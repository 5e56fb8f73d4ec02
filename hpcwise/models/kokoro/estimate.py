"""How long Kokoro takes to say a text, without asking it.

Seconds are linear in what is really said: letters and digits after numbers, units and signs have become
words, syllables of acronyms, and pauses at marks. Each voice has a rate of its own. Constants: a
least-squares fit at the default pace (see `scripts/fit-speech`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hpcwise.models.kokoro.spoken import spoken_words

_PER_LINE_S: Final = 0.25
_PER_LETTER_S: Final = 0.06
_PER_DIGIT_S: Final = 0.29
_PER_CAPITAL_S: Final = 0.18
_PER_PAUSE_S: Final = 0.22
_PER_STOP_S: Final = 0.3
#: Seconds a voice takes by those that the mean of all takes.
_RATES: Final = {"af_heart": 1.0, "am_michael": 1.0, "bf_emma": 1.0, "bm_george": 1.0}
_ACRONYM = re.compile(r"\b[A-Z]{2,5}s?\b")
_DEFAULTS: Final = {"lead_s": 0.15, "gap_s": 0.25}


def speech_s(text: str, voice: str = "") -> float:
    """Seconds of one line at the default pace; a voice that is not known speaks at the mean of the others."""
    return sum(c * f for c, f in zip(_constants(), features(text), strict=True)) * _RATES.get(voice, 1.0)


def _constants() -> tuple[float, ...]:
    return (_PER_LINE_S, _PER_LETTER_S, _PER_DIGIT_S, _PER_CAPITAL_S, _PER_PAUSE_S, _PER_STOP_S)


def features(text: str) -> tuple[float, ...]:
    """What the seconds are linear in: 1, letters, digits, capitals of acronyms, pauses, stops inside."""
    said = " ".join(word.spoken for word in spoken_words(text))
    return (
        1.0,
        float(sum(c.isalpha() or c == " " for c in said)),
        float(sum(c.isdigit() for c in said)),
        float(sum(len(word) for word in _ACRONYM.findall(said))),
        float(len(re.findall(r"[,;:](?=\s)", said))),
        float(len(re.findall(r"[.?!…](?=\s)", said))),
    )


def shot_s(said_s: Sequence[float], after_s: float) -> float:
    """Seconds of a shot whose lines take so long, leads and gaps included."""
    return _DEFAULTS["lead_s"] + sum(said_s) + _DEFAULTS["gap_s"] * max(0, len(said_s) - 1) + after_s
