"""The one owner of file names in a run directory, and of what a failing file system means.

    inbox/<token>.job        submissions, moved in atomically     done/, acks/<token>.json
    epochs/000001.json       claims of head epochs, made by link(2)
    journal/epoch-000001.log one file a head epoch                snapshots/
    store/ab/<key>/00000/    one folder an artifact chunk         store/ab/<key>/final.json
    keys/                    CURVE key pairs, 0600 in 0700        head.json (address and epoch)
    workers/<id>/            submitit folder and log              logs/, cache/

Everything is made 0700: submitit unpickles what lies in its folder, and keys lie beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hpcwise.core.errors import DiskFull, NotOwner, ReadOnly, StoreError, UsageError

#: A recipe key: lower-case hex of a hash. Long enough not to collide, and no path can hide in it.
_KEY = re.compile(r"[0-9a-f]{8,128}")
#: Tokens and worker ids: no dot and no slash, so neither a hidden file nor a path.
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_EPOCH_FILE = re.compile(r"(?P<number>[0-9]{6})\.json")

#: EFBIG is a file size limit (ulimit -f or a file system's own): for us the same as no space.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})

MAX_CHUNKS = 100_000


def translate_oserror(error: OSError, path: Path) -> StoreError:
    """The error of ours that an OSError under `path` means; one line, with the fix."""
    if error.errno in _FULL:
        return DiskFull(f"{path}: {error.strerror}; free space or raise the quota, work goes on by itself")
    if error.errno == errno.EROFS:
        return ReadOnly(
            f"{path}: {error.strerror}; use a folder that can be written to, or have the file system mended: "
            "work goes on by itself"
        )
    if error.errno in _FORBIDDEN:
        return NotOwner(f"{path}: {error.strerror}; use a run directory that you own and can write to")
    return StoreError(f"{path}: {error.strerror or error}")


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError raised inside into DiskFull, NotOwner or StoreError, naming `path`."""
    try:
        yield
    except OSError as error:
        raise translate_oserror(error, path) from error


def check_key(key: str) -> str:
    """`key` itself; raises StoreError where it is not plain lower-case hex."""
    if not _KEY.fullmatch(key):
        raise StoreError(f"artifact key {key[:80]!r} is not 8 to 128 lower-case hex digits")
    return key


