"""The site of scripts/bench/contract: its partitions as a cluster file would have them, months of load, and
nights on which films are asked for. Training and test come of different months."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist
from typing import Final, Literal

import msgspec

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.cluster import Cluster, Pool
from hpcwise.core.contract import Offer, Terms
from hpcwise.core.contractoffers import choices, offers_of, site_catalogue, terms_of
from hpcwise.core.provisioner.shapes import work_of_job
from hpcwise.core.provisioner.types import Work
from hpcwise.core.queuewait import WaitModel, learn
from hpcwise.core.spec import JobSpec
from hpcwise.core.units import HOUR_S
from hpcwise.head.planning import read_planning
from hpcwise.sim.draws import Draws
from hpcwise.sim.lublin import LoadJob, month
from hpcwise.sim.sitequeue import Partition, SiteQueue

ROOT: Final = Path(__file__).resolve().parents[2]
DAY_S: Final = 86400.0
#: Days before the first night, in which the queues fill up from nothing.
WARM_DAYS: Final = 3
DAYS: Final = 30
#: Error of the profiles: the spread that films show in simulated nights, and what the contract assumes.
SIGMA: Final = 0.1
#: Partition -> its nodes, the load that others offer as a share of them, longest walltime in seconds.
LOAD: Final = {
    "a100": (64, 0.65, 12 * HOUR_S),
    "h200": (32, 0.6, 12 * HOUR_S),
    "spot": (64, 0.05, 4 * HOUR_S),
}
PARTITIONS: Final = (
    Partition(name="a100", nodes=64),
    Partition(name="h200", nodes=32),
    Partition(name="spot", nodes=64, under="a100"),
)
#: Lengths of the films that are asked for.
FILMS_S: Final = (1200.0, 1800.0, 2700.0)
#: Sizes of our jobs.
NODES: Final = (2, 4)


def _pool(name: str, hardware: str, preempts: Literal["off", "requeue"] = "off") -> Pool:
    nodes, _, longest_s = LOAD[name]
    return Pool(
        pool=name, partition=name, nodes=nodes, cpus_per_node=64, memory_gb_per_node=1000, hardware=hardware,
        gpu=hardware, gpus_per_node=8, max_min=round(longest_s / 60), preempts=preempts,
    )  # fmt: skip


CLUSTER: Final = Cluster(
    cluster="bench",
    slurm="simulated",
    pools=(_pool("a100", "a100"), _pool("h200", "h200"), _pool("spot", "a100", "requeue")),
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A film that somebody asks for. at_s: on the month's clock; by_s: 08:00 after it; error: how much
    longer than its profiles it takes."""

    month: int
    at_s: float
    by_s: float
    film: int
    error: float


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned from training months."""

    waits: WaitModel
    evictions_per_h: float
    utilisation: float


def load_of(seed: int) -> list[LoadJob]:
    return month(seed, WARM_DAYS + DAYS + 3, LOAD)


def films() -> tuple[tuple[Work, Catalogue], ...]:
    """The works of the films, each with the catalogue in which the pools are hardware."""
    catalogue = read_planning(ROOT / "configs", "streamwise")
    made = []
    for film_s in FILMS_S:
        job = JobSpec(
            workflow="streamwise-podcast", name=f"podcast of {film_s / 60:g} min", duration_s=film_s,
            width=1280, height=800, fps=23, ladder=("high",), fixed_ladder=True,
        )  # fmt: skip
        work = work_of_job(job)
        made.append((work, site_catalogue(CLUSTER, catalogue, work)))
    return tuple(made)


def shapes(film: tuple[Work, Catalogue], past: Past) -> tuple[tuple[Offer, ...], ...]:
    """The sets of offers that a contract on this film chooses from."""
    work, catalogue = film
    found = offers_of(CLUSTER, work, catalogue, past.waits, evictions_per_h=past.evictions_per_h, sigma=SIGMA)
    # Sets of equal sizes; mixed ones come after them.
    return choices([offer for offer in found if offer.nodes in NODES])[: len(NODES)]


def terms(offers: tuple[Offer, ...], past: Past, level: float, site: SiteQueue) -> Terms:
    """Terms on this moment of the site, with what it would say of each offer's start."""
    now = tuple(
        msgspec.structs.replace(o, start_s=site.start_estimate_s(o.partition, o.nodes, o.walltime_s))
        for o in offers
    )
    return terms_of(now, past.waits, level, SIGMA, 0.0)


def asked(month_seed: int, n: int, seed: int) -> list[Asked]:
    """`n` films over the month's nights, between 17:00 and 24:00, by time.

    Hours, films and errors are drawn in strata, one film of the month in each: a month's mean error is that
    of many months, so that a few hundred nights tell what thousands of independent draws would.
    """
    draws = Draws(seed)
    hours, lengths, errors = (_strata(draws, name, month_seed, n) for name in ("hour", "film", "error"))
    found = []
    for i in range(n):
        day = WARM_DAYS + (i * DAYS) // n
        at_s = day * DAY_S + (17 + 7 * hours[i]) * HOUR_S
        found.append(
            Asked(
                month=month_seed,
                at_s=at_s,
                by_s=(math.floor(at_s / DAY_S) + 1) * DAY_S + 8 * HOUR_S,
                film=int(lengths[i] * len(FILMS_S)),
                error=math.exp(SIGMA * NormalDist().inv_cdf(errors[i])),
            )
        )
    return sorted(found, key=lambda each: each.at_s)


def _strata(draws: Draws, name: str, month_seed: int, n: int) -> list[float]:
    """`n` numbers from 0 to 1, one in each n-th, in random order."""
    order = sorted(range(n), key=lambda i: draws.uniform(f"{name}, order", month_seed, i))
    return [(order[i] + draws.uniform(name, month_seed, i)) / n for i in range(n)]


def past_of(months: list[int]) -> Past:
    """What accounting would tell of these months: waits, and how often preemptible jobs were evicted."""
    samples, evicted, ran_h, busy, looks = [], 0, 0.0, 0.0, 0
    for seed in months:
        site = SiteQueue(PARTITIONS, load_of(seed))
        site.run_until(WARM_DAYS * DAY_S)
        site.samples.clear()
        for hour in range(DAYS * 24):
            site.run_until(WARM_DAYS * DAY_S + (hour + 1) * HOUR_S)
            busy += site.utilisation()
            looks += 1
        samples += site.samples
        evicted += site.evicted
        ran_h += site.preemptible_h
    return Past(
        waits=learn(samples, "simulated accounting"),
        evictions_per_h=evicted / ran_h if ran_h else 0.0,
        utilisation=busy / looks,
    )
