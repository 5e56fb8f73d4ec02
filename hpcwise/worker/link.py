"""The worker's conversation with the head: joins, reads parcels, sends events.

It belongs to the main thread. While that is deep inside a model, the pulse's thread sends what has waited
for too long (`flush_stale`); a lock keeps the two apart, and nobody holds it while a model computes.

Survives a lost head: events wait in the outbox, what runs goes on, and the next head gets a Hello with
all of it. Obeys one head only: parcels of an older epoch or session, and those after a gap, are dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import zmq

from hpcwise.core.errors import WireError, WrongVersion
from hpcwise.core.messages import TaskFinished, TaskStarted
from hpcwise.core.resources import AttemptRef, WorkerInfo
from hpcwise.wire.messages import (
    Ack,
    Down,
    Events,
    FromHead,
    Goodbye,
    Hello,
    Here,
    Refused,
    SayHello,
    ToHead,
    Up,
    Welcome,
    WorkerEvent,
    decode_down,
    encode,
)
from hpcwise.wire.sockets import PeerSocket
from hpcwise.worker.outbox import Outbox
from hpcwise.worker.pulse import STALE_S, Found, Pulse

log = logging.getLogger(__name__)

#: Events that wait for company at most, and how long.
BATCH = 64
BATCH_S = 0.002
#: Hello is said again when no Welcome came; events when no Ack came.
HELLO_AGAIN_S = 3.0
RESEND_S = 10.0


class Link:
    """`emit` events, `receive` messages. say: what a Hello holds now (info, attempts held)."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        pulse: Pulse,
        worker_id: str,
        nonce: str,
        say: Callable[[], tuple[WorkerInfo, tuple[AttemptRef, ...]]],
    ) -> None:
        self._context = context
        self._pulse = pulse
        self._worker_id = worker_id
        self._nonce = nonce
        self._say = say
        self._outbox = Outbox()
        self._lock = threading.RLock()
        self._put_s = 0.0
        self._socket: PeerSocket | None = None
        self._found: Found | None = None
        self._welcomed = False
        self._hello_s = 0.0
        self._flushed_s = 0.0
        self._acked_s = 0.0
        self._garbage = 0

    @property
    def epoch(self) -> int:
        """Newest epoch known, 0 before any head was found."""
        return 0 if self._found is None else self._found.epoch

    @property
    def silent_s(self) -> float:
        """Seconds since a head was last heard of."""
        return time.monotonic() - self._pulse.heard_s

    @property
    def settled(self) -> bool:
        """Whether a head has everything that was emitted."""
        return self._welcomed and not len(self._outbox)

    def emit(self, event: WorkerEvent) -> None:
        """Queue an event; it leaves with `flush`, or by itself in a moment."""
        self.put(event)
        self._pulse.nudge()

    def put(self, event: WorkerEvent) -> None:
        """Queue an event, of who is about to flush or to receive anyway."""
        with self._lock:
            if not self._outbox.unsent:
                self._put_s = time.monotonic()
            self._outbox.put(event)
            # A start waits for its end, which may be near: one message then says both.
            if self._outbox.unsent >= BATCH and not isinstance(event, TaskStarted):
                self.flush()

    def emit_end(self, event: TaskFinished) -> None:
        """Queue the end of a task; its start is not said if that has not left yet."""
        with self._lock:
            self._outbox.drop_start(event.task_id)
            self.emit(event)

    def flush_soon(self) -> None:
        """Send what waits; if the last batch has only just left, in a moment."""
        if not self._outbox.unsent:
            return
        if time.monotonic() - self._flushed_s >= BATCH_S:
            self.flush()
        else:
            self._pulse.nudge()

    def flush_stale(self) -> None:
        """From the pulse's thread: send what the main thread has not got round to sending."""
        if self._outbox.unsent and self._lock.acquire(blocking=False):
            try:
                if time.monotonic() - self._put_s >= STALE_S:
                    self.flush()
            finally:
                self._lock.release()

    def flush(self) -> None:
        """Send what waits, if there is a head."""
        with self._lock:
            if not self._welcomed or not self._outbox.unsent:
                return
            first, events = self._outbox.take_unsent()
            if not self._send(Events(self._nonce, first, events)):
                self._outbox.untake(first)
            now = time.monotonic()
            self._flushed_s = now
            if len(self._outbox) == len(events):
                self._acked_s = now

    def receive(self, timeout_s: float = 0.0) -> list[FromHead]:
        """Messages to obey, in order; waits up to `timeout_s` for the first. Raises WrongVersion."""
        if self._pulse.found is not self._found:
            with self._lock:
                self._connect()
        if self._pulse.refused:
            raise WrongVersion(self._pulse.refused)
        socket = self._socket
        if socket is None:
            self._pulse.changed.wait(timeout_s)
            self._pulse.changed.clear()
            return []
        obey: list[FromHead] = []
        with self._lock:
            if timeout_s > 0:
                self.flush()
            frame = socket.receive(timeout_s)
            while frame is not None:
                self._take(frame, obey)
                frame = socket.receive()
            self._remind()
        return obey

    def goodbye(self, reason: str, unwell: tuple[str, ...] = ()) -> None:
        """Tell the head that this worker leaves, and give the frame a moment to go. unwell: see Goodbye."""
        self.flush()
        if self._welcomed:
            self._send(Goodbye(self._worker_id, reason, unwell))
        self.close(linger_ms=1000)

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket; what was handed over has `linger_ms` to leave."""
        with self._lock:
            if self._socket is not None:
                self._socket.close(linger_ms)
                self._socket = None

    def _take(self, frame: bytes, obey: list[FromHead]) -> None:
        try:
            parcel = decode_down(frame)
        except WrongVersion:
            raise
        except WireError as error:
            self._garbage += 1
            if self._garbage == 1:
                log.warning("ignored garbage from the head: %s", error)
            return
        if parcel.epoch != self.epoch:
            # Older: a stale head, not obeyed. Newer: the pulse finds that head's address by itself.
            log.warning("ignored a parcel of epoch %d; this worker obeys epoch %d", parcel.epoch, self.epoch)
            return
        if not self._in_order(parcel):
            return
        for note in parcel.messages:
            match note:
                case Ack(next_seq=next_seq):
                    self._outbox.ack(next_seq)
                    self._acked_s = time.monotonic()
                case Welcome() | Here():
                    pass
                case SayHello():
                    self._hello()
                case Refused(reason=reason):
                    log.error("the head refuses this worker: %s", reason)
                case _:
                    obey.append(note)

    def _in_order(self, parcel: Down) -> bool:
        """Whether the parcel is to be obeyed; begins a session, and asks for a new one after a gap."""
        if parcel.session == 0:
            return True
        welcome = next((note for note in parcel.messages if isinstance(note, Welcome)), None)
        if welcome is not None and welcome.session > self._pulse.session:
            self._pulse.session, self._pulse.received = welcome.session, parcel.number
            self._welcomed = True
            self._acked_s = time.monotonic()
            log.info("welcome in epoch %d, session %d", parcel.epoch, welcome.session)
            return True
        if not self._welcomed or parcel.session != self._pulse.session:
            return False
        if parcel.number != self._pulse.received + 1:
            if parcel.number > self._pulse.received:
                log.warning("parcels %d to %d got lost", self._pulse.received + 1, parcel.number - 1)
                self._hello()
            return False
        self._pulse.received = parcel.number
        return True

    def _connect(self) -> None:
        found = self._pulse.found
        assert found is not None
        if self._socket is not None:
            self._socket.close()
        self._found = found
        self._pulse.session = self._pulse.received = 0
        self._socket = PeerSocket(self._context, found.keys, self._worker_id.encode())
        self._socket.connect(found.address)
        log.info("head of epoch %d at %s", found.epoch, found.address)
        self._hello()

    def _hello(self) -> None:
        self._welcomed = False
        self._hello_s = time.monotonic()
        info, running = self._say()
        first, events = self._outbox.all_unacked()
        self._send(Hello(worker=info, nonce=self._nonce, running=running, first_seq=first, unacked=events))

    def _remind(self) -> None:
        now = time.monotonic()
        if not self._welcomed:
            if now - self._hello_s > HELLO_AGAIN_S:
                self._hello()
        elif len(self._outbox) and not self._outbox.unsent and now - self._acked_s > RESEND_S:
            first, events = self._outbox.all_unacked()
            self._acked_s = now
            self._send(Events(self._nonce, first, events))

    def _send(self, note: ToHead) -> bool:
        return self._socket is not None and self._socket.send(encode(Up(self.epoch, (note,))))
