"""What the store writes beside an artifact's files: sealed records, so that a torn one is seen as such."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hpcwise.core.errors import StoreError, TornArtifact
from hpcwise.store.digest import FileDigest, seal
from hpcwise.store.paths import storage_errors

MANIFEST = "manifest.json"
VERSION = 1

_R = TypeVar("_R", "Manifest", "Final")


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the chunk: its name (no folders) and digest."""

    name: str
    digest: FileDigest


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One committed chunk. `facts` are small and JSON-able: what consumers and the engine need to know."""

    key: str
    chunk: int
    files: tuple[FileEntry, ...]
    facts: dict[str, Any]
    version: int = VERSION

    @property
    def size_bytes(self) -> int:
        return sum(entry.digest.size_bytes for entry in self.files)

    def digest(self, name: str) -> FileDigest:
        """Digest of file `name`; raises StoreError where the chunk has no such file."""
        for entry in self.files:
            if entry.name == name:
                return entry.digest
        raise StoreError(f"artifact {self.key} chunk {self.chunk} has no file {name!r}")


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """Says that an artifact is whole: how many chunks it has, and facts about all of it."""

    key: str
    n_chunks: int
    facts: dict[str, Any]
    version: int = VERSION


def encode(record: Manifest | Final) -> bytes:
    """One line of JSON and one with its digest."""
    body = msgspec.json.encode(record)
    return body + b"\n" + seal(body).encode() + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a chunk's folder. Raises TornArtifact where it is missing or damaged, StoreError."""
    return _decode(folder / MANIFEST, Manifest)


def read_final(path: Path) -> Final:
    """The final record `path`. Raises TornArtifact where it is missing or damaged, StoreError."""
    return _decode(path, Final)


def plain_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `facts` as JSON will give it back; raises StoreError where JSON cannot hold them."""
    try:
        copy = msgspec.json.decode(msgspec.json.encode(dict(facts)), type=dict[str, Any])
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StoreError(f"artifact facts cannot be written as JSON: {error}") from error
    return copy


def _decode(path: Path, kind: type[_R]) -> _R:
    with storage_errors(path):
        try:
            body, _, check = path.read_bytes().partition(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            raise TornArtifact(f"{path}: is missing") from None
    if check != seal(body).encode() + b"\n":
        raise TornArtifact(f"{path}: is torn")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path}: was written by another version of hpcwise ({error})") from error
