"""How many workers there should be: by the provisioner's plan, else by demand, within the given fleet.

A worker whose allocation will end is replaced in time: its successor is asked for so early that it has
waited in the queue and loaded its models by then. A launch that is still pending when nobody wants it any
more is taken back.
"""

from __future__ import annotations

from typing import NamedTuple

from hpcwise.core import messages as m
from hpcwise.core.planner import may_need, sketch_shots
from hpcwise.core.resources import FleetItem
from hpcwise.core.scheduler import Emit
from hpcwise.core.state import LaunchRecord, WorkerRecord
from hpcwise.core.world import World

#: A successor is asked for when its predecessor has this many times the usual wait for a worker left, and
#: this much more; never before half of the predecessor's time is over.
SUCCESSOR_WAITS = 1.5
SUCCESSOR_S = 15.0
#: A launch is not taken back before it is so old: what is wanted may change again.
KEEP_LAUNCH_S = 10.0


class _Kind(NamedTuple):
    """Workers of a kind: those that stay, those whose allocation ends soon, and those that are coming."""

    item: FleetItem
    wanted: int
    lasting: list[WorkerRecord]
    ending: list[WorkerRecord]
    coming: list[LaunchRecord]

    @property
    def spare(self) -> list[tuple[float, WorkerRecord]]:
        """Idle workers of which the fleet has too many, with the time since which each is; those that will
        end first, then the longest idle."""
        more = len(self.lasting) - self.wanted
        found = [(w.idle_since_s, w) for w in self.ending if _idle(w)] if more >= 0 else []
        idle = sorted((w for w in self.lasting if _idle(w)), key=lambda w: (w.idle_since_s, w.ordinal))
        return found + [(w.idle_since_s, w) for w in idle[: max(0, more)]]

    @property
    def unwanted(self) -> list[LaunchRecord]:
        """Pending launches of which the fleet has too many, the newest first: they wait longest still."""
        more = len(self.lasting) + len(self.coming) - self.wanted
        return self.coming[::-1][: max(0, more)]


def scale(world: World, emit: Emit) -> None:
    """Launch what work needs and the fleet allows; give back what has been idle, or pending, for nothing."""
    state, now_s = world.state, world.state.now_s
    for kind in _kinds(world):
        item = kind.item
        if now_s >= _launch_after_s(world, item):
            for _ in range(kind.wanted - len(kind.lasting) - len(kind.coming)):
                emit(m.Launch(item.kind, f"e{state.epoch}-{item.kind}-{state.launched + 1}"))
        for launch in kind.unwanted:
            if now_s - launch.asked_s >= KEEP_LAUNCH_S:
                emit(m.CancelLaunch(launch.token, "no longer wanted"))
        for since_s, worker in kind.spare:
            if now_s - since_s >= item.idle_timeout_s:
                emit(m.Drain(worker.info.worker_id, "idle"))


def next_change_s(world: World) -> float | None:
    """When, with nothing but time passing, a worker or a launch is to be given back, or replaced."""
    times: list[float] = []
    for kind in _kinds(world):
        limit_s = kind.item.idle_timeout_s
        times += [since_s + limit_s for since_s, _ in kind.spare]
        times += [launch.asked_s + KEEP_LAUNCH_S for launch in kind.unwanted]
        short = kind.wanted > len(kind.lasting) + len(kind.coming)
        if short:
            times.append(_launch_after_s(world, kind.item))
        if kind.wanted:
            times += [w.ends_s - lead_s(world, kind.item, w) for w in kind.lasting if w.ends_s is not None]
    return min(times, default=None)


def lead_s(world: World, item: FleetItem, worker: WorkerRecord) -> float:
    """How long before the end of `worker` its successor is asked for: the usual wait, loading, a margin."""
    assert worker.ends_s is not None
    wait_s = max(item.launch_s, world.state.waits.get(item.kind, 0.0))
    loads_s = sum(world.profiles.load_s(model) for model in worker.loaded)
    return min(SUCCESSOR_WAITS * wait_s + loads_s + SUCCESSOR_S, 0.5 * (worker.ends_s - worker.joined_s))


def _launch_after_s(world: World, item: FleetItem) -> float:
    """When workers of this kind may be asked for: what one pool refuses another may have."""
    refused = world.state.refusals.get(item.kind)
    return refused.after_s if refused is not None else 0.0


def _kinds(world: World) -> list[_Kind]:
    busy, now_s = bool(world.live), world.state.now_s
    workers: dict[str, list[WorkerRecord]] = {}
    for worker in world.state.workers.values():
        if worker.state != "draining":
            workers.setdefault(worker.info.kind, []).append(worker)
    coming: dict[str, list[LaunchRecord]] = {}
    for launch in world.state.launches.values():
        coming.setdefault(launch.kind, []).append(launch)
    found = []
    for item in world.config.fleet:
        lasting: list[WorkerRecord] = []
        ending: list[WorkerRecord] = []
        for worker in workers.get(item.kind, ()):
            ends_s = worker.ends_s
            # Never before half of its time is over, whatever the lead.
            if ends_s is None or 2 * (ends_s - now_s) > ends_s - worker.joined_s:
                lasting.append(worker)
            else:
                ends = ends_s - now_s <= lead_s(world, item, worker)
                (ending if ends else lasting).append(worker)
        wanted = _wanted(world, item, busy)
        found.append(_Kind(item, wanted, lasting, ending, coming.get(item.kind, [])))
    return found


def _idle(worker: WorkerRecord) -> bool:
    return worker.state == "joined" and not worker.held


def _wanted(world: World, item: FleetItem, busy: bool) -> int:
    planned = world.state.wanted.get(item.kind)
    if planned is not None:
        return max(item.min_workers, min(item.max_workers, planned))
    if not busy or (world.config.planned and not world.state.plans):
        return item.min_workers
    # Growing films will need as many as there may be; otherwise one for each task that one of them can do.
    # A task that several of its models can do counts once.
    asked, most = sum(world.asked[model] for model in item.models), item.max_workers
    growing = n_open = 0
    for request_id in world.live:
        request = world.state.requests[request_id]
        n_open += request.open_tasks
        coming = sketch_shots(request, world.config)
        if coming and may_need(request.job, item.models):
            growing += coming
        if growing + min(asked, n_open) >= most:
            break
    return max(item.min_workers, min(most, growing + min(asked, n_open)))
