"""Naive static partitioning: StreamWise's own baseline (section 5, methodology; its artifact's allocator).

GPUs are dealt to the models by their greatest parallelism (the paper: "based on their maximum effective
parallelism"): each model gets one device, lip sync four, and what is left is dealt out in proportion to the
limits below. Language and image models become one replica as large as that allows; video models get single
devices, and what is left over: the artifact's code deals it in turn, its published curves look like all for
the sync model, so here it is whichever makes the film sooner. Then replicas become as large as leaves no
device over, no more of them than there are scenes (sketch) or segments (sync). A second kind of GPU holds
video models only, dealt out by itself. Models without a limit stay on one device, the upscaler among them.

Nothing is sought: price, TTFF and budget play no part. The baseline of the paper is drawn at the film's size
(no upscaler), DiT and VAE in one replica, on reserved A100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.model import Counts
from hpcwise.core.provisioner.options import Station
from hpcwise.core.provisioner.provision import Candidate, made_plan
from hpcwise.core.provisioner.types import Objective, Plan, Pool, Work
from hpcwise.evaluation.baselines.maxima import stage_s
from hpcwise.evaluation.baselines.ways import shareable
from hpcwise.evaluation.run import Context, PriceList

#: Devices that a model can use at most, as the artifact says; by stage of the film.
LIMITS: Final[Mapping[str, int]] = {
    "screenplay": 8, "image": 16, "sketch": 40, "decode": 1, "denoise": 40, "sync": 40,
}  # fmt: skip
#: The lip-sync model is the heaviest; it gets this many to begin with.
SYNC_FIRST: Final = 4


def plan(
    context: Context,
    work: Work,
    pools: Sequence[Pool],
    objective: Objective | None = None,
    *,
    prices: PriceList = "paper",
) -> Plan:
    """The partition of the work's first variant. objective: only what the plan is reported against.
    Raises UsageError where there are fewer devices than models."""
    asked = context.problem(work, pools, prices=prices)
    candidate = asked.candidates[0]
    counts = min(
        (_all_dealt(candidate, [pool.devices for pool in asked.pools], in_turn) for in_turn in (True, False)),
        key=lambda each: sum(map(stage_s, candidate.stations, each)),
    )
    goal = objective or Objective()
    return made_plan(asked, candidate, asked.pipeline(candidate, goal), counts, goal)


def _all_dealt(candidate: Candidate, devices: list[int], in_turn: bool) -> list[Counts]:
    """Each pool dealt out. in_turn: what is left over goes to all video models, else to the heaviest."""
    counts: list[Counts] = [{} for _ in candidate.stations]
    for place, n in enumerate(devices):
        alone = [
            i for i, station in enumerate(candidate.stations)
            if place == 0 or shareable(station, candidate.variant.stages)
        ]  # fmt: skip
        for i, each in _dealt(candidate, alone, place, n, in_turn).items():
            counts[i] |= each
    return counts


def _dealt(
    candidate: Candidate, stations: list[int], place: int, devices: int, in_turn: bool
) -> dict[int, Counts]:
    """One pool dealt out to some stations."""
    shapes = candidate.variant.stages
    name = {i: candidate.stations[i].names[-1] for i in stations}
    many = {i: shareable(candidate.stations[i], shapes) for i in stations}
    if devices < len(stations):
        raise UsageError(
            f"plan: {devices} devices of one kind are too few for {len(stations)} models; add devices"
        )
    quota = dict.fromkeys(stations, 1)
    heavy = [i for i in stations if name[i] == "denoise"] or [i for i in stations if name[i] == "sync"]
    for i in heavy[:1]:
        quota[i] = max(1, min(SYNC_FIRST, devices - len(stations) + 1))
    spare = devices - sum(quota.values())
    limits = {i: _limit(name[i], heavy, i) for i in stations}
    total = sum(limits.values())
    for i in stations:
        share = min(int(spare * limits[i] / total), limits[i]) if total else 0
        if many[i]:
            quota[i] += share
        elif limits[i]:
            quota[i] = max(n for n in _sizes(candidate.stations[i], place) if n <= 1 + share)
    left = devices - sum(quota.values())
    sharers = sorted((i for i in stations if many[i] and limits[i]), key=lambda i: -quota[i])
    if not in_turn and heavy:
        sharers = heavy[:1]
    for n in range(left if sharers else 0):
        quota[sharers[n % len(sharers)]] += 1
    found: dict[int, Counts] = {}
    scenes = max((shape.units for shape in shapes if shape.serial), default=0)
    for i in stations:
        station = candidate.stations[i]
        most = station.units if name[i] != "sketch" or not scenes else scenes
        size, n = (quota[i], 1) if not many[i] else _split(quota[i], _sizes(station, place), most)
        [k] = [k for k, o in enumerate(station.options) if o.pool == place and o.devices == size]
        found[i] = {k: n}
    return found


def _limit(stage: str, heavy: list[int], i: int) -> int:
    """Of a stage; where the sync model is split its VAE counts as the sketch's does."""
    if stage == "sync" and heavy and i not in heavy:
        return LIMITS["decode"]
    return LIMITS.get(stage, 0)


def _sizes(station: Station, place: int) -> list[int]:
    found = sorted(o.devices for o in station.options if o.pool == place)
    if not found:
        raise UsageError(f"plan: {' and '.join(station.models)} fit none of the first pool; give another")
    return found


def _split(quota: int, sizes: list[int], most: int) -> tuple[int, int]:
    """Size and number of replicas that use the most of a quota, the smallest such size."""
    size, n = max(
        ((size, min(most, quota // size)) for size in sizes if size <= quota),
        key=lambda each: (each[0] * each[1], -each[0]),
    )
    return size, n
