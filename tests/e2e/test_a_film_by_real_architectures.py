"""`hpcwise generate SPEC --models tiny`: a film by Flux, Wan's text encoder, denoiser and decoder apart,
speech-driven Wan and Real-ESRGAN with random weights, on one machine; and the same film when the denoiser is
killed in its loop."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcwise.cli.replay import records_of
from hpcwise.cli.run import Run
from hpcwise.core import messages as m
from hpcwise.media.probe import probe
from hpcwise.store.artifacts import Store
from hpcwise.store.latents import read_latent
from tests.cli.making import call
from tests.head.harness import REPOSITORY, until

#: Workers import torch, transformers and diffusers: seconds on a quiet machine, many on a busy one.
pytestmark = pytest.mark.timeout(600)
SLOW_S = 400.0

DOCUMENT = """# Kites that pull ships

Large kites can pull cargo ships across an ocean. A kite that flies in loops pulls hard. A computer steers it
through two lines. The trial ship saved fuel.
"""
#: One shot of two segments, so that its sketch is a stream of two loops.
SPEC: dict[str, Any] = {
    "input": "kites.md", "duration": "20s", "resolution": "352x224", "fps": 12, "quality": ["high"],
    "models": {"speech": "fallback-voice"}, "slo": "batch", "subtitles": ["srt"],
    "script": "kites.script.yaml",
    "cast": [
        {"id": "maya", "name": "Maya", "role": "host", "voice": "af_heart", "look": "maya"},
        {"id": "dan", "name": "Dan", "role": "expert", "voice": "am_michael", "look": "dan"},
    ],
}  # fmt: skip
LINES = [
    {"maya": "Kites can pull cargo ships."},
    {"dan": "A computer steers them."},
]
SCRIPT: dict[str, Any] = {
    "job": "film.yaml", "scenes": [{"title": "Kites", "shots": [{"shot": "two_shot", "lines": LINES}]}],
}  # fmt: skip
#: Who makes what.
MADE_BY = {
    "pdf-document", "approved-script", "fallback-voice", "tiny-flux", "tiny-yolos", "tiny-wan-text",
    "tiny-wan-dit", "tiny-wan-vae", "tiny-fantasytalking", "tiny-esrgan",
}  # fmt: skip


class Place:
    """A folder with a document, its spec and script, configurations, and checkpoints of random weights."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "kites.md").write_text(DOCUMENT)
        (root / "film.yaml").write_text(yaml.safe_dump(SPEC))
        (root / "kites.script.yaml").write_text(yaml.safe_dump(SCRIPT))
        shutil.copytree(REPOSITORY / "configs", root / "configs")
        head = root / "configs" / "head.yaml"
        config = yaml.safe_load(head.read_text())
        # As unsafe as workers can be: a checkpoint as often as its cost allows.
        config["fleet"][0]["losses_per_h"] = 1e9
        head.write_text(yaml.safe_dump(config))

    def begin(self, run: Run, *options: str) -> subprocess.Popen[str]:
        """The command, in the foreground of nobody."""
        env = {
            **os.environ, "HPCWISE_CONFIGS": str(self.root / "configs"), "PYTHONPATH": str(REPOSITORY),
            "HPCWISE_MODELS_DIR": str(self.root / "models"),
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "hpcwise", "generate", "film.yaml", "--models", "tiny", "--workers", "1",
             "--run-dir", str(run.results), *options],
            cwd=self.root, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip


