"""What the page shows, kept up to date by one thread that talks to the head for all who watch.

One connection to the head, whatever the number of viewers; they get the newest state, never a backlog.
Where no head runs the journal answers. The thread also owns the head that the page started, since a head
ends with the thread that began it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import msgspec

from hpcwise.cli import client
from hpcwise.cli.localhead import LocalHead
from hpcwise.cli.offline import engine_of
from hpcwise.cli.run import Run
from hpcwise.core.engine import Engine
from hpcwise.core.errors import HpcwiseError, UsageError, WireError
from hpcwise.core.report import RequestRow, RequestView
from hpcwise.store.inbox import Inbox
from hpcwise.store.preview import Preview, read_preview
from hpcwise.wire import messages as w

T = TypeVar("T")
#: Between two looks while somebody watches, seconds.
LOOK_S: Final = 0.3
#: Between two looks after our own head while nobody watches, and between two searches for a head.
_IDLE_S: Final = 2.0
#: Between two looks at the pictures of what is being made, seconds; workers renew them every 2 s at most.
_PICTURES_S: Final = 0.9
#: Viewers at once; a browser tab is one.
MOST_VIEWERS: Final = 64
#: Requests that the page lists; `hpcwise ls` has all of them.
MOST_ROWS: Final = 200


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The newest requests, newest first, and the head. head: running, none or failed; note: what a person
    should know of it; pending: handed in and not yet taken; ours: the page started that head."""

    head: str
    note: str
    ours: bool
    rows: tuple[RequestRow, ...]
    pending: tuple[str, ...]


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """Which shots of a film have a picture of what is being made: shot -> tag, another for each picture."""

    request_id: str
    tags: dict[int, str]


class Viewer:
    """One page: `film` is the request that it shows, empty for none. Belongs to the event loop."""

    def __init__(self, film: str) -> None:
        self.film = film
        self.over = False
        self._loop = asyncio.get_running_loop()
        self._news: dict[str, bytes] = {}
        self._sent: dict[str, bytes] = {}
        self._wake = asyncio.Event()

    def offer(self, kind: str, data: bytes) -> None:
        """From the feed's thread: the newest `data` of this kind replaces what was not sent yet."""
        try:
            self._loop.call_soon_threadsafe(self._put, kind, data)
        except RuntimeError:
            return  # the server is ending

    def _put(self, kind: str, data: bytes) -> None:
        if self._sent.get(kind) != data:
            self._sent[kind] = self._news[kind] = data
            self._wake.set()

    def end(self) -> None:
        """The server ends: what waits for news shall go. From any thread, or a signal's handler."""
        self.over = True
        self._loop.call_soon_threadsafe(self._wake.set)

    async def news(self, within_s: float) -> dict[str, bytes]:
        """What is new by kind; empty where nothing was within that time."""
        try:
            await asyncio.wait_for(self._wake.wait(), within_s)
        except TimeoutError:
            return {}
        self._wake.clear()
        found, self._news = self._news, {}
        return found


