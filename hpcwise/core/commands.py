"""Commands: what the engine decided. See messages.py."""

from __future__ import annotations

import msgspec

from hpcwise.core.units import Key, ModelName, RequestId, TaskId, WorkerId
from hpcwise.core.workflow import TaskSpec


class Command(msgspec.Struct, frozen=True, tag=True):
    """Something that the engine decided."""


# --- commands that ask the head to act --------------------------------------------------------------


class Outward(Command, frozen=True):
    """Performed by the head (or imagined by the simulator)."""


class Launch(Outward, frozen=True):
    """Start a worker of `kind`. Durable first; `token` is looked for before it is repeated."""

    kind: str
    token: str


class CancelLaunch(Outward, frozen=True):
    """Take back a launch whose worker has not joined. Durable first; one that joins all the same is idle."""

    token: str
    reason: str


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
    """Stop between two steps and keep a checkpoint: so that tighter work can run, or (`to`) to go on at once
    on that worker. reason: why (for explain)."""

    worker_id: WorkerId
    task_id: TaskId
    attempt: int
    to: WorkerId = ""
    reason: str = ""


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
    failure, not its worker's. blameless: it had not begun, or the store took nothing. seed: a new one of its
    recipe, which is another artifact then; -1 leaves it."""

    task_id: TaskId
    reason: str
    counts: bool = True
    blameless: bool = False
    seed: int = -1


class Quarantine(Recorded, frozen=True):
    """The task failed too often in this alternative; it goes on in another, or the request fails."""

    task_id: TaskId
    reason: str


class ForgetWorker(Recorded, frozen=True):
    """A worker that the last head knew did not join this one in time."""

    worker_id: WorkerId
    reason: str


class ForgetRequest(Recorded, frozen=True):
    """An ended request is dropped from memory; its film, receipt and artifacts stay where they are."""

    request_id: RequestId


class RequestEnded(Recorded, frozen=True):
    """state: done, failed or cancelled; a failed one always has a reason."""

    request_id: RequestId
    state: str
    reason: str = ""
