"""The search: plans laid out for a row of paces (layout), then refined step by step (StreamWise section 4.4).

A step adds, removes or exchanges a replica, lays a station anew around another first replica, or lets one
station take from another one; the best is taken as long as the objective falls. The number of plans that are
judged is bounded, never the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from math import ceil
from typing import Final, NamedTuple

from hpcwise.core.provisioner.layout import Layout
from hpcwise.core.provisioner.model import Counts, Held, Judged
from hpcwise.core.provisioner.options import Option

#: Pairs of steps judged in a round with more devices than layout.FEW.
_PAIRS: Final = 200
#: Paces that a plan is laid anew for, as shares of its own.
_REPACED: Final = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05, 1.15, 1.3)
#: With that many, a round that gains less than this is the last one.
_WORTHWHILE: Final = 0.999


class _Row(NamedTuple):
    """A changed station and the devices that it takes more, by pool."""

    counts: Counts
    held: Held
    delta: dict[int, int]


_Judge = Callable[[dict[int, _Row]], None]
_Hopeful = Callable[[int, Held], bool]


class Search(Layout):
    """Lays out, then refines. steps: plans judged so far, at most `most`."""

    def refine(self) -> None:
        """Better the best plan until no step helps or the steps are used up. With few devices, where paths
        end in different places, the next best plans too."""
        for judged, counts in [(self.judged, self.best), *((j, c) for j, _, c in self.starts)]:
            if not counts:
                return
            was = self.judged, self.best
            self.judged, self.best = judged, counts
            while self.steps < self.most:
                before = self.judged
                self._round()
                if self._little(before) and self.pipeline.objective.name in ("cost", "energy"):
                    self._repace()
                if self._little(before):
                    break
            if not self.judged < was[0]:
                self.judged, self.best = was

    def _little(self, before: Judged) -> bool:
        """Whether the plan is hardly better than it was."""
        if not self.judged < before:
            return True
        return not self.few and self.judged.value > before.value * _WORTHWHILE and not before.violation

    def _repace(self) -> None:
        """The same first replicas with as many others as other paces need: where the first ones are dear, as
        they are for an early start, all is held for less with more of the rest (or for longer with fewer),
        and no single step gets there."""
        p = self.pipeline
        counts = self.best
        pace_s = max(p.hold(i, each).rest_s for i, each in enumerate(counts))
        firsts = [min(each, key=lambda k, o=p.options[i]: sum(o[k].first_s)) for i, each in enumerate(counts)]  # type: ignore[misc]
        for factor in _REPACED:
            if self.steps >= self.most or pace_s <= 0:
                return
            new: list[Counts] = [{k: 1} for k in firsts]
            free = [cap - used for cap, used in zip(p.caps, p.used(new), strict=True)]
            for _, i in self._regret:
                self.fill(i, new[i], firsts[i], pace_s * factor, 0.0, free)
            self.offer(new)

    def _round(self) -> None:
        """Take the best step from the best plan, if there is one."""
        p = self.pipeline
        counts = self.best
        held = [p.hold(i, each) for i, each in enumerate(counts)]
        free = [cap - used for cap, used in zip(p.caps, p.used(counts), strict=True)]
        first_s = p.first(held)
        best: tuple[float, float] = self.judged
        change: dict[int, Counts] = {}

        usd_per_h = sum(h.usd_per_h for h in held)
        slowest = sorted(((h.rest_s, i) for i, h in enumerate(held)), reverse=True)[:3]
        firsts: dict[tuple[object, ...], float] = {}

        def quick(changed: dict[int, Held], first_s: float, links_s: float) -> tuple[float, float]:
            if not p.simple:
                return p.judge([changed.get(i, h) for i, h in enumerate(held)], first_s, links_s)
            usd = usd_per_h
            for i, h in changed.items():
                usd += h.usd_per_h - held[i].usd_per_h
            if not p.fluid:
                rest_s, stall_s = p.flow([changed.get(i, h) for i, h in enumerate(held)])
                return p.score(first_s, first_s + max(rest_s, links_s), usd, stall_s)
            rest_s = max([links_s, *(h.rest_s for h in changed.values())])
            for other_s, i in slowest:
                if i not in changed:
                    rest_s = max(rest_s, other_s)
                    break
            return p.score(first_s, first_s + rest_s, usd)

        def hopeful(i: int, h: Held) -> bool:
            return quick({i: h}, first_s - self._gain_s(held[i], h), 0.0) < best

        def judge(changed: dict[int, _Row]) -> None:
            nonlocal best, change
            self.steps += 1
            new = {i: row.held for i, row in changed.items()}
            least_s = first_s
            key: tuple[object, ...] = ()
            for i, h in new.items():
                old = held[i]
                if h.first_s != old.first_s or h.late_s != old.late_s or h.region != old.region:
                    key += (i, h.first_s, h.late_s, h.region)
                    least_s -= self._gain_s(old, h)
            new_links_s = 0.0
            if key and not quick(new, least_s, 0.0) < best:
                return  # not even if all that it may gain were on the critical path
            if self.links:
                new_links_s = p.links_rest_s(
                    [changed[i].counts if i in changed else each for i, each in enumerate(counts)]
                )
            new_first_s = firsts.get(key) if key else first_s
            if new_first_s is None:
                new_first_s = firsts[key] = p.first([new.get(i, h) for i, h in enumerate(held)])
            judged = quick(new, new_first_s, new_links_s)
            if judged < best:
                best, change = judged, {i: row.counts for i, row in changed.items()}

        singles: list[list[_Row]] = []
        for i in range(len(counts)):
            rows = []
            changes = chain(
                self._changes(i, counts[i], free), self._relaid(i, counts[i], slowest[0][0], free)
            )
            for new, delta in changes:
                row = _Row(new, p.hold(i, new), delta)
                rows.append(row)
                if self.steps < self.most and all(n <= free[pool] for pool, n in delta.items()):
                    judge({i: row})
            singles.append(rows)
        if not best < self.judged:
            self._pairs(singles, held, free, judge, hopeful)
        if best < self.judged:
            self.judged = Judged(*best)
            self.best = [change.get(i, each) for i, each in enumerate(counts)]

    def _gain_s(self, old: Held, new: Held) -> float:
        """By how much the first segment can come earlier at most."""
        if self.links:
            return float("inf")
        gain_s = max(0.0, old.late_s - new.late_s)
        for before_s, after_s in zip(old.first_s, new.first_s, strict=True):
            if before_s > after_s:
                gain_s += before_s - after_s
        return gain_s

    def _pairs(
        self, singles: list[list[_Row]], held: list[Held], free: list[int], judge: _Judge, hopeful: _Hopeful
    ) -> None:
        """Two steps at once: one station gains what another gives."""
        last = self.most if self.few else min(self.most, self.steps + _PAIRS)
        slow = sorted(range(len(held)), key=lambda i: (-held[i].rest_s, i))
        long = sorted(range(len(held)), key=lambda i: (-sum(held[i].first_s), i))
        givers = [
            [
                row
                for row in rows
                if row.held.usd_per_h < held[j].usd_per_h or min(row.delta.values(), default=0) < 0
            ]
            for j, rows in enumerate(singles)
        ]
        saved = [
            max((held[j].usd_per_h - row.held.usd_per_h for row in rows), default=0.0)
            for j, rows in enumerate(givers)
        ]
        for i in dict.fromkeys((slow[0], long[0], *(slow if self.few else slow[1:2]))):
            most = max((usd for j, usd in enumerate(saved) if j != i), default=0.0)
            for gain in singles[i]:
                h, delta = gain.held, gain.delta
                if (
                    h.rest_s >= held[i].rest_s
                    and h.waits >= held[i].waits
                    and sum(h.first_s) >= sum(held[i].first_s)
                ):
                    continue
                # Not even with the dearest giver's money and none of its loss.
                if not hopeful(i, h._replace(usd_per_h=h.usd_per_h - max(0.0, most))):
                    continue
                short = [pool for pool, n in delta.items() if n > free[pool]]
                for j, rows in enumerate(givers):
                    if j == i:
                        continue
                    for give in rows:
                        if self.steps >= last:
                            return
                        more = give.delta
                        if short and not any(more.get(pool, 0) < 0 for pool in short):
                            continue
                        fits = True
                        for pool in (*delta, *more):
                            if delta.get(pool, 0) + more.get(pool, 0) > free[pool]:
                                fits = False
                                break
                        if fits:
                            judge({i: gain, j: give})

    def _relaid(
        self, i: int, counts: Counts, pace_s: float, free: list[int]
    ) -> Iterator[tuple[Counts, dict[int, int]]]:
        """The station anew for the same pace, with each option for its first unit."""
        options = self.pipeline.options[i]
        if self.pipeline.stations[i].serial or pace_s <= 0:
            return
        own = [0] * len(free)
        for k, n in counts.items():
            own[options[k].pool] += n * options[k].devices
        for k, o in enumerate(options):
            left = [a + b for a, b in zip(free, own, strict=True)]
            if o.devices > left[o.pool] or o.work_s <= 0:
                continue
            left[o.pool] -= o.devices
            new = {k: 1}
            self.fill(i, new, k, pace_s, self.worth, left)
            if new != counts:
                yield new, {pool: free[pool] - n for pool, n in enumerate(left) if free[pool] != n}

    def _changes(self, i: int, counts: Counts, free: list[int]) -> Iterator[tuple[Counts, dict[int, int]]]:
        """Each way to add, remove or exchange one replica, and the devices that it takes by pool. Where the
        pool is too small for it, others of the station go too."""
        options = self.pipeline.options[i]
        total = sum(counts.values())
        serial = self.pipeline.stations[i].serial
        for out in (None, *counts):
            if out is None and serial:
                continue
            for into in (None, *range(len(options))):
                if out == into or (into is None and (total == 1 or serial)):
                    continue
                new = dict(counts)
                delta: dict[int, int] = {}
                if out is not None:
                    _take(new, delta, out, options[out], -1)
                if into is not None:
                    _take(new, delta, into, options[into], 1)
                    pool = options[into].pool
                    short = delta[pool] - free[pool]
                    if short > 0 and not serial:
                        yield new, delta
                        small = max(
                            (k for k in new if k != into and options[k].pool == pool),
                            key=lambda k: new[k] * options[k].devices, default=-1,
                        )  # fmt: skip
                        if small < 0 or new[small] * options[small].devices < short:
                            continue
                        new, delta = dict(new), dict(delta)
                        _take(new, delta, small, options[small], -ceil(short / options[small].devices))
                yield new, delta


def _take(counts: Counts, delta: dict[int, int], k: int, option: Option, n: int) -> None:
    counts[k] = counts.get(k, 0) + n
    if not counts[k]:
        del counts[k]
    delta[option.pool] = delta.get(option.pool, 0) + n * option.devices
