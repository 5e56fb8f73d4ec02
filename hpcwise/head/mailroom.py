"""Frames from the socket: who sent them, whether they may be believed, and where they go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from hpcwise.core import messages as m
from hpcwise.core.errors import CoreError, UsageError, WireError, WrongVersion
from hpcwise.core.units import WorkerId
from hpcwise.head.core_loop import Core
from hpcwise.head.peers import Peers
from hpcwise.head.rejoin import said_again
from hpcwise.wire import messages as w
from hpcwise.wire.sockets import ServerSocket

log = logging.getLogger(__name__)

#: Frames handled before others get their turn.
FRAMES_A_TURN: Final = 256
#: A watch answers at the latest after this, seconds, and looks this often.
WATCH_S: Final = 10.0
WATCH_POLL_S: Final = 0.2


class Mailroom:
    """Belongs to the event loop. answer: body of a query (raises UsageError). stale: a peer knows a newer
    epoch. left: a worker said goodbye."""

    def __init__(
        self,
        server: ServerSocket,
        epoch: int,
        core: Core,
        peers: Peers,
        answer: Callable[[w.Query], object],
        stale: Callable[[int], None],
        left: Callable[[WorkerId, str, tuple[str, ...]], None],
    ) -> None:
        self.garbage = 0
        self._server = server
        self._epoch = epoch
        self._core = core
        self._peers = peers
        self._answer = answer
        self._stale = stale
        self._left = left
        self._noisy: set[bytes] = set()
        self._watches: dict[bytes, tuple[w.AskWatch, float]] = {}
        self._open = False
        self._listens = False

    def open(self) -> None:
        """Begin to read."""
        self._open = True
        self._listen()
        self.read()

    def close(self) -> None:
        self._open = False
        asyncio.get_running_loop().remove_reader(self._server.fd)

    def _listen(self) -> None:
        if not self._listens:
            asyncio.get_running_loop().add_reader(self._server.fd, self.read)
            self._listens = True

    def read(self) -> None:
        """Take what waits, then commit it as one batch. The socket's descriptor reports edges only, so
        this calls itself again while anything is left."""
        if not self._open:
            return
        if self._core.paused:
            # What is not read keeps the descriptor readable: the loop would do nothing but say so.
            asyncio.get_running_loop().remove_reader(self._server.fd)
            self._listens = False
            return
        for peer, frame in self._server.receive(FRAMES_A_TURN):
            self._frame(peer, frame)
        self._core.commit()

    def look_again(self) -> None:
        """After sending: an edge may have passed unseen, or a pause be over."""
        if not self._open:
            return
        self._listen()
        if self._server.pending:
            asyncio.get_running_loop().call_soon(self.read)

    def watch(self) -> None:
        """Answer watches whose request may have changed; call it a few times a second."""
        version = self._core.engine.state_version
        now_s = time.monotonic()
        for peer, (query, until_s) in list(self._watches.items()):
            if version > query.after_version or now_s > until_s:
                del self._watches[peer]
                self._reply(peer, query)

    def _frame(self, peer: bytes, frame: bytes) -> None:
        try:
            up = w.decode_up(frame)
        except WrongVersion as error:
            self._noise(peer, error)
            # Our own frame tells the peer which version this is; whatever is in it, it will say so.
            self._send(peer, w.Refused(str(error)))
            return
        except WireError as error:
            self._noise(peer, error)
            return
        if up.epoch > self._epoch:
            self._stale(up.epoch)
            return
        for note in up.messages:
            _HANDLERS[type(note)](self, peer, note)

    def _noise(self, peer: bytes, error: WireError) -> None:
        self.garbage += 1
        if peer not in self._noisy and len(self._noisy) < 1000:
            self._noisy.add(peer)
            log.warning("ignored a message of %r: %s", peer[:40], error)

    def _send(self, peer: bytes, note: w.FromHead) -> None:
        self._server.send(peer, w.encode(w.Down(self._epoch, 0, 0, (note,))))

    # -- workers -------------------------------------------------------------------------------------------

    def _on_probe(self, peer: bytes, _note: w.Probe) -> None:
        self._send(peer, w.Here())

    def _on_hello(self, peer: bytes, note: w.Hello) -> None:
        if peer != note.worker.worker_id.encode():
            self._send(peer, w.Refused(f"worker {note.worker.worker_id}: joins under another name"))
            return
        _, fresh = self._peers.join(note, time.monotonic())
        # Older than the Hello: what they say is no longer among what the worker holds.
        for event in fresh:
            self._core.take(event)
        self._core.take(m.WorkerJoined(note.worker, note.running))
        worker_id = note.worker.worker_id
        for command in said_again(self._core.engine.state, worker_id, note.running):
            self._peers.put(worker_id, command)

    def _on_events(self, peer: bytes, note: w.Events) -> None:
        worker = self._peers.get(peer.decode("utf-8", "replace"))
        if worker is None or worker.nonce != note.nonce:
            self._send(peer, w.SayHello())
            return
        worker.heard_s = time.monotonic()
        for event in self._peers.fresh(worker, note):
            self._core.take(event)

    def _on_heartbeat(self, peer: bytes, note: w.Heartbeat) -> None:
        now_s = time.monotonic()
        worker = self._peers.get(note.worker_id)
        if worker is not None:
            worker.heard_s = now_s
            if self._peers.lagging(note, now_s):
                log.warning("worker %s misses parcels; asking it to join again", note.worker_id)
                worker.lags = 0
                self._send(note.worker_id.encode(), w.SayHello())
        self._send(peer, w.Here())

    def _on_goodbye(self, _peer: bytes, note: w.Goodbye) -> None:
        if note.worker_id in self._peers:
            self._peers.drop(note.worker_id)
            self._left(note.worker_id, note.reason, note.unwell)
            self._core.take(m.WorkerLost(note.worker_id, f"left: {note.reason}", bool(note.unwell)))

    # -- clients -------------------------------------------------------------------------------------------

    def _on_watch(self, peer: bytes, note: w.AskWatch) -> None:
        self._watches[peer] = (note, time.monotonic() + WATCH_S)
        if len(self._watches) > 1000:
            self._watches.pop(next(iter(self._watches)))

    def _reply(self, peer: bytes, note: w.Query) -> None:
        try:
            body = w.raw(self._answer(note))
        except UsageError as error:
            self._send(peer, w.Refused(str(error), note.ident))
            return
        except CoreError:
            raise  # a cancel that broke the engine
        except Exception as error:
            # Reading for a client must not end the head.
            log.exception("%s failed", type(note).__name__)
            reason = f"{type(error).__name__}: {error}; see the head's log"
            self._send(peer, w.Refused(reason, note.ident))
            return
        self._send(peer, w.Answer(note.ident, body, self._core.engine.state_version))


_HANDLERS: Final[Mapping[type, Callable[[Mailroom, bytes, Any], None]]] = {
    w.Probe: Mailroom._on_probe,
    w.Hello: Mailroom._on_hello,
    w.Events: Mailroom._on_events,
    w.Heartbeat: Mailroom._on_heartbeat,
    w.Goodbye: Mailroom._on_goodbye,
    w.AskWatch: Mailroom._on_watch,
    **dict.fromkeys(
        (w.AskStatus, w.AskList, w.AskShow, w.AskExplain, w.AskReceipt, w.CancelRequest, w.StopHead),
        Mailroom._reply,
    ),
}
