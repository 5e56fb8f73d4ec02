"""The ready-by contract's policy: cheapest capacity first, dearer capacity at the latest safe moment.

    actions = decide(terms, night, now_s)      # the head, the rehearsals and the simulated nights alike
    look_s = next_look_s(terms, night, now_s)  # ask again then, or when a job starts, ends or is evicted

An offer is one way to make the film, or what is left of it: a job of some nodes of a partition. The cheapest
is always asked for. A dearer one is asked for when waiting any longer would not leave it, with the confidence
of the contract, the time that it needs: its wait in the queue at that quantile, loading, and the work that is
left with the profiles' error at that quantile. A dearer one that could not make it alone is asked for at
once, so that sets of offers may mix a little dedicated capacity with much that is cheap. Whatever waits in a
queue is taken back as soon as what runs is safe to finish in time.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import msgspec

from hpcwise.core.queuewait import Waits
from hpcwise.core.units import HOUR_S

#: Estimates change with the hour of the day, so the question is asked at least so often.
_LOOK_S: Final = 1800.0
#: What waits is taken back once what runs is early by this share of the time that is left.
_SPARE: Final = 0.1
#: What is nearer than this is now.
_NOW_S: Final = 1.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A replica of several processes that a contract has beside its offers, from its start until the film's
    work is done: it alone holds models that the film needs. usd_per_h: of all its devices."""

    name: str
    partition: str
    nodes: int
    gpus: int
    walltime_s: float
    load_s: float
    usd_per_h: float


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A job that could make the film. gpus: of all its nodes. walltime_s: what is asked for; work beyond it
    needs another job. load_s: from its start until it works. work_s: for the whole film from then on, with
    what it costs a second of that in evictions' repetitions. usd_per_h: of all its devices. evictions_per_h:
    0 where nobody preempts it. start_s: how long Slurm itself says that it would wait if it were submitted
    now, None where it was not asked. kept: what its workers cannot do without."""

    name: str
    partition: str
    nodes: int
    gpus: int
    walltime_s: float
    load_s: float
    work_s: float
    usd_per_h: float
    evictions_per_h: float = 0.0
    start_s: float | None = None
    pools: tuple[str, ...] = ()
    tier: str = "high"
    price: str = ""
    kept: tuple[Kept, ...] = ()

    @property
    def usd(self) -> float:
        """For the whole film, loading and what is kept beside it included."""
        usd_per_h = self.usd_per_h + sum(each.usd_per_h for each in self.kept)
        return (self.load_s + self.work_s) * usd_per_h / HOUR_S


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy knows. offers: cheapest first. waits: of each offer, by hour of the day. sigma: of the
    logarithm of the profiles' error. level: confidence, 0 to 1. midnight_s: any moment at which the site's
    clocks showed 00:00, on the clock that `now_s` counts on. kept, kept_waits: of all offers; the policy does
    not ask for them, but a night has them."""

    offers: tuple[Offer, ...]
    waits: tuple[tuple[Waits, ...], ...]
    level: float = 0.9
    sigma: float = 0.1
    midnight_s: float = 0.0
    kept: tuple[Kept, ...] = ()
    kept_waits: tuple[tuple[Waits, ...], ...] = ()

    def hour(self, now_s: float) -> int:
        return int((now_s - self.midnight_s) // HOUR_S) % 24

    def wait_s(self, offer: int, now_s: float, level: float) -> float:
        return self.waits[offer][self.hour(now_s)].at(level)

    @property
    def slower(self) -> float:
        """How much longer than expected work takes, at `level`."""
        return _slower(self.sigma, self.level)


@lru_cache(maxsize=64)
def _slower(sigma: float, level: float) -> float:
    return math.exp(sigma * NormalDist().inv_cdf(min(0.999, max(0.001, level))))


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was asked for. since_s: when it started to run, or was submitted. share: of its workers that
    are there, where they come one by one. ends_s: when it has to end, where that is known better than by the
    walltime that was asked for."""

    ident: str
    offer: int
    running: bool
    since_s: float
    share: float = 1.0
    ends_s: float | None = None


class Night(msgspec.Struct, frozen=True, kw_only=True):
    """A request under way. remaining: share of its work, 1 to 0."""

    remaining: float
    deadline_s: float
    held: tuple[Held, ...] = ()


class Submit(msgspec.Struct, frozen=True, tag=True):
    """Ask for a job of this offer (its place in Terms.offers)."""

    offer: int


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Take this job back."""

    ident: str


Action = Submit | Cancel


def decide(terms: Terms, night: Night, now_s: float) -> tuple[Action, ...]:
    """What to ask for and what to take back, now."""
    if night.remaining <= 0:
        return tuple(Cancel(job.ident) for job in night.held)
    if safe(terms, night, now_s):
        # Not at the first moment that it is safe: what is taken back is not asked for again a minute later.
        spare = all(job.running for job in night.held) or safe(terms, night, now_s, _SPARE)
        return tuple(Cancel(job.ident) for job in night.held if not job.running) if spare else ()
    have = {job.offer for job in night.held}
    return tuple(
        Submit(i)
        for i in range(len(terms.offers))
        if i not in have and (i == 0 or latest_s(terms, i, night, now_s) <= now_s + _NOW_S)
    )


def next_look_s(terms: Terms, night: Night, now_s: float) -> float:
    """When `decide` may have something new to say, if nothing happens before."""
    if night.remaining <= 0:
        return math.inf
    if safe(terms, night, now_s):
        return now_s + _LOOK_S
    have = {job.offer for job in night.held}
    moments = [latest_s(terms, i, night, now_s) for i in range(len(terms.offers)) if i not in have]
    near = [max(moment, now_s + _NOW_S) for moment in moments]
    return min([now_s + _LOOK_S, *near])


def latest_s(terms: Terms, offer: int, night: Night, now_s: float) -> float:
    """The latest safe moment to ask for an offer: what it needs at the contract's confidence, before the
    deadline."""
    return night.deadline_s - needed_s(terms, offer, night.remaining, now_s)


def needed_s(terms: Terms, offer: int, remaining: float, now_s: float) -> float:
    """From asking for it to the end of the work, at the contract's confidence."""
    each = terms.offers[offer]
    work_s = remaining * each.work_s * terms.slower
    useful_s = max(_NOW_S, each.walltime_s - each.load_s)
    pieces = max(1, math.ceil(work_s / useful_s - 1e-9))
    first_s = terms.wait_s(offer, now_s, terms.level)
    if pieces == 1:
        return first_s + each.load_s + work_s
    return first_s + (pieces - 1) * terms.wait_s(offer, now_s, 0.5) + pieces * each.load_s + work_s


def safe(terms: Terms, night: Night, now_s: float, spare: float = 0.0) -> bool:
    """Whether what runs will, with the contract's confidence, finish in time without anything else. spare:
    share of the time until then by which it is to be early."""
    rate, kept, latest_end_s = 0.0, 1.0, math.inf
    ready_s = now_s
    for job in night.held:
        if not job.running:
            continue
        each = terms.offers[job.offer]
        rate += job.share / (each.work_s * terms.slower)
        ready_s = max(ready_s, job.since_s + each.load_s)
        ends_s = job.since_s + each.walltime_s if job.ends_s is None else job.ends_s
        latest_end_s = min(latest_end_s, ends_s)
    if not rate:
        return False
    end_s = ready_s + night.remaining / rate
    for job in night.held:
        if job.running:
            hours = (end_s - now_s) / HOUR_S
            kept *= math.exp(-terms.offers[job.offer].evictions_per_h * hours)
    late_s = end_s + spare * (end_s - now_s)
    return late_s <= min(night.deadline_s, latest_end_s) and kept >= terms.level
