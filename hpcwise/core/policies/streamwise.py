"""StreamWise section 4.5: by deadline over all requests, each task where it is expected to end first.

Light tasks go to the cheapest worker that still meets their deadline, so that fast GPUs stay free.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpcwise.core.policies.base import Placement
from hpcwise.core.state import RequestRecord, TaskRecord, WorkerRecord


class StreamWise:
    name = "streamwise"
    by_deadline = True
    adaptive = True
    waits = True

    def urgency(self, task: TaskRecord, request: RequestRecord, deadline_s: float) -> float:
        return deadline_s

    def rank(self, worker: WorkerRecord) -> float:
        # Of idle workers the one that worked last: what it read and loaded is still at hand, one message
        # tells it both, and the others grow idle enough to be given back.
        return worker.free_at_s if worker.held else -worker.free_at_s

    def choose(
        self, options: Sequence[Placement], deadline_s: float, light: bool, now_s: float
    ) -> Placement | None:
        if light:
            in_time = [p for p in options if p.finish_s <= deadline_s and p.open]
            if in_time:
                return min(in_time, key=lambda p: (p.usd, p.finish_s, p.worker.ordinal))
        best = min(options, key=lambda p: (p.finish_s, not p.open, p.usd, p.worker.ordinal))
        if best.open:
            return best
        # The best worker is busy. Wait in its queue only if some other one is free (which would be slower
        # still: each task that waits there brings the moment nearer when it is not); with none free, keep
        # the task: the choice can be made later and better.
        return best if any(p.open for p in options) else None
