"""A world for the engine: workers with real local queues, a clock, and models that take what they are told.

Deterministic and in memory; `check()` runs after every event. The engine under test is the real one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hpcwise.core import messages as m
from hpcwise.core.calls import RunTask
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.queue import LocalQueue, QueueEntry
from hpcwise.core.resources import AttemptRef, FleetItem, WorkerInfo
from hpcwise.core.screenplay import Character, Line, Scene, Shot
from hpcwise.core.spec import Batch, JobSpec, Slo
from hpcwise.core.units import SEGMENT_S

CAST = (
    Character(id="maya", name="Maya", role="host", voice="af_heart", look="maya"),
    Character(id="dan", name="Daniel", role="expert", voice="am_michael", look="dan"),
)
FILM_MODELS = ("pdf-document", "extractive-screenplay", "kokoro-82m", "fallback-voice", "drawn-scene")


def catalogue(
    frame_s: float = 0.01, speech_s: float = 0.2, mpx_s: float = 0.0, **extra: ModelInfo
) -> Catalogue:
    """Profiles of the embedded models on `cpu`: seconds of a frame, its megapixel and a spoken second."""
    static = {"static_frames": frame_s / 20}
    per = {
        "cpu": LinearProfile(
            base_s=0.05, per={"frames": frame_s, "mpx": mpx_s, "speech_s": speech_s, **static}
        )
    }
    quick = {"cpu": LinearProfile(base_s=0.3)}
    models = {
        "pdf-document": ModelInfo(name="pdf-document", family="document", profiles=quick),
        "extractive-screenplay": ModelInfo(name="extractive-screenplay", family="s", profiles=quick),
        "kokoro-82m": ModelInfo(
            name="kokoro-82m", family="kokoro", profiles=per, load_s=1.0, memory_gb=1, light=True
        ),
        "fallback-voice": ModelInfo(name="fallback-voice", family="voice", profiles=per),
        "drawn-scene": ModelInfo(name="drawn-scene", family="drawn", profiles=per, memory_gb=0.5),
        **extra,
    }
    return Catalogue(models=models, hardware={"cpu": HardwareInfo(name="cpu", usd_per_h=1.0, busy_w=100)})


def podcast(slo: Slo | None = None, **changes: Any) -> JobSpec:
    """A film of 60 s from a document that no test opens."""
    fields: dict[str, Any] = {
        "input_path": "paper.pdf",
        "input_sha256": "ab" * 32,
        "cast": CAST,
        "duration_s": 60.0,
        "slo": slo or Batch(),
    }
    return JobSpec(**{**fields, **changes})


def scenes(n_shots: int, length_s: float = 7.0) -> list[Scene]:
    """A screenplay: a title, then shots of `length_s`, two to a scene."""
    shots = [
        Shot(
            kind="title" if i == 0 else "close_up",
            lines=(Line(speaker=CAST[i % 2].id, text=f"This is what is said in shot {i}."),),
            prominence=1.0 if i == 0 else 0.4,
            expected_s=length_s,
        )
        for i in range(n_shots)
    ]
    pairs = [tuple(shots[i : i + 2]) for i in range(0, n_shots, 2)]
    return [Scene(title=f"{i}", shots=p, last=i == len(pairs) - 1) for i, p in enumerate(pairs)]


@dataclass
class FakeWorker:
    info: WorkerInfo
    queue: LocalQueue = field(default_factory=LocalQueue)
    calls: dict[str, RunTask] = field(default_factory=dict)
    running: AttemptRef | None = None
    alive: bool = True


class Driver:
    """Performs commands as workers, publisher and launcher would; `run` plays until nothing happens.

    runtime(call, worker) -> seconds. fails(call, worker) -> a reason or None. speech_s: real length of the
    speech of a shot by index, where it differs from what the screenplay expected.
    """

    def __init__(self, config: EngineConfig | None = None, screenplay: list[Scene] | None = None) -> None:
        fleet = (FleetItem(kind="cpu", hardware="cpu", models=FILM_MODELS, max_workers=2, launch_s=0.5),)
        self.config = config or EngineConfig(catalogue=catalogue(), fleet=fleet)
        self.engine = Engine(self.config)
        self.scenes = screenplay if screenplay is not None else scenes(8)
        self.workers: dict[str, FakeWorker] = {}
        self.now_s = 0.0
        self.log: list[tuple[float, m.Event, list[m.Command]]] = []
        self.done: list[m.Command] = []
        self.speech_s: dict[int, float] = {}
        self.runtime: Callable[[RunTask, FakeWorker], float] = self._profiled
        self.fails: Callable[[RunTask, FakeWorker], str | None] = lambda _call, _worker: None
        self.chunk_facts: Callable[[RunTask, int], dict[str, Any]] = lambda _call, _k: {}
        self.launches = True
        self.publishes = True
        self.stitches = True
        self.deaf: set[str] = set()
        self.unloadable: set[str] = set()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._n_launched = 0

    # --- the driver's surface -----------------------------------------------------------------------

    def send(self, event: m.Event) -> list[m.Command]:
        """Give one event to the engine, check all invariants, perform what it decides."""
        commands = self.engine.handle(event, self.now_s)
        self.engine.check()
        self.log.append((self.now_s, event, commands))
        for command in commands:
            self.done.append(command)
            self._perform(command)
        return commands

    def join(self, worker_id: str, **changes: Any) -> FakeWorker:
        """A worker says hello."""
        fields: dict[str, Any] = {"kind": "cpu", "hardware": "cpu", "models": FILM_MODELS}
        info = WorkerInfo(worker_id=worker_id, **{**fields, **changes})
        worker = self.workers[worker_id] = FakeWorker(info)
        self.send(m.WorkerJoined(info))
        return worker

    def kill(self, worker_id: str) -> None:
        """The worker's process ends without a word."""
        self.workers.pop(worker_id).alive = False
        self.send(m.WorkerLost(worker_id, "killed"))

    def restart_head(self) -> None:
        """A new head recovers the snapshot; all workers join it and say what they hold."""
        self.engine = Engine.restore(self.config, self.engine.snapshot())
        self.send(m.HeadStarted(epoch=self.engine.state.epoch + 1, grace_s=2.0))
        for worker in list(self.workers.values()):
            running = (worker.running,) if worker.running else ()
            self.send(m.WorkerJoined(worker.info, (*running, *worker.queue.refs())))

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Do something at a time of the run."""
        self._sequence += 1
        heapq.heappush(self._agenda, (time_s, self._sequence, action))

    def run(self, until_s: float = 1e6, max_events: int = 50_000) -> None:
        """Play until the engine wants no more time and nothing is under way, or until `until_s`."""
        for _ in range(max_events):
            wake_s = self.engine.next_wakeup_s()
            next_s = self._agenda[0][0] if self._agenda else None
            if next_s is None and (wake_s is None or not self._busy()):
                return
            if next_s is None or (wake_s is not None and wake_s < next_s):
                assert wake_s is not None
                if wake_s > until_s:
                    self.now_s = until_s
                    return
                self.now_s = max(self.now_s, wake_s)
                self.send(m.Tick())
                continue
            if next_s > until_s:
                self.now_s = until_s
                return
            time_s, _, action = heapq.heappop(self._agenda)
            self.now_s = max(self.now_s, time_s)
            action()
        raise AssertionError(f"still running after {max_events} events")

    def commands(self, kind: type[Any]) -> list[Any]:
        """All commands of a type so far, in order."""
        return [c for c in self.done if type(c) is kind]

    def state_of(self, request_id: str) -> str:
        return self.engine.state.requests[request_id].state

    # --- performing ---------------------------------------------------------------------------------

    def _busy(self) -> bool:
        state = self.engine.state
        live = any(r.state in ("growing", "running") for r in state.requests.values())
        held = any(w.held for w in state.workers.values())
        return held or (live and bool(self.workers or state.launches))

    def _after(self, delay_s: float, event: m.Event) -> None:
        self.at(self.now_s + delay_s, lambda: (self.send(event), None)[1])

    def _perform(self, c: m.Command) -> None:
        if isinstance(c, m.Launch) and self.launches:
            self._n_launched += 1
            name = f"w{self._n_launched}"
            self.at(self.now_s + 0.5, lambda: (self.join(name, launch=c.token), None)[1])
        elif isinstance(c, m.Publish) and self.publishes:
            self._after(0.05, m.Published(c.request_id, c.index))
        elif isinstance(c, m.MakeFilm) and self.stitches:
            self._after(0.2, m.FilmMade(c.request_id, c.version))
        elif isinstance(c, m.LoadModel) and c.model in self.unloadable:
            self._after(0.0, m.ModelLoadFailed(c.worker_id, c.model, "no weights"))
        elif isinstance(c, m.LoadModel):
            self._after(0.0, m.ModelLoaded(c.worker_id, c.model, 0.0))
        elif isinstance(c, m.Kill | m.Drain):
            self.at(self.now_s, lambda: self.kill(c.worker_id) if c.worker_id in self.workers else None)
        elif isinstance(c, m.Dispatch):
            self._dispatched(c)
        elif isinstance(c, m.Revoke):
            self._revoke(c)
        elif isinstance(c, m.Cancel | m.Pause):
            self._stop(c)
        elif isinstance(c, m.DeliverChunk):
            self._delivered(c)

    def _dispatched(self, c: m.Dispatch) -> None:
        worker = self.workers.get(c.worker_id)
        if worker is None or c.worker_id in self.deaf:
            return
        call = self.engine.run_message(c)
        worker.calls[c.task_id] = call
        entry = QueueEntry(ref=AttemptRef(c.task_id, c.attempt), model=call.model, deadline_s=c.deadline_s)
        worker.queue.put(entry)
        self.at(self.now_s, lambda: self._start(worker))

    def _start(self, worker: FakeWorker) -> None:
        if worker.running is not None or not worker.alive:
            return
        taken = worker.queue.take()
        if not taken:
            return
        ref = worker.running = taken[0].ref
        call = worker.calls[ref.task_id]
        self.send(m.TaskStarted(ref.task_id, ref.attempt))
        reason = self.fails(call, worker)
        if call.model in self.unloadable:
            reason = "its model could not be loaded"
        seconds = self.runtime(call, worker)
        if reason is not None:
            bad = reason.startswith("black")
            failed = m.TaskFailed(*_ids(ref), reason, transient=bad, bad_output=bad)
            self.at(self.now_s + seconds / 2, lambda: self._end(worker, ref, failed))
            return
        chunks = self._chunks(call)
        for k in range(call.first_chunk, len(chunks)):
            due_s = self.now_s + seconds * (k + 1 - call.first_chunk) / max(1, len(chunks) - call.first_chunk)
            self.at(due_s, lambda k=k: self._chunk(worker, ref, k, chunks))  # type: ignore[misc]
        facts = dict(chunks[-1])
        if call.stage == "speech":
            facts["duration_s"] = chunks[-1]["duration_s"]
        finished = m.TaskFinished(*_ids(ref), n_chunks=len(chunks), facts=facts, seconds=seconds, nbytes=1000)
        self.at(self.now_s + seconds, lambda: self._end(worker, ref, finished))

    def _chunk(self, worker: FakeWorker, ref: AttemptRef, k: int, chunks: list[dict[str, Any]]) -> None:
        if worker.alive and worker.running == ref:
            self.send(m.ChunkReady(*_ids(ref), k, chunks[k], 500))

    def _end(self, worker: FakeWorker, ref: AttemptRef, event: m.Event) -> None:
        if worker.alive and worker.running == ref:
            worker.running = None
            self.send(event)
            self._start(worker)

    def _revoke(self, c: m.Revoke) -> None:
        worker = self.workers[c.worker_id]
        ref = AttemptRef(c.task_id, c.attempt)
        in_time = worker.queue.revoke(ref)
        self._after(0.001, (m.Revoked if in_time else m.TooLate)(c.task_id, c.attempt))

    def _stop(self, c: m.Cancel | m.Pause) -> None:
        worker = self.workers.get(c.worker_id)
        ref = AttemptRef(c.task_id, c.attempt)
        if worker is None or c.worker_id in self.deaf:
            return
        worker.queue.revoke(ref)
        if worker.running == ref:
            worker.running = None
        event: m.Event = m.TaskCancelled(*_ids(ref))
        if isinstance(c, m.Pause):
            event = m.TaskPaused(*_ids(ref), checkpoint="c" * 40, done=1)
        self._after(0.01, event)
        self.at(self.now_s + 0.02, lambda: self._start(worker))

    def _delivered(self, c: m.DeliverChunk) -> None:
        """Fake stages do not wait for chunks; the real worker's tests cover that."""

    # --- models -------------------------------------------------------------------------------------

    def _profiled(self, call: RunTask, worker: FakeWorker) -> float:
        task = self.engine.state.tasks[call.task_id]
        hardware, n = worker.info.hardware, worker.info.n_devices
        return self.engine.world.profiles.expected_s(call.model, hardware, call.features, n, task.scale)

    def _chunks(self, call: RunTask) -> list[dict[str, Any]]:
        if call.stage == "screenplay":
            import msgspec

            return [{"scene": msgspec.to_builtins(s)} for s in self.scenes]
        if call.stage == "speech":
            index = int(call.task_id.rsplit("/", 1)[1])
            shots = [shot for s in self.scenes for shot in s.shots]
            return [{"duration_s": self.speech_s.get(index, shots[index].expected_s)}]
        if call.stage == "animate":
            index = int(call.task_id.split("/")[2])
            fps, per = call.params["fps"], call.params["segment_frames"]
            total = round(
                self.engine.state.requests[call.task_id.split("/")[0]].shots[index].expected_s * fps
            )
            return [{"frames": min(per, total - at)} for at in range(0, total, per)]
        n = int(call.params.get("chunks", 1))
        return [self.chunk_facts(call, k) for k in range(n)]


def _ids(ref: AttemptRef) -> tuple[str, int]:
    return ref.task_id, ref.attempt


SEGMENTS_A_SHOT = round(7.0 / SEGMENT_S)
