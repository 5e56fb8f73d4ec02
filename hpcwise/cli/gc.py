"""`hpcwise gc`: frees space in a run directory. Films are yours: of what lies in results/<request>/ only the
live files go, if that is asked for and film.mp4 holds the same."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import msgspec

from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.values import format_bytes, format_s, parse_duration_s, printable
from hpcwise.core.engine import Engine
from hpcwise.core.errors import UsageError
from hpcwise.core.state import LIVE_REQUEST
from hpcwise.models.sources import sha256_of
from hpcwise.store.paths import storage_errors

#: Scratch of a worker that still lives is younger than this, seconds.
_SCRATCH_S: Final = 6 * 3600.0


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What went, or would go: artifacts, checkpoints, inputs, workers (folders of those that are gone),
    scratch, live (files of films that are made)."""

    kind: str
    count: int
    size_bytes: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    name: str
    newest_s: float
    size_bytes: int


@click.command("gc")
@click.option("--older-than", default="7d", show_default=True, metavar="TIME", help="Keep what is younger.")
@click.option("--live", is_flag=True, help="Also the live files of films whose film.mp4 is whole.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would go, remove nothing.")
@run_dir_option
@json_option
def gc_command(older_than: str, live: bool, dry_run: bool, run: Run, as_json: bool) -> None:
    """Remove artifacts, documents and worker folders that no live request needs and that are old enough.

    Artifacts that go are made again if they are ever wanted. Films and journals stay. With --live the
    playlists and segments of films that ended go too, where film.mp4 is there as its receipt says: they hold
    the same film once more, and once in each smaller size.
    """
    try:
        age_s = parse_duration_s(older_than)
    except ValueError as error:
        raise UsageError(f"--older-than: {printable(repr(older_than))} is not usable; {error}") from None
    there = run.paths.store.is_dir()
    removed = collect(run, age_s, time.time(), live=live, dry_run=dry_run) if there else []
    total = sum(entry.size_bytes for entry in removed)
    if as_json:
        print_json({"dry_run": dry_run, "older_than_s": age_s, "size_bytes": total, "removed": removed})
        return
    rows = [(entry.kind, entry.count, format_bytes(entry.size_bytes), entry.kept) for entry in removed]
    if rows:
        console().print(
            table(("WHAT", "WOULD GO" if dry_run else "GONE", "SIZE", "KEPT"), rows, ("SIZE", "KEPT"))
        )
    verb = "would be freed" if dry_run else "freed"
    click.echo(f"{format_bytes(total)} {verb}; older than {format_s(age_s)}, live requests untouched")


def collect(run: Run, age_s: float, now_s: float, *, live: bool, dry_run: bool) -> list[Removed]:
    """Remove what is older than `age_s` and not needed; of films that are made the live files, if `live` says
    so. Raises NotOwner or StoreError.

    Who needs what is read from the journal before anything goes. A head that runs may take in a request
    meanwhile that counts on an artifact that goes: it finds it torn and has it made again.
    """
    from hpcwise.cli.offline import engine_of
    from hpcwise.store.artifacts import Store
    from hpcwise.store.inbox import Inbox

    engine = engine_of(run)
    keys, workers, documents = _needed(engine)
    for submission in Inbox(run.paths).pending() if run.paths.inbox.is_dir() else []:
        documents |= _documents(Inbox(run.paths).read(submission.token))
    before_s = now_s - age_s
    store = Store(run.paths)
    found: list[Removed] = []
    if live:
        busy = {name for name, request in engine.state.requests.items() if request.state in LIVE_REQUEST}
        found.append(_collect_live(run, busy, before_s, dry_run=dry_run))
    for kind, place in (("artifacts", run.paths.store), ("checkpoints", run.paths.checkpoints)):
        kept, size, count = 0, 0, 0
        for entry in _keys(run, place):
            if entry.name in keys or entry.newest_s >= before_s:
                kept += 1
                continue
            count, size = count + 1, size + entry.size_bytes
            if not dry_run:
                if kind == "artifacts":
                    store.remove(entry.name)
                else:
                    _remove(entry.path)
        found.append(Removed(kind=kind, count=count, size_bytes=size, kept=kept))
    for kind, folder, needed in (("inputs", run.inputs, documents), ("workers", run.paths.workers, workers)):
        kept, size, count = 0, 0, 0
        for entry in _children(folder):
            if entry.name.split(".")[0] in needed or entry.newest_s >= before_s:
                kept += 1
                continue
            count, size = count + 1, size + entry.size_bytes
            if not dry_run:
                _remove(entry.path)
        found.append(Removed(kind=kind, count=count, size_bytes=size, kept=kept))
    scratch = store.usage().scratch_bytes
    swept = 0 if dry_run else store.sweep_scratch(max(age_s, _SCRATCH_S), now_s)
    left = store.usage().scratch_bytes
    found.append(Removed(kind="scratch", count=swept, size_bytes=scratch - left, kept=0))
    return found


