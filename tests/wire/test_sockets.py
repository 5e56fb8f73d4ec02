"""CURVE sockets on loopback, with real contexts and threads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from hpcwise.core.errors import StaleEpoch, UsageError, WireError, WrongVersion
from hpcwise.wire.messages import Down, Here, Probe, Up, decode_up, encode
from hpcwise.wire.sockets import (
    CurveKeys,
    PeerSocket,
    ServerSocket,
    address_of,
    candidate_hosts,
    find_head,
)

Context = zmq.Context[zmq.Socket[bytes]]


def pairs() -> tuple[CurveKeys, CurveKeys]:
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    return CurveKeys(server[0], server[1], client[0]), CurveKeys(client[0], client[1], server[0])


class Answering(threading.Thread):
    """A head that answers every Probe with `frame`."""

    def __init__(self, keys: CurveKeys, frame: bytes) -> None:
        super().__init__(daemon=True)
        self.server = ServerSocket(keys)
        self.frame = frame
        self.asked = 0
        self.quit = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.quit.is_set():
            for peer, frame in self.server.receive(10):
                self.asked += decode_up(frame).messages == (Probe(),)
                self.server.send(peer, self.frame)
            self.quit.wait(0.005)
        self.server.close()


@pytest.fixture
def context() -> Iterator[Context]:
    made: Context = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def heads() -> Iterator[list[Answering]]:
    made: list[Answering] = []
    yield made
    for head in made:
        head.quit.set()
        head.join()


def receive(server: ServerSocket, within_s: float = 5.0) -> tuple[bytes, bytes]:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        for got in server.receive(1):
            return got
        threading.Event().wait(0.005)
    raise AssertionError("nothing came")


def test_frames_go_both_ways_and_a_peer_keeps_its_name(context: Context) -> None:
    server_keys, client_keys = pairs()
    server = ServerSocket(server_keys)
    peer = PeerSocket(context, client_keys, b"w1")
    peer.connect(server.addresses[0])
    assert peer.send(b"hello")
    assert receive(server) == (b"w1", b"hello")
    assert server.send(b"w1", b"welcome")
    assert peer.receive(5.0) == b"welcome"
    assert peer.receive() is None
    peer.close()
    again = PeerSocket(context, client_keys, b"w1")
    again.connect(server.addresses[0])
    again.send(b"back")
    assert receive(server) == (b"w1", b"back")
    assert server.send(b"w1", b"known")
    assert again.receive(5.0) == b"known"
    again.close()
    server.close()


def test_sending_to_nobody_says_so_and_does_not_block() -> None:
    server = ServerSocket(pairs()[0])
    assert server.send(b"nobody", b"x") is False
    server.close()


def test_a_stranger_with_the_servers_public_key_is_not_heard(context: Context) -> None:
    server_keys, client_keys = pairs()
    server = ServerSocket(server_keys)
    stranger = zmq.curve_keypair()
    other = PeerSocket(context, CurveKeys(stranger[0], stranger[1], server_keys.public))
    other.connect(server.addresses[0])
    other.send(b"let me in")
    peer = PeerSocket(context, client_keys)
    peer.connect(server.addresses[0])
    peer.send(b"hello")
    assert receive(server)[1] == b"hello"
    with pytest.raises(AssertionError, match="nothing came"):
        receive(server, 0.3)
    other.close()
    peer.close()
    server.close()


def test_the_address_that_answers_is_found_among_wrong_ones(
    context: Context, heads: list[Answering]
) -> None:
    server_keys, client_keys = pairs()
    heads.append(Answering(server_keys, encode(Down(4, 0, 0, (Here(),)))))
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        closed_port = closed.getsockname()[1]
        closed.close()
        good = heads[0].server.addresses[0]
        wrong = [f"tcp://127.0.0.1:{silent.getsockname()[1]}", f"tcp://127.0.0.1:{closed_port}", "nonsense"]
        assert find_head(context, client_keys, [*wrong, good], 4, 5.0) == good
        with pytest.raises(WireError, match=r"no head answered within 0\.2 s .*; address 'nonsense'"):
            find_head(context, client_keys, wrong, 4, 0.2)


def test_a_head_of_an_older_epoch_is_not_taken_for_the_one_expected(
    context: Context, heads: list[Answering]
) -> None:
    server_keys, client_keys = pairs()
    heads.append(Answering(server_keys, encode(Down(3, 0, 0, (Here(),)))))
    heads.append(Answering(server_keys, encode(Down(5, 0, 0, (Here(),)))))
    old, new = (head.server.addresses[0] for head in heads)
    assert find_head(context, client_keys, [old, new], 4, 5.0) == new
    with pytest.raises(StaleEpoch, match="a head of epoch 3 answered, epoch 4 was expected"):
        find_head(context, client_keys, [old], 4, 0.3)


def test_a_head_of_another_protocol_is_a_clear_error(context: Context, heads: list[Answering]) -> None:
    server_keys, client_keys = pairs()
    heads.append(Answering(server_keys, b"HPW\x02whatever"))
    with pytest.raises(WrongVersion, match="the peer speaks protocol 2"):
        find_head(context, client_keys, [heads[0].server.addresses[0]], 1, 5.0)


def test_something_else_that_listens_there_is_ignored(context: Context, heads: list[Answering]) -> None:
    server_keys, client_keys = pairs()
    heads.append(Answering(server_keys, b"HTTP/1.1 400 Bad Request"))
    heads.append(Answering(server_keys, encode(Down(1, 0, 0, (Here(),)))))
    addresses = [head.server.addresses[0] for head in heads]
    assert find_head(context, client_keys, addresses, 1, 5.0) == addresses[1]


def test_interfaces_are_named_by_address_or_by_name() -> None:
    assert address_of("lo") == "127.0.0.1"
    assert address_of("127.0.0.1") == "127.0.0.1"
    assert candidate_hosts()[-1].startswith("127.")
    with pytest.raises(UsageError, match="interface 'nowhere0': no such interface here"):
        ServerSocket(pairs()[0], "nowhere0")
    with pytest.raises(UsageError, match=r"interface '203\.0\.113\.7': cannot listen"):
        ServerSocket(pairs()[0], "203.0.113.7")


def test_a_head_on_all_interfaces_advertises_each_of_them(context: Context) -> None:
    server_keys, client_keys = pairs()
    server = ServerSocket(server_keys, "*")
    assert [a.rsplit(":", 1)[0] for a in server.addresses] == [f"tcp://{h}" for h in candidate_hosts()]
    peer = PeerSocket(context, client_keys)
    peer.connect(server.addresses[-1])
    peer.send(encode(Up(1, (Probe(),))))
    assert decode_up(receive(server)[1]) == Up(1, (Probe(),))
    peer.close()
    server.close()
