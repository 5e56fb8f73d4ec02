"""Tasks that could start now, most urgent first, under deadlines that keep moving.

A pool holds the ready tasks of one model. Within a pool, tasks of one request and stage form a bucket in
film order (or in the fixed order of a policy that knows no deadlines). When a shot turns out longer all
later deadlines of that film move together, so the order in a bucket never changes, and only the few bucket
heads are looked at again. Push, pop and a change of a whole film's deadlines are O(log n).
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from hpcwise.core.state import OPEN, TaskRecord
from hpcwise.core.units import ModelName, RequestId

#: Urgency of a task: smaller goes first. Given by the policy, read when a bucket's head changes.
Urgency = Callable[[TaskRecord], float]


class _Bucket:
    __slots__ = ("heap", "version")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, TaskRecord]] = []
        self.version = 0


class Pool:
    """Ready tasks of one model. A task leaves lazily: it is skipped once its state or model changed."""

    def __init__(self, model: ModelName, urgency: Urgency, order: Urgency) -> None:
        self.model = model
        self._urgency = urgency
        self._order = order
        self._buckets: dict[tuple[RequestId, str], _Bucket] = {}
        self._heads: list[tuple[float, int, int, int, _Bucket]] = []
        self._pushes = 0

    def push(self, task: TaskRecord) -> None:
        """`task` can be dispatched to a worker that hosts this pool's model."""
        name = (task.spec.request_id, task.spec.stage)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket()
        entry = (self._order(task), task.ordinal, task)
        if not bucket.heap or entry[:2] < bucket.heap[0][:2]:
            heappush(bucket.heap, entry)
            self._rehead(bucket)
        else:
            heappush(bucket.heap, entry)

    def peek(self) -> tuple[float, TaskRecord] | None:
        """The most urgent task with its urgency, or None."""
        while self._heads:
            urgency, _, version, _, bucket = self._heads[0]
            if version != bucket.version:
                heappop(self._heads)
                continue
            task = bucket.heap[0][2] if bucket.heap else None
            if task is not None and self._holds(task):
                return urgency, task
            heappop(self._heads)
            while bucket.heap and not self._holds(bucket.heap[0][2]):
                heappop(bucket.heap)
            self._rehead(bucket)
        return None

    def set_aside(self) -> TaskRecord:
        """Take the most urgent task out, so that the next one shows; `push` brings it back."""
        while True:
            _, _, version, _, bucket = heappop(self._heads)
            if version == bucket.version:
                task = heappop(bucket.heap)[2]
                self._rehead(bucket)
                return task

    def retime(self, request_id: RequestId) -> None:
        """Deadlines of this request moved: look at its bucket heads again."""
        for (owner, _), bucket in self._buckets.items():
            if owner == request_id and bucket.heap:
                self._rehead(bucket)

    def forget(self, request_id: RequestId) -> None:
        """The request has ended; its buckets are empty of tasks that could run."""
        for name in [n for n in self._buckets if n[0] == request_id]:
            self._buckets.pop(name).version += 1

    def tasks(self) -> list[TaskRecord]:
        """All ready tasks, in no order that matters; each once."""
        seen: dict[str, TaskRecord] = {}
        for bucket in self._buckets.values():
            for _, _, task in bucket.heap:
                if self._holds(task):
                    seen[task.spec.task_id] = task
        return list(seen.values())

    def _holds(self, task: TaskRecord) -> bool:
        return task.state in OPEN and task.spec.alternatives[task.alternative].model == self.model

    def _rehead(self, bucket: _Bucket) -> None:
        bucket.version += 1
        if bucket.heap:
            _, ordinal, task = bucket.heap[0]
            self._pushes += 1
            heappush(self._heads, (self._urgency(task), ordinal, bucket.version, self._pushes, bucket))
