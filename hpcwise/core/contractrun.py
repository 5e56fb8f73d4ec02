"""Carrying the policy out: a book of what was asked for, and rehearsals of a night by drawn waits.

Rehearsals are the contract's estimate: the same `decide` as in the real night, with waits, profile errors
and evictions drawn by a fixed low-discrepancy sequence, so that equal questions get equal answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Protocol

import msgspec
import numpy as np

from hpcwise.core.contract import Cancel, Held, Kept, Night, Terms, decide, next_look_s
from hpcwise.core.queuewait import LEVELS, Waits
from hpcwise.core.units import HOUR_S

#: A night that is not over after this is counted as never.
HORIZON_S = 72 * HOUR_S
#: A job that starts within this has not waited.
_AT_ONCE_S = 60.0
#: Unix time has steps of a quarter of a microsecond: what ends within this has ended.
_TICK_S = 1e-5
#: Draws of one rehearsal: the profiles' error, then a wait and an eviction for each submission, and last the
#: wait of what is kept.
_DRAWS = 26


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a job was held for: for the receipt. why: done, preempted, walltime, cancelled."""

    offer: int
    start_s: float
    end_s: float
    why: str


class Book:
    """Work left and jobs held, at `now_s`. error: by which work takes longer than expected. kept_s: when each
    of the terms' wide replicas starts; nothing is worked before all have loaded, and they stay to the end."""

    def __init__(
        self, terms: Terms, deadline_s: float, now_s: float, error: float = 1.0, kept_s: Sequence[float] = ()
    ) -> None:
        self.terms, self.deadline_s, self.now_s, self.error = terms, deadline_s, now_s, error
        self.remaining = 1.0
        self.held: dict[str, Held] = {}
        self.spent: list[Spent] = []
        self._kept = tuple(zip(terms.kept, kept_s, strict=False))
        self._whole_s = max((start_s + kept.load_s for kept, start_s in self._kept), default=-math.inf)

    def night(self) -> Night:
        return Night(remaining=self.remaining, deadline_s=self.deadline_s, held=tuple(self.held.values()))

    def asked(self, ident: str, offer: int) -> None:
        self.held[ident] = Held(ident=ident, offer=offer, running=False, since_s=self.now_s)

    def started(self, ident: str) -> None:
        self.held[ident] = Held(ident=ident, offer=self.held[ident].offer, running=True, since_s=self.now_s)

    def gone(self, ident: str, why: str) -> None:
        job = self.held.pop(ident)
        if job.running:
            self.spent.append(Spent(offer=job.offer, start_s=job.since_s, end_s=self.now_s, why=why))

    def advance(self, to_s: float) -> None:
        """Work until then with what runs; stops at the end of the work, which `now_s` is then."""
        steps = [*sorted({s for s in self._begins() if self.now_s < s < to_s}), to_s]
        for step_s in steps:
            rate = self._rate()
            if rate and self.remaining / rate <= step_s - self.now_s + _TICK_S:
                self.now_s += self.remaining / rate
                self.remaining = 0.0
                return
            self.remaining -= rate * (step_s - self.now_s)
            self.now_s = step_s

    def done_s(self) -> float:
        """When the work ends with what runs now, if nothing happens."""
        left, at_s = self.remaining, self.now_s
        begins = sorted(s for s in self._begins() if s > at_s)
        for begin_s in [*begins, math.inf]:
            rate = self._rate(at_s)
            if rate and left / rate <= begin_s - at_s:
                return at_s + left / rate
            if begin_s == math.inf:
                return math.inf
            left -= rate * (begin_s - at_s)
            at_s = begin_s
        return math.inf

    def usd(self) -> float:
        offers = self.terms.offers
        return sum(hours * each.usd_per_h for each, hours in self._kept_h()) + sum(
            (s.end_s - s.start_s) * offers[s.offer].usd_per_h / HOUR_S for s in self.spent
        )

    def gpu_h(self) -> float:
        offers = self.terms.offers
        return sum(hours * each.gpus for each, hours in self._kept_h()) + sum(
            (s.end_s - s.start_s) * offers[s.offer].gpus / HOUR_S for s in self.spent
        )

    def _kept_h(self) -> list[tuple[Kept, float]]:
        return [(each, max(0.0, self.now_s - start_s) / HOUR_S) for each, start_s in self._kept]

    def _begins(self) -> list[float]:
        offers = self.terms.offers
        begins = [job.since_s + offers[job.offer].load_s for job in self.held.values() if job.running]
        return [max(begin_s, self._whole_s) for begin_s in begins]

    def _rate(self, at_s: float | None = None) -> float:
        now_s = self.now_s if at_s is None else at_s
        if now_s + 1e-9 < self._whole_s:
            return 0.0
        total = 0.0
        for job in self.held.values():
            each = self.terms.offers[job.offer]
            if job.running and job.since_s + each.load_s <= now_s + 1e-9:
                total += 1 / (each.work_s * self.error)
        return total


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One night. ready_s: on the clock of the terms; inf where it never ended. asked: offers in the order in
    which they were asked for."""

    ready_s: float
    usd: float
    gpu_h: float
    preempted: int
    asked: tuple[int, ...]


def draws(n: int) -> np.ndarray:
    """`n` points that fill the unit cube of all draws evenly (multiples of the roots of primes)."""
    primes = [p for p in range(2, 110) if all(p % q for q in range(2, p))][:_DRAWS]
    steps = np.sqrt(np.array(primes, dtype=float)) % 1.0
    made: np.ndarray = (0.5 + np.outer(np.arange(1, n + 1), steps)) % 1.0
    return made


def rehearse(terms: Terms, deadline_s: float, now_s: float, points: np.ndarray) -> list[Outcome]:
    """A night for each row of `points`."""
    return [carry_out(terms, deadline_s, now_s, _Drawn(terms, now_s, row)) for row in points.tolist()]


class Luck(Protocol):
    """What becomes of a night. error: by which work takes longer than expected."""

    @property
    def error(self) -> float: ...

    def wait_s(self, number: int, offer: int, now_s: float) -> float:
        """In the queue, of the night's submission `number`."""

    def evicted_s(self, number: int, offer: int) -> float:
        """From its start until it is evicted; inf for never."""

    def kept_wait_s(self, kept: int, now_s: float) -> float:
        """In the queue, of one of the terms' wide replicas, asked for at the night's beginning."""


