"""What events about requests and their films change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hpcwise.core import messages as m
from hpcwise.core.apply_tasks import tear
from hpcwise.core.deadlines import Positions
from hpcwise.core.spec import By
from hpcwise.core.state import HELD, LIVE_REQUEST, RequestRecord, step_request
from hpcwise.core.world import World


def _request_arrived(world: World, e: m.RequestArrived) -> None:
    state = world.state
    old = state.requests.get(e.request_id)
    if old is not None:
        if old.state in LIVE_REQUEST or old.state == "done":
            return
        for task_id in old.tasks:
            task = state.tasks[task_id]
            if task.state in HELD:
                world.strays.append((task.worker, task_id, task.attempt))
                world.release(task)
                world.unclaim(task)
            world.forget_task(task)
    if e.wall_s:
        state.wall_offset_s = e.wall_s - state.now_s
    slo = e.job.slo
    state.requests[e.request_id] = RequestRecord(
        request_id=e.request_id,
        ordinal=world.next_ordinal(),
        job=e.job,
        arrived_s=state.now_s,
        due_wall_s=slo.wall_s if isinstance(slo, By) else 0.0,
    )
    world.begin_request(state.requests[e.request_id])
    world.positions[e.request_id] = Positions()
    world.arrived.append(e.request_id)
    world.work_changed = True


def _request_cancelled(world: World, e: m.RequestCancelled) -> None:
    request = world.state.requests.get(e.request_id)
    if request is None or request.state not in LIVE_REQUEST:
        return
    end_request(world, request, "cancelled", "cancelled by the user")


def end_request(world: World, request: RequestRecord, state: str, reason: str) -> None:
    """The request is over; what has not started is dropped, what runs is noted to be cancelled."""
    step_request(request, state)
    world.finish_request(request)
    request.ended_s = world.state.now_s
    request.reason = reason
    for task_id in request.tasks:
        task = world.state.tasks[task_id]
        if task.state in HELD:
            if task.state != "cancelling":
                world.stalled[task_id] = None
        elif task.state not in ("finished", "dropped", "quarantined"):
            world.drop(task)
    for pool in world.pools.values():
        pool.forget(request.request_id)
    world.work_changed = True


def _published(world: World, e: m.Published) -> None:
    request = world.state.requests.get(e.request_id)
    if request is None or e.index != len(request.published) or request.publishing == 0:
        return
    request.published.append((world.state.now_s, request.segments[e.index].frames))
    request.publishing -= 1
    if request.start_s < 0:
        request.start_s = world.state.now_s
        world.retime(request)
    world.moved_requests[e.request_id] = None


def _film_made(world: World, e: m.FilmMade) -> None:
    request = world.state.requests.get(e.request_id)
    if request is not None and request.state in LIVE_REQUEST:
        request.film_version = max(request.film_version, e.version)
        request.film_hashes = e.hashes
        if request.film_at_s < 0:
            request.film_at_s = world.state.now_s
        world.moved_requests[e.request_id] = None


def _publish_failed(world: World, e: m.PublishFailed) -> None:
    request = world.state.requests.get(e.request_id)
    if request is None or request.state not in LIVE_REQUEST:
        return
    if not e.key:
        end_request(world, request, "failed", f"stitching failed: {e.reason}")
        return
    # The segment's bytes are gone, and whatever was asked for behind it was dropped: it is asked for again
    # once they are made again. `e.index` may be of an earlier asking, and says nothing of what was dropped.
    _take_back(world, request)
    request.film_asked = request.film_version
    tear(world, e.key)
    world.moved_requests[e.request_id] = None


def _take_back(world: World, request: RequestRecord) -> None:
    """Whatever was asked to be published and is not is no longer under way."""
    del request.segments[len(request.published) :]
    request.publishing = 0
    if request.segments:
        last = request.segments[-1]
        request.next_shot, request.next_chunk = last.shot, last.chunk + 1
    else:
        request.next_shot = request.next_chunk = 0
    world.turn_page(request)


def rewind_films(world: World) -> None:
    """Publishing is idempotent: whatever the last head had asked for and not seen done goes again."""
    for request in world.state.requests.values():
        if request.state in LIVE_REQUEST:
            _take_back(world, request)
            request.film_asked = request.film_version
            world.moved_requests[request.request_id] = None


REQUEST_HANDLERS: Final[dict[type[m.Event], Callable[[World, Any], None]]] = {
    m.RequestArrived: _request_arrived,
    m.RequestCancelled: _request_cancelled,
    m.Published: _published,
    m.FilmMade: _film_made,
    m.PublishFailed: _publish_failed,
}
