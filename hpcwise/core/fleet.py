"""Which worker could take a task: an index over workers that stays cheap with hundreds of them.

Workers with equal hardware, size, region and hostable models form a class; within a class they differ only
in what they have loaded and when they are free. So a task looks at each class's best worker, not at all
workers. Entries of the heaps are dropped lazily: a worker's version counts its changes.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from hpcwise.core.state import WorkerRecord
from hpcwise.core.units import ModelName, WorkerId

#: A worker takes more work while what it holds is expected to last less than this (short tasks only:
#: long ones stay with the engine until a worker is free, so that the choice is made as late as possible).
PREFETCH_S = 0.05
#: No more than this many tasks are sent ahead to one worker.
PREFETCH_MAX = 128

Rank = Callable[[WorkerRecord], float]
_Heap = list[tuple[float, int, int, WorkerRecord]]


class WorkerClass:
    """Workers that differ only in load and loaded models."""

    def __init__(self, worker: WorkerRecord) -> None:
        info = worker.info
        self.hardware = info.hardware
        self.region = info.region
        self.n_devices = info.n_devices
        self.models = frozenset(info.models)
        self.spot = info.spot
        self.members: dict[WorkerId, WorkerRecord] = {}
        self.open: _Heap = []
        self.open_loaded: dict[ModelName, _Heap] = {}
        self.busy: _Heap = []


class Fleet:
    """All live workers by class. `update` after every change of a worker, `remove` when it is gone."""

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._classes: dict[tuple[object, ...], WorkerClass] = {}
        self._class_of: dict[WorkerId, WorkerClass] = {}
        self._versions: dict[WorkerId, int] = {}
        self._hosting: dict[ModelName, tuple[WorkerClass, ...]] = {}
        self._idle: dict[WorkerId, WorkerRecord] = {}

    def idle(self) -> list[WorkerRecord]:
        """Workers that hold nothing and would take work, longest in the fleet first."""
        return sorted(self._idle.values(), key=lambda w: w.ordinal)

    def hosting(self, model: ModelName) -> tuple[WorkerClass, ...]:
        """Classes with at least one worker that can host `model`."""
        found = self._hosting.get(model)
        if found is None:
            found = tuple(c for c in self._classes.values() if model in c.models and c.members)
            self._hosting[model] = found
        return found

    def class_of(self, worker_id: WorkerId) -> WorkerClass:
        return self._class_of[worker_id]

    def add(self, worker: WorkerRecord) -> None:
        """`worker` joined, or what it can host has changed."""
        info = worker.info
        name = (info.hardware, info.region, info.n_devices, info.models, info.spot)
        old = self._class_of.get(info.worker_id)
        if old is not None:
            old.members.pop(info.worker_id, None)
        cls = self._classes.get(name)
        if cls is None:
            cls = self._classes[name] = WorkerClass(worker)
        cls.members[info.worker_id] = worker
        self._class_of[info.worker_id] = cls
        self._hosting.clear()
        self.update(worker)

    def update(self, worker: WorkerRecord) -> None:
        """Index `worker` as it is now: what it holds, what it has loaded, whether it drains."""
        worker_id = worker.info.worker_id
        cls = self._class_of[worker_id]
        version = self._versions.get(worker_id, 0) + 1
        self._versions[worker_id] = version
        if worker.state == "joined" and not worker.held:
            self._idle[worker_id] = worker
        else:
            self._idle.pop(worker_id, None)
        if worker.state != "joined":
            return
        if takes_more(worker):
            entry = (self._rank(worker), worker.ordinal, version, worker)
            heappush(cls.open, entry)
            for model in worker.loaded:
                heappush(cls.open_loaded.setdefault(model, []), entry)
            for model in worker.loading:
                heappush(cls.open_loaded.setdefault(model, []), entry)
        else:
            heappush(cls.busy, (worker.free_at_s, worker.ordinal, version, worker))

    def remove(self, worker: WorkerRecord) -> None:
        """Forget `worker`."""
        worker_id = worker.info.worker_id
        self._versions[worker_id] = self._versions.get(worker_id, 0) + 1
        self._idle.pop(worker_id, None)
        cls = self._class_of.pop(worker_id, None)
        if cls is not None:
            cls.members.pop(worker_id, None)
        self._hosting.clear()

    def best(self, heap: _Heap) -> WorkerRecord | None:
        """Top of one of a class's heaps that is still true."""
        while heap:
            _, _, version, worker = heap[0]
            if self._versions.get(worker.info.worker_id) == version:
                return worker
            heappop(heap)
        return None

    def some(self, heap: _Heap, n: int) -> list[WorkerRecord]:
        """Up to `n` best entries that are still true, for the rare case that the best will not do."""
        seen: list[WorkerRecord] = []
        for _, _, version, worker in sorted(heap, key=lambda e: e[:3]):
            if self._versions.get(worker.info.worker_id) == version:
                seen.append(worker)
                if len(seen) == n:
                    break
        return seen


def takes_more(worker: WorkerRecord) -> bool:
    """Whether `worker` may be sent a task now."""
    if worker.state != "joined":
        return False
    n = len(worker.held)
    return n == 0 or (n < PREFETCH_MAX and worker.backlog_s < PREFETCH_S)
