"""What a run was, read from its journals, its store and its films."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from hpcwise.cli.replay import records_of
from hpcwise.cli.run import Run
from hpcwise.core import messages as m
from hpcwise.core.errors import StoreError
from hpcwise.store.artifacts import Store

#: What people watch; lists, receipts and the morning's report hold times of the run.
_WATCHED: Final = (".mp4", ".m4s", ".srt", ".vtt", ".png")
_MINUTE_S: Final = 60.0


def artifacts(run: Run) -> dict[str, tuple[str, ...]]:
    """Hashes of all files by recipe key; a damaged artifact has none."""
    store = Store(run.paths)
    found: dict[str, tuple[str, ...]] = {}
    for known in store.scan():
        try:
            found[known.key] = tuple(
                f"{entry.name} {entry.digest}"
                for k in range(known.n_chunks)
                for entry in store.read(known.key, k).manifest.files
            )
        except StoreError as error:
            found[known.key] = (f"torn: {error}",)
    return found


def film_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a film that can be watched or read."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in _WATCHED and not path.name.startswith("report.") and path.is_file()
    }


def equal_share(ours: Mapping[str, object], theirs: Mapping[str, object]) -> tuple[int, int]:
    """How many of all names have equal values on both sides, and how many names there are."""
    names = set(ours) | set(theirs)
    return sum(name in ours and name in theirs and ours[name] == theirs[name] for name in names), len(names)


def recomputed(run: Run) -> int:
    """Dispatches of a key whose artifact had been finished, and was not torn since."""
    finished: set[str] = set()
    keys: dict[tuple[str, int], str] = {}
    again = 0
    for _, record in records_of(run):
        event = record.event
        if isinstance(event, m.TaskFinished) and (event.task_id, event.attempt) in keys:
            finished.add(keys[event.task_id, event.attempt])
        elif isinstance(event, m.ArtifactTorn | m.PublishFailed):
            finished.discard(event.key)
        for command in record.commands:
            if isinstance(command, m.Dispatch):
                again += command.key in finished
                keys[command.task_id, command.attempt] = command.key
    return again


def handovers(run: Run, kind: str, workers: int) -> int:
    """Workers of a kind that drained because their allocation ended, whose successor had been asked for by
    then and joined. workers: of that kind at once."""
    kinds: dict[str, str] = {}
    asked = ended = in_time = 0
    for _, record in records_of(run):
        event = record.event
        if isinstance(event, m.WorkerJoined):
            kinds[event.worker.worker_id] = event.worker.kind
        elif isinstance(event, m.WorkerDraining) and kinds.get(event.worker_id) == kind:
            ended += 1
            in_time += "allocation ends" in event.reason and asked >= workers + ended
        asked += sum(isinstance(c, m.Launch) and c.kind == kind for c in record.commands)
    joined = sum(of == kind for of in kinds.values())
    return min(in_time, max(0, joined - workers))


def per_minute(times_s: Iterable[float], began_s: float, ended_s: float) -> tuple[float, int]:
    """Mean a minute between two times, and the most within any minute."""
    inside = sorted(t for t in times_s if began_s <= t <= ended_s)
    most, first = 0, 0
    for last, at_s in enumerate(inside):
        while at_s - inside[first] >= _MINUTE_S:
            first += 1
        most = max(most, last - first + 1)
    return len(inside) / max(1.0, (ended_s - began_s) / _MINUTE_S), most
