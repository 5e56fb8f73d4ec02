"""How long jobs wait in a site's queues: distributions by partition, size, walltime and hour, from its past.

    model = learn(samples, "sacct 2026-10")
    waits = model.waits("spot", nodes=2, walltime_s=7200, hour=23)
    waits.at(0.9)                       # nine of ten such jobs had started after so many seconds

Quantiles are empirical: queue waits have many zeros and a tail of days, which no simple formula follows.
Where a cell has fewer than MIN_SAMPLES jobs its next coarser one answers: first the hour is left out, then
the walltime, the size, the partition (a 95 % quantile of fewer than about twenty jobs is a guess). Jobs
cancelled before they started are not left out, which would make waits look shorter: they are censored
(Kaplan and Meier, 1958).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

#: Fewer jobs than this do not make a cell of their own.
MIN_SAMPLES: Final = 30
#: Upper ends of the classes of size (nodes), walltime (hours) and hour of the day.
SIZES: Final = (1, 2, 4, 8, 16, 64)
WALLTIMES_H: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 24.0)
HOURS: Final = (4, 8, 12, 16, 20, 24)
LEVELS: Final = (
    0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9,
    0.925, 0.95, 0.975, 0.99, 1.0,
)  # fmt: skip
_ANY: Final = -1


class WaitSample(msgspec.Struct, frozen=True, kw_only=True):
    """A job of the past. hour: of its submission, local, 0 to 23. started: no where it was cancelled after
    `wait_s` in the queue. submit_s: on a clock that all samples share."""

    partition: str
    nodes: int
    walltime_s: float
    hour: int
    wait_s: float
    started: bool = True
    submit_s: float = 0.0


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution: seconds at each of LEVELS. n: jobs behind it. of: whose it is, in words."""

    wait_s: tuple[float, ...]
    n: int = 0
    of: str = ""

    def at(self, level: float) -> float:
        """Seconds after which that share (0 to 1) has started; linear between the levels."""
        if level >= 1.0:
            return self.wait_s[-1]
        i = bisect_right(LEVELS, level) - 1
        low, high = LEVELS[i], LEVELS[i + 1]
        part = (level - low) / (high - low)
        return self.wait_s[i] + (self.wait_s[i + 1] - self.wait_s[i]) * part


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one class; -1 and "" stand for any. size, walltime, hour: index into SIZES and so on."""

    partition: str
    size: int
    walltime: int
    hour: int
    n: int
    wait_s: tuple[float, ...]


class WaitModel(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned; small enough for a JSON file beside the cluster's. from_s, to_s: Unix time of the
    first and last submission."""

    source: str
    jobs: int
    cells: tuple[Cell, ...]
    from_s: float = 0.0
    to_s: float = 0.0

    def index(self) -> Mapping[tuple[str, int, int, int], Cell]:
        return {(c.partition, c.size, c.walltime, c.hour): c for c in self.cells}

    def waits(self, partition: str, nodes: int, walltime_s: float, hour: int) -> Waits:
        """The finest cell with enough jobs."""
        return _answer(self.index(), partition, nodes, walltime_s, hour)

    def by_hour(self, partition: str, nodes: int, walltime_s: float) -> tuple[Waits, ...]:
        """Waits for a submission in each hour of the day."""
        known = self.index()
        return tuple(_answer(known, partition, nodes, walltime_s, hour) for hour in range(24))


def learn(samples: Iterable[WaitSample], source: str, from_s: float = 0.0, to_s: float = 0.0) -> WaitModel:
    """Group and count. Cells that would be too thin are left out; the one of all jobs is always there."""
    groups: dict[tuple[str, int, int, int], list[tuple[float, bool]]] = {}
    n = 0
    for sample in samples:
        n += 1
        for key in key_chain(sample.partition, sample.nodes, sample.walltime_s, sample.hour):
            groups.setdefault(key, []).append((max(0.0, sample.wait_s), sample.started))
    everyone = ("", _ANY, _ANY, _ANY)
    cells = tuple(
        Cell(partition=key[0], size=key[1], walltime=key[2], hour=key[3], n=len(rows), wait_s=quantiles(rows))
        for key, rows in sorted(groups.items())
        if len(rows) >= MIN_SAMPLES or key == everyone
    )
    return WaitModel(source=source, jobs=n, cells=cells, from_s=from_s, to_s=to_s)


def quantiles(rows: Sequence[tuple[float, bool]]) -> tuple[float, ...]:
    """Waits at LEVELS of (seconds, started) by Kaplan and Meier's estimate.

    A level that it never reaches, because the longest waits ended in a cancellation, gets the longest of
    all: at least so long.
    """
    order = sorted(rows, key=lambda row: (row[0], not row[1]))
    times = np.array([row[0] for row in order])
    started = np.array([row[1] for row in order], dtype=bool)
    at_risk = np.arange(len(order), 0, -1)
    survival = np.cumprod(np.where(started, 1 - 1 / at_risk, 1.0))
    done = 1 - survival
    found = []
    for level in LEVELS:
        reached = np.nonzero(started & (done >= level - 1e-9))[0]
        found.append(round(float(times[reached[0]] if len(reached) else times[-1]), 1))
    return tuple(found)


def flat(wait_s: float, of: str = "assumed") -> Waits:
    """Always the same wait, from no data."""
    return Waits(wait_s=(wait_s,) * len(LEVELS), of=of)


def _answer(
    known: Mapping[tuple[str, int, int, int], Cell], partition: str, nodes: int, walltime_s: float, hour: int
) -> Waits:
    for key in key_chain(partition, nodes, walltime_s, hour):
        cell = known.get(key)
        if cell is not None:
            return Waits(wait_s=cell.wait_s, n=cell.n, of=_words(key))
    return flat(0.0, "nothing known")


def key_chain(
    partition: str, nodes: int, walltime_s: float, hour: int
) -> tuple[tuple[str, int, int, int], ...]:
    """Of a job's class, then coarser ones: without the hour, the walltime, the size, the partition."""
    size = _class(SIZES, nodes)
    wall = _class(WALLTIMES_H, walltime_s / 3600)
    of_day = bisect_right(HOURS, hour % 24)
    return (
        (partition, size, wall, of_day),
        (partition, size, wall, _ANY),
        (partition, size, _ANY, _ANY),
        (partition, _ANY, _ANY, _ANY),
        ("", _ANY, _ANY, _ANY),
    )


def _class(ends: Sequence[float], value: float) -> int:
    return next((i for i, end in enumerate(ends) if value <= end), len(ends))


def _words(key: tuple[str, int, int, int]) -> str:
    partition, size, wall, hour = key
    parts = [f"partition {partition}" if partition else "all partitions"]
    if size != _ANY:
        parts.append(f"up to {SIZES[size]} nodes" if size < len(SIZES) else f"over {SIZES[-1]} nodes")
    if wall != _ANY:
        last = wall == len(WALLTIMES_H)
        parts.append(f"over {WALLTIMES_H[-1]:g} h" if last else f"up to {WALLTIMES_H[wall]:g} h")
    if hour != _ANY:
        parts.append(f"{HOURS[hour] - 4} to {HOURS[hour]} h")
    return ", ".join(parts)
