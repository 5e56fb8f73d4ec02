"""Events go into the engine, commands come out. Both are frozen values with a version; the same bytes
travel in the journal. Facts about the world are events; whatever the engine decides is a command.

A command either asks the head to act (`Outward`) or only records a decision (`Recorded`): recovery
applies both kinds to the state instead of deciding again.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hpcwise.core.resources import AttemptRef, WorkerInfo
from hpcwise.core.spec import JobSpec
from hpcwise.core.units import Key, ModelName, RequestId, TaskId, WorkerId
from hpcwise.core.workflow import TaskSpec

#: Version of events, commands and snapshots; a journal of another version is refused by name.
MESSAGES_VERSION: Final = 1


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something that happened outside the engine."""


class Command(msgspec.Struct, frozen=True, tag=True):
    """Something that the engine decided."""


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
    """film.mp4 of this version stands in results/."""

    request_id: RequestId
    version: int


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
    """No heartbeat, or its process or node ended."""

    worker_id: WorkerId
    reason: str


class WorkerDraining(Event, frozen=True):
    """The worker got an eviction notice or nears its walltime; it takes nothing new."""

    worker_id: WorkerId
    remaining_s: float
    reason: str


class LaunchFailed(Event, frozen=True):
    token: str
    reason: str


class ModelLoaded(Event, frozen=True):
    worker_id: WorkerId
    model: ModelName
    seconds: float


class ModelUnloaded(Event, frozen=True):
    worker_id: WorkerId
    model: ModelName


class ModelLoadFailed(Event, frozen=True):
    worker_id: WorkerId
    model: ModelName
    reason: str


# --- events: tasks ----------------------------------------------------------------------------------


class TaskStarted(Event, frozen=True):
    task_id: TaskId
    attempt: int


class TaskProgress(Event, frozen=True):
    """Step `done` of `total`. seconds: since the attempt started."""

    task_id: TaskId
    attempt: int
    done: int
    total: int


class ChunkReady(Event, frozen=True):
    """Chunk `index` of the task's artifact is in the store."""

    task_id: TaskId
    attempt: int
    index: int
    facts: dict[str, Any] = {}
    nbytes: int = 0


class TaskFinished(Event, frozen=True):
    """The whole artifact is in the store. `inline`: it has no files, the facts are all of it."""

    task_id: TaskId
    attempt: int
    n_chunks: int = 1
    facts: dict[str, Any] = {}
    seconds: float = 0.0
    nbytes: int = 0
    inline: bool = False
    energy_j: float = 0.0


class TaskFailed(Event, frozen=True):
    task_id: TaskId
    attempt: int
    reason: str
    transient: bool = False


class TaskPaused(Event, frozen=True):
    """The attempt stopped between two steps and left a checkpoint (a key in the store)."""

    task_id: TaskId
    attempt: int
    checkpoint: Key
    done: int = 0


class TaskCancelled(Event, frozen=True):
    """The worker confirms that the attempt has really stopped."""

    task_id: TaskId
    attempt: int


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


class PlanReady(Event, frozen=True):
    """The provisioner's answer for the state of `state_version`: workers wanted by kind."""

    state_version: int
    wanted: dict[str, int]


class HeadStarted(Event, frozen=True):
    """A head took over in `epoch`; workers that do not join again within `grace_s` are lost."""

    epoch: int
    grace_s: float = 15.0


class Tick(Event, frozen=True):
    """Time passed; sent about four times a second while there is work."""


# --- commands that ask the head to act --------------------------------------------------------------


class Outward(Command, frozen=True):
    """Performed by the head (or imagined by the simulator)."""


class Launch(Outward, frozen=True):
    """Start a worker of `kind`. Durable first; `token` is looked for before it is repeated."""

    kind: str
    token: str


class Drain(Outward, frozen=True):
    """Ask a worker to finish what it runs and leave."""

    worker_id: WorkerId
    reason: str


class Kill(Outward, frozen=True):
    """End a worker that does not answer or does not stop."""

    worker_id: WorkerId
    reason: str


