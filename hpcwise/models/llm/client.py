"""A chat completion from an OpenAI-compatible endpoint, streamed: server-sent events over plain HTTP/1.1."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hpcwise.core.errors import ModelError, Stopped, UsageError

#: Longest wait for a connection, and for the next piece of an answer, seconds.
CONNECT_S: Final = 10.0
SILENCE_S: Final = 60.0
_LONGEST_EVENT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """url: up to and with the version (`http://host:8000/v1`); key: "" where none is asked for."""

    url: str
    model: str
    key: str = ""


def key_of_user() -> str:
    """$HPCWISE_LLM_KEY, else ~/.config/hpcwise/llm.key; "" where there is neither.

    Raises UsageError for a key file that others can read.
    """
    if os.environ.get("HPCWISE_LLM_KEY"):
        return os.environ["HPCWISE_LLM_KEY"].strip()
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    path = Path(base) / "hpcwise" / "llm.key"
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path}: others can read it; chmod 600 {path}")
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def stream_chat(
    endpoint: Endpoint,
    messages: Sequence[dict[str, str]],
    schema: dict[str, Any],
    should_stop: Callable[[], bool],
    *,
    seed: int = 0,
    silence_s: float = SILENCE_S,
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
    try:
        yield from _ask(endpoint, body, should_stop, silence_s)
    except _NotUnderstood:
        del body["response_format"]
        yield from _ask(endpoint, body, should_stop, silence_s)


class _NotUnderstood(ModelError):
    """The server refused the request as it was written (400 or 422)."""


def _ask(
    endpoint: Endpoint, body: dict[str, Any], should_stop: Callable[[], bool], silence_s: float
) -> Iterator[str]:
    where = urlsplit(endpoint.url)
    name = f"{where.hostname}:{where.port}" if where.port else str(where.hostname)
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    connection: http.client.HTTPConnection
    if where.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(name, timeout=CONNECT_S, context=context)
    else:
        connection = http.client.HTTPConnection(name, timeout=CONNECT_S)
    try:
        connection.connect()
        connection.sock.settimeout(silence_s)
        connection.request("POST", f"{where.path.rstrip('/')}/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            said = " ".join(answer.read(400).decode("utf-8", "replace").split())[:160]
            kind = _NotUnderstood if answer.status in (400, 422) else ModelError
            raise kind(f"{name}: answered {answer.status}: {said}")
        yield from _pieces(answer, should_stop, name)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"{name}: {reason}") from error
    finally:
        connection.close()


def _pieces(answer: http.client.HTTPResponse, should_stop: Callable[[], bool], name: str) -> Iterator[str]:
    while line := answer.readline(_LONGEST_EVENT):
        if should_stop():
            raise Stopped("stopped while a screenplay was written")
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        try:
            event = json.loads(data)
            choices = event.get("choices") or [{}]
            piece = choices[0].get("delta", {}).get("content") or ""
        except (ValueError, AttributeError, IndexError) as error:
            raise ModelError(
                f"{name}: an event of the stream is no chat completion: {data[:80]!r}"
            ) from error
        if "error" in event:
            raise ModelError(f"{name}: {str(event['error'])[:160]}")
        if piece:
            yield str(piece)
    raise ModelError(f"{name}: the stream ended before it was done")


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
                try:
                    found = json.loads(buffer[start:at])
                except ValueError:
                    continue
                if isinstance(found, dict) and isinstance(found.get("text"), str):
                    yield found
