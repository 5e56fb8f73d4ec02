"""The analytic model of a film through replicas: a pipeline whose slowest station sets the pace.

The first segment takes the longest way through the stages, each at the station's fastest replica (TTFF).
From then on every station makes the rest of its units with all its replicas, `rest_s = 1 / sum(n / work_s)`,
and the film is whole after the slowest: `ready = ttff + max(rest_s)`. New replicas that load first count
from then on. Playback that never stalls starts at `max(ttff, ready - film)` (StreamWise section 2.3). Split
so finely, the work is a fluid; that is how the paper estimates.

By default units stay whole: a replica that takes `t` for a unit has made none before `t` and half of one less
than the fluid at any time, and until the slow replicas have made their first, playback lives on what the fast
ones make: it starts at `begin + t * (1 - pace of the faster ones)` at the earliest.

Transfers between regions delay the first segment, and a link can be the slowest station.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.provisioner.options import Option, Station
from hpcwise.core.provisioner.types import Estimate, Objective, Pool, StageTime, Variant, Work
from hpcwise.core.units import HOUR_S, J_PER_KWH

#: Replicas of one station: how many of which option (by place).
Counts = dict[int, int]
#: Share of a film by which a seamless plan may start late: what the estimate cannot tell from nothing.
_SEAM: Final = 0.01


class Held(NamedTuple):
    """A station with its replicas, summed up. waits: see Pipeline._waits, the slowest replica last; empty
    where all are alike. busy_w: of all while they work."""

    rest_s: float
    first_s: tuple[float, ...]
    waits: tuple[tuple[float, float], ...]
    late_s: float
    usd_per_h: float
    busy_w: float
    idle_w: float
    region: str


class Judged(NamedTuple):
    """value: of the objective. violation: by how much limits are missed, as a sum of shares; 0 keeps all."""

    violation: float
    value: float


class Pipeline:
    """One variant on given pools, ready to judge many plans.

    present: replicas that are loaded already, by station and option; others are late by their late_s.
    fluid: work is split as finely as one likes.
    """

    def __init__(
        self,
        work: Work,
        variant: Variant,
        pools: Sequence[Pool],
        stations: tuple[Station, ...],
        catalogue: Catalogue,
        objective: Objective,
        present: Mapping[tuple[int, int], int],
        fluid: bool = False,
    ) -> None:
        self.fluid = fluid
        self.work, self.variant, self.stations, self.objective = work, variant, stations, objective
        self.pools, self.present = tuple(pools), dict(present)
        self.caps = [pool.devices for pool in pools]
        self.options: list[tuple[Option, ...]] = [station.options for station in stations]
        self.late = any(o.late_s for options in self.options for o in options)
        place = {stage.name: i for i, stage in enumerate(variant.stages)}
        self._after = [[place[a] for a in stage.after] for stage in variant.stages]
        self._fixed = [stage.fixed_s or 0.0 for stage in variant.stages]
        self._of = [(-1, -1)] * len(variant.stages)
        for i, station in enumerate(stations):
            for k, stage in enumerate(station.stages):
                self._of[stage] = (i, k)
        self._single = [station.units == 1 for station in stations]
        self._up = [self._before(i) for i in range(len(stations))]
        self._chain = [
            (after, *of, fixed_s)
            for after, of, fixed_s in zip(self._after, self._of, self._fixed, strict=True)
        ]
        self._links = {
            (x, y): (link.latency_s, 1 / link.gb_per_s)
            for link in catalogue.links
            if link.gb_per_s > 0
            for x, y in ((link.a, link.b), (link.b, link.a))
        }
        # The same replicas of a station are looked at again in every round of the search.
        self._known: dict[tuple[int, frozenset[tuple[int, int]]], Held] = {}
        self._spread = len({pool.region for pool in pools}) > 1
        self._film_s = work.film_s
        self.simple = not objective.name.startswith("energy") and objective.power_w is None
        limits = (objective.ttff_s, objective.ready_s, objective.budget_usd, objective.rises_s)
        self._limited = objective.seamless or any(limit is not None for limit in limits)

    def _before(self, i: int) -> list[int]:
        """Stations whose units station `i` works on; stages of fixed length are passed through."""
        found: set[int] = set()
        asked = [a for stage in self.stations[i].stages for a in self._after[stage]]
        while asked:
            a = asked.pop()
            j = self._of[a][0]
            if j < 0:
                asked += self._after[a]
            elif j < i:
                found.add(j)
        return sorted(found)

    # --- one station --------------------------------------------------------------------------------------

    def hold(self, i: int, counts: Counts) -> Held:
        """The station's replicas summed up; at least one is there."""
        key = (i, frozenset(counts.items()))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._held(i, counts)
        return known

    def _held(self, i: int, counts: Counts) -> Held:
        options = self.options[i]
        usd = busy_w = idle_w = rate = 0.0
        best: Option | None = None
        best_s = late_s = 0.0
        fastest_s = float("inf")
        for k, n in counts.items():
            o = options[k]
            usd += n * o.usd_per_h
            busy_w += n * o.busy_w
            idle_w += n * o.idle_w
            rate += n / o.work_s if o.work_s > 0 else float("inf")
            fastest_s = min(fastest_s, o.work_s)
            late = o.late_s if self.late and self.present.get((i, k), 0) == 0 else 0.0
            first_s = late + sum(o.first_s)
            if best is None or first_s < best_s:
                best, best_s, late_s = o, first_s, late
        assert best is not None
        if self.stations[i].serial:
            rest_s = fastest_s
        elif self.late:
            rest_s = self._late_rest_s(i, counts, late_s)
        else:
            rest_s = 1 / rate
        waits: tuple[tuple[float, float], ...] = ()
        if not self.fluid and rest_s > 0 and not self.stations[i].serial:
            others = self.stations[i].units - 1
            n = sum(counts.values())
            rest_s = max(0.0, rest_s * (others + 0.5 + n / 2) / others - sum(best.first_s))
            if len(counts) > 1 or self.objective.rises_s is not None:
                waits = self._waits(i, counts, sum(best.first_s))
        return Held(rest_s, best.first_s, waits, late_s, usd, busy_w, idle_w, self.pools[best.pool].region)

    def _waits(self, i: int, counts: Counts, first_s: float) -> tuple[tuple[float, float], ...]:
        """For each size: how long after the fastest's its first unit comes, and how much film there is until
        then if the faster ones are never short of input."""
        others = self.stations[i].units - 1
        each_s = self._film_s / self.stations[i].units
        found = []
        pace = 0.0
        for unit_s, n in sorted((self.options[i][k].work_s / others, n) for k, n in counts.items()):
            if unit_s > first_s:
                found.append((unit_s - first_s, unit_s * min(1.0, pace)))
            pace += n * each_s / unit_s
        return tuple(found)

    def _late_rest_s(self, i: int, counts: Counts, begin_s: float) -> float:
        """When all is made by replicas of which some start late, from the first one's start at `begin_s` on:
        `sum(n * max(0, t - late) / work) = 1`."""
        starts = []
        for k, n in counts.items():
            o = self.options[i][k]
            if o.work_s <= 0:
                return 0.0
            there = min(n, self.present.get((i, k), 0))
            late_s = max(0.0, o.late_s - begin_s)
            starts += [(0.0, there / o.work_s), (late_s, (n - there) / o.work_s)]
        starts.sort()
        rate = made = at_s = 0.0
        for start_s, more in starts:
            if rate and made + rate * (start_s - at_s) >= 1:
                break
            made += rate * (start_s - at_s)
            rate, at_s = rate + more, start_s
        return at_s + (1 - made) / rate

    # --- the whole ----------------------------------------------------------------------------------------

    def first(self, held: Sequence[Held]) -> float:
        """Seconds to the first segment."""
        ends: list[float] = []
        for after, i, k, fixed_s in self._chain:
            begin = 0.0
            for a in after:
                end = ends[a]
                if self._spread and i >= 0 and (j := self._of[a][0]) >= 0:
                    end += self._transfer_s(held[j].region, held[i].region, a)
                if end > begin:
                    begin = end
            if i < 0:
                ends.append(begin + fixed_s)
                continue
            h = held[i]
            ends.append((begin if begin > h.late_s else h.late_s) + h.first_s[k])
        return ends[-1] if ends else 0.0

    def _transfer_s(self, source: str, target: str, stage: int) -> float:
        if source == target:
            return 0.0
        latency_s, s_per_gb = self._links[source, target]
        return latency_s + self.variant.stages[stage].out_gb * s_per_gb

    def links_rest_s(self, counts: Sequence[Counts]) -> float:
        """Seconds that the busiest link between regions takes for the whole film; 0 within one region."""
        if not self._spread:
            return 0.0
        shares = [self._shares(i, each) for i, each in enumerate(counts)]
        worst_s = 0.0
        for stage, after in enumerate(self._after):
            i = self._of[stage][0]
            for a in after:
                j = self._of[a][0]
                if i < 0 or j < 0 or i == j:
                    continue
                crossing = sum(max(0.0, share - shares[j].get(r, 0.0)) for r, share in shares[i].items())
                if crossing <= 1e-9:
                    continue
                slowest = max(self._links[x, y][1] for x in shares[j] for y in shares[i] if x != y)
                source = self.variant.stages[a]
                worst_s = max(worst_s, crossing * source.units * source.out_gb * slowest)
        return worst_s

    def _shares(self, i: int, counts: Counts) -> dict[str, float]:
        """Share of a station's work in each region."""
        rates: dict[str, float] = {}
        for k, n in counts.items():
            o = self.options[i][k]
            region = self.pools[o.pool].region
            rates[region] = rates.get(region, 0.0) + n / max(o.work_s, 1e-9)
        total = sum(rates.values())
        return {region: rate / total for region, rate in rates.items()}

    def flow(self, held: Sequence[Held]) -> tuple[float, float]:
        """Seconds from the first segment to the last, and by how much playback waits beyond the first.

        A station's last unit comes as late after its first as the last one it was made from, and its slowest
        replica may get it. Until a slow replica's first unit comes, the faster ones play on; how much they
        gain depends on how much faster than the film their input comes.
        """
        if self.fluid:
            return max(h.rest_s for h in held), 0.0
        rests: list[float] = []
        stall_s = 0.0
        for h, up, single in zip(held, self._up, self._single, strict=True):
            rest_s, before_s = h.rest_s, 0.0
            if not single:
                for j in up:
                    if rests[j] > before_s:
                        before_s = rests[j]
            if h.waits:
                if before_s:
                    rest_s = max(rest_s, before_s + h.waits[-1][0])
                gain = max(0.0, 1 - before_s / self._film_s)
                for wait_s, film_s in h.waits:
                    stall_s = max(stall_s, wait_s - film_s * gain)
            elif before_s > rest_s:
                rest_s = before_s
            rests.append(rest_s)
        return max(rests), stall_s

    def judge(self, held: Sequence[Held], first_s: float, links_s: float = 0.0) -> Judged:
        """How good a plan is; lower is better, limits first."""
        rest_s, stall_s = self.flow(held)
        rest_s = max(links_s, rest_s)
        usd_per_h = 0.0
        for h in held:
            usd_per_h += h.usd_per_h
        ready_s = first_s + rest_s
        if self.simple:
            return Judged(*self.score(first_s, ready_s, usd_per_h, stall_s))
        violation, value = self.score(first_s, ready_s, usd_per_h, stall_s)
        goal = self.objective
        if goal.name in ("energy", "energy*ttff"):
            waits_s = stall_s if goal.rises_s is None else 0.0
            start_s = max(first_s + waits_s, ready_s - self._film_s)
            value = self._energy_j(held, ready_s) * (start_s if goal.name == "energy*ttff" else 1.0)
        if goal.power_w is not None and (watts := sum(h.busy_w for h in held)) > goal.power_w:
            violation += watts / goal.power_w - 1 if goal.power_w > 0 else float("inf")
        return Judged(violation, value)

    def score(
        self, first_s: float, ready_s: float, usd_per_h: float, stall_s: float = 0.0
    ) -> tuple[float, float]:
        """Violation and value of an objective that needs neither energy nor power."""
        violation = 0.0
        if (rises_s := self.objective.rises_s) is not None:
            if stall_s > rises_s:
                violation = stall_s / rises_s - 1 if rises_s > 0 else float("inf")
            stall_s = 0.0
        start_s = ready_s - self._film_s
        if start_s < first_s + stall_s:
            start_s = first_s + stall_s
        cost = usd_per_h * ready_s / HOUR_S
        name = self.objective.name
        if name == "cost*ttff":
            value = cost * start_s
        elif name == "ttff":
            value = start_s
        elif name == "ready":
            value = ready_s
        else:
            value = cost
        if self._limited:
            goal = self.objective
            for limit, found in ((goal.ttff_s, start_s), (goal.ready_s, ready_s), (goal.budget_usd, cost)):
                if limit is not None and found > limit:
                    violation += found / limit - 1 if limit > 0 else float("inf")
            if goal.seamless:
                violation += max(0.0, (start_s - first_s) / self._film_s - _SEAM)
        return violation, value

    def _energy_j(self, held: Sequence[Held], ready_s: float) -> float:
        return sum(
            h.busy_w * min(h.rest_s + sum(h.first_s), ready_s)
            + h.idle_w * max(0.0, ready_s - h.rest_s - sum(h.first_s))
            for h in held
        )

    def used(self, counts: Sequence[Counts]) -> list[int]:
        """Devices by pool."""
        found = [0] * len(self.caps)
        for i, each in enumerate(counts):
            for k, n in each.items():
                o = self.options[i][k]
                found[o.pool] += n * o.devices
        return found

    def estimate(self, counts: Sequence[Counts]) -> Estimate:
        """All that is expected of a plan."""
        held = [self.hold(i, each) for i, each in enumerate(counts)]
        first_s, links_s = self.first(held), self.links_rest_s(counts)
        rest_s, stall_s = self.flow(held)
        if self.objective.rises_s is not None:
            stall_s = 0.0
        rest_s = max(links_s, rest_s)
        ready_s = first_s + rest_s
        usd_per_h = sum(h.usd_per_h for h in held)
        risky = sum(
            n * self.options[i][k].usd_per_h * self.options[i][k].risk
            for i, each in enumerate(counts)
            for k, n in each.items()
        )
        times = []
        for s, stage in enumerate(self.variant.stages):
            i, k = self._of[s]
            if i < 0:
                times.append(StageTime(stage.name, self._fixed[s], 0.0))
            else:
                times.append(StageTime(stage.name, held[i].first_s[k], held[i].rest_s))
        slowest = max(times, key=lambda t: t.rest_s).stage if rest_s > links_s else "link"
        return Estimate(
            ttff_s=first_s,
            ready_s=ready_s,
            ttff_eff_s=max(first_s + stall_s, ready_s - self._film_s),
            cost_usd=usd_per_h * ready_s / HOUR_S,
            usd_per_h=usd_per_h,
            risk_usd=risky * ready_s / HOUR_S,
            energy_kwh=self._energy_j(held, ready_s) / J_PER_KWH,
            peak_w=sum(h.busy_w for h in held),
            devices={pool.name: n for pool, n in zip(self.pools, self.used(counts), strict=True) if n},
            stages=tuple(times),
            first_binds=max(times, key=lambda t: t.first_s).stage,
            rest_binds=slowest,
        )
