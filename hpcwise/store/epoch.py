"""Epochs fence heads: each head claims the next number by link(2), which is atomic without locks.

The highest claim is the head; one with a lower number is stale and stops itself, and workers refuse it.
Whether a head that holds the epoch still lives is for its rival to find out before it claims.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hpcwise.core.errors import StoreError
from hpcwise.store.paths import RunPaths, storage_errors, write_beside

_MAX_EPOCH = 999_999


class OwnerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who claims: started_s is Unix time; nonce tells two processes with one pid apart."""

    host: str
    pid: int
    started_s: float
    nonce: str


@dataclass(frozen=True, slots=True)
class Epoch:
    """A claimed number and its owner; None where a file system without links tore the record."""

    number: int
    owner: OwnerInfo | None


def claim(paths: RunPaths, owner: OwnerInfo) -> Epoch:
    """Take the number after the highest claimed one; of two claimants each gets another number.

    Durable when it returns. Raises DiskFull, NotOwner or StoreError.
    """
    record = msgspec.json.encode(owner) + b"\n"
    with storage_errors(paths.epochs):
        while True:
            number = max(paths.epoch_numbers(), default=0) + 1
            if number > _MAX_EPOCH:
                raise StoreError(f"{paths.epochs}: all epochs are used; start a new run directory")
            if write_beside(paths.epoch_claim(number), record, replace=False):
                return Epoch(number, owner)


def current(paths: RunPaths) -> Epoch | None:
    """The highest claim; None before the first head. Raises StoreError."""
    with storage_errors(paths.epochs):
        number = max(paths.epoch_numbers(), default=0)
    return Epoch(number, _owner(paths, number)) if number else None


def is_stale(paths: RunPaths, epoch: Epoch) -> bool:
    """Whether the head of `epoch` must stop: a newer claim exists, or its own is gone or not its own
    (somebody replaced the run directory). Raises StoreError where the folder cannot be read."""
    newest = current(paths)
    return newest is None or newest != epoch


def _owner(paths: RunPaths, number: int) -> OwnerInfo | None:
    path = paths.epoch_claim(number)
    with storage_errors(path):
        try:
            return msgspec.json.decode(path.read_bytes(), type=OwnerInfo)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
