"""A site's queues in simulated time: partitions with EASY backfill (Lifka, JSSPP 1995), and a preemptible
one that uses what they leave idle. Whole nodes are counted, not named.

    site = SiteQueue(partitions, load)
    site.run_until(t)                     # everybody else's jobs
    twin = site.copy()                    # the same moment again, for another night
    ours = twin.submit("spot", nodes=2, walltime_s=7200)
    twin.run_until(t + 600, watch={ours}) # stops early at the first thing that happens to one of ours

A job of a preemptible partition runs on nodes of its `under` partition and gives way, the youngest first, as
soon as a job of that one needs them; Slurm's preempt/partition_prio with REQUEUE or CANCEL does so.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from hpcwise.core.queuewait import WaitSample
from hpcwise.core.units import HOUR_S
from hpcwise.sim.lublin import LoadJob

#: How far down the queue backfill looks, as bf_max_job_test does.
_DEPTH: Final = 100
_ARRIVE, _END = 0, 1


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """under: of a preemptible one, the partition whose nodes it uses; empty for one of its own nodes."""

    name: str
    nodes: int
    under: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """What became of one of ours."""

    at_s: float
    ident: int
    what: str  # started, ended, preempted


@dataclass(frozen=True, slots=True)
class _Job:
    ident: int
    partition: str
    nodes: int
    run_s: float
    walltime_s: float
    submit_s: float
    again: bool = False


class SiteQueue:
    """The state at `now_s`. samples: waits of others' jobs that started so far. evicted, preemptible_h: of
    their preemptible jobs, how often they gave way and how long they ran."""

    def __init__(self, partitions: Sequence[Partition], load: Sequence[LoadJob]) -> None:
        self.partitions = {p.name: p for p in partitions}
        self.now_s = 0.0
        self.samples: list[WaitSample] = []
        self.evicted = 0
        self.preemptible_h = 0.0
        self._load = load
        self._next = 0
        self._queues: dict[str, list[_Job]] = {p.name: [] for p in partitions}
        #: ident -> (job, start, until when it may run at most)
        self._running: dict[str, dict[int, tuple[_Job, float, float]]] = {p.name: {} for p in partitions}
        self._used: dict[str, int] = {p.name: 0 for p in partitions}
        self._ends: list[tuple[float, int, str]] = []
        self._ours = -1
        self._happened: list[Happened] = []

    def copy(self) -> SiteQueue:
        """An independent twin; the load is shared, nobody changes it."""
        twin = SiteQueue(tuple(self.partitions.values()), self._load)
        twin.now_s, twin._next, twin._ours = self.now_s, self._next, self._ours
        twin._queues = {name: list(queue) for name, queue in self._queues.items()}
        twin._running = {name: dict(rows) for name, rows in self._running.items()}
        twin._used = dict(self._used)
        twin._ends = list(self._ends)
        return twin

    def submit(self, partition: str, nodes: int, walltime_s: float) -> int:
        """One of ours; it runs until it is cancelled, preempted or at its walltime. Its id is negative."""
        ident = self._ours
        self._ours -= 1
        self._queues[partition].append(_Job(ident, partition, nodes, walltime_s, walltime_s, self.now_s))
        self._schedule()
        return ident

    def cancel(self, ident: int) -> None:
        """Take one of ours away, queued or running."""
        for name, queue in self._queues.items():
            self._queues[name] = [job for job in queue if job.ident != ident]
            if ident in self._running[name]:
                self._stop(name, ident)
        self._schedule()

    def happened(self) -> list[Happened]:
        """What became of ours since the last call."""
        found, self._happened = self._happened, []
        return found

    def run_until(self, end_s: float, watch: Set[int] = frozenset()) -> float:
        """Advance to `end_s`, or to the first thing that happens to a job of `watch`; returns the time."""
        while True:
            if any(each.ident in watch for each in self._happened):
                return self.now_s
            arrival = self._load[self._next].submit_s if self._next < len(self._load) else float("inf")
            ending = self._ends[0][0] if self._ends else float("inf")
            at = min(arrival, ending)
            if at > end_s:
                self.now_s = max(self.now_s, end_s)
                return self.now_s
            self.now_s = at
            if ending <= arrival:
                _, ident, name = heapq.heappop(self._ends)
                row = self._running[name].get(ident)
                if row is None or row[1] + row[0].run_s > at + 1e-6:
                    continue  # of an earlier life: it was preempted or cancelled
                self._stop(name, ident)
                if ident < 0:
                    self._happened.append(Happened(at, ident, "ended"))
            else:
                job = self._load[self._next]
                self._next += 1
                queued = _Job(job.ident, job.partition, job.nodes, job.run_s, job.walltime_s, at)
                self._queues[job.partition].append(queued)
            self._schedule()

    def start_estimate_s(self, partition: str, nodes: int, walltime_s: float) -> float:
        """Seconds until such a job would start if all ran to their walltimes and nobody came: what
        `sbatch --test-only` says. A preemptible partition is asked as it stands."""
        free, ends = self._profile(partition)
        queue = self._queues[partition]
        if self._fits_now(partition, nodes, walltime_s):
            return 0.0
        at = self.now_s
        for job in [*queue, _Job(0, partition, nodes, walltime_s, walltime_s, at)]:
            while free < job.nodes and ends:
                until, freed = heapq.heappop(ends)
                at = max(at, until)
                free += freed
            free -= job.nodes
            heapq.heappush(ends, (at + job.walltime_s, job.nodes))
        return at - self.now_s

    def utilisation(self) -> float:
        """Share of the nodes that are in use now."""
        own = sum(p.nodes for p in self.partitions.values() if not p.under)
        return sum(self._used.values()) / own

    # --- inside -----------------------------------------------------------------------------------------

    def _profile(self, partition: str) -> tuple[int, list[tuple[float, int]]]:
        here = self.partitions[partition]
        names: Iterable[str] = (here.under, partition) if here.under else (partition,)
        ends = [(until, job.nodes) for name in names for job, _, until in self._running[name].values()]
        heapq.heapify(ends)
        return self._free(partition), ends

    def _free(self, partition: str) -> int:
        here = self.partitions[partition]
        if here.under:
            return self.partitions[here.under].nodes - self._used[here.under] - self._used[partition]
        return here.nodes - self._used[partition]

    def _fits_now(self, partition: str, nodes: int, walltime_s: float) -> bool:
        free = self._free(partition)
        if nodes > free:
            return False
        queue = self._queues[partition]
        if not queue:
            return True
        if self.partitions[partition].under:
            return False
        shadow_s, extra = self._shadow(partition, queue[0], free)
        return self.now_s + walltime_s <= shadow_s or nodes <= extra

    def _shadow(self, partition: str, head: _Job, free: int) -> tuple[float, int]:
        """When the first in the queue can start at the latest, and how many nodes are to spare then."""
        there = free
        rows = sorted((until, job.nodes) for job, _, until in self._running[partition].values())
        for until, nodes in rows:
            there += nodes
            if there >= head.nodes:
                return until, there - head.nodes
        return float("inf"), 0

    def _schedule(self) -> None:
        for name, here in self.partitions.items():
            if not here.under and self._queues[name]:
                self._easy(name)
        for name, here in self.partitions.items():
            if here.under and self._queues[name]:
                self._first_fit(name)

    def _easy(self, name: str) -> None:
        queue = self._queues[name]
        while queue and queue[0].nodes <= self._free(name):
            self._start(name, queue.pop(0))
        if not queue:
            return
        free = self._free(name)
        if free <= 0:
            return
        shadow_s, extra = self._shadow(name, queue[0], free)
        kept = [queue[0]]
        for i, job in enumerate(queue[1:], 1):
            if free <= 0 or i > _DEPTH:
                kept += queue[i:]
                break
            in_time = self.now_s + job.walltime_s <= shadow_s
            if job.nodes <= free and (in_time or job.nodes <= extra):
                self._start(name, job)
                free -= job.nodes
                if not in_time:
                    extra -= job.nodes
            else:
                kept.append(job)
        self._queues[name] = kept

    def _first_fit(self, name: str) -> None:
        kept = []
        for job in self._queues[name]:
            if job.nodes <= self._free(name):
                self._start(name, job)
            else:
                kept.append(job)
        self._queues[name] = kept

    def _start(self, name: str, job: _Job) -> None:
        # Those who must give way leave first.
        for other, here in self.partitions.items():
            if here.under == name:
                self._evict(other, job.nodes)
        self._running[name][job.ident] = (job, self.now_s, self.now_s + job.walltime_s)
        self._used[name] += job.nodes
        heapq.heappush(self._ends, (self.now_s + job.run_s, job.ident, name))
        if job.ident < 0:
            self._happened.append(Happened(self.now_s, job.ident, "started"))
            return
        if job.again:
            return  # accounting keeps the first wait of a job that was queued again
        hour = int(job.submit_s / 3600) % 24
        self.samples.append(
            WaitSample(
                partition=name, nodes=job.nodes, walltime_s=job.walltime_s, hour=hour,
                wait_s=self.now_s - job.submit_s, submit_s=job.submit_s,
            )
        )  # fmt: skip

    def _evict(self, name: str, nodes: int) -> None:
        """Youngest first, until that many nodes are free under it; what is not ours is queued again."""
        rows = self._running[name]
        while rows and self._free(name) < nodes:
            ident = max(rows, key=lambda each: (rows[each][1], each))
            job = rows[ident][0]
            self._stop(name, ident)
            if ident < 0:
                self._happened.append(Happened(self.now_s, ident, "preempted"))
            else:
                self.evicted += 1
                self._queues[name].append(replace(job, submit_s=self.now_s, again=True))

    def _stop(self, name: str, ident: int) -> None:
        job, start_s, _ = self._running[name].pop(ident)
        self._used[name] -= job.nodes
        if ident > 0 and self.partitions[name].under:
            self.preemptible_h += (self.now_s - start_s) / HOUR_S