class _Made(msgspec.Struct, frozen=True):
    """What of `receipt.json` says whether a film is made, and is still the one that was."""

    state: str
    film_hashes: dict[str, str]


def _collect_live(run: Run, busy: Collection[str], before_s: float, *, dry_run: bool) -> Removed:
    """The live files of films that ended. busy: requests that still grow."""
    kept, size, count = 0, 0, 0
    with storage_errors(run.results):
        folders = sorted(p for p in run.results.glob("*/live") if p.is_dir() and not p.is_symlink())
    for folder in folders:
        entry, film = _entry(folder), folder.parent
        if film.name in busy or entry.newest_s >= before_s or not _is_made(film):
            kept += 1
            continue
        count, size = count + 1, size + entry.size_bytes
        if not dry_run:
            _remove(folder)
    return Removed(kind="live", count=count, size_bytes=size, kept=kept)


def _is_made(folder: Path) -> bool:
    """Whether film.mp4 is there with the bytes that its receipt names."""
    try:
        made = msgspec.json.decode((folder / "receipt.json").read_bytes(), type=_Made)
        digest = sha256_of(folder / "film.mp4")
    except (OSError, msgspec.MsgspecError):
        return False
    return made.state == "done" and made.film_hashes.get("film.mp4") == digest


def _needed(engine: Engine) -> tuple[set[str], set[str], set[str]]:
    """Keys of artifacts, workers and hashes of documents that live requests and live workers need."""
    keys: set[str] = set()
    documents: set[str] = set()
    for request in engine.state.requests.values():
        if request.state not in LIVE_REQUEST:
            continue
        documents |= request.job.hashes
        for task_id in request.tasks:
            task = engine.state.tasks[task_id]
            keys |= {key for key in (task.key, task.checkpoint) if key}
    return keys, {*engine.state.workers, *engine.state.launches}, documents


def _documents(payload: bytes) -> set[str]:
    from hpcwise.core.spec import JobSpec

    try:
        return set(msgspec.json.decode(payload, type=JobSpec).hashes)
    except msgspec.MsgspecError:
        return set()


def _keys(run: Run, place: Path) -> Iterator[_Entry]:
    for prefix in sorted(place.iterdir()) if place.is_dir() else []:
        if prefix.is_dir():
            yield from (entry for entry in _children(prefix) if run.paths.is_key(entry.name))


def _children(folder: Path) -> Iterator[_Entry]:
    if not folder.is_dir():
        return
    with storage_errors(folder):
        children = sorted(folder.iterdir())
    for path in children:
        yield _entry(path)


def _entry(path: Path) -> _Entry:
    newest_s, size = 0.0, 0
    for item in (path, *path.rglob("*")):
        try:
            status = item.lstat()
        except FileNotFoundError:
            continue
        newest_s = max(newest_s, status.st_mtime)
        size += status.st_size if item.is_file() else 0
    return _Entry(path, path.name, newest_s, size)


def _remove(path: Path) -> None:
    with storage_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
