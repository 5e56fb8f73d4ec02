"""From a film, the pools and an objective to a plan. See `provision`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

import msgspec

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.errors import UsageError
from hpcwise.core.profiles import Profiles
from hpcwise.core.provisioner.model import Counts, Judged, Pipeline
from hpcwise.core.provisioner.options import Option, Station, check_pools, clocked, stations
from hpcwise.core.provisioner.search import Search
from hpcwise.core.provisioner.types import Objective, Plan, Pool, Replicas, Variant, Work

#: Plans judged at most, by default: in practice the search ends earlier, where no step helps.
ITERATIONS: Final = 20_000
#: Variants that come within this factor of the best at a glance are laid out for all paces.
_CLOSE: Final = 2.5
#: Of those, the ones within 1 + this / devices of the best are refined: in few devices steps count for more.
_CLOSE_DEVICES: Final = 8.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A variant bound to regions, with its stations; what `Pipeline` needs for one search."""

    variant: Variant
    stations: tuple[Station, ...]


class Problem(msgspec.Struct, kw_only=True):
    """What is to be planned, checked, with the options worked out once (they are the same for every
    objective). present: what stands already; its models are loaded."""

    work: Work
    pools: tuple[Pool, ...]
    catalogue: Catalogue
    candidates: tuple[Candidate, ...]
    present: Plan | None = None
    fluid: bool = False

    def pipeline(self, candidate: Candidate, objective: Objective) -> Pipeline:
        return Pipeline(
            self.work, candidate.variant, self.pools, candidate.stations, self.catalogue, objective,
            _present(self.present, candidate, self.pools), self.fluid,
        )  # fmt: skip


def problem(
    work: Work,
    pools: Sequence[Pool],
    catalogue: Catalogue,
    ratios: Mapping[str, float] | None = None,
    present: Plan | None = None,
    fluid: bool = False,
) -> Problem:
    """Check and prepare. ratios: what real runs taught (the engine's state). fluid: estimate as the paper
    does (see Pipeline). Raises UsageError for an empty
    cluster, a region without a link, and where no variant's models fit."""
    check_pools(pools, catalogue)
    found: list[Candidate] = []
    wrong: list[UsageError] = []
    profiles = Profiles(catalogue, dict(ratios or {}))
    known: dict[tuple[object, ...], tuple[Option, ...]] = {}
    for variant in work.variants:
        for near in _homes(variant, pools):
            try:
                made = stations(variant, pools, profiles, near, known)
            except UsageError as error:
                wrong.append(error)
                continue
            found.append(Candidate(variant=variant, stations=made))
    if not found:
        raise wrong[0]
    return Problem(
        work=work,
        pools=tuple(pools),
        catalogue=catalogue,
        candidates=tuple(found),
        present=present,
        fluid=fluid,
    )


def provision(
    asked: Problem,
    objective: Objective | None = None,
    warm_starts: Sequence[Plan] = (),
    iterations: int = ITERATIONS,
    stay: Plan | None = None,
    worth: float = 0.0,
) -> Plan:
    """The best plan that was found within `iterations` judged plans; `stay` where that is better by no more
    than the share `worth` of its value, and keeps the limits as well.

    The present plan and the warm starts (cached plans, optima) are always candidates, as far as the pools
    still hold them: with them, more hardware never makes the plan worse. A lower tier is used only where no
    plan of a higher one keeps the limits. Without any that does, the closest plan, with what it misses.
    Raises UsageError where the devices are too few for one replica of each.
    """
    goal = objective or Objective()
    if goal.power_w is not None:
        asked = _clocked(asked)
    closest: Plan | None = None
    steps = 0
    starts = [plan for plan in (asked.present, *warm_starts) if plan is not None]
    for tier in dict.fromkeys(candidate.variant.tier for candidate in asked.candidates):
        members = [c for c in asked.candidates if c.variant.tier == tier]
        made, used = _of_tier(asked, members, goal, starts, max(1, iterations - steps))
        steps += used
        if made is None:
            continue
        made = _stayed(asked, members, goal, stay, made, worth) if stay is not None else made
        plan = msgspec.structs.replace(made, steps=steps)
        if not plan.misses:
            return plan
        if closest is None or _missed(plan, goal) < _missed(closest, goal):
            closest = plan
    if closest is None:
        fewest = min(len(c.stations) for c in asked.candidates)
        there = sum(pool.devices for pool in asked.pools)
        raise UsageError(
            f"cluster: {there} devices are too few for {asked.work.name!r}, which needs {fewest} replicas; "
            "add devices"
        )
    return msgspec.structs.replace(closest, steps=steps)


