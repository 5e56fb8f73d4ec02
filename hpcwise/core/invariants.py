"""What must hold after every event; the tests ask after each one."""

from __future__ import annotations

from collections import Counter

from hpcwise.core.errors import InvariantBroken
from hpcwise.core.state import ENDED, HELD, LIVE_REQUEST, OPEN
from hpcwise.core.world import World


def check(world: World) -> None:
    """Raise InvariantBroken naming the first rule that does not hold."""
    _check_tasks(world)
    _check_workers(world)
    _check_requests(world)


def _require(ok: bool, rule: str) -> None:
    if not ok:
        raise InvariantBroken(rule)


def _check_tasks(world: World) -> None:
    state = world.state
    makers: dict[str, str] = {}
    for task_id, task in state.tasks.items():
        _require(task.spec.task_id == task_id, f"{task_id} is filed under its id")
        _require(task.state != "failed", f"{task_id} failed and nothing was decided")
        held = task.state in HELD
        _require(held == bool(task.worker), f"{task_id} is {task.state} with worker {task.worker!r}")
        if held:
            _require(task.worker in state.workers, f"{task_id} is held by {task.worker}, which is gone")
            _require(task_id in state.workers[task.worker].held, f"{task_id} is on its worker's list")
        if held or task.state in OPEN:
            _require(task.key not in makers, f"{task_id} and {makers.get(task.key)} make the same key")
            makers[task.key] = task_id
        if task.state in OPEN:
            met = all(world.edge_met(e) for e in task.spec.inputs)
            _require(met, f"{task_id} is {task.state} with unmet inputs")
            pooled = any(t is task for t in world.pool_of(task).tasks()) if len(state.tasks) < 500 else True
            _require(pooled, f"{task_id} is {task.state} but in no pool")
        if task.state == "waiting" and world.request_of(task).state in LIVE_REQUEST:
            met = all(world.edge_met(e) for e in task.spec.inputs)
            _require(not met, f"{task_id} waits although its inputs are there")
        if task.state == "finished" and world.request_of(task).state in LIVE_REQUEST:
            _require(world.artifact_done(task.key), f"{task_id} is finished without an artifact")
        if task.state == "twin":
            twin = state.tasks[task.twin]
            _require(
                twin.state in HELD | OPEN and twin.key == task.key,
                f"{task_id} waits for one that makes its key",
            )
        _require(0 <= task.alternative < len(task.spec.alternatives), f"{task_id} has an alternative")
    _require(makers == world.makers, "the index of makers holds exactly the keys being computed")
    asked = Counter(model for t in state.tasks.values() if t.state not in ENDED for model in t.spec.models)
    _require(+asked == +world.asked, "models are counted by the tasks that have not ended")


def _check_workers(world: World) -> None:
    for worker_id, worker in world.state.workers.items():
        for task_id in worker.held:
            task = world.state.tasks[task_id]
            _require(task.worker == worker_id, f"{worker_id} holds {task_id}, which says {task.worker!r}")
        total_s = sum(worker.held.values())
        _require(abs(worker.backlog_s - total_s) < 1e-6, f"{worker_id}'s backlog is the sum of its tasks")
        memory_gb = sum(world.profiles.memory_gb(x) for x in {**worker.loaded, **worker.loading})
        _require(memory_gb <= worker.info.memory_gb + 1e-9, f"{worker_id} holds more models than fit")


def _check_requests(world: World) -> None:
    tasks = world.state.tasks
    for request_id, request in world.state.requests.items():
        n_open = sum(tasks[t].state not in ENDED for t in request.tasks)
        _require(request.open_tasks == n_open, f"{request_id} counts {request.open_tasks} open of {n_open}")
        positions = world.positions[request_id]
        _require(len(positions) == len(request.shots), f"{request_id} has a position for each shot")
        n_asked = len(request.segments)
        _require(n_asked == len(request.published) + request.publishing, f"{request_id} counts its segments")
        if request.state not in LIVE_REQUEST:
            left = [t for t in request.tasks if tasks[t].state not in ENDED | {"cancelling"}]
            _require(not left, f"{request_id} is {request.state} but {left[:1]} is not ended")
            if request.state == "failed":
                _require(bool(request.reason), f"{request_id} failed without a reason")
