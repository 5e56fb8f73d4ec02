"""The cheapest plan that starts playback in time, by integer programming (StreamWise section 5.2, Fig 12).

StreamWise holds its greedy heuristic against a program solved by Gurobi; here HiGHS solves one of the same
estimate that the heuristic has (work as a fluid). Cost is dollars an hour P times the seconds R until the
film is whole, a product; so boxes of (L, R) are looked at, L the first segment. In one, P of a plan is at
least that of the cheapest whose first segment comes within the box's largest L and whose stages end within
its largest R; so the cost is at least that P times the least R, and at least that P times the least L plus
what all the work costs where it is cheapest. The plan found is a candidate. Boxes are halved until the bound
is within GAP of the best.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, Final, NamedTuple

import numpy as np

from hpcwise.core.provisioner.model import Counts, Pipeline
from hpcwise.core.provisioner.provision import Candidate, Problem, made_plan
from hpcwise.core.provisioner.types import Objective, Plan
from hpcwise.core.units import HOUR_S

#: Proven to this share of the cost.
GAP: Final = 0.02
_NODES: Final = 500

Box = tuple[float, float, float, float]


class Optimum(NamedTuple):
    """bound_usd: below it no plan exists. solves: programs solved."""

    plan: Plan
    bound_usd: float
    solves: int


def cheapest(asked: Problem, start_s: float, known: Plan, most: int = 200) -> Optimum:
    """The cheapest plan that starts playback within `start_s`, if `known`, which does, can be bettered.

    Ends within GAP, or after `most` programs, with the bound that is proven by then.
    """
    goal = Objective(name="cost", ttff_s=start_s)
    programs = [_Program(asked, candidate, goal) for candidate in asked.candidates]
    best, plan = known.estimate.cost_usd, known
    film_s = asked.work.film_s
    heap: list[tuple[float, int, int, Box]] = []
    count = 0
    for i, program in enumerate(programs):
        low_s, fastest_s = program.least()
        heapq.heappush(heap, (0.0, i, i, (low_s, start_s, low_s + fastest_s, start_s + film_s)))
        count = i + 1
    solves = 0
    bound = 0.0
    while heap:
        bound, _, i, box = heapq.heappop(heap)
        if bound >= best * (1 - GAP) or solves >= most:
            return Optimum(plan, min(bound, best), solves)
        solves += 1
        usd_per_h, counts = programs[i].solve(box)
        if counts is not None:
            made = made_plan(asked, asked.candidates[i], programs[i].pipeline, counts, goal)
            if not made.misses and made.estimate.cost_usd < best:
                best, plan = made.estimate.cost_usd, made
        least_usd = max(usd_per_h * box[2], usd_per_h * box[0] + programs[i].work_usd_s) / HOUR_S
        of_box = max(bound, least_usd)
        for part in _halves(box) if of_box < best * (1 - GAP) else ():
            heapq.heappush(heap, (of_box, count, i, part))
            count += 1
    return Optimum(plan, best * (1 - GAP), solves)


def _halves(box: Box) -> tuple[Box, ...]:
    """Cut across the longer side, by ratio."""
    l1, l2, r1, r2 = box
    if l2 / l1 >= r2 / r1:
        mid = math.sqrt(l1 * l2)
        return (l1, mid, r1, r2), (mid, l2, r1, r2)
    mid = math.sqrt(r1 * r2)
    return (l1, l2, r1, mid), (l1, l2, mid, r2)


class _Program:
    """The program of one variant, solved again with other bounds."""

    def __init__(self, asked: Problem, candidate: Candidate, goal: Objective) -> None:
        import highspy

        self.inf = highspy.kHighsInf
        self.optimal, self.infeasible = (
            highspy.HighsModelStatus.kOptimal,
            highspy.HighsModelStatus.kInfeasible,
        )
        self.pipeline: Pipeline = asked.pipeline(candidate, goal)
        p = self.pipeline
        self.columns = [(i, k) for i, options in enumerate(p.options) for k in range(len(options))]
        self.nx = len(self.columns)
        self.last = 2 * self.nx + len(p.variant.stages) - 1
        self.heavy: list[tuple[int, float]] = []
        h: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in (
            ("output_flag", False), ("threads", 1), ("random_seed", 1), ("mip_max_nodes", _NODES),
            ("mip_rel_gap", 2e-3),
        ):  # fmt: skip
            h.setOptionValue(name, value)
        self.highs = h
        self.rows = 0
        self.work_usd_s = sum(min(o.usd_per_h * o.work_s for o in options) for options in p.options)
        self._build(highspy.HighsVarType.kInteger)

    def least(self) -> tuple[float, float]:
        """First segment with each stage's fastest replica, and all the rest by all devices at once."""
        p = self.pipeline
        held = [
            p.hold(i, {min(range(len(options)), key=lambda k, o=options: sum(o[k].first_s)): 1})  # type: ignore[misc]
            for i, options in enumerate(p.options)
        ]
        work = sum(min(o.work_s * o.devices for o in options) for options in p.options)
        return p.first(held), max(1e-3, work / sum(p.caps))

    def _row(self, low: float, high: float, entries: dict[int, float]) -> int:
        self.highs.addRow(low, high, len(entries), np.array(list(entries)), np.array(list(entries.values())))
        self.rows += 1
        return self.rows - 1

    def _build(self, integer: Any) -> None:
        """Columns: replicas of each option, whether it may make the first unit, when each stage's is done."""
        p, nx, h, inf = self.pipeline, self.nx, self.highs, self.inf
        for i, k in self.columns:
            o = p.options[i][k]
            h.addVar(0, 1 if p.stations[i].serial else p.caps[o.pool] // o.devices)
            h.changeColCost(h.getNumCol() - 1, o.usd_per_h)
        for _ in range(nx):
            h.addVar(0, 1)
        for c in range(2 * nx):
            h.changeColIntegrality(c, integer)
        for _ in p.variant.stages:
            h.addVar(0, inf)
        for pool, cap in enumerate(p.caps):
            self._row(-inf, cap, {
                c: float(p.options[i][k].devices)
                for c, (i, k) in enumerate(self.columns) if p.options[i][k].pool == pool
            })  # fmt: skip
        of = {pair: c for c, pair in enumerate(self.columns)}
        for i, options in enumerate(p.options):
            cs = [of[i, k] for k in range(len(options))]
            self._row(1, 1, {nx + c: 1.0 for c in cs})
            for c in cs:
                self._row(-inf, 0, {nx + c: 1.0, c: -1.0})
            if p.stations[i].serial:
                self._row(1, 1, dict.fromkeys(cs, 1.0))
            if all(o.work_s > 0 for o in options):
                scale = max(o.work_s for o in options)
                row = self._row(0, inf, {of[i, k]: scale / o.work_s for k, o in enumerate(options)})
                self.heavy.append((row, scale))
        place = {stage.name: s for s, stage in enumerate(p.variant.stages)}
        station_of = {s: (i, n) for i, st in enumerate(p.stations) for n, s in enumerate(st.stages)}
        for s, stage in enumerate(p.variant.stages):
            own: dict[int, float] = {2 * nx + s: 1.0}
            if s in station_of:
                i, n = station_of[s]
                for k, o in enumerate(p.options[i]):
                    own[nx + of[i, k]] = -o.first_s[n]
            fixed_s = stage.fixed_s or 0.0
            self._row(fixed_s, inf, own)
            for a in stage.after:
                self._row(fixed_s, inf, {**own, 2 * nx + place[a]: -1.0})

    def solve(self, box: Box) -> tuple[float, list[Counts] | None]:
        """A bound of the dollars an hour in a box, and the plan found; infinite where there is none."""
        l1, l2, _, r2 = box
        rest_s = r2 - l1
        if rest_s <= 0:
            return math.inf, None
        self.highs.changeColBounds(self.last, 0, l2)
        for row, scale in self.heavy:
            self.highs.changeRowBounds(row, scale / rest_s, self.inf)
        self.highs.run()
        status = self.highs.getModelStatus()
        if status == self.infeasible:
            return math.inf, None
        values = np.array(self.highs.getSolution().col_value)
        counts: list[Counts] | None = None
        if self.highs.getInfo().primal_solution_status == 2:
            counts = [{} for _ in self.pipeline.options]
            for (i, k), x in zip(self.columns, values[: self.nx], strict=True):
                if round(x) > 0:
                    counts[i][k] = round(x)
            counts = counts if all(counts) else None
        return float(self.highs.getInfo().mip_dual_bound), counts
