"""What a plan for now is made from: the work that is left and the workers that stand, read off the engine.

A `View` is a value: the search may run elsewhere, and equal views give equal plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hpcwise.core import planner, streamcast
from hpcwise.core.catalogue import Catalogue
from hpcwise.core.config import EngineConfig
from hpcwise.core.deadlines import FINISH_S
from hpcwise.core.events import Hold
from hpcwise.core.provisioner.shapes import work_of_job
from hpcwise.core.provisioner.types import StageShape
from hpcwise.core.spec import By, JobSpec, Live
from hpcwise.core.state import ENDED, RequestRecord, State, TaskRecord
from hpcwise.core.units import ModelName

#: Stages of one task each, which is there from the start.
_AT_ONCE: Final = ("document", "screenplay")


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A live request's work that is not done. like: requests of equal `like` are planned for together.

    stages: with the units that are left, sources first; `after` may name stages that are done. film_s: film
    that is not published. due_s: until the whole must be ready, None for no limit; firm: somebody waits for
    it then. start_s: until a live film's first frame is due, None once it plays or where nobody watches.
    known: every task is, so that `stages` are no longer partly expected.
    """

    request_id: str
    like: str
    stages: tuple[StageShape, ...]
    film_s: float
    due_s: float | None
    firm: bool
    start_s: float | None = None
    known: bool = True


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """`n` workers of `kind` that have `models` loaded. asked_s: how long ago those that have not joined were
    asked for; -1 for those that have."""

    kind: str
    models: tuple[ModelName, ...]
    n: int
    asked_s: float = -1.0

    @property
    def coming(self) -> bool:
        return self.asked_s >= 0


class View(msgspec.Struct, frozen=True, kw_only=True):
    """version: of the state. ratios: what real runs taught. waits: usual seconds to a new worker, by kind.
    holds: of the plan that the engine follows."""

    version: int
    now_s: float
    left: tuple[Left, ...]
    standing: tuple[Standing, ...]
    ratios: dict[str, float]
    waits: dict[str, float]
    holds: tuple[Hold, ...] = ()


