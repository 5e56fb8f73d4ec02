"""A read cache on a node-local disk: chunks copied once a node, checked while they are copied.

It is bounded strictly: a chunk for which there is no room is read from the shared store instead. Chunks
used within `KEEP_S` are not evicted, because an adapter may still open files in their folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from pathlib import Path

from hpcwise.core.errors import NotOwner, TornArtifact
from hpcwise.store.digest import copy_file
from hpcwise.store.manifest import Manifest, encode
from hpcwise.store.paths import storage_errors

KEEP_S = 900.0
_STALE_COPY_S = 3600.0


class NodeCache:
    """Chunks under `root`, shared by this user's processes on this node; least recently used go first."""

    def __init__(self, root: Path, limit_bytes: int, keep_s: float = KEEP_S) -> None:
        self._root = root
        self._limit_bytes = limit_bytes
        self._keep_s = keep_s
        self._checked: set[Path] = set()
        with storage_errors(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = root.lstat()
        # The folder often lies in /tmp under a name that anybody can guess.
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise NotOwner(f"{root}: the read cache must be a folder that only you can write to")

    def get(self, source: Path, manifest: Manifest) -> Path | None:
        """The folder of a checked copy of the chunk in `source`; None where there is no room for one.

        Raises TornArtifact where `source` does not match its manifest. A cache disk that fails is not
        an error: the answer is None.
        """
        # The seal is in the name: a chunk made again with other bytes is another entry.
        copy = self._root / f"{manifest.key[:64]}-{manifest.chunk:05d}-{encode(manifest)[-33:-17].decode()}"
        with contextlib.suppress(OSError):
            if self._usable(copy, manifest):
                os.utime(copy)
                return copy
            if self._make_room(manifest.size_bytes):
                return self._fill(source, manifest, copy)
        return None

    def _usable(self, copy: Path, manifest: Manifest) -> bool:
        if not copy.is_dir():
            return False
        if copy in self._checked:
            return True
        for entry in manifest.files:
            try:
                intact = copy_file(copy / entry.name, None) == entry.digest
            except FileNotFoundError:
                intact = False
            if not intact:
                shutil.rmtree(copy, ignore_errors=True)
                return False
        self._checked.add(copy)
        return True

    def _fill(self, source: Path, manifest: Manifest, copy: Path) -> Path | None:
        scratch = self._root / f".tmp-{secrets.token_hex(8)}"
        scratch.mkdir(0o700)
        try:
            for entry in manifest.files:
                try:
                    digest = copy_file(source / entry.name, scratch / entry.name)
                except FileNotFoundError as error:
                    raise TornArtifact(f"{source / entry.name}: is missing") from error
                if digest != entry.digest:
                    raise TornArtifact(f"{source / entry.name}: does not match its manifest")
            try:
                scratch.rename(copy)
            except OSError:
                if not copy.is_dir():  # another process was faster where it is
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._checked.add(copy)
        return copy

    def _make_room(self, need_bytes: int) -> bool:
        """Evict until `need_bytes` more fit; False where they cannot."""
        now_s = time.time()
        entries: list[tuple[float, int, Path]] = []
        for folder in self._root.iterdir():
            with contextlib.suppress(FileNotFoundError):
                size_bytes = sum(path.stat().st_size for path in folder.iterdir())
                entries.append((folder.stat().st_mtime, size_bytes, folder))
        used_bytes = sum(size_bytes for _, size_bytes, _ in entries)
        for used_s, size_bytes, folder in sorted(entries):
            if used_bytes + need_bytes <= self._limit_bytes:
                break
            age_s = now_s - used_s
            if age_s < (_STALE_COPY_S if folder.name.startswith(".tmp-") else self._keep_s):
                continue
            gone = self._root / f".tmp-{secrets.token_hex(8)}"
            with contextlib.suppress(OSError):
                folder.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
                self._checked.discard(folder)
                used_bytes -= size_bytes
        return used_bytes + need_bytes <= self._limit_bytes
