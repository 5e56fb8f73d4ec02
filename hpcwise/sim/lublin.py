"""A month of jobs as supercomputers see them, after Lublin and Feitelson, "The workload on parallel
supercomputers: modeling the characteristics of rigid jobs", J. Parallel Distrib. Comput. 63(11), 2003.

The model and its numbers (for jobs of no stated type) are theirs: sizes by a two-stage uniform law on log2 of
the nodes, many of them powers of two; the logarithm of run times hyper-gamma with a mix that depends on the
size; the logarithm of the time between arrivals gamma, slowed and quickened by the half-hour of the day.
What the paper leaves open is ours: requested walltimes (users choose from few round values, far above what
they need: Tsafrir, Etsion and Feitelson, JSSPP 2005) and the share of jobs that go to each partition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

_SERIAL, _POW2 = 0.244, 0.576
_U_LOW, _U_MED_BELOW_HI, _U_PROB = 0.8, 2.5, 0.86
_A1, _B1, _A2, _B2, _PA, _PB = 4.2, 0.94, 312.0, 0.03, -0.0054, 0.78
_A_ARRIVE, _B_ARRIVE, _RUSH_TO_ALL = 10.2303, 0.4871, 1.0225
_A_DAY, _B_DAY = 8.1737, 3.9631
_MOST_LOG_RUN, _MOST_LOG_ARRIVE = 12.0, 13.0
_BUCKETS, _DAY_BEGINS = 48, 11
_BUCKET_S: Final = 1800.0
#: Draws from which the law's means are taken; its tails are long.
_LAW: Final = 200_000
#: Walltimes that are asked for, in minutes.
WALLTIMES_MIN: Final = (10, 30, 60, 120, 240, 480, 720, 1440, 2880)


class LoadJob(msgspec.Struct, frozen=True):
    """A job of somebody else. Seconds; submit_s counts from midnight of the first day."""

    ident: int
    submit_s: float
    nodes: int
    run_s: float
    walltime_s: float
    partition: str


def month(
    seed: int, days: float, shares: Mapping[str, tuple[int, float, float]], first: int = 1
) -> list[LoadJob]:
    """Jobs of `days` days by submission. shares: partition -> (its nodes, load offered as a share of them,
    longest walltime in seconds).

    Each partition gets an independent stream whose arrivals are stretched so that it offers that load.
    """
    found: list[LoadJob] = []
    for number, (name, (nodes, load, longest_s)) in enumerate(sorted(shares.items())):
        rng = np.random.default_rng([seed, number])
        found += _stream(rng, name, nodes, load, longest_s, days)
    found.sort(key=lambda job: (job.submit_s, job.partition))
    return [msgspec.structs.replace(job, ident=first + i) for i, job in enumerate(found)]


def _stream(
    rng: np.random.Generator, partition: str, nodes: int, load: float, longest_s: float, days: float
) -> list[LoadJob]:
    # The stretch is taken from the law, not from the jobs that come of it: months differ in load, as they do.
    law = np.random.default_rng(2003)
    sizes, runs = _sizes_and_runs(law, _LAW, nodes, longest_s)
    gaps = _gaps(law, _LAW)
    stretch = float(np.mean(sizes * runs)) / (load * nodes) / float(np.mean(gaps))
    weights = _day()
    jobs: list[LoadJob] = []
    at = 0.0
    end = days * 86400.0
    while True:
        sizes, runs = _sizes_and_runs(rng, 1000, nodes, longest_s)
        gaps = _gaps(rng, 1000) * stretch
        factors = np.exp(rng.exponential(1.0, 1000))
        for size, run_s, gap, factor in zip(sizes, runs, gaps, factors, strict=True):
            at += float(gap)
            when = _wall(at, weights)
            if when >= end:
                return jobs
            asked = min(longest_s, _round_walltime(float(run_s * factor)))
            jobs.append(LoadJob(0, when, int(size), min(float(run_s), asked), asked, partition))


def _sizes_and_runs(
    rng: np.random.Generator, n: int, nodes: int, longest_s: float
) -> tuple[np.ndarray, np.ndarray]:
    # No job may have more than half of a partition, as a limit of the site's.
    largest = max(1, nodes // 2)
    high = max(1.0, math.log2(largest))
    middle = max(_U_LOW, high - _U_MED_BELOW_HI)
    u = rng.random(n)
    log2 = np.where(rng.random(n) <= _U_PROB, rng.uniform(_U_LOW, middle, n), rng.uniform(middle, high, n))
    log2 = np.where(u <= _SERIAL + _POW2, np.floor(log2 + 0.5), log2)
    sizes = np.where(u <= _SERIAL, 1.0, np.floor(2.0**log2 + 0.5)).clip(1, largest)
    p = (_PA * sizes + _PB).clip(0, 1)
    short = rng.random(n) <= p
    log_run = np.where(short, rng.gamma(_A1, _B1, n), rng.gamma(_A2, _B2, n))
    return sizes, np.exp(log_run.clip(0, _MOST_LOG_RUN)).clip(1, longest_s)


def _gaps(rng: np.random.Generator, n: int) -> np.ndarray:
    logs = rng.gamma(_A_ARRIVE * _RUSH_TO_ALL, _B_ARRIVE, n)
    gaps: np.ndarray = np.exp(logs.clip(0, _MOST_LOG_ARRIVE))
    return gaps


def _day() -> np.ndarray:
    """How much busier than the mean each half-hour is, from midnight on."""
    edges = np.arange(_DAY_BEGINS, _BUCKETS + _DAY_BEGINS + 1) - 0.5
    # The gamma law's distribution function, summed finely: no special functions are needed for 48 numbers.
    grid = np.linspace(1e-6, edges[-1], 20_000)
    density = np.exp((_A_DAY - 1) * np.log(grid) - grid / _B_DAY)
    total = np.cumsum(density)
    share = np.diff(np.interp(edges, grid, total))
    weights = np.empty(_BUCKETS)
    weights[(np.arange(_DAY_BEGINS, _BUCKETS + _DAY_BEGINS) - 1) % _BUCKETS] = share
    made: np.ndarray = weights / weights.mean()
    return made


def _wall(at_s: float, weights: np.ndarray) -> float:
    """Time of the clock at which so many seconds of mean activity have passed since midnight of day 0."""
    day, rest = divmod(at_s, 86400.0)
    passed = np.concatenate(([0.0], np.cumsum(weights))) * _BUCKET_S
    return day * 86400.0 + float(np.interp(rest, passed, np.arange(_BUCKETS + 1) * _BUCKET_S))


def _round_walltime(seconds: float) -> float:
    return next((m * 60.0 for m in WALLTIMES_MIN if seconds <= m * 60), WALLTIMES_MIN[-1] * 60.0)