@dataclass(frozen=True)
class Film:
    """What a run has left: the folder of its film, the hash of each file of each artifact by recipe."""

    run: Run
    folder: Path
    digests: dict[str, tuple[tuple[str, str], ...]]

    @classmethod
    def of(cls, run: Run) -> Film:
        [film] = run.results.glob("*/film.mp4")
        store = Store(run.paths)
        return cls(run, film.parent, {
            known.key: tuple(
                (f"{chunk}/{entry.name}", str(entry.digest))
                for chunk in range(known.n_chunks)
                for entry in store.read(known.key, chunk).manifest.files
            )
            for known in store.scan()
        })  # fmt: skip

    @property
    def receipt(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "receipt.json").read_bytes())
        return found

    def files(self, name: str) -> int:
        """How many artifacts' chunks hold a file of that name."""
        return sum(path.endswith(f"/{name}") for files in self.digests.values() for path, _ in files)

    def sha256(self) -> str:
        return hashlib.sha256((self.folder / "film.mp4").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> Iterator[Film]:
    run = Run.at(str(place.root / "undisturbed"))
    command = place.begin(run)
    try:
        out, err = command.communicate(timeout=SLOW_S)
        assert command.returncode == 0, (out, err)
        assert re.findall(r"^writing (\S+) to", err, re.MULTILINE), "checkpoints are written where they lack"
        yield Film.of(run)
    finally:
        command.kill()


def test_the_big_models_workflow_makes_a_film_with_sound_and_captions(undisturbed: Film) -> None:
    film = probe(undisturbed.folder / "film.mp4")
    assert (film.width, film.height, film.fps, film.video_codec) == (352, 224, 12.0, "h264")
    assert film.audio_codec == "aac" and 3.6 <= film.duration_s <= 6.0
    assert [line["speaker"] for line in _lines(undisturbed)] == ["maya", "dan"]
    assert "pull cargo" in (undisturbed.folder / "film.srt").read_text()
    receipt = undisturbed.receipt
    assert set(receipt["licences"]) == MADE_BY
    assert [shot["tier"] for shot in receipt["shots"]] == ["high", "high"]
    assert [shot["model"] for shot in receipt["shots"]] == ["tiny-esrgan", "tiny-esrgan"]
    # Denoised and decoded apart: latents of each segment are in the store, and the pictures of both stages.
    assert undisturbed.files("latents.h5") == 2 and undisturbed.files("frames.mkv") == 4
    [sketch] = [key for key, files in undisturbed.digests.items() if "0/latents.h5" in dict(files)]
    store = Store(undisturbed.run.paths)
    shapes = [read_latent(store.read(sketch, k).path / "latents.h5")[0].shape for k in (0, 1)]
    assert shapes[0] == shapes[1] and shapes[0][0] == 16  # Wan's channels


def test_kill_9_inside_the_denoising_loop_costs_no_saved_step_and_changes_no_bit(
    place: Place, undisturbed: Film
) -> None:
    run = Run.at(str(place.root / "killed"))
    command = place.begin(run)
    try:
        # In the second segment's loop of ten steps the second or third is durable.
        saved = until(lambda: list(run.paths.checkpoints.glob("*/*/00001-00000[23].h5")), SLOW_S)
        key = saved[0].parent.name
        [log] = run.paths.workers.glob("*/worker.log")
        process = re.search(r", process (\d+)", log.read_text())
        assert process is not None
        os.kill(int(process[1]), signal.SIGKILL)
        out, err = command.communicate(timeout=SLOW_S)
        assert command.returncode == 0, (out, err)
    finally:
        command.kill()
    film = Film.of(run)
    logs = {path: path.read_text() for path in run.paths.workers.glob("*/worker.log")}
    assert len(logs) == 2 and "goes on after step" not in logs.pop(log)
    [second] = logs.values()
    found = re.findall(rf"{key[:12]}: goes on after step (\d+) of chunk 1", second)
    assert len(found) == 1 and 2 <= int(found[0]) < 10
    # The engine knew of it: the second worker had the second segment alone to make, from that step on.
    records = [record for _, record in records_of(run)]
    sent = [c for r in records for c in r.commands if isinstance(c, m.Dispatch) and c.key == key]
    assert [command.first_chunk for command in sent] == [0, 1]
    again = sent[1].task_id, sent[1].attempt
    told = [r.event for r in records if isinstance(r.event, m.TaskProgress)]
    assert all(e.done > 10 + int(found[0]) for e in told if (e.task_id, e.attempt) == again and e.done)
    assert film.digests == undisturbed.digests
    assert film.sha256() == undisturbed.sha256()
    assert not run.paths.checkpoints_of(key).exists()


def test_a_set_that_is_none_is_one_line_and_nothing_is_begun(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = place.root / "none"
    asked = ("generate", place.root / "film.yaml", "--models", "nosuch", "--run-dir", run_dir)
    says = "hpcwise: --models: 'nosuch' is no set of models; known are streamwise, tiny\n"
    assert call(capsys, *asked) == (2, "", says)
    assert not run_dir.exists()


def _lines(film: Film) -> list[dict[str, Any]]:
    play = json.loads((film.folder / "screenplay.json").read_bytes())
    return [line for scene in play["scenes"] for shot in scene["shots"] for line in shot["lines"]]
