"""The one interface behind which scheduling policies live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from hpcwise.core.state import RequestRecord, TaskRecord, WorkerRecord


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that could take a task, and when the task would end there (engine time, seconds).

    open: the worker takes it now; otherwise it would wait behind what the worker runs. evicts: models to
    unload first. moved_s: price of going on elsewhere, in finish_s, where the worker leaves before the end.
    """

    worker: WorkerRecord
    start_s: float
    load_s: float
    transfer_s: float
    exec_s: float
    finish_s: float
    usd: float
    open: bool
    moved_s: float = 0.0
    loads: bool = False
    evicts: tuple[str, ...] = ()


class Policy(Protocol):
    """Three questions. Ties are broken by the engine: older request, earlier in the film, older task."""

    name: str
    #: Whether urgency is the deadline, which moves with the film; otherwise it never changes.
    by_deadline: bool
    #: Whether the ladder may lower quality to meet deadlines.
    adaptive: bool
    #: Whether busy workers are offered too, so that waiting for a faster one can win.
    waits: bool

    def urgency(self, task: TaskRecord, request: RequestRecord, deadline_s: float) -> float:
        """Smaller is dispatched first."""

    def rank(self, worker: WorkerRecord) -> float:
        """Among equal workers the smallest is offered."""

    def choose(
        self, options: Sequence[Placement], deadline_s: float, light: bool, now_s: float
    ) -> Placement | None:
        """One of `options` (never empty), or None to keep the task for later."""
