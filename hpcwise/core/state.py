"""The engine's state: plain records, and the tables of the steps that they may take.

Everything in `State` goes into a snapshot. Whatever can be computed from it (ready queues, indexes of
workers) lives in `world.py` and is rebuilt. Dictionaries keep insertion order, which is part of the state:
nothing here may depend on the order of a set.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hpcwise.core.errors import IllegalTransition
from hpcwise.core.events import Hold
from hpcwise.core.filetimes import FileTimes
from hpcwise.core.resources import WorkerInfo
from hpcwise.core.spec import JobSpec
from hpcwise.core.units import Key, ModelName, RequestId, TaskId, WorkerId
from hpcwise.core.workflow import TaskSpec

# A task waits for inputs, is ready, lies in a worker's queue (assigned) or runs there. `failed` lasts only
# until the engine has decided what follows. `recalling` is a running attempt that gives its worker back
# because the stream that it reads has stopped.
TASK_STEPS: Final[dict[tuple[str, str], str]] = {
    ("waiting", "inputs_met"): "ready",
    ("waiting", "drop"): "dropped",
    ("ready", "inputs_lost"): "waiting",
    ("ready", "cached"): "finished",
    ("ready", "twin"): "twin",
    ("ready", "dispatch"): "assigned",
    ("ready", "replace"): "waiting",
    ("ready", "drop"): "dropped",
    ("ready", "quarantine"): "quarantined",
    ("twin", "twin_done"): "ready",
    ("twin", "drop"): "dropped",
    ("paused", "dispatch"): "assigned",
    ("paused", "inputs_lost"): "waiting",
    ("paused", "cached"): "finished",
    ("paused", "drop"): "dropped",
    ("paused", "quarantine"): "quarantined",
    ("assigned", "start"): "running",
    ("assigned", "finish"): "finished",
    ("assigned", "revoke"): "revoking",
    ("assigned", "recall"): "recalling",
    ("assigned", "fail"): "failed",
    ("assigned", "cancel"): "cancelling",
    ("revoking", "start"): "running",
    ("revoking", "finish"): "finished",
    ("revoking", "revoked"): "ready",
    ("revoking", "too_late"): "running",
    ("revoking", "fail"): "failed",
    ("revoking", "cancel"): "cancelling",
    ("running", "start"): "running",
    ("running", "too_late"): "running",
    ("running", "finish"): "finished",
    ("running", "fail"): "failed",
    ("running", "pause"): "pausing",
    ("running", "recall"): "recalling",
    ("running", "cancel"): "cancelling",
    ("pausing", "start"): "pausing",
    ("pausing", "paused"): "paused",
    ("pausing", "finish"): "finished",
    ("pausing", "fail"): "failed",
    ("pausing", "cancel"): "cancelling",
    ("recalling", "start"): "recalling",
    ("recalling", "stopped"): "waiting",
    ("recalling", "finish"): "finished",
    ("recalling", "fail"): "failed",
    ("recalling", "cancel"): "cancelling",
    ("cancelling", "start"): "cancelling",
    ("cancelling", "stopped"): "dropped",
    ("cancelling", "finish"): "dropped",
    ("cancelling", "fail"): "dropped",
    ("failed", "requeue"): "ready",
    ("failed", "inputs_lost"): "waiting",
    ("failed", "quarantine"): "quarantined",
    ("failed", "drop"): "dropped",
    ("finished", "torn"): "ready",
}
HELD: Final = frozenset({"assigned", "running", "revoking", "pausing", "recalling", "cancelling"})
OPEN: Final = frozenset({"ready", "paused"})
ENDED: Final = frozenset({"finished", "dropped", "quarantined"})

WORKER_STEPS: Final[dict[tuple[str, str], str]] = {
    ("joined", "join"): "joined",
    ("joined", "doubt"): "suspect",
    ("joined", "drain"): "draining",
    ("joined", "lose"): "gone",
    ("suspect", "join"): "joined",
    ("suspect", "doubt"): "suspect",
    ("suspect", "drain"): "draining",
    ("suspect", "lose"): "gone",
    ("draining", "join"): "draining",
    ("draining", "doubt"): "draining",
    ("draining", "drain"): "draining",
    ("draining", "lose"): "gone",
}

REQUEST_STEPS: Final[dict[tuple[str, str], str]] = {
    ("growing", "planned"): "running",
    ("running", "planned"): "running",
    ("growing", "cancelled"): "cancelled",
    ("running", "cancelled"): "cancelled",
    ("growing", "failed"): "failed",
    ("running", "failed"): "failed",
    ("growing", "done"): "done",
    ("running", "done"): "done",
}
LIVE_REQUEST: Final = frozenset({"growing", "running"})


class TaskRecord(msgspec.Struct):
    """What happened to a task so far. Times are engine time in seconds; -1 says not yet. saved: share of its
    work that a checkpoint in the store spares the next attempt, in the region kept_in; begun: that it spared
    this one. measured_j: the part of energy_j that devices' counters say; the rest is their power by the
    hardware's table. left: why it was last paused; bound: the worker that it then goes on at; relocated_s:
    when it was last taken to another one."""

    spec: TaskSpec
    ordinal: int
    state: str = "waiting"
    unmet: int = 0
    alternative: int = 0
    key: Key = ""
    worker: WorkerId = ""
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    reseeds: int = 0
    chunks: int = 0
    scale: float = 1.0
    tail_s: float = 0.0
    expected_s: float = 0.0
    dispatched_s: float = -1.0
    started_s: float = -1.0
    finished_s: float = -1.0
    cancelled_s: float = -1.0
    moved_s: float = -1.0
    seconds: float = 0.0
    energy_j: float = 0.0
    measured_j: float = 0.0
    cost_usd: float = 0.0
    last_worker: WorkerId = ""
    twin: TaskId = ""
    checkpoint: Key = ""
    saved: float = 0.0
    begun: float = 0.0
    kept_in: str = ""
    bound: WorkerId = ""
    left: str = ""
    relocated_s: float = -1.0
    step: int = 0
    steps: int = 0
    cached: bool = False
    resumed: bool = False
    why: str = ""
    history: list[str] = []
    broken: list[str] = []


class ArtifactRecord(msgspec.Struct):
    """An artifact by its recipe key. facts: of the whole; chunk_facts: of each chunk; chunk_digests: hash
    of each file of each chunk, by name."""

    key: Key
    done: bool = False
    n_chunks: int = 0
    facts: dict[str, Any] = {}
    chunk_facts: list[dict[str, Any]] = []
    chunk_digests: list[dict[str, str]] = []
    nbytes: int = 0
    inline: bool = False
    region: str = ""


class WorkerRecord(msgspec.Struct):
    """A live worker. held: expected seconds of each task that it was given and has not ended. sizes: memory
    of what it has loaded, as it measured it, GB. short_gb: held by others until short_until_s."""

    info: WorkerInfo
    ordinal: int
    state: str = "joined"
    held: dict[TaskId, float] = {}
    backlog_s: float = 0.0
    free_at_s: float = 0.0
    loaded: dict[ModelName, float] = {}
    loading: dict[ModelName, float] = {}
    joined_s: float = 0.0
    idle_since_s: float = 0.0
    ends_s: float | None = None
    suspect_until_s: float = -1.0
    dispatches: int = 0
    busy_s: float = 0.0
    sizes: dict[ModelName, float] = {}
    short_gb: float = 0.0
    short_until_s: float = -1.0


class ShotRecord(msgspec.Struct):
    """A shot of a film: the task whose chunks are its segments, and where it starts."""

    index: int
    task_id: TaskId
    expected_s: float
    prominence: float = 0.5


class FilmSegment(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a film: chunk `chunk` of artifact `key`, made by `task_id`; the sound of its shot lies
    in artifact `speech_key`. first_frame: in its shot."""

    shot: int
    key: Key
    chunk: int
    frames: int
    first_frame: int
    speech_key: Key
    task_id: TaskId = ""


