"""Language models that a worker has itself: a server that it starts, and one in its own process."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.core.errors import ModelError, ModelMissing, UsageError
from hpcwise.core.screenplay import Screenplay
from hpcwise.models.base import Call, Devices, Input, ModelSpec, Output
from hpcwise.models.llm import prompt
from hpcwise.models.llm.client import objects
from hpcwise.models.llm.server import ServedScreenplayAdapter
from tests.models.kites import CAST, kite_paper

SERVER = str(Path(__file__).with_name("stand_in_server.py"))
COMMAND = [sys.executable, SERVER, "{folder}", "{port}", "{key}", "{name}", "{devices}"]


def _spec(folder: Path, **options: Any) -> ModelSpec:
    return ModelSpec("big", "1", "vllm-screenplay", folder, {"command": COMMAND, "start_s": 30, **options})


def _film(adapter: Any, folder: Path, duration_s: float = 100.0) -> list[Output]:
    (folder / "in").mkdir(parents=True)
    (folder / "work").mkdir()
    (folder / "in" / "document.json").write_bytes(msgspec.json.encode(kite_paper()))
    edges = {"document": iter([Input(folder / "in", {})])}
    call = Call("screenplay", {"duration_s": duration_s, "cast": CAST}, 0, edges, folder / "work")
    return list(adapter.run(call, lambda *_: None, lambda: False))


def _ends(pid: int) -> bool:
    """Whether that process ends; it may be about to."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(process):
        return bool(select.select([process], [], [], 20)[0])


def test_a_worker_serves_its_own_model_and_the_server_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    adapter = ServedScreenplayAdapter()
    adapter.load(_spec(folder), Devices("cuda", (0, 1)))
    seen = json.loads((folder / "seen.json").read_text())
    assert (seen["devices"], seen["visible"]) == ("2", "2,5")
    found = _film(adapter, tmp_path / "film")
    play = msgspec.json.decode(found[-1].files["screenplay.json"].read_bytes(), type=Screenplay)
    said = [line.text for s in play.scenes[1:-1] for shot in s.shots for line in shot.lines]
    assert play.written_by == "big with this document's own sentences"
    assert play.notes == () and any(text.startswith("Well, ") for text in said)
    server = adapter._server
    assert server.poll() is None
    os.kill(seen["pid"], 9)
    server.wait()
    with pytest.raises(ModelError, match="its server ended with -9: it said nothing"):
        _film(adapter, tmp_path / "again")
    fresh = ServedScreenplayAdapter()
    fresh.load(_spec(folder), Devices())
    server = fresh._server
    del fresh
    assert server.poll() is not None


def test_a_server_ends_even_when_its_worker_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    code = (
        "import sys, pathlib, os; from tests.models.test_families_llm import _spec;"
        "from hpcwise.models.llm.server import ServedScreenplayAdapter;"
        "from hpcwise.models.base import Devices; a = ServedScreenplayAdapter();"
        "a.load(_spec(pathlib.Path(sys.argv[1])), Devices()); os.kill(os.getpid(), 9)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=root, check=False, timeout=60)
    assert done.returncode == -9
    assert _ends(json.loads((folder / "seen.json").read_text())["pid"])


def test_what_a_server_lacks_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"model big: put its checkpoint into .*/none"):
        ServedScreenplayAdapter().load(_spec(tmp_path / "none"), Devices())
    with pytest.raises(ModelError, match=r"its server ended with 3: no config\.json in the checkpoint"):
        ServedScreenplayAdapter().load(_spec(tmp_path), Devices())
    with pytest.raises(ModelMissing, match="no-such-server is not there; install it on the workers' nodes"):
        ServedScreenplayAdapter().load(_spec(tmp_path, command=["no-such-server"]), Devices())
    with pytest.raises(UsageError, match="options: Object contains unknown field `comand`"):
        ServedScreenplayAdapter().load(_spec(tmp_path, comand=[]), Devices())
    sleeper = [sys.executable, "-c", "import time; print('still loading', flush=True); time.sleep(60)"]
    with pytest.raises(ModelError, match="was not ready in 1 s: still loading"):
        ServedScreenplayAdapter().load(_spec(tmp_path, command=sleeper, start_s=1), Devices())


def test_a_model_in_this_process_answers_in_the_form_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    # Of the plan, not of the words.
    monkeypatch.setattr("hpcwise.models.llm.adapter.load_embedder", lambda: None)
    from hpcwise.models.diffusion import tiny
    from hpcwise.models.hf_llm.adapter import LocalScreenplayAdapter

    folder = tmp_path / "tiny-llama"
    tiny.build("tiny-llama", folder)
    adapter = LocalScreenplayAdapter()
    options = {"dtype": "float32", "temperature": 1.0, "most_lines": 3, "line_tokens": 8}
    adapter.load(ModelSpec("tiny-llama", "1", "transformers-screenplay", folder, options), Devices())
    wanted = prompt.schema(["ann", "ben"], ["s1", "s2", "s3"])
    answers = []
    for seed in (1, 1, 2):
        chat = adapter._chat(adapter._endpoint(None), seed, lambda: False)  # type: ignore[arg-type]
        answers.append(list(chat([{"role": "user", "content": "Scene: kites"}], wanted)))
    assert answers[0] == answers[1] != answers[2]
    for answer in answers:
        lines = json.loads("".join(answer))["lines"]
        assert list(objects(iter(answer))) == lines
        assert 1 <= len(lines) <= 3
        for line in lines:
            assert list(line) == ["speaker", "text", "sources"] and line["speaker"] in ("ann", "ben")
            assert set(line["sources"]) <= {"s1", "s2", "s3"} and len(set(line["sources"])) == len(
                line["sources"]
            )
    with pytest.raises(ModelMissing, match="holds no language model"):
        (tmp_path / "empty").mkdir()
        adapter.load(ModelSpec("m", "1", "transformers-screenplay", tmp_path / "empty"), Devices())
