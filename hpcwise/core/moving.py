"""What it costs to leave a task between two of its steps and to go on with it later, or elsewhere.

Whoever pauses a task, starts one where it cannot end, or takes one to another worker asks here first: the
price of moving is part of each of these decisions (core/preemption.py, core/scheduler.py).
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from hpcwise.core.filetimes import expected_s
from hpcwise.core.fleet import WorkerClass
from hpcwise.core.state import TaskRecord
from hpcwise.core.units import SEGMENT_S
from hpcwise.core.world import World

#: State of a loop: latents of 16 channels in float32, and two more of their size in the sampler.
_STATE_BYTES: Final = 16 * 4 * 3
#: A task that runs slower than its profile is taken to be so much slower elsewhere too, at most.
_MOST_SLOWER: Final = 20.0


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. leave_s: until the worker that the task leaves is free (rest of the present step, writing the
    state). arrive_s: before the task goes on where it goes (loading its model, transfer between regions,
    reading). again_s: work that is done twice, because the last durable state is older."""

    leave_s: float
    arrive_s: float
    again_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.leave_s + self.arrive_s + self.again_s


def move_s(
    world: World, task: TaskRecord, whole_s: float, *, load_s: float = 0.0, transfer_s: float = 0.0,
    left_s: float = float("inf"),
) -> Price:  # fmt: skip
    """The price of leaving `task` after its present step.

    whole_s: what all of it takes where it is. load_s: for its model where it goes on, 0 where that is there.
    transfer_s: of its inputs and state to another region. left_s: what its worker has still to live: if the
    step does not end in it, the pause is none, and the work since the last durable state is lost.
    """
    size_gb, times = state_gb(world, task), world.state.files
    leave_s = step_left_s(world, task, whole_s) + expected_s(times.get("write"), size_gb)
    arrive_s = load_s + transfer_s + expected_s(times.get("read"), size_gb)
    if leave_s <= left_s:
        return Price(leave_s=leave_s, arrive_s=arrive_s)
    lost = max(0.0, done_share(world, task, whole_s) - spared(task))
    return Price(leave_s=max(0.0, left_s), arrive_s=arrive_s, again_s=lost * whole_s)


def chunks_of(task: TaskRecord) -> int:
    """Chunks that the task makes, where that is known before; else 1."""
    chunks = task.spec.alternatives[task.alternative].params.get("chunks") or task.spec.params.get("chunks")
    return chunks if isinstance(chunks, int) and chunks > 1 else 1


def steps_of(task: TaskRecord) -> int:
    """Steps of all the task's chunks, 0 where nobody has said how many."""
    features = task.spec.alternatives[task.alternative].features
    return task.steps or int(features.get("steps", 0.0)) * chunks_of(task)


def spared(task: TaskRecord) -> float:
    """Share of the work that the store spares the next attempt: checkpoint, or chunks of a known number."""
    if not task.chunks:
        return task.saved
    chunks = chunks_of(task)
    return min(1.0, max(task.saved, task.chunks / chunks if chunks > 1 else 0.0))


def done_share(world: World, task: TaskRecord, whole_s: float) -> float:
    """Share of the work of a running task that is done: as it says, else by the time that it runs."""
    share = spared(task)
    if task.steps:
        return min(1.0, max(share, task.step / task.steps))
    if task.started_s >= 0 and whole_s > 0:
        share = max(share, task.begun + (world.state.now_s - task.started_s) / whole_s)
    return min(1.0, share)


def step_left_s(world: World, task: TaskRecord, whole_s: float) -> float:
    """Until the present step ends, or a whole step of a task that does not run yet."""
    steps = steps_of(task)
    if not steps:
        return 0.0
    step_s = whole_s / steps
    if task.started_s < 0:
        return step_s
    since_s = world.state.now_s - max(task.started_s, task.moved_s)
    return step_s - since_s if since_s < step_s else 0.0


def state_gb(world: World, task: TaskRecord) -> float:
    """Size of a checkpoint of one loop."""
    alternative = task.spec.alternatives[task.alternative]
    info = world.config.catalogue.models.get(alternative.model)
    if info is None or info.vae is None:
        return 0.0
    pixels = alternative.features.get("frame_mpx", 0.0) * 1e6 * alternative.features.get("frames", 1.0)
    latent = pixels / chunks_of(task) / (info.vae.spatial**2 * info.vae.temporal)
    return latent * _STATE_BYTES / 1e9


def whole_s(world: World, task: TaskRecord, cls: WorkerClass) -> float:
    """Expected seconds of all of the task on a worker of `cls`, by its profile."""
    alternative = world.alternative_of(task)
    return world.profiles.expected_s(
        alternative.model, cls.hardware, alternative.features, cls.n_devices, task.scale
    )


def slower(task: TaskRecord, whole_s: float) -> float:
    """How many times its profile a running task takes, by the steps that it has told of; 1 at least.

    It may be the task or its worker: so a slow task is not thought to be a fast one elsewhere, and does not
    wander among equal workers.
    """
    done = task.step / task.steps - task.begun if task.steps else 0.0
    if task.step < 2 or done <= 0 or whole_s <= 0:
        return 1.0
    return min(_MOST_SLOWER, max(1.0, (task.moved_s - task.started_s) / (done * whole_s)))


def due_s(world: World, task: TaskRecord, need_s: float) -> float:
    """Engine time by which the task must end, if it still needs `need_s`. Of one that streams, the deadline
    is its first chunk's; each later one is needed a segment later."""
    deadline_s = world.deadline_s(task)
    features = task.spec.alternatives[task.alternative].features
    chunks = chunks_of(task)
    if chunks == 1 and task.spec.publishes:
        chunks = math.ceil(features.get("film_s", 0.0) * task.scale / SEGMENT_S - 1e-9)
    left = chunks - task.chunks
    if left <= 1:
        return deadline_s + max(0, chunks - 1) * SEGMENT_S
    last_s = deadline_s + (chunks - 1) * SEGMENT_S
    next_s = deadline_s + task.chunks * SEGMENT_S + need_s * (left - 1) / left
    return min(last_s, next_s)


def ends_s(world: World, task: TaskRecord) -> float:
    """Engine time at which a running task is expected to end if it is left alone. One whose worker leaves
    before is moved then, at its price."""
    now_s = world.state.now_s
    worker = world.state.workers[task.worker]
    one_s = whole_s(world, task, world.fleet.class_of(task.worker))
    one_s *= slower(task, one_s)
    if task.steps:
        end_s = max(task.moved_s + one_s * (1.0 - done_share(world, task, one_s)), now_s)
    else:
        end_s = max(worker.free_at_s, now_s)
    if worker.ends_s is None or end_s <= worker.ends_s:
        return end_s
    model = world.alternative_of(task).model
    left_s = worker.ends_s - now_s
    return end_s + move_s(world, task, one_s, load_s=world.profiles.load_s(model), left_s=left_s).total_s
