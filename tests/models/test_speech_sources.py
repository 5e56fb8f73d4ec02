"""Model files from folders, packages and npm, under one hash, and a fallback voice without them."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.models.kokoro.choose import choose_speech
from hpcwise.models.sources import (
    Folder,
    ModelCard,
    ModelFile,
    NpmFiles,
    PackageFiles,
    PackageParts,
    read_card,
    resolve,
)

CARDS = Path(__file__).parents[2] / "configs" / "models"


def pinned(name: str, body: bytes) -> ModelFile:
    return ModelFile(name=name, sha256=hashlib.sha256(body).hexdigest())


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_a_file_comes_from_the_first_source_whose_bytes_are_right(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    for folder, body in ((wrong, b"other"), (right, b"weights")):
        folder.mkdir()
        (folder / "w.bin").write_bytes(body)
    sources = (Folder(path=str(tmp_path / "absent")), Folder(path=str(wrong)), Folder(path=str(right)))
    got = resolve("m", (pinned("w.bin", b"weights"),), sources, tmp_path / "models")
    assert got == tmp_path / "models" / "m"
    assert (got / "w.bin").read_bytes() == b"weights"
    assert left_in(got) == ["w.bin"]


def test_a_file_with_another_hash_is_refused_in_one_line_that_says_where_to_put_it(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "w.bin").write_bytes(b"other")
    file = pinned("w.bin", b"weights")
    with pytest.raises(ModelMissing) as caught:
        resolve("m", (file,), (Folder(path=str(given)),), tmp_path / "models")
    message = str(caught.value)
    assert "\n" not in message
    assert message == (
        f"model m: w.bin missing; put it (sha256 {file.sha256}) into {tmp_path / 'models' / 'm'}; "
        f"tried folder {given}: w.bin has another sha256"
    )
    assert left_in(tmp_path / "models") == []


def test_a_torn_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    given, cache = tmp_path / "given", tmp_path / "models" / "m"
    given.mkdir()
    cache.mkdir(parents=True)
    (given / "w.bin").write_bytes(b"weights")
    (cache / "w.bin").write_bytes(b"wei")
    resolve("m", (pinned("w.bin", b"weights"),), (Folder(path=str(given)),), tmp_path / "models")
    assert (cache / "w.bin").read_bytes() == b"weights"


def test_parts_in_packages_are_joined_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, part in enumerate((b"one-", b"two-", b"three")):
        package = tmp_path / "site" / f"hw_part_{i}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
        (package / "part.bin").write_bytes(part)
    (tmp_path / "site/hw_part_0/vocab.json").write_bytes(b"{}")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    got = resolve(
        "m",
        (pinned("w.bin", b"one-two-three"), pinned("vocab.json", b"{}")),
        (
            PackageParts(file="w.bin", packages=("hw_part_0", "hw_part_1", "hw_part_2"), member="part.bin"),
            PackageFiles(package="hw_part_0", members={"vocab.json": "vocab.json"}),
        ),
        tmp_path / "models",
    )
    assert (got / "w.bin").read_bytes() == b"one-two-three"
    assert left_in(got) == ["vocab.json", "w.bin"]


def test_an_npm_package_is_packed_and_only_the_named_members_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "package/voices").mkdir(parents=True)
    (tree / "package/voices/a.bin").write_bytes(b"voice")
    (tree / "package/index.js").write_text("x")
    with tarfile.open(tmp_path / "t.tgz", "w:gz") as tar:
        tar.add(tree / "package", "package")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "npm").write_text(
        f'#!/bin/sh\n[ "$1 $2" = "pack thing@1.0" ] && cp {tmp_path}/t.tgz thing-1.0.tgz\n'
    )
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    source = NpmFiles(package="thing@1.0", members={"a.bin": "package/voices/a.bin"})
    got = resolve("m", (pinned("a.bin", b"voice"),), (source,), tmp_path / "models")
    assert left_in(got) == ["a.bin"]
    assert (got / "a.bin").read_bytes() == b"voice"


def test_a_failing_client_is_a_reason_and_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "npm").write_text("#!/bin/sh\necho 'npm error: no network' >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    source = NpmFiles(package="thing@1.0", members={"a.bin": "package/a.bin"})
    with pytest.raises(ModelMissing, match=r"tried npm thing@1\.0: npm error: no network$"):
        resolve("m", (pinned("a.bin", b"voice"),), (source,), tmp_path / "models")


def test_the_cards_of_this_part_can_be_read_and_every_file_has_a_source() -> None:
    for name in ("kokoro-82m", "fallback-voice", "drawn-scene"):
        card = read_card(CARDS / f"{name}.yaml")
        assert card.name == name
        assert card.licence == "Apache-2.0"
        offered = {m for s in card.sources if isinstance(s, NpmFiles | PackageFiles) for m in s.members}
        offered |= {s.file for s in card.sources if isinstance(s, PackageParts)}
        assert {f.name for f in card.files} <= offered


def test_a_card_with_a_wrong_field_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text((CARDS / "drawn-scene.yaml").read_text().replace("elo: 900", "elo: high"))
    with pytest.raises(
        UsageError, match=r"bad\.yaml: not a model card: Expected `float`, got `str` - at `\$\.elo`"
    ):
        read_card(bad)


def test_the_fallback_voice_is_chosen_only_where_kokoros_files_cannot_be_had(tmp_path: Path) -> None:
    fallback = read_card(CARDS / "fallback-voice.yaml")
    given = tmp_path / "given"
    given.mkdir()
    card = ModelCard(
        name="first",
        version="1",
        family="kokoro",
        licence="x",
        stages=("speech",),
        memory_gb=1,
        load_s=1,
        elo=1,
        files=(pinned("w.bin", b"weights"),),
        sources=(Folder(path=str(given)),),
        fallback="fallback-voice",
    )
    chosen = choose_speech(card, {"fallback-voice": fallback}, tmp_path / "models")
    assert (chosen.card, chosen.folder) == (fallback, None)
    assert chosen.reason.startswith("model first: w.bin missing; put it ")
    with pytest.raises(ModelMissing):
        choose_speech(card, {}, tmp_path / "models")
    (given / "w.bin").write_bytes(b"weights")
    again = choose_speech(card, {"fallback-voice": fallback}, tmp_path / "models")
    assert (again.card, again.folder, again.reason) == (card, tmp_path / "models" / "first", "")
