"""Following a request until it ends, over restarts of the head."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final

import click
import msgspec

from hpcwise.cli import client
from hpcwise.cli.progress import PREVIEW_CELLS, Lines, picture
from hpcwise.cli.run import Run
from hpcwise.cli.specfile import relative
from hpcwise.cli.watchevents import Changes
from hpcwise.core.errors import HeadError, WireError
from hpcwise.core.report import RequestView
from hpcwise.core.shotwork import ShotWork
from hpcwise.store.preview import read_preview
from hpcwise.wire import messages as w

if TYPE_CHECKING:
    from rich.live import Live

#: A watch is answered within 10 s at the latest.
_WATCH_S: Final = 15.0
#: Between two pictures: more would only heat the terminal.
_PICTURE_S: Final = 0.25
_LIVE: Final = ("growing", "running")
#: A terminal with fewer lines has no room for pictures beside all else.
_LINES_FOR_PICTURES: Final = PREVIEW_CELLS[1] + 13
#: Bytes; with less on its disk a run writes nothing any more.
_NO_SPACE: Final = 1 << 16
#: Without any head for so long following gives up.
_PATIENCE_S: Final = 60.0


def ended(view: RequestView) -> bool:
    """Whether nothing will follow."""
    return view.row.state not in _LIVE


def views(
    run: Run, request_id: str, look_after: Callable[[], object] = lambda: None
) -> Iterator[RequestView]:
    """The request each time it may have changed; the last one has ended.

    look_after: called now and then; true where it has started another head. Raises UsageError where
    the request is not known, HeadError where no head comes back.
    """
    lost_s = time.monotonic()
    while True:
        look_after()
        head = client.connect(run)
        if head is None:
            if time.monotonic() - lost_s > _PATIENCE_S:
                raise HeadError(f"no head answers; see {run.paths.head_log}")
            time.sleep(0.2)
            continue
        with head:
            version = -1
            try:
                while True:
                    asked = version
                    view, version = head.ask(
                        partial(_watch, request_id, asked), RequestView, _WATCH_S, look_after
                    )
                    lost_s = time.monotonic()
                    yield view
                    if ended(view):
                        return
                    look_after()
                    time.sleep(_PICTURE_S)
            except WireError:
                continue


def _watch(request_id: str, after: int, ident: int) -> w.Query:
    return w.AskWatch(ident, request_id, after)


class Screen:
    """Shows views as they come; a context manager. On a terminal one picture is kept up to date.

    previews: with what is being made as its worker sees it, where the terminal has colours and room.
    """

    def __init__(self, run: Run, request_id: str, *, previews: bool = True) -> None:
        self._run = run
        self._previews = previews
        self._play = relative(run.film(request_id) / "live" / "index.m3u8")
        self._lines = Lines()
        self._live: Live | None = None
        self._note = ""
        self._full = False

    def __enter__(self) -> Screen:
        if sys.stdout.isatty():
            from rich.live import Live

            from hpcwise.cli.output import console

            self._live = Live(console=console(), refresh_per_second=8, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, view: RequestView) -> None:
        """Bring what is shown up to `view`."""
        if self._live is not None:
            width = self._live.console.width
            self._live.update(picture(view, self._play, self._note, self._pictures(view), width))
            return
        for line in self._lines.of(view, self._play):
            click.echo(line)

    def _pictures(self, view: RequestView) -> dict[int, bytes]:
        assert self._live is not None
        screen = self._live.console
        coloured = screen.color_system in ("256", "truecolor") and not screen.no_color
        if not (self._previews and coloured and screen.height >= _LINES_FOR_PICTURES):
            return {}
        found = {s.shot: read_preview(self._run.paths, s.work) for s in view.shots if s.work is not None}
        return {shot: preview.jpeg for shot, preview in found.items() if preview is not None}

    def look_at_disk(self) -> None:
        """Say so where the disk is full: the work waits then, and a head that cannot write says little."""
        with contextlib.suppress(OSError):
            full = shutil.disk_usage(self._run.paths.root).free < _NO_SPACE
            if full != self._full:
                self._full = full
                where = self._run.results
                self.note(
                    f"no space is left at {where}; free some: the work waits and goes on" if full else ""
                )

    def note(self, text: str) -> None:
        """A line about the work itself, such as a head that was started again."""
        self._note = text
        if self._live is None and text:
            click.echo(text)


class Events:
    """Prints views as they come as JSON lines of what has changed; a context manager like `Screen`."""

    def __init__(self, run: Run, request_id: str, *, previews: bool = True) -> None:
        self._changes = Changes(str(run.film(request_id) / "live" / "index.m3u8"), self._pictured)
        self._run = run
        self._previews = previews

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def look_at_disk(self) -> None:
        """`Screen` says it; programs look at `explain`, which knows quotas too."""

    def show(self, view: RequestView) -> None:
        """Print what is new in `view`."""
        for event in self._changes.of(view):
            click.echo(msgspec.json.encode(event).decode())
        sys.stdout.flush()

    def _pictured(self, work: ShotWork) -> str:
        preview = read_preview(self._run.paths, work) if self._previews and work.steps else None
        return preview.path if preview is not None else ""
