"""The journal survives what disks do to it: torn tails, damage, no space, failing fsync."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwise.core.errors import DiskFull, StoreError
from hpcwise.store.journal import (
    JournalHeader,
    JournalWriter,
    Snapshot,
    Snapshots,
    read_header,
    read_journal,
)
from hpcwise.store.paths import RunPaths

HEADER = JournalHeader(
    epoch=3, version="0.1", code_hash="c", config_hash="f", profiles_hash="p", created_s=1.5
)


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """A real refusal of the kernel, as root or not: no file may grow beyond the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(path: Path, records: list[bytes]) -> list[int]:
    """A closed journal; the offsets at which its frames end, the header's first."""
    writer = JournalWriter(path, HEADER)
    ends = [writer.size_bytes]
    for number, record in enumerate(records):
        assert writer.append(record) == number
        ends.append(writer.size_bytes)
    writer.close()
    assert path.stat().st_size == ends[-1]
    return ends


def test_records_come_back_in_order_with_their_header(tmp_path: Path) -> None:
    records = [b"", b"a", os.urandom(300), b"\n" * 70_000]
    write(tmp_path / "j", records)
    assert list(read_journal(tmp_path / "j")) == records
    assert read_header(tmp_path / "j") == HEADER


def test_an_epochs_file_is_never_written_twice(tmp_path: Path) -> None:
    write(tmp_path / "j", [b"first"])
    with pytest.raises(StoreError, match="File exists"):
        JournalWriter(tmp_path / "j", HEADER)
    assert list(read_journal(tmp_path / "j")) == [b"first"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.binary(max_size=40), min_size=1, max_size=5), junk=st.binary(max_size=30))
def test_a_tail_torn_at_any_byte_leaves_the_whole_records(
    tmp_path: Path, records: list[bytes], junk: bytes
) -> None:
    path = tmp_path / "torn"
    path.unlink(missing_ok=True)
    ends = write(path, records)
    data = path.read_bytes()
    for cut in range(len(data)):
        for tail in (b"", junk, b"\0" * 17):
            torn = data[:cut] + tail
            if len(torn) >= len(data):
                continue
            # The tail may happen to be what was cut off.
            kept = next((n for n, (a, b) in enumerate(zip(torn, data, strict=False)) if a != b), len(torn))
            path.write_bytes(torn)
            assert list(read_journal(path)) == records[: max(0, sum(end <= kept for end in ends) - 1)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_before_the_end_is_an_error_not_a_short_journal(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "damaged"
    path.unlink(missing_ok=True)
    records = [b"one" * 9, b"two" * 20, b"three"]
    ends = write(path, records)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(ends[0], ends[2] - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged at byte"):
        list(read_journal(path))


def test_a_record_that_holds_a_whole_frame_is_not_taken_for_one(tmp_path: Path) -> None:
    write(tmp_path / "inner", [b"inner record"])
    ends = write(tmp_path / "outer", [b"first", (tmp_path / "inner").read_bytes()])
    os.truncate(tmp_path / "outer", ends[-1] - 1)
    assert list(read_journal(tmp_path / "outer")) == [b"first"]


def test_a_full_disk_leaves_a_whole_journal_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j"
    writer = JournalWriter(path, HEADER)
    writer.append(b"before")
    writer.flush()
    border = path.stat().st_size
    records = [bytes([n]) * 300 for n in range(20)]
    for record in records:
        writer.append(record)
    with file_size_limit(border + 1000):  # room for three records and a piece of the fourth
        with pytest.raises(DiskFull):
            writer.flush()
        assert path.stat().st_size == border
        assert list(read_journal(path)) == [b"before"]
        writer.append(b"while full")
        with pytest.raises(DiskFull):
            writer.flush()
    writer.append(b"after")
    writer.close()
    assert list(read_journal(path)) == [b"before", *records, b"while full", b"after"]


def test_a_journal_on_a_full_file_system(small_disk: Path) -> None:
    path = small_disk / "j"
    writer = JournalWriter(path, HEADER)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 65536)
    records = [os.urandom(5000) for _ in range(10)]
    for record in records:
        writer.append(record)
    with pytest.raises(DiskFull, match="free space"):
        writer.flush()
    assert list(read_journal(path)) == []
    ballast.unlink()
    writer.close()
    assert list(read_journal(path)) == records


def test_records_that_a_failed_fsync_may_have_lost_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    writer = JournalWriter(path, HEADER)
    writer.append(b"durable")
    writer.flush()
    writer.sync()
    assert writer.synced_count == 1
    writer.append(b"lost by the kernel")
    writer.flush()
    size_bytes = path.stat().st_size

    def refuse(fd: int) -> None:
        # What Linux does: the pages are dropped, the next fsync would report success.
        os.pwrite(fd, b"\0" * 10, size_bytes - 10)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(DiskFull):
            writer.sync()
    assert writer.synced_count == 1
    assert list(read_journal(path)) == [b"durable"]
    writer.append(b"later")
    writer.flush()
    writer.sync()
    assert writer.synced_count == 3
    assert list(read_journal(path)) == [b"durable", b"lost by the kernel", b"later"]


def test_another_thread_can_sync_while_the_owner_appends(tmp_path: Path) -> None:
    path = tmp_path / "j"
    writer = JournalWriter(path, HEADER)
    stop = threading.Event()
    seen: list[int] = []

    def sync() -> None:
        while not stop.is_set():
            writer.sync()
            seen.append(writer.synced_count)

    thread = threading.Thread(target=sync)
    thread.start()
    records = [n.to_bytes(4, "big") * 20 for n in range(3000)]
    for record in records:
        writer.append(record)
        writer.flush()
    stop.set()
    thread.join()
    writer.close()
    assert seen == sorted(seen)
    assert writer.synced_count == len(records)
    assert list(read_journal(path)) == records


def test_an_append_costs_three_microseconds_at_most(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j", HEADER)
    record = os.urandom(300)
    best_s = min(_append_many_s(writer, record, 5000) for _ in range(7))
    writer.close()
    assert best_s / 5000 <= 3e-6


def _append_many_s(writer: JournalWriter, record: bytes, count: int) -> float:
    start_s = time.thread_time()  # what others do on the machine meanwhile does not count
    for _ in range(count):
        writer.append(record)
    took_s = time.thread_time() - start_s
    writer.flush()
    return took_s


def test_the_newest_sound_snapshot_wins_and_two_are_kept(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "run")
    paths.create()
    snapshots = Snapshots(paths)
    assert snapshots.latest() is None
    saved = [Snapshot(1, 900, b"a"), Snapshot(2, 5, b"b" * 5000), Snapshot(2, 40, b"c" * 5000)]
    files = [snapshots.save(snapshot) for snapshot in saved]
    assert snapshots.latest() == saved[2]
    assert [file.exists() for file in files] == [False, True, True]
    whole = files[2].read_bytes()
    for torn in (whole[:-1], whole[:20], b"", whole[:100] + b"?" + whole[101:]):
        files[2].write_bytes(torn)
        assert snapshots.latest() == saved[1]
