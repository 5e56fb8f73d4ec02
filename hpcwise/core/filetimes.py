"""What the files between two attempts take: making a loop's state durable, finding and reading it elsewhere.

Before anybody has said, a constant for the file and one for its size. What workers then report moves both
towards what this run's file system does, each as far as the reports tell the two apart: files that are all of
one size say little about much larger ones. The newest reports count most.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

#: Making a file durable, or finding and opening it, whatever its size (seconds), and the speed of a shared
#: file system for one reader or writer.
FILE_S: Final = 0.25
FILE_GB_PER_S: Final = 0.5
#: The constants count as much as so many reports, and a report as much less with each that follows it.
_PRIOR: Final = 0.5
_KEPT: Final = 0.95
#: A report moves nothing by more than this, up or down: a disk that slept says little about the next file.
_MOST: Final = 100.0


class FileTimes(msgspec.Struct):
    """Sums over reported files. Of the time that the constants give it, a file takes y times as much; c is
    the share of that time which is the same for all files, s the share of its size (c + s = 1)."""

    cc: float = 0.0
    cs: float = 0.0
    ss: float = 0.0
    cy: float = 0.0
    sy: float = 0.0


def learn(times: FileTimes, size_gb: float, seconds: float) -> None:
    """A file of that size took so long. What cannot have been measured changes nothing."""
    if not (math.isfinite(size_gb) and size_gb >= 0 and math.isfinite(seconds) and seconds > 0):
        return
    usual_s = FILE_S + size_gb / FILE_GB_PER_S
    c = FILE_S / usual_s
    s, y = 1.0 - c, min(_MOST, max(1 / _MOST, seconds / usual_s))
    for name, sample in (("cc", c * c), ("cs", c * s), ("ss", s * s), ("cy", c * y), ("sy", s * y)):
        setattr(times, name, _KEPT * getattr(times, name) + sample)


def expected_s(times: FileTimes | None, size_gb: float) -> float:
    """Seconds that a file of that size takes; None where nothing has been reported."""
    if times is None:
        return FILE_S + size_gb / FILE_GB_PER_S
    # Least squares of how many times either constant is, drawn to one by the prior; neither below zero.
    cc, ss, cs = times.cc + _PRIOR, times.ss + _PRIOR, times.cs
    cy, sy = times.cy + _PRIOR, times.sy + _PRIOR
    whole = cc * ss - cs * cs
    each, by_size = (ss * cy - cs * sy) / whole, (cc * sy - cs * cy) / whole
    if each < 0:
        each, by_size = 0.0, sy / ss
    elif by_size < 0:
        each, by_size = cy / cc, 0.0
    return each * FILE_S + by_size * size_gb / FILE_GB_PER_S
