"""`hpcwise script` and `generate --script`: approve first, edit, and make again only what was edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.cli.scriptfile import read_script
from hpcwise.cli.specfile import load_document, load_job
from hpcwise.cli.specread import DEFAULT_CAST
from hpcwise.cli.specslo import Overrides
from hpcwise.core.errors import SpecError
from hpcwise.core.screenplay import Line, Screenplay
from tests.cli.making import call, call_json, paper

NOW = 1_795_000_000.0


def small_spec(folder: Path, more: str = "") -> Path:
    paper(folder)
    path = folder / "mills.yaml"
    path.write_text(
        "input: mills.md\nduration: 34s\nresolution: 208x130\nfps: 4\nquality: [static]\nslo: batch\n"
        "models: {speech: fallback-voice}\n" + more
    )
    return path


def written(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, dict[str, Any]]:
    target = folder / "mills.script.yaml"
    report = call_json(capsys, "script", small_spec(folder), "-o", target)
    return target, report


def lines_of(path: Path) -> list[Line]:
    script = read_script(path, str(path), DEFAULT_CAST)
    return [line for scene in script.scenes for shot in scene.shots for line in shot.lines]


def test_the_screenplay_is_written_for_approval_and_nothing_else_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target, report = written(tmp_path, capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"mills.md", "mills.yaml", "mills.script.yaml"}
    lines = lines_of(target)
    assert (report["lines"], report["traced"]) == (len(lines), sum(bool(line.source) for line in lines))
    assert report["traced"] >= 2
    assert report["expected_s"] == pytest.approx(34, rel=0.05)
    text = target.read_text("utf-8")
    assert text.startswith("# Screenplay, about 34 s in ")
    assert "#   hpcwise generate --script mills.script.yaml\n" in text
    prose = (tmp_path / "mills.md").read_text("utf-8")
    assert all(line.source in prose for line in lines if line.source)
    code, _, err = call(capsys, "script", tmp_path / "mills.yaml", "-o", target)
    assert (code, err) == (
        2,
        f"hpcwise: {target}: is there already; name another with -o, or --force to write over it\n",
    )


def test_what_is_not_edited_comes_back_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, _ = written(tmp_path, capsys)
    from hpcwise.cli import script

    job = load_job(tmp_path / "mills.yaml", NOW).job
    with script._screenplay(job, quiet=True) as (play, _):
        scenes = play.scenes
    back = read_script(target, str(target), DEFAULT_CAST)
    assert back.doubts == ()

    def seen(play_scenes: tuple[Any, ...]) -> list[Any]:
        return [
            (s.kind, s.lines, s.heading, s.subheading, s.notes, s.figure, s.pause_after_s, s.expected_s)
            for scene in play_scenes
            for s in scene.shots
        ]

    assert seen(back.scenes) == seen(scenes)
    assert [scene.title for scene in back.scenes] == [scene.title for scene in scenes]


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new), "utf-8")


def only_the_ends(path: Path) -> None:
    """Keep the first and the last scene of a script, and few words: it is spoken and filmed sooner."""
    head, *scenes = path.read_text("utf-8").split("\n  - title: ")
    close = scenes[-1].split("maya: >-")[0] + "maya: Goodbye.\n"
    path.write_text("\n  - title: ".join([head, scenes[0], close]), "utf-8")
    edited(path, "I am Maya, and Dan has read it. Dan, what is this document about?", "What is it about?")


@pytest.mark.timeout(240)
def test_editing_one_line_makes_one_shot_and_its_speech_again_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, _ = written(tmp_path, capsys)
    only_the_ends(target)
    made: Any = ("generate", "--script", target, "--run-dir", tmp_path / "films", "--workers", "1")
    first = call_json(capsys, *made)
    before = first["receipt"]["shots"]
    whole = play_beside(Path(first["folder"]))

    edited(
        target,
        "and let it out over a wheel at low water.\n            source",
        "at low water.\n            source",
    )
    again = call_json(capsys, *made)
    assert again["request_id"] != first["request_id"]
    after = again["receipt"]["shots"]
    told = [shot for scene in whole.scenes for shot in scene.shots]
    (changed,) = (i for i, shot in enumerate(told) if "over a wheel" in shot.lines[-1].text)
    others = [i != changed for i in range(len(told))]
    assert 0 < changed < len(told) - 1
    assert [shot["cache_hit"] for shot in after] == others
    assert [a["key"] == b["key"] for a, b in zip(before, after, strict=True)] == others
    assert [a["speech_key"] == b["speech_key"] for a, b in zip(before, after, strict=True)] == others
    assert play_beside(Path(again["folder"])).written_by == "a person"


def play_beside(folder: Path) -> Screenplay:
    """The screenplay that lies beside a film; each of its claims stands in `document.txt` where it says."""
    play = msgspec.json.decode((folder / "screenplay.json").read_bytes(), type=Screenplay)
    text = (folder / "document.txt").read_text("utf-8")
    lines = [line for scene in play.scenes for shot in scene.shots for line in shot.lines]
    claims = [line for line in lines if line.source]
    assert claims
    assert all(text[slice(*line.span)] == line.source and line.page >= 1 for line in claims)
    return play


def wrong(path: Path, text: str, sha256: str = "") -> str:
    path.write_text(text, "utf-8")
    with pytest.raises(SpecError) as caught:
        read_script(path, path.name, DEFAULT_CAST, sha256)
    return str(caught.value)


HEAD = """job: mills.yaml
document: abc
figures:
  - name: Figure 1
