"""The whole way with real processes: a document becomes a film, is interrupted, resumed, cancelled."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from hpcwise.cli.run import Run
from hpcwise.wire.start import HeadAddress
from tests.cli.making import call, call_json, paper

ROOT = Path(__file__).resolve().parents[2]
#: Small and with a quick voice: what is tested here is the way, not the picture.
QUICK = """
input: mills.md
duration: {duration}
resolution: {size}
fps: {fps}
quality: [{tier}]
models: {{speech: fallback-voice}}
slo: {slo}
subtitles: [srt]
"""

#: Takes seconds to draw after its first shot: there is something to interrupt.
LONG = {"duration": "24s", "size": "640x400", "fps": "12", "tier": "high", "slo": "batch"}


def write_spec(folder: Path, **changes: str) -> Path:
    fields = {"duration": "20s", "size": "192x128", "fps": "10", "tier": "static", "slo": "live", **changes}
    paper(folder)
    path = folder / "job.yaml"
    path.write_text(QUICK.format(**fields), "utf-8")
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hpcwise", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Lines up to the one that holds `words`; fails where the process ends before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"{words!r} was never said: {''.join(lines)}")


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


@pytest.fixture
def films(tmp_path: Path) -> Iterator[Path]:
    """A folder of films; whatever head still runs for it at the end is stopped."""
    folder = tmp_path / "films"
    yield folder
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in " ".join(process.info["cmdline"] or ()):
            process.kill()


@pytest.mark.timeout(180)
def test_a_document_becomes_a_film_and_the_same_command_finds_it(
    tmp_path: Path, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path)
    here: Any = ("--run-dir", films, "--workers", "1")  # each worker takes seconds to start
    made = call_json(capsys, "generate", spec, *here)
    folder = Path(made["folder"])
    assert (made["state"], made["made_now"], made["film"]) == ("done", True, str(folder / "film.mp4"))
    assert folder == films / made["request_id"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "document.txt", "film.mp4", "film.srt", "live", "poster.png", "receipt.json", "screenplay.json",
    ]  # fmt: skip
    receipt = made["receipt"]
    assert receipt == json.loads((folder / "receipt.json").read_bytes())
    assert len(receipt["shots"]) >= 3
    assert {shot["tier"] for shot in receipt["shots"]} == {"static"}
    assert all(shot["key"] and shot["worker"] and shot["cost_usd"] > 0 for shot in receipt["shots"])
    assert processes_of(films) == []

    again = call_json(capsys, "generate", spec, *here)
    assert (again["made_now"], again["receipt"]) == (False, receipt)

    replayed = call_json(
        capsys, "replay", made["request_id"], "--verify", "--gantt", tmp_path / "g.png", "--run-dir", films
    )
    assert replayed["verify"]["same"] is True
    segments = replayed["timeline"]["requests"][0]["segments"]
    assert sum(segment["frames"] for segment in segments) == receipt["play"]["frames"]
    code, out, _ = call(capsys, "show", made["request_id"], "--run-dir", films)
    assert code == 0 and "Tide mills" in out

    # Without its film the same command makes it once more, out of the store.
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    remade = call_json(capsys, "generate", spec, *here)
    assert (remade["made_now"], remade["request_id"]) == (True, made["request_id"] + "-2")
    assert all(shot["cache_hit"] for shot in remade["receipt"]["shots"])
    film = Path(remade["film"]).read_bytes()

    # What gc took is made again when it is wanted, though the journal still knows of it.
    freed = call_json(capsys, "gc", "--older-than", "0", "--run-dir", films)
    assert {e["kind"]: e["count"] > 0 for e in freed["removed"]} == {
        "artifacts": True, "checkpoints": False, "inputs": True, "workers": True, "scratch": False,
    }  # fmt: skip
    anew = call_json(capsys, "generate", spec, "--again", *here)
    assert (anew["state"], anew["request_id"]) == ("done", made["request_id"] + "-3")
    assert [shot["key"] for shot in anew["receipt"]["shots"]] == [shot["key"] for shot in receipt["shots"]]
    assert (films / anew["request_id"] / "film.mp4").read_bytes() == film
    # With all that lies beside it, and what receipts say of it.
    kept = {name for name in remade["receipt"]["film_hashes"] if not name.startswith("live/")}
    assert kept == {"document.txt", "film.mp4", "film.srt", "poster.png", "screenplay.json"}
    assert anew["receipt"]["film_hashes"] == remade["receipt"]["film_hashes"]


def interrupted(spec: Path, films: Path, number: signal.Signals) -> None:
    """Begin the film, and stop it by a signal after its first shot."""
    process = start("generate", spec, "--run-dir", films)
    until(process, "shot 0 (1/")
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "segments are kept; the same command goes on with mills-" in said
    assert processes_of(films) == []


@pytest.mark.timeout(180)
def test_ctrl_c_stops_all_processes_and_the_same_command_goes_on(
    tmp_path: Path, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path, **LONG)
    interrupted(spec, films, signal.SIGINT)
    before = call_json(capsys, "ls", "--run-dir", films)["requests"]
    assert [row["state"] for row in before] == ["running"]

    made = call_json(capsys, "generate", spec, "--run-dir", films)
    assert (made["state"], made["request_id"]) == ("done", before[0]["request_id"])
    replayed = call_json(capsys, "replay", "--all", "--verify", "--run-dir", films)
    assert (replayed["verify"]["same"], replayed["verify"]["epoch"]) == (True, 2)
    timeline = replayed["timeline"]
    first, second = timeline["epochs"]
    spoken = [s for s in timeline["slices"] if s["task_id"].endswith("/speech/0000")]
    assert [(s["outcome"], first < s["end_s"] < second) for s in spoken] == [("finished", True)]
    assert any(s["outcome"] == "finished" and s["start_s"] > second for s in timeline["slices"])


@pytest.mark.timeout(120)
def test_a_terminal_that_ends_it_stops_all_processes_like_ctrl_c(tmp_path: Path, films: Path) -> None:
    interrupted(write_spec(tmp_path, **LONG), films, signal.SIGTERM)


@pytest.mark.timeout(180)
def test_a_head_that_dies_is_started_again_and_the_film_is_finished(tmp_path: Path, films: Path) -> None:
    process = start("generate", write_spec(tmp_path, **LONG), "--run-dir", films)
    until(process, "shot 0 (1/")
    address = HeadAddress.decode(Run.at(str(films)).paths.head_json.read_bytes())
    psutil.Process(address.pid).kill()
    said, _ = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert "the head ended unexpectedly and was started again (1)" in said
    assert "film.mp4" in said
    assert processes_of(films) == []


@pytest.mark.timeout(180)
def test_a_submitted_job_is_made_by_a_head_that_starts_later_and_can_be_cancelled(
    tmp_path: Path, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here: Any = ("--run-dir", films)
    spec = write_spec(tmp_path, duration="3m", size="640x400", fps="24", tier="high", slo="batch")
    name = call_json(capsys, "submit", spec, *here)["request_id"]
    starting = start("head", "start", *here)
    assert starting.communicate(timeout=60)[0].startswith("head started: epoch 1, process ")
    code, out, _ = call(capsys, "head", "start", *here)
    assert (code, out.startswith("head runs already: epoch 1")) == (0, True)
    short = call_json(capsys, "submit", write_spec(tmp_path), "--live", *here)["request_id"]
    watching = start("watch", short, *here)
    said, _ = watching.communicate(timeout=120)
    assert watching.returncode == 0, said
    assert said.splitlines()[-1] == f"{short}: done"
    assert (films / short / "film.mp4").is_file()

    status = call_json(capsys, "head", "status", *here)
    assert (status["running"], len(status["head"]["view"]["workers"])) == (
        True,
        len(psutil.Process().cpu_affinity()),
    )
    reasons = call_json(capsys, "explain", name, *here)["reasons"]
    assert {"runs", "waits_worker", "waits_inputs"} & {reason["code"] for reason in reasons}
    cancelled = call_json(capsys, "cancel", name, *here)
    assert cancelled["state"] == "cancelled"
    assert cancelled["stopped_s"] < 15
    workers = call_json(capsys, "head", "status", *here)["head"]["view"]["workers"]
    assert [worker["running"] for worker in workers] == [[]] * len(workers)
    code, out, _ = call(capsys, "watch", name, *here)
    assert (code, out.splitlines()[-1]) == (1, f"{name}: cancelled: cancelled by the user")
    assert call(capsys, "head", "stop", *here)[0] == 0
    assert processes_of(films) == []


@pytest.mark.timeout(60)
def test_a_document_without_running_text_fails_with_its_reason_and_code_1(
    tmp_path: Path, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("apples\npears\n")
    code, out, err = call(capsys, "generate", tmp_path / "list.txt", "--run-dir", films)
    assert code == 1
    assert "list.txt: only 0 sentences of running English text were found" in err
    assert "hpcwise: the log: hpcwise logs list-" in err
    assert "film.mp4" not in out
    assert processes_of(films) == []
