"""The load of `scripts/bench/engine`: films, dated films, batch films and graphs on 400 unequal workers.

A discrete-event simulation around a real Engine: workers hold their work in the core's LocalQueue and
answer every command as a real worker would, only that time is a number. Everything follows from the seed,
so that two runs hand the engine the same events.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, Link, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.planner import sketch_shots
from hpcwise.core.profiles import Profiles
from hpcwise.core.queue import LocalQueue, QueueEntry
from hpcwise.core.resources import AttemptRef, FleetItem, Rank, WorkerInfo
from hpcwise.core.screenplay import Character, Line, Scene, Shot
from hpcwise.core.spec import Batch, By, GraphTask, JobSpec, Live
from hpcwise.core.state import LIVE_REQUEST, TaskRecord
from hpcwise.core.workflow import Edge

#: One way of the wire.
WIRE_S: Final = 0.0003
#: A worker reports a step this often.
STEP_S: Final = 1.0
SHOT_S: Final = 8.0
SHOTS_PER_SCENE: Final = 6
FAILURE_RATE: Final = 0.01
#: Every so many performed tasks a request is cancelled, a worker dies, or one is told to leave.
CANCEL_EVERY, DEATH_EVERY, EVICT_EVERY = 700, 900, 1300
CAST: Final = tuple(
    Character(id=i, name=i.title(), role=i, voice="af_heart", look=i) for i in ("host", "expert")
)
_CHEAP: Final = ("pdf-document", "extractive-screenplay", "kokoro-82m", "drawn-scene")
_HEAVY: Final = ("video-s", "video-m", "video-l", "upscale")


def config(n_workers: int) -> EngineConfig:
    """A catalogue of cheap and heavy models, and a fleet of four kinds that makes `n_workers`."""

    def model(
        name: str, memory_gb: float, load_s: float, per_frame: dict[str, float], **more: Any
    ) -> ModelInfo:
        profiles = {
            hardware: LinearProfile(
                base_s=0.3,
                per={"frames": s, "speech_s": 0.03, "film_s": 0.01},
                speedup={2: 1.9, 4: 3.5, 8: 6.0},
            )
            for hardware, s in per_frame.items()
        }
        return ModelInfo(
            name=name, family="emulated", memory_gb=memory_gb, load_s=load_s, profiles=profiles, **more
        )

    anywhere = {"cpu": 0.003, "a100": 0.002, "h200": 0.001}
    models = [
        model("pdf-document", 0.1, 0.0, anywhere, light=True),
        model("extractive-screenplay", 0.5, 0.5, anywhere, light=True),
        model("kokoro-82m", 0.6, 1.0, anywhere, light=True),
        model("drawn-scene", 0.4, 0.2, anywhere, light=True),
        model("video-s", 12.0, 8.0, {"a100": 0.1, "h200": 0.05}, checkpoints=True),
        model("video-m", 30.0, 15.0, {"a100": 0.25, "h200": 0.12}, checkpoints=True),
        model("video-l", 60.0, 30.0, {"h200": 0.3}, checkpoints=True),
        model("upscale", 4.0, 2.0, {"a100": 0.02, "h200": 0.01}, batch_max=4),
    ]
    gpu = tuple(_CHEAP[2:] + _HEAVY)
    share = n_workers // 20
    fleet = (
        FleetItem(kind="cpu", hardware="cpu", models=_CHEAP, memory_gb=8, max_workers=n_workers - 12 * share),
        FleetItem(
            kind="a100", hardware="a100", models=gpu[:-2] + gpu[-1:], memory_gb=40, max_workers=7 * share
        ),
        FleetItem(kind="h200", hardware="h200", models=gpu, memory_gb=120, max_workers=4 * share),
        FleetItem(
            kind="h200x8",
            hardware="h200",
            models=gpu,
            memory_gb=120,
            max_workers=share,
            nodes=2,
            devices_per_node=4,
        ),
    )
    return EngineConfig(
        catalogue=Catalogue(
            models={info.name: info for info in models},
            hardware={
                "cpu": HardwareInfo(name="cpu", usd_per_h=0.05, busy_w=20),
                "a100": HardwareInfo(name="a100", usd_per_h=2.0, busy_w=400),
                "h200": HardwareInfo(name="h200", usd_per_h=4.0, busy_w=700),
            },
            links=(Link(a="east", b="west", gb_per_s=1.0, latency_s=0.05),),
        ),
        fleet=fleet,
    )


@dataclass(slots=True)
class _Attempt:
    """What a worker runs now; fed: chunks that its stream inputs have, by input name."""

    ref: AttemptRef
    chunks: int
    chunk_s: float
    fails_at: int
    fed: dict[str, tuple[int, bool]]
    done: int = 0
    blocked: bool = False


@dataclass(slots=True)
class _Worker:
    info: WorkerInfo
    queue: LocalQueue = field(default_factory=LocalQueue)
    loading: set[str] = field(default_factory=set)
    running: _Attempt | None = None
    leaving: bool = False


Handle = Callable[[m.Event, float], list[m.Command]]


class Load:
    """Drives `engine` through `handle` (which the bench wraps with its stopwatch)."""

    def __init__(self, engine: Engine, handle: Handle, seed: int) -> None:
        self._engine, self._handle = engine, handle
        self._random = random.Random(seed)
        # What runs really take does not move with what the engine has learned.
        self._true = Profiles(engine.config.catalogue, {})
        self._heap: list[tuple[float, int, Callable[[], m.Event | None]]] = []
        self._pushed = 0
        self._workers: dict[str, _Worker] = {}
        self._submitted = 0
        self._performed = 0
        self.now_s = 0.0
        self._perform_table: dict[type[m.Command], Callable[[Any], None]] = {
            m.Dispatch: self._dispatched,
            m.DeliverChunk: self._delivered,
            m.LoadModel: self._load,
            m.UnloadModel: lambda c: self._event(m.ModelUnloaded(c.worker_id, c.model)),
            m.Revoke: self._revoke,
            m.Pause: self._pause,
            m.Cancel: self._cancel,
            m.Kill: lambda c: self._lose(c.worker_id, "killed"),
            m.Drain: lambda c: self._drain(c.worker_id),
            m.Launch: lambda c: self._after(2.0, lambda: self._joined(c.kind, c.token)),
            m.Publish: lambda c: self._event(m.Published(c.request_id, c.index), 0.05),
            m.MakeFilm: lambda c: self._event(m.FilmMade(c.request_id, c.version), 0.5),
        }

    # --- for the bench ------------------------------------------------------------------------------

    def start(self) -> None:
        """All workers of the fleet join; ticks begin."""
        for item in self._engine.config.fleet:
            for i in range(item.max_workers):
                event = self._joined(item.kind, f"first-{item.kind}-{i}")
                self._perform(self._handle(event, self.now_s))
        self._after(0.25, self._tick)

    def live_tasks(self) -> int:
        """Tasks that have not ended, of requests that have not."""
        return sum(r.open_tasks for r in self._engine.state.requests.values() if r.state in LIVE_REQUEST)

    def due_tasks(self) -> int:
        """Live tasks, and those that the screenplays of live films are going to bring."""
        live = [r for r in self._engine.state.requests.values() if r.state in LIVE_REQUEST]
        return sum(r.open_tasks + 2 * sketch_shots(r) for r in live)

    def keep(self, n: int) -> None:
        """Submit while fewer than `n` tasks are live, unless growing films will soon bring enough."""
        while self.live_tasks() < n and self.due_tasks() < 1.6 * n:
            self.submit()

    def fill(self, n: int) -> None:
        """Requests arrive one after another until `n` tasks are live."""
        while self.live_tasks() < n:
            self.keep(n)
            for _ in range(40):
                self.step()

    def submit(self) -> None:
        """One more request of the mix arrives now."""
        self._submitted += 1
        job = self._job(self._submitted)
        request_id = f"r{self._submitted:05d}"
        self._perform(self._handle(m.RequestArrived(request_id, job, self.now_s), self.now_s))

    def cancel(self, request_id: str) -> None:
        self._perform(self._handle(m.RequestCancelled(request_id), self.now_s))

    def arrive(self, request_id: str, job: JobSpec) -> None:
        self._perform(self._handle(m.RequestArrived(request_id, job, self.now_s), self.now_s))

    def step(self) -> None:
        """The next thing that happens."""
        self.now_s, _, make = heappop(self._heap)
        event = make()
        if event is not None:
            self._perform(self._handle(event, self.now_s))

    # --- the world ----------------------------------------------------------------------------------

    def _after(self, seconds: float, make: Callable[[], m.Event | None]) -> None:
        self._pushed += 1
        heappush(self._heap, (self.now_s + seconds, self._pushed, make))

    def _event(self, event: m.Event, seconds: float = WIRE_S) -> None:
        self._after(seconds, lambda: event)

    def _tick(self) -> m.Event:
        self._after(0.25, self._tick)
        return m.Tick()

    def _perform(self, commands: list[m.Command]) -> None:
        for command in commands:
            act = self._perform_table.get(type(command))
            if act is not None:
                act(command)

    def _joined(self, kind: str, token: str) -> m.Event:
        item = next(i for i in self._engine.config.fleet if i.kind == kind)
        devices = tuple(range(item.devices_per_node))
        info = WorkerInfo(
            worker_id=token,
            kind=kind,
            hardware=item.hardware,
            launch=token,
            ranks=tuple(Rank(f"{token}-{n}", devices) for n in range(item.nodes)),
            region="west" if kind == "a100" and len(self._workers) % 3 == 0 else "east",
            models=item.models,
            memory_gb=item.memory_gb,
            lifetime_s=self._random.choice([None, 600.0, 3600.0]),
            spot=kind == "a100" and len(self._workers) % 2 == 0,
        )
        self._workers[token] = _Worker(info)
        return m.WorkerJoined(info)

    def _dispatched(self, c: m.Dispatch) -> None:
        def arrive() -> None:
            worker = self._workers.get(c.worker_id)
            if worker is None:
                return
            model = self._task(c.task_id).spec.alternatives[c.alternative].model
            worker.queue.put(
                QueueEntry(
                    ref=AttemptRef(c.task_id, c.attempt),
                    model=model,
                    deadline_s=c.deadline_s,
                    expected_s=c.expected_s,
                )
            )
            self._next(worker)

        self._after(WIRE_S, arrive)

    def _task(self, task_id: str) -> TaskRecord:
        return self._engine.state.tasks[task_id]

    def _next(self, worker: _Worker) -> None:
        if worker.running is not None or worker.loading:
            return
        for entry in worker.queue.take():
            task = self._task(entry.ref.task_id)
            alternative = task.spec.alternatives[task.alternative]
            plain_s = self._true.expected_s(
                alternative.model,
                worker.info.hardware,
                alternative.features,
                worker.info.n_devices,
                task.scale,
            )
            chunks = self._chunks(task)
            fed = {}
            for edge in task.spec.inputs:
                source = self._task(edge.source)
                fed[edge.name] = (source.chunks, source.state == "finished")
            attempt = _Attempt(
                ref=entry.ref,
                chunks=chunks,
                chunk_s=plain_s * self._random.uniform(0.8, 1.3) / chunks,
                fails_at=self._random.randrange(chunks) if self._random.random() < FAILURE_RATE else -1,
                fed=fed,
                done=min(self._artifact_chunks(task), chunks - 1),
            )
            worker.running = attempt
            self._event(m.TaskStarted(*_pair(entry.ref)))
            self._run_on(worker, attempt)

    def _chunks(self, task: TaskRecord) -> int:
        if task.spec.publishes:
            return max(1, round(SHOT_S * task.scale / 3.5))
        if task.spec.stage == "screenplay":
            return max(1, round(float(task.spec.params["duration_s"]) / SHOT_S / SHOTS_PER_SCENE))
        return int(task.spec.params.get("chunks", 1))

    def _artifact_chunks(self, task: TaskRecord) -> int:
        artifact = self._engine.state.artifacts.get(task.key)
        return artifact.n_chunks if artifact else 0

    def _run_on(self, worker: _Worker, attempt: _Attempt) -> None:
        """Schedule the steps and the end of the next chunk, unless a stream has to bring more first."""
        fed = attempt.fed.values()
        attempt.blocked = any(not whole and n <= attempt.done for n, whole in fed)
        if attempt.blocked:
            return
        for i in range(int(attempt.chunk_s / STEP_S)):
            self._after((i + 1) * STEP_S, lambda i=i: self._progress(worker, attempt, i))  # type: ignore[misc]
        self._after(attempt.chunk_s, lambda: self._chunk_made(worker, attempt))

    def _progress(self, worker: _Worker, attempt: _Attempt, i: int) -> m.Event | None:
        if worker.running is not attempt:
            return None
        return m.TaskProgress(*_pair(attempt.ref), attempt.done * 10 + i, attempt.chunks * 10)

    def _chunk_made(self, worker: _Worker, attempt: _Attempt) -> m.Event | None:
        if worker.running is not attempt:
            return None
        task = self._task(attempt.ref.task_id)
        index = attempt.done
        if index == attempt.fails_at:
            self._end(worker)
            return m.TaskFailed(*_pair(attempt.ref), reason="emulated failure", transient=index % 2 == 0)
        attempt.done += 1
        facts = self._facts(task, index, attempt.chunks)
        if attempt.chunks > 1:
            if attempt.done < attempt.chunks:
                self._run_on(worker, attempt)
            else:
                self._after(0.0, lambda: self._finished(worker, attempt, {}))
            return m.ChunkReady(*_pair(attempt.ref), index, facts, 1_000_000)
        return self._finished(worker, attempt, facts)

    def _finished(self, worker: _Worker, attempt: _Attempt, facts: dict[str, Any]) -> m.Event | None:
        if worker.running is not attempt:
            return None
        self._end(worker)
        self._disturb()
        seconds = attempt.chunk_s * attempt.chunks
        return m.TaskFinished(*_pair(attempt.ref), attempt.chunks, facts, seconds, 1_000_000)

    def _facts(self, task: TaskRecord, index: int, chunks: int) -> dict[str, Any]:
        if task.spec.publishes:
            return {"frames": 84}
        if task.spec.times_shot:
            return {"duration_s": SHOT_S * self._random.uniform(0.6, 1.5)}
        if task.spec.stage != "screenplay":
            return {"digest": f"{index:016x}"}
        shots = tuple(
            Shot(
                kind="close_up" if i else "figure",
                lines=(Line(speaker="host", text=f"{task.spec.task_id} {index} {i} " + "word " * 14),),
                figure=0 if i == 0 else None,
                prominence=0.9 if i == 0 else 0.4,
                expected_s=SHOT_S,
            )
            for i in range(SHOTS_PER_SCENE)
        )
        return {"scene": msgspec.to_builtins(Scene(title="t", shots=shots, last=index == chunks - 1))}

    def _end(self, worker: _Worker) -> None:
        worker.running = None
        self._after(0.0, lambda: self._next(worker))

    def _disturb(self) -> None:
        self._performed += 1
        if self._performed % DEATH_EVERY == 0:
            self._lose(self._random.choice(sorted(self._workers)), "died")
        if self._performed % EVICT_EVERY == 0:
            self._drain(self._random.choice(sorted(self._workers)))
        if self._performed % CANCEL_EVERY == 0:
            live = [r.request_id for r in self._engine.state.requests.values() if r.state in LIVE_REQUEST]
            self._event(m.RequestCancelled(self._random.choice(live)))

    # --- orders -------------------------------------------------------------------------------------

    def _delivered(self, c: m.DeliverChunk) -> None:
        worker = self._workers.get(c.worker_id)
        attempt = worker.running if worker else None
        if worker and attempt and attempt.ref == AttemptRef(c.task_id, c.attempt):
            attempt.fed[c.name] = (c.n_chunks, c.done)
            if attempt.blocked:
                self._run_on(worker, attempt)

    def _load(self, c: m.LoadModel) -> None:
        worker = self._workers.get(c.worker_id)
        if worker is None:
            return
        worker.loading.add(c.model)
        load_s = self._true.load_s(c.model)

        def loaded() -> m.Event | None:
            worker.loading.discard(c.model)
            self._after(0.0, lambda: self._next(worker))
            return m.ModelLoaded(c.worker_id, c.model, load_s) if c.worker_id in self._workers else None

        self._after(WIRE_S + load_s, loaded)

    def _revoke(self, c: m.Revoke) -> None:
        def answer() -> m.Event | None:
            worker = self._workers.get(c.worker_id)
            if worker is None:
                return None
            given_back = worker.queue.revoke(AttemptRef(c.task_id, c.attempt))
            return (m.Revoked if given_back else m.TooLate)(c.task_id, c.attempt)

        self._after(2 * WIRE_S, answer)

    def _pause(self, c: m.Pause) -> None:
        def paused() -> m.Event | None:
            worker = self._stopped(c.worker_id, c.task_id, c.attempt)
            return m.TaskPaused(c.task_id, c.attempt, f"checkpoint-{c.attempt}", 5) if worker else None

        self._after(0.2, paused)

    def _cancel(self, c: m.Cancel) -> None:
        def cancelled() -> m.Event | None:
            worker = self._workers.get(c.worker_id)
            if worker is None:
                return None
            if not worker.queue.revoke(AttemptRef(c.task_id, c.attempt)):
                self._stopped(c.worker_id, c.task_id, c.attempt)
            return m.TaskCancelled(c.task_id, c.attempt)

        self._after(0.2, cancelled)

    def _stopped(self, worker_id: str, task_id: str, attempt: int) -> _Worker | None:
        worker = self._workers.get(worker_id)
        if worker is None or worker.running is None or worker.running.ref != AttemptRef(task_id, attempt):
            return None
        self._end(worker)
        return worker

    def _lose(self, worker_id: str, reason: str) -> None:
        if self._workers.pop(worker_id, None) is not None:
            self._event(m.WorkerLost(worker_id, reason))

    def _drain(self, worker_id: str) -> None:
        worker = self._workers.get(worker_id)
        if worker is None or worker.leaving:
            return
        worker.leaving = True
        for ref in worker.queue.clear():
            self._event(m.Revoked(ref.task_id, ref.attempt))
        self._event(m.WorkerDraining(worker_id, 5.0, "evicted"))
        self._after(5.0, lambda: self._lose(worker_id, "left"))

    # --- the mix ------------------------------------------------------------------------------------

    def _job(self, i: int) -> JobSpec:
        kind = i % 10
        if kind == 9:
            return self._graph(i)
        slo: Live | By | Batch
        if kind < 4:
            slo = Live(ttff_s=self._random.choice([5.0, 20.0, 60.0]))
        elif kind < 7:
            slo = By(wall_s=self.now_s + self._random.uniform(600, 7200))
        else:
            slo = Batch()
        video = self._random.choice(["drawn-scene", "video-s", "video-m", "video-l"])
        return JobSpec(
            input_path="paper.pdf",
            input_sha256=f"{i:064x}",
            cast=CAST,
            duration_s=self._random.choice([90.0, 300.0, 600.0, 1200.0]),
            slo=slo,
            models={"animate": video},
            seed=i,
        )

    def _graph(self, i: int) -> JobSpec:
        """Streams in pairs under a join: latents go to a decoder while they are made."""
        tasks: list[GraphTask] = []
        for k in range(30):
            dit, vae = f"dit{k}", f"vae{k}"
            features = {"frames": self._random.uniform(20, 120)}
            params = {"chunks": 4, "request": i, "k": k}
            tasks.append(
                GraphTask(
                    name=dit,
                    stage="dit",
                    model="video-s",
                    params=params,
                    features=features,
                    deadline_s=300 + k,
                )
            )
            tasks.append(
                GraphTask(
                    name=vae,
                    stage="vae",
                    model="upscale",
                    params=params,
                    features=features,
                    inputs=(Edge("latents", dit, "stream"),),
                    deadline_s=310 + k + self._random.random(),
                )
            )
        joins = tuple(Edge(f"v{k}", f"vae{k}") for k in range(30))
        tasks.append(GraphTask(name="join", stage="join", model="upscale", inputs=joins, deadline_s=400))
        return JobSpec(workflow="graph", graph=tuple(tasks))


def bag(n: int) -> JobSpec:
    """A graph of `n` tasks with deadlines of their own: one event that adds them all."""
    tasks = tuple(
        GraphTask(name=f"t{i}", stage="bag", model="video-m", deadline_s=5000 + i * 0.001, params={"i": i})
        for i in range(n)
    )
    return JobSpec(workflow="graph", graph=tasks)


def _pair(ref: AttemptRef) -> tuple[str, int]:
    return ref.task_id, ref.attempt