scenes:
  - title: One
    shots:
      - shot: two_shot
        lines:
          - maya: Hello.
"""


def test_a_mistake_in_the_file_is_told_with_line_field_value_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    cases = {
        HEAD.replace("maya: Hello.", "mya: Hello."): (
            "s.yaml:10: scenes[0].shots[0].lines[0].mya: 'mya' is not usable; did you mean maya?"
        ),
        HEAD.replace("two_shot", "twoshot"): (
            "s.yaml:8: scenes[0].shots[0].shot: 'twoshot' is not usable; did you mean two_shot?"
        ),
        HEAD.replace("shot: two_shot", "shot: figure"): (
            "s.yaml:8: scenes[0].shots[0].figure: is missing; name one of Figure 1"
        ),
        HEAD.replace("shot: two_shot", "shot: figure\n        figure: Figure 7"): (
            "s.yaml:9: scenes[0].shots[0].figure: 'Figure 7' is not usable; did you mean Figure 1?"
        ),
        HEAD.replace("lines:", "pause: 99\n        lines:"): (
            "s.yaml:9: scenes[0].shots[0].pause: '99' is not usable; write seconds from 0 to 30"
        ),
        HEAD.replace("lines:", "liens: 3\n        lines:"): (
            "s.yaml:9: scenes[0].shots[0].liens: there is no such field; did you mean lines?"
        ),
        HEAD.replace("          - maya: Hello.\n", "          []\n"): (
            "s.yaml:10: scenes[0].shots[0].lines: [] is not usable; "
            "write at least one line, or remove the shot"
        ),
        HEAD.replace("maya: Hello.", 'maya: ""'): (
            "s.yaml:10: scenes[0].shots[0].lines[0].maya: '' is not usable; "
            "write one line of 1 to 600 printable characters"
        ),
        HEAD.replace("job: mills.yaml\n", ""): "s.yaml:1: job: is missing; add it",
        "- a\n": "s.yaml:1: write fields: job, document, title, figures, scenes",
    }  # fmt: skip
    assert {text: wrong(path, text) for text in cases} == cases
    assert wrong(path, HEAD, sha256="def") == (
        "s.yaml:2: document: 'abc' is not usable; the document has changed since; write the script again"
    )


def test_numbers_and_names_that_the_source_lacks_are_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        HEAD + "          - dan: It took 6 hours.\n            source: It took 5 hours.\n", "utf-8"
    )
    assert read_script(path, "s.yaml", DEFAULT_CAST).doubts == (
        "s.yaml:11: dan: number 6 is not in the source",
    )


def test_a_spec_may_name_its_script_and_the_command_line_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, _ = written(tmp_path, capsys)
    spec = small_spec(tmp_path, f"script: {target.name}\n")
    named = load_job(spec, NOW).job
    assert [len(scene.shots) for scene in named.script] == [
        len(scene.shots) for scene in read_script(target, "s", DEFAULT_CAST).scenes
    ]
    over = load_document(tmp_path / "mills.md", NOW, Overrides(script=str(target))).job
    assert over.script == named.script
    small_spec(tmp_path, "script: gone.yaml\n")
    with pytest.raises(
        SpecError, match=r"mills\.yaml:8: script: 'gone.yaml' is not usable; there is no such file"
    ):
        load_job(spec, NOW)
    code, _, err = call(capsys, "generate")
    assert (code, err) == (
        2, "hpcwise: DOCUMENT|SPEC: is missing; name a document, a job spec, or --script FILE\n"
    )  # fmt: skip
