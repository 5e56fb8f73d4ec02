"""From the page's form to a job: an uploaded document or a path on this machine, and a few choices.

What a browser says of a file is believed in nothing: its name is cut down to harmless characters, its
type is looked at by the same check as any document's, its size is counted while it comes in.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.cli import submission
from hpcwise.cli.run import Run
from hpcwise.cli.specfile import DOCUMENT_SUFFIXES, Loaded
from hpcwise.cli.submit import load
from hpcwise.core.errors import UsageError
from hpcwise.store.paths import storage_errors

MAX_UPLOAD_BYTES: Final = 64 << 20
_TEXTS: Final = ("ttff", "by", "zone", "within", "duration", "resolution", "name")
_NUMBERS: Final = ("fps", "seed")
_FLAGS: Final = ("live", "batch")
_LONGEST_TEXT: Final = 400


class TooLarge(UsageError):
    """A document is larger than what is taken over the network."""


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was handed in. new: it was not before; state: of the request where it is known."""

    request_id: str
    new: bool
    state: str


def options_of(form: Mapping[str, str]) -> dict[str, object]:
    """The form's fields as options of `hpcwise submit`. Raises UsageError naming the field."""
    known = {*_TEXTS, *_NUMBERS, *_FLAGS, "path", "file", "again"}
    unknown = sorted(set(form) - known)
    if unknown:
        raise UsageError(f"{unknown[0][:40]}: there is no such field")
    options: dict[str, object] = {}
    for name in _TEXTS:
        text = form.get(name, "").strip()
        if len(text) > _LONGEST_TEXT or not text.isprintable():
            raise UsageError(f"{name}: is too long or holds control characters; write it shorter")
        options[name] = text or None
    for name in _NUMBERS:
        text = form.get(name, "").strip()
        if text and not re.fullmatch(r"[0-9]{1,18}", text):
            raise UsageError(f"{name}: {text[:40]!r} is no whole number")
        options[name] = int(text) if text else None
    for name in _FLAGS:
        options[name] = form.get(name) == "1"
    return options


def safe_name(given: str) -> str:
    """A file name out of what a browser sent; raises UsageError where its type is not taken."""
    base = re.split(r"[/\\]", given)[-1]
    stem, dot, suffix = base.rpartition(".")
    suffix = f".{suffix.lower()}" if dot else ""
    if suffix not in DOCUMENT_SUFFIXES:
        raise UsageError(f"file: only {', '.join(DOCUMENT_SUFFIXES)} are taken; save the document as one")
    clean = re.sub(r"[^\w .()+-]", "_", stem, flags=re.ASCII).strip(". ")[:80] or "document"
    return clean + suffix


@contextmanager
def scratch(run: Run) -> Iterator[Path]:
    """A folder for one upload, gone afterwards: what is filmed is copied under its hash."""
    run.create()
    folder = run.paths.root / "uploads" / secrets.token_hex(8)
    with storage_errors(folder):
        folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def receive(body: AsyncIterator[bytes], target: Path, most_bytes: int = MAX_UPLOAD_BYTES) -> None:
    """Write an upload to a new file; raises TooLarge as soon as it is, UsageError where it is empty."""
    size = 0
    with storage_errors(target), target.open("xb") as file:
        async for block in body:
            size += len(block)
            if size > most_bytes:
                raise TooLarge(f"file: is larger than {most_bytes >> 20} MiB; name its path on this machine")
            file.write(block)
    if not size:
        raise UsageError("file: is empty; choose one with text")


def hand_in(
    run: Run, document: Path, form: Mapping[str, str], states: Callable[[], Mapping[str, str]]
) -> Handed:
    """Check the job and hand it in; raises UsageError with a line for each mistake.

    states: of all requests, asked for when the job itself is right.
    """
    try:
        loaded: Loaded = load(document, options_of(form))
    except UsageError as error:
        # The page has fields, no flags; and where an upload lies for a moment says nothing to a person.
        hidden = f"{document.parent}/" if "file" in form else ""
        raise UsageError(re.sub(r"(^| )--(?=[a-z])", r"\1", str(error).replace(hidden, ""))) from error
    run.create()
    known = states()
    request_id = submission.request_id_of(loaded, known, run, again=form.get("again") == "1")
    before = known.get(request_id)
    if before is None:
        submission.submit(run, loaded, request_id)
    return Handed(request_id=request_id, new=before is None, state=before or "submitted")


def forget_uploads(run: Run, older_than_s: float = 3600.0) -> None:
    """Remove what an earlier server left when it was killed during an upload."""
    folder = run.paths.root / "uploads"
    if not folder.is_dir():
        return
    limit_s = time.time() - older_than_s
    for path in folder.iterdir():
        if path.stat(follow_symlinks=False).st_mtime < limit_s:
            shutil.rmtree(path, ignore_errors=True)
