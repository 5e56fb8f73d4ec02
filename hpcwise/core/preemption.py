"""Running tasks that give way: to a more urgent one, or because they would end sooner elsewhere.

Only tasks whose loop keeps a checkpoint (StreamWise has neither: an eviction there costs the whole shot).
Both rules compare what each task loses with what it gains, the price of moving included (core/moving.py).
A task that was taken to another worker is taken to a third only if that one came, or became idle, since, and
each time it has to win a share of what it has left: it cannot wander.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.filetimes import expected_s
from hpcwise.core.fleet import WorkerClass
from hpcwise.core.moving import (
    Price,
    done_share,
    due_s,
    ends_s,
    move_s,
    slower,
    spared,
    state_gb,
    step_left_s,
    whole_s,
)
from hpcwise.core.policies import Placement
from hpcwise.core.scheduler import LIFETIME_LOOKS, Emit, option_on, options_in, shared_by
from hpcwise.core.state import TaskRecord, WorkerRecord
from hpcwise.core.units import WorkerId
from hpcwise.core.world import World

#: What taking a running task elsewhere must win: so many seconds, and this share of what it still takes where
#: it is; more where its deadline is missed all the same.
WIN_S: Final = 1.0
WIN_IN_TIME: Final = 0.1
WIN_LATE: Final = 0.25
_NEVER_S: Final = float("inf")


class _Way(msgspec.Struct, frozen=True):
    """A running task that could give way. hurt_s: by how much later than it should it then ends; due_s: when
    it should."""

    hurt_s: float
    due_s: float
    task: TaskRecord


def preempt(world: World, emit: Emit) -> None:
    """Pause a running task where a more urgent ready one would be late behind it, and is in time without it
    or late by clearly less.

    What is paused still meets its deadline afterwards, the price of moving included, or loses less than the
    urgent one wins. One at a time for the workers of a model.
    """
    heads = [head for pool in world.pools.values() if (head := pool.peek()) is not None]
    for _, task in sorted(heads, key=lambda head: (head[0], head[1].ordinal)):
        model = world.alternative_of(task).model
        classes = [cls for cls in world.fleet.hosting(model) if shared_by(world, task, cls)]
        needs = {cls: whole_s(world, task, cls) * (1.0 - spared(task)) for cls in classes}
        late_s, waits_s = min(
            (
                (option.finish_s - due_s(world, task, needs[cls]), option.finish_s)
                for cls in classes
                for option in options_in(world, task, model, cls, needs[cls], True)
            ),
            default=(_NEVER_S, _NEVER_S),
        )
        if late_s <= 0 or any(_pausing(world, cls) for cls in classes):
            continue
        found = [
            way
            for cls in classes
            if (way := _gives_way(world, task, cls, needs[cls], late_s, waits_s)) is not None
        ]
        if found:
            way = min(found, key=lambda w: (w.hurt_s, -w.due_s, w.task.ordinal))
            late = f"would be {_said(late_s)} late" if late_s < _NEVER_S else "would have no worker"
            reason = f"{task.spec.task_id} {late} behind it"
            emit(m.Pause(way.task.worker, way.task.spec.task_id, way.task.attempt, reason=reason))


def _pausing(world: World, cls: WorkerClass) -> bool:
    tasks = world.state.tasks
    return any(tasks[t].state == "pausing" for worker in cls.members.values() for t in worker.held)


def _gives_way(
    world: World, urgent: TaskRecord, cls: WorkerClass, need_s: float, late_s: float, waits_s: float
) -> _Way | None:
    """The task of a worker of `cls` that is hurt least by making place for `urgent`, which takes `need_s`
    there, and would end at `waits_s` and be late by `late_s` without."""
    now_s, urgent_due_s, urgency = world.state.now_s, due_s(world, urgent, need_s), world.urgency(urgent)
    model = world.alternative_of(urgent).model
    clear_s = max(WIN_S, WIN_LATE * (waits_s - now_s))
    # At the very best it starts when a file has been written.
    still_s = now_s + expected_s(world.state.files.get("write"), 0.0) + need_s - urgent_due_s
    if still_s > 0 and late_s - still_s < clear_s:
        return None
    best: _Way | None = None
    for worker in cls.members.values():
        task = _leaves(world, worker)
        # Whoever is more urgent would get the worker back at once.
        if task is None or world.urgency(task) <= urgency:
            continue
        ends = ends_s(world, task)
        due = due_s(world, task, ends - now_s)
        if best is not None and (best.hurt_s, -best.due_s) <= (0.0, -due):
            continue
        price = _price(world, task, worker)
        free_s = now_s + price.leave_s
        option = option_on(world, urgent, worker, model, need_s, cls, True, free_s, task.spec.task_id)
        if option is None or ends <= free_s:
            continue  # the worker is free by itself as soon
        still_s = option.finish_s - urgent_due_s
        helped_s = late_s - max(0.0, still_s)
        if still_s > 0 and helped_s < clear_s:
            continue  # late in any case
        back_s = ends - now_s + option.finish_s + price.again_s + price.arrive_s
        load_s = world.profiles.load_s(world.alternative_of(task).model)
        if world.alternative_of(task).model in option.evicts:
            back_s += load_s
        if worker.ends_s is not None and ends <= worker.ends_s < back_s:
            back_s += load_s + price.total_s  # it does not live to end it: on another one
        hurt_s = max(0.0, back_s - max(due, ends))
        # What may still come for a task that no worker can take now is not known: nobody is hurt for it.
        if hurt_s >= (helped_s if late_s < _NEVER_S else 0.0) and hurt_s > 0:
            continue
        if best is None or (hurt_s, -due) < (best.hurt_s, -best.due_s):
            best = _Way(hurt_s, due, task)
    return best


def relocate(world: World, emit: Emit) -> None:
    """Take a running task that would miss its deadline to an idle worker where it meets it, or ends clearly
    earlier, the price of moving included. Not by a policy that asks for no deadlines."""
    if not world.policy.by_deadline:
        return
    idle: dict[WorkerClass, list[WorkerRecord]] = {}
    promised = _promised(world)
    for worker in world.fleet.idle():
        if not worker.loading and worker.info.worker_id not in promised:
            idle.setdefault(world.fleet.class_of(worker.info.worker_id), []).append(worker)
    if not idle:
        return
    for worker in world.state.workers.values():
        task = _leaves(world, worker)
        if task is None:
            continue
        now_s, stays_s = world.state.now_s, ends_s(world, task)
        late_s = stays_s - due_s(world, task, stays_s - now_s)
        if late_s <= 0:
            continue
        found = _elsewhere(world, task, worker, idle)
        if found is None:
            continue
        there, finish_s = found
        in_time = finish_s <= due_s(world, task, there.exec_s)
        share = WIN_IN_TIME if in_time else WIN_LATE
        if stays_s - finish_s < max(WIN_S, share * (stays_s - now_s)):
            continue
        target = there.worker.info.worker_id
        idle[world.fleet.class_of(target)].remove(there.worker)
        ends = "in time" if in_time else f"{_said(stays_s - finish_s)} sooner"
        reason = f"would be {_said(late_s)} late; ends {ends} on {target}, moving included"
        emit(m.Pause(worker.info.worker_id, task.spec.task_id, task.attempt, to=target, reason=reason))


def _promised(world: World) -> set[WorkerId]:
    """Workers that wait for a task that is still leaving another one."""
    tasks = world.state.tasks
    alone = (w for w in world.state.workers.values() if len(w.held) == 1)
    return {tasks[t].bound for worker in alone for t in worker.held} - {""}


def _elsewhere(
    world: World, task: TaskRecord, worker: WorkerRecord, idle: dict[WorkerClass, list[WorkerRecord]]
) -> tuple[Placement, float] | None:
    """The idle worker on which the task would end first, and when."""
    model = world.alternative_of(task).model
    here = world.fleet.class_of(worker.info.worker_id)
    one_s = whole_s(world, task, here)
    slow = slower(task, one_s)
    one_s *= slow
    share = done_share(world, task, one_s)
    if one_s > 0:
        share = min(1.0, share + step_left_s(world, task, one_s) / one_s)
    price = move_s(world, task, one_s, left_s=_life_s(world, worker))
    best: tuple[Placement, float] | None = None
    for cls in world.fleet.hosting(model):
        workers = idle.get(cls)
        if not workers or not shared_by(world, task, cls):
            continue
        need_s = whole_s(world, task, cls) * slow * (1.0 - share)
        nbytes = int(state_gb(world, task) * 1e9)
        crosses_s = 0.0
        if cls.region and not task.saved:  # else in the option, as the task has a state already
            crosses_s = world.profiles.transfer_s(here.region, cls.region, nbytes)
        fresh = [w for w in workers if w.idle_since_s > task.relocated_s]
        loaded = [w for w in fresh if model in w.loaded][:LIFETIME_LOOKS]
        for other in loaded or fresh[:LIFETIME_LOOKS]:
            option = option_on(world, task, other, model, need_s, cls, True)
            if option is None or option.moved_s:  # it would have to leave there too
                continue
            # Loading and inputs are in the option, and the state comes from where it was written.
            finish_s = option.finish_s + price.total_s + crosses_s
            if best is None or finish_s < best[1]:
                best = option, finish_s
            break
    return best


def _leaves(world: World, worker: WorkerRecord) -> TaskRecord | None:
    """What the worker runs, if it is one task, alone, that keeps its state."""
    if len(worker.held) != 1 or worker.state == "suspect":
        return None
    task = world.state.tasks[next(iter(worker.held))]
    info = world.config.catalogue.models.get(world.alternative_of(task).model)
    return task if task.state == "running" and info is not None and info.checkpoints else None


def _price(world: World, task: TaskRecord, worker: WorkerRecord) -> Price:
    """Of going on later on the same worker."""
    one_s = whole_s(world, task, world.fleet.class_of(worker.info.worker_id))
    return move_s(world, task, one_s * slower(task, one_s), left_s=_life_s(world, worker))


def _life_s(world: World, worker: WorkerRecord) -> float:
    return _NEVER_S if worker.ends_s is None else max(0.0, worker.ends_s - world.state.now_s)


def _said(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
