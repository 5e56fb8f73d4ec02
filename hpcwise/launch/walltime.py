"""Walltimes: as long as the work that is left, so that a job fits into a hole of the schedule."""

from __future__ import annotations

import math
from typing import Final

#: What people ask for: a scheduler's holes are found among these, and equal jobs become one array.
STEPS_MIN: Final = (10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 960, 1440)
#: Work turns out longer, and the last minute is no use.
FACTOR: Final = 1.5
MARGIN_MIN: Final = 5.0


def shaped_min(work_s: float | None, limit_min: int) -> int:
    """Minutes to ask for when `work_s` of work is left for the worker; the limit where that is not known.

    No more than `limit_min`; of longer work whole days.
    """
    if work_s is None or math.isinf(work_s):
        return limit_min
    need_min = FACTOR * work_s / 60 + MARGIN_MIN
    for step in STEPS_MIN:
        if need_min <= step:
            return min(step, limit_min)
    return min(1440 * math.ceil(need_min / 1440), limit_min)
