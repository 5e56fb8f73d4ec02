"""What each decision changes in the world. Applied in the moment when it is taken, and again, instead of
deciding, when a journal is recovered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.apply_requests import end_request
from hpcwise.core.apply_tasks import complete
from hpcwise.core.apply_workers import lose_worker
from hpcwise.core.errors import CoreError
from hpcwise.core.film import segment_of
from hpcwise.core.growth import tails_of
from hpcwise.core.moving import spared
from hpcwise.core.state import HELD, LaunchRecord, ShotRecord, step_request, step_task, step_worker
from hpcwise.core.units import TaskId
from hpcwise.core.workflow import TaskSpec
from hpcwise.core.world import World


def apply_command(world: World, command: m.Command) -> None:
    """Change the world by `command`; raises CoreError for a type that is not in the table."""
    handler = _HANDLERS.get(type(command))
    if handler is None:
        raise CoreError(f"no handler for command {type(command).__name__}")
    handler(world, command)


def _nothing(world: World, c: m.Command) -> None:
    """The command's effect comes back as an event."""


# --- workers ----------------------------------------------------------------------------------------


def _launch(world: World, c: m.Launch) -> None:
    state = world.state
    state.launched += 1
    state.launches[c.token] = LaunchRecord(token=c.token, kind=c.kind, asked_s=state.now_s)


def _cancel_launch(world: World, c: m.CancelLaunch) -> None:
    world.state.launches.pop(c.token, None)


def _drain(world: World, c: m.Drain | m.Kill) -> None:
    worker = world.state.workers[c.worker_id]
    step_worker(worker, "drain")
    world.fleet.update(worker)


def _kill(world: World, c: m.Kill) -> None:
    world.state.killed[c.worker_id] = world.state.now_s
    _drain(world, c)


def _load_model(world: World, c: m.LoadModel) -> None:
    worker = world.state.workers[c.worker_id]
    worker.loading[c.model] = world.state.now_s
    world.fleet.update(worker)


def _unload_model(world: World, c: m.UnloadModel) -> None:
    worker = world.state.workers[c.worker_id]
    worker.loaded.pop(c.model, None)


def _forget_worker(world: World, c: m.ForgetWorker) -> None:
    lose_worker(world, c.worker_id, c.reason)


# --- tasks ------------------------------------------------------------------------------------------


def _dispatch(world: World, c: m.Dispatch) -> None:
    state = world.state
    task = state.tasks[c.task_id]
    worker = state.workers[c.worker_id]
    step_task(task, "dispatch")
    state.attempts = max(state.attempts, c.attempt)
    task.attempt, task.worker, task.key = c.attempt, c.worker_id, c.key
    task.expected_s, task.dispatched_s, task.started_s = c.expected_s, state.now_s, -1.0
    task.resumed = c.first_chunk > 0 or bool(c.checkpoint) or task.saved > 0
    task.step = task.steps = 0
    world.hold(worker, task, c.expected_s)
    if c.first_chunk > task.chunks:
        world.note_chunks(task, c.first_chunk)
    if task.bound:
        task.bound, task.relocated_s = "", state.now_s
    task.begun = spared(task)


def _revoke(world: World, c: m.Revoke) -> None:
    step_task(world.state.tasks[c.task_id], "revoke")


def _pause(world: World, c: m.Pause) -> None:
    task = world.state.tasks[c.task_id]
    step_task(task, "pause")
    task.bound, task.left = c.to, c.reason


def _cancel(world: World, c: m.Cancel) -> None:
    """Ends the attempt for good, or (`recall`) sends the task back to wait for a stream that broke."""
    task = world.state.tasks.get(c.task_id)
    if task is None or task.attempt != c.attempt or task.state not in HELD:
        return
    step_task(task, "recall" if c.recall else "cancel")
    task.cancelled_s = world.state.now_s


def _use_artifact(world: World, c: m.UseArtifact) -> None:
    task = world.state.tasks[c.task_id]
    task.key, task.alternative, task.cached = c.key, c.alternative, True
    step_task(task, "cached")
    task.finished_s = world.state.now_s
    complete(world, task)


def _await_twin(world: World, c: m.AwaitTwin) -> None:
    state = world.state
    task = state.tasks[c.task_id]
    step_task(task, "twin")
    task.key, task.twin = c.key, c.twin
    world.makers[c.key] = c.twin
    waiting = world.twins.setdefault(c.twin, [])
    waiting.append(c.task_id)
    for task_id in world.twins.pop(c.task_id, ()):
        state.tasks[task_id].twin = c.twin
        waiting.append(task_id)


def _set_alternative(world: World, c: m.SetAlternative) -> None:
    task = world.state.tasks[c.task_id]
    if task.state == "failed":
        left = task.spec.alternatives[task.alternative]
        task.broken.append(f"{left.tier}/{left.model}")
        task.failures = task.losses = task.reseeds = 0
    world.unclaim(task)
    task.alternative, task.why, task.key, task.chunks, task.saved = c.alternative, c.reason, "", 0, 0.0
    if task.state in ("ready", "paused"):
        task.checkpoint = ""
        world.make_ready(task)


