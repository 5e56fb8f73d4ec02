"""A running attempt's checkpoints: when one is due, and writing it beside the loop.

The loop is held up only while it hands its arrays over; hashing, writing and syncing happen in a thread, one
checkpoint at a time. When the attempt is to stop, the last state is written before it does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from hpcwise.core.checkpointing import interval_s
from hpcwise.core.errors import HpcwiseError
from hpcwise.core.messages import FileTaken
from hpcwise.models.base import LoopState
from hpcwise.store.checkpoints import CheckpointStore

log = logging.getLogger(__name__)

#: What a hand-over is taken to cost before one has been measured, seconds.
FIRST_GUESS_S: Final = 0.005


class Saver:
    """`Checkpoints` of one attempt (models/base.py).

    stopping: whether the attempt is to stop. told: is called, in the loop's thread, with the share of the
    task that has become durable.
    """

    def __init__(
        self,
        store: CheckpointStore,
        key: str,
        losses_per_h: float,
        stopping: Callable[[], bool],
        told: Callable[[float], None],
    ) -> None:
        self._store = store
        self._key = key
        self._losses_per_h = losses_per_h
        self._stopping = stopping
        self._told = told
        self._save_s = FIRST_GUESS_S
        self._saved_s = time.monotonic()
        self._writing: tuple[Future[FileTaken], float] | None = None
        self._files: list[FileTaken] = []
        self._thread: ThreadPoolExecutor | None = None
        self._found = False
        #: Whether the loop has offered its state.
        self.used = False
        #: Share of the task that is durable.
        self.share = 0.0

    def latest(self, chunk: int) -> tuple[int, LoopState] | None:
        began_s = time.monotonic()
        found = self._store.latest(self._key, chunk)
        if found is None:
            return None
        self._found = True
        self._files.append(FileTaken("read", found.size_bytes / 1e9, time.monotonic() - began_s))
        log.info("%s: goes on after step %d of chunk %d", self._key[:12], found.step, chunk)
        return found.step, LoopState(found.arrays, found.facts, found.bfloat16)

    def offer(
        self, chunk: int, step: int, share: float, state: Callable[[], LoopState], *, now: bool = False
    ) -> None:
        self.used = True
        stopping = self._stopping() or now
        self._look(wait=stopping)
        now_s = time.monotonic()
        due = now_s - self._saved_s >= interval_s(self._save_s, self._losses_per_h)
        if not stopping and (not due or self._writing is not None):
            return
        taken = state()
        self._saved_s = time.monotonic()
        self._save_s = max(1e-6, self._saved_s - now_s)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing = self._thread.submit(self._write, chunk, step, taken), share
        self._look(wait=stopping)

    def files(self) -> tuple[FileTaken, ...]:
        """What was written and read since this was last asked."""
        taken, self._files = tuple(self._files), []
        return taken

    def committed(self, chunk: int) -> None:
        """Chunk `chunk` is an artifact now; what led to it is not needed any more."""
        if self._thread is not None:
            self._thread.submit(self._store.drop, self._key, chunk)

    def close(self, *, finished: bool) -> None:
        """The attempt is over. finished: its artifact is whole."""
        self._look(wait=True)
        if self._thread is not None:
            self._thread.shutdown()
        if finished and (self._found or self._thread is not None):
            self._store.drop(self._key)

    def _write(self, chunk: int, step: int, taken: LoopState) -> FileTaken:
        began_s = time.monotonic()
        self._store.write(self._key, chunk, step, taken.arrays, taken.facts, taken.bfloat16)
        size_bytes = sum(array.nbytes for array in taken.arrays.values())
        return FileTaken("write", size_bytes / 1e9, time.monotonic() - began_s)

    def _look(self, *, wait: bool) -> None:
        """Whether the write that is under way has ended. One that fails costs a checkpoint, not the task."""
        if self._writing is None or not (wait or self._writing[0].done()):
            return
        (future, share), self._writing = self._writing, None
        try:
            self._files.append(future.result())
        except (HpcwiseError, OSError) as error:
            log.warning("no checkpoint: %s", error)
            return
        self.share = max(self.share, share)
        self._told(self.share)
