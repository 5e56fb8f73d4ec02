"""A chat completion from an OpenAI-compatible endpoint, streamed: server-sent events over plain HTTP/1.1."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hpcwise.core.errors import ModelError, Stopped, UsageError

#: Longest wait for a connection, for the next word of an answer, and for all of it, seconds.
CONNECT_S: Final = 10.0
SILENCE_S: Final = 60.0
ANSWER_S: Final = 300.0
#: Longest answer, characters: a scene has some hundred words; a model that goes round in circles has no end.
LONGEST_ANSWER: Final = 1 << 16
_LONGEST_EVENT: Final = 1 << 20
#: How often it is looked whether the work is to stop, seconds.
_LOOK_S: Final = 0.2
#: Objects of an answer stand in a list or in an object of lists, never deeper.
_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class Endpoint:
    """url: up to and with the version (`http://host:8000/v1`); key: "" where none is asked for."""

    url: str
    model: str
    key: str = ""


def key_of_user() -> str:
    """$HPCWISE_LLM_KEY, else ~/.config/hpcwise/llm.key; "" where there is neither.

    Raises UsageError for a key file that others can read or that cannot be read, and for what is no key.
    """
    if given := os.environ.get("HPCWISE_LLM_KEY", "").strip():
        return _sendable(given, "HPCWISE_LLM_KEY")
    try:
        base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    except RuntimeError:  # no HOME, and a user that this machine has no entry for
        return ""
    path = Path(base) / "hpcwise" / "llm.key"
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path}: others can read it; chmod 600 {path}")
        return _sendable(path.read_bytes()[:4096].decode("utf-8", "replace").strip(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); make it a file with the key") from error


def _sendable(key: str, where: str) -> str:
    """The key, if it can stand in a header. It is never part of a message."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(f"{where}: holds no key; write the key alone, on one line")
    return key


def stream_chat(
    endpoint: Endpoint,
    messages: Sequence[dict[str, str]],
    schema: dict[str, Any],
    should_stop: Callable[[], bool],
    *,
    seed: int = 0,
    silence_s: float = SILENCE_S,
    answer_s: float = ANSWER_S,
) -> Iterator[str]:
    """Pieces of the answer as they come. schema: of the JSON that is wanted; a server that knows no such
    constraint is asked again without it. Raises ModelError with one line, Stopped.
    """
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": list(messages),
        "stream": True,
        "temperature": 0.3,
        "seed": seed % 2**31,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "lines", "schema": schema, "strict": True},
        },
    }
    until_s = time.monotonic() + answer_s
    try:
        yield from _ask(endpoint, body, should_stop, silence_s, until_s)
    except _NotUnderstood:
        del body["response_format"]
        yield from _ask(endpoint, body, should_stop, silence_s, until_s)


class _NotUnderstood(ModelError):
    """The server refused the request as it was written (400 or 422)."""


def _ask(
    endpoint: Endpoint,
    body: dict[str, Any],
    should_stop: Callable[[], bool],
    silence_s: float,
    until_s: float,
) -> Iterator[str]:
    """Whatever the server does, this ends: by `until_s`, or when no word came for `silence_s`."""
    exchange = _Exchange(endpoint, body)
    heard_s, length = time.monotonic(), 0
    try:
        while True:
            if should_stop():
                raise Stopped("stopped while a screenplay was written")
            now_s = time.monotonic()
            if now_s > min(heard_s + silence_s, until_s):
                what = "its answer took too long" if now_s > until_s else f"no word for {silence_s:g} s"
                raise ModelError(f"{exchange.name}: {what}")
            try:
                piece = exchange.pieces.get(timeout=min(_LOOK_S, silence_s))
            except queue.Empty:
                continue
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            heard_s, length = time.monotonic(), length + len(piece)
            if length > LONGEST_ANSWER:
                raise ModelError(f"{exchange.name}: its answer has no end (over {LONGEST_ANSWER} characters)")
            if piece:
                yield piece
    finally:
        exchange.leave()


