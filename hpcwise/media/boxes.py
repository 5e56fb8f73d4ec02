"""ISO base media boxes (ISO/IEC 14496-12): write a fragment, walk what was written.

The fragments are written here and not by a muxer because each one is made on its own, by a process that
may have seen no other: decode times are then arguments, not the state of a muxer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SYNC, _NOT_SYNC = 0x02000000, 0x01010000
_DEFAULT_BASE_IS_MOOF = 0x020000
# data offset; a duration, a size and flags for each sample
_TRUN_FLAGS = 0x000001 | 0x000100 | 0x000200 | 0x000400


@dataclass(frozen=True, slots=True)
class Sample:
    """One coded frame or audio packet; `ticks` is its duration in the track's timescale."""

    data: bytes
    ticks: int
    sync: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """Samples of one track, in a row, the first decoded at `decode_ticks` of the film."""

    track: int
    decode_ticks: int
    samples: Sequence[Sample]


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of `kind` (four characters)."""
    size = 8 + sum(map(len, parts))
    return struct.pack(">I4s", size, kind) + b"".join(parts)


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _traf(run: Run, data_offset: int) -> bytes:
    rows = b"".join(
        struct.pack(">III", sample.ticks, len(sample.data), _SYNC if sample.sync else _NOT_SYNC)
        for sample in run.samples
    )
    return box(
        b"traf",
        _full(b"tfhd", 0, _DEFAULT_BASE_IS_MOOF, struct.pack(">I", run.track)),
        _full(b"tfdt", 1, 0, struct.pack(">Q", run.decode_ticks)),
        _full(b"trun", 0, _TRUN_FLAGS, struct.pack(">Ii", len(run.samples), data_offset), rows),
    )


def fragment(sequence: int, runs: Sequence[Run]) -> bytes:
    """`moof` and `mdat` with the samples of all `runs`; runs without samples are left out."""
    runs = [run for run in runs if run.samples]

    def moof(start: int) -> bytes:
        trafs = []
        for run in runs:
            trafs.append(_traf(run, start))
            start += sum(len(sample.data) for sample in run.samples)
        return box(b"moof", _full(b"mfhd", 0, 0, struct.pack(">I", sequence)), *trafs)

    # Offsets have a fixed width: the size of the box does not depend on them.
    data_start = len(moof(0)) + 8
    return moof(data_start) + box(b"mdat", *(sample.data for run in runs for sample in run.samples))


def walk(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, payload) of each box in `data`; ValueError where the bytes are no boxes."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("torn box header")
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > len(data):
            raise ValueError(f"box {kind!r} of {size} bytes does not fit")
        yield kind, data[at + 8 : at + size]
        at += size
