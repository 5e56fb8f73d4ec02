"""Hands publishing to its process, one thing at a time, and turns results into events.

Order matters to viewers: segments of a film go in order, and nothing overtakes. What fails for want of
space is tried again until there is some; what fails for a torn artifact waits for that to be made again.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.units import RequestId
from hpcwise.head.publisher import PublishJob, PublishResult, publish, warm

log = logging.getLogger(__name__)

RETRY_S: Final = 2.0
#: Tries of what failed without a torn artifact before the request is told; a full disk is waited for.
TRIES: Final = 3
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job and the event that tells of its success, None where the engine need not know."""

    request_id: RequestId
    job: PublishJob
    done: m.Event | None


class Publishing:
    """take: hands an event to the engine (which may queue more). Belongs to the event loop."""

    def __init__(self, take: Callable[[m.Event], None]) -> None:
        self._take = take
        self._queue: deque[Wanted] = deque()
        self._pool: ProcessPoolExecutor | None = None
        self._running: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue) + int(self._running is not None and not self._running.done())

    def warm(self) -> None:
        """A film is on its way: have the process ready before its first segment is."""
        if self._pool is None:
            self._process().submit(warm)

    def put(self, wanted: Wanted) -> None:
        """Queue a job behind the others."""
        self._queue.append(wanted)
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._run())
            self._running.add_done_callback(lambda task: None if task.cancelled() else task.result())

    async def drained(self) -> None:
        """Wait until everything queued has been done."""
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])

    def close(self) -> None:
        """Stop; what was not done is asked for again by the next head."""
        self._queue.clear()
        if self._running is not None:
            self._running.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while self._queue:
            wanted = self._queue.popleft()
            result = await self._do(wanted)
            if not result.error:
                if isinstance(wanted.done, m.FilmMade):
                    self._take(msgspec.structs.replace(wanted.done, hashes=result.hashes))
                elif wanted.done is not None:
                    self._take(wanted.done)
                continue
            log.error("publishing %s of %s: %s", wanted.job.what, wanted.request_id, result.error)
            # What was queued behind it for this film would fail in the same way, or leave a gap.
            self._queue = deque(w for w in self._queue if w.request_id != wanted.request_id)
            index = wanted.job.index if wanted.job.what == "segment" else -1
            self._take(m.PublishFailed(wanted.request_id, result.error, result.torn, index))

    async def _do(self, wanted: Wanted) -> PublishResult:
        encoded = msgspec.msgpack.encode(wanted.job)
        tries = 0
        while True:
            tries += 1
            result = await self._call(encoded)
            if not result.error or result.torn or (not result.full and tries >= TRIES):
                return result
            log.warning("publishing %s: %s; trying again", wanted.request_id, result.error)
            await asyncio.sleep(RETRY_S)

    async def _call(self, encoded: bytes) -> PublishResult:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._process(), publish, encoded)
            return msgspec.msgpack.decode(await future, type=PublishResult)
        except BrokenProcessPool:
            self._pool = None
            return PublishResult(error="the publishing process ended")
        except Exception as error:
            # A bug in stitching must not end the head: the request is told.
            log.exception("publishing failed")
            return PublishResult(error=f"{type(error).__name__}: {error}")

    def _process(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=in_process, initargs=(os.getpid(),))
        return self._pool


def in_process(head_pid: int) -> None:
    """Ends with the head, even if that is killed; leaves Ctrl-C to it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != head_pid:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