class Shapes:
    """Remembers the stages of jobs that are alike: most are."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[bytes, tuple[StageShape, ...]] = {}

    def of(self, job: JobSpec) -> tuple[StageShape, ...]:
        """The stages of a film as the engine will make it, with all their units; none of a job whose models
        are of no way in which its workflow is planned."""
        plain = JobSpec(
            workflow=job.workflow, duration_s=job.duration_s, width=job.width, height=job.height, fps=job.fps,
            ladder=job.ladder, fixed_ladder=True, models=job.models, upscale=job.upscale,
        )  # fmt: skip
        key = msgspec.json.encode(plain)
        if key not in self._known:
            if len(self._known) > 100:
                self._known.clear()
            self._known[key] = _stages(plain, self._catalogue)
        return self._known[key]


def view_of(state: State, shapes: Shapes) -> View:
    """The view of a state, in time that grows with the tasks of its live requests."""
    live = [r for r in state.requests.values() if r.state in ("growing", "running")]
    left = [found for request in live if (found := _left(state, request, shapes)) is not None]
    counts: dict[tuple[str, tuple[str, ...], float], int] = {}
    for worker in state.workers.values():
        if worker.state != "draining":
            models = tuple(sorted({*worker.loaded, *worker.loading}))
            key = (worker.info.kind, models, -1.0)
            counts[key] = counts.get(key, 0) + 1
    for launch in state.launches.values():
        key = (launch.kind, (), state.now_s - launch.asked_s)
        counts[key] = counts.get(key, 0) + 1
    return View(
        version=state.version,
        now_s=state.now_s,
        left=tuple(left),
        standing=tuple(Standing(*key[:2], n, key[2]) for key, n in counts.items()),
        ratios=dict(state.ratios),
        waits=dict(state.waits),
        holds=tuple(state.holds),
    )


def _left(state: State, request: RequestRecord, shapes: Shapes) -> Left | None:
    """None where nothing is left that workers do."""
    tasks = [state.tasks[task_id] for task_id in request.tasks]
    opened: dict[str, list[TaskRecord]] = {}
    ended: dict[str, int] = {}
    for task in tasks:
        stage = task.spec.stage
        if task.state in ENDED:
            ended[stage] = ended.get(stage, 0) + 1
        else:
            opened.setdefault(stage, []).append(task)
    if request.job.workflow == "graph":
        stages = _of_graph(opened, state.tasks)
        like = "graph"
    elif not (whole := shapes.of(request.job)):
        stages, like = _of_graph(opened, state.tasks), "graph"
    else:
        like = ",".join(f"{stage.name}={stage.model}" for stage in whole)
        stages = [
            found
            for shape in whole
            if (found := _rest(shape, opened.get(shape.name, ()), ended.get(shape.name, 0), request.last))
        ]
    if not stages:
        return None
    due_s, start_s, firm = _due(state, request, tasks)
    played_s = sum(frames for _, frames in request.published) / request.job.fps
    film_s = max(1.0, max(request.total_s, request.job.duration_s if not request.last else 0.0) - played_s)
    return Left(
        request_id=request.request_id, like=like, stages=tuple(stages), film_s=film_s, due_s=due_s, firm=firm,
        start_s=start_s, known=request.last,
    )  # fmt: skip


def _due(
    state: State, request: RequestRecord, tasks: Sequence[TaskRecord]
) -> tuple[float | None, float | None, bool]:
    """Seconds until the film is due, until its first frame is, and whether somebody waits."""
    now_s, slo = state.now_s, request.job.slo
    if request.job.workflow == "graph":
        ends = [t.spec.deadline_s for t in tasks if t.spec.deadline_s is not None]
        return (request.arrived_s + max(ends) - now_s, None, True) if ends else (None, None, False)
    if isinstance(slo, Live):
        playing = request.start_s >= 0
        start_s = request.start_s if playing else request.arrived_s + slo.ttff_s
        total_s = max(request.total_s, request.job.duration_s if not request.last else 0.0)
        return start_s + total_s - now_s, None if playing else start_s - now_s, True
    if isinstance(slo, By):
        return request.due_wall_s - state.wall_offset_s - FINISH_S - now_s, None, True
    return request.arrived_s + slo.max_age_s - now_s, None, False


def _rest(
    shape: StageShape, opened: Sequence[TaskRecord], n_ended: int, all_known: bool
) -> StageShape | None:
    """What is left of a stage: what is open, and until all is known at least what was expected."""
    scale = sum(task.scale for task in opened)
    if shape.name in _AT_ONCE:
        return shape if opened or not n_ended else None
    units = round(scale) if all_known else max(round(scale), shape.units - n_ended)
    if opened:
        units = max(1, units)
    if units <= 0:
        return None
    features = _mean([t.spec.alternatives[t.alternative].features for t in opened]) if all_known else {}
    return msgspec.structs.replace(shape, units=units, features=features or shape.features, first={})


def _of_graph(opened: Mapping[str, list[TaskRecord]], tasks: Mapping[str, TaskRecord]) -> list[StageShape]:
    """Stages of a graph: its open tasks by stage and model, in an order that puts sources first if there is
    one; tasks that lead back and forth between two stages are taken as independent."""
    found: dict[str, StageShape] = {}
    names: dict[str, str] = {}
    groups: dict[tuple[str, str], list[TaskRecord]] = {}
    for stage, members in opened.items():
        for task in members:
            model = task.spec.alternatives[task.alternative].model
            groups.setdefault((stage, model), []).append(task)
    for (stage, model), members in groups.items():
        name = f"{stage}={model}"
        features = _mean([t.spec.alternatives[t.alternative].features for t in members])
        found[name] = StageShape(name=name, model=model, units=len(members), features=features)
        names.update((t.spec.task_id, name) for t in members)
    sources: dict[str, set[str]] = {name: set() for name in found}
    for members in groups.values():
        for task in members:
            name = names[task.spec.task_id]
            sources[name].update(names[e.source] for e in task.spec.inputs if e.source in names)
    order: list[str] = []
    waiting = {name: before - {name} for name, before in sources.items()}
    while waiting:
        free = [name for name, before in waiting.items() if before <= set(order)]
        if not free:
            return list(found.values())
        order += free
        for name in free:
            del waiting[name]
    return [
        msgspec.structs.replace(found[name], after=tuple(sorted(sources[name] - {name}))) for name in order
    ]


def _mean(features: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for each in features:
        for name, value in each.items():
            total[name] = total.get(name, 0.0) + value
    return {name: value / len(features) for name, value in total.items()}


def _stages(job: JobSpec, catalogue: Catalogue) -> tuple[StageShape, ...]:
    """As the planner makes tasks: one way of making the film, with workers also for what the paper puts on
    a host's cores. Light models share a worker."""
    work = work_of_job(job, EngineConfig(catalogue=catalogue))
    made = planner.STAGE_MODELS if job.workflow == "podcast" else streamcast.STAGE_MODELS
    models = {
        stage: job.models.get(stage, name if isinstance(name, str) else name[0])
        for stage, name in made.items()
    }
    models |= {stage: job.models[stage] for stage in streamcast.MORE_STAGES if stage in job.models}

    def fits(stages: Sequence[StageShape]) -> bool:
        return all(s.fixed_s is not None or s.model == models.get(s.name) for s in stages)

    variants = [v for v in work.variants if fits(v.stages)]
    if not variants:
        return ()
    shots = max(s.units for s in variants[0].stages if s.name in ("speech", "sketch", "animate"))
    found = []
    for stage in variants[0].stages:
        info = catalogue.models.get(models[stage.name])
        light = info is not None and info.light
        changed = msgspec.structs.replace(stage, model=models[stage.name], share="light" if light else "")
        if stage.fixed_s is not None:
            units = shots if stage.name == "detect" else 1
            changed = msgspec.structs.replace(changed, fixed_s=None, units=units)
        found.append(changed)
    return tuple(found)
