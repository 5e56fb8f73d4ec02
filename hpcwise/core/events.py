"""Events: what happened outside the engine, as facts. See messages.py."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from hpcwise.core.resources import AttemptRef, WorkerInfo
from hpcwise.core.spec import JobSpec
from hpcwise.core.units import Key, ModelName, RequestId, TaskId, WorkerId


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something that happened outside the engine."""


# --- events: requests -------------------------------------------------------------------------------


class RequestArrived(Event, frozen=True):
    """A job spec was taken from the inbox. wall_s: Unix time of `now`, so that `by` has a meaning."""

    request_id: RequestId
    job: JobSpec
    wall_s: float = 0.0


class RequestCancelled(Event, frozen=True):
    request_id: RequestId


class Published(Event, frozen=True):
    """Segment `index` of the film can be played."""

    request_id: RequestId
    index: int


class FilmMade(Event, frozen=True):
    """film.mp4 of this version stands in results/. hashes: SHA-256 of each file beside it, by name."""

    request_id: RequestId
    version: int
    hashes: dict[str, str] = {}


class PublishFailed(Event, frozen=True):
    """Stitching could not be done; `key` names the artifact that is torn, if that was the cause."""

    request_id: RequestId
    reason: str
    key: Key = ""
    index: int = -1


# --- events: workers --------------------------------------------------------------------------------


class WorkerJoined(Event, frozen=True):
    """A worker said hello, for the first time or to a new head; `running` is what it holds."""

    worker: WorkerInfo
    running: tuple[AttemptRef, ...] = ()


class WorkerLost(Event, frozen=True):
    """No heartbeat, or its process or node ended. unhealthy: it left as its device or node is not well."""

    worker_id: WorkerId
    reason: str
    unhealthy: bool = False


class WorkerDraining(Event, frozen=True):
    """The worker got an eviction notice or nears its walltime; it takes nothing new."""

    worker_id: WorkerId
    remaining_s: float
    reason: str


class LaunchFailed(Event, frozen=True):
    token: str
    reason: str


class ModelLoaded(Event, frozen=True):
    """memory_gb: what the worker had less of afterwards, 0 where it cannot tell."""

    worker_id: WorkerId
    model: ModelName
    seconds: float
    memory_gb: float = 0.0


class ModelUnloaded(Event, frozen=True):
    worker_id: WorkerId
    model: ModelName


class ModelLoadFailed(Event, frozen=True):
    """transient: this worker may load it another time. free_gb: of its memory, where that was the matter;
    else below 0."""

    worker_id: WorkerId
    model: ModelName
    reason: str
    transient: bool = False
    free_gb: float = -1.0


# --- events: tasks ----------------------------------------------------------------------------------


class TaskStarted(Event, frozen=True):
    task_id: TaskId
    attempt: int


class FileTaken(msgspec.Struct, frozen=True):
    """A checkpoint that was made durable (`write`), or found and read whole (`read`), and in how long."""

    how: Literal["write", "read"]
    size_gb: float
    seconds: float


class TaskProgress(Event, frozen=True):
    """Step `done` of `total`. saved: share of the task's work, 0 to 1, that is durable as a checkpoint.
    files: of the attempt, since it last said so."""

    task_id: TaskId
    attempt: int
    done: int
    total: int
    saved: float = 0.0
    files: tuple[FileTaken, ...] = ()


class ChunkReady(Event, frozen=True):
    """Chunk `index` of the task's artifact is in the store. digests: of its files, by name."""

    task_id: TaskId
    attempt: int
    index: int
    facts: dict[str, Any] = {}
    nbytes: int = 0
    digests: dict[str, str] = {}


class TaskFinished(Event, frozen=True):
    """The whole artifact is in the store. `inline`: it has no files, the facts are all of it. energy_j: what
    the devices' counters say of the attempt, 0 where they cannot be read."""

    task_id: TaskId
    attempt: int
    n_chunks: int = 1
    facts: dict[str, Any] = {}
    seconds: float = 0.0
    nbytes: int = 0
    inline: bool = False
    energy_j: float = 0.0


class TaskFailed(Event, frozen=True):
    """bad_output: the model made something that cannot be shown; the same recipe would make it again.
    energy_j: as in TaskFinished."""

    task_id: TaskId
    attempt: int
    reason: str
    transient: bool = False
    bad_output: bool = False
    energy_j: float = 0.0


class TaskPaused(Event, frozen=True):
    """The attempt stopped between two steps and left a checkpoint (a key in the store; empty: none).
    saved: as in TaskProgress; energy_j: as in TaskFinished."""

    task_id: TaskId
    attempt: int
    checkpoint: Key
    done: int = 0
    saved: float = 0.0
    energy_j: float = 0.0


class TaskCancelled(Event, frozen=True):
    """The worker confirms that the attempt has really stopped. energy_j: as in TaskFinished."""

    task_id: TaskId
    attempt: int
    energy_j: float = 0.0


class Revoked(Event, frozen=True):
    """The worker had not started the task and has given it back."""

    task_id: TaskId
    attempt: int


class TooLate(Event, frozen=True):
    """The worker had already started the task that was to be revoked."""

    task_id: TaskId
    attempt: int


# --- events: store, time, planning ------------------------------------------------------------------


class KnownArtifact(msgspec.Struct, frozen=True, array_like=True):
    """An artifact that the store holds from an earlier run."""

    key: Key
    n_chunks: int
    done: bool
    facts: dict[str, Any] = {}
    nbytes: int = 0
    chunk_facts: tuple[dict[str, Any], ...] = ()
    inline: bool = False
    region: str = ""
    chunk_digests: tuple[dict[str, str], ...] = ()


class ArtifactsKnown(Event, frozen=True):
    artifacts: tuple[KnownArtifact, ...]


class ArtifactTorn(Event, frozen=True):
    """Bytes differ from the manifest: whatever made it is made again."""

    key: Key


class StoreFull(Event, frozen=True):
    """No space: a named pause, nothing is dispatched until StoreAvailable."""

    reason: str


class StoreAvailable(Event, frozen=True):
    pass


class ClockStepped(Event, frozen=True):
    """The wall clock was set: wall time of `now` is off by `delta_s` from what it was."""

    delta_s: float


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """`n` workers of `kind` are to hold `models`."""

    kind: str
    models: tuple[ModelName, ...]
    n: int


class PlanReady(Event, frozen=True):
    """The provisioner's answer for the state of `state_version`: workers wanted by kind (demand decides on
    kinds that are not named), what they are to hold, why it was asked, and when all that is known of would be
    ready, seconds from then."""

    state_version: int
    wanted: dict[str, int]
    holds: tuple[Hold, ...] = ()
    why: str = ""
    ready_s: float = 0.0


class HeadStarted(Event, frozen=True):
    """A head took over in `epoch`; workers that do not join again within `grace_s` are lost."""

    epoch: int
    grace_s: float = 15.0


class Tick(Event, frozen=True):
    """Time passed; sent about four times a second while there is work."""
