"""The policies that others use, as baselines: who goes first, and to whom."""

from __future__ import annotations

from collections.abc import Sequence

from hpcwise.core.policies.base import Placement
from hpcwise.core.state import RequestRecord, TaskRecord, WorkerRecord


class Fifo:
    """Oldest task first, to the worker that is free first (the default of Ray and YARN)."""

    name = "fifo"
    by_deadline = False
    adaptive = False
    waits = False

    def urgency(self, task: TaskRecord, request: RequestRecord, deadline_s: float) -> float:
        return float(task.ordinal)

    def rank(self, worker: WorkerRecord) -> float:
        return worker.free_at_s

    def choose(
        self, options: Sequence[Placement], deadline_s: float, light: bool, now_s: float
    ) -> Placement | None:
        return min(options, key=lambda p: (p.start_s, p.worker.ordinal))


class Edf(Fifo):
    """Earliest deadline first (Liu and Layland, 1973), to the worker that is free first."""

    name = "edf"
    by_deadline = True

    def urgency(self, task: TaskRecord, request: RequestRecord, deadline_s: float) -> float:
        return deadline_s


class RoundRobin(Fifo):
    """Oldest task first, workers in turn."""

    name = "round_robin"

    def rank(self, worker: WorkerRecord) -> float:
        return float(worker.dispatches)

    def choose(
        self, options: Sequence[Placement], deadline_s: float, light: bool, now_s: float
    ) -> Placement | None:
        return min(options, key=lambda p: (p.worker.dispatches, p.worker.ordinal))


class LeastLoad(Fifo):
    """Oldest task first, to the worker that holds the fewest."""

    name = "least_load"

    def rank(self, worker: WorkerRecord) -> float:
        return float(len(worker.held))

    def choose(
        self, options: Sequence[Placement], deadline_s: float, light: bool, now_s: float
    ) -> Placement | None:
        return min(options, key=lambda p: (len(p.worker.held), p.worker.ordinal))