def _requeue(world: World, c: m.Requeue) -> None:
    task = world.state.tasks[c.task_id]
    if c.counts:
        task.failures += 1
    elif not c.blameless:
        task.losses += 1
    if c.seed >= 0:
        world.unclaim(task)
        task.spec = msgspec.structs.replace(task.spec, seed=c.seed)
        task.key, task.checkpoint, task.chunks, task.saved = "", "", 0, 0.0
        task.reseeds += 1
    if all(world.edge_met(e) for e in task.spec.inputs):
        step_task(task, "requeue")
        world.make_ready(task)
    else:
        step_task(task, "inputs_lost")
        world.unclaim(task)
        world.recheck_inputs(task)
    for task_id in world.consumers.get(c.task_id, ()):
        if world.state.tasks[task_id].state in ("assigned", "running"):
            world.stalled[task_id] = None


def _quarantine(world: World, c: m.Quarantine) -> None:
    task = world.state.tasks[c.task_id]
    step_task(task, "quarantine")
    task.why = c.reason
    world.request_of(task).quarantined.append(c.task_id)
    world.end_task(task)
    world.unclaim(task)


def _replace_task(world: World, c: m.ReplaceTask) -> None:
    """The last spec takes the place of the task, in the same alternative; those before it are new."""
    task = world.state.tasks[c.task_id]
    *before, last = c.tasks
    tails: dict[TaskId, float] = {}
    step_task(task, "replace")
    world.unclaim(task)
    tail_s = task.tail_s
    for following, spec in zip((last, *before[:0:-1]), reversed(before), strict=True):
        chosen = following.alternatives[c.alternative if following is last else 0]
        tail_s += world.typical_s(chosen, task.scale)
        tails[spec.task_id] = tail_s
    for spec in before:
        world.add_task(spec, tails[spec.task_id])
    world.respecify(task, last)
    task.alternative, task.key = c.alternative, ""
    world.connect(task)


# --- requests ---------------------------------------------------------------------------------------


def _add_tasks(world: World, c: m.AddTasks) -> None:
    request = world.state.requests[c.request_id]
    if request.state == "growing" and c.last:
        step_request(request, "planned")
    request.last = request.last or c.last
    positions = world.positions[c.request_id]
    tails = tails_of(world, request, c.tasks)
    first = len(positions)
    for spec in c.tasks:
        if spec.publishes and not spec.remake_of:
            _add_shot(request.shots, spec, c.lengths_s[spec.shot - first])
            positions.append(request.shots[-1].expected_s)
    for spec in c.tasks:
        task = world.add_task(spec, tails.get(spec.task_id, 0.0))
        if spec.remake_of:
            task.scale = world.state.tasks[spec.remake_of].scale
            request.remade = True
    request.total_s = max(c.total_s, positions.start_s(len(positions)))
    world.moved_requests[c.request_id] = None
    world.work_changed = True


def _add_shot(shots: list[ShotRecord], spec: TaskSpec, length_s: float) -> None:
    if spec.shot != len(shots):
        raise CoreError(f"task {spec.task_id}: shot {spec.shot} does not follow {len(shots) - 1}")
    shots.append(
        ShotRecord(index=spec.shot, task_id=spec.task_id, expected_s=length_s, prominence=spec.prominence)
    )


def _publish(world: World, c: m.Publish) -> None:
    request = world.state.requests[c.request_id]
    request.segments.append(segment_of(world, c.shot, world.state.tasks[c.task_id], c.chunk))
    request.publishing += 1
    request.next_shot, request.next_chunk = c.shot, c.chunk + 1
    world.turn_page(request)


def _make_film(world: World, c: m.MakeFilm) -> None:
    world.state.requests[c.request_id].film_asked = c.version


def _forget_request(world: World, c: m.ForgetRequest) -> None:
    request = world.state.requests.pop(c.request_id)
    for task_id in request.tasks:
        world.forget_task(world.state.tasks[task_id])
    world.positions.pop(c.request_id, None)


def _request_ended(world: World, c: m.RequestEnded) -> None:
    end_request(world, world.state.requests[c.request_id], c.state, c.reason)


_HANDLERS: dict[type[m.Command], Callable[[World, Any], None]] = {
    m.Launch: _launch,
    m.CancelLaunch: _cancel_launch,
    m.Drain: _drain,
    m.Kill: _kill,
    m.LoadModel: _load_model,
    m.UnloadModel: _unload_model,
    m.ForgetWorker: _forget_worker,
    m.Dispatch: _dispatch,
    m.DeliverChunk: _nothing,
    m.Revoke: _revoke,
    m.Pause: _pause,
    m.Cancel: _cancel,
    m.UseArtifact: _use_artifact,
    m.AwaitTwin: _await_twin,
    m.SetAlternative: _set_alternative,
    m.Requeue: _requeue,
    m.Quarantine: _quarantine,
    m.ReplaceTask: _replace_task,
    m.AddTasks: _add_tasks,
    m.Publish: _publish,
    m.MakeFilm: _make_film,
    m.RequestEnded: _request_ended,
    m.ForgetRequest: _forget_request,
}
