"""Submissions: files moved into a folder in one step, so that they are safe whether or not a head runs.

A token names a submission for good: dropping it twice is one submission, and the head, which journals
the token before it takes the file, ignores one that it knows. When the head has judged a submission it
leaves an answer in `acks/`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hpcwise.core.errors import UsageError
from hpcwise.store.paths import RunPaths, check_token, storage_errors, sync_dir, write_beside

_SUFFIX = ".job"
MAX_PAYLOAD_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Submission:
    """A file in the inbox. dropped_ns: when, by the clock of the file system."""

    token: str
    path: Path
    dropped_ns: int


class Inbox:
    """Both ends of the inbox: the command line drops and asks for answers, the head takes and answers.

    Every method raises UsageError for a token that is not plain, and DiskFull, NotOwner or StoreError.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths

    def drop(self, payload: bytes, token: str) -> Path:
        """Submit; durable when it returns. A token dropped before keeps its first payload."""
        path, done = self._paths.submission(token), self._paths.done_submission(token)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise UsageError(f"submission {token}: {len(payload)} bytes, {MAX_PAYLOAD_BYTES} at most")
        with storage_errors(path):
            if done.exists():
                return done
            write_beside(path, payload, replace=False)
            if done.exists():  # taken between the two lines above, then dropped again by us
                path.unlink(missing_ok=True)
                return done
        return path

    def pending(self) -> list[Submission]:
        """What waits, oldest first. Files with other names or types are left alone."""
        found = []
        with storage_errors(self._paths.inbox), os.scandir(self._paths.inbox) as entries:
            for entry in entries:
                if not entry.name.endswith(_SUFFIX) or not entry.is_file(follow_symlinks=False):
                    continue
                token = entry.name.removesuffix(_SUFFIX)
                try:
                    check_token(token)
                    dropped_ns = entry.stat(follow_symlinks=False).st_mtime_ns
                except (UsageError, FileNotFoundError):
                    continue
                found.append(Submission(token, Path(entry.path), dropped_ns))
        return sorted(found, key=lambda submission: (submission.dropped_ns, submission.token))

    def read(self, token: str) -> bytes:
        """The payload of a submission that waits or was taken."""
        path = self._paths.submission(token)
        with storage_errors(path):
            try:
                return _read_plain(path)
            except FileNotFoundError:
                return _read_plain(self._paths.done_submission(token))

    def take(self, token: str) -> Path:
        """Move a submission to `done/`, once the head has journaled it; again is no error."""
        path, done = self._paths.submission(token), self._paths.done_submission(token)
        with storage_errors(path):
            try:
                path.replace(done)
            except FileNotFoundError:
                if not done.exists():
                    raise
            else:
                sync_dir(done.parent)
                sync_dir(path.parent)
        return done

    def acknowledge(self, token: str, answer: bytes) -> None:
        """Leave the head's answer (JSON); a newer answer replaces it."""
        path = self._paths.ack(token)
        with storage_errors(path):
            write_beside(path, answer)

    def answer(self, token: str) -> bytes | None:
        """The head's answer, or None while there is none."""
        path = self._paths.ack(token)
        with storage_errors(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None


def _read_plain(path: Path) -> bytes:
    """Refuses a symbolic link, which could point at any file that the head may read."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_PAYLOAD_BYTES + 1)
