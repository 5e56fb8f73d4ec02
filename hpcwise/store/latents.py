"""Latents as HDF5: one array a file, written once, never appended to (SWMR is not safe on NFS).

HDF5 describes the file, plain write(2) and read(2) carry the bytes: the library lays the file out in a
recorder (metadata first, then one contiguous, page-aligned block), and the block itself goes straight
from the array to the disk and back. Datasets: `latent`, and `meta`, a JSON string (attributes would make
a layout for every meta, this way there is one for every shape). The file is ordinary HDF5 that any reader
opens; the array is hashed in the same pass. File locks are off: some cluster file systems have none that
work, and a file that is complete before it gets its name needs none.

bfloat16 is not a numpy type: such an array travels as uint16 with `dtype="bfloat16"` in its meta.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import StoreError, TornArtifact
from hpcwise.store.digest import BLOCK_BYTES, FileDigest, Hasher, digest_file
from hpcwise.store.paths import start_writeback, storage_errors, write_all

DATASET = b"latent"
META = b"meta"
FORMAT = 1
_META_STEP = 4096

Array = npt.NDArray[Any]

#: logical dtype -> the numpy type that it is stored as
_STORED: dict[str, np.dtype[Any]] = {
    "bfloat16": np.dtype("<u2"),
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
}


class LatentMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a latent is, beside its numbers.

    shape, dtype: of the array, stated by the producer and checked on both sides; dtype is a key of
        float16, float32, float64, bfloat16, int8, uint8, int32, int64.
    scale: factor that the producer applied (divide by it before decoding).
    sampler, step: of the denoising loop that it comes from; step counts done steps.
    provenance: free text: model, version and recipe key that made it.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    sampler: str = ""
    step: int = 0
    provenance: str = ""


def write_latent(path: Path, array: Array, meta: LatentMeta) -> FileDigest:
    """Write a new file `path` and return its digest, for `Store.commit` to take over.

    The file is not fsynced (commit does that). Raises StoreError where array and meta disagree or the
    file exists, DiskFull, NotOwner; a file that could not be written whole is removed.
    """
    stored = _stored_dtype(meta.dtype, path)
    if array.dtype.name == "bfloat16":  # torch and ml_dtypes register this name with numpy
        array = array.view(np.uint16)
    if array.shape != meta.shape or array.dtype != stored:
        raise StoreError(
            f"{path}: the latent is {array.dtype}{list(array.shape)}, "
            f"its meta says {meta.dtype}{list(meta.shape)}"
        )
    data = _bytes_of(np.ascontiguousarray(array))
    text = _encode_meta(meta)
    head, tail = _layout(meta.shape, stored, len(text)).around(text, data.nbytes)
    hasher = Hasher()
    with storage_errors(path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            hasher.update(head)
            write_all(fd, head)
            for start in range(0, data.nbytes, BLOCK_BYTES):
                block = data[start : start + BLOCK_BYTES]
                write_all(fd, block)
                start_writeback(fd, len(head) + start, block.nbytes)
                hasher.update(block)
            hasher.update(tail)
            write_all(fd, tail)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
    return hasher.digest()


def read_latent(path: Path, expect: FileDigest | None = None) -> tuple[Array, LatentMeta]:
    """The array (writable, of its own memory) and its meta.

    expect: the manifest's digest; the bytes are hashed as they pass and TornArtifact is raised where
    they differ. Without it only the layout is checked. Raises StoreError, NotOwner.
    """
    hasher = Hasher()
    with storage_errors(path):
        try:
            fd = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            raise TornArtifact(f"{path}: is missing") from None
        try:
            size_bytes = os.fstat(fd).st_size
            if expect is not None and size_bytes != expect.size_bytes:
                raise TornArtifact(f"{path}: {size_bytes} bytes, the manifest says {expect.size_bytes}")
            # The kernel reads ahead from here on, while HDF5 takes the metadata apart.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            try:
                meta, stored, offset = _describe(size_bytes, path)
            except StoreError as error:
                if expect is not None and digest_file(path) != expect:
                    raise TornArtifact(f"{path}: its bytes do not match the manifest") from error
                raise
            if offset + math.prod(meta.shape) * stored.itemsize > size_bytes:
                raise TornArtifact(f"{path}: the array ends beyond the end of the file")
            array = np.empty(meta.shape, stored)
            hasher.update(_pread(fd, 0, offset))
            data = _bytes_of(array)
            start = 0
            while start < data.nbytes:
                count = os.preadv(fd, [data[start : start + BLOCK_BYTES]], offset + start)
                if not count:
                    raise TornArtifact(f"{path}: shrank while it was read")
                if expect is not None:
                    hasher.update(data[start : start + count])
                start += count
            hasher.update(_pread(fd, offset + array.nbytes, size_bytes - offset - array.nbytes))
        finally:
            os.close(fd)
    if expect is not None and hasher.digest() != expect:
        raise TornArtifact(f"{path}: its bytes do not match the manifest")
    return array, meta


def _bytes_of(array: Array) -> memoryview:
    """The memory of a contiguous array, writable where the array is."""
    return memoryview(array.reshape(-1).view(np.uint8).data) if array.size else memoryview(b"")


def _stored_dtype(name: str, path: Path) -> np.dtype[Any]:
    try:
        return _STORED[name]
    except KeyError:
        raise StoreError(f"{path}: dtype {name!r} is none of {', '.join(sorted(_STORED))}") from None


def _pread(fd: int, offset: int, count: int) -> bytes:
    parts = []
    while count > 0 and (part := os.pread(fd, min(count, BLOCK_BYTES), offset)):
        parts.append(part)
        offset += len(part)
        count -= len(part)
    return b"".join(parts)


class _Recorder(io.RawIOBase):
    """Stands in for the disk while HDF5 lays a file out: keeps what is written, has any size."""

    def __init__(self) -> None:
        self._position = 0
        self.size_bytes = 0
        self.writes: list[tuple[int, bytes]] = []

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset if whence == os.SEEK_SET else self.size_bytes + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.size_bytes = self._position if size is None else size
        return self.size_bytes

    def write(self, data: Any) -> int:
        part = bytes(data)
        self.writes.append((self._position, part))
        self._position += len(part)
        self.size_bytes = max(self.size_bytes, self._position)
        return len(part)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where HDF5 puts the parts of a file with an array of one shape and type."""

    writes: tuple[tuple[int, bytes], ...]
    size_bytes: int
    array_at: int
    meta_at: int

    def around(self, meta: bytes, nbytes: int) -> tuple[bytes, bytes]:
        """The bytes of the file before and after the array's."""
        parts = (*self.writes, (self.meta_at, meta))
        return _between(parts, 0, self.array_at), _between(parts, self.array_at + nbytes, self.size_bytes)