def _clocked(asked: Problem) -> Problem:
    """The same problem where devices may be held down to lower clocks: a power cap is kept by slower devices
    where that is better than by fewer (StreamWise section 4.6)."""
    candidates = []
    for candidate in asked.candidates:
        made = tuple(
            msgspec.structs.replace(s, options=clocked(s.options, asked.pools, asked.catalogue))
            for s in candidate.stations
        )
        candidates.append(msgspec.structs.replace(candidate, stations=made))
    return msgspec.structs.replace(asked, candidates=tuple(candidates))


def _of_tier(
    asked: Problem, members: list[Candidate], goal: Objective, starts: list[Plan], most: int
) -> tuple[Plan | None, int]:
    searches: list[tuple[Candidate, Search]] = []
    share = max(1, most // len(members))
    for candidate in members:
        search = Search(asked.pipeline(candidate, goal), share)
        for plan in starts:
            counts = _counts(plan, candidate, asked.pools)
            if counts is not None:
                search.offer(counts)
        search.glance()
        if search.best:
            searches.append((candidate, search))
    if not searches:
        return None, 0
    for close, step in (
        (_CLOSE, Search.lay_out), (1 + _CLOSE_DEVICES / sum(p.devices for p in asked.pools), Search.refine)
    ):  # fmt: skip
        searches.sort(key=lambda row: row[1].judged)
        best = searches[0][1].judged
        searches = [
            row
            for row in searches
            if row[1].judged.violation <= best.violation and row[1].judged.value <= best.value * close
        ]
        for _, search in searches:
            step(search)
    candidate, search = min(searches, key=lambda row: row[1].judged)
    steps = sum(search.steps for _, search in searches)
    return made_plan(asked, candidate, search.pipeline, search.best, goal), steps


def _stayed(
    asked: Problem, members: list[Candidate], goal: Objective, stay: Plan, made: Plan, worth: float
) -> Plan:
    """`stay` as a plan for now if leaving it is not worth the while, else `made`."""

    def judged(plan: Plan) -> tuple[Judged, Candidate, Pipeline, list[Counts]] | None:
        best = None
        for candidate in members:
            counts = _counts(plan, candidate, asked.pools)
            if counts is None:
                continue
            pipeline = asked.pipeline(candidate, goal)
            held = [pipeline.hold(i, each) for i, each in enumerate(counts)]
            value = pipeline.judge(held, pipeline.first(held), pipeline.links_rest_s(counts))
            if best is None or value < best[0]:
                best = value, candidate, pipeline, counts
        return best

    kept, new = judged(stay), judged(made)
    if kept is None or new is None or kept[0].violation > new[0].violation:
        return made
    if kept[0].value > new[0].value * (1 + worth):
        return made
    return made_plan(asked, kept[1], kept[2], kept[3], goal)


def evaluate(asked: Problem, variant: str, replicas: Sequence[Replicas]) -> Plan:
    """The estimate of replicas that somebody else chose, such as a published allocation; their stages may be
    left empty. Raises UsageError for one that cannot be, or a stage that none serves."""
    by_name = {pool.name: i for i, pool in enumerate(asked.pools)}
    for candidate in asked.candidates:
        if candidate.variant.name != variant:
            continue
        counts: list[Counts] = [{} for _ in candidate.stations]
        for row in replicas:
            places = [
                (i, k)
                for i, station in enumerate(candidate.stations)
                if set(station.models) == set(row.models)
                for k, option in enumerate(station.options)
                if (option.pool, option.devices, option.mhz) == (by_name.get(row.pool), row.devices, row.mhz)
            ]
            if not places:
                what = f"{' + '.join(row.models)} of {row.devices} {row.pool}"
                raise UsageError(f"plan: no replica of {what} is worth having; a smaller one does as much")
            i, k = places[0]
            counts[i][k] = counts[i].get(k, 0) + row.n
        for station, each in zip(candidate.stations, counts, strict=True):
            if not each:
                raise UsageError(f"plan: no replica for {' and '.join(station.names)}; add one")
        goal = Objective()
        return made_plan(asked, candidate, asked.pipeline(candidate, goal), counts, goal)
    raise UsageError(f"plan: {variant!r} is no way to make {asked.work.name!r}")


def made_plan(
    asked: Problem, candidate: Candidate, pipeline: Pipeline, counts: list[Counts], goal: Objective
) -> Plan:
    """Counts as a plan with its estimate."""
    estimate = pipeline.estimate(counts)
    replicas = [
        Replicas(
            stages=station.names,
            models=station.models,
            pool=asked.pools[station.options[k].pool].name,
            devices=station.options[k].devices,
            n=n,
            nodes=station.options[k].nodes,
            mhz=station.options[k].mhz,
        )
        for station, each in zip(candidate.stations, counts, strict=True)
        for k, n in sorted(each.items())
    ]
    misses = []
    for what, limit, found, unit in (
        ("first frame without a stall", goal.ttff_s, estimate.ttff_eff_s, "s"),
        ("ready", goal.ready_s, estimate.ready_s, "s"),
        ("cost", goal.budget_usd, estimate.cost_usd, "USD"),
        ("power", goal.power_w, estimate.peak_w, "W"),
    ):
        if limit is not None and found > limit:
            misses.append(f"{what}: {found:.4g} {unit} where at most {limit:g} {unit} is asked for")
    return Plan(
        work=asked.work.name,
        variant=candidate.variant.name,
        tier=candidate.variant.tier,
        replicas=tuple(replicas),
        estimate=estimate,
        objective=goal,
        misses=tuple(misses),
    )


def _missed(plan: Plan, goal: Objective) -> float:
    e = plan.estimate
    pairs = (
        (goal.ttff_s, e.ttff_eff_s), (goal.ready_s, e.ready_s), (goal.budget_usd, e.cost_usd),
        (goal.power_w, e.peak_w),
    )  # fmt: skip
    return sum(max(0.0, found / limit - 1) if limit else found for limit, found in pairs if limit is not None)


def _homes(variant: Variant, pools: Sequence[Pool]) -> Iterator[dict[str, str]]:
    """Each way to bind stages that must stay near each other to a region."""
    regions = sorted({pool.region for pool in pools if pool.devices})
    groups = sorted({stage.near for stage in variant.stages if stage.near})
    for chosen in product(regions, repeat=len(groups)):
        yield dict(zip(groups, chosen, strict=True))


def _present(plan: Plan | None, candidate: Candidate, pools: Sequence[Pool]) -> dict[tuple[int, int], int]:
    """Replicas that are there already, by station and option; one that holds the models of several stations
    is counted for the one that needs most of them."""
    found: dict[tuple[int, int], int] = {}
    for row in plan.replicas if plan else ():
        fits = [i for i, s in enumerate(candidate.stations) if set(s.models) <= set(row.models)]
        for i in sorted(fits, key=lambda i: -len(candidate.stations[i].models))[:1]:
            station = candidate.stations[i]
            for k, option in enumerate(station.options):
                same = option.devices == row.devices and option.mhz == row.mhz
                if pools[option.pool].name == row.pool and same:
                    found[i, k] = found.get((i, k), 0) + row.n
    return found


def _counts(plan: Plan, candidate: Candidate, pools: Sequence[Pool]) -> list[Counts] | None:
    """An earlier plan in terms of a candidate, without what the pools no longer hold; None for another's."""
    found = _present(plan, candidate, pools)
    free = [pool.devices for pool in pools]
    counts: list[Counts] = [{} for _ in candidate.stations]
    for (i, k), n in found.items():
        option = candidate.stations[i].options[k]
        n = min(n, free[option.pool] // option.devices)
        if n > 0:
            counts[i][k] = n if not candidate.stations[i].serial else 1
            free[option.pool] -= counts[i][k] * option.devices
    return counts if all(counts) else None
