"""Handing a job in: its id, its document's copy, its file in the inbox."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hpcwise.cli.client import ask
from hpcwise.cli.run import Run
from hpcwise.cli.specfile import Loaded, with_paths
from hpcwise.core.errors import UsageError
from hpcwise.core.report import RequestRow
from hpcwise.core.spec import JobSpec
from hpcwise.store.inbox import Inbox
from hpcwise.store.paths import storage_errors
from hpcwise.wire import messages as w
from hpcwise.wire.start import SubmissionAnswer

#: States after which the same job is taken as a new request.
_OVER = ("failed", "cancelled", "refused")


def known_states(run: Run) -> dict[str, str]:
    """State of every request that was ever handed in here; `submitted` and `refused` beside the engine's."""
    found: dict[str, str] = {}
    if run.paths.inbox.is_dir():
        found.update((submission.token, "submitted") for submission in Inbox(run.paths).pending())
    for row in ask(run, w.AskList, tuple[RequestRow, ...])[0]:
        found[row.request_id] = row.state
    return found


def answer_to(run: Run, request_id: str) -> SubmissionAnswer | None:
    """What a head said of a submission; None while none has."""
    if not run.paths.acks.is_dir():
        return None
    data = Inbox(run.paths).answer(request_id)
    return None if data is None else msgspec.json.decode(data, type=SubmissionAnswer)


def request_id_of(loaded: Loaded, states: Mapping[str, str], run: Run, *, again: bool = False) -> str:
    """The job's id, the same for the same job: it follows from what is asked and from the document's bytes.

    A job whose request failed or was cancelled, or that is wanted `again`, gets the next number behind it.
    """
    job = loaded.job
    stem = job.name or Path(job.input_path).stem or job.workflow
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:32].strip("-") or "job"
    base = f"{slug}-{loaded.digest[:8]}"
    number = 1
    while True:
        name = base if number == 1 else f"{base}-{number}"
        state = states.get(name)
        refused = answer_to(run, name)
        if state is None and refused is not None and not refused.accepted:
            state = "refused"
        if state is None or (not again and state not in _OVER):
            return name
        number += 1


def submit(run: Run, loaded: Loaded, request_id: str) -> None:
    """Copy the document and drop the job into the inbox; durable when it returns, a repetition is none.

    Raises NotOwner, DiskFull, StoreError, and UsageError where the document changed meanwhile.
    """
    run.create()
    job = _with_copy(run, loaded.job)
    Inbox(run.paths).drop(msgspec.json.encode(job), request_id)


def _with_copy(run: Run, job: JobSpec) -> JobSpec:
    """The job with its files copied under their hashes: what happens to the originals no longer matters."""
    if job.input_path:
        job = msgspec.structs.replace(job, input_path=_kept(run, Path(job.input_path), job.input_sha256))
    return with_paths(job, lambda asset: _kept(run, Path(asset.path), asset.sha256))


def _kept(run: Run, source: Path, sha256: str) -> str:
    # Its own name stays: it is what people read in messages and, without a title, on the title card.
    name = re.sub(r"[^A-Za-z0-9_ .()+-]", "_", source.name)[-100:].lstrip(". ")
    target = run.inputs / sha256 / name
    if not target.exists():
        with storage_errors(target.parent):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _copy(source, target, sha256)
    return str(target)


def _copy(source: Path, target: Path, sha256: str) -> None:
    scratch = target.with_name(f".{secrets.token_hex(6)}")
    total = hashlib.sha256()
    try:
        with storage_errors(target), source.open("rb") as reading, scratch.open("xb") as writing:
            while block := reading.read(1 << 20):
                total.update(block)
                writing.write(block)
            writing.flush()
            os.fsync(writing.fileno())
        if total.hexdigest() != sha256:
            raise UsageError(f"{source}: changed while it was read; try again")
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
