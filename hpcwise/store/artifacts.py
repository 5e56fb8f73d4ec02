"""Artifacts by recipe key: folders of files, written beside and renamed, checked on read.

A chunk appears whole or not at all. Who commits a chunk that exists finds his own work thrown away and
the first one kept, so two workers may race for one key. Nothing here needs locks, and readers need no
notice: a file that they can see is complete, and its hash says whether it still is.

    store/ab/abcd…/00000/{files, manifest.json}    store/ab/abcd…/final.json
    store/ab/abcd…/.tmp-00000-<nonce>/             being written; swept by gc
    store/ab/abcd…/.torn-00000-<nonce>/            did not match its manifest; swept by gc
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcwise.core.errors import StoreError, TornArtifact
from hpcwise.store import housekeeping
from hpcwise.store.digest import FileDigest, digest_file
from hpcwise.store.housekeeping import Usage, folders
from hpcwise.store.latents import Array, LatentMeta, read_latent
from hpcwise.store.manifest import (
    MANIFEST,
    FileEntry,
    Final,
    Manifest,
    encode,
    plain_facts,
    read_final,
    read_manifest,
)
from hpcwise.store.nodecache import NodeCache
from hpcwise.store.paths import (
    MAX_CHUNKS,
    RunPaths,
    rename_new,
    storage_errors,
    sync_dir,
    sync_file,
    translate_oserror,
    write_all,
    write_beside,
)

_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Artifact:
    """One checked chunk on this node: the folder that holds its files, and its manifest."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Known:
    """An artifact found at start-up. `chunk_facts` are of the consecutive chunks that exist.

    done: the final record is there and so are all chunks. Sizes were compared, hashes are on read.
    """

    key: str
    n_chunks: int
    done: bool
    facts: Mapping[str, Any]
    chunk_facts: tuple[Mapping[str, Any], ...]
    chunk_digests: tuple[Mapping[str, str], ...]
    size_bytes: int


