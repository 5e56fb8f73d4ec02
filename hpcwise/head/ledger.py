"""The journal as the head uses it: one record for each event with its decisions, in three steps.

`record` queues, `flush` hands all of it to the kernel before any message leaves (a killed head loses
nothing that a worker was told), and `durable` waits for the disk, in a thread, for many at once: for
decisions with effects outside, which must not be forgotten even if the machine fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.errors import StoreError
from hpcwise.store.journal import JournalWriter, read_journal


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One event, when it was taken in (engine time, Unix time), and all that the engine decided on it."""

    now_s: float
    wall_s: float
    event: reduce(or_, m.EVENTS)  # type: ignore[valid-type]
    commands: tuple[reduce(or_, m.COMMANDS), ...]  # type: ignore[valid-type]


class SnapshotBody(msgspec.Struct, frozen=True, array_like=True):
    """Payload of a snapshot: the engine's bytes, and the times of the last record in them."""

    now_s: float
    wall_s: float
    engine: bytes


#: Between two looks at whether what was recorded has been flushed: at first, and while it cannot be, seconds.
_UNFLUSHED_S: Final = 0.01
_FULL_S: Final = 0.5
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Record)


def read_records(path: Path) -> Iterator[Record]:
    """Records of a journal, in order. Raises StoreError for one that this version cannot read."""
    for number, payload in enumerate(read_journal(path)):
        try:
            yield _decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise StoreError(f"{path}: record {number} is of another version of hpcwise ({error})") from error


class Ledger:
    """Belongs to the event loop's thread; only fsync runs beside it."""

    def __init__(self, writer: JournalWriter) -> None:
        self.writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-fsync")
        self._syncing: asyncio.Task[None] | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def record(self, now_s: float, wall_s: float, event: m.Event, commands: list[m.Command]) -> None:
        """Queue one record."""
        self.writer.append(_encoder.encode((now_s, wall_s, event, commands)))

    def flush(self) -> None:
        """Hand what is queued to the kernel. Raises DiskFull; nothing is lost then, call again."""
        if self.writer.pending_bytes:
            self.writer.flush()

    def durable(self) -> asyncio.Future[Any]:
        """Done once everything recorded so far is on disk; stays open while the disk is full."""
        future = asyncio.get_running_loop().create_future()
        if self.writer.synced_count >= self.writer.count:
            future.set_result(None)
            return future
        self._waiters.append((self.writer.count, future))
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync())
        return future

    async def _sync(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _UNFLUSHED_S
        while self._waiters:
            try:
                await loop.run_in_executor(self._thread, self.writer.sync)
            except StoreError:
                # Queued again by the writer; the head's flush says so to people, and tries again.
                await asyncio.sleep(_FULL_S)
            synced = self.writer.synced_count
            ready = [future for count, future in self._waiters if count <= synced]
            self._waiters = [waiter for waiter in self._waiters if waiter[0] > synced]
            for future in ready:
                if not future.done():
                    future.set_result(None)
            if ready:
                pause_s = _UNFLUSHED_S
            elif self._waiters:
                # Recorded, not flushed yet; with a full disk for long.
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _FULL_S)

    def close(self) -> None:
        """Flush, sync and close. Raises StoreError where that cannot be done."""
        if self._syncing is not None:
            self._syncing.cancel()
        self._thread.shutdown(wait=True)
        self.writer.close()
