"""Nights of a site's own past, rehearsed: what promises would have held, from what its jobs really waited.

    past = Past(samples, midnight_s)
    rows = past.nights(sets, 60, sigma=0.1)       # a list of Rehearsed; `calibrate` makes the stretch

A job of ours that is asked for at some moment waits as long as the job of that partition, size and walltime
waited that was submitted nearest to it: days that were busy are busy for all queues and for hours on end,
which drawn waits are not. What the policy knows on a night is learned from the other weeks.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Final

import msgspec

from hpcwise.core.contract import Kept, Offer, Terms
from hpcwise.core.contractoffers import terms_of
from hpcwise.core.contractquote import LEVELS, Calibration, Rehearsed, earliest, kind_of
from hpcwise.core.contractrun import carry_out, draws, eviction_s
from hpcwise.core.queuewait import WaitModel, WaitSample, key_chain, learn
from hpcwise.core.units import HOUR_S

_DAY_S: Final = 86400.0
_WEEK_S: Final = 7 * _DAY_S
#: A night of the past needs a job of the same class that was submitted within so long, else a coarser one.
_NEAR_S: Final = 3 * HOUR_S
#: Less past than this is not rehearsed: two weeks of a busy partition.
LEAST_DAYS: Final = 14
LEAST_JOBS: Final = 200
#: Films are asked for from 17:00 to midnight.
_FROM_H: Final = 17.0
_TO_H: Final = 24.0
#: Groups in which it is checked whether promises hold.
_GROUPS: Final = 4
_POINTS: Final = 24

Sets = Sequence[tuple[Offer, ...]]


class Past:
    """samples: with the Unix time of their submission. midnight_s: any local midnight."""

    def __init__(self, samples: Sequence[WaitSample], midnight_s: float) -> None:
        self._samples = sorted(samples, key=lambda sample: sample.submit_s)
        self._midnight_s = midnight_s
        self._near: dict[tuple[str, int, int, int], tuple[list[float], list[float]]] = {}
        for sample in self._samples:
            if sample.started:
                for key in key_chain(sample.partition, sample.nodes, sample.walltime_s, sample.hour)[1:4]:
                    times, waits = self._near.setdefault(key, ([], []))
                    times.append(sample.submit_s)
                    waits.append(sample.wait_s)

    @property
    def days(self) -> float:
        ours = self._samples
        return (ours[-1].submit_s - ours[0].submit_s) / _DAY_S if ours else 0.0

    @property
    def enough(self) -> bool:
        """Whether there is something to rehearse."""
        return self.days >= LEAST_DAYS and len(self._samples) >= LEAST_JOBS

    def wait_s(self, offer: Offer | Kept, at_s: float) -> float | None:
        """What such a job waited then; None where no job was near."""
        for key in key_chain(offer.partition, offer.nodes, offer.walltime_s, 0)[1:4]:
            times, waits = self._near.get(key, ([], []))
            i = bisect_left(times, at_s)
            near = min(
                (j for j in (i - 1, i) if 0 <= j < len(times)), key=lambda j: abs(times[j] - at_s), default=-1
            )
            if near >= 0 and abs(times[near] - at_s) <= _NEAR_S:
                return waits[near]
        return None

    def nights(
        self, films: Sequence[Sets], n: int, sigma: float, tell: Callable[[int], None] = lambda _done: None
    ) -> list[Rehearsed]:
        """`n` nights spread over the past, each a film of one of the sets, at each confidence. tell: called
        with the nights that are done."""
        found: list[Rehearsed] = []
        even, odd = (self._of_weeks(parity) for parity in (0, 1))
        for i, (at_s, row) in enumerate(self._moments(n)):
            waits = odd if self._week(at_s) % 2 == 0 else even
            sets = films[i % len(films)]
            for level in LEVELS:
                found += self._night(sets, waits, at_s, level, sigma, row, i % _GROUPS)
            tell(i + 1)
        return found

    # --- inside -----------------------------------------------------------------------------------------

    def _week(self, at_s: float) -> int:
        return math.floor((at_s - self._samples[0].submit_s) / _WEEK_S)

    def _of_weeks(self, parity: int) -> WaitModel:
        return learn((s for s in self._samples if self._week(s.submit_s) % 2 == parity), "weeks")

    def _moments(self, n: int) -> Iterator[tuple[float, list[float]]]:
        first_s, last_s = self._samples[0].submit_s, self._samples[-1].submit_s
        # The last night needs a night's length of past behind it.
        days = math.floor((last_s - first_s) / _DAY_S) - 1
        midnight_s = self._midnight_s + math.floor((first_s - self._midnight_s) / _DAY_S) * _DAY_S
        for i, row in enumerate(draws(n).tolist()):
            day_s = midnight_s + (i * days // n) * _DAY_S
            at_s = day_s + (_FROM_H + (_TO_H - _FROM_H) * row[-1]) * HOUR_S
            yield max(at_s, first_s), row

    def _night(
        self, sets: Sets, waits: WaitModel, at_s: float, level: float, sigma: float, row: list[float],
        group: int,
    ) -> Iterator[Rehearsed]:  # fmt: skip
        best: tuple[float, Terms] | None = None
        for offers in sets:
            terms = terms_of(self._asked(offers, at_s), waits, level, sigma, self._midnight_s)
            quote = earliest(terms, at_s, Calibration(), _POINTS)
            if best is None or quote.planned_s < best[0]:
                best = (quote.planned_s, terms)
        assert best is not None
        planned_s, terms = best
        if all(self.wait_s(offer, at_s) is None for offer in terms.offers):
            return  # nobody used these queues then: nothing is known of this night
        made = carry_out(terms, planned_s, at_s, _Lived(self, terms, row))
        ratio = (made.ready_s - at_s) / (planned_s - at_s)
        yield Rehearsed(level=level, ratio=min(ratio, 1e3), kind=kind_of(terms), group=group)

    def _asked(self, offers: tuple[Offer, ...], at_s: float) -> tuple[Offer, ...]:
        """With what Slurm would have said: it knows whether a job starts at once, and little more."""
        found = []
        for offer in offers:
            wait_s = self.wait_s(offer, at_s)
            said_s = None if wait_s is None else wait_s if wait_s <= 60.0 else math.inf
            found.append(msgspec.structs.replace(offer, start_s=said_s))
        return tuple(found)


class _Lived:
    """A night as the past had it; its error and evictions are drawn."""

    def __init__(self, past: Past, terms: Terms, row: list[float]) -> None:
        self._past, self._terms, self._row = past, terms, row
        self.error = math.exp(terms.sigma * NormalDist().inv_cdf(min(0.9999, max(0.0001, row[0]))))

    def wait_s(self, number: int, offer: int, now_s: float) -> float:
        lived = self._past.wait_s(self._terms.offers[offer], now_s)
        level = self._row[1 + number % (len(self._row) - 2)]
        return self._terms.wait_s(offer, now_s, level) if lived is None else lived

    def kept_wait_s(self, kept: int, now_s: float) -> float:
        lived = self._past.wait_s(self._terms.kept[kept], now_s)
        waits = self._terms.kept_waits[kept][self._terms.hour(now_s)]
        return waits.at(self._row[-1]) if lived is None else lived

    def evicted_s(self, number: int, offer: int) -> float:
        level = self._row[1 + (number + 1) % (len(self._row) - 2)]
        return eviction_s(self._terms.offers[offer].evictions_per_h, level)
