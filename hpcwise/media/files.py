"""Whole files or none: write beside, rename; and operating system errors as named ones."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from hpcwise.core.errors import DiskFull, NotOwner, ReadOnly, StoreError


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn an OSError on `path` into DiskFull, NotOwner or StoreError, each one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{path}: no space left: free some, then resume") from error
        if error.errno == errno.EROFS:
            raise ReadOnly(f"{path}: {error.strerror}: have it mended, then resume") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise NotOwner(f"{path}: cannot be written by this user: use another directory") from error
        raise StoreError(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed onto `path` at the end, removed after an error.

    The name keeps the suffix, since muxers choose the format by it. A crash may leave it behind; the
    next write of the same file by the same process id replaces it, and no reader looks for it.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that readers see the old file or the new one, never a part."""
    with beside(path) as temporary:
        temporary.write_bytes(data)


def read_whole(path: Path) -> bytes:
    """The bytes of `path`; StoreError names it when it is missing."""
    with named_errors(path):
        return path.read_bytes()
