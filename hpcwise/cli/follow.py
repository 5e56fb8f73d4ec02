"""Following a request until it ends, over restarts of the head."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final

import click

from hpcwise.cli import client
from hpcwise.cli.progress import Lines, picture
from hpcwise.cli.run import Run
from hpcwise.cli.specfile import relative
from hpcwise.core.errors import HeadError, WireError
from hpcwise.core.report import RequestView
from hpcwise.wire import messages as w

if TYPE_CHECKING:
    from rich.live import Live

#: A watch is answered within 10 s at the latest.
_WATCH_S: Final = 15.0
#: Between two pictures: more would only heat the terminal.
_PICTURE_S: Final = 0.25
_LIVE: Final = ("growing", "running")
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
    """Shows views as they come; a context manager. On a terminal one picture is kept up to date."""

    def __init__(self, run: Run, request_id: str) -> None:
        self._play = relative(run.film(request_id) / "live" / "index.m3u8")
        self._lines = Lines()
        self._live: Live | None = None
        self._note = ""

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
            self._live.update(picture(view, self._play, self._note))
            return
        for line in self._lines.of(view, self._play):
            click.echo(line)

    def note(self, text: str) -> None:
        """A line about the work itself, such as a head that was started again."""
        self._note = text
        if self._live is None:
            click.echo(text)