class Feed:
    """Starts its thread with `start`; `close` ends it, and the head that it started."""

    def __init__(self, run: Run, workers: int | None = None) -> None:
        self._run = run
        self._workers = workers
        self._head = LocalHead(run, workers, with_us=True)
        self._calls: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        self._viewers: set[Viewer] = set()
        #: The server ends: nothing is to be waited for any more.
        self.ending = False
        self._thread = threading.Thread(target=self._loop, name="feed", daemon=True)
        self._client: client.HeadClient | None = None
        self._searched_s = -_IDLE_S
        self._trouble = ""
        self._offline: tuple[tuple[tuple[str, int], ...], Engine] | None = None
        self._pictures: dict[str, dict[int, Preview]] = {}
        self._pictured_s = 0.0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread and, in order, the head that it started. Waits for both."""
        self._calls.put(None)
        self._thread.join()

    # -- from the event loop -------------------------------------------------------------------------------

    def join(self, viewer: Viewer) -> None:
        """Raises UsageError where too many watch already."""
        if len(self._viewers) >= MOST_VIEWERS:
            raise UsageError(f"{MOST_VIEWERS} pages are open already; close one")
        self._viewers.add(viewer)
        self._calls.put((lambda: None, Future()))

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def send_off(self) -> None:
        """The server ends: let everybody go who listens."""
        self.ending = True
        for viewer in list(self._viewers):
            viewer.end()

    async def call(self, function: Callable[[], T]) -> T:
        """Run something in the feed's thread, where the connection and the head are."""
        future: Future[T] = Future()
        self._calls.put((function, future))
        return await asyncio.wrap_future(future)

    async def ask(self, query: Callable[[int], w.Query], kind: type[T]) -> T:
        """The head's answer, else the journal's. Raises UsageError where neither knows."""
        return await self.call(lambda: self._ask(query, kind)[0])

    async def need_head(self) -> None:
        """Start a head unless one runs. Raises HpcwiseError with the reason where it cannot."""
        await self.call(self._need_head)

    def picture(self, request_id: str, shot: int) -> Preview | None:
        """The picture of a shot that is being made; None where there is none, or nobody watches that film."""
        return self._pictures.get(request_id, {}).get(shot)

    # -- in the thread -------------------------------------------------------------------------------------

    def _loop(self) -> None:
        try:
            while True:
                try:
                    entry = self._calls.get(timeout=LOOK_S if self._viewers else _IDLE_S)
                except queue.Empty:
                    pass
                else:
                    if entry is None:
                        return
                    _do(*entry)
                try:
                    self._look_after()
                    self._look()
                except (HpcwiseError, OSError) as error:
                    self._trouble = str(error)
        finally:
            self._hang_up()
            self._head.stop()

    def _look_after(self) -> None:
        try:
            if self._head.look_after():
                self._hang_up()
        except HpcwiseError as error:
            # It keeps dying: say why, and leave it to a person to try again.
            self._trouble = str(error)
            self._head = LocalHead(self._run, self._workers, with_us=True)
            self._hang_up()

    def _need_head(self) -> None:
        self._searched_s = -_IDLE_S
        if self._connected() is None:
            self._trouble = ""
            self._head = LocalHead(self._run, self._workers, with_us=True)
            self._head.start()
            self._searched_s = -_IDLE_S

    def _connected(self) -> client.HeadClient | None:
        if self._client is None and time.monotonic() - self._searched_s >= _IDLE_S:
            self._client = client.connect(self._run)
            self._searched_s = time.monotonic()
        elif self._client is not None:
            # A head that was stopped or replaced is noticed by what it leaves, not by a time-out.
            address = client.head_address(self._run)
            if address is None or address.epoch != self._client.address.epoch:
                self._hang_up()
                return self._connected()
        return self._client

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._searched_s = -_IDLE_S

    def _ask(self, query: Callable[[int], w.Query], kind: type[T]) -> tuple[T, int]:
        head = self._connected()
        if head is not None:
            try:
                return head.ask(query, kind)
            except WireError:
                self._hang_up()
                raise
        from hpcwise.head.answers import READ

        asked = query(0)
        read = READ.get(type(asked))
        if read is None:
            raise UsageError("no head runs; press “Start the head”, then try again")
        engine = self._engine()
        found: Any = read(engine, asked)
        return found, engine.state_version

    def _engine(self) -> Engine:
        """The engine as the journal has it; read again only when the journal has changed."""
        files = self._run.paths.journal_files() if self._run.exists else []
        mark = tuple((path.name, path.stat().st_size) for path in files)
        if self._offline is None or self._offline[0] != mark:
            self._offline = (mark, engine_of(self._run))
        return self._offline[1]

    def _look(self) -> None:
        viewers = list(self._viewers)
        if not viewers:
            return
        rows = self._ask(w.AskList, tuple[RequestRow, ...])[0]
        known = {row.request_id for row in rows}
        waits = Inbox(self._run.paths).pending() if self._run.paths.inbox.is_dir() else []
        pending = [entry.token for entry in waits]
        head = "running" if self._client is not None else "failed" if self._trouble else "none"
        if head == "running":
            self._trouble = ""
        overview = msgspec.json.encode(
            Overview(
                head=head,
                note=self._trouble,
                ours=self._head.ours,
                rows=tuple(reversed(rows[-MOST_ROWS:])),
                pending=tuple(token for token in reversed(pending) if token not in known),
            )
        )
        views = {film: self._film(film) for film in {viewer.film for viewer in viewers} & known}
        if time.monotonic() - self._pictured_s >= _PICTURES_S:
            self._pictured_s = time.monotonic()
            self._pictures = {film: self._look_at(view) for film, view in views.items()}
        films = {film: msgspec.json.encode(view) for film, view in views.items()}
        pictures = {film: self._told(film) for film in views}
        for viewer in viewers:
            viewer.offer("overview", overview)
            if viewer.film in films:
                viewer.offer("film", films[viewer.film])
                viewer.offer("pictures", pictures[viewer.film])

    def _film(self, request_id: str) -> RequestView:
        return self._ask(lambda ident: w.AskShow(ident, request_id), RequestView)[0]

    def _told(self, request_id: str) -> bytes:
        tags = {shot: preview.tag for shot, preview in self._pictures.get(request_id, {}).items()}
        return msgspec.json.encode(Pictures(request_id=request_id, tags=tags))

    def _look_at(self, view: RequestView) -> dict[int, Preview]:
        if self._client is None:
            return {}  # who ran when the journal ended runs no more
        found = {s.shot: read_preview(self._run.paths, s.work) for s in view.shots if s.work is not None}
        return {shot: preview for shot, preview in found.items() if preview is not None}


def _do(function: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)
