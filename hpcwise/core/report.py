"""What people ask of a head: lists, one request, its receipt, the fleet. Read-only views of the state."""

from __future__ import annotations

from typing import Any

import msgspec

from hpcwise.core.deadlines import PlayMetrics, play_metrics
from hpcwise.core.engine import Engine
from hpcwise.core.errors import UsageError
from hpcwise.core.estimate import eta_s
from hpcwise.core.film import film_task, licences_of, speech_of, title_of
from hpcwise.core.planner import sketch_shots
from hpcwise.core.shotwork import ShotWork, progress, shot_work
from hpcwise.core.spec import Batch, By, JobSpec, Live
from hpcwise.core.state import HELD, RequestRecord, TaskRecord
from hpcwise.core.units import RequestId
from hpcwise.core.world import World


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `hpcwise ls`. Times in seconds of engine time; ready_s is an estimate until it is done."""

    request_id: RequestId
    name: str
    workflow: str
    state: str
    slo: str
    shots_done: int
    shots: int
    tasks_done: int
    tasks: int
    running: int
    film_s: float
    age_s: float
    eta_s: float | None
    ttff_s: float | None
    cost_usd: float
    reason: str


class ShotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A shot of `hpcwise show` and of the receipt. deadline_s, met_s: seconds after arrival. key: of the
    recipe; hashes: xxh3-128 of the files of each segment."""

    shot: int
    task_id: str
    state: str
    stage: str
    model: str
    version: str
    tier: str
    degraded: bool
    remade: bool
    steps: int
    width: int
    height: int
    seed: int
    worker: str
    seconds: float
    energy_j: float
    cost_usd: float
    deadline_s: float | None
    met_s: float | None
    slack_s: float | None
    cache_hit: bool
    attempts: int
    film_s: float
    key: str
    why: str
    hashes: tuple[dict[str, str], ...] = ()
    speech_key: str = ""
    speech_model: str = ""
    progress: float = 0.0
    work: ShotWork | None = None


class StageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a stage, for progress bars. planned: counts shots that are only sketched so far."""

    stage: str
    done: int
    planned: int
    running: int


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """`hpcwise show`: the row, its stages and shots, and how playback goes."""

    row: RequestRow
    stages: tuple[StageRow, ...]
    shots: tuple[ShotRow, ...]
    play: PlayMetrics | None
    title: str
    film_version: int
    complete: bool


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """`receipt.json`. total_s: arrival to the end; film_s: arrival to the first film.mp4. slo_met: first
    frame in time and no stall (live), film.mp4 in time (by), None while that is open or nothing was promised.
    film_hashes: SHA-256 of film.mp4 and the files beside it, and of the list of its live files' hashes.
    written_by: who worded the screenplay, "" for the document; script_notes: its lines that were not taken.
    licences: of the models that made it. energy_measured_j: the part of energy_j that devices' counters say;
    the rest is estimated by the hardware's usual power."""

    request_id: RequestId
    title: str
    state: str
    reason: str
    slo: str
    slo_met: bool | None
    seed: int
    total_s: float
    film_s: float | None
    ttff_s: float | None
    cost_usd: float
    energy_j: float
    n_cache_hits: int
    n_degraded: int
    play: PlayMetrics | None
    shots: tuple[ShotRow, ...]
    film_hashes: dict[str, str] = {}
    document_key: str = ""
    screenplay_key: str = ""
    written_by: str = ""
    script_notes: tuple[str, ...] = ()
    licences: dict[str, str] = {}
    energy_measured_j: float = 0.0


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `hpcwise head status`."""

    worker_id: str
    kind: str
    state: str
    hardware: str
    nodes: tuple[str, ...]
    loaded: tuple[str, ...]
    running: tuple[str, ...]
    dispatches: int
    busy_s: float
    age_s: float
    ends_in_s: float | None


class HeadView(msgspec.Struct, frozen=True, kw_only=True):
    """`hpcwise head status`."""

    epoch: int
    now_s: float
    policy: str
    workers: tuple[WorkerRow, ...]
    launching: int
    requests_live: int
    tasks: int
    artifacts: int
    store_full: str


def slo_text(job: JobSpec) -> str:
    """The SLO in words."""
    slo = job.slo
    if isinstance(slo, Live):
        return f"live, first frame in {slo.ttff_s:g} s"
    if isinstance(slo, By):
        return f"by {slo.text} {slo.zone}".rstrip()
    assert isinstance(slo, Batch)
    return "batch"


def find_request(engine: Engine, request_id: str) -> RequestRecord:
    """The request of this id or unique beginning of it; raises UsageError that lists what there is."""
    requests = engine.state.requests
    if request_id in requests:
        return requests[request_id]
    close = [r for r in requests if r.startswith(request_id)] if request_id else []
    if len(close) == 1:
        return requests[close[0]]
    known = ", ".join(list(requests)[-5:]) or "none yet"
    problem = "is not unique" if close else "is not known"
    raise UsageError(f"request: {request_id!r} {problem}; see `hpcwise ls` (newest: {known})")


def list_requests(engine: Engine) -> tuple[RequestRow, ...]:
    """All requests, oldest first."""
    return tuple(_row(engine, r) for r in engine.state.requests.values())


def show_request(engine: Engine, request_id: str) -> RequestView:
    """One request in full; raises UsageError if it is not known."""
    request = find_request(engine, request_id)
    return RequestView(
        row=_row(engine, request),
        stages=_stages(engine, request),
        shots=_shots(engine.world, request),
        play=play_of(engine.world, request),
        title=title_of(engine.world, request),
        film_version=request.film_version,
        complete=request.last,
    )


def receipt(engine: Engine, request_id: str) -> Receipt:
    """What was made, how, where, when, and what it cost."""
    request = find_request(engine, request_id)
    tasks = engine.state.tasks
    shots = _shots(engine.world, request)
    end_s = request.ended_s if request.ended_s >= 0 else engine.now_s
    play = play_of(engine.world, request)

    def key(stage: str) -> str:
        task = tasks.get(f"{request.request_id}/{stage}")
        return task.key if task else ""

    told = a.chunk_facts if (a := engine.state.artifacts.get(key("screenplay"))) else []
    return Receipt(
        request_id=request.request_id,
        title=title_of(engine.world, request),
        state=request.state,
        reason=request.reason,
        slo=slo_text(request.job),
        slo_met=slo_met(engine, request, play),
        seed=request.job.seed,
        total_s=end_s - request.arrived_s,
        film_s=request.film_at_s - request.arrived_s if request.film_at_s >= 0 else None,
        ttff_s=play.ttff_s if play else None,
        cost_usd=request.cost_usd,
        energy_j=request.energy_j,
        energy_measured_j=request.measured_j,
        n_cache_hits=sum(tasks[t].cached for t in request.tasks),
        n_degraded=sum(s.degraded for s in shots),
        play=play,
        shots=shots,
        film_hashes=request.film_hashes,
        document_key=key("document"),
        screenplay_key=key("screenplay"),
        written_by=next((str(f["written_by"]) for f in told if f.get("written_by")), ""),
        script_notes=tuple(str(note) for f in told for note in f.get("notes", ())),
        licences=licences_of(engine.world, request),
    )


def slo_met(engine: Engine, request: RequestRecord, play: PlayMetrics | None) -> bool | None:
    """Whether the SLO was kept; None while that is open or nothing was promised."""
    slo = request.job.slo
    if isinstance(slo, By):
        if request.film_at_s < 0:
            return None
        return request.film_at_s + engine.state.wall_offset_s <= slo.wall_s
    if isinstance(slo, Live) and play is not None and request.film_at_s >= 0:
        return play.ttff_s <= slo.ttff_s and play.stall_s == 0
    return None


def head_view(engine: Engine) -> HeadView:
    """The head, its workers and its load."""
    state = engine.state
    return HeadView(
        epoch=state.epoch,
        now_s=state.now_s,
        policy=engine.config.policy,
        workers=tuple(
            WorkerRow(
                worker_id=w.info.worker_id,
                kind=w.info.kind,
                state="busy" if w.held and w.state == "joined" else w.state,
                hardware=w.info.hardware,
                nodes=tuple(r.node for r in w.info.ranks),
                loaded=tuple(w.loaded),
                running=tuple(w.held),
                dispatches=w.dispatches,
                busy_s=w.busy_s,
                age_s=state.now_s - w.joined_s,
                ends_in_s=None if w.ends_s is None else w.ends_s - state.now_s,
            )
            for w in state.workers.values()
        ),
        launching=len(state.launches),
        requests_live=sum(r.state in ("growing", "running") for r in state.requests.values()),
        tasks=len(state.tasks),
        artifacts=len(state.artifacts),
        store_full=state.store_full,
    )


def _row(engine: Engine, request: RequestRecord) -> RequestRow:
    tasks = engine.state.tasks
    play = play_of(engine.world, request)
    end_s = request.ended_s if request.ended_s >= 0 else engine.now_s
    return RequestRow(
        request_id=request.request_id,
        name=request.job.name or title_of(engine.world, request),
        workflow=request.job.workflow,
        state=request.state,
        slo=slo_text(request.job),
        shots_done=sum(tasks[s.task_id].state == "finished" for s in request.shots),
        shots=len(request.shots) + sketch_shots(request, engine.config),
        tasks_done=len(request.tasks) - request.open_tasks,
        tasks=len(request.tasks),
        running=sum(tasks[t].state in HELD for t in request.tasks),
        film_s=request.total_s,
        age_s=end_s - request.arrived_s,
        eta_s=eta_s(engine, request),
        ttff_s=play.ttff_s if play else None,
        cost_usd=request.cost_usd,
        reason=request.reason,
    )


def _stages(engine: Engine, request: RequestRecord) -> tuple[StageRow, ...]:
    rows: dict[str, list[int]] = {}
    for task_id in request.tasks:
        task = engine.state.tasks[task_id]
        row = rows.setdefault(task.spec.stage, [0, 0, 0])
        row[0] += task.state == "finished"
        row[1] += 1
        row[2] += task.state in HELD
    if request.job.workflow == "podcast":
        for stage in ("speech", "animate"):
            rows.setdefault(stage, [0, 0, 0])[1] += sketch_shots(request, engine.config)
    elif request.job.workflow == "streamwise-podcast":
        for stage in ("decode", "sync", "upscale"):
            rows.setdefault(stage, [0, 0, 0])[1] += sketch_shots(request, engine.config)
    return tuple(StageRow(stage=s, done=r[0], planned=r[1], running=r[2]) for s, r in rows.items())


def play_of(world: World, request: RequestRecord) -> PlayMetrics | None:
    """How playback of what is published goes; None before the first segment."""
    deadlines = [world.segment_deadline_s(world.state.tasks[s.task_id], s.chunk) for s in request.segments]
    return play_metrics(request.arrived_s, request.published, request.job.fps, deadlines)


def _shots(world: World, request: RequestRecord) -> tuple[ShotRow, ...]:
    dated = not isinstance(request.job.slo, Batch)
    published = {
        (s.task_id, s.chunk): request.published[i][0]
        for i, s in enumerate(request.segments[: len(request.published)])
    }
    rows = []
    for shot in request.shots:
        task = film_task(world, request, shot.index)
        first = world.state.tasks[shot.task_id]
        # Sums of many lengths end in other last bits in another head: a microsecond is enough to say.
        deadline_s = round(world.segment_deadline_s(first, 0) - request.arrived_s, 6)
        met = published.get((shot.task_id, 0), first.finished_s if first.finished_s >= 0 else None)
        met_s = None if met is None else met - request.arrived_s
        rows.append(_shot_row(world, request, task, shot.index, deadline_s if dated else None, met_s))
    return tuple(rows)


def _shot_row(
    world: World,
    request: RequestRecord,
    task: TaskRecord,
    index: int,
    deadline_s: float | None,
    met_s: float | None,
) -> ShotRow:
    alternative = world.alternative_of(task)
    params: dict[str, Any] = {**task.spec.params, **alternative.params}
    info = world.config.catalogue.models.get(alternative.model)
    speech = speech_of(world, task)
    artifact = world.state.artifacts.get(task.key) if task.key else None
    return ShotRow(
        shot=index,
        task_id=task.spec.task_id,
        state=task.state,
        stage=task.spec.stage,
        model=alternative.model,
        version=info.version if info else "",
        tier=alternative.tier,
        degraded=task.alternative > 0,
        remade=bool(task.spec.remake_of),
        steps=int(params.get("steps", 1)),
        width=int(params.get("render_width", request.job.width)),
        height=int(params.get("render_height", request.job.height)),
        seed=task.spec.seed,
        worker=task.worker or task.last_worker,
        seconds=task.seconds,
        energy_j=task.energy_j,
        cost_usd=task.cost_usd,
        deadline_s=deadline_s,
        met_s=met_s,
        slack_s=None if deadline_s is None or met_s is None else round(deadline_s - met_s, 6),
        cache_hit=task.cached,
        attempts=len(task.history) + (1 if task.attempt else 0),
        film_s=request.shots[index].expected_s,
        key=task.key,
        why=task.why,
        hashes=tuple(artifact.chunk_digests) if artifact else (),
        speech_key=speech.key if speech else "",
        speech_model=world.alternative_of(speech).model if speech else "",
        progress=progress(task),
        work=shot_work(world.state.tasks, task),
    )
