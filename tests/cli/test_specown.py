"""What a person brings along: files are found beside the spec and hashed, words are said as they wish."""

from __future__ import annotations

import hashlib
import wave
from pathlib import Path

import pytest

from hpcwise.cli.specfile import load_spec
from hpcwise.core.errors import SpecError
from hpcwise.core.spec import Asset, JobSpec
from tests.cli.making import paper

NOW = 1_795_000_000.0


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own settings."""
    folder = tmp_path / "config" / "hpcwise"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


def loaded(folder: Path, text: str) -> JobSpec:
    paper(folder)
    (folder / "job.yaml").write_text(f"input: mills.md\n{text}", "utf-8")
    return load_spec(folder / "job.yaml", NOW)


def mistakes(folder: Path, text: str) -> list[str]:
    """Lines of the error, without the folder."""
    with pytest.raises(SpecError) as caught:
        loaded(folder, text)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def asset(path: Path) -> Asset:
    return Asset(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_users_lexicon_holds_for_all_films_and_the_projects_goes_before_it(
    tmp_path: Path, config: Path
) -> None:
    (config / "lexicon.yaml").write_text("USP: U S P\nBode: boh-deh\n")
    assert loaded(tmp_path, "").lexicon == {"USP": "U S P", "Bode": "boh-deh"}
    inline = "lexicon: {Bode: bohd, ar5iv: archive five}\n"
    assert loaded(tmp_path, inline).lexicon == {"USP": "U S P", "Bode": "bohd", "ar5iv": "archive five"}
    (tmp_path / "words.yaml").write_text("USP: ah ess peh\n")
    assert loaded(tmp_path, "lexicon: words.yaml\n").lexicon == {"USP": "ah ess peh", "Bode": "boh-deh"}


def test_a_wrong_word_of_a_lexicon_is_told_with_its_file_and_line(tmp_path: Path, config: Path) -> None:
    assert mistakes(tmp_path, "lexicon: {two words: x}\n") == [
        "job.yaml:2: lexicon: 'x' is not usable; write a word without spaces, up to 60 characters"
    ]
    assert mistakes(tmp_path, "lexicon: none.yaml\n") == [
        "job.yaml:2: lexicon: 'none.yaml' is not usable; there is no such file; check the path"
    ]
    (config / "lexicon.yaml").write_text("USP: U S P\nBode: [a]\n")
    (line,) = mistakes(tmp_path, "")
    assert line.startswith("config/hpcwise/lexicon.yaml:2: Bode: ")


def test_logo_fonts_pictures_and_music_are_found_beside_the_spec_and_known_by_their_bytes(
    tmp_path: Path, config: Path
) -> None:
    for name in ("logo.png", "a.otf", "chart.png"):
        begins = {".png": b"\x89PNG\r\n\x1a\n", ".otf": b"OTTO"}[Path(name).suffix]
        (tmp_path / name).write_bytes(begins + name.encode())
    with wave.open(str(tmp_path / "quiet.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(32_000))
    job = loaded(
        tmp_path,
        "logo: logo.png\nfonts: {regular: a.otf}\nmusic: {file: quiet.wav, level: 28}\n"
        "pictures:\n  - {file: chart.png, caption: Tides of a year}\n",
    )
    assert (job.logo, job.fonts) == (asset(tmp_path / "logo.png"), {"regular": asset(tmp_path / "a.otf")})
    assert [(p.file, p.caption) for p in job.pictures] == [(asset(tmp_path / "chart.png"), "Tides of a year")]
    assert job.music is not None
    assert (job.music.file, job.music.level_db) == (asset(tmp_path / "quiet.wav"), 28.0)
    assert {a.path for a in job.assets} == {
        str(tmp_path / name) for name in ("logo.png", "a.otf", "chart.png", "quiet.wav")
    }


def test_a_file_that_lacks_or_is_of_another_type_is_named_with_its_line(tmp_path: Path, config: Path) -> None:
    (tmp_path / "logo.gif").write_bytes(b"GIF89a")
    assert mistakes(tmp_path, "logo: logo.gif\npictures:\n  - {file: none.png, caption: Nothing}\n") == [
        "job.yaml:2: logo: 'logo.gif' is not usable; name a file of type .png, .jpg, .jpeg",
        "job.yaml:4: pictures[0].file: 'none.png' is not usable; there is no such file; check the path",
    ]
