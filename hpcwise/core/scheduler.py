"""Which task goes to which worker, now: reads the world, returns commands through `emit`.

Most urgent task first over all requests; for each, the best worker by expected finish (what it holds,
loading, transfer, runtime, lifetime left). StreamWise section 4.5.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from hpcwise.core import messages as m
from hpcwise.core.drawing import deals_tokens, shares_out
from hpcwise.core.fleet import WorkerClass, takes_more
from hpcwise.core.memory import booked_free_gb, held_gb
from hpcwise.core.moving import move_s, spared, state_gb, whole_s
from hpcwise.core.planner import coming_models
from hpcwise.core.policies import Placement
from hpcwise.core.state import OPEN, TaskRecord, WorkerRecord
from hpcwise.core.units import ModelName, TaskId
from hpcwise.core.workflow import Alternative, Edge
from hpcwise.core.world import World

Emit = Callable[[m.Command], None]

#: Moving a queued task to another worker must win at least this much.
STEAL_WIN_S = 0.25
#: Tasks that are passed over in one round because no open worker lives long enough for them.
ASIDE_MOST = 8
#: Workers looked at in a class when its best one will not live long enough.
LIFETIME_LOOKS = 8


def settle_fresh(world: World, emit: Emit) -> None:
    """Tasks that just became ready: made before, being made by a twin, a chain of parts, or really to do."""
    while world.fresh:
        fresh, world.fresh = world.fresh, []
        for task in fresh:
            if task.state not in OPEN:
                continue
            alternative = task.spec.alternatives[task.alternative]
            if alternative.parts:
                emit(_chain(task))
                continue
            key = task.key
            if world.artifact_done(key):
                emit(m.UseArtifact(task.spec.task_id, key, task.alternative))
            else:
                _share(world, emit, task)


def _share(world: World, emit: Emit, task: TaskRecord) -> None:
    """One of the tasks with this key makes it, the most urgent unless one runs; the others wait for it."""
    # Whoever claimed the key may have given it up in this very event.
    maker_id = world.makers.setdefault(task.key, task.spec.task_id)
    if maker_id == task.spec.task_id:
        return
    maker = world.state.tasks[maker_id]
    if maker.state == "ready" and world.urgency(task) < world.urgency(maker):
        emit(m.AwaitTwin(maker_id, task.spec.task_id, task.key))
    elif task.state == "ready":
        emit(m.AwaitTwin(task.spec.task_id, maker_id, task.key))


def assign(world: World, emit: Emit) -> None:
    """Dispatch as much as workers take, most urgent first."""
    if world.state.store_full:
        return
    blocked: dict[ModelName, None] = {}
    aside: list[TaskRecord] = []
    while True:
        best: tuple[float, int, TaskRecord] | None = None
        for model, pool in world.pools.items():
            if model in blocked:
                continue
            head = pool.peek()
            if head is None:
                blocked[model] = None
            elif best is None or (head[0], head[1].ordinal) < best[:2]:
                best = (head[0], head[1].ordinal, head[1])
        if best is None:
            break
        task = best[2]
        deadline_s = world.deadline_s(task)
        chosen = place(world, task, deadline_s)
        if chosen is not None:
            _dispatch(world, emit, task, chosen, deadline_s)
        elif len(aside) < ASIDE_MOST and _unfit(world, task):
            # No idle worker lives long enough for this one, or can share it; others behind it need not wait.
            aside.append(world.pool_of(task).set_aside())
        else:
            blocked[task.spec.alternatives[task.alternative].model] = None
    for task in aside:
        world.pool_of(task).push(task)


def _unfit(world: World, task: TaskRecord) -> bool:
    """Whether a worker that could take another task now cannot take this one."""
    model = task.spec.alternatives[task.alternative].model
    return any(
        worker.ends_s is not None or not shared_by(world, task, cls)
        for cls in world.fleet.hosting(model)
        if (worker := world.fleet.best(cls.open)) is not None
    )


def preload(world: World, emit: Emit) -> None:
    """Idle workers load what growing films will need, so that the first shot does not wait for weights."""
    idle = [w for w in world.fleet.idle() if not w.loading]
    if not idle:
        return
    growing = [r for i in world.live if (r := world.state.requests[i]).state == "growing"]
    if not growing:
        return
    coming = tuple(dict.fromkeys(x for r in growing for x in coming_models(r)))
    planned = {hold.kind for hold in world.state.holds}
    for worker in idle:
        for model in coming if worker.info.kind not in planned else ():
            if model in worker.loaded or model not in worker.info.models:
                continue
            if room_for(world, worker, model) == ():
                emit(m.LoadModel(worker.info.worker_id, model))
                break


def place(world: World, task: TaskRecord, deadline_s: float) -> Placement | None:
    """The worker that the policy chooses for `task`, or None while waiting is better. One that was taken from
    its worker for another goes to that one, if it is still free."""
    alternative = task.spec.alternatives[task.alternative]
    model, left, waits = alternative.model, 1.0 - spared(task), world.policy.waits
    options: list[Placement] = []
    for cls in world.fleet.hosting(model):
        if cls.n_devices > 1 and not shared_by(world, task, cls):
            continue
        exec_s = left * world.profiles.expected_s(
            model, cls.hardware, alternative.features, cls.n_devices, task.scale
        )
        if task.bound and task.bound in cls.members and takes_more(cls.members[task.bound]):
            bound = option_on(world, task, cls.members[task.bound], model, exec_s, cls, True)
            if bound is not None:
                return bound
        options.extend(options_in(world, task, model, cls, exec_s, waits))
    if not options:
        return None
    if len(options) == 1:
        return options[0] if options[0].open else None
    info = world.config.catalogue.models.get(alternative.model)
    return world.policy.choose(options, deadline_s, info is not None and info.light, world.state.now_s)


def shared_by(world: World, task: TaskRecord, cls: WorkerClass) -> bool:
    """Whether replicas of that many devices can share the task's tokens (core/drawing.py)."""
    if cls.n_devices == 1:
        return True
    alternative = task.spec.alternatives[task.alternative]
    info = world.config.catalogue.models.get(alternative.model)
    if info is None or not deals_tokens(info):
        return True
    size = (alternative.params or task.spec.params).get
    drawn = size("render_width", size("width")), size("render_height", size("height"))
    if not (isinstance(drawn[0], int) and isinstance(drawn[1], int)):
        return True  # a task of somebody's own
    return shares_out(info, (drawn[0], drawn[1]), cls.n_devices)


