"""A note a launch, `<root>/<token>/launch.json`: what was asked for, and what came of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hpcwise.launch.base import Handle


class Notes:
    """The notes under `root`. Written before a submission (without a job id) and again after it, so that
    no launch is repeated and none is looked for that never was."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._calls = root.parent / "slurm-calls.json"

    def read(self, token: str) -> Handle | None:
        """None where there is no note, or one that was torn."""
        try:
            return msgspec.json.decode(self._path(token).read_bytes(), type=Handle)
        except (OSError, msgspec.MsgspecError):
            return None

    def age_s(self, token: str) -> float:
        """Since the note was written, by the file system's clock and ours."""
        try:
            return max(0.0, time.time() - self._path(token).stat().st_mtime)
        except OSError:
            return float("inf")

    def write(self, handle: Handle) -> None:
        final = self._path(handle.token)
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = final.with_name(".launch.json")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(handle))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(final)

    def drop(self, token: str) -> None:
        self._path(token).unlink(missing_ok=True)

    def calls_s(self) -> list[float]:
        """How long ago the calls were made that the last head noted, seconds; what is torn is none."""
        try:
            return [
                time.time() - at_s for at_s in msgspec.json.decode(self._calls.read_bytes(), type=list[float])
            ]
        except (OSError, msgspec.MsgspecError):
            return []

    def write_calls(self, ages_s: Iterable[float]) -> None:
        """The calls of the last minute, for a head that takes over. A note that cannot be written is none."""
        now_s = time.time()
        with contextlib.suppress(OSError):
            beside = self._calls.with_name(".slurm-calls.tmp")
            beside.write_bytes(msgspec.json.encode([now_s - age_s for age_s in ages_s]))
            beside.replace(self._calls)

    def _path(self, token: str) -> Path:
        return self._root / token / "launch.json"
