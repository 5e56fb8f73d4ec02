"""An endpoint that stalls, lies, closes or never ends costs a note, never the film: one line that names it.

The endpoint is a socket on loopback that sends the bytes of the case, then closes or falls silent.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core.errors import ModelError, Stopped, UsageError
from hpcwise.models.llm.client import LONGEST_ANSWER, Endpoint, key_of_user, objects, stream_chat

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
KEY = "s3cret-key"


def event(content: Any, **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": content}, **more}]}).encode() + b"\n\n"


def refusal(status: int, body: str) -> bytes:
    head = f"HTTP/1.1 {status} Sorry\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


class Raw:
    """Sends `data` to whoever asks; then closes, or with `hang` is silent until it is closed itself."""

    def __init__(self, data: bytes, hang: bool) -> None:
        self._data, self._hang = data, hang
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.left = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                head = peer.recv(1 << 16)
                while head and not head.rstrip().endswith(b"}"):  # the body may come apart from its header
                    head += peer.recv(1 << 16)
                try:
                    peer.sendall(self._data)
                    if self._hang:
                        while peer.recv(4096):
                            pass
                        self.left.set()
                except OSError:
                    self.left.set()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    servers: list[Raw] = []

    def start(data: bytes, hang: bool = False) -> Raw:
        servers.append(Raw(data, hang))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def said(server: Raw, silence_s: float = 60, answer_s: float = 60) -> tuple[str, str]:
    """What came of an answer, and the error that ended it ("" for none)."""
    found: list[str] = []
    try:
        asked = Endpoint(f"http://{server.name}/v1", "m", KEY)
        found.extend(stream_chat(asked, [], {}, lambda: False, silence_s=silence_s, answer_s=answer_s))
    except ModelError as error:
        return "".join(found), str(error)
    return "".join(found), ""


WORD, DONE = event("a"), b"data: [DONE]\n\n"
NONE = "its answer is no chat completion: "
WHOLE = refusal(200, json.dumps({"choices": [{"message": {"content": "a"}}]}))
#: What is sent; what is taken of it (None: whatever); what is said then ("": nothing is wrong).
ANSWERS: dict[str, tuple[bytes, str | None, str]] = {
    "closes at once": (b"", "", "Remote end closed connection without response"),
    "garbage": (b"\x00\xff\x16garbage\r\n\r\n", "", "garbage"),
    "an event that is no JSON": (OK + WORD + b"data: {oops\n\n", "a", f"{NONE}b'{{oops'"),
    "an event that is a list": (OK + b"data: [1]\n\n", "", f"{NONE}b'[1]'"),
    "choices that are a number": (OK + b'data: {"choices": 5}\n\n', "", NONE),
    "choices that are an object": (OK + b'data: {"choices": {"a": 1}}\n\n', "", NONE),
    "a choice that is a word": (OK + b'data: {"choices": ["a"]}\n\n', "", NONE),
    "nested without end": (OK + b"data: " + b"[" * 200_000 + b"\n\n", "", NONE),
    "no choices, then words": (OK + b'data: {"choices": []}\n\n' + WORD + DONE, "a", ""),
    "content of another type": (OK + event(7) + event(None) + WORD + DONE, "a", ""),
    "an end without [DONE]": (OK + event("a", finish_reason="stop"), "a", ""),
    "cut off in the middle": (OK + WORD + b'data: {"choi', "a", NONE),
    "closed between events": (OK + WORD, "a", "the stream ended before it was done"),
    "an error as an event": (OK + WORD + b'data: {"error": "out of\\nmemory"}\n\n', "a", "out of memory"),
    "a whole answer, not streamed": (WHOLE, "a", ""),
    "a whole answer that is a page": (refusal(200, "<html>"), "", f"{NONE}b'<html>'"),
    "too many requests": (refusal(429, "slow down"), "", "answered 429: slow down"),
    "a fault of its own": (refusal(500, "\x1b[31mboom\n" * 90), "", "answered 500: ?[31mboom ?[31mboom"),
    "a key that it refuses": (
        refusal(401, f"no {KEY}"),
        "",
        "answered 401: no …; give its key in HPCWISE_LLM",
    ),
    "a page elsewhere": (b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n\r\n", "", "answered 307: Moved"),
    "words without end": (OK + event("a" * 1000) * (LONGEST_ANSWER // 1000 + 2), None, "has no end"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_whatever_an_endpoint_answers_is_taken_or_named_in_one_line(
    raw: Callable[..., Raw], case: str
) -> None:
    data, wanted, error = ANSWERS[case]
    server = raw(data)
    found, wrong = said(server)
    if wanted is not None:
        assert found == wanted
    assert "\n" not in wrong and KEY not in wrong and len(wrong) < 300
    if error:
        assert wrong.startswith(f"{server.name}: ") and error in wrong
    else:
        assert wrong == ""


@pytest.mark.parametrize(
    ("data", "wanted"),
    [(b"", ""), (OK, ""), (OK + b": keep-alive\n\n" * 50, ""), (OK + event("a") + b'data: {"ch', "a")],
)
def test_a_silent_endpoint_is_given_up_and_let_go(raw: Callable[..., Raw], data: bytes, wanted: str) -> None:
    server = raw(data, hang=True)
    assert said(server, silence_s=0.3) == (wanted, f"{server.name}: no word for 0.3 s")
    assert server.left.wait(10), "the connection is closed behind it"


def test_an_endpoint_that_drips_is_given_up_in_the_end(raw: Callable[..., Raw]) -> None:
    server = raw(OK + event("") * 3, hang=True)
    assert said(server, silence_s=60, answer_s=0.3)[1] == f"{server.name}: its answer took too long"


def test_work_that_is_stopped_leaves_a_silent_endpoint_at_once(raw: Callable[..., Raw]) -> None:
    server = raw(OK + event("a"), hang=True)
    began_s = time.monotonic()
    pieces = stream_chat(Endpoint(f"http://{server.name}/v1", "m"), [], {}, lambda: bool(found))
    found: list[str] = []
    with pytest.raises(Stopped):
        found.extend(pieces)
    assert found == ["a"] and time.monotonic() - began_s < 5
    assert server.left.wait(10)


def test_objects_that_are_nested_without_end_are_passed_over_quickly() -> None:
    deep = '{"text":' * 20_000 + '"x"' + "}" * 20_000 + '{"text": "y"}'
    began_s = time.process_time()
    assert list(objects(iter([deep]))) == [{"text": "y"}]
    assert time.process_time() - began_s < 2


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h:99999/v1", "http://", "http://a b/v1", "http://x..y/v1"]
)
def test_an_address_that_none_can_have_is_one_line(url: str) -> None:
    with pytest.raises(ModelError) as error:
        list(stream_chat(Endpoint(url, "m"), [], {}, lambda: False))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (b"two\nlines", "holds no key; write the key alone, on one line"),
        (b"schl\xc3\xbcssel", "holds no key; write the key alone, on one line"),
        (b"\xff\xfe\x00", "holds no key; write the key alone, on one line"),
        (None, r"cannot be read \(Is a directory\); make it a file with the key"),
    ],
)
def test_a_key_that_cannot_be_sent_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes | None, said: str
) -> None:
    monkeypatch.delenv("HPCWISE_LLM_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "hpcwise" / "llm.key"
    path.parent.mkdir()
    if key is None:
        path.mkdir(mode=0o700)
    else:
        path.write_bytes(key)
        path.chmod(0o600)
    with pytest.raises(UsageError, match=said) as error:
        key_of_user()
    assert str(error.value).startswith(str(path)) and "schl" not in str(error.value)
