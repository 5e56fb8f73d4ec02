"""From terms to a promise: the earliest time that can be promised at a confidence, and what to say of a
deadline that somebody asks for.

The estimate of a night (`contractrun.rehearse`) takes queues as independent and estimates as unbiased, which
they are not. What a site's past nights say about that is kept as a stretch for each confidence (split
conformal prediction; Vovk, Gammerman and Shafer, 2005): over rehearsed nights of the past, the ratio of the
time that a night took to the time that was planned for it, at the rank that makes promises hold with at
least that confidence. The promise is the planned time, stretched; the policy itself aims at the planned one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import numpy as np

from hpcwise.core.contract import Offer, Terms
from hpcwise.core.contractrun import HORIZON_S, Outcome, draws, rehearse

#: Confidences that a contract may be sold at.
LEVELS: Final = (0.5, 0.75, 0.9, 0.95)
_POINTS: Final = 40
_STEPS: Final = 8


#: Fewer nights of a kind than this have no stretch of their own.
_OWN: Final = 30
#: What starts within this starts at once, seconds.
_AT_ONCE_S: Final = 60.0

#: Whether the cheapest offer starts at once by Slurm's own word, or another one, or all wait; empty where it
#: was not asked.
Kind = Literal["", "cheapest starts", "other starts", "all wait"]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """stretch: factor on the planned time by confidence, as text with two digits ("0.90"), and by confidence
    and kind of night ("0.90 all wait"). nights: how many it was learned from. held: share of promises that
    were kept on nights that the stretch was not taken from, by confidence."""

    stretch: dict[str, float] = {}
    nights: int = 0
    held: dict[str, float] = {}

    def at(self, level: float, kind: Kind = "") -> float:
        of_all = self.stretch.get(f"{level:.2f}", 1.0)
        return self.stretch.get(f"{level:.2f} {kind}", of_all) if kind else of_all


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """A night of the past: time taken over time planned, at a confidence. group: nights of one group are
    kept together when it is checked whether promises hold."""

    level: float
    ratio: float
    kind: Kind = ""
    group: int = 0


def kind_of(terms: Terms) -> Kind:
    """Of the night that these terms are made for."""
    starts = [offer.start_s for offer in terms.offers]
    if not starts or starts[0] is None:
        return ""
    if starts[0] <= _AT_ONCE_S:
        return "cheapest starts"
    return "other starts" if any(s is not None and s <= _AT_ONCE_S for s in starts) else "all wait"


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A promise: ready by `promise_s` with confidence `level`; the policy aims at `planned_s`. Seconds on
    the clock of the terms. usd, gpu_h: expected; usd_high: not exceeded with that confidence. asked: share
    of rehearsals in which each offer was asked for."""

    level: float
    promise_s: float
    planned_s: float
    median_s: float
    usd: float
    usd_high: float
    gpu_h: float
    asked: dict[str, float]
    preemptions: float


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `--by`. verdict: `sold` when it is met at `level`; `tight` when it is met at a lower
    confidence only, or with other tiers of quality; `refused` when it cannot be met even as likely as not.
    confidence: the highest of LEVELS at which the deadline is met, 0 for none. quote: for that deadline (for
    the earliest promise at `level` where it is refused). earliest: the earliest promise for each
    confidence."""

    verdict: Literal["sold", "tight", "refused"]
    by_s: float
    level: float
    confidence: float
    quote: Quote
    earliest: tuple[Quote, ...]
    calibrated_nights: int


def cheapest_first(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """In the order in which they are tried: by the cost of the whole film. An offer that is both dearer and
    slower to work than another of its partition is left out."""
    kept = [
        a
        for a in offers
        if not any(
            b is not a and b.partition == a.partition and b.usd <= a.usd and b.work_s <= a.work_s
            and (b.usd, b.work_s) != (a.usd, a.work_s)
            for b in offers
        )
    ]  # fmt: skip
    return tuple(sorted(kept, key=lambda offer: (offer.usd, offer.work_s, offer.name)))


def quote_for(terms: Terms, deadline_s: float, now_s: float, points: np.ndarray | None = None) -> Quote:
    """What the policy would do with that planned deadline; unstretched."""
    rows = rehearse(terms, deadline_s, now_s, draws(_POINTS) if points is None else points)
    return _quote(terms, deadline_s, deadline_s, rows)


def earliest(terms: Terms, now_s: float, calibration: Calibration, n: int = _POINTS) -> Quote:
    """The earliest time that can be promised at the terms' level: the smallest deadline that so large a
    share of the rehearsals keeps, by bisection, then stretched."""
    points = draws(n)
    rows = rehearse(terms, now_s + HORIZON_S, now_s, points)
    # In a hurry the policy is no slower than at leisure; nothing is faster than all offers at once.
    alone_s = sorted(row.ready_s for row in rows)[min(n, math.ceil(n * terms.level)) - 1] - now_s
    least_s = 0.5 / sum(1 / offer.work_s for offer in terms.offers)
    low, high = math.log(least_s), math.log(max(least_s, min(HORIZON_S, alone_s + 60.0)))
    best: Quote | None = None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        deadline_s = now_s + math.exp(middle)
        rows = rehearse(terms, deadline_s, now_s, points)
        if share_ready(rows, deadline_s) >= terms.level:
            high = middle
            best = _quote(terms, deadline_s, deadline_s, rows)
        else:
            low = middle
    if best is None:
        best = quote_for(terms, now_s + math.exp(high), now_s, points)
    planned_s = best.planned_s - now_s
    return msgspec.structs.replace(
        best, promise_s=now_s + planned_s * calibration.at(terms.level, kind_of(terms))
    )


def contract(terms: Terms, by_s: float, now_s: float, calibration: Calibration) -> Contract:
    """What can be promised about a deadline, at the terms' level and at the others."""
    levels = sorted({*LEVELS, terms.level})
    quotes = tuple(
        earliest(msgspec.structs.replace(terms, level=level), now_s, calibration) for level in levels
    )
    met = [q.level for q in quotes if q.promise_s <= by_s]
    confidence = max(met, default=0.0)
    if confidence:
        aim = msgspec.structs.replace(terms, level=min(confidence, terms.level))
        planned_s = now_s + (by_s - now_s) / max(1.0, calibration.at(aim.level, kind_of(terms)))
        quote = msgspec.structs.replace(quote_for(aim, planned_s, now_s), promise_s=by_s)
    else:
        quote = next(q for q in quotes if q.level == terms.level)
    return Contract(
        verdict="sold" if confidence >= terms.level else "tight" if confidence else "refused",
        by_s=by_s,
        level=terms.level,
        confidence=confidence,
        quote=quote,
        earliest=quotes,
        calibrated_nights=calibration.nights,
    )


