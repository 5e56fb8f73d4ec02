"""State of a loop that is still running: what a task needs to go on from its last step on any worker.

One HDF5 file a checkpoint, in a folder of its task's key: arrays by name beside a JSON string with their
hashes. Not an artifact: nobody but the task itself reads it, only the newest few are kept, and none is left
when the chunk that it belongs to is committed. A torn one is passed over for the one before it.

bfloat16 is not a numpy type: such an array travels as uint16 and is named in the meta.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from hpcwise.core.errors import StoreError, TornArtifact
from hpcwise.store.paths import RunPaths, storage_errors, sync_dir, sync_file

Array = npt.NDArray[Any]

FORMAT: Final = 1
#: The newest and one more, in case the newest is torn.
KEPT: Final = 2
_FILE: Final = re.compile(r"(?P<chunk>\d{5})-(?P<step>\d{6})\.h5")


class CheckpointMeta(msgspec.Struct, frozen=True, kw_only=True):
    """hashes: xxh3-128 of each array's bytes. facts: what the loop wants back beside its arrays."""

    format: int
    step: int
    hashes: dict[str, str]
    bfloat16: tuple[str, ...] = ()
    facts: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`step` steps of chunk `chunk` are done; arrays named in `bfloat16` hold that type's bits."""

    chunk: int
    step: int
    arrays: Mapping[str, Array]
    bfloat16: tuple[str, ...]
    facts: Mapping[str, Any]
    size_bytes: int


class CheckpointStore:
    """Checkpoints of all tasks of a run. One writer a task at a time; durable: fsync before the rename."""

    def __init__(self, paths: RunPaths, *, durable: bool = True) -> None:
        self._paths = paths
        self._durable = durable

    def write(
        self,
        key: str,
        chunk: int,
        step: int,
        arrays: Mapping[str, Array],
        facts: Mapping[str, Any],
        bfloat16: tuple[str, ...] = (),
    ) -> None:
        """Write one and forget all but the newest. Raises DiskFull, NotOwner, StoreError."""
        import h5py

        folder = self._paths.checkpoints_of(key)
        final = folder / f"{chunk:05d}-{step:06d}.h5"
        beside = final.with_name(f".{final.name}.{os.getpid()}")
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        meta = CheckpointMeta(
            format=FORMAT,
            step=step,
            hashes={name: _hash(array) for name, array in plain.items()},
            bfloat16=bfloat16,
            facts=dict(facts),
        )
        with storage_errors(final):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with h5py.File(beside, "w", libver="latest", locking=False) as file:
                    for name, array in plain.items():
                        file.create_dataset(name, data=array)
                    file.attrs["meta"] = msgspec.json.encode(meta).decode()
                if self._durable:
                    sync_file(beside)
                beside.replace(final)
                if self._durable:
                    sync_dir(folder)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
            for old in [path for _, _, path in self._files(key)][:-KEPT]:
                old.unlink(missing_ok=True)

    def latest(self, key: str, chunk: int) -> Checkpoint | None:
        """The newest whole one of that chunk. Raises StoreError for one that a newer hpcwise wrote."""
        for of_chunk, _, path in reversed(list(self._files(key))):
            if of_chunk == chunk:
                try:
                    return _read(path, chunk)
                except TornArtifact:
                    continue
        return None

    def drop(self, key: str, chunk: int | None = None) -> None:
        """Forget those of a chunk that is committed and of all before it; of the whole task with None."""
        with storage_errors(self._paths.checkpoints_of(key)):
            if chunk is None:
                shutil.rmtree(self._paths.checkpoints_of(key), ignore_errors=True)
                return
            for of_chunk, _, path in self._files(key):
                if of_chunk <= chunk:
                    path.unlink(missing_ok=True)

    def _files(self, key: str) -> Iterator[tuple[int, int, Path]]:
        folder = self._paths.checkpoints_of(key)
        try:
            names = sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return
        for name in names:
            match = _FILE.fullmatch(name)
            if match is not None:
                yield int(match["chunk"]), int(match["step"]), folder / name


def _read(path: Path, chunk: int) -> Checkpoint:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            meta = msgspec.json.decode(file.attrs["meta"], type=CheckpointMeta)
            arrays = {name: file[name][()] for name in file}
    except (OSError, KeyError, ValueError, RuntimeError, msgspec.MsgspecError) as error:
        raise TornArtifact(f"{path}: is not a whole checkpoint ({error})") from error
    if meta.format != FORMAT:
        raise StoreError(f"{path}: checkpoint format {meta.format}, this hpcwise reads {FORMAT}")
    if {name: _hash(array) for name, array in arrays.items()} != meta.hashes:
        raise TornArtifact(f"{path}: its bytes do not match its hashes")
    size_bytes = sum(array.nbytes for array in arrays.values())
    return Checkpoint(chunk, meta.step, arrays, meta.bfloat16, meta.facts, size_bytes)


def _hash(array: Array) -> str:
    head = f"{array.dtype.str}{array.shape}".encode()
    hasher = xxhash.xxh3_128(head)
    if array.size:
        hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()
