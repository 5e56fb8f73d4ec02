"""The paper's estimate of a plan: every stage's longest replica, one stage after the other.

StreamWise bills and times its provisioning this way (its artifact's evaluator): a stage's units are dealt to
its replicas by their speed, rounded up to whole ones and then split evenly; the stage takes as long as its
slowest replica, the film as long as all stages together, and all devices are held, whole nodes of them, for
that long. The first frame takes the fastest replica of each stage. Unlike the engine's schedule, no stage
works while another does, and no unit waits for its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import ceil
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.model import Counts, Held, Pipeline
from hpcwise.core.provisioner.options import Option, Station
from hpcwise.core.provisioner.provision import Candidate, Problem, provision
from hpcwise.core.provisioner.types import Objective, Plan
from hpcwise.core.units import HOUR_S

#: Devices of a node that is paid for as a whole; the artifact counts eight for every type.
NODE: Final = 8
#: Plans judged at most for one variant and aim.
_ITERATIONS: Final = 4000


class Maxima(msgspec.Struct, frozen=True, kw_only=True):
    """What the paper would say of a plan. ttff_s: start without a stall (TTFFeff); cost_usd: nodes for
    total_s. stages: seconds of each."""

    first_s: float
    total_s: float
    ttff_s: float
    cost_usd: float
    stages: tuple[tuple[str, float], ...]

    @property
    def cost_x_ttff(self) -> float:
        return self.cost_usd * self.ttff_s


def unit_s(option: Option, station: Station) -> float:
    """Seconds of one such replica for one unit of the station; a single unit is its first."""
    return option.work_s / (station.units - 1) if station.units > 1 else sum(option.first_s)


def stage_s(station: Station, counts: Mapping[int, int]) -> float:
    """Seconds until the station's replicas have made all its units."""
    if station.serial:
        return min(sum(station.options[k].first_s) + station.options[k].work_s for k in counts)
    each = {k: unit_s(station.options[k], station) for k in counts}
    if station.units == 1:
        return min(each.values())
    if min(each.values()) <= 0:
        return 0.0
    rate = sum(n / each[k] for k, n in counts.items())
    worst = 0.0
    for k, n in counts.items():
        units = ceil(station.units * (n / each[k]) / rate - 1e-9)
        worst = max(worst, each[k] * max(1.0, units / n))
    return worst


def maxima(asked: Problem, plan: Plan) -> Maxima:
    """The paper's estimate of a plan for the problem. Raises KeyError for a plan of another problem."""
    [candidate] = [c for c in asked.candidates if c.variant.name == plan.variant][:1]
    counts = counts_of(plan, candidate, asked)
    stages = [(stage.name, stage.fixed_s) for stage in candidate.variant.stages if stage.fixed_s is not None]
    first_s = sum(fixed_s for _, fixed_s in stages)
    usd_per_h = 0.0
    held: dict[int, tuple[int, float]] = {}
    for station, each in zip(candidate.stations, counts, strict=True):
        stages.append((" + ".join(station.names), stage_s(station, each)))
        first_s += min(sum(station.options[k].first_s) for k in each)
        for k, n in each.items():
            option = station.options[k]
            before, _ = held.get(option.pool, (0, 0.0))
            held[option.pool] = (before + n * option.devices, option.usd_per_h / option.devices)
    for devices, each_usd in held.values():
        usd_per_h += ceil(devices / NODE - 1e-9) * NODE * each_usd
    total_s = sum(each_s for _, each_s in stages)
    return Maxima(
        first_s=first_s,
        total_s=total_s,
        ttff_s=max(first_s, total_s - asked.work.film_s),
        cost_usd=usd_per_h * total_s / HOUR_S,
        stages=tuple(stages),
    )


def whole_nodes(plan: Plan) -> dict[str, int]:
    """Devices by pool, in whole nodes, as the paper pays for them."""
    return {pool: ceil(n / NODE) * NODE for pool, n in plan.estimate.devices.items()}


def counts_of(plan: Plan, candidate: Candidate, asked: Problem) -> list[Counts]:
    """A plan's replicas by station and option of its candidate."""
    pools = {pool.name: i for i, pool in enumerate(asked.pools)}
    counts: list[Counts] = []
    for station in candidate.stations:
        places = {(option.pool, option.devices): k for k, option in enumerate(station.options)}
        rows = [row for row in plan.replicas if row.stages == station.names]
        counts.append({places[pools[row.pool], row.devices]: row.n for row in rows})
    return counts


class InTurn(Pipeline):
    """A pipeline judged as the paper judges: the sum of all stages' times, for the same search.

    smooth: units are split as finely as one likes, which the search climbs better than whole ones.
    """

    smooth = True

    def _held(self, i: int, counts: Counts) -> Held:
        was, self.fluid = self.fluid, True
        held = super()._held(i, counts)
        self.fluid = was
        station = self.stations[i]
        total_s = stage_s(station, counts)
        if self.smooth and not station.serial and station.units > 1:
            slowest_s = max(unit_s(self.options[i][k], station) for k in counts)
            total_s = max(held.rest_s * station.units / (station.units - 1), slowest_s)
        # Its own first unit is among those that its replicas share.
        return held._replace(rest_s=total_s - sum(held.first_s))

    def flow(self, held: Sequence[Held]) -> tuple[float, float]:
        beside_s = self.first(held) - sum(sum(h.first_s) for h in held) - sum(self._fixed)
        return sum(h.rest_s for h in held) - beside_s, 0.0


class ProblemInTurn(Problem, kw_only=True):
    """A problem whose plans are sought by the paper's estimate. smooth: see InTurn."""

    smooth: bool = True

    def pipeline(self, candidate: Candidate, objective: Objective) -> Pipeline:
        made = InTurn(
            self.work, candidate.variant, self.pools, candidate.stations, self.catalogue, objective, {}
        )
        made.smooth = self.smooth
        return made


def provision_in_turn(asked: Problem, objective: Objective | None = None) -> Plan:
    """The best plan by the paper's estimate: of each variant the best that the search finds, whatever the
    objective is of plans for cost x start too, so that a choice more never makes the plan worse.
    Raises UsageError as `provision` does."""
    goal = objective or Objective()
    found: list[Plan] = []
    wrong: list[UsageError] = []
    goals = dict.fromkeys((Objective(), goal))
    for candidate in asked.candidates:
        plans: list[Plan] = []
        try:
            for each, smooth in product(goals, (True, False)):
                alone = ProblemInTurn(
                    work=asked.work, pools=asked.pools, catalogue=asked.catalogue, candidates=(candidate,),
                    smooth=smooth,
                )  # fmt: skip
                plans.append(provision(alone, each, warm_starts=plans, iterations=_ITERATIONS))
        except UsageError as error:
            wrong.append(error)
        found += plans
    if not found:
        raise wrong[0]
    by_name: dict[str, Callable[[Maxima], float]] = {
        "cost*ttff": lambda m: m.cost_x_ttff, "cost": lambda m: m.cost_usd, "ttff": lambda m: m.ttff_s,
        "ready": lambda m: m.total_s,
    }  # fmt: skip
    return min(found, key=lambda plan: by_name[goal.name](maxima(asked, plan)))
