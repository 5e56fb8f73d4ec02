"""Helix: the best placement of each model by itself, by mixed-integer programming (StreamWise section 5.2).

Helix places one LLM on mixed GPUs by a MILP of its flow. StreamWise ports it by solving each model of the
workflow alone, one after the other in the order of the film, within a share of the GPUs: in proportion to
the greatest parallelism of each model, at least one device, never more than the models before it left; what
a model does not use goes to those after it in equal parts. Each program minimises the start of playback of
its own stage, max(first unit, all units - film), as if the others took no time: so a stage that is soon fast
enough keeps what another one lacks. Price plays no part.

The program of a stage: whole numbers of replicas n_k of each size and kind of GPU, at most MOST of each kind
of GPU (the artifact's bound), within the stage's devices; for each first unit f that a replica could have,
the greatest rate sum(n_k / unit_k) with a replica that makes its first unit within f. The best f is taken, of
equal ones the one of the fewest devices. Solved by HiGHS to the optimum, on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.model import Counts
from hpcwise.core.provisioner.options import Station
from hpcwise.core.provisioner.provision import made_plan
from hpcwise.core.provisioner.types import Objective, Plan, Pool, Work
from hpcwise.evaluation.baselines.maxima import stage_s, unit_s
from hpcwise.evaluation.baselines.naive import LIMITS
from hpcwise.evaluation.baselines.ways import shareable
from hpcwise.evaluation.run import Context, PriceList

#: Replicas of one model on one kind of GPU at most.
MOST: Final = 16
_NODES: Final = 2000


def plan(
    context: Context,
    work: Work,
    pools: Sequence[Pool],
    objective: Objective | None = None,
    *,
    prices: PriceList = "paper",
) -> Plan:
    """Each model of the work's first variant in turn. objective: only what the plan is reported against.
    Raises UsageError where there are fewer devices than models."""
    asked = context.problem(work, pools, prices=prices)
    candidate = asked.candidates[0]
    stations, shapes = candidate.stations, candidate.variant.stages
    weights = [LIMITS.get(station.names[-1], 1) for station in stations]
    left = [pool.devices for pool in asked.pools]
    shares = _shares(weights, left)
    counts: list[Counts] = []
    for i, station in enumerate(stations):
        after = len(stations) - i - 1
        # Models still to come need a device each, wherever they can have one.
        most = sum(left) - after
        caps = [min(share, free) for share, free in zip(shares[i], left, strict=True)]
        found = _solved(station, caps, shareable(station, shapes), most, work.film_s)
        if found is None:
            found = _solved(station, left, shareable(station, shapes), min(1, most), work.film_s)
        if found is None:
            raise UsageError(f"plan: no device is left for {' and '.join(station.models)}; add devices")
        counts.append(found)
        used = [0] * len(left)
        for k, n in found.items():
            used[station.options[k].pool] += n * station.options[k].devices
        left = [free - n for free, n in zip(left, used, strict=True)]
        for pool, n in enumerate(used):
            spare = shares[i][pool] - n
            for place in range(after if spare > 0 else 0):
                shares[i + 1 + place][pool] += spare // after + (place < spare % after)
    goal = objective or Objective()
    return made_plan(asked, candidate, asked.pipeline(candidate, goal), counts, goal)


def _shares(weights: list[int], devices: list[int]) -> list[list[int]]:
    """Devices of each model by pool."""
    found = [[0] * len(devices) for _ in weights]
    for pool, total in enumerate(devices):
        dealt = 0
        for i, weight in enumerate(weights):
            share = max(1, total * weight // sum(weights)) if total > dealt else 0
            found[i][pool] = share
            dealt += share
        for n in range(max(0, total - dealt)):
            found[n % len(weights)][pool] += 1
    return found


def _solved(station: Station, caps: list[int], many: bool, most: int, film_s: float) -> Counts | None:
    """The best replicas of a stage alone, within devices by pool and `most` in all; None where none fits."""
    usable = [k for k, o in enumerate(station.options) if o.devices <= min(caps[o.pool], most)]
    best: tuple[float, int] | None = None
    found: Counts | None = None
    for first_s in sorted({sum(station.options[k].first_s) for k in usable}):
        if best is not None and first_s >= best[0]:
            break
        fast = [k for k in usable if sum(station.options[k].first_s) <= first_s]
        if many and station.units > 1:
            counts = _fastest(station, usable, fast, caps, most)
        else:
            counts = {min(fast, key=lambda k: (station.options[k].work_s, station.options[k].devices)): 1}
        devices = sum(n * station.options[k].devices for k, n in counts.items())
        each = max(first_s, stage_s(station, counts) - film_s), devices
        if best is None or each < best:
            best, found = each, counts
    return found


def _fastest(station: Station, usable: list[int], fast: list[int], caps: list[int], most: int) -> Counts:
    """Replicas of the greatest rate, one of them of `fast`."""
    import highspy

    h: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in (
        ("output_flag", False), ("threads", 1), ("random_seed", 1), ("mip_max_nodes", _NODES),
        ("mip_rel_gap", 1e-6),
    ):  # fmt: skip
        h.setOptionValue(name, value)
    options = station.options
    rates = [1 / unit_s(options[k], station) for k in usable]
    for k in usable:
        h.addVar(0, min(MOST, caps[options[k].pool] // options[k].devices))
    for column, rate in enumerate(rates):
        h.changeColIntegrality(column, highspy.HighsVarType.kInteger)
        h.changeColCost(column, -rate / max(rates))

    def row(low: float, high: float, entries: dict[int, float]) -> None:
        h.addRow(low, high, len(entries), np.array(list(entries)), np.array(list(entries.values())))

    inf = highspy.kHighsInf
    for pool, cap in enumerate(caps):
        of_pool = [c for c, k in enumerate(usable) if options[k].pool == pool]
        if of_pool:
            row(-inf, cap, {c: float(options[usable[c]].devices) for c in of_pool})
            row(-inf, MOST, dict.fromkeys(of_pool, 1.0))
    row(-inf, most, {c: float(options[k].devices) for c, k in enumerate(usable)})
    row(1, inf, {c: 1.0 for c, k in enumerate(usable) if k in fast})
    h.run()
    if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise UsageError(
            f"plan: the program of {' and '.join(station.names)} was not solved in {_NODES} nodes"
        )
    values = h.getSolution().col_value
    return {k: round(values[c]) for c, k in enumerate(usable) if round(values[c]) > 0}
