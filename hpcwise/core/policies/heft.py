"""HEFT (Topcuoglu, Hariri, Wu: Performance-effective and low-complexity task scheduling for heterogeneous
computing, IEEE TPDS 13(3), 2002): highest upward rank first, to the worker with the earliest finish."""

from __future__ import annotations

from collections.abc import Sequence

from hpcwise.core.policies.base import Placement
from hpcwise.core.state import RequestRecord, TaskRecord, WorkerRecord


class Heft:
    name = "heft"
    by_deadline = False
    adaptive = False
    waits = True

    def urgency(self, task: TaskRecord, request: RequestRecord, deadline_s: float) -> float:
        return -(task.tail_s + task.expected_s)

    def rank(self, worker: WorkerRecord) -> float:
        return worker.free_at_s

    def choose(
        self, options: Sequence[Placement], deadline_s: float, light: bool, now_s: float
    ) -> Placement | None:
        best = min(options, key=lambda p: (p.finish_s, not p.open, p.worker.ordinal))
        return best if any(p.open for p in options) else None
