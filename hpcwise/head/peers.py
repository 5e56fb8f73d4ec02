"""Workers as the head's socket sees them: sessions, numbered parcels, what waits to be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hpcwise.core.units import WorkerId
from hpcwise.wire.messages import Ack, Down, Events, FromHead, Heartbeat, Hello, Welcome, WorkerEvent, encode
from hpcwise.wire.sockets import ServerSocket

#: Frames that may wait for one worker here; beyond it does not read and counts as lost.
MOST_WAITING: Final = 1000


@dataclass(slots=True)
class Peer:
    """One worker process. heard_s: monotonic time of its last sign of life. next_seq: of its events."""

    worker_id: WorkerId
    nonce: str
    heard_s: float
    session: int = 0
    number: int = 0
    next_seq: int = 0
    acked_seq: int = 0
    outbox: list[FromHead] = field(default_factory=list)
    waiting: deque[bytes] = field(default_factory=deque)
    sent_s: float = 0.0
    lags: int = 0


class Peers:
    """The workers of this epoch. `put` collects messages, `flush` sends each worker one parcel."""

    def __init__(self, server: ServerSocket, epoch: int) -> None:
        self._server = server
        self._epoch = epoch
        self._sessions = 0
        self._peers: dict[WorkerId, Peer] = {}
        self._dirty: dict[WorkerId, None] = {}
        self._closing: FromHead | None = None

    def __contains__(self, worker_id: WorkerId) -> bool:
        return worker_id in self._peers

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def get(self, worker_id: WorkerId) -> Peer | None:
        return self._peers.get(worker_id)

    def excuse(self, deaf_s: float, now_s: float) -> None:
        """Nobody was listened to for `deaf_s`: that does not count as silence."""
        for peer in self._peers.values():
            peer.heard_s = min(now_s, peer.heard_s + deaf_s)

    def join(self, hello: Hello, now_s: float) -> tuple[Peer, tuple[WorkerEvent, ...]]:
        """Begin a session; returns the peer and those of its unacknowledged events that are new."""
        worker_id = hello.worker.worker_id
        old = self._peers.get(worker_id)
        self._sessions += 1
        peer = Peer(worker_id, hello.nonce, now_s, session=self._sessions)
        if old is not None and old.nonce == hello.nonce:
            peer.next_seq = old.next_seq
        peer.outbox.append(Welcome(peer.session))  # first of the first parcel
        if self._closing is not None:
            peer.outbox.append(self._closing)
        self._peers[worker_id] = peer
        fresh = self.fresh(peer, Events(hello.nonce, hello.first_seq, hello.unacked))
        return peer, fresh

    def fresh(self, peer: Peer, events: Events) -> tuple[WorkerEvent, ...]:
        """The events that were not seen before; they count as seen from now on, and will be acknowledged.

        A hole (numbers that never came) is taken as it is: the worker has forgotten them because an
        earlier head of this run acknowledged them.
        """
        skip = max(0, peer.next_seq - events.first_seq)
        peer.next_seq = max(peer.next_seq, events.first_seq + len(events.events))
        self._dirty[peer.worker_id] = None
        return events.events[skip:] if skip else events.events

    def close(self, note: FromHead) -> None:
        """Say `note` to all workers, and to those that join from now on."""
        self._closing = note
        for worker_id in self._peers:
            self.put(worker_id, note)

    def put(self, worker_id: WorkerId, note: FromHead) -> bool:
        """Queue a message; False when the worker is not known (its loss is known or will be)."""
        peer = self._peers.get(worker_id)
        if peer is None:
            return False
        peer.outbox.append(note)
        self._dirty[worker_id] = None
        return True

    def drop(self, worker_id: WorkerId) -> None:
        self._peers.pop(worker_id, None)
        self._dirty.pop(worker_id, None)

    def flush(self, now_s: float) -> list[WorkerId]:
        """Send what is queued; returns workers that have not read for too long."""
        deaf: list[WorkerId] = []
        if not self._dirty:
            return deaf
        dirty, self._dirty = self._dirty, {}
        for worker_id in dirty:
            peer = self._peers.get(worker_id)
            if peer is None:
                continue
            if peer.next_seq != peer.acked_seq:
                peer.outbox.append(Ack(peer.next_seq))
                peer.acked_seq = peer.next_seq
            if peer.outbox:
                peer.number += 1
                parcel = Down(self._epoch, peer.session, peer.number, tuple(peer.outbox))
                peer.outbox = []
                peer.waiting.append(encode(parcel))
                peer.sent_s = now_s
            identity = worker_id.encode()
            while peer.waiting and self._server.send(identity, peer.waiting[0]):
                peer.waiting.popleft()
            if len(peer.waiting) > MOST_WAITING:
                deaf.append(worker_id)
            elif peer.waiting:
                self._dirty[worker_id] = None
        return deaf

    def lagging(self, beat: Heartbeat, now_s: float) -> bool:
        """Whether `beat` shows that parcels sent long ago never arrived: twice in a row, to be sure."""
        peer = self._peers.get(beat.worker_id)
        if peer is None or beat.session != peer.session:
            return False
        deep = beat.running is not None or beat.loading
        if beat.received >= peer.number or now_s - peer.sent_s < 2.0 or deep:
            # A model that runs or loads may not have looked at its messages since its last step.
            peer.lags = 0
            return False
        peer.lags += 1
        return peer.lags >= 2
