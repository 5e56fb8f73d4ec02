"""A worker's local queue: what it was given and has not started, by deadline.

Run by the real worker and by the simulator alike (StreamWise section 4.6: deadlines guide reordering in
the instance). Pure: the caller says what happened and does what it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

import msgspec

from hpcwise.core.resources import AttemptRef
from hpcwise.core.units import ModelName, TaskId


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One dispatched attempt."""

    ref: AttemptRef
    model: ModelName
    deadline_s: float
    expected_s: float = 0.0


class LocalQueue:
    """Entries by (deadline, arrival); `take` gives the next batch, `revoke` says whether it was in time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TaskId]] = []
        self._entries: dict[TaskId, QueueEntry] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: AttemptRef) -> bool:
        entry = self._entries.get(ref.task_id)
        return entry is not None and entry.ref == ref

    def refs(self) -> tuple[AttemptRef, ...]:
        """All attempts held, in the order in which they would run."""
        held = sorted(h for h in self._heap if h[2] in self._entries)
        return tuple(self._entries[task_id].ref for _, _, task_id in held)

    def put(self, entry: QueueEntry) -> bool:
        """Hold `entry`; False if that attempt, or a later one of its task, is held already."""
        held = self._entries.get(entry.ref.task_id)
        if held is not None:
            if held.ref.attempt >= entry.ref.attempt:
                return False
            self._drop(held.ref.task_id)
        self._entries[entry.ref.task_id] = entry
        self._arrivals += 1
        heappush(self._heap, (entry.deadline_s, self._arrivals, entry.ref.task_id))
        return True

    def take(self, batch_max: Callable[[ModelName], int] = lambda _model: 1) -> tuple[QueueEntry, ...]:
        """Remove and return the most urgent entry, with others of its model up to `batch_max(model)`."""
        first = self._pop()
        if first is None:
            return ()
        batch = [first]
        for _ in range(batch_max(first.model) - 1):
            if not self._heap or self._entries[self._heap[0][2]].model != first.model:
                break
            entry = self._pop()
            assert entry is not None
            batch.append(entry)
        return tuple(batch)

    def revoke(self, ref: AttemptRef) -> bool:
        """Give the attempt back; False when it is not held (it runs, or has run)."""
        if ref not in self:
            return False
        self._drop(ref.task_id)
        return True

    def clear(self) -> tuple[AttemptRef, ...]:
        """Give everything back, most urgent first (drain, lost head)."""
        refs = self.refs()
        self._heap.clear()
        self._entries.clear()
        return refs

    def _pop(self) -> QueueEntry | None:
        if not self._heap:
            return None
        return self._entries.pop(heappop(self._heap)[2])

    def _drop(self, task_id: TaskId) -> None:
        del self._entries[task_id]
        self._heap = [h for h in self._heap if h[2] != task_id]
        heapify(self._heap)
