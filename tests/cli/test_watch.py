"""What `hpcwise watch` shows of work under way: pictures in a terminal, events for programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from rich.console import Console

from hpcwise.cli.follow import Screen
from hpcwise.cli.halfblocks import half_blocks
from hpcwise.cli.progress import picture
from hpcwise.cli.run import Run
from hpcwise.cli.watchevents import Changes
from hpcwise.core.report import RequestRow, RequestView, ShotRow
from hpcwise.core.shotwork import ShotWork
from hpcwise.store.preview import Stamp, stamped
from tests.cli.making import call, half_done, journal

WORK = ShotWork(
    task_id="film/sketch/0000",
    attempt=2,
    stage="sketch",
    model="wan",
    worker="w1",
    step=7,
    steps=20,
    saved=0.5,
)


def row(**fields: Any) -> RequestRow:
    usual: dict[str, Any] = dict.fromkeys(RequestRow.__struct_fields__, 0)
    usual |= {"request_id": "film", "name": "Film", "workflow": "podcast", "state": "running", "slo": "batch"}
    return RequestRow(**{**usual, "eta_s": None, "ttff_s": None, "reason": "", "shots": 2, **fields})


def shot(number: int, **fields: Any) -> ShotRow:
    usual: dict[str, Any] = dict.fromkeys(ShotRow.__struct_fields__, "")
    usual |= dict.fromkeys(("degraded", "remade", "cache_hit"), False)
    usual |= dict.fromkeys(("steps", "width", "height", "seed", "attempts", "progress", "film_s"), 0)
    usual |= dict.fromkeys(("seconds", "energy_j", "cost_usd"), 0.0)
    usual |= dict.fromkeys(("deadline_s", "met_s", "slack_s", "work"), None)
    return ShotRow(**{**usual, "shot": number, "state": "waiting", "tier": "high", "hashes": (), **fields})


def view(*shots: ShotRow, **fields: Any) -> RequestView:
    return RequestView(
        row=row(**fields), stages=(), shots=shots, play=None, title="Kites", film_version=0, complete=False
    )


def jpeg(left: str = "#ff0000", right: str = "#0000ff", size: tuple[int, int] = (320, 200)) -> bytes:
    drawn = Image.new("RGB", size, left)
    drawn.paste(right, (size[0] // 2, 0, *size))
    held = io.BytesIO()
    drawn.save(held, "JPEG", quality=95, subsampling=0)
    return held.getvalue()


@pytest.mark.parametrize(
    ("size", "cells"), [((320, 200), (29, 9)), ((200, 320), (11, 9)), ((640, 90), (32, 2)), ((4, 4), (18, 9))]
)
def test_a_picture_keeps_its_shape_within_its_cells(size: tuple[int, int], cells: tuple[int, int]) -> None:
    drawn = half_blocks(jpeg(size=size), 32, 9)
    assert drawn is not None
    lines = drawn.plain.split("\n")
    assert ({len(line) for line in lines}, len(lines)) == ({cells[0]}, cells[1])
    assert set(drawn.plain) == {"▀", "\n"}


def test_each_cell_has_the_colours_of_its_two_pixels() -> None:
    drawn = Image.new("RGB", (2, 4), "#ff0000")
    drawn.paste("#0000ff", (0, 1, 2, 4))
    held = io.BytesIO()
    drawn.save(held, "PNG")
    text = half_blocks(held.getvalue(), 2, 2)
    assert text is not None
    assert [str(span.style) for span in text.spans] == ["#ff0000 on #0000ff"] * 2 + ["#0000ff on #0000ff"] * 2


@pytest.mark.parametrize("data", [b"", b"no picture", jpeg()[:300]])
def test_what_is_no_picture_is_not_drawn(data: bytes) -> None:
    assert half_blocks(data, 32, 9) is None
    assert "▀" not in _drawn(view(shot(0, work=WORK)), {0: data})


def _drawn(shown: RequestView, previews: dict[int, bytes], width: int = 100) -> str:
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor")
    out.print(picture(shown, "live/index.m3u8", "", previews, width))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_pictures_stand_side_by_side_above_their_steps_as_many_as_have_room() -> None:
    other = msgspec.structs.replace(WORK, step=2, saved=0.0, worker="w2")
    shown = view(shot(0, work=WORK), shot(1, work=other), shot(2, work=other))
    both = dict.fromkeys(range(3), jpeg())
    wide = _drawn(shown, both, 80)
    assert wide.count("▀") == 2 * 29 * 9 and "\x1b[38;2;254;0;0;48;2;254;0;0m▀" in wide
    assert "shot 0  step 7/20, 50 % saved" in wide and "shot 1  step 2/20  " in wide
    assert "shot 0: sketch by wan, step 7/20, 50 % saved, on w1" in wide
    assert _drawn(shown, both, 40).count("▀") == 29 * 9
    assert "▀" not in _drawn(shown, {})


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.at(str(tmp_path / "results"))
    made.create()
    made.paths.worker("w1").mkdir()
    made.paths.preview("w1").write_bytes(stamped(jpeg(), Stamp(WORK.task_id, WORK.attempt, 6)))
    return made


@pytest.mark.parametrize(
    ("colours", "lines", "previews", "shown"),
    [
        ({"COLORTERM": "truecolor", "TERM": "xterm-256color"}, 40, True, True),
        ({"TERM": "xterm-256color"}, 40, True, True),
        ({"TERM": "xterm-256color"}, 40, False, False),
        ({"TERM": "xterm-256color"}, 20, True, False),
        ({"TERM": "xterm"}, 40, True, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, 40, True, False),
        ({"TERM": "dumb"}, 40, True, False),
    ],
)
def test_a_terminal_shows_pictures_where_it_has_colours_and_room(
    colours: dict[str, str], lines: int, previews: bool, shown: bool, run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("COLORTERM", "TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**colours, "COLUMNS": "100", "LINES": str(lines)}.items():
        monkeypatch.setenv(name, value)
    terminal = _Tty()
    monkeypatch.setattr("sys.stdout", terminal)
    with Screen(run, "film", previews=previews) as screen:
        screen.show(view(shot(0, work=WORK)))
    assert ("▀" in terminal.getvalue()) is shown
    assert "step 7/20, 50 % saved" in terminal.getvalue()


def test_events_tell_each_change_once_and_where_its_picture_lies() -> None:
    paths = iter(["", "/p.jpg", "/p.jpg", "/p.jpg"])
    changes = Changes("/live/index.m3u8", lambda work: next(paths))

    def told(shown: RequestView) -> Any:
        return json.loads(msgspec.json.encode(changes.of(shown)))

    base = {"at_s": 1.5, "request_id": "film"}
    work = {**base, "event": "work", "shot": 0, "stage": "sketch", "model": "wan", "worker": "w1"}
    at = {"step": 7, "steps": 20, "saved": 0.5}
    state = {**base, "event": "state", "state": "running", "slo": "batch", "title": "Kites"}
    started = view(shot(0, work=WORK), shot(1), age_s=1.5)
    assert told(started) == [state, {**work, **at}]
    assert told(started) == [{**work, **at, "preview": "/p.jpg"}]
    assert told(started) == []
    later = view(shot(0, work=msgspec.structs.replace(WORK, step=8)), shot(1), age_s=1.5)
    assert told(later) == [{**work, **at, "step": 8, "preview": "/p.jpg"}]
    made = shot(0, state="finished", stage="sync", model="talk", worker="w1", seconds=2.5, slack_s=0.5)
    ready = {"stage": "sync", "model": "talk", "tier": "high", "worker": "w1", "seconds": 2.5, "slack_s": 0.5}
    assert told(view(made, shot(1), age_s=1.5)) == [{**base, "event": "shot", "shot": 0, **ready}]
    assert told(view(made, shot(1), age_s=1.5)) == []
    failed = view(made, shot(1), age_s=1.5, state="failed", reason="no room")
    assert told(failed) == [{**state, "state": "failed", "reason": "no room"}]


def test_watch_prints_one_json_object_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.at(str(tmp_path / "results"))
    journal(run, half_done())
    code, out, err = call(capsys, "watch", "pair-1", "--run-dir", tmp_path / "results", "--json")
    [event] = [json.loads(line) for line in out.splitlines()]
    assert (event["event"], event["state"], event["request_id"]) == ("state", "running", "pair-1")
    assert code == 2 and "no head" in err, err
