"""Sessions, numbers and duplicates, against a socket that keeps what it is given."""

from __future__ import annotations

from typing import Any

from hpcwise.core import messages as m
from hpcwise.core.resources import AttemptRef, WorkerInfo
from hpcwise.head import peers as peers_module
from hpcwise.head.peers import Peers
from hpcwise.wire.messages import Ack, Down, Events, Heartbeat, Hello, Stop, Welcome, decode_down

INFO = WorkerInfo(worker_id="w1", kind="cpu", hardware="cpu")


class Socket:
    """Takes frames unless its peer does not read."""

    def __init__(self) -> None:
        self.reads = True
        self.sent: list[Down] = []

    def send(self, peer: bytes, frame: bytes) -> bool:
        if self.reads:
            self.sent.append(decode_down(frame))
        return self.reads


def hello(first_seq: int = 0, *unacked: Any, nonce: str = "n") -> Hello:
    return Hello(worker=INFO, nonce=nonce, first_seq=first_seq, unacked=unacked)


def started(i: int) -> m.TaskStarted:
    return m.TaskStarted(f"t{i}", 1)


def make() -> tuple[Peers, Socket]:
    socket = Socket()
    return Peers(socket, 3), socket  # type: ignore[arg-type]


def test_a_session_begins_with_its_welcome_and_parcels_are_numbered() -> None:
    peers, socket = make()
    peers.join(hello(), 0.0)
    peers.put("w1", m.Drain("w1", "idle"))
    assert peers.flush(1.0) == []
    peers.put("w1", m.Revoke("w1", "t", 1))
    peers.put("w1", m.Revoke("w1", "u", 1))
    peers.flush(2.0)
    peers.flush(3.0)
    assert socket.sent == [
        Down(3, 1, 1, (Welcome(1), m.Drain("w1", "idle"))),
        Down(3, 1, 2, (m.Revoke("w1", "t", 1), m.Revoke("w1", "u", 1))),
    ]
    assert peers.put("w2", m.Drain("w2", "idle")) is False


def test_events_that_come_twice_are_taken_once_and_acknowledged_each_time_there_are_new_ones() -> None:
    peers, socket = make()
    peer, fresh = peers.join(hello(0, started(0), started(1)), 0.0)
    assert fresh == (started(0), started(1))
    assert peers.fresh(peer, Events("n", 1, (started(1), started(2)))) == (started(2),)
    assert peers.fresh(peer, Events("n", 0, (started(0),))) == ()
    peers.flush(1.0)
    assert socket.sent == [Down(3, 1, 1, (Welcome(1), Ack(3)))]
    again, fresh = peers.join(hello(2, started(2), started(3)), 2.0)
    assert fresh == (started(3),) and again.session == 2
    other, fresh = peers.join(hello(0, started(9), nonce="another process"), 3.0)
    assert fresh == (started(9),) and other.session == 3


def test_what_waited_for_an_old_session_is_not_sent_in_a_new_one() -> None:
    peers, socket = make()
    peers.join(hello(), 0.0)
    peers.put("w1", m.Revoke("w1", "old", 1))
    peers.join(hello(), 1.0)
    peers.flush(2.0)
    assert socket.sent == [Down(3, 2, 1, (Welcome(2),))]


def test_a_worker_that_does_not_read_holds_up_nobody_and_counts_as_lost_in_the_end() -> None:
    peers, socket = make()
    peers.join(hello(), 0.0)
    socket.reads = False
    for i in range(peers_module.MOST_WAITING):
        peers.put("w1", m.Revoke("w1", f"t{i}", 1))
        assert peers.flush(float(i)) == []
    peers.put("w1", m.Revoke("w1", "last", 1))
    assert peers.flush(9e9) == ["w1"]
    socket.reads = True
    peers.flush(9e9)
    peers.put("w1", m.Revoke("w1", "more", 1))
    peers.flush(9e9)
    assert [parcel.number for parcel in socket.sent] == list(range(1, peers_module.MOST_WAITING + 3))


def test_an_idle_worker_that_misses_parcels_is_noticed_after_two_heartbeats() -> None:
    peers, _ = make()
    peers.join(hello(), 0.0)
    peers.flush(0.0)
    assert not peers.lagging(Heartbeat("w1", received=0, session=1), 1.0)  # may still be on its way
    assert not peers.lagging(Heartbeat("w1", received=0, session=1), 5.0)
    assert peers.lagging(Heartbeat("w1", received=0, session=1), 6.0)
    assert not peers.lagging(Heartbeat("w1", received=1, session=1), 7.0)
    assert not peers.lagging(Heartbeat("w1", received=0, session=0), 8.0)
    busy = Heartbeat("w1", 1.0, AttemptRef("t", 1), received=0, session=1)
    assert not any(peers.lagging(busy, 9.0 + i) for i in range(5))


def test_a_closing_head_tells_those_who_come_late_too() -> None:
    peers, socket = make()
    peers.join(hello(), 0.0)
    peers.close(Stop("the head stops"))
    peers.flush(1.0)
    peers.join(hello(), 2.0)
    peers.flush(3.0)
    assert [parcel.messages for parcel in socket.sent] == [
        (Welcome(1), Stop("the head stops")), (Welcome(2), Stop("the head stops"))
    ]  # fmt: skip