class LoadModel(Outward, frozen=True):
    worker_id: WorkerId
    model: ModelName


class UnloadModel(Outward, frozen=True):
    worker_id: WorkerId
    model: ModelName


class Dispatch(Outward, frozen=True):
    """Attempt `attempt` of the task goes to a worker's local queue.

    deadline_s: engine time by which it must finish; the local queue sorts by it. expected_s: the
    profile's runtime. first_chunk: chunks below it exist. reason: why this worker (for explain).
    """

    task_id: TaskId
    attempt: int
    worker_id: WorkerId
    alternative: int
    key: Key
    deadline_s: float
    expected_s: float
    first_chunk: int = 0
    checkpoint: Key = ""
    reason: str = ""


class DeliverChunk(Outward, frozen=True):
    """A stream input of a running attempt has `n_chunks` chunks now; `done` when there are no more."""

    worker_id: WorkerId
    task_id: TaskId
    attempt: int
    name: str
    key: Key
    n_chunks: int
    done: bool


class Revoke(Outward, frozen=True):
    worker_id: WorkerId
    task_id: TaskId
    attempt: int


class Pause(Outward, frozen=True):
    """Stop between two steps and keep a checkpoint, so that tighter work can run."""

    worker_id: WorkerId
    task_id: TaskId
    attempt: int


class Cancel(Outward, frozen=True):
    """Stop between two steps. recall: the task is still wanted, it waits for its broken input again."""

    worker_id: WorkerId
    task_id: TaskId
    attempt: int
    recall: bool = False


class Publish(Outward, frozen=True):
    """Segment `index` of the film: chunk `chunk` of `task_id`. Durable first, idempotent."""

    request_id: RequestId
    index: int
    task_id: TaskId
    key: Key
    chunk: int
    shot: int


class MakeFilm(Outward, frozen=True):
    """Stitch version `version` of film.mp4 from the best artifact of each shot. Durable first."""

    request_id: RequestId
    version: int


# --- commands that record a decision ----------------------------------------------------------------


class Recorded(Command, frozen=True):
    """Changes the state only."""


class AddTasks(Recorded, frozen=True):
    """The workflow grew. lengths_s: expected length of each new shot, in the order of their publishing
    tasks; total_s: expected length of the film now; last: no more will come."""

    request_id: RequestId
    tasks: tuple[TaskSpec, ...]
    lengths_s: tuple[float, ...] = ()
    total_s: float = 0.0
    last: bool = False


class ReplaceTask(Recorded, frozen=True):
    """A multi-part alternative was chosen: the chain `tasks` makes what `task_id` would have made."""

    task_id: TaskId
    alternative: int
    tasks: tuple[TaskSpec, ...]


class UseArtifact(Recorded, frozen=True):
    """The task's artifact is in the store already: it is finished without work."""

    task_id: TaskId
    key: Key
    alternative: int


class AwaitTwin(Recorded, frozen=True):
    """Another task with an equal key is being computed: wait for it instead of computing twice."""

    task_id: TaskId
    twin: TaskId
    key: Key


class SetAlternative(Recorded, frozen=True):
    """The quality ladder moved this task; `reason` is what explain prints."""

    task_id: TaskId
    alternative: int
    reason: str


class Requeue(Recorded, frozen=True):
    """The task is to run again; `reason` says what ended the last attempt. counts: it was the task's own
    failure, not its worker's or the store's."""

    task_id: TaskId
    reason: str
    counts: bool = True


class Quarantine(Recorded, frozen=True):
    """The task failed too often in this alternative; it goes on in another, or the request fails."""

    task_id: TaskId
    reason: str


class ForgetWorker(Recorded, frozen=True):
    """A worker that the last head knew did not join this one in time."""

    worker_id: WorkerId
    reason: str


class RequestEnded(Recorded, frozen=True):
    """state: done, failed or cancelled; a failed one always has a reason."""

    request_id: RequestId
    state: str
    reason: str = ""


EVENTS: Final = tuple(Event.__subclasses__())
COMMANDS: Final = tuple(c for base in (Outward, Recorded) for c in base.__subclasses__())
