"""HexGen: genetic search over placement, replicas and parallelism (StreamWise section 5.2).

HexGen seeks, for one LLM on mixed GPUs, groups of GPUs and their parallelism by a genetic algorithm whose
steps merge, split and exchange groups. StreamWise ports it by treating every model of the workflow as such a
unit and keeping its aim, throughput, not how long the film takes on its way through all models. So here the
fittest plan is the one whose slowest model is fastest, in steps of 10 %; of equal ones the one whose first
units take least, then the one with the shorter sum of stages. Price and the upscaler play no part.

The artifact's port is no genetic search: it improves one model after the other while playback starts sooner.
It stops early, so plans here are as good as the published ones or better (docs/baselines.md).

Population, generations and the seed are fixed, so a plan depends on its question alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.model import Counts
from hpcwise.core.provisioner.provision import Candidate, made_plan
from hpcwise.core.provisioner.types import Objective, Plan, Pool, Work
from hpcwise.evaluation.baselines.maxima import stage_s
from hpcwise.evaluation.baselines.ways import shareable
from hpcwise.evaluation.run import Context, PriceList

POPULATION: Final = 24
GENERATIONS: Final = 120
#: Of each generation, those that go on unchanged.
KEPT: Final = 4
#: Throughputs closer than this are as good as one another.
STEP: Final = 1.1

Genome = list[Counts]
Fitness = tuple[int, float, float]


def plan(
    context: Context,
    work: Work,
    pools: Sequence[Pool],
    objective: Objective | None = None,
    *,
    prices: PriceList = "paper",
) -> Plan:
    """The fittest plan of the work's first variant. objective: only what the plan is reported against.
    Raises UsageError where there are fewer devices than models."""
    asked = context.problem(work, pools, prices=prices)
    candidate = asked.candidates[0]
    caps = [pool.devices for pool in asked.pools]
    found = Search(candidate, caps, Random(context.seed)).run()
    goal = objective or Objective()
    return made_plan(asked, candidate, asked.pipeline(candidate, goal), found, goal)


class Search:
    """One genetic search. caps: devices by pool."""

    def __init__(self, candidate: Candidate, caps: list[int], random: Random) -> None:
        self.stations, self.caps, self.random = candidate.stations, caps, random
        self.many = [shareable(station, candidate.variant.stages) for station in self.stations]
        self.by_size = [{(o.pool, o.devices): k for k, o in enumerate(s.options)} for s in self.stations]
        self.known: dict[tuple[int, tuple[tuple[int, int], ...]], tuple[float, float]] = {}

    def run(self) -> Genome:
        """The fittest after all generations. Raises UsageError where no plan fits."""
        herd = [self.filled(self.smallest()) for _ in range(POPULATION)]
        for _ in range(GENERATIONS):
            herd.sort(key=self.fitness, reverse=True)
            young: list[Genome] = []
            while len(young) < POPULATION - KEPT:
                mother, father = (min(self.random.sample(range(len(herd)), 3)) for _ in range(2))
                child = self.crossed(herd[mother], herd[father])
                for _ in range(self.random.randint(1, 3)):
                    self.mutate(child)
                young.append(self.filled(child))
            herd = herd[:KEPT] + young
        return max(herd, key=self.fitness)

    # --- fitness ------------------------------------------------------------------------------------------

    def fitness(self, genome: Genome) -> Fitness:
        """Higher is fitter: steps of the slowest model's throughput, first units, all stages."""
        each = [self._of(i, counts) for i, counts in enumerate(genome)]
        slowest_s = max(e[1] for e in each)
        step = round(math.log(slowest_s) / math.log(STEP))
        return -step, -sum(e[0] for e in each), -sum(e[1] for e in each)

    def _of(self, i: int, counts: Counts) -> tuple[float, float]:
        """Seconds of a stage's first unit and of all."""
        key = (i, tuple(sorted(counts.items())))
        if key not in self.known:
            station = self.stations[i]
            first_s = min(sum(station.options[k].first_s) for k in counts)
            self.known[key] = (first_s, stage_s(station, counts))
        return self.known[key]

    # --- genomes ------------------------------------------------------------------------------------------

    def free(self, genome: Genome) -> list[int]:
        left = list(self.caps)
        for station, counts in zip(self.stations, genome, strict=True):
            for k, n in counts.items():
                left[station.options[k].pool] -= n * station.options[k].devices
        return left

    def smallest(self) -> Genome:
        """One smallest replica of each model, anywhere."""
        left = list(self.caps)
        genome: Genome = []
        for station in self.stations:
            fits = [k for k, o in enumerate(station.options) if o.devices <= left[o.pool]]
            if not fits:
                raise UsageError(
                    f"plan: {sum(self.caps)} devices are too few for {len(self.stations)} models; add devices"
                )
            least = min(station.options[k].devices for k in fits)
            k = self.random.choice([k for k in fits if station.options[k].devices == least])
            genome.append({k: 1})
            left[station.options[k].pool] -= least
        return genome

    def filled(self, genome: Genome) -> Genome:
        """What is free dealt out at random: more replicas, or a larger one where only one can work."""
        left = self.free(genome)
        order = list(range(len(genome)))
        self.random.shuffle(order)
        for turn in range(2 * len(order)):
            i = order[turn % len(order)]
            share = 1.0 if turn >= len(order) else self.random.random()
            station = self.stations[i]
            options = list(enumerate(station.options))
            self.random.shuffle(options)
            for k, o in options:
                room = int(left[o.pool] * share) // o.devices
                n = min(room, station.units - sum(genome[i].values())) if self.many[i] else 0
                if n > 0:
                    genome[i][k] = genome[i].get(k, 0) + n
                    left[o.pool] -= n * o.devices
            if not self.many[i] and self.random.random() < share / 2:
                left = self._grown(genome, i, left)
        return genome

    def _grown(self, genome: Genome, i: int, left: list[int]) -> list[int]:
        """The only replica of a model as one of the next larger size in its pool, if there is room."""
        options = self.stations[i].options
        [k] = genome[i]
        now = options[k]
        larger = sorted(
            (o.devices, j) for j, o in enumerate(options) if o.pool == now.pool and o.devices > now.devices
        )
        if larger and larger[0][0] - now.devices <= left[now.pool]:
            left[now.pool] -= larger[0][0] - now.devices
            genome[i] = {larger[0][1]: 1}
        return left

    def crossed(self, mother: Genome, father: Genome) -> Genome:
        """Each model from one of the two, then so much taken away that it fits."""
        child = [dict(self.random.choice(pair)) for pair in zip(mother, father, strict=True)]
        for _ in range(sum(self.caps)):
            left = self.free(child)
            short = [pool for pool, n in enumerate(left) if n < 0]
            if not short:
                return child
            losers = [
                (i, k)
                for i, counts in enumerate(child)
                for k in counts
                if self.stations[i].options[k].pool in short and sum(counts.values()) > 1
            ]
            if not losers:
                break
            i, k = self.random.choice(losers)
            need = -left[self.stations[i].options[k].pool]
            n = min(child[i][k], max(1, need // self.stations[i].options[k].devices))
            _less(child[i], k, min(n, sum(child[i].values()) - 1))
        return [dict(counts) for counts in mother]

    def mutate(self, genome: Genome) -> None:
        """Merge two replicas, split one, or take replicas away, whose devices go to others."""
        i = self.random.randrange(len(genome))
        options, counts = self.stations[i].options, genome[i]
        k = self.random.choice(list(counts))
        o, step = options[k], self.random.choice(("merge", "split", "less"))
        if step == "merge" and counts[k] > 1 and (into := self._other(i, o.pool, 2 * o.devices)) is not None:
            pairs = self.random.randint(1, counts[k] // 2)
            _less(counts, k, 2 * pairs)
            counts[into] = counts.get(into, 0) + pairs
        elif step == "split" and o.devices > 1:
            into = self._other(i, o.pool, o.devices // 2)
            if into is not None:
                n = self.random.randint(1, counts[k])
                _less(counts, k, n)
                counts[into] = counts.get(into, 0) + (2 * n if self.many[i] else n)
        elif sum(counts.values()) > 1:
            _less(counts, k, self.random.randint(1, min(counts[k], sum(counts.values()) - 1)))

    def _other(self, i: int, pool: int, devices: int) -> int | None:
        return self.by_size[i].get((pool, devices))


def _less(counts: Counts, k: int, n: int) -> None:
    counts[k] -= n
    if counts[k] <= 0:
        del counts[k]
