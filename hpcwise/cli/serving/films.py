"""What of a run the page may read: a film's own files, thumbnails by key, and its timeline.

Every name is matched as a whole against what this program itself writes; nothing that a browser sends is
joined to a path before that, and no link is followed out of the folder of films.
"""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.cli.run import Run
from hpcwise.cli.timebuild import build
from hpcwise.cli.timeline import Timeline
from hpcwise.core.errors import HpcwiseError, StoreError, UsageError
from hpcwise.head.ledger import read_records
from hpcwise.store.paths import check_key, check_token

#: Files of smaller renditions have their size in their names.
_SIZE: Final = r"(?:-[0-9]{2,4}x[0-9]{2,4})?"
_LIVE: Final = re.compile(
    rf"index{_SIZE}\.m3u8|init{_SIZE}\.mp4|seg{_SIZE}-[0-9]{{5}}\.m4s|(?:master|subs)\.m3u8|subs-[0-9]{{5}}\.vtt"
)
_FILM: Final = ("film.mp4", "film.srt", "film.vtt", "poster.png", "receipt.json")
TYPES: Final = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mp4": "video/mp4",
    ".m4s": "video/mp4",
    ".vtt": "text/vtt; charset=utf-8",
    ".srt": "application/x-subrip; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".json": "application/json",
}
#: A timeline is read anew at most after this many times what reading it took.
_REST: Final = 4.0


def live_file(run: Run, request_id: str, name: str) -> Path | None:
    """A file of the live film; None where there is no such file."""
    return _inside(run, request_id, "live", name) if _LIVE.fullmatch(name) else None


def film_file(run: Run, request_id: str, name: str) -> Path | None:
    """A file of the finished film; None where there is no such file."""
    return _inside(run, request_id, name) if name in _FILM else None


def thumbnail(run: Run, key: str, chunk: int) -> Path | None:
    """The thumbnail of a segment, by the key of its recipe; None where there is none."""
    try:
        path = run.paths.chunk_dir(check_key(key), chunk) / "thumb.jpg"
    except StoreError:
        return None
    return path if path.is_file() and not path.is_symlink() else None


def _inside(run: Run, request_id: str, *names: str) -> Path | None:
    try:
        path = run.film(check_token(request_id)).joinpath(*names)
        real = path.resolve(strict=True)
    except (OSError, UsageError):
        return None
    return real if real.is_file() and real.is_relative_to(run.results.resolve()) else None


class Timelines:
    """The run's timeline out of its journal, read again when that has grown. Safe for several threads."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._mark: tuple[tuple[str, int], ...] = ()
        self._whole: Timeline | None = None
        self._again_s = 0.0

    def of(self, request_id: str) -> bytes:
        """JSON of the part that concerns one request. Raises UsageError where it is not known."""
        with self._lock:
            whole = self._read()
        part = None if whole is None else whole.of(request_id)
        if part is None or not part.requests:
            raise UsageError(f"request: {request_id[:80]!r} is not in the journal yet")
        return msgspec.json.encode(part)

    def _read(self) -> Timeline | None:
        files = self._run.paths.journal_files() if self._run.exists else []
        mark = tuple((path.name, path.stat().st_size) for path in files)
        now_s = time.monotonic()
        if mark != self._mark and now_s >= self._again_s:
            try:
                self._whole = build(record for path in files for record in read_records(path))
            except HpcwiseError:
                if self._whole is None:
                    raise
            self._mark = mark
            end_s = time.monotonic()
            self._again_s = end_s + _REST * (end_s - now_s)
        return self._whole
