"""The best plan there is, by mixed-integer programming: what scripts/bench/provision compares plans with.

Cost x TTFF of the analytic model is a product of three: dollars an hour P, seconds R = L + 1/r until the film
is whole, and the start of playback S = max(L, R - film); L is the first segment, r the pace. P, L and r are
linear in the numbers of replicas, so in a box of (L, r) "P * R * S < V" is relaxed to "P < V * plane(L, r)"
with a plane above 1 / (R * S). HiGHS minimises P - V * plane; where that is not negative, no plan of the box
is better than V. Boxes are split until each is closed or too small to matter. V is (1 - EPSILON) of the best
plan known, so that the answer is within EPSILON of the optimum: proven, not hoped for.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, Final, NamedTuple

import highspy
import numpy as np

from hpcwise.core.provisioner.model import Counts, Judged, Pipeline
from hpcwise.core.provisioner.provision import Candidate, Problem
from hpcwise.core.provisioner.types import Objective
from hpcwise.core.units import HOUR_S

EPSILON: Final = 0.01
#: Samples along each side of a box where the plane is laid above the function.
_GRID: Final = 17


class Optimum(NamedTuple):
    """value: dollars x seconds of the best plan found; bound: below it there is none. complete: the bound is
    (1 - EPSILON) of the value; otherwise the solves were used up."""

    value: float
    bound: float
    solves: int
    complete: bool
    variant: str
    counts: list[Counts]


class Model:
    """The linear program of one candidate, solved again and again with other boxes and prices."""

    def __init__(self, problem: Problem, candidate: Candidate) -> None:
        self.pipeline: Pipeline = problem.pipeline(candidate, Objective())
        p = self.pipeline
        self.film_s = problem.work.film_s
        self.columns = [(i, k) for i, options in enumerate(p.options) for k in range(len(options))]
        self.nx = len(self.columns)
        n_stages = len(p.variant.stages)
        self.at_l, self.at_r = 2 * self.nx + n_stages - 1, 2 * self.nx + n_stages
        self.highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in (
            ("output_flag", False), ("threads", 1), ("mip_rel_gap", 1e-4), ("random_seed", 1),
            ("mip_max_nodes", 4000),
        ):  # fmt: skip
            self.highs.setOptionValue(name, value)
        self.usd = np.array([p.options[i][k].usd_per_h for i, k in self.columns])
        self.scale = max(o.work_s for options in p.options for o in options) or 1.0
        self._build()
        self.l_range = (self._first(min), self._first(max))
        heavy = [options for options in p.options if any(o.work_s > 0 for o in options)]
        most = sum(p.caps) / max(1e-9, sum(min(o.work_s * o.devices for o in options) for options in heavy))
        least = 1 / max((o.work_s for options in heavy for o in options), default=1.0)
        self.r_range = (min(least, most), max(least, most))

    def _first(self, pick: Any) -> float:
        """The first segment with each station's fastest (min) or slowest (max) replica alone."""
        p = self.pipeline
        held = [
            p.hold(i, {pick(range(len(options)), key=lambda k, o=options: sum(o[k].first_s)): 1})
            for i, options in enumerate(p.options)
        ]
        return p.first(held)

    def _build(self) -> None:
        p, nx, h = self.pipeline, self.nx, self.highs
        inf = highspy.kHighsInf
        for i, k in self.columns:
            o = p.options[i][k]
            h.addVar(0, 1 if p.stations[i].serial else p.caps[o.pool] // o.devices)
        for _ in range(nx):
            h.addVar(0, 1)
        n_stages = len(p.variant.stages)
        for _ in range(n_stages):
            h.addVar(0, inf)
        h.addVar(0, inf)
        for c in range(2 * nx):
            h.changeColIntegrality(c, highspy.HighsVarType.kInteger)

        def row(low: float, high: float, entries: dict[int, float]) -> None:
            h.addRow(low, high, len(entries), np.array(list(entries)), np.array(list(entries.values())))

        for pool, cap in enumerate(p.caps):
            row(-inf, cap, {
                c: p.options[i][k].devices for c, (i, k) in enumerate(self.columns)
                if p.options[i][k].pool == pool
            })  # fmt: skip
        of = {pair: c for c, pair in enumerate(self.columns)}
        for i, options in enumerate(p.options):
            cs = [of[i, k] for k in range(len(options))]
            row(1, 1, {nx + c: 1.0 for c in cs})
            for c in cs:
                row(-inf, 0, {nx + c: 1.0, c: -1.0})
            if p.stations[i].serial:
                row(1, 1, dict.fromkeys(cs, 1.0))
            if all(o.work_s > 0 for o in options):
                entries = {of[i, k]: self.scale / o.work_s for k, o in enumerate(options)}
                row(0, inf, {**entries, self.at_r: -self.scale})
        place = {stage.name: s for s, stage in enumerate(p.variant.stages)}
        station_of = {s: (i, n) for i, st in enumerate(p.stations) for n, s in enumerate(st.stages)}
        for s, stage in enumerate(p.variant.stages):
            own: dict[int, float] = {2 * nx + s: 1.0}
            if s in station_of:
                i, n = station_of[s]
                for k, o in enumerate(p.options[i]):
                    own[nx + of[i, k]] = -o.first_s[n]
            fixed = stage.fixed_s or 0.0
            row(fixed, inf, own)
            for a in stage.after:
                row(fixed, inf, {**own, 2 * nx + place[a]: -1.0})

    def solve(
        self, box: tuple[float, float, float, float], value: float, whole: bool
    ) -> tuple[float, list[Counts] | None]:
        """Least of P - value * plane in a box (below zero: there may be something better), and the plan.
        whole: integers; otherwise their relaxation. Infinite where the box holds no plan."""
        l1, l2, r1, r2 = box
        alpha, beta, gamma = self._plane(box)
        h, nx = self.highs, self.nx
        n = self.at_r + 1
        cost = np.zeros(n)
        cost[:nx] = self.usd
        cost[self.at_l], cost[self.at_r] = -value * beta, -value * gamma
        h.changeColsCost(n, np.arange(n, dtype=np.int32), cost)
        h.changeColBounds(self.at_l, l1, l2)
        h.changeColBounds(self.at_r, r1, r2)
        h.setOptionValue("solve_relaxation", not whole)
        h.run()
        status = h.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return math.inf, None
        info = h.getInfo()
        bound = info.mip_dual_bound if whole else info.objective_function_value
        values = np.array(h.getSolution().col_value)
        counts: list[Counts] | None = None
        if whole and len(values) and info.primal_solution_status == 2:
            counts = [{} for _ in self.pipeline.options]
            for (i, k), x in zip(self.columns, values[:nx], strict=True):
                if round(x) > 0:
                    counts[i][k] = round(x)
        if status != highspy.HighsModelStatus.kOptimal and not whole:
            return -math.inf, None
        return bound - value * alpha, counts

    def _plane(self, box: tuple[float, float, float, float]) -> tuple[float, float, float]:
        l1, l2, r1, r2 = box
        ls, rs = np.meshgrid(np.linspace(l1, l2, _GRID), np.linspace(r1, r2, _GRID))
        ready = ls + 1 / rs
        wanted = 1 / (ready * np.maximum(ls, ready - self.film_s))
        design = np.stack([np.ones(ls.size), ls.ravel(), rs.ravel()], axis=1)
        (_, beta, gamma), *_ = np.linalg.lstsq(design, wanted.ravel(), rcond=None)
        over = wanted - beta * ls - gamma * rs
        # Between two samples the function is above the plane by no more than this.
        return float(over.max()) + 0.02 * float(over.max() - over.min()), float(beta), float(gamma)


def optimum(problem: Problem, known: float, solves: int, only: tuple[str, ...] = ()) -> Optimum:
    """The best plan of all variants (or of those named), proven to EPSILON.

    known: value of a plan that exists, dollars x seconds; the better, the fewer solves. Ends after `solves`.
    """
    models = [Model(problem, c) for c in problem.candidates if not only or c.variant.name in only]
    best, variant, chosen = known, "", []
    heap: list[tuple[float, int, int, tuple[float, float, float, float]]] = []
    n = 0
    for m, model in enumerate(models):
        heapq.heappush(heap, (0.0, n, m, (*model.l_range, *model.r_range)))
        n += 1
    used = 0
    floor = math.inf
    while heap:
        _, _, m, box = heapq.heappop(heap)
        model = models[m]
        value = best * (1 - EPSILON) * HOUR_S
        if _least(box, model.film_s) > 0 and used >= solves:
            floor = 0.0
            break
        used += 1
        slack, _ = model.solve(box, value, whole=False)
        if slack >= 0:
            continue
        small = box[1] / box[0] < 1.35 and box[3] / box[2] < 1.35
        if small:
            used += 1
            slack, counts = model.solve(box, value, whole=True)
            if counts is not None and all(counts):
                judged: Judged = _judge(model.pipeline, counts)
                if judged.value < best:
                    best, variant, chosen = judged.value, model.pipeline.variant.name, counts
            if slack >= 0:
                continue
        for part in _halves(box):
            n += 1
            heapq.heappush(heap, (slack, n, m, part))
    complete = floor != 0.0
    return Optimum(best, best * (1 - EPSILON) if complete else 0.0, used, complete, variant, chosen)


def _judge(pipeline: Pipeline, counts: list[Counts]) -> Judged:
    held = [pipeline.hold(i, each) for i, each in enumerate(counts)]
    return pipeline.judge(held, pipeline.first(held))


def _least(box: tuple[float, float, float, float], film_s: float) -> float:
    ready = box[0] + 1 / box[3]
    return ready * max(box[0], ready - film_s)


def _halves(box: tuple[float, float, float, float]) -> list[tuple[float, float, float, float]]:
    """The box cut across its longer side, by ratio."""
    l1, l2, r1, r2 = box
    if l2 / l1 >= r2 / r1:
        mid = math.sqrt(l1 * l2)
        return [(l1, mid, r1, r2), (mid, l2, r1, r2)]
    mid = math.sqrt(r1 * r2)
    return [(l1, l2, r1, mid), (l1, l2, mid, r2)]