def share_ready(rows: Sequence[Outcome], by_s: float) -> float:
    return sum(row.ready_s <= by_s + 1e-6 for row in rows) / len(rows)


def calibrate(nights: Sequence[Rehearsed]) -> Calibration:
    """The stretches of past nights, and whether they hold: each group's promises by the others' stretches."""
    groups = sorted({night.group for night in nights})
    kept: dict[str, list[bool]] = {}
    for group in groups if len(groups) > 1 else ():
        known = _stretches([night for night in nights if night.group != group])
        for night in nights:
            if night.group == group:
                was = night.ratio <= known.at(night.level, night.kind)
                kept.setdefault(f"{night.level:.2f}", []).append(was)
    made = _stretches(nights)
    held = {level: round(sum(rows) / len(rows), 4) for level, rows in sorted(kept.items())}
    return msgspec.structs.replace(made, held=held)


def _stretches(nights: Sequence[Rehearsed]) -> Calibration:
    """The rank is that of split conformal prediction, ceil((n + 1) level); where there are too few nights for
    it, the largest."""
    cells: dict[str, list[float]] = {}
    for night in nights:
        cells.setdefault(f"{night.level:.2f}", []).append(night.ratio)
        if night.kind:
            cells.setdefault(f"{night.level:.2f} {night.kind}", []).append(night.ratio)
    found: dict[str, float] = {}
    for name, values in sorted(cells.items()):
        level = float(name.partition(" ")[0])
        if " " in name and len(values) < max(_OWN, math.ceil(level / (1 - level))):
            continue
        rank = min(len(values), math.ceil((len(values) + 1) * level))
        found[name] = round(sorted(values)[rank - 1], 4)
    of_all = [len(values) for name, values in cells.items() if " " not in name]
    return Calibration(stretch=found, nights=min(of_all, default=0))


def _quote(terms: Terms, promise_s: float, planned_s: float, rows: Sequence[Outcome]) -> Quote:
    ready = np.sort([row.ready_s for row in rows])
    usd = np.sort([row.usd for row in rows])
    n = len(rows)
    asked = {
        offer.name: round(sum(i in row.asked for row in rows) / n, 3) for i, offer in enumerate(terms.offers)
    }
    return Quote(
        level=terms.level,
        promise_s=promise_s,
        planned_s=planned_s,
        median_s=float(ready[n // 2]),
        usd=float(usd.mean()),
        usd_high=float(usd[min(n - 1, math.ceil(n * terms.level) - 1)]),
        gpu_h=float(np.mean([row.gpu_h for row in rows])),
        asked=asked,
        preemptions=float(np.mean([row.preempted for row in rows])),
    )