def options_in(
    world: World, task: TaskRecord, model: ModelName, cls: WorkerClass, exec_s: float, waits: bool
) -> list[Placement]:
    """The best workers of a class; waits: also the one that is free first of those that are busy."""
    fleet = world.fleet
    loaded_heap = cls.open_loaded.get(model)
    loaded = fleet.best(loaded_heap) if loaded_heap else None
    free = fleet.best(cls.open)
    found = []
    for worker in (loaded, free if free is not loaded else None):
        if worker is not None:
            option = option_on(world, task, worker, model, exec_s, cls, True)
            if option is None:
                heap = loaded_heap if worker is loaded and loaded_heap else cls.open
                for other in fleet.some(heap, LIFETIME_LOOKS)[1:]:
                    option = option_on(world, task, other, model, exec_s, cls, True)
                    if option is not None:
                        break
            if option is not None:
                found.append(option)
    if waits and cls.busy:
        busy = fleet.best(cls.busy)
        if busy is not None:
            option = option_on(world, task, busy, model, exec_s, cls, False)
            if option is not None:
                found.append(option)
    return found


def option_on(
    world: World,
    task: TaskRecord,
    worker: WorkerRecord,
    model: ModelName,
    exec_s: float,
    cls: WorkerClass,
    is_open: bool,
    free_at_s: float | None = None,
    leaving: TaskId = "",
) -> Placement | None:
    """What it would mean to run the task there; None if the worker leaves before it ends, unless what is done
    until then is worth more than going on elsewhere costs. free_at_s: if another time than expected, because
    `leaving` makes place."""
    start_s = max(world.state.now_s, worker.free_at_s) if free_at_s is None else free_at_s
    load_s, loads = 0.0, False
    evicts: tuple[ModelName, ...] = ()
    if model not in worker.loaded and model not in worker.loading:
        room = room_for(world, worker, model, leaving=leaving)
        if room is None:
            return None
        load_s, loads, evicts = world.profiles.load_s(model), True, room
    transfer_s = 0.0
    if cls.region:
        for edge in task.spec.inputs:
            artifact = world.state.artifacts.get(world.state.tasks[edge.source].key)
            if artifact is not None:
                transfer_s += world.profiles.transfer_s(artifact.region, cls.region, artifact.nbytes)
        if task.saved:
            nbytes = int(state_gb(world, task) * 1e9)
            transfer_s += world.profiles.transfer_s(task.kept_in, cls.region, nbytes)
    begins_s = start_s + load_s + transfer_s
    finish_s, moved_s = begins_s + exec_s, 0.0
    if worker.ends_s is not None and finish_s > worker.ends_s:
        info = world.config.catalogue.models.get(model)
        if info is None or not info.checkpoints:
            return None
        moved_s = move_s(world, task, whole_s(world, task, cls), load_s=world.profiles.load_s(model)).total_s
        if worker.ends_s - begins_s <= moved_s:
            return None
    return Placement(
        worker=worker,
        start_s=start_s,
        load_s=load_s,
        transfer_s=transfer_s,
        exec_s=exec_s,
        moved_s=moved_s,
        finish_s=finish_s + moved_s,
        usd=world.profiles.cost_usd(
            cls.hardware, cls.n_devices, load_s + transfer_s + exec_s + moved_s, spot=cls.spot
        ),
        open=is_open,
        loads=loads,
        evicts=evicts,
    )