def _between(parts: Iterable[tuple[int, bytes]], start: int, stop: int) -> bytes:
    """What a file made of `parts` holds from `start` to `stop`; zeros where nothing was written."""
    held = bytearray(max(0, stop - start))
    for at, part in parts:
        if start <= at and at + len(part) <= stop:
            held[at - start : at - start + len(part)] = part
    return bytes(held)


@lru_cache(maxsize=256)
def _layout(shape: tuple[int, ...], stored: np.dtype[Any], capacity: int) -> _Layout:
    """HDF5's layout for an array beside `capacity` bytes of meta; equal bytes in every process.

    Made without a disk and once a shape: HDF5's own small writes cost as much as a megabyte of latent.
    """
    from h5py import h5d, h5f, h5fd, h5p, h5s, h5t

    def dataset(name: bytes, kind: np.dtype[Any], space: Any) -> int:
        layout = h5p.create(h5p.DATASET_CREATE)
        layout.set_layout(h5d.CONTIGUOUS)
        layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5d.FILL_TIME_NEVER)
        layout.set_obj_track_times(False)
        offset = h5d.create(file, name, h5t.py_create(kind), space, dcpl=layout).get_offset()
        return recorder.size_bytes if offset is None else int(offset)

    recorder = _Recorder()
    access = h5p.create(h5p.FILE_ACCESS)
    file = None
    try:
        access.set_libver_bounds(h5f.LIBVER_LATEST, h5f.LIBVER_LATEST)
        access.set_alignment(65536, 4096)
        access.set_fileobj_driver(h5fd.fileobj_driver, recorder)
        creation = h5p.create(h5p.FILE_CREATE)
        creation.set_obj_track_times(False)
        file = h5f.create(b"latent", h5f.ACC_TRUNC, fcpl=creation, fapl=access)
        meta_at = dataset(META, np.dtype(f"S{capacity}"), h5s.create(h5s.SCALAR))
        array_at = dataset(DATASET, stored, h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR))
    finally:
        if file is not None:
            file.close()
        access.close()  # holds the recorder: must be gone before the interpreter is
    if 0 in shape:
        array_at = recorder.size_bytes
    return _Layout(tuple(recorder.writes), recorder.size_bytes, array_at, meta_at)


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    meta: LatentMeta


def _encode_meta(meta: LatentMeta) -> bytes:
    """JSON, padded so that few layouts serve all metas."""
    text = msgspec.json.encode(_Record(format=FORMAT, meta=meta))
    return text.ljust(-(-len(text) // _META_STEP) * _META_STEP, b"\0")


def _describe(size_bytes: int, path: Path) -> tuple[LatentMeta, np.dtype[Any], int]:
    """Meta, stored type and byte offset of the array in the HDF5 file `path`."""
    from h5py import h5d, h5f, h5p, h5s

    access = h5p.create(h5p.FILE_ACCESS)
    access.set_file_locking(False, True)
    try:
        file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, fapl=access)
    except OSError as error:
        raise TornArtifact(f"{path}: is not a whole HDF5 file") from error
    try:
        dataset, text = h5d.open(file, DATASET), h5d.open(file, META)
        kind: np.dtype[Any] = dataset.dtype
        shape = tuple(dataset.shape)
        offset = size_bytes if 0 in shape else dataset.get_offset()
        value = np.empty((), text.dtype)
        text.read(h5s.ALL, h5s.ALL, value)
    except (KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise TornArtifact(f"{path}: its metadata cannot be read ({error})") from error
    finally:
        file.close()
    try:
        record = msgspec.json.decode(value.tobytes().rstrip(b"\0"), type=_Record)
    except msgspec.MsgspecError as error:
        raise TornArtifact(f"{path}: its metadata cannot be read ({error})") from error
    if record.format != FORMAT:
        raise StoreError(f"{path}: latent format {record.format}, this hpcwise reads {FORMAT}")
    if shape != record.meta.shape or kind != _stored_dtype(record.meta.dtype, path) or offset is None:
        raise TornArtifact(f"{path}: its metadata and its layout disagree")
    return record.meta, kind, int(offset)