class RequestRecord(msgspec.Struct):
    """A job and its film. start_s: engine time at which playback starts (live), fixed by the first frame.
    segments: what was asked to be published, published: (time, frames) of what has been."""

    request_id: RequestId
    ordinal: int
    job: JobSpec
    arrived_s: float
    due_wall_s: float = 0.0
    state: str = "growing"
    tasks: list[TaskId] = []
    shots: list[ShotRecord] = []
    total_s: float = 0.0
    last: bool = False
    start_s: float = -1.0
    next_shot: int = 0
    next_chunk: int = 0
    publishing: int = 0
    published: list[tuple[float, int]] = []
    segments: list[FilmSegment] = []
    film_version: int = 0
    film_at_s: float = -1.0
    film_hashes: dict[str, str] = {}
    film_asked: int = 0
    remade: bool = False
    ended_s: float = -1.0
    reason: str = ""
    cost_usd: float = 0.0
    energy_j: float = 0.0
    measured_j: float = 0.0
    open_tasks: int = 0
    quarantined: list[TaskId] = []


class LaunchRecord(msgspec.Struct):
    """A launch that was asked for and has not joined yet."""

    token: str
    kind: str
    asked_s: float


class Refusals(msgspec.Struct):
    """Launches of one kind that failed, one after the other, since a worker of it last joined. after_s: the
    next is not asked for sooner."""

    count: int = 0
    after_s: float = 0.0


