"""How long Kokoro takes to say a text, without asking it.

Seconds are linear in what is really said: letters and digits after numbers, units and signs have become
words, and syllables of acronyms. Each voice has a rate of its own. The constants are a least-squares fit to
180 lines of six papers in four voices at the default pace: 0.26 s off a line in the mean, under 0.5 % over
all lines of a voice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from hpcwise.models.kokoro.params import SpeechParams
from hpcwise.models.kokoro.spoken import spoken_words

_LINE_S: Final = -0.088
_LETTER_S: Final = 0.0638
_DIGIT_S: Final = 0.333
_CAPITAL_S: Final = 0.117
#: Seconds a voice takes by those that the mean of all takes.
_RATES: Final = {"af_heart": 0.972, "am_michael": 1.05, "bf_emma": 0.907, "bm_george": 1.071}
_LEAST_S: Final = 0.3
_ACRONYM = re.compile(r"\b[A-Z]{2,5}s?\b")


@lru_cache(maxsize=8192)
def speech_s(text: str, voice: str = "") -> float:
    """Seconds of one line at the default pace; a voice that is not known speaks at the mean of the others."""
    said = " ".join(word.spoken for word in spoken_words(text))
    seconds = (
        _LINE_S
        + _LETTER_S * sum(c.isalpha() or c == " " for c in said)
        + _DIGIT_S * sum(c.isdigit() for c in said)
        + _CAPITAL_S * sum(len(word) for word in _ACRONYM.findall(said))
    )
    return max(_LEAST_S, seconds * _RATES.get(voice, 1.0))


def shot_s(said_s: Sequence[float], after_s: float) -> float:
    """Seconds of a shot whose lines take so long, leads and gaps included."""
    usual = SpeechParams(lines=(), cast=())
    return usual.lead_s + sum(said_s) + usual.gap_s * max(0, len(said_s) - 1) + after_s