class _Exchange:
    """One request and its answer, in a thread: reads that block must not keep the work from being stopped.

    pieces: of the answer; None at its end, or the error that ended it.
    """

    def __init__(self, endpoint: Endpoint, body: dict[str, Any]) -> None:
        self.pieces: queue.Queue[str | Exception | None] = queue.Queue()
        self._endpoint, self._body = endpoint, json.dumps(body)
        self._socket: socket.socket | None = None
        self._left = threading.Event()
        self._connection: http.client.HTTPConnection
        try:
            where = urlsplit(endpoint.url)
            host, port = where.hostname or "", where.port
            if where.scheme == "https":
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    host, port or 443, timeout=CONNECT_S, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(host, port or 80, timeout=CONNECT_S)
        except (ValueError, http.client.InvalidURL) as error:
            raise ModelError(f"{endpoint.url[:80]!r}: {error}; write http://host:port/v1") from error
        self.name = f"{host}:{port}" if port else host
        query = f"?{where.query}" if where.query else ""
        self._path = f"{where.path.rstrip('/')}/chat/completions{query}"
        threading.Thread(target=self._run, name="llm", daemon=True).start()

    def leave(self) -> None:
        """Nobody listens any more: a read that blocks returns."""
        self._left.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            for piece in self._answer():
                self.pieces.put(piece)
            self.pieces.put(None)
        except ModelError as error:
            self.pieces.put(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # ValueError: a host or path that no request can hold.
            self.pieces.put(ModelError(f"{self.name}: {_line(error) or type(error).__name__}"))
        finally:
            self._connection.close()

    def _answer(self) -> Iterator[str]:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if self._endpoint.key:
            headers["Authorization"] = f"Bearer {self._endpoint.key}"
        self._connection.connect()
        self._socket = self._connection.sock
        self._socket.settimeout(ANSWER_S)
        if self._left.is_set():
            return
        self._connection.request("POST", self._path, self._body, headers)
        with contextlib.closing(self._connection.getresponse()) as answer:
            if answer.status != 200:
                raise self._refused(answer)
            if "json" in (answer.getheader("Content-Type") or "").lower():
                # It does not stream: all of it comes at once.
                yield _content(_choice(answer.read(_LONGEST_EVENT), "message", self.name), "message")
                return
            yield from _pieces(answer, self._left, self.name)

    def _refused(self, answer: http.client.HTTPResponse) -> ModelError:
        said = _line(answer.read(400).decode("utf-8", "replace"))
        if self._endpoint.key:
            said = said.replace(self._endpoint.key, "…")
        kind = _NotUnderstood if answer.status in (400, 422) else ModelError
        fix = (
            "; give its key in HPCWISE_LLM_KEY or ~/.config/hpcwise/llm.key"
            if answer.status in (401, 403)
            else ""
        )
        return kind(f"{self.name}: answered {answer.status}: {said or answer.reason}{fix}")


def _pieces(answer: http.client.HTTPResponse, left: threading.Event, name: str) -> Iterator[str]:
    """What each event adds, "" where it adds nothing to what is said (a model that thinks first)."""
    finished = False
    while (line := answer.readline(_LONGEST_EVENT)) and not left.is_set():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        choice = _choice(data, "delta", name)
        finished = finished or choice.get("finish_reason") is not None
        yield _content(choice, "delta")
    # Some servers close where others say [DONE]; what has a reason to end has ended.
    if not finished:
        raise ModelError(f"{name}: the stream ended before it was done")


def _choice(data: bytes, part: str, name: str) -> dict[str, Any]:
    """The first choice of a chat completion (`message`) or of a chunk of one (`delta`); {} where it has none,
    as where a server counts tokens."""
    try:
        event = json.loads(data)
        error = event.get("error")
        choice: dict[str, Any] = (event.get("choices") or [{}])[0]
        _content(choice, part)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as wrong:
        raise ModelError(f"{name}: its answer is no chat completion: {data[:80]!r}") from wrong
    if error:
        raise ModelError(f"{name}: {_line(error)}")
    return choice


def _line(said: object) -> str:
    """One line of what somebody else said."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(said).split())[:160])


def _content(choice: dict[str, Any], part: str) -> str:
    content = (choice.get(part) or {}).get("content")
    return content if isinstance(content, str) else ""


def objects(pieces: Iterator[str]) -> Iterator[dict[str, Any]]:
    """JSON objects with a `text` as soon as each is closed, whether they stand in a list, in an object or
    one a line. What is between them is passed over."""
    buffer = ""
    opened: list[int] = []
    in_string = escaped = False
    at = 0
    for piece in pieces:
        buffer += piece
        while at < len(buffer):
            char = buffer[at]
            at += 1
            if in_string:
                in_string = escaped or char != '"'
                escaped = not escaped and char == "\\"
            elif char == '"':
                in_string = bool(opened)  # prose between the objects may hold a lone quote
            elif char == "{":
                opened.append(at - 1)
            elif char == "}" and opened:
                start = opened.pop()
                if len(opened) > _DEPTH:
                    continue
                try:
                    found = json.loads(buffer[start:at])
                except (ValueError, RecursionError):
                    continue
                if isinstance(found, dict) and isinstance(found.get("text"), str):
                    yield found