class _Drawn:
    """A night by drawn numbers: the profiles' error, then a wait and an eviction for each submission."""

    def __init__(self, terms: Terms, begin_s: float, row: list[float]) -> None:
        self._terms, self._begin_s, self._row = terms, begin_s, row
        self.error = math.exp(terms.sigma * NormalDist().inv_cdf(min(0.9999, max(0.0001, row[0]))))

    def wait_s(self, number: int, offer: int, now_s: float) -> float:
        terms, level = self._terms, self._row[self._at(number)]
        start_s = terms.offers[offer].start_s
        if start_s is not None and now_s == self._begin_s:
            return first_wait_s(terms.waits[offer][terms.hour(now_s)], start_s, level)
        return terms.wait_s(offer, now_s, level)

    def evicted_s(self, number: int, offer: int) -> float:
        return eviction_s(self._terms.offers[offer].evictions_per_h, self._row[self._at(number) + 1])

    def kept_wait_s(self, kept: int, now_s: float) -> float:
        return self._terms.kept_waits[kept][self._terms.hour(now_s)].at(self._row[-1])

    @staticmethod
    def _at(number: int) -> int:
        return 1 + 2 * (number % ((_DRAWS - 1) // 2))


def eviction_s(per_h: float, level: float) -> float:
    """After how long a job is evicted, at a level from 0 to 1 of the exponential law."""
    return -math.log(max(1e-12, 1 - level)) * HOUR_S / per_h if per_h else math.inf


def carry_out(terms: Terms, deadline_s: float, now_s: float, luck: Luck) -> Outcome:
    """One night by the policy."""
    kept_s = [now_s + luck.kept_wait_s(i, now_s) for i in range(len(terms.kept))]
    book = Book(terms, deadline_s, now_s, luck.error, kept_s)
    starts: dict[str, float] = {}
    ends: dict[str, tuple[float, str]] = {}
    evicted: dict[str, float] = {}
    asked: list[int] = []
    while True:
        for action in decide(terms, book.night(), book.now_s):
            if isinstance(action, Cancel):
                book.gone(action.ident, "cancelled")
                starts.pop(action.ident, None)
                continue
            number = len(asked)
            ident = str(number)
            starts[ident] = book.now_s + luck.wait_s(number, action.offer, book.now_s)
            evicted[ident] = luck.evicted_s(number, action.offer)
            asked.append(action.offer)
            book.asked(ident, action.offer)
        if book.now_s - now_s >= HORIZON_S:
            break
        done_s = book.done_s()
        next_s = min(
            [done_s, next_look_s(terms, book.night(), book.now_s), *starts.values()]
            + [end for end, _ in ends.values()]
        )
        book.advance(min(next_s, now_s + HORIZON_S))
        if book.remaining <= 1e-12:
            break
        for ident in [i for i, at in starts.items() if at <= book.now_s]:
            del starts[ident]
            book.started(ident)
            wall_s = terms.offers[book.held[ident].offer].walltime_s
            ends[ident] = (
                (book.now_s + evicted[ident], "preempted") if evicted[ident] < wall_s
                else (book.now_s + wall_s, "walltime")
            )  # fmt: skip
        for ident in [i for i, (at, _) in ends.items() if at <= book.now_s]:
            book.gone(ident, ends.pop(ident)[1])
    return outcome(book, tuple(asked))


def first_wait_s(waits: Waits, start_s: float, level: float) -> float:
    """A wait from now on, where Slurm has said what it expects.

    Its estimate counts on walltimes, which jobs do not use up, so it tells surely only whether a job starts
    at once. Otherwise it is one of those that had to wait, whose past is known, and its estimate is a bound.
    """
    if start_s <= _AT_ONCE_S:
        return start_s
    at_once = sum(wait_s <= _AT_ONCE_S for wait_s in waits.wait_s)
    share = LEVELS[min(at_once, len(LEVELS) - 1)] if at_once else 0.0
    return min(start_s, waits.at(share + (1 - share) * level))


def outcome(book: Book, asked: tuple[int, ...]) -> Outcome:
    """The night so far as a result; jobs that still run are given back now."""
    for ident in list(book.held):
        book.gone(ident, "done")
    return Outcome(
        ready_s=book.now_s if book.remaining <= 1e-12 else math.inf,
        usd=book.usd(),
        gpu_h=book.gpu_h(),
        preempted=sum(s.why == "preempted" for s in book.spent),
        asked=asked,
    )