def room_for(
    world: World, worker: WorkerRecord, model: ModelName, keep: tuple[ModelName, ...] = (),
    leaving: TaskId = "",
) -> tuple[ModelName, ...] | None:  # fmt: skip
    """Models to unload, least recently loaded first and none of `keep`, so that `model` fits; None if it
    cannot. leaving: a task whose model is needed no more."""
    need_gb = world.profiles.memory_gb(model)
    free_gb = booked_free_gb(world, worker)
    if world.state.now_s < worker.short_until_s:
        free_gb -= worker.short_gb
    if free_gb >= need_gb:
        return ()
    tasks = world.state.tasks
    in_use = {tasks[t].spec.alternatives[tasks[t].alternative].model for t in worker.held if t != leaving}
    evicts: list[ModelName] = []
    for name, _ in sorted(worker.loaded.items(), key=lambda item: (item[1], item[0])):
        if name not in in_use and name not in keep:
            evicts.append(name)
            free_gb += held_gb(world, worker, name)
            if free_gb >= need_gb:
                return tuple(evicts)
    return None


def _dispatch(world: World, emit: Emit, task: TaskRecord, chosen: Placement, deadline_s: float) -> None:
    worker_id = chosen.worker.info.worker_id
    alternative = task.spec.alternatives[task.alternative]
    for model in chosen.evicts:
        emit(m.UnloadModel(worker_id, model))
    if chosen.loads:
        emit(m.LoadModel(worker_id, alternative.model))
    key = task.key
    artifact = world.state.artifacts.get(key)
    emit(
        m.Dispatch(
            task_id=task.spec.task_id,
            attempt=world.state.attempts + 1,
            worker_id=worker_id,
            alternative=task.alternative,
            key=key,
            deadline_s=deadline_s,
            expected_s=chosen.load_s + chosen.transfer_s + chosen.exec_s,
            first_chunk=0 if artifact is None else artifact.n_chunks,
            checkpoint=task.checkpoint,
            reason=_reason(chosen, task),
        )
    )


