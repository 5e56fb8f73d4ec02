"""What `gc` and listings need of the store's folders: sizes, and sweeping what nobody will finish."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hpcwise.store.paths import storage_errors

#: Being written, set aside because it is damaged, being deleted.
SCRATCH_PREFIXES = (".tmp-", ".torn-", ".gone-")


@dataclass(frozen=True, slots=True)
class Usage:
    """What lies under the store: committed bytes, and bytes of scratch and torn folders."""

    keys: int
    chunks: int
    size_bytes: int
    scratch_bytes: int


def usage(store: Path) -> Usage:
    """Walk the store and add up. Raises StoreError."""
    keys = chunks = size_bytes = scratch_bytes = 0
    with storage_errors(store):
        for prefix in folders(store):
            for folder in folders(prefix):
                if folder.name.startswith(SCRATCH_PREFIXES):
                    scratch_bytes += _tree_bytes(folder)
                    continue
                keys += 1
                for entry in folders(folder):
                    if entry.name.startswith(SCRATCH_PREFIXES):
                        scratch_bytes += _tree_bytes(entry)
                    else:
                        chunks += 1
                        size_bytes += _tree_bytes(entry)
    return Usage(keys, chunks, size_bytes, scratch_bytes)


def sweep(store: Path, before_s: float) -> int:
    """Delete scratch folders in which nothing was written since `before_s` (Unix time); returns how many."""
    swept = 0
    with storage_errors(store):
        for prefix in folders(store):
            for folder in (prefix, *folders(prefix)):
                for entry in folders(folder):
                    if entry.name.startswith(SCRATCH_PREFIXES) and _newest_s(entry) < before_s:
                        shutil.rmtree(entry, ignore_errors=True)
                        swept += 1
    return swept


def folders(path: Path) -> list[Path]:
    """Folders in `path`, sorted; none where it has just gone. Raises OSError."""
    try:
        with os.scandir(path) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _tree_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_size if path.is_file() else 0
    return total


def _newest_s(folder: Path) -> float:
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            newest = max(newest, path.lstat().st_mtime)
    return newest
