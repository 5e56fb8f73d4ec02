"""What each event changes in the world. Facts only: nothing here decides what follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hpcwise.core import messages as m
from hpcwise.core.apply_requests import REQUEST_HANDLERS, rewind_films
from hpcwise.core.apply_tasks import TASK_HANDLERS, tear
from hpcwise.core.apply_workers import WORKER_HANDLERS
from hpcwise.core.errors import CoreError
from hpcwise.core.fleet import PREFETCH_S
from hpcwise.core.spec import By
from hpcwise.core.state import LIVE_REQUEST, step_worker
from hpcwise.core.world import World


def apply_event(world: World, event: m.Event) -> None:
    """Change the world by `event`; raises CoreError for a type that is not in the table."""
    handler = _HANDLERS.get(type(event))
    if handler is None:
        raise CoreError(f"no handler for event {type(event).__name__}")
    handler(world, event)


def _artifact_torn(world: World, e: m.ArtifactTorn) -> None:
    tear(world, e.key)


def _artifacts_known(world: World, e: m.ArtifactsKnown) -> None:
    for known in e.artifacts:
        artifact = world.artifact(known.key)
        if artifact.done:
            continue
        artifact.done, artifact.n_chunks, artifact.facts = known.done, known.n_chunks, known.facts
        artifact.chunk_facts, artifact.chunk_digests = list(known.chunk_facts), list(known.chunk_digests)
        artifact.nbytes, artifact.inline, artifact.region = known.nbytes, known.inline, known.region
    world.work_changed = True


def _store_full(world: World, e: m.StoreFull) -> None:
    world.state.store_full = e.reason


def _store_available(world: World, e: m.StoreAvailable) -> None:
    world.state.store_full = ""
    world.work_changed = True


def _clock_stepped(world: World, e: m.ClockStepped) -> None:
    world.state.wall_offset_s += e.delta_s
    for request in world.state.requests.values():
        if request.state in LIVE_REQUEST and isinstance(request.job.slo, By):
            world.retime(request)


def _plan_ready(world: World, e: m.PlanReady) -> None:
    world.state.wanted, world.state.holds = dict(e.wanted), list(e.holds)
    world.state.plans += 1
    world.work_changed = True


def _head_started(world: World, e: m.HeadStarted) -> None:
    world.state.epoch = e.epoch
    world.state.refusals.clear()  # somebody may have mended what was wrong
    for worker in world.state.workers.values():
        step_worker(worker, "doubt")
        worker.suspect_until_s = world.state.now_s + e.grace_s
        world.fleet.update(worker)
    rewind_films(world)
    world.work_changed = True


def _tick(world: World, e: m.Tick) -> None:
    """A worker that is past its expected end may need half as long again as its task took so far."""
    now_s = world.state.now_s
    world.state.ticks += 1
    for worker in world.state.workers.values():
        if worker.held and worker.free_at_s < now_s:
            since_s = min(world.state.tasks[t].dispatched_s for t in worker.held)
            worker.free_at_s = now_s + max(PREFETCH_S, 0.5 * (now_s - since_s))
            world.fleet.update(worker)


_HANDLERS: Final[dict[type[m.Event], Callable[[World, Any], None]]] = {
    **REQUEST_HANDLERS,
    **WORKER_HANDLERS,
    **TASK_HANDLERS,
    m.ArtifactsKnown: _artifacts_known,
    m.ArtifactTorn: _artifact_torn,
    m.StoreFull: _store_full,
    m.StoreAvailable: _store_available,
    m.ClockStepped: _clock_stepped,
    m.PlanReady: _plan_ready,
    m.HeadStarted: _head_started,
    m.Tick: _tick,
}
