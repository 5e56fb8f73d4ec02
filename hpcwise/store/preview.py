"""The small picture of what a worker is making. Its file says itself whose it is.

A worker has one such file and replaces it as it goes on; who looks at it knows the worker and the task only
from the head, which hears of things a moment later. So attempt and step stand in the JPEG, as a comment: a
picture of another task, which may be of another film, is never taken for this one's.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

import msgspec

from hpcwise.core.errors import HpcwiseError
from hpcwise.core.shotwork import ShotWork
from hpcwise.core.units import TaskId
from hpcwise.store.paths import RunPaths

#: Start of a JPEG; the comment (COM) follows at once, its length in two bytes.
_START: Final = b"\xff\xd8"
_COMMENT: Final = b"\xff\xfe"
_MOST_BYTES: Final = 1 << 20


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Whose picture it is. done: steps of the task that were done before the one that it shows."""

    task_id: TaskId
    attempt: int
    done: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of a shot that is being made. tag: of these bytes and no others."""

    jpeg: bytes
    tag: str
    path: str


def stamped(jpeg: bytes, stamp: Stamp) -> bytes:
    """The same JPEG with the stamp in it."""
    note = msgspec.json.encode(stamp)
    return b"".join((_START, _COMMENT, (len(note) + 2).to_bytes(2, "big"), note, jpeg[len(_START) :]))


def read_preview(paths: RunPaths, work: ShotWork) -> Preview | None:
    """The picture of what runs, if its worker has one of this very attempt and loop. Never raises."""
    try:
        path = paths.preview(work.worker)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            jpeg = file.read(_MOST_BYTES + 1)
    except (OSError, HpcwiseError):
        return None
    stamp = _stamp(jpeg)
    if stamp is None or (stamp.task_id, stamp.attempt) != (work.task_id, work.attempt):
        return None
    if work.steps and not work.begin <= stamp.done < work.begin + work.steps:
        return None
    return Preview(jpeg=jpeg, tag=hashlib.blake2b(jpeg, digest_size=8).hexdigest(), path=str(path))


def _stamp(jpeg: bytes) -> Stamp | None:
    head = _START + _COMMENT
    if not jpeg.startswith(head) or len(jpeg) > _MOST_BYTES:
        return None
    at = len(head) + 2
    try:
        return msgspec.json.decode(
            jpeg[at : len(head) + int.from_bytes(jpeg[len(head) : at], "big")], type=Stamp
        )
    except msgspec.MsgspecError:
        return None
