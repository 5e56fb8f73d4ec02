"""Several attempts that a model computes in one go (`Batched` of models/base.py)."""

from __future__ import annotations

import time
from collections.abc import Callable

from hpcwise.core.errors import Stopped
from hpcwise.core.messages import TaskFinished
from hpcwise.models.base import Batched
from hpcwise.worker.attempt import Attempt


class Together:
    """made: what to tell of those whose outputs are all there, by task. One that is to stop does not hold the
    others up: what comes of it is dropped."""

    def __init__(self, attempts: tuple[Attempt, ...], pump: Callable[[float], None]) -> None:
        self._attempts = attempts
        self._pump = pump
        self.made: dict[str, TaskFinished] = {}

    def run(self, adapter: Batched) -> None:
        """Raises Stopped where all are to stop, and whatever the adapter raises."""
        calls = [attempt.call() for attempt in self._attempts]
        started_s = time.monotonic()
        seen: dict[int, None] = {}
        for index, output in adapter.run_batch(calls, self._on_step, self._should_stop):
            self._on_step(0, 0, "")
            if not self._attempts[index].stop:
                self._attempts[index].take(output)
                seen[index] = None
        each_s = (time.monotonic() - started_s) / len(calls)
        for attempt in (self._attempts[index] for index in seen):
            self.made[attempt.task.task_id] = attempt.finish(each_s)

    def _on_step(self, _done: int, _total: int, _note: str) -> None:
        if self._should_stop():
            raise Stopped("all of them")

    def _should_stop(self) -> bool:
        now_s = time.monotonic()
        for attempt in self._attempts:
            attempt.last_step_s = now_s
        self._pump(0.0)
        return all(attempt.stop for attempt in self._attempts)