def _reason(chosen: Placement, task: TaskRecord) -> str:
    if chosen.open and task.bound == chosen.worker.info.worker_id:
        return f"moved here: {task.left}"
    if chosen.open:
        return "begins here, ends elsewhere: its worker leaves before" if chosen.moved_s else ""
    return "waits for a faster worker"


def take_back(world: World, emit: Emit) -> None:
    """Revoke work that has not started where an idle worker would end it sooner."""
    idle: dict[WorkerClass, list[WorkerRecord]] = {}
    for worker in world.state.workers.values():
        if worker.state == "joined" and not worker.held:
            idle.setdefault(world.fleet.class_of(worker.info.worker_id), []).append(worker)
    if not idle:
        return
    for worker in world.state.workers.values():
        if len(worker.held) < 2 or worker.free_at_s - world.state.now_s < STEAL_WIN_S:
            continue
        tasks = [world.state.tasks[t] for t in worker.held]
        waiting = [t for t in tasks if t.state == "assigned"]
        if len(waiting) == len(worker.held):
            waiting = waiting[1:]
        for task in reversed(waiting):
            found = _idle_for(world, task, worker.free_at_s - STEAL_WIN_S, idle)
            if found is not None:
                emit(m.Revoke(worker.info.worker_id, task.spec.task_id, task.attempt))
                cls, other = found
                idle[cls].remove(other)


def _idle_for(
    world: World, task: TaskRecord, before_s: float, idle: dict[WorkerClass, list[WorkerRecord]]
) -> tuple[WorkerClass, WorkerRecord] | None:
    """An idle worker that would end `task` before `before_s`, those first that have its model loaded."""
    alternative = world.alternative_of(task)
    model = alternative.model
    for cls in world.fleet.hosting(model):
        workers = idle.get(cls)
        if not workers or not shared_by(world, task, cls):
            continue
        exec_s = world.profiles.expected_s(
            model, cls.hardware, alternative.features, cls.n_devices, task.scale
        )
        if world.state.now_s + exec_s >= before_s:
            continue
        # Idle workers of a class differ in what they have loaded, and in how long they live.
        loaded = [w for w in workers if model in w.loaded][:LIFETIME_LOOKS]
        for other in loaded or workers[:LIFETIME_LOOKS]:
            option = option_on(world, task, other, model, exec_s, cls, True)
            if option is None:
                continue
            if option.finish_s < before_s:
                return cls, other
            break
    return None


def _chain(task: TaskRecord) -> m.ReplaceTask:
    """The chain of tasks that makes a multi-part alternative; the last keeps the task's id."""
    alternative = task.spec.alternatives[task.alternative]
    specs = []
    inputs = task.spec.inputs
    for i, part in enumerate(alternative.parts):
        last = i == len(alternative.parts) - 1
        made = Alternative(
            tier=alternative.tier,
            model=part.model,
            params=part.params,
            features=part.features,
            elo=alternative.elo,
        )
        task_id = task.spec.task_id if last else f"{task.spec.task_id}/{part.stage}"
        # Lower rungs are made from what the whole chain is made from; only a card needs none of it. Better
        # ones stay, for the remake.
        better = task.spec.alternatives[: task.alternative] if last else ()
        rest = [a for a in task.spec.alternatives[task.alternative + 1 :] if a.tier == "static"]
        specs.append(
            replace(
                task.spec,
                task_id=task_id,
                stage=part.stage,
                inputs=inputs,
                alternatives=(*better, made, *(a for a in rest if last and not a.parts)),
                publishes=task.spec.publishes and last,
                expand=task.spec.expand if last else "",
                times_shot=task.spec.times_shot and last,
            )
        )
        if not last:
            following = alternative.parts[i + 1]
            inputs = (Edge(following.input_name, task_id, following.kind),)
    return m.ReplaceTask(task.spec.task_id, task.alternative, tuple(specs))
