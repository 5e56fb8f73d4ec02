"""Typed identifiers and the few physical constants; names carry their unit (`_s`, `_gb`, `_usd`)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

RequestId = str
TaskId = str
WorkerId = str
ModelName = str
#: Hex digest of a task's recipe (see core/cache.py); the name of its artifact on every machine.
Key = str

#: The unit of streaming: deadlines attach to segments of this length (StreamWise section 4.5: the sync
#: model's 3.5 s limit; with whole shots the first frame of its 8 x A100 film comes at 439 s, not 123 s).
SEGMENT_S: Final = 3.5

#: The start of a task that is expected to take less is not said to the head before its end.
QUICK_S: Final = 0.1

HOUR_S: Final = 3600.0
J_PER_KWH: Final = 3.6e6


def exact_fps(fps: float) -> Fraction:
    """`fps` as the fraction that is meant: 23.976 and 29.97 are 24000/1001 and 30000/1001."""
    nearest = round(fps)
    if abs(fps - nearest) < 1e-6:
        return Fraction(nearest)
    ntsc = Fraction(math.ceil(fps) * 1000, 1001)
    return ntsc if abs(fps - ntsc) < 0.005 else Fraction(fps).limit_denominator(1001)
