"""How the processes of one replica talk: rank 0 is the hub, the others are its spokes.

CURVE sockets with a key pair made for this gang alone: nobody without the key is heard, nothing is unpickled.
Each end has a thread that owns its socket, so that a lost peer is seen while a model computes: the transport
says at once when a process ends (its host closes the connection), and after LOST_S when a host is silent,
which its own threads decide without Python's lock.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from hpcwise.core.errors import GangLost, UsageError
from hpcwise.wire.sockets import CurveKeys, PeerSocket, ServerSocket
from hpcwise.worker.gangnotes import (
    AnyNote,
    Ask,
    Broken,
    Done,
    Get,
    Join,
    Leave,
    Ping,
    Put,
    Ready,
    Told,
    Value,
    decode,
    encode,
)

log = logging.getLogger(__name__)

#: A host that is silent for so long is lost, seconds.
LOST_S: Final = 6.0
#: After a connection has closed, how long to look for whose it was, and how often.
DOUBT_S: Final = 2.0
DOUBT_POLL_MS: Final = 50
_IDLE_POLL_MS: Final = 1000


@dataclass(slots=True)
class Member:
    """A rank as rank 0 knows it. said, told: its answers, for the main thread."""

    identity: bytes
    join: Join
    said: queue.SimpleQueue[Ready | Done]
    told: queue.SimpleQueue[Told]


class _Loop(threading.Thread, abc.ABC):
    """A socket, its monitor and frames to send, in one thread."""

    def __init__(self, name: str, sock: zmq.Socket[bytes]) -> None:
        super().__init__(name=name, daemon=True)
        self._sock = sock
        self._monitor = sock.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._out: deque[tuple[bytes, ...]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        self._quit = False
        self._doubt_s = float("-inf")

    def send(self, *frames: bytes) -> None:
        """From any thread."""
        self._out.append(frames)
        os.write(self._wake_write, b"\0")

    def stop(self) -> None:
        """Send what waits, then end."""
        self._quit = True
        os.write(self._wake_write, b"\0")
        if threading.current_thread() is not self:
            self.join(2.0)

    def run(self) -> None:
        poller = zmq.Poller()
        for one in (self._sock, self._monitor, self._wake_read):
            poller.register(one, zmq.POLLIN)
        while True:
            doubting = time.monotonic() < self._doubt_s
            ready = dict(poller.poll(DOUBT_POLL_MS if doubting else _IDLE_POLL_MS))
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            while self._out:
                with contextlib.suppress(zmq.ZMQError):  # a peer that is gone is noticed as such
                    self._sock.send_multipart(self._out.popleft(), zmq.NOBLOCK)
            if self._quit:
                break
            # What a peer said before it went is here before the news that it went.
            with contextlib.suppress(zmq.Again):
                while True:
                    self.received(self._sock.recv_multipart(zmq.NOBLOCK))
            if self._monitor in ready:
                recv_monitor_message(self._monitor)
                self._doubt_s = time.monotonic() + DOUBT_S
                self.disconnected()
            elif doubting:
                self.disconnected()
        self._sock.disable_monitor()
        self._monitor.close(linger=0)

    @abc.abstractmethod
    def disconnected(self) -> None:
        """A connection has closed; asked again for a while after that."""

    @abc.abstractmethod
    def received(self, frames: list[bytes]) -> None:
        """A message has come."""


class Hub(_Loop):
    """Rank 0's end. on_lost: is called once, in the hub's thread, when a rank is lost."""

    def __init__(self, keys: CurveKeys, world: int, on_lost: Callable[[str], None]) -> None:
        self._server = ServerSocket(keys, "*", LOST_S, handover=False)
        super().__init__("gang", self._server.raw)
        self._world = world
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._members: dict[int, Member] = {}
        self._values: dict[str, bytes] = {}
        self._waiting: dict[str, list[bytes]] = {}
        #: Why the gang cannot go on, naming rank and node; empty while it can.
        self.lost = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._server.addresses

    def gather(self, timeout_s: float) -> Mapping[int, Join]:
        """The other ranks, when all of them have come. Raises GangLost that names who has not."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._members) == self._world - 1 or self.lost, timeout_s)
            missing = sorted(set(range(1, self._world)) - set(self._members))
            if self.lost or missing:
                late = ", ".join(str(rank) for rank in missing)
                raise GangLost(
                    self.lost
                    or f"rank {late} of {self._world} did not come within {timeout_s:g} s; see the logs of "
                    "its other processes"
                )
            return {rank: member.join for rank, member in sorted(self._members.items())}

    def tell(self, note: AnyNote) -> None:
        """To all other ranks."""
        frame = encode(note)
        for member in self._members.values():
            self.send(member.identity, frame)

    def next_from(self, rank: int, timeout_s: float) -> Ready | Done:
        """The next answer of a rank. Raises GangLost where a rank is lost, or this one silent."""
        member = self._members[rank]
        end_s = time.monotonic() + timeout_s
        while not self.lost:
            with contextlib.suppress(queue.Empty):
                return member.said.get(timeout=0.2)
            if time.monotonic() > end_s:
                raise GangLost(f"{self._named(member)} did not answer within {timeout_s:g} s")
        raise GangLost(self.lost)

    def ask(self, question: Ask, timeout_s: float) -> list[tuple[str, Told]] | None:
        """What the other ranks tell of their devices, with their nodes; None where one is silent."""
        self.tell(question)
        end_s, answers = time.monotonic() + timeout_s, []
        for member in self._members.values():
            answer: Told | None = None
            while answer is None or answer.number != question.number:
                try:
                    answer = member.told.get(timeout=max(0.0, end_s - time.monotonic()))
                except queue.Empty:
                    return None
            answers.append((member.join.node, answer))
        return answers

    def wait_lost(self, timeout_s: float) -> str:
        """`lost`, waiting so long for it: a collective may fail before its cause is known."""
        with self._changed:
            self._changed.wait_for(lambda: self.lost, timeout_s)
            return self.lost

    def put(self, key: str, value: bytes) -> None:
        with self._changed:
            self._values[key] = value
            asking = self._waiting.pop(key, [])
            self._changed.notify_all()
        for identity in asking:
            self.send(identity, encode(Value(key, value)))

    def get(self, key: str, timeout_s: float) -> bytes:
        """Raises GangLost when nobody sets it in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._values or self.lost, timeout_s) or self.lost:
                raise GangLost(self.lost or f"no rank has set {key!r} within {timeout_s:g} s")
            return self._values[key]

    def close(self) -> None:
        self.stop()
        self._server.close()

    def disconnected(self) -> None:
        frame = encode(Ping())
        for member in self._members.values():
            try:
                self._sock.send_multipart((member.identity, frame), zmq.NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno == zmq.EHOSTUNREACH:
                    self.lose(f"{self._named(member)} was lost: its connection closed")

    def received(self, frames: list[bytes]) -> None:
        if len(frames) != 2:
            return
        identity, frame = frames
        try:
            note = decode(frame)
        except msgspec.DecodeError as error:
            log.warning("ignored a frame of a rank: %s", error)
            return
        if isinstance(note, Join):
            self._join(identity, note)
            return
        member = next((m for m in self._members.values() if m.identity == identity), None)
        if member is None:
            return
        match note:
            case Put(key=key, value=value):
                self.put(key, value)
            case Get(key=key):
                with self._changed:
                    found = self._values.get(key)
                    if found is None:
                        self._waiting.setdefault(key, []).append(identity)
                if found is not None:
                    self.send(identity, encode(Value(key, found)))
            case Ready() | Done():
                member.said.put(note)
            case Told():
                member.told.put(note)
            case Broken(reason=reason):
                self.lose(f"{self._named(member)} cannot go on: {reason}")
            case _:
                log.warning("ignored %s of a rank", type(note).__name__)

    def _join(self, identity: bytes, join: Join) -> None:
        """The first connection of a rank counts; it tries all of our addresses at once."""
        with self._changed:
            if not 0 < join.rank < self._world or join.rank in self._members:
                return
            self._members[join.rank] = Member(identity, join, queue.SimpleQueue(), queue.SimpleQueue())
            self._changed.notify_all()
        self.send(identity, encode(Ping()))

    def lose(self, reason: str) -> None:
        """The gang cannot go on; the first reason counts."""
        with self._changed:
            if self.lost:
                return
            self.lost = reason
            self._changed.notify_all()
        log.error("%s", reason)
        self._on_lost(reason)

    def _named(self, member: Member) -> str:
        return f"rank {member.join.rank} on {member.join.node}"


class Spoke(_Loop):
    """The end of another rank. on_lost: is called, in its thread, when rank 0 is gone."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys, addresses: tuple[str, ...],
        join: Join, timeout_s: float, on_lost: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Tries all addresses at once and keeps the first that answers. Raises GangLost when none does."""
        self._peer, self.reached = _first(context, keys, addresses, join, timeout_s)
        super().__init__("gang", self._peer.raw)
        self._on_lost = on_lost
        #: Joules that this rank's devices have taken so far, and what is wrong with them: for this thread.
        self.meter: Callable[[], float | None] = lambda: None
        self.unwell: Callable[[], str] = lambda: ""
        self._notes: queue.SimpleQueue[AnyNote] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._values: dict[str, bytes] = {}
        self._sent_home = False

    def say(self, note: AnyNote) -> None:
        self.send(encode(note))

    def next(self, timeout_s: float | None = None) -> AnyNote:
        """What rank 0 says next. Raises GangLost when nothing comes in time."""
        try:
            return self._notes.get(timeout=timeout_s)
        except queue.Empty:
            raise GangLost(f"rank 0 did not answer within {timeout_s:g} s") from None

    def put(self, key: str, value: bytes) -> None:
        self.say(Put(key, value))

    def get(self, key: str, timeout_s: float) -> bytes:
        """Raises GangLost when nobody sets it in time."""
        with self._changed:
            if key not in self._values:
                self.say(Get(key))
            if not self._changed.wait_for(lambda: key in self._values, timeout_s):
                raise GangLost(f"no rank has set {key!r} within {timeout_s:g} s")
            return self._values[key]

    def close(self) -> None:
        self.stop()
        self._peer.close(linger_ms=500)

    def disconnected(self) -> None:
        if not self._sent_home:
            self._on_lost("rank 0 was lost: its connection closed")

    def received(self, frames: list[bytes]) -> None:
        note = decode(frames[-1])
        self._sent_home = self._sent_home or isinstance(note, Leave)
        if isinstance(note, Ask):
            joules = self.meter()
            unwell = self.unwell() if note.look else ""
            self.say(Told(note.number, -1.0 if joules is None else joules, unwell))
        elif isinstance(note, Value):
            with self._changed:
                self._values[note.key] = note.value
                self._changed.notify_all()
        elif not isinstance(note, Ping):
            self._notes.put(note)


def _first(
    context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys, addresses: tuple[str, ...], join: Join,
    timeout_s: float,
) -> tuple[PeerSocket, str]:  # fmt: skip
    poller = zmq.Poller()
    peers: dict[zmq.Socket[bytes], tuple[str, PeerSocket]] = {}
    for index, address in enumerate(addresses):
        peer = PeerSocket(context, keys, f"{join.rank}:{index}".encode(), LOST_S)
        peers[peer.raw] = (address, peer)
        peer.connect(address)
        peer.send(encode(msgspec.structs.replace(join, reached=address)))
        poller.register(peer.raw, zmq.POLLIN)
    answered = [sock for sock, _ in poller.poll(int(timeout_s * 1000))]
    for sock, (_, peer) in peers.items():
        if not answered or sock is not answered[0]:
            peer.close()
    if not answered:
        tried = ", ".join(addresses)
        raise GangLost(
            f"rank {join.rank} on {join.node}: rank 0 did not answer within {timeout_s:g} s at {tried}"
        )
    address, chosen = peers[answered[0]]
    if chosen.receive() is None:
        raise UsageError("rank 0 answered with nothing")
    return chosen, address