class State(msgspec.Struct):
    """All of it. wall_offset_s: Unix time minus engine time, so that `by` deadlines survive clock steps.
    wanted, holds: of the last of `plans` plans. waits: usual seconds from a launch to its worker, by kind.
    sick: unhealthy workers of a kind since one of it last finished a task. files: what checkpoints take, by
    `write` and `read`."""

    now_s: float = 0.0
    version: int = 0
    epoch: int = 0
    wall_offset_s: float = 0.0
    ordinals: int = 0
    ticks: int = 0
    attempts: int = 0
    requests: dict[RequestId, RequestRecord] = {}
    tasks: dict[TaskId, TaskRecord] = {}
    workers: dict[WorkerId, WorkerRecord] = {}
    artifacts: dict[Key, ArtifactRecord] = {}
    launches: dict[str, LaunchRecord] = {}
    launched: int = 0
    refusals: dict[str, Refusals] = {}
    unloadable: dict[ModelName, str] = {}
    ratios: dict[str, float] = {}
    wanted: dict[str, int] = {}
    holds: list[Hold] = []
    waits: dict[str, float] = {}
    plans: int = 0
    store_full: str = ""
    killed: dict[WorkerId, float] = {}
    sick: dict[str, int] = {}
    files: dict[str, FileTimes] = {}


def step_task(task: TaskRecord, event: str) -> None:
    """Move `task` along TASK_STEPS; raises IllegalTransition."""
    state = TASK_STEPS.get((task.state, event))
    if state is None:
        raise IllegalTransition("task", task.spec.task_id, task.state, event)
    task.state = state


def step_worker(worker: WorkerRecord, event: str) -> None:
    """Move `worker` along WORKER_STEPS; raises IllegalTransition."""
    state = WORKER_STEPS.get((worker.state, event))
    if state is None:
        raise IllegalTransition("worker", worker.info.worker_id, worker.state, event)
    worker.state = state


def step_request(request: RequestRecord, event: str) -> None:
    """Move `request` along REQUEST_STEPS; raises IllegalTransition."""
    state = REQUEST_STEPS.get((request.state, event))
    if state is None:
        raise IllegalTransition("request", request.request_id, request.state, event)
    request.state = state
