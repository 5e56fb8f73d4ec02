"""What a person brings along: logo, fonts, pictures, music, how words are said, an endpoint that writes.

Readers give `Own` values with paths as they were written; `settle` finds the files, relative to the spec.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hpcwise.cli import specread as f
from hpcwise.cli.specerrors import Complaints
from hpcwise.cli.specinput import check_asset
from hpcwise.cli.values import printable
from hpcwise.cli.yamlread import Value, read_yaml
from hpcwise.core.errors import SpecError, StoreError, UsageError
from hpcwise.core.spec import Asset, Llm, Music, OwnPicture

PICTURES: Final = (".png", ".jpg", ".jpeg")
FONTS: Final = (".otf", ".ttf")
MUSIC: Final = (".wav", ".flac", ".mp3", ".ogg", ".m4a")
#: Least and greatest distance of the music from the speech, dB.
LEVEL_DB: Final = (6, 60)
#: No file: the pad that comes with this project.
OWN_MUSIC: Final = (None, 22.0)
_LOOKUP_ERRORS = (ValueError, SpecError)


@dataclass(frozen=True, slots=True)
class Named:
    """A file as the spec names it, with what it may be."""

    value: Value
    suffixes: Sequence[str]


def named(suffixes: Sequence[str]) -> Callable[[Value], Named]:
    """A path; the file is looked at by `settle`."""

    def read(value: Value) -> Named:
        f.text(4096)(value)
        return Named(value, suffixes)

    return read


def fonts(value: Value) -> dict[str, Named]:
    """`{regular: a.otf, bold: b.otf}`; bold may be left out."""
    fields = f.mapping(value, ("regular", "bold"), ("regular",))
    return {name: f.part(f".{name}", item, named(FONTS)) for name, item in fields.items()}


def pictures(value: Value) -> list[tuple[Named, str]]:
    """A list of `{file: chart.png, caption: what it shows}`."""
    if not isinstance(value.data, list) or not value.data:
        raise ValueError("list pictures, each with file and caption")
    found = []
    for i, item in enumerate(value.data):
        fields = f.part(f"[{i}]", item, lambda v: f.mapping(v, ("file", "caption"), ("file", "caption")))
        file = f.part(f"[{i}].file", fields["file"], named(PICTURES))
        found.append((file, f.part(f"[{i}].caption", fields["caption"], f.text(400))))
    return found


def music(value: Value) -> tuple[Named | None, float] | None:
    """A file, or `{file: quiet.flac, level: 22}` with its distance from the speech in dB; true: the pad that
    comes with this project (as without a file), false: none."""
    if isinstance(value.data, bool):
        return OWN_MUSIC if value.data else None
    if not isinstance(value.data, dict):
        return named(MUSIC)(value), OWN_MUSIC[1]
    fields = f.mapping(value, ("file", "level"), ())
    level = f.part(".level", fields["level"], f.whole(*LEVEL_DB)) if "level" in fields else OWN_MUSIC[1]
    return f.part(".file", fields["file"], named(MUSIC)) if "file" in fields else None, float(level)


def lexicon(value: Value) -> dict[str, str] | Named:
    """`{USP: U S P}`, or the name of a YAML file that holds such a map."""
    if not isinstance(value.data, dict):
        return named((".yaml", ".yml"))(value)
    return words(value)


def words(value: Value) -> dict[str, str]:
    """The map of a lexicon: word as written -> as it is said."""
    if not isinstance(value.data, dict):
        raise ValueError("write fields, each a word and how it is said")
    found = {}
    for word, said in value.data.items():
        if not 0 < len(word) <= 60 or not word.isprintable() or any(c.isspace() for c in word):
            raise f.Part("", said, "write a word without spaces, up to 60 characters")
        found[word] = f.part(f".{word}", said, f.text(200))
    return found


def llm(value: Value) -> Llm:
    """`{url: http://host:8000/v1, model: name}`."""
    fields = f.mapping(value, ("url", "model"), ("url", "model"))
    url = f.part(".url", fields["url"], f.text(400))
    if not _is_endpoint(url):
        raise f.Part(".url", fields["url"], "write http://host:port/v1")
    return Llm(url=url.rstrip("/"), model=f.part(".model", fields["model"], f.text(200)))


def _is_endpoint(url: str) -> bool:
    try:
        where = urlsplit(url)
        return where.scheme in ("http", "https") and bool(where.hostname) and where.port != 0
    except ValueError:  # brackets that do not close, a port that is none
        return False


def user_lexicon_file() -> Path:
    """The user's own lexicon, for all films."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "hpcwise" / "lexicon.yaml"


