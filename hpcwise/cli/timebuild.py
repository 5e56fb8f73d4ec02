"""A timeline out of a journal: from records of events and decisions alone.

No engine is needed, so any journal that can be read can be drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hpcwise.cli.timeline import Life, Loading, Note, Segment, Slice, Timeline, Track, short_name
from hpcwise.core import messages as m
from hpcwise.core.report import slo_text
from hpcwise.core.spec import JobSpec, Live
from hpcwise.core.workflow import TaskSpec
from hpcwise.head.ledger import Record


def build(records: Iterable[Record]) -> Timeline:
    """The timeline of a whole run."""
    builder = _Builder()
    for record in records:
        builder.take(record)
    return builder.finish()


_END: Final[Mapping[type, str]] = {
    m.TaskFinished: "finished",
    m.TaskFailed: "failed",
    m.TaskPaused: "paused",
    m.TaskCancelled: "cancelled",
    m.Revoked: "revoked",
}


class _Builder:
    def __init__(self) -> None:
        self._specs: dict[str, TaskSpec] = {}
        self._open: dict[tuple[str, int], Slice] = {}
        self._slices: list[Slice] = []
        self._loading: dict[tuple[str, str], Loading] = {}
        self._loadings: list[Loading] = []
        self._lives: dict[str, Life] = {}
        self._workers: list[Life] = []
        self._tracks: dict[str, Track] = {}
        self._shot_of: dict[tuple[str, int], tuple[int, str, int]] = {}
        self._frames: dict[tuple[str, int], int] = {}
        self._epochs: list[float] = []
        self._first: Record | None = None
        self._now_s = 0.0

    def take(self, record: Record) -> None:
        if self._first is None:
            self._first = record
        self._now_s = record.now_s
        event: Any = record.event
        handle = _EVENTS.get(type(event))
        if handle is not None:
            handle(self, event)
        elif type(event) in _END:
            self._ended(event, _END[type(event)])
        commands: tuple[Any, ...] = record.commands
        for command in commands:
            act = _COMMANDS.get(type(command))
            if act is not None:
                act(self, command)

    def finish(self) -> Timeline:
        for item in self._open.values():
            item.end_s = self._now_s
            self._slices.append(item)
        self._loadings += [_closed(x, self._now_s) for x in self._loading.values()]
        first = self._first
        return Timeline(
            start_s=first.now_s if first else 0.0,
            end_s=self._now_s,
            wall_s=first.wall_s if first else 0.0,
            epochs=self._epochs,
            slices=sorted(
                (s for s in self._slices if s.outcome != "revoked"), key=lambda s: (s.start_s, s.task_id)
            ),
            loadings=self._loadings,
            workers=sorted(self._workers, key=lambda life: (life.joined_s // 5, life.worker)),
            requests=list(self._tracks.values()),
        )

    # --- events -----------------------------------------------------------------------------------------

    def _arrived(self, event: m.RequestArrived) -> None:
        job: JobSpec = event.job
        live = job.slo if isinstance(job.slo, Live) else None
        track = Track(
            request_id=event.request_id,
            name=job.name or event.request_id,
            slo=slo_text(job),
            fps=job.fps,
            arrived_s=self._now_s,
            ttff_goal_s=live.ttff_s if live else None,
        )
        self._tracks[event.request_id] = track
        self._note(event.request_id, "arrived", slo_text(job))

    def _cancelled(self, event: m.RequestCancelled) -> None:
        self._end_track(event.request_id, "cancelled", "")

    def _published(self, event: m.Published) -> None:
        track = self._tracks.get(event.request_id)
        found = self._shot_of.get((event.request_id, event.index))
        if track is None or found is None:
            return
        shot, task_id, chunk = found
        frames = self._frames.get((task_id, chunk), 0)
        film_s = sum(segment.frames for segment in track.segments) / track.fps
        track.segments.append(
            Segment(index=event.index, shot=shot, at_s=self._now_s, frames=frames, film_s=film_s)
        )

    def _film(self, event: m.FilmMade) -> None:
        self._note(event.request_id, "film", f"film.mp4, version {event.version}")

    def _joined(self, event: m.WorkerJoined) -> None:
        info = event.worker
        if info.worker_id in self._lives:
            return
        life = Life(
            worker=info.worker_id,
            kind=info.kind,
            node=", ".join(dict.fromkeys(rank.node for rank in info.ranks)),
            joined_s=self._now_s,
        )
        self._lives[info.worker_id] = life
        self._workers.append(life)

    def _lost(self, event: m.WorkerLost) -> None:
        self._leave(event.worker_id, event.reason)

    def _loaded(self, event: m.ModelLoaded) -> None:
        found = self._loading.pop((event.worker_id, event.model), None)
        if found is not None:
            found.start_s = max(found.start_s, self._now_s - event.seconds)
            self._loadings.append(_closed(found, self._now_s))

    def _load_failed(self, event: m.ModelLoadFailed) -> None:
        found = self._loading.pop((event.worker_id, event.model), None)
        if found is not None:
            found.ok = False
            self._loadings.append(_closed(found, self._now_s))

    def _started(self, event: m.TaskStarted) -> None:
        item = self._open.get((event.task_id, event.attempt))
        if item is not None:
            item.start_s = self._now_s

    def _chunk(self, event: m.ChunkReady) -> None:
        self._frames[event.task_id, event.index] = int(event.facts.get("frames", 0))
        item = self._open.get((event.task_id, event.attempt))
        if item is not None:
            item.chunks.append(self._now_s)
            track = self._tracks.get(item.request_id)
            if track is not None and item.stage == "document" and event.facts.get("title"):
                track.name = str(event.facts["title"])

    def _head(self, event: m.HeadStarted) -> None:
        self._epochs.append(self._now_s)

    def _ended(self, event: Any, outcome: str) -> None:
        item = self._open.pop((event.task_id, event.attempt), None)
        if item is None:
            return
        item.end_s = self._now_s
        seconds = float(getattr(event, "seconds", 0.0))
        if seconds:
            # The worker's own measure: dispatch and messages are left out.
            item.start_s = max(item.start_s, self._now_s - seconds)
        item.outcome = outcome
        self._slices.append(item)
        if outcome == "failed":
            self._note(item.request_id, "failed", f"{short_name(item)}: {event.reason}")

    # --- decisions --------------------------------------------------------------------------------------

    def _tasks(self, command: m.AddTasks | m.ReplaceTask) -> None:
        for spec in command.tasks:
            self._specs[spec.task_id] = spec

    def _dispatch(self, command: m.Dispatch) -> None:
        spec = self._specs.get(command.task_id)
        if spec is None:
            return
        alternative = spec.alternatives[command.alternative]
        self._open[command.task_id, command.attempt] = Slice(
            worker=command.worker_id,
            task_id=command.task_id,
            request_id=spec.request_id,
            attempt=command.attempt,
            stage=spec.stage,
            model=alternative.model,
            tier=alternative.tier,
            shot=spec.shot,
            queued_s=self._now_s,
            start_s=self._now_s,
            end_s=self._now_s,
            outcome="running",
            deadline_s=command.deadline_s,
            expected_s=command.expected_s,
            reason=command.reason,
            key=command.key,
            remake=bool(spec.remake_of),
        )

    def _load(self, command: m.LoadModel) -> None:
        self._loading[command.worker_id, command.model] = Loading(
            worker=command.worker_id, model=command.model, start_s=self._now_s, end_s=self._now_s
        )

    def _publish(self, command: m.Publish) -> None:
        self._shot_of[command.request_id, command.index] = (command.shot, command.task_id, command.chunk)

    def _quality(self, command: m.SetAlternative) -> None:
        spec = self._specs.get(command.task_id)
        if spec is not None:
            kind = (
                "lowered"
                if "lowered" in command.reason
                else "raised"
                if "raised" in command.reason
                else "changed"
            )
            self._note(spec.request_id, kind, f"shot {spec.shot}: {command.reason}")

    def _quarantine(self, command: m.Quarantine) -> None:
        spec = self._specs.get(command.task_id)
        if spec is not None:
            self._note(spec.request_id, "quarantine", f"{command.task_id}: {command.reason}")

    def _forget(self, command: m.ForgetWorker) -> None:
        self._leave(command.worker_id, command.reason)

    def _over(self, command: m.RequestEnded) -> None:
        self._end_track(command.request_id, command.state, command.reason)

    # --- inside -----------------------------------------------------------------------------------------

    def _note(self, request_id: str, kind: str, text: str) -> None:
        track = self._tracks.get(request_id)
        if track is not None:
            track.notes.append(Note(at_s=self._now_s, kind=kind, text=text))

    def _end_track(self, request_id: str, state: str, reason: str) -> None:
        track = self._tracks.get(request_id)
        if track is not None and track.ended_s is None:
            track.ended_s, track.state = self._now_s, state
            self._note(request_id, "end", f"{state}: {reason}" if reason else state)

    def _leave(self, worker_id: str, reason: str) -> None:
        life = self._lives.pop(worker_id, None)
        if life is not None:
            life.ended_s, life.reason = self._now_s, reason
        for name, item in list(self._open.items()):
            if item.worker == worker_id:
                item.end_s, item.outcome = self._now_s, "lost"
                self._slices.append(self._open.pop(name))
        for pair, loading in list(self._loading.items()):
            if loading.worker == worker_id:
                self._loadings.append(_closed(self._loading.pop(pair), self._now_s))


def _closed(loading: Loading, at_s: float) -> Loading:
    loading.end_s = at_s
    return loading


_EVENTS: Final[Mapping[type, Callable[[_Builder, Any], None]]] = {
    m.RequestArrived: _Builder._arrived,
    m.RequestCancelled: _Builder._cancelled,
    m.Published: _Builder._published,
    m.FilmMade: _Builder._film,
    m.WorkerJoined: _Builder._joined,
    m.WorkerLost: _Builder._lost,
    m.ModelLoaded: _Builder._loaded,
    m.ModelLoadFailed: _Builder._load_failed,
    m.TaskStarted: _Builder._started,
    m.ChunkReady: _Builder._chunk,
    m.HeadStarted: _Builder._head,
}
_COMMANDS: Final[Mapping[type, Callable[[_Builder, Any], None]]] = {
    m.AddTasks: _Builder._tasks,
    m.ReplaceTask: _Builder._tasks,
    m.Dispatch: _Builder._dispatch,
    m.LoadModel: _Builder._load,
    m.Publish: _Builder._publish,
    m.SetAlternative: _Builder._quality,
    m.Quarantine: _Builder._quarantine,
    m.ForgetWorker: _Builder._forget,
    m.RequestEnded: _Builder._over,
}
