"""The head's journal: one append-only file an epoch, and snapshots that recovery starts from.

A frame is magic, length, crc32, payload; the crc is seeded with the complement of the frame's offset, so
that a frame is valid only where it was written and zeros, which a crash likes to leave, never are one.
A crash tears at most the end of the file: reading stops there. A bad frame that is followed by a good one
is damage, and an error: what came after it must not be dropped silently.

A full disk loses nothing: the file is cut back to a frame's border, the records stay in memory, and the
next flush writes them. So does an fsync that fails, after which the kernel may have dropped pages.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from hpcwise.core.errors import StoreError
from hpcwise.store.paths import RunPaths, storage_errors, sync_dir, write_beside

_MAGIC = b"\xd7HWj"
_FRAME = struct.Struct("<4sII")
_SEED = 0xFFFFFFFF
_MAX_RECORD_BYTES = 1 << 30
_FORMAT = "hpcwise-journal-1"


class JournalHeader(msgspec.Struct, frozen=True, kw_only=True):
    """First frame of a journal: which head wrote it, with which code, configuration and profiles."""

    epoch: int
    version: str
    code_hash: str
    config_hash: str
    profiles_hash: str
    created_s: float
    format: str = _FORMAT


class JournalWriter:
    """Appends records to a new journal. append and flush belong to one thread; sync may run in another.

    Raises StoreError where `path` exists: an epoch's file has one writer in its life.
    """

    def __init__(self, path: Path, header: JournalHeader) -> None:
        self.path = path
        self._pending = bytearray()  # framed, not yet with the kernel
        self._unsynced: list[bytes] = []  # with the kernel, not yet surely on disk
        self._written = self._synced = self._end = 0
        self._count = self._written_count = self._synced_count = 0
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        with storage_errors(path):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self.append(msgspec.msgpack.encode(header))
            self._count = 0
            self.flush()
            self.sync()
            with storage_errors(path.parent):
                sync_dir(path.parent)
        except BaseException:
            os.close(self._fd)
            path.unlink(missing_ok=True)
            raise

    @property
    def size_bytes(self) -> int:
        """Size of the file once all that was appended is flushed."""
        return self._end

    @property
    def pending_bytes(self) -> int:
        """What the next flush will write."""
        return len(self._pending)

    @property
    def count(self) -> int:
        """Records appended so far, the header not counted."""
        return self._count

    @property
    def synced_count(self) -> int:
        """Records that are surely on disk: effects that wait for an earlier one may be carried out."""
        return self._synced_count

    def append(self, record: bytes) -> int:
        """Queue a record; returns its number, from 0. Touches no disk: see flush and sync."""
        end = self._end
        self._pending += _FRAME.pack(_MAGIC, len(record), zlib.crc32(record, ~end & _SEED))
        self._pending += record
        self._end = end + _FRAME.size + len(record)
        number = self._count
        self._count = number + 1
        return number

    def flush(self) -> None:
        """Hand everything queued to the kernel, where it survives this process but not the machine.

        Raises DiskFull, NotOwner or StoreError; the file then ends at a frame's border and nothing that
        was queued is lost: call again.
        """
        with self._lock:
            if not self._pending:
                return
            data = bytes(self._pending)
            with storage_errors(self.path):
                try:
                    self._write(data)
                except BaseException:
                    # Should the cut fail too, the next flush writes at the same place.
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._fd, self._written)
                    raise
            self._written += len(data)
            self._written_count = self._count
            self._unsynced.append(data)
            del self._pending[: len(data)]

    def sync(self) -> None:
        """Bring to disk what was flushed before this call; the owner may append and flush meanwhile.

        Raises as flush does; what may not be on disk is then queued again for the next flush.
        """
        with self._sync_lock:
            with self._lock:
                written, count, parts = self._written, self._written_count, len(self._unsynced)
            if written == self._synced:
                return
            try:
                with storage_errors(self.path):
                    os.fsync(self._fd)
            except StoreError:
                self._take_back()
                raise
            with self._lock:
                self._synced = written
                self._synced_count = count
                del self._unsynced[:parts]

    def close(self) -> None:
        """Flush, sync and close. Raises as they do, and leaves the file open then."""
        self.flush()
        self.sync()
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        view, at = memoryview(data), self._written
        while view.nbytes:
            count = os.pwrite(self._fd, view, at)
            view, at = view[count:], at + count

    def _take_back(self) -> None:
        """After a failed fsync: queue again what may not be on disk, and cut the file back to the rest."""
        with self._lock:
            self._pending[:0] = b"".join(self._unsynced)
            self._unsynced.clear()
            self._written, self._written_count = self._synced, self._synced_count
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._written)


def read_header(path: Path) -> JournalHeader:
    """The header of a journal. Raises StoreError where it is torn, missing or of another version."""
    with storage_errors(path), path.open("rb") as file:
        first = next(_frames(file, path), None)
    if first is None:
        raise StoreError(f"{path}: has no header; its head died before it decided anything, delete it")
    return _header(first, path)


def read_journal(path: Path) -> Iterator[bytes]:
    """The records of a journal, header left out. Ends at a torn tail (also one still being written).

    Raises StoreError for damage before the end, at the record where it is.
    """
    with storage_errors(path), path.open("rb") as file:
        frames = _frames(file, path)
        first = next(frames, None)
        if first is None:
            return
        _header(first, path)
        yield from frames


def _header(payload: bytes, path: Path) -> JournalHeader:
    try:
        header = msgspec.msgpack.decode(payload, type=JournalHeader)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path}: is not a journal of this version of hpcwise ({error})") from error
    if header.format != _FORMAT:
        raise StoreError(f"{path}: is {header.format!r}, this hpcwise reads {_FORMAT!r}")
    return header


def _frames(file: BinaryIO, path: Path) -> Iterator[bytes]:
    at = 0
    while True:
        head = file.read(_FRAME.size)
        payload = b""
        if len(head) == _FRAME.size:
            magic, length, crc = _FRAME.unpack(head)
            if magic == _MAGIC and length <= _MAX_RECORD_BYTES:
                payload = file.read(length)
                if len(payload) == length and zlib.crc32(payload, ~at & _SEED) == crc:
                    yield payload
                    at += _FRAME.size + length
                    continue
        if not head:
            return
        file.seek(at)
        if (good := _good_frame_after(file.read(), at)) is not None:
            raise StoreError(f"{path}: damaged at byte {at}, with sound records from byte {good} on")
        return


def _good_frame_after(rest: bytes, base: int) -> int | None:
    """Offset of the first sound frame in `rest` (which starts at file offset `base`) beyond its start."""
    at = rest.find(_MAGIC, 1)
    while at >= 0:
        if at + _FRAME.size <= len(rest):
            _, length, crc = _FRAME.unpack_from(rest, at)
            payload = rest[at + _FRAME.size : at + _FRAME.size + length]
            if len(payload) == length and zlib.crc32(payload, ~(base + at) & _SEED) == crc:
                return base + at
        at = rest.find(_MAGIC, at + 1)
    return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State after the first `seq` records of `epoch`'s journal."""

    epoch: int
    seq: int
    payload: bytes