def check_token(token: str, field: str = "token") -> str:
    """`token` itself; raises UsageError where it could be a path, a hidden file or a control character."""
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"{field} {token[:80]!r}: use 1 to 80 letters, digits, '-' or '_', no path")
    return token


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`; write(2) may take less when a disk fills up or a signal arrives."""
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(fd, view) :]


def start_writeback(fd: int, offset: int, count: int) -> None:
    """Ask the kernel to start bringing these bytes to disk, so that an fsync soon after waits less.

    Only a hint (sync_file_range(2), which Python has no name for): an error here shows up in fsync.
    """
    if (call := _sync_file_range()) is not None:
        call(fd, offset, count, 2)  # SYNC_FILE_RANGE_WRITE


@lru_cache(maxsize=1)
def _sync_file_range() -> Callable[[int, int, int, int], object] | None:
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return call


def sync_dir(path: Path) -> None:
    """fsync a folder, so that the names in it survive a crash. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename_new(scratch: Path, final: Path) -> bool:
    """Give the folder its final name; False where something stands there. Raises OSError."""
    try:
        scratch.rename(final)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        return False
    return True


def sync_file(path: Path) -> None:
    """fsync a file by name. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_beside(final: Path, data: bytes, *, durable: bool = True, replace: bool = True) -> bool:
    """Write `data` beside `final` (0600) and move it there in one step.

    replace=False: an existing `final` wins; returns False then. Raises OSError, and leaves nothing behind.
    """
    scratch = final.with_name(f".{final.name}.{secrets.token_hex(6)}")
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        if replace:
            scratch.replace(final)
        elif not link_new(scratch, final):
            return False
        if durable:
            sync_dir(final.parent)
        return True
    finally:
        scratch.unlink(missing_ok=True)


def link_new(scratch: Path, final: Path) -> bool:
    """Give `scratch` the name `final` unless that name is taken; True where it is ours now.

    link(2) is atomic on NFS too, but a repeated request there can report EEXIST after it succeeded:
    the count of links tells. File systems without hard links get O_EXCL, whose content comes a moment
    after the name.
    """
    try:
        os.link(scratch, final)
        return True
    except FileExistsError:
        return scratch.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
    try:
        fd = os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    try:
        write_all(fd, scratch.read_bytes())
        os.fsync(fd)
    finally:
        os.close(fd)
    return True


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Names of everything in the run directory `root`. Makes folders in `create` only."""

    root: Path

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def done(self) -> Path:
        return self.root / "done"

    @property
    def acks(self) -> Path:
        return self.root / "acks"

    @property
    def epochs(self) -> Path:
        return self.root / "epochs"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def workers(self) -> Path:
        return self.root / "workers"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def cache(self) -> Path:
        """Files that can be made again at any time (shared by all nodes)."""
        return self.root / "cache"

    @property
    def head_json(self) -> Path:
        """Addresses and epoch of the head, rewritten by each one that starts."""
        return self.root / "head.json"

    @property
    def head_log(self) -> Path:
        return self.logs / "head.log"

    @property
    def server_key(self) -> Path:
        return self.keys / "server.key"

    @property
    def client_key(self) -> Path:
        return self.keys / "client.key"

    def submission(self, token: str) -> Path:
        return self.inbox / f"{check_token(token)}.job"

    def done_submission(self, token: str) -> Path:
        return self.done / f"{check_token(token)}.job"

    def ack(self, token: str) -> Path:
        return self.acks / f"{check_token(token)}.json"

    def epoch_claim(self, number: int) -> Path:
        return self.epochs / f"{number:06d}.json"

    def epoch_numbers(self) -> list[int]:
        """Claimed epochs, ascending. Raises OSError other than a missing folder."""
        try:
            # Opens the folder anew, whereupon NFS revalidates what it has cached of it.
            names = [path.name for path in self.epochs.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(int(match["number"]) for name in names if (match := _EPOCH_FILE.fullmatch(name)))

    def journal_file(self, epoch: int) -> Path:
        return self.journal / f"epoch-{epoch:06d}.log"

    def journal_files(self) -> list[Path]:
        """Journals of all epochs, oldest first."""
        return sorted(self.journal.glob("epoch-[0-9][0-9][0-9][0-9][0-9][0-9].log"))

    def worker(self, worker_id: str) -> Path:
        """Folder of one worker: submitit's files and `worker.log`."""
        return self.workers / check_token(worker_id, "worker id")

    def preview(self, worker_id: str) -> Path:
        """A small picture of what the worker is making, while it makes it."""
        return self.worker(worker_id) / "preview.jpg"

    def worker_log(self, worker_id: str) -> Path:
        return self.worker(worker_id) / "worker.log"

    def rank_log(self, worker_id: str, rank: int) -> Path:
        """Log of a process of a gang other than its first, which writes the worker's."""
        return self.worker(worker_id) / f"worker-{rank}.log"

    def gang(self, worker_id: str) -> Path:
        """Where the first process of a gang is found by the others, and the key that lets them in."""
        return self.worker(worker_id) / "gang.json"

    def key_dir(self, key: str) -> Path:
        return self.store / check_key(key)[:2] / key

    def checkpoints_of(self, key: str) -> Path:
        return self.checkpoints / check_key(key)[:2] / key

    def chunk_dir(self, key: str, chunk: int) -> Path:
        return self.key_dir(key) / self.chunk_name(chunk)

    def final_json(self, key: str) -> Path:
        return self.key_dir(key) / "final.json"

    @staticmethod
    def chunk_name(chunk: int) -> str:
        if not 0 <= chunk < MAX_CHUNKS:
            raise StoreError(f"chunk {chunk} is not within 0 to {MAX_CHUNKS - 1}")
        return f"{chunk:05d}"

    @staticmethod
    def is_key(name: str) -> bool:
        return _KEY.fullmatch(name) is not None

    def node_cache(self, scratch: Path) -> Path:
        """Folder of this run's read cache under a node-local `scratch`; two runs do not share one."""
        ident = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:12]
        return scratch / f"hpcwise-{os.geteuid()}-{ident}"

    def folders(self) -> tuple[Path, ...]:
        return (
            self.inbox, self.done, self.acks, self.epochs, self.journal, self.snapshots,
            self.store, self.checkpoints, self.keys, self.workers, self.logs, self.cache,
        )  # fmt: skip

    def create(self) -> None:
        """Make the run directory and its folders, 0700. Raises NotOwner, DiskFull or StoreError."""
        with storage_errors(self.root):
            if not self.root.exists():
                self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.check_usable()
        for folder in self.folders():
            with storage_errors(folder):
                folder.mkdir(mode=0o700, exist_ok=True)

    def check_usable(self) -> None:
        """Raise NotOwner unless this user owns the run directory and can write to it, DiskFull if full.

        Writes and removes a file of one block: permission bits say nothing to root, over NFS or on a
        read-only mount, and a full disk still takes empty files.
        """
        try:
            status = self.root.stat()
        except FileNotFoundError:
            raise NotOwner(f"{self.root}: no such run directory; name one that exists") from None
        except OSError as error:
            raise translate_oserror(error, self.root) from error
        if not self.root.is_dir():
            raise NotOwner(f"{self.root}: is not a directory; name another run directory")
        if status.st_uid != os.geteuid():
            raise NotOwner(
                f"{self.root}: belongs to user {status.st_uid}, not to you ({os.geteuid()}); "
                "use a run directory of your own"
            )
        # The store may lie on a file system of its own.
        for folder in (self.root, self.store):
            if folder.is_dir():
                self._probe(folder)

    def _probe(self, folder: Path) -> None:
        probe = folder / f".probe-{secrets.token_hex(6)}"
        with storage_errors(folder):
            try:
                fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    write_all(fd, b"\0" * 4096)
                finally:
                    os.close(fd)
            finally:
                with contextlib.suppress(OSError):
                    probe.unlink(missing_ok=True)
