"""Why a shot waits, where it runs, why its quality was lowered: one typed reason for each task."""

from __future__ import annotations

import msgspec

from hpcwise.core.engine import Engine
from hpcwise.core.errors import UsageError
from hpcwise.core.film import film_task
from hpcwise.core.report import find_request, slo_text
from hpcwise.core.scheduler import place, shared_by
from hpcwise.core.spec import Batch
from hpcwise.core.state import HELD, OPEN, RequestRecord, TaskRecord
from hpcwise.core.world import World


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """code: waits_inputs, waits_twin, waits_worker, waits_launch, no_worker_can, store_full, queued,
    runs, done, cached, dropped, quarantined. text: a sentence for people."""

    task_id: str
    stage: str
    shot: int
    state: str
    code: str
    text: str
    quality: str = ""
    slack_s: float | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `hpcwise explain`."""

    request_id: str
    state: str
    summary: str
    reasons: tuple[Reason, ...]


def explain(engine: Engine, request_id: str, shot: int | None = None) -> Explanation:
    """Reasons for the open tasks of a request, or for all tasks of one shot."""
    request = find_request(engine, request_id)
    world = engine.world
    if shot is not None and not 0 <= shot < max(1, len(request.shots)):
        n = len(request.shots)
        known = f"0 to {n - 1}" if n else "none yet: the screenplay is being written"
        raise UsageError(f"shot: {shot} is not known; the film has shots {known}")
    chosen = [
        world.state.tasks[t]
        for t in request.tasks
        if (shot is None and world.state.tasks[t].state not in ("finished", "dropped"))
        or (shot is not None and world.state.tasks[t].spec.shot == shot)
    ]
    return Explanation(
        request_id=request.request_id,
        state=request.state,
        summary=_summary(world, request),
        reasons=tuple(_reason(world, request, t) for t in chosen),
    )


def _summary(world: World, request: RequestRecord) -> str:
    parts = [f"{request.state}, {slo_text(request.job)}"]
    if request.reason:
        parts.append(request.reason)
    lowered = [s.index for s in request.shots if film_task(world, request, s.index).alternative > 0]
    if lowered:
        parts.append(f"{len(lowered)} of {len(request.shots)} shots below the best tier")
    parts.append(f"{request.open_tasks} of {len(request.tasks)} tasks to do")
    return "; ".join(parts)


def _reason(world: World, request: RequestRecord, task: TaskRecord) -> Reason:
    code, text = _why(world, task)
    alternative = world.alternative_of(task)
    quality = ""
    if task.alternative > 0 or "to " in task.why:
        quality = f"tier {alternative.tier}: {task.why}" if task.why else f"tier {alternative.tier}"
    dated = not isinstance(request.job.slo, Batch) or task.spec.deadline_s is not None
    slack_s = None
    if dated and task.state not in ("dropped", "quarantined"):
        end_s = task.finished_s if task.state == "finished" else world.state.now_s
        slack_s = world.deadline_s(task) - end_s
    return Reason(
        task_id=task.spec.task_id,
        stage=task.spec.stage,
        shot=task.spec.shot,
        state=task.state,
        code=code,
        text=text,
        quality=quality,
        slack_s=slack_s,
    )


def _why(world: World, task: TaskRecord) -> tuple[str, str]:
    model = world.alternative_of(task).model
    if task.state == "waiting":
        missing = [e.source for e in task.spec.inputs if not world.edge_met(e)]
        return "waits_inputs", f"waits for {', '.join(missing)}"
    if task.state == "twin":
        return "waits_twin", f"the same result is being made by {task.twin}"
    if task.state in HELD:
        worker = world.state.workers[task.worker]
        where = f"{task.worker} on {worker.info.ranks[0].node}"
        if task.state == "assigned":
            return "queued", f"in the queue of {where}"
        steps = f", step {task.step} of {task.steps}" if task.steps else ""
        if task.state == "pausing":
            return "runs", f"leaves {where} after this step{steps}: {task.left}"
        again = f"; was paused: {task.left}" if task.left else ""
        return "runs", f"{task.state} on {where}{steps}{again}"
    if task.state in OPEN:
        code, text = _why_open(world, task, model)
        return code, f"paused: {task.left}; {text}" if task.state == "paused" and task.left else text
    if task.state == "finished" and task.cached:
        return "cached", "its result was in the store already"
    if task.state == "finished":
        return "done", f"made by {task.last_worker} in {task.seconds:.1f} s with {model}"
    return task.state, task.why or task.state


def _why_open(world: World, task: TaskRecord, model: str) -> tuple[str, str]:
    if world.state.store_full:
        return "store_full", f"nothing starts: {world.state.store_full}"
    classes = world.fleet.hosting(model)
    if not classes:
        coming = len(world.state.launches)
        if coming:
            return "waits_launch", f"no worker has {model} yet; {coming} are being launched"
        if any(model in item.models for item in world.config.fleet):
            return "waits_launch", f"no worker has {model}; one will be launched"
        return "no_worker_can", f"no kind of worker in this fleet can host {model}"
    classes = tuple(cls for cls in classes if shared_by(world, task, cls))
    if not classes:
        return "no_worker_can", f"no replica there is can share the tokens of {model} at this size evenly"
    if place(world, task, world.deadline_s(task)) is None:
        n = sum(len(c.members) for c in classes)
        head = world.pool_of(task).peek()
        ahead = head[1].spec.task_id if head and head[1] is not task else ""
        first = f"; {ahead} has the nearer deadline" if ahead else ""
        return "waits_worker", f"all {n} workers that can host {model} are busy{first}"
    return "waits_worker", "will be dispatched with the next event"
