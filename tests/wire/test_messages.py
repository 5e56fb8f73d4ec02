"""Frames: what goes in comes out, and nothing else is understood."""

from __future__ import annotations

import random

import msgspec
import pytest

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef, RunTask
from hpcwise.core.errors import WireError, WrongVersion
from hpcwise.core.resources import AttemptRef, Rank, WorkerInfo
from hpcwise.wire import messages as w
from hpcwise.wire.messages import Down, Up, decode_down, decode_up, encode
from hpcwise.wire.start import HeadAddress

INFO = WorkerInfo(worker_id="w1", kind="cpu", hardware="cpu", ranks=(Rank("node", (0, 1)),), models=("a",))
EVENTS: tuple[w.WorkerEvent, ...] = (
    m.TaskStarted("t", 1),
    m.TaskProgress("t", 1, 3, 4),
    m.ChunkReady("t", 1, 0, {"frames": 84, "name": "ä"}, 5),
    m.TaskFinished("t", 1, 2, {"x": [1, 2.5, None]}, 0.5, 7, True, 1.5),
    m.TaskFailed("t", 1, "no", True),
    m.TaskPaused("t", 1, "", 2),
    m.TaskCancelled("t", 1),
    m.Revoked("t", 1),
    m.TooLate("t", 1),
    m.ModelLoaded("w1", "a", 0.1),
    m.ModelUnloaded("w1", "a"),
    m.ModelLoadFailed("w1", "a", "no"),
    m.WorkerDraining("w1", 3.0, "term"),
    m.ArtifactTorn("k"),
    m.StoreFull("full"),
    m.StoreAvailable(),
)
TASK = RunTask(
    task_id="t", attempt=2, stage="s", model="a", key="k" * 32, params={"n": 1}, deadline_s=5.0,
    inputs=(
        InputRef(name="in", kind="stream", key="i" * 32, n_chunks=1, done=False, inline_facts=({"a": 1},)),
    ),
)  # fmt: skip


def test_everything_that_a_worker_or_client_says_survives_the_wire() -> None:
    said = Up(
        3,
        (
            w.Probe(),
            w.Hello(worker=INFO, nonce="n", running=(AttemptRef("t", 1),), first_seq=4, unacked=EVENTS),
            w.Events("n", 9, EVENTS),
            w.Heartbeat("w1", 0.5, AttemptRef("t", 1), 7, 2),
            w.Goodbye("w1", "idle"),
            w.AskStatus(1), w.AskList(2), w.AskShow(3, "r"), w.AskExplain(4, "r", 2), w.AskReceipt(5, "r"),
            w.AskWatch(6, "r", 8), w.CancelRequest(7, "r"), w.StopHead(8, True),
        ),
    )  # fmt: skip
    assert decode_up(encode(said)) == said


def test_everything_that_a_head_says_survives_the_wire() -> None:
    said = Down(
        3, 1, 12,
        (
            w.Here(), w.Welcome(1), w.Ack(5), w.Run(TASK), w.SayHello(), w.Stop("end"), w.Refused("no", 4),
            w.Answer(4, w.raw({"a": 1}), 9),
            m.LoadModel("w1", "a"), m.UnloadModel("w1", "a"), m.Revoke("w1", "t", 1), m.Cancel("w1", "t", 1),
            m.Pause("w1", "t", 1), m.DeliverChunk("w1", "t", 1, "in", "k", 2, True), m.Drain("w1", "idle"),
        ),
    )  # fmt: skip
    heard = decode_down(encode(said))
    assert heard == said
    answer = heard.messages[7]
    assert isinstance(answer, w.Answer) and msgspec.msgpack.decode(answer.body) == {"a": 1}


def test_another_version_is_named_before_anything_else_is_understood() -> None:
    frame = bytearray(encode(Up(1, (w.Probe(),))))
    frame[3] = 9
    expected = "peer speaks protocol 9, this hpcwise speaks 1; install the same hpcwise"
    with pytest.raises(WrongVersion, match=expected):
        decode_up(bytes(frame))
    with pytest.raises(WrongVersion, match=expected):
        decode_down(bytes(frame[:4]) + b"\xff not even msgpack")


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"HP", b"HPW", b"GET / HTTP/1.1\r\n\r\n",
        b"HPW\x01", b"HPW\x01" + b"\x91" * 100_000, b"HPW\x01\xc1",
        encode(Down(1, 0, 0, (w.Here(),))),
        b"HPW\x01" + msgspec.msgpack.encode([1, [{"type": "Nonsense"}]]),
        b"HPW\x01" + msgspec.msgpack.encode([1, [{"type": "Heartbeat", "worker_id": 5}]]),
        b"HPW\x01" + msgspec.msgpack.encode(["one", []]),
        b"HPW\x01" + msgspec.msgpack.encode([1, [{"type": "Goodbye", "worker_id": b"\xff", "reason": ""}]]),
    ],
)  # fmt: skip
def test_garbage_is_a_wire_error_and_nothing_worse(frame: bytes) -> None:
    with pytest.raises(WireError):
        decode_up(frame)


def test_damaged_frames_never_raise_anything_but_a_wire_error() -> None:
    chance = random.Random(7)
    good = encode(Up(3, (w.Events("n", 0, EVENTS),)))
    understood = 0
    for _ in range(3000):
        frame = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        try:
            decode_up(bytes(frame[: chance.randint(0, len(frame))]))
            understood += 1
        except WireError:
            continue
    assert understood < 300


def test_head_json_that_is_none_is_named() -> None:
    address = HeadAddress(epoch=2, addresses=("tcp://a:1",), server_public="p", pid=1, host="h")
    assert HeadAddress.decode(address.encode()) == address
    with pytest.raises(WireError, match=r"head\.json: .*; start the head again"):
        HeadAddress.decode(b"{}")
