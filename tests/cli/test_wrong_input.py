"""What people get wrong at the command line: one line that names the field, its value and the fix; code 2;
nothing half written. And tables that stay readable where the terminal is narrow."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hpcwise.cli import main
from hpcwise.cli.follow import Screen
from hpcwise.cli.generate import summary
from hpcwise.cli.output import console, table
from hpcwise.cli.run import Run
from hpcwise.core.report import Receipt

PROSE = "# Mills\n\n" + "The mill grinds 12 bags of corn an hour when the wind is strong enough. " * 6
SPECS = {
    "far.yaml": "input: mills.md\naspect: 999:1\n",
    "voice.yaml": "input: mills.md\nmodels: {speech: kokro-82m}\n",
    "stage.yaml": "input: mills.md\nmodels: {image: kokoro-82m}\n",
    "logo.yaml": "input: mills.md\nlogo: mills.png\n",
    "font.yaml": "input: mills.md\nfonts: {regular: mills.ttf}\n",
    "port.yaml": "input: mills.md\nllm: {url: 'http://h:99999/v1', model: m}\n",
    "host.yaml": "input: mills.md\nllm: {url: 'http://[::1', model: m}\n",
}
URL = "is not usable; write http://host:port/v1"
WRONG = [
    (
        "generate mills.md --resolution 1x200",
        "--resolution: '1x200' is not usable; choose an even width from 128 to 3840",
    ),
    ("generate mills.md --zone Europe/Madrid", "--zone: belongs to --by; add --by, or leave it out"),
    (
        "generate mills.md --by 08:00 --zone Madird",
        "--zone: 'Madird' is not usable; name a time zone such as Europe/Madrid",
    ),
    ("generate mills.md --duration -3", "--duration: '-3' is not usable; write 90s, 10m or 1h30m"),
    ("generate mills.md --seed x", "--seed: 'x' is not a valid integer"),
    ("generate mills.md --workers 0", "--workers: 0 is not in the range 1<=x<=1024"),
    (
        "generate mills.md --run-dir mills.md/x",
        "--run-dir: {here}/mills.md is no folder; name one that you can write to",
    ),
    (
        "generate mills.md --run-dir /proc/x",
        "--run-dir: /proc/x: no folder can be made there; name one that you can write to",
    ),
    ("generate \udcff.md", "?.md: its name is empty, not UTF-8 or holds control characters; rename it"),
    ("gc --older-than -1", "--older-than: '-1' is not usable; write 90s, 10m or 1h30m"),
    ("logs head --run-dir none", "head: has no log in {here}/none; `hpcwise head start` starts one"),
    (
        "submit mills.md --partition a",
        "--partition: belongs to --cluster; add --cluster NAME, or leave it out",
    ),
    (
        "submit mills.md --confidence 0.5",
        "--confidence: belongs to --cluster; add --cluster NAME, or leave it out",
    ),
    ("plan mills.md --profiles nosuch", "--profiles: belongs to --fleet; add --fleet, or leave it out"),
    ("plan mills.md --reserved", "--spot, --reserved: belongs to --fleet; add --fleet, or leave it out"),
    ("simulate mills.md --profiles nosuch", "--profiles: belongs to --fleet; add --fleet, or leave it out"),
    (
        "simulate mills.md --gantt none/x.png",
        "--gantt: none/x.png cannot be written; name a file in a folder that exists",
    ),
    ("models show kokro-82m", "model 'kokro-82m': no card in configs/models; did you mean kokoro-82m?"),
    ("models add mills.md", "mills.md: is no map of fields; write `name: value`, a line each"),
    (
        "models add none.yaml",
        "none.yaml: is missing; check the path, or name the folder of configurations in HPCWISE_CONFIGS",
    ),
    ("models add bytes.yaml", "bytes.yaml: is not UTF-8 text; save it as UTF-8"),
    ("models add mills.d", "mills.d: cannot be read (Is a directory); check the path"),
    (
        "spec check far.yaml",
        "far.yaml:2: aspect: '999:1' is not usable; it makes 640x2: choose an even height from 128 "
        "to 2160, or give a resolution",
    ),
    (
        "spec check voice.yaml",
        "voice.yaml:2: models.speech: 'kokro-82m' is not usable; did you mean kokoro-82m?",
    ),
    (
        "spec check stage.yaml",
        "stage.yaml:2: models.image: 'kokoro-82m' is not usable; it makes speech, not image",
    ),
    (
        "spec check logo.yaml",
        "logo.yaml:2: logo: 'mills.png' is not usable; it is named .png but is none; export it again",
    ),
    (
        "spec check font.yaml",
        "font.yaml:2: fonts.regular: 'mills.ttf' is not usable; it is named .ttf but is none; "
        "export it again",
    ),
    ("spec check port.yaml", f"port.yaml:2: llm.url: 'http://h:99999/v1' {URL}"),
    ("spec check host.yaml", f"host.yaml:2: llm.url: 'http://[::1' {URL}"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCWISE_CLUSTER", raising=False)
    for name in ("mills.md", "mills.png", "mills.ttf"):
        (tmp_path / name).write_text(PROSE)
    for name, text in SPECS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bytes.yaml").write_bytes(b"\xe2\x28\xa1")
    (tmp_path / "mills.d").mkdir()
    return tmp_path


@pytest.mark.parametrize(("words", "line"), WRONG)
def test_what_is_wrong_is_one_line_with_its_fix(
    words: str, line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = sorted(here.rglob("*"))
    code = main.run(words.split(" "))
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err == f"hpcwise: {line.replace('{here}', str(here))}\n"
    assert sorted(here.rglob("*")) == there, "nothing is half written"


def test_without_a_home_the_fix_is_said(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HPCWISE_MODELS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 123_456)
    assert main.run(["spec", "check", "mills.md"]) == 2  # looks at no home
    (here / "ok.yaml").write_text("input: mills.md\n")
    capsys.readouterr()
    assert main.run(["spec", "check", "ok.yaml"]) == 2
    said = "hpcwise: HOME: is not set, and this machine knows no home of yours; export HOME=FOLDER\n"
    assert capsys.readouterr().err == said


def test_an_output_that_knows_ascii_alone_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    monkeypatch.setattr(main, "run", lambda _: console().print("\u2713 machine"))
    with pytest.raises(SystemExit):
        main.main([])
    assert raw.getvalue() == b"? machine\n"


def test_a_full_disk_is_said_once_while_a_film_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil
    from collections import namedtuple

    run = Run.at(str(tmp_path))
    free = [0]
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(free[0]))
    with Screen(run, "a") as screen:
        screen.look_at_disk()
        screen.look_at_disk()
        free[0] = 1 << 30
        screen.look_at_disk()
    said = f"no space is left at {tmp_path}; free some: the work waits and goes on\n"
    assert capsys.readouterr().out == said


def drawn(width: int) -> list[str]:
    """A table of requests in a terminal so many cells wide."""
    columns = ("REQUEST", "STATE", "NAME", "USD", "WHY")
    name, why = "a-paper-about-mills-0422902b", "waits for a worker that a node of its own would give"
    made = table(columns, [(name, "done", "Mills", "0.1126", why)], ("USD",), drop=("NAME", "USD"))
    screen = Console(width=width, file=io.StringIO(), highlight=False)
    screen.print(made)
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


def test_a_table_cuts_nothing_off_however_narrow_the_terminal_is() -> None:
    why = "waits for a worker that a node of its own would give"
    wide = drawn(120)
    assert wide == [
        "REQUEST                       STATE  NAME      USD  WHY",
        f"a-paper-about-mills-0422902b  done   Mills  0.1126  {why}",
    ]
    narrow = drawn(64)
    assert narrow[0] == "REQUEST                       STATE  WHY"
    assert " ".join(" ".join(narrow[1:-1]).split()) == f"a-paper-about-mills-0422902b done {why}"
    assert narrow[-1] == "left out here: NAME, USD; a wider terminal or --json shows them"
    for width in (64, 40, 30, 12):
        lines = drawn(width)
        assert max(map(len, lines)) <= width
        assert "a-paper-about-mills-0422902b" in "".join(lines) and "…" not in "".join(lines)


def test_what_a_language_model_did_not_word_is_said_with_the_film(tmp_path: Path) -> None:
    notes = (
        "Limits: h:8000: answered 429: slow down; from here on the document's own sentences are said",
        "b",
    )
    made = Receipt(
        request_id="r", title="t", state="done", reason="", slo="batch", slo_met=None, seed=0, total_s=1.0,
        film_s=1.0, ttff_s=None, cost_usd=0.0, energy_j=0.0, n_cache_hits=0, n_degraded=0, play=None,
        shots=(), script_notes=notes,
    )  # fmt: skip
    said = [line for line in summary(Run.at(str(tmp_path)), made) if line.startswith("screenplay")]
    assert said == [f"screenplay    {notes[0]} (and 1 more in the receipt)"]