class Store:
    """Artifacts under one run directory. Safe to use from several threads and many processes.

    durable: commit and finish return only when files and folders are on disk (fsync).
    local_cache: folder on a node-local disk into which read() copies, at most `cache_limit_gb` (10^9).
    Every method raises DiskFull, NotOwner or StoreError for what the file system refuses.
    """

    def __init__(
        self,
        paths: RunPaths,
        local_cache: Path | None = None,
        cache_limit_gb: float = 20.0,
        *,
        durable: bool = True,
    ) -> None:
        self._paths = paths
        self._durable = durable
        self._cache = None if local_cache is None else NodeCache(local_cache, int(cache_limit_gb * 1e9))
        self._verified: dict[Path, tuple[int, int, int]] = {}
        self._synced: set[Path] = set()  # artifact folders whose names are on disk, as far as we know
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    # -- writing ---------------------------------------------------------------------------------------

    def begin(self, key: str, chunk: int) -> Path:
        """A new private folder for the chunk's files, on the file system that they will stay on."""
        folder = self._paths.key_dir(key)
        scratch = folder / f".tmp-{self._paths.chunk_name(chunk)}-{secrets.token_hex(8)}"
        with storage_errors(folder):
            try:
                scratch.mkdir(0o700)
            except FileNotFoundError:
                folder.parent.mkdir(mode=0o700, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)
                scratch.mkdir(0o700)
        return scratch

    def commit(
        self,
        key: str,
        chunk: int,
        scratch: Path,
        facts: Mapping[str, Any],
        digests: Mapping[str, FileDigest] | None = None,
    ) -> Manifest:
        """Publish the files in `scratch` as the chunk; returns the manifest that stands.

        If an intact chunk is there already, it stays and `scratch` is removed; a torn one is moved
        aside. digests: of files whose writer hashed them in passing (`write_latent`): not read again.
        On an error `scratch` stays, so that a pause for a full disk can be followed by another commit.
        """
        final = self._paths.chunk_dir(key, chunk)
        with storage_errors(scratch):
            files = _entries(scratch, digests or {})
            manifest = Manifest(key=key, chunk=chunk, files=files, facts=plain_facts(facts))
            self._write_manifest(scratch, manifest)
            while not rename_new(scratch, final):
                if (standing := self._standing(final)) is not None:
                    shutil.rmtree(scratch)
                    manifest = standing
                    break
            if self._durable:
                sync_dir(final.parent)
        self._remember(final, manifest)
        return manifest

    def finish(self, key: str, n_chunks: int, facts: Mapping[str, Any]) -> Final:
        """Say that the artifact has `n_chunks` chunks; returns the record that stands (the first one).

        Raises StoreError where a chunk is missing.
        """
        if (present := self.chunks(key)) < n_chunks:
            raise StoreError(f"artifact {key}: {n_chunks} chunks cannot be finished, {present} exist")
        final = Final(key=key, n_chunks=n_chunks, facts=plain_facts(facts))
        path = self._paths.final_json(key)
        with storage_errors(path):
            while not write_beside(path, encode(final), durable=self._durable, replace=False):
                try:
                    return read_final(path)
                except TornArtifact:
                    path.unlink(missing_ok=True)
        return final

    # -- reading ---------------------------------------------------------------------------------------

    def read(self, key: str, chunk: int) -> Artifact:
        """The chunk, with every file's size and hash compared (once a process while it is unchanged).

        Raises TornArtifact where the chunk is missing, or differs and was moved aside: compute it again.
        """
        folder = self._paths.chunk_dir(key, chunk)
        with self._torn_goes_aside(folder):
            manifest = self._manifest(key, chunk)
            if self._cache is not None and (copy := self._cache.get(folder, manifest)) is not None:
                return Artifact(copy, manifest)
            self._verify(folder, manifest)
        return Artifact(folder, manifest)

    def read_latent(self, key: str, chunk: int, name: str = "latent.h5") -> tuple[Array, LatentMeta]:
        """A latent of the chunk, hashed while it is read: one pass over the bytes, not two.

        Raises as `read` does. The chunk's other files are not looked at.
        """
        folder = self._paths.chunk_dir(key, chunk)
        if self._cache is not None:
            artifact = self.read(key, chunk)
            return read_latent(artifact.path / name)
        with self._torn_goes_aside(folder):
            manifest = self._manifest(key, chunk)
            return read_latent(folder / name, manifest.digest(name))

    def manifest(self, key: str, chunk: int) -> Manifest:
        """The manifest alone, files unchecked. Raises TornArtifact where it is missing or damaged."""
        return self._manifest(key, chunk)

    def chunks(self, key: str) -> int:
        """How many chunks from 0 on exist with the right sizes (hashes are compared on read)."""
        return len(self._sound_chunks(key))

    def final(self, key: str) -> Final | None:
        """The final record, or None while there is no sound one."""
        try:
            return read_final(self._paths.final_json(key))
        except TornArtifact:
            return None

    def scan(self) -> Iterator[Known]:
        """Every artifact in the store, in order of keys: for start-up."""
        for key in self._keys():
            sound = self._sound_chunks(key)
            final = self.final(key)
            yield Known(
                key=key,
                n_chunks=len(sound),
                done=final is not None and final.n_chunks <= len(sound),
                facts={} if final is None else final.facts,
                chunk_facts=tuple(manifest.facts for manifest in sound),
                chunk_digests=tuple({e.name: e.digest.xxh128 for e in x.files} for x in sound),
                size_bytes=sum(manifest.size_bytes for manifest in sound),
            )

    # -- housekeeping ----------------------------------------------------------------------------------

    def remove(self, key: str) -> None:
        """Delete the artifact; for others it vanishes in one step. Nothing happens where there is none."""
        folder = self._paths.key_dir(key)
        gone = folder.with_name(f".gone-{key[:16]}-{secrets.token_hex(8)}")
        with storage_errors(folder), contextlib.suppress(FileNotFoundError):
            folder.rename(gone)
            shutil.rmtree(gone)

    def usage(self) -> Usage:
        """Walk the store and add up."""
        return housekeeping.usage(self._paths.store)

    def sweep_scratch(self, older_than_s: float, now_s: float) -> int:
        """Delete scratch, torn and half-removed folders last written before now_s - older_than_s (Unix
        time of the file system); returns how many. Those of live workers are younger: choose hours."""
        return housekeeping.sweep(self._paths.store, now_s - older_than_s)

    # -- inside ----------------------------------------------------------------------------------------

    def _write_manifest(self, scratch: Path, manifest: Manifest) -> None:
        """Write it and, if durable, bring it and all files to disk side by side: an fsync mostly waits."""
        pending: list[Future[None]] = []
        pool = self._syncer()
        if self._durable:
            pending = [pool.submit(sync_file, scratch / entry.name) for entry in manifest.files]
            if scratch.parent not in self._synced:
                pending += [pool.submit(sync_dir, folder) for folder in list(scratch.parents)[1:3]]
        try:
            path = scratch / MANIFEST
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                write_all(fd, encode(manifest))
                if self._durable:
                    pending.append(pool.submit(sync_dir, scratch))
                    os.fsync(fd)
            finally:
                os.close(fd)
        finally:
            errors = [error for future in pending if (error := future.exception()) is not None]
        if errors:
            raise errors[0]
        if self._durable:
            self._synced.add(scratch.parent)

    def _syncer(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(4, thread_name_prefix="store-fsync")
            return self._pool

    def _manifest(self, key: str, chunk: int) -> Manifest:
        folder = self._paths.chunk_dir(key, chunk)
        manifest = read_manifest(folder)
        if (manifest.key, manifest.chunk) != (key, chunk):
            raise TornArtifact(f"{folder}: holds chunk {manifest.chunk} of {manifest.key}")
        return manifest

    def _standing(self, folder: Path) -> Manifest | None:
        """The intact chunk in `folder`; None where it was torn (and is aside now) or has just gone."""
        try:
            with self._torn_goes_aside(folder):
                manifest = read_manifest(folder)
                self._verify(folder, manifest)
        except TornArtifact:
            return None
        return manifest

    @contextlib.contextmanager
    def _torn_goes_aside(self, folder: Path) -> Iterator[None]:
        """On TornArtifact move away the very folder that was looked at, never one committed since."""
        try:
            seen = folder.stat().st_ino
        except FileNotFoundError:
            seen = self._look_again(folder)
        except OSError as error:
            raise translate_oserror(error, folder) from error
        try:
            yield
        except TornArtifact:
            aside = folder.with_name(f".torn-{folder.name}-{secrets.token_hex(8)}")
            with contextlib.suppress(FileNotFoundError), storage_errors(folder):
                if folder.stat().st_ino == seen:
                    folder.rename(aside)
                    if aside.stat().st_ino != seen:
                        # Somebody replaced it between the two calls; if a third is there, that one is good.
                        with contextlib.suppress(OSError):
                            aside.rename(folder)
            raise

    @staticmethod
    def _look_again(folder: Path) -> int:
        """NFS may remember for a while that a name did not exist; reading its folder makes it ask."""
        try:
            for entry in folder.parent.iterdir():
                if entry.name == folder.name:
                    return folder.stat().st_ino
        except FileNotFoundError:
            pass
        except OSError as error:
            raise translate_oserror(error, folder) from error
        raise TornArtifact(f"{folder}: is missing")

    def _verify(self, folder: Path, manifest: Manifest) -> None:
        for entry in manifest.files:
            path = folder / entry.name
            mark = _mark(path)
            if mark is not None and self._verified.get(path) == mark:
                continue
            with storage_errors(path):
                if mark is None or mark[1] != entry.digest.size_bytes or digest_file(path) != entry.digest:
                    raise TornArtifact(f"{path}: does not match its manifest; it is computed again")
            self._keep(path, mark)

    def _remember(self, folder: Path, manifest: Manifest) -> None:
        """What this process has just written and hashed need not be hashed again by it."""
        for entry in manifest.files:
            path = folder / entry.name
            if (mark := _mark(path)) is not None and mark[1] == entry.digest.size_bytes:
                self._keep(path, mark)

    def _keep(self, path: Path, mark: tuple[int, int, int]) -> None:
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[path] = mark

    def _sound_chunks(self, key: str) -> list[Manifest]:
        sound: list[Manifest] = []
        with contextlib.suppress(TornArtifact):
            for chunk in range(MAX_CHUNKS):
                manifest = self._manifest(key, chunk)
                folder = self._paths.chunk_dir(key, chunk)
                if any(
                    (mark := _mark(folder / entry.name)) is None or mark[1] != entry.digest.size_bytes
                    for entry in manifest.files
                ):
                    break
                sound.append(manifest)
        return sound

    def _keys(self) -> list[str]:
        with storage_errors(self._paths.store):
            return sorted(
                folder.name
                for prefix in folders(self._paths.store)
                for folder in folders(prefix)
                if self._paths.is_key(folder.name)
            )


def _entries(scratch: Path, digests: Mapping[str, FileDigest]) -> tuple[FileEntry, ...]:
    """The chunk's files by name. Raises StoreError for folders, links and devices."""
    entries = []
    for path in sorted(scratch.iterdir()):
        if path.name == MANIFEST:
            continue  # left by a commit that ran into a full disk
        if path.is_symlink() or not path.is_file():
            raise StoreError(f"{path}: an artifact holds plain files only")
        digest = digests.get(path.name)
        if digest is None or digest.size_bytes != path.stat().st_size:
            digest = digest_file(path)
        entries.append(FileEntry(name=path.name, digest=digest))
    return tuple(entries)


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written to: mtime, size, inode. None where it is gone."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise translate_oserror(error, path) from error
    return status.st_mtime_ns, status.st_size, status.st_ino