_SNAPSHOT = struct.Struct("<8sQQQI")
_SNAPSHOT_MAGIC = b"hwsnap01"
_SNAPSHOT_NAME = re.compile(r"snapshot-(?P<epoch>[0-9]{6})-(?P<seq>[0-9]{12})\.bin")


class Snapshots:
    """The last two snapshots of a run: two, so that a torn one leaves an older one to start from."""

    KEEP = 2

    def __init__(self, paths: RunPaths) -> None:
        self._folder = paths.snapshots

    def save(self, snapshot: Snapshot) -> Path:
        """Write it durably and drop those beyond the last two. Raises DiskFull, NotOwner, StoreError."""
        path = self._folder / f"snapshot-{snapshot.epoch:06d}-{snapshot.seq:012d}.bin"
        numbers = (snapshot.epoch, snapshot.seq, len(snapshot.payload))
        crc = zlib.crc32(snapshot.payload, zlib.crc32(struct.pack("<QQQ", *numbers)))
        head = _SNAPSHOT.pack(_SNAPSHOT_MAGIC, *numbers, crc)
        with storage_errors(path):
            write_beside(path, head + snapshot.payload)
            for old in self._files()[self.KEEP :]:
                old.unlink(missing_ok=True)
        return path

    def latest(self) -> Snapshot | None:
        """The newest one that is sound; None where there is none."""
        with storage_errors(self._folder):
            for path in self._files():
                with contextlib.suppress(FileNotFoundError):
                    if (snapshot := _parse_snapshot(path.read_bytes())) is not None:
                        return snapshot
        return None

    def _files(self) -> list[Path]:
        """Newest first."""
        if not self._folder.exists():
            return []
        files = [path for path in self._folder.iterdir() if _SNAPSHOT_NAME.fullmatch(path.name)]
        return sorted(files, reverse=True)


def _parse_snapshot(data: bytes) -> Snapshot | None:
    if len(data) < _SNAPSHOT.size:
        return None
    magic, epoch, seq, length, crc = _SNAPSHOT.unpack_from(data)
    payload = data[_SNAPSHOT.size :]
    sound = zlib.crc32(payload, zlib.crc32(struct.pack("<QQQ", epoch, seq, length))) == crc
    if magic != _SNAPSHOT_MAGIC or len(payload) != length or not sound:
        return None
    return Snapshot(epoch, seq, payload)
