"""Commands where no head runs: answers come out of the journal, and nothing gives a traceback."""

# ruff: noqa: E501 - exact lines of output

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.cli import main
from hpcwise.cli.doctor import Check
from hpcwise.cli.run import Run
from hpcwise.cli.timeline import Timeline
from hpcwise.core import messages as m
from hpcwise.core.explain import Explanation
from hpcwise.core.report import RequestRow, RequestView
from hpcwise.store.artifacts import Store
from tests.cli.making import call, call_json, graph_job, half_done, journal, paper

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run in which one of two tasks is finished."""
    found = Run.at(str(tmp_path / "films"))
    journal(found, half_done())
    return found


def test_ls_and_show_say_what_the_journal_says(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    listed = call_json(capsys, "ls", "--run-dir", run.results)
    (row,) = msgspec.convert(listed["requests"], list[RequestRow])
    assert (row.request_id, row.state, row.tasks_done, row.tasks) == ("pair-1", "running", 1, 2)
    assert (listed["pending"], listed["head"]) == ([], False)
    view = msgspec.convert(call_json(capsys, "show", "pair", "--run-dir", run.results), RequestView)
    assert view.row == row
    assert [(stage.stage, stage.done, stage.planned) for stage in view.stages] == [("emulated", 1, 2)]


def test_tables_for_people_hold_the_same(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "ls", "--run-dir", run.results)
    assert (code, err) == (0, "")
    assert "pair-1" in out and "running" in out and "no head runs; this is what its journal says" in out
    code, out, _ = call(capsys, "show", "pair-1", "--run-dir", run.results)
    assert code == 0 and "1/2" in out and "no head runs" in out


def test_explain_names_what_a_task_does(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = msgspec.convert(call_json(capsys, "explain", "pair-1", "--run-dir", run.results), Explanation)
    (reason,) = found.reasons
    assert (reason.task_id, reason.code) == ("pair-1/second", "runs")
    code, out, _ = call(capsys, "explain", "pair-1", "--run-dir", run.results)
    assert code == 0 and "running on w1 on localhost" in out


@pytest.mark.parametrize("command", ["show", "explain", "watch", "cancel"])
def test_an_unknown_request_is_one_line_and_code_2(
    command: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, command, "nobody", "--run-dir", run.results)
    assert (code, out) == (2, "")
    assert err == "hpcwise: request: 'nobody' is not known; see `hpcwise ls` (newest: pair-1)\n"


def test_cancelling_without_a_head_says_what_to_do(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "cancel", "pair-1", "--run-dir", run.results)
    assert code == 2
    assert err.startswith("hpcwise: pair-1: no head runs, so nothing works on it now; start one with")


def test_a_submission_waits_in_the_inbox_and_can_be_withdrawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    document = paper(tmp_path)
    first = call_json(capsys, "submit", document, "--run-dir", films)
    assert first == {"request_id": first["request_id"], "new": True, "state": "submitted", "head": False}
    name = first["request_id"]
    assert name.startswith("mills-")
    again = call_json(capsys, "submit", document, "--run-dir", films)
    assert again == {"request_id": name, "new": False, "state": "submitted", "head": False}
    anew = call_json(capsys, "submit", document, "--again", "--run-dir", films)
    assert (anew["request_id"], anew["new"]) == (f"{name}-2", True)
    document.unlink()
    run = Run.at(str(films))
    job = json.loads((run.paths.inbox / f"{name}.job").read_bytes())
    assert Path(job["input_path"]).read_text("utf-8").startswith("# Tide mills")
    assert call_json(capsys, "ls", "--run-dir", films)["pending"] == [name, f"{name}-2"]
    code, _, err = call(capsys, "show", name, "--run-dir", films)
    assert (code, err) == (
        2,
        f"hpcwise: {name}: was handed in and waits for a head; `hpcwise head start` starts one\n",
    )
    code, _, err = call(capsys, "cancel", name[:-3], "--run-dir", films)
    wrong = f"hpcwise: {name[:-3]}: is the beginning of {name}, {name}-2; name one\n"
    assert (code, err) == (2, wrong)
    assert call_json(capsys, "cancel", name, "--run-dir", films)["state"] == "withdrawn"
    assert call_json(capsys, "ls", "--run-dir", films)["pending"] == [f"{name}-2"]


def test_the_run_directory_is_closed_to_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_json(capsys, "submit", paper(tmp_path), "--run-dir", tmp_path / "films")
    assert stat.S_IMODE((tmp_path / "films" / ".hpcwise").stat().st_mode) == 0o700


def test_a_run_directory_that_cannot_be_used_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "a\nb", ""):
        code, _, err = call(capsys, "ls", "--run-dir", f"{tmp_path}/{name}" if name else "")
        assert code == 2
        assert err.startswith("hpcwise: --run-dir:") and err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_the_run_directory_of_another_user_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "films" / ".hpcwise"
    state.mkdir(parents=True)
    os.chown(state, 12345, 12345)
    code, _, err = call(capsys, "submit", paper(tmp_path), "--run-dir", tmp_path / "films")
    assert code == 2
    assert "belongs to user 12345, not to you" in err


# --- replay ---------------------------------------------------------------------------------------------------


def test_replay_draws_the_timeline_of_the_journal(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    trace, picture = run.results / "t.json", run.results / "t.png"
    found = call_json(
        capsys,
        "replay",
        "pair-1",
        "--perfetto",
        trace,
        "--gantt",
        picture,
        "--verify",
        "--run-dir",
        run.results,
    )
    timeline = msgspec.convert(found["timeline"], Timeline)
    spans = [(s.task_id, s.worker, s.start_s, s.end_s, s.outcome, s.chunks) for s in timeline.slices]
    assert spans == [
        ("pair-1/first", "w1", pytest.approx(2.3), 3.3, "finished", [3.2]),
        ("pair-1/second", "w1", 3.4, 3.4, "running", []),
    ]
    assert [(x.model, x.end_s) for x in timeline.loadings] == [("emulated", 2.1)]
    assert picture.read_bytes().startswith(b"\x89PNG")
    events = json.loads(trace.read_bytes())["traceEvents"]
    names = {event["name"]: event for event in events if event["ph"] == "X"}
    assert names["load emulated"]["dur"] == pytest.approx(1e5)
    slices = [event for event in events if event["ph"] == "X" and event["cat"] == "emulated"]
    assert [event["args"]["task"] for event in slices] == ["pair-1/first", "pair-1/second"]
    assert found["verify"]["same"] is True
    assert found["verify"]["events"] == 8


def test_replay_says_from_which_event_on_it_would_decide_otherwise(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", changed)
    card = changed / "models" / "emulated.yaml"
    card.write_text(card.read_text("utf-8").replace("seconds: 1.0", "seconds: 9.0"))
    monkeypatch.setenv("HPCWISE_CONFIGS", str(changed))
    code, out, err = call(capsys, "replay", "--all", "--verify", "--run-dir", run.results)
    assert (code, err) == (1, "")
    # Event 2 is the worker that joins: its first dispatch carries the expected runtime.
    assert (
        "from event 2 on (epoch 1, 2.000 s) this version would decide otherwise (profiles changed since)"
        in out
    )
    assert "recorded  Dispatch(" in out and "expected_s=10.0" not in out.split("decided")[0]


def test_replay_of_nothing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "replay", "--all", "--run-dir", tmp_path)
    assert (code, err) == (2, f"hpcwise: {tmp_path}: has no journal yet; nothing was run here\n")
    code, _, err = call(capsys, "replay", "--run-dir", tmp_path)
    assert (code, err) == (2, "hpcwise: replay: name a REQUEST, or give --all\n")


# --- gc -----------------------------------------------------------------------------------------------------


def artifact(store: Store, key: str) -> None:
    scratch = store.begin(key, 0)
    (scratch / "data.bin").write_bytes(b"x" * 1000)
    store.commit(key, 0, scratch, {})
    store.finish(key, 1, {})


def test_gc_keeps_what_a_live_request_needs_and_what_is_young(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.at(str(tmp_path / "films"))
    engine = journal(run, half_done())
    needed = engine.state.tasks["pair-1/first"].key
    stray = "ab" * 20
    store = Store(run.paths)
    artifact(store, needed)
    artifact(store, stray)
    dry = call_json(capsys, "gc", "--dry-run", "--older-than", "0", "--run-dir", run.results)
    (found,) = [entry for entry in dry["removed"] if entry["kind"] == "artifacts"]
    assert (found["count"], found["kept"]) == (1, 1)
    assert found["size_bytes"] > 1000
    young = call_json(capsys, "gc", "--run-dir", run.results)
    assert young["size_bytes"] == 0
    assert [store.chunks(key) for key in (needed, stray)] == [1, 1]
    assert call_json(capsys, "gc", "--older-than", "0", "--run-dir", run.results)["size_bytes"] > 1000
    assert [store.chunks(key) for key in (needed, stray)] == [1, 0]


def test_gc_frees_the_artifacts_of_a_request_that_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.at(str(tmp_path / "films"))
    engine = journal(run, [*half_done(), (4.0, m.RequestCancelled("pair-1"))])
    key = engine.state.tasks["pair-1/first"].key
    store = Store(run.paths)
    artifact(store, key)
    call_json(capsys, "gc", "--older-than", "0", "--run-dir", run.results)
    assert store.chunks(key) == 0


def test_gc_takes_the_live_files_of_films_that_are_made_when_it_is_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.at(str(tmp_path / "films"))
    journal(run, half_done())
    Store(run.paths)
    digest = hashlib.sha256(b"film").hexdigest()
    films = {  # folder -> what its receipt says, and the bytes of its film
        "made": ("done", digest, b"film"), "failed": ("failed", digest, b"film"), "pair-1": ("done", digest, b"film"),
        "changed": ("done", digest, b"torn"), "unmade": ("done", "", None),
    }  # fmt: skip
    for name, (state, hashed, film) in films.items():
        live = run.film(name) / "live"
        live.mkdir(parents=True)
        (live / "seg-00000.m4s").write_bytes(b"x" * 1000)
        hashes = {"film.mp4": hashed} if hashed else {}
        receipt = {"state": state, "film_hashes": hashes, "title": "others are not looked at"}
        (live.parent / "receipt.json").write_text(json.dumps(receipt))
        if film is not None:
            (live.parent / "film.mp4").write_bytes(film)

    def there() -> set[str]:
        return {path.parent.name for path in run.results.glob("*/live") if any(path.iterdir())}

    always = ("--older-than", "0", "--run-dir", run.results)
    call_json(capsys, "gc", *always)
    call_json(capsys, "gc", "--live", "--dry-run", *always)
    call_json(capsys, "gc", "--live", "--older-than", "1h", "--run-dir", run.results)
    assert there() == set(films)
    gone = call_json(capsys, "gc", "--live", *always)["removed"][0]
    assert (gone["kind"], gone["count"], gone["size_bytes"], gone["kept"]) == ("live", 1, 1000, 4)
    assert there() == {"failed", "pair-1", "changed", "unmade"}  # one still grows, three have no such film
    assert (run.film("made") / "film.mp4").is_file()


# --- the rest ------------------------------------------------------------------------------------------------


def test_doctor_says_what_it_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "doctor", "--json", "--run-dir", tmp_path / "films")
    found = json.loads(out)
    checks = msgspec.convert(found["checks"], list[Check])
    assert err == ""
    assert code == (0 if found["ok"] else 2)
    names = {check.name for check in checks}
    assert {
        "python",
        "libraries",
        "codecs",
        "fonts",
        "configs",
        "time zones",
        "sockets",
        "disk",
        "Slurm",
    } <= names
    assert all(check.fix for check in checks if check.ok is False)
    assert not (tmp_path / "films").exists()


def test_doctor_names_the_fix_of_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCWISE_CONFIGS", str(tmp_path / "nowhere"))
    code, out, _ = call(capsys, "doctor", "--run-dir", tmp_path / "films")
    assert code == 2
    assert f"{tmp_path}/nowhere: no head.yaml there" in out
    assert "→ name the folder of configurations in HPCWISE_CONFIGS" in out


def test_models_are_listed_shown_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCWISE_MODELS_DIR", str(tmp_path))
    states = {entry["name"]: entry["state"] for entry in call_json(capsys, "models", "ls")}
    assert states["kokoro-82m"] == "missing files"
    assert states["drawn-scene"] == "ready"
    (tmp_path / "kokoro-82m").mkdir()
    (tmp_path / "kokoro-82m" / "vocab.json").write_text("{}")
    code, out, _ = call(capsys, "models", "check", "kokoro-82m", "--json")
    assert code == 1
    files = {entry["name"]: entry["state"] for entry in json.loads(out)[0]["files"]}
    assert (files["vocab.json"], files["af_heart.bin"]) == ("damaged", "missing")
    shown = call_json(capsys, "models", "show", "drawn-scene")
    assert shown["profiles"]["cpu"]["base_s"] > 0
    code, _, err = call(capsys, "models", "show", "nothing")
    assert (code, err.startswith("hpcwise: model 'nothing': no card in configs/models; known are")) == (
        2,
        True,
    )


def test_logs_are_merged_by_time_and_filtered_by_request(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.paths.done / "pair-1.job").write_text("{}")
    run.paths.head_log.write_text("2026-11-20 07:00:02,000 INFO head: request pair-1: done\n")
    worker = run.paths.worker("w1")
    worker.mkdir()
    (worker / "worker.log").write_text(
        "2026-11-20 07:00:00,000 INFO other\n"
        "2026-11-20 07:00:01,000 ERROR loop: pair-1/first failed\nTraceback\n  \x1b[31mhere\n"
    )
    code, out, _ = call(capsys, "logs", "pair", "--run-dir", run.results)
    assert (code, out.splitlines()) == (
        0,
        [
            "w1: 2026-11-20 07:00:01,000 ERROR loop: pair-1/first failed",
            "Traceback",
            "  ?[31mhere",
            "head: 2026-11-20 07:00:02,000 INFO head: request pair-1: done",
        ],
    )
    code, out, _ = call(capsys, "logs", "w1", "-n", "1", "--run-dir", run.results)
    assert out.startswith("2026-11-20 07:00:01,000 ERROR")
    code, _, err = call(capsys, "logs", "../../etc", "--run-dir", run.results)
    assert code == 2 and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["frobnicate"], "hpcwise: command: 'frobnicate' is not known; see hpcwise --help"),
        (["lss"], "hpcwise: command: 'lss' is not known; did you mean ls?"),
        (["show"], "hpcwise: REQUEST: is missing; --help says what it is"),
        (["ls", "--jsn"], "hpcwise: No such option '--jsn'. Did you mean '--json'?"),
        (["explain", "x", "seven"], "hpcwise: SHOT: 'seven' is not a valid integer"),
        (["gc", "--older-than", "soon"], "hpcwise: --older-than: 'soon' is not usable; write 90s, 10m or 1h30m"),
        (["generate", "nothing.pdf"], "hpcwise: nothing.pdf: there is no such file; check the path"),
        (["submit", "nothing.yaml"], "hpcwise: nothing.yaml: cannot be read (No such file or directory); check the path"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_one_line_and_code_2(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    # Releases of click word this differently.
    assert err.replace(
        "No such option: --jsn Did you mean --json?", "No such option '--jsn'. Did you mean '--json'?"
    ) == (error + "\n")


def test_head_status_without_a_head_has_its_own_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "head", "status", "--json", "--run-dir", tmp_path)
    assert (code, json.loads(out)) == (1, {"running": False, "run_dir": str(tmp_path)})
    assert call(capsys, "head", "stop", "--run-dir", tmp_path)[:2] == (0, "no head runs\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_this_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "completion", shell)
    assert code == 0 and "_HPCWISE_COMPLETE" in out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("show pa", ["pair-1"]),
        ("cancel ", ["other-1", "pair-1"]),
        ("logs ", ["head", "other-1", "pair-1", "w1"]),
        ("models show kok", ["kokoro-82m"]),
        ("models show whis", ["whisper-large-v3"]),
        ("models check whis", []),
        ("profile kok", ["kokoro-82m"]),
        ("cluster check te", ["testbed"]),
        ("submit x.yaml --cluster te", ["testbed"]),
        ("generate x.pdf --models t", ["tiny"]),
        ("plan x.pdf --profiles f", ["fitted"]),
        ("head start --cluster testbed --nodes a", ["a100="]),
        ("head start --cluster nosuch --nodes a", []),
        ("testbed cut a --name nosuch", []),
    ],
)
def test_names_of_runs_models_sites_and_nodes_complete(
    run: Run,
    words: str,
    found: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (run.paths.done / "pair-1.job").write_text("{}")
    (run.paths.inbox / "other-1.job").write_text("{}")
    run.paths.worker("w1").mkdir(exist_ok=True)
    monkeypatch.setenv("_HPCWISE_COMPLETE", "bash_complete")
    monkeypatch.setenv("HPCWISE_RUN_DIR", str(run.results))
    monkeypatch.setenv("COMP_WORDS", f"hpcwise {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main.run([])
    assert sorted(capsys.readouterr().out.split()) == [f"plain,{name}" for name in found]


def test_help_imports_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys; from hpcwise.cli import main; main.run(['--help']); "
        "print(sorted({'numpy', 'rich', 'zmq', 'msgspec', 'yaml', 'av', 'skia', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    listing = code.replace("'--help'", "'ls', '--run-dir', '/nonexistent/x'")
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    heavy: Any = done.stdout.splitlines()[-1]
    assert "av" not in heavy and "skia" not in heavy and "matplotlib" not in heavy and "rich" not in heavy


def test_a_refused_submission_is_taken_as_new_when_it_is_handed_in_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    name = call_json(capsys, "submit", paper(tmp_path), "--run-dir", films)["request_id"]
    run = Run.at(str(films))
    from hpcwise.store.inbox import Inbox
    from hpcwise.wire.start import SubmissionAnswer

    inbox = Inbox(run.paths)
    inbox.take(name)
    refusal = SubmissionAnswer(request_id=name, accepted=False, error="of another version")
    inbox.acknowledge(name, msgspec.json.encode(refusal))
    again = call_json(capsys, "submit", tmp_path / "mills.md", "--run-dir", films)
    assert (again["request_id"], again["new"]) == (f"{name}-2", True)


def test_a_graph_spec_is_accepted_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "graph.yaml"
    spec.write_text("workflow: graph\nname: pair\ngraph:\n  - {name: a, stage: emulated, model: emulated}\n")
    found = call_json(capsys, "submit", spec, "--run-dir", tmp_path / "films")
    assert found["request_id"].startswith("pair-")
    assert graph_job().workflow == "graph"


def test_logs_can_be_followed(run: Run) -> None:
    import subprocess

    worker = run.paths.worker("w1")
    worker.mkdir()
    log = worker / "worker.log"
    log.write_text("2026-11-20 07:00:00,000 INFO begins\n")
    command = [sys.executable, "-m", "hpcwise", "logs", "w1", "-f", "--run-dir", str(run.results)]
    following = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    try:
        assert following.stdout.readline() == "2026-11-20 07:00:00,000 INFO begins\n"
        with log.open("a") as file:
            file.write("2026-11-20 07:00:01,000 INFO goes on\nhalf a line")
        assert following.stdout.readline() == "2026-11-20 07:00:01,000 INFO goes on\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130
        assert following.stdout.read() == ""
    finally:
        following.kill()
        following.stdout.close()