def settle(given: dict[str, Any], fields: Mapping[str, Value], folder: Path, complaints: Complaints) -> None:
    """Find and hash the files; put the user's lexicon under the project's (SpecError where it is wrong)."""

    def asset(field: str, file: Named) -> Asset | None:
        try:
            path, sha256 = check_asset(str(f.text(4096)(file.value)), folder, file.suffixes)
        except ValueError as error:
            complaints.add(field, file.value, str(error))
            return None
        return Asset(path=str(path), sha256=sha256)

    if isinstance(given.get("logo"), Named):
        given["logo"] = asset("logo", given["logo"])
    if "fonts" in given:
        found = {name: asset(f"fonts.{name}", file) for name, file in given["fonts"].items()}
        given["fonts"] = {name: file for name, file in found.items() if file is not None}
    if "pictures" in given:
        given["pictures"] = tuple(
            OwnPicture(file=file, caption=caption)
            for i, (name, caption) in enumerate(given["pictures"])
            if (file := asset(f"pictures[{i}].file", name)) is not None
        )
    if given.get("music") is not None:
        wanted, level_db = given["music"]
        file = asset("music", wanted) if wanted is not None else None
        if file is not None and (wrong := _not_sound(Path(file.path))):
            complaints.add("music", wanted.value, wrong)
        given["music"] = Music(file=file, level_db=level_db)
    _lexicon(given, fields, folder, complaints)
    if "llm" not in given and os.environ.get("HPCWISE_LLM_URL"):
        url, model = os.environ["HPCWISE_LLM_URL"], os.environ.get("HPCWISE_LLM_MODEL", "")
        if not _is_endpoint(url):
            raise UsageError(f"HPCWISE_LLM_URL: {printable(url)!r} is not usable; give http://host:port/v1")
        if not model:
            raise UsageError("HPCWISE_LLM_MODEL: is missing; name the model that HPCWISE_LLM_URL serves")
        given["llm"] = Llm(url=url.rstrip("/"), model=model)
    if given.get("llm"):
        from hpcwise.models.llm.client import key_of_user

        key_of_user()  # what is wrong with it is said before anything is made


def _not_sound(path: Path) -> str:
    """Why a file cannot be played, "" where it can. Without PyAV stitching finds it out."""
    try:
        from hpcwise.media.probe import probe
    except ImportError:
        return ""
    try:
        found = probe(path)
    except StoreError as error:
        return f"{error}; name a sound file"
    return "" if found.audio_codec and found.duration_s >= 1 else "holds less than 1 s of sound; name another"


def _lexicon(
    given: dict[str, Any], fields: Mapping[str, Value], folder: Path, complaints: Complaints
) -> None:
    merged: dict[str, str] = {}
    own = user_lexicon_file()
    try:
        there = own.is_file()
    except OSError as error:  # a folder above it that is closed
        raise UsageError(f"{own}: cannot be read ({error.strerror}); check whose it is") from error
    if there:
        merged |= _words_of(own)
    project = given.get("lexicon", {})
    if isinstance(project, Named):
        try:
            path, _ = check_asset(str(f.text(4096)(project.value)), folder, project.suffixes)
            project = _words_of(path)
        except _LOOKUP_ERRORS as error:
            complaints.add("lexicon", fields["lexicon"], str(error))
            project = {}
    merged |= project
    if merged:
        given["lexicon"] = merged


def _words_of(path: Path) -> dict[str, str]:
    root = read_yaml(path, str(path))
    try:
        return words(root)
    except f.Part as error:
        line = error.value.line if error.value is not None else root.line
        raise SpecError(f"{path}:{line}: {error.path.lstrip('.') or 'word'}: {error.fix}") from None
    except ValueError as error:
        raise SpecError(f"{path}:{root.line}: {error}") from None
