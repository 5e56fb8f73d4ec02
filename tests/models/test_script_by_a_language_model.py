"""A language model words the scenes: streamed, constrained, checked against the document, replaceable.

The endpoint is a real HTTP server on loopback that speaks the streaming protocol; what it says is canned.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.core.document import split_sentences
from hpcwise.core.errors import ModelError, Stopped, UsageError
from hpcwise.core.screenplay import Line, Scene, Screenplay
from hpcwise.models.base import Call, Devices, Input, ModelSpec, Output
from hpcwise.models.llm.adapter import LlmScreenplayAdapter
from hpcwise.models.llm.client import Endpoint, key_of_user, objects, stream_chat
from tests.models.kites import CAST, kite_paper

Answer = Callable[[dict[str, Any]], tuple[int, str]]


class Server:
    """Answers chat completions: `answer` gets the request's body and returns a status and the whole text."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                outer.keys.append(self.headers.get("Authorization", ""))
                status, text = answer(body)
                self.send_response(status)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                if status != 200:
                    self._chunk(text.encode())
                else:
                    for at in range(0, len(text), 7):  # tokens do not end where objects end
                        delta = {"choices": [{"delta": {"content": text[at : at + 7]}}]}
                        self._chunk(f"data: {json.dumps(delta)}\n\n".encode())
                    self._chunk(b": a comment\n\ndata: [DONE]\n\n")
                self._chunk(b"")

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Answer], Server]]:
    monkeypatch.delenv("HPCWISE_LLM_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def film(folder: Path, url: str, duration_s: float = 100.0, **more: Any) -> list[Output]:
    (folder / "in").mkdir(parents=True)
    (folder / "work").mkdir()
    (folder / "in" / "document.json").write_bytes(msgspec.json.encode(kite_paper()))
    adapter = LlmScreenplayAdapter()
    adapter.load(ModelSpec("llm", "1", "llm-screenplay"), Devices())
    params = {"duration_s": duration_s, "cast": CAST, "endpoint": {"url": url, "model": "tiny"}}
    edges = {"document": iter([Input(folder / "in", {})])}
    call = Call("screenplay", params, 0, edges, folder / "work", **more)
    return list(adapter.run(call, lambda *_: None, lambda: False))


def play_of(found: list[Output]) -> Screenplay:
    return msgspec.json.decode(found[-1].files["screenplay.json"].read_bytes(), type=Screenplay)


def lines_of(scenes: tuple[Scene, ...]) -> list[Line]:
    return [line for scene in scenes for shot in scene.shots for line in shot.lines]


def sentences_of(body: dict[str, Any]) -> dict[str, str]:
    asked = body["messages"][-1]["content"].split("Sentences:\n")[1]
    return dict(line.split(": ", 1) for line in asked.splitlines())


def extractive(folder: Path) -> tuple[Scene, ...]:
    """The film that the document's own sentences make."""
    return play_of(film(folder, "http://127.0.0.1:9/v1")).scenes


def faithful(body: dict[str, Any]) -> tuple[int, str]:
    """Says every sentence in words of its own that add nothing."""
    sentences = sentences_of(body)
    lines = [{"speaker": "maya", "text": "And what does that mean?", "sources": []}]
    for number, text in sentences.items():
        text = text.replace("We present", "The authors built")
        lines.append({"speaker": "dan", "text": f"Well, {text[0].lower()}{text[1:]}", "sources": [number]})
    return 200, json.dumps({"lines": lines})


def test_scenes_are_worded_by_the_model_and_every_line_names_its_sentence(
    tmp_path: Path, serve: Callable[[Answer], Server]
) -> None:
    server = serve(faithful)
    found = film(tmp_path, server.url)
    play = play_of(found)
    assert play.notes == ()
    assert play.written_by == "tiny with this document's own sentences"
    printed = {s.text for part in kite_paper().sections for s in part.sentences}
    own = [line for line in lines_of(play.scenes[1:-1]) if line.speaker == "dan"]
    assert len(own) >= 5 and all(line.text.startswith("Well, ") for line in own)
    caption = kite_paper().figures[0].caption
    assert {line.source for line in own} <= printed | {f"Figure 1: {s}" for s in split_sentences(caption)}
    text = kite_paper().text
    assert all(text[line.span[0] : line.span[1]] == line.source and line.page >= 1 for line in own)
    assert [out.facts["scene"]["title"] for out in found] == [scene.title for scene in play.scenes]
    length_s = sum(shot.expected_s for scene in play.scenes for shot in scene.shots)
    assert length_s == pytest.approx(100.0, rel=0.05)
    for body in server.asked:
        schema = body["response_format"]["json_schema"]["schema"]
        line = schema["properties"]["lines"]["items"]["properties"]
        assert body["stream"] is True
        assert line["speaker"]["enum"] == ["dan", "maya"]
        assert line["sources"]["items"]["enum"] == list(sentences_of(body))
        assert [m["role"] for m in body["messages"]] == [
            "system", "user", "assistant", "user", "assistant", "user",
        ]  # fmt: skip


def test_a_line_with_a_wrong_number_or_name_is_replaced_by_the_documents_own_sentence(
    tmp_path: Path, serve: Callable[[Answer], Server]
) -> None:
    def lies(body: dict[str, Any]) -> tuple[int, str]:
        sentences = sentences_of(body)
        lines = [{"speaker": "maya", "text": "How long did Einstein fly it?", "sources": []}]
        lines += [
            {"speaker": "dan", "text": "It flew for 97 hours, said.", "sources": [number]}
            for number in sentences
        ]
        lines.append({"speaker": "dan", "text": "Kites will replace every ship.", "sources": []})
        lines.append({"speaker": "zoe", "text": "I am not in the cast.", "sources": []})
        return 200, "\n".join(json.dumps(line) for line in lines)

    play = play_of(film(tmp_path, serve(lies).url))
    said = " ".join(line.text for line in lines_of(play.scenes))
    for wrong in ("97", "Einstein", "replace every ship", "not in the cast"):
        assert wrong not in said
    plan = extractive(tmp_path / "plan")
    assert {line.text for line in lines_of(play.scenes) if line.source} <= {
        line.text for line in lines_of(plan)
    }
    notes = "\n".join(play.notes)
    assert "'It flew for 97 hours, said.': number 97 is not in the source" in notes
    assert "; the document's own sentence is said" in notes
    assert "'How long did Einstein fly it?': name Einstein is not in the source; left out" in notes
    assert "speaker 'zoe' is not in the cast; left out" in notes


def test_an_endpoint_that_fails_leaves_the_extractive_film_and_says_so(
    tmp_path: Path, serve: Callable[[Answer], Server]
) -> None:
    server = serve(lambda body: (503, "overloaded"))
    found = film(tmp_path / "a", server.url)
    play = play_of(found)
    assert len(server.asked) == 1, "it is not asked again in this film"
    (note,) = play.notes
    assert note.endswith("answered 503: overloaded; from here on the document's own sentences are said")
    server.close()
    gone = play_of(film(tmp_path / "b", server.url))
    assert "Connection refused" in gone.notes[0]
    assert gone.scenes == play.scenes
    assert [out.facts.get("notes") for out in found[1:]] == [[note], *[[]] * (len(found) - 2)]


def test_a_server_without_schemas_is_asked_again_without_one_and_a_broken_stream_is_an_error(
    serve: Callable[[Answer], Server],
) -> None:
    def old(body: dict[str, Any]) -> tuple[int, str]:
        return (
            (400, "unknown field response_format") if "response_format" in body else (200, '{"text": "hi"}')
        )

    server = serve(old)
    pieces = stream_chat(Endpoint(server.url, "m", "secret"), [], {}, lambda: False)
    assert list(objects(pieces)) == [{"text": "hi"}]
    assert server.keys == ["Bearer secret"] * 2
    server = serve(lambda body: (200, "x" * 70))
    with pytest.raises(Stopped):
        list(stream_chat(Endpoint(server.url, "m"), [], {}, lambda: True))
    with pytest.raises(ModelError, match=r"^127\.0\.0\.1:\d+: answered 404"):
        list(stream_chat(Endpoint(serve(lambda body: (404, "no")).url, "m"), [], {}, lambda: False))


def test_objects_are_found_as_they_close_whatever_stands_between_them() -> None:
    text = 'Sure! {"lines": [{"text": "a \\"} b", "n": {"x": 1}}, junk, {"text": "c"}]} "and {"text": "d"}'
    for step in (1, 3, 1000):
        pieces = (text[i : i + step] for i in range(0, len(text), step))
        assert [found["text"] for found in objects(pieces)] == ['a "} b', "c", "d"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPCWISE_LLM_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert key_of_user() == ""
    key = tmp_path / "hpcwise" / "llm.key"
    key.parent.mkdir()
    key.write_text("s3cret\n")
    key.chmod(0o644)
    with pytest.raises(UsageError, match=r"llm\.key: others can read it; chmod 600"):
        key_of_user()
    key.chmod(0o600)
    assert key_of_user() == "s3cret"
