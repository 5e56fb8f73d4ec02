"""Laying plans out greedily for a row of paces (StreamWise section 4.4, its first phase).

For a pace (seconds for the rest of the film) every station first gets the replica for its first unit whose
speed is worth its price, then as many of the cheapest as the pace needs; where a pool runs short, the
station that would lose most elsewhere goes first.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from hpcwise.core.provisioner.model import Counts, Judged, Pipeline

_HOPELESS: Final = Judged(float("inf"), float("inf"))
#: Paces of a glance, a factor apart: from all devices at once to one device a station.
_GLANCES: Final = 5
#: Paces on each side of the best of those, up to the next one.
_PACES: Final = 3
#: Plans for one pace, with what the last one says a second of the first segment is worth.
_TURNS: Final = 2
#: Where the objective does not say what it is worth: in prices of the plan for as long as it takes.
_WORTHS: Final = (0.3, 10.0, 1.0)
#: With a limit on the start: dollars an hour for a second of it between which are looked for, and how often
#: what is between is halved.
_LEAST_WORTH: Final = 1e-2
_MOST_WORTH: Final = 1e4
_HALVINGS: Final = 5
_NEAR_PACES: Final = (0.85, 0.92, 0.97, 1.03, 1.1)
#: Devices up to which more is tried, as a single replica counts for more there: one more plan for each pace,
#: so many plans to refine, and all pairs of steps.
FEW: Final = 128
_STARTS: Final = 2


class Layout:
    """Looks for the best counts of one pipeline. steps: plans judged so far, at most `most`."""

    def __init__(self, pipeline: Pipeline, most: int) -> None:
        self.pipeline, self.most, self.steps = pipeline, most, 0
        self.best: list[Counts] = []
        self.judged = _HOPELESS
        self._pace_s = self.worth = 0.0
        self._apart = 1.0
        self.few = sum(pipeline.caps) <= FEW
        self.starts: list[tuple[Judged, int, list[Counts]]] = []
        self.links = len({pool.region for pool in pipeline.pools}) > 1
        goal = pipeline.objective
        self._limit_s = goal.ttff_s if goal.name in ("cost", "energy") else None
        thrifty = pipeline.objective.name.startswith("energy")
        self._price = [
            [(o.busy_w / 1e3 if thrifty else o.usd_per_h) + 1e-9 for o in options]
            for options in pipeline.options
        ]
        # Each station's cheapest option by pool, best pool first, and what it would lose elsewhere.
        self.by_pool: list[list[tuple[float, int]]] = []
        self._regret: list[tuple[float, int]] = []
        for i, options in enumerate(pipeline.options):
            cheapest: dict[int, tuple[float, int]] = {}
            for k, o in enumerate(options):
                each = (self._price[i][k] * max(o.work_s, 1e-9), k)
                if o.pool not in cheapest or each < cheapest[o.pool]:
                    cheapest[o.pool] = each
            ranked = sorted(cheapest.values())
            self.by_pool.append(ranked)
            o = options[ranked[0][1]]
            loss = (ranked[1][0] - ranked[0][0]) / max(o.devices * o.work_s, 1e-9) if ranked[1:] else 1e9
            self._regret.append((-loss, i))
        self._regret.sort()
        self._smallest = [min(o.devices for o in options) for options in pipeline.options]
        self._order = sorted(range(len(pipeline.options)), key=lambda i: (len(self.by_pool[i]), i))
        self._rows = [
            [
                (k, o.devices, o.pool, self._price[i][k], sum(o.first_s), o.work_s)
                for k, o in enumerate(options)
            ]
            for i, options in enumerate(pipeline.options)
        ]

    # --- judging ------------------------------------------------------------------------------------------

    def offer(self, counts: list[Counts]) -> Judged:
        """Judge a whole plan and keep it if it is the best so far."""
        p = self.pipeline
        self.steps += 1
        if any(not each for each in counts) or any(
            used > cap for used, cap in zip(p.used(counts), p.caps, strict=True)
        ):
            return _HOPELESS
        held = [p.hold(i, each) for i, each in enumerate(counts)]
        judged = p.judge(held, p.first(held), p.links_rest_s(counts))
        if judged < self.judged:
            self.judged, self.best = judged, [dict(each) for each in counts]
        if self.few and all(judged != known for known, _, _ in self.starts):
            starts = sorted([*self.starts, (judged, self.steps, counts)], key=lambda row: row[:2])
            self.starts = starts[:_STARTS]
        return judged

    # --- laying out ---------------------------------------------------------------------------------------

    def glance(self) -> None:
        """Offer plans for a few paces."""
        if not self.offer_smallest():
            return
        p = self.pipeline
        slowest_s = max(
            min(o.work_s for o in options if o.devices == min(x.devices for x in options))
            for options in p.options
        )
        least = sum(min(o.work_s * o.devices for o in options) for options in p.options)
        fastest_s = max(1e-6, least / max(1, sum(p.caps)))
        self._apart = (max(slowest_s, fastest_s) / fastest_s) ** (1 / (_GLANCES - 1))
        for n in range(_GLANCES):
            self._at_pace(fastest_s * self._apart**n)

    def lay_out(self) -> None:
        """Offer plans for paces around the best one so far, then nearer to it."""
        if not self._pace_s:
            return
        around = self._pace_s
        for n in range(1 - _PACES, _PACES):
            if n:
                self._at_pace(around * self._apart ** (n / _PACES))
        around = self._pace_s
        for factor in _NEAR_PACES:
            self._at_pace(around * factor)

    def offer_smallest(self) -> bool:
        """One smallest replica a station; False where not even those fit."""
        p = self.pipeline
        free = list(p.caps)
        counts: list[Counts] = [{} for _ in p.options]
        for i in self._order:
            fits = [
                (o.devices, self._price[i][k], k)
                for k, o in enumerate(p.options[i])
                if o.devices <= free[o.pool]
            ]
            if not fits:
                return False
            k = min(fits)[2]
            counts[i] = {k: 1}
            free[p.options[i][k].pool] -= p.options[i][k].devices
        return self.offer(counts) != _HOPELESS

    def _at_pace(self, pace_s: float) -> None:
        """Plans for one pace: how much a second of the first segment is worth follows from the last."""
        p, name = self.pipeline, self.pipeline.objective.name
        if self._limit_s is not None:
            self._within(pace_s, self._limit_s)
        for turn in range(_TURNS + self.few):
            counts = self._laid(pace_s, self.worth) if self.steps < self.most else None
            if counts is None:
                return
            before = self.judged
            self.offer(counts)
            if self.judged < before:
                self._pace_s = pace_s
            held = [p.hold(i, each) for i, each in enumerate(counts)]
            usd = sum(h.usd_per_h for h in held) if name[0] != "e" else sum(h.busy_w for h in held) / 1e3
            first_s = p.first(held)
            ready_s = first_s + p.flow(held)[0]
            start_s = max(first_s, ready_s - p.work.film_s)
            if name in ("cost*ttff", "energy*ttff"):
                self.worth = usd * (1 / max(ready_s, 1e-9) + 1 / max(start_s, 1e-9))
            else:
                self.worth = usd / max(start_s, 1e-9) * _WORTHS[turn]

    def _within(self, pace_s: float, limit_s: float) -> None:
        """Plans for one pace, where the first segment is worth what makes it come in time and no more: found
        by halving between what was too little and what was enough."""
        p = self.pipeline
        little, enough = _LEAST_WORTH, _MOST_WORTH
        for _ in range(_HALVINGS):
            worth = (little * enough) ** 0.5
            counts = self._laid(pace_s, worth) if self.steps < self.most else None
            if counts is None:
                return
            before = self.judged
            self.offer(counts)
            if self.judged < before:
                self._pace_s, self.worth = pace_s, worth
            held = [p.hold(i, each) for i, each in enumerate(counts)]
            if p.first(held) + p.flow(held)[1] > limit_s:
                little = worth
            else:
                enough = worth

    def _laid(self, pace_s: float, worth: float) -> list[Counts] | None:
        """A plan for a pace; worth: dollars an hour for a second of the first segment."""
        p = self.pipeline
        free = list(p.caps)
        left = sum(self._smallest)
        counts: list[Counts] = [{} for _ in p.options]
        pace = 1 / pace_s
        for i in self._order:
            serial = p.stations[i].serial
            left -= self._smallest[i]
            each_usd = self.by_pool[i][0][0]
            choice, best = -1, float("inf")
            spare = sum(free) - left
            for k, devices, pool, price, first_s, work_s in self._rows[i]:
                if devices > free[pool] or devices > spare:
                    continue
                value = worth * first_s + 1e-6 * price
                if serial:
                    value += price + (max(0.0, work_s - pace_s) * (worth + price))
                elif work_s > 0:
                    rate = 1 / work_s
                    more = price - each_usd * (rate if rate < pace else pace)
                    if more > 0:
                        value += more
                else:
                    value += price
                if value < best:
                    choice, best = k, value
            if choice < 0:
                return None
            o = p.options[i][choice]
            counts[i][choice] = 1
            free[o.pool] -= o.devices
        for _, i in self._regret:
            [first] = counts[i]
            self.fill(i, counts[i], first, pace_s, worth, free)
        return counts

    def fill(self, i: int, counts: Counts, first: int, pace_s: float, worth: float, free: list[int]) -> None:
        """Add a station's cheapest replicas beside its first until it keeps the pace or pools are used up."""
        p = self.pipeline
        options, station = p.options[i], p.stations[i]
        if station.serial or options[first].work_s <= 0:
            return
        missing, less = 1 / pace_s, 0.0
        ranked = self.by_pool[i]
        if not p.fluid:
            # Whole units: each replica makes half of one less than the fluid (see Pipeline.hold).
            others = station.units - 1
            first_s = sum(options[first].first_s)
            less = 0.5 / others / (pace_s + first_s)
            missing = (1 + 0.5 / others) / (pace_s + first_s)
            if worth:
                ranked = self._ranked(i, missing, less, worth, first_s)
        missing -= 1 / options[first].work_s - less
        for _, k in ranked:
            if missing <= 1e-12:
                return
            o = options[k]
            gain = 1 / o.work_s - less
            if gain <= 0:
                continue
            n = min(ceil(missing / gain - 1e-9), free[o.pool] // o.devices)
            if n > 0:
                counts[k] = counts.get(k, 0) + n
                free[o.pool] -= n * o.devices
                missing -= n * gain

    def _ranked(
        self, i: int, missing: float, less: float, worth: float, first_s: float
    ) -> list[tuple[float, int]]:
        """The best option of each pool to keep a pace with, by price and by how long playback waits."""
        cheapest: dict[int, tuple[float, int]] = {}
        others = self.pipeline.stations[i].units - 1
        for k, o in enumerate(self.pipeline.options[i]):
            gain = 1 / o.work_s - less
            if gain <= 0:
                continue
            wait_s = max(0.0, o.work_s / others - first_s)
            each = (self._price[i][k] * missing / gain + worth * wait_s, k)
            if o.pool not in cheapest or each < cheapest[o.pool]:
                cheapest[o.pool] = each
        return sorted(cheapest.values())
