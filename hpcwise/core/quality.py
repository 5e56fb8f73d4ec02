"""Adaptive quality: lower rungs of the ladder for shots at risk, and only for them (StreamWise 4.5).

The next shots are played forward over the workers that can make them. A shot whose segments would come
after their deadlines is lowered until they do not; before a prominent shot is touched, less prominent ones
in front of it give way. The plan starts from the best rung each time, so that quality comes back with
slack; a shot that was lowered is raised only if it then still has `RAISE_MARGIN_S` to spare.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heapreplace

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.scheduler import Emit
from hpcwise.core.state import ENDED, HELD, RequestRecord, TaskRecord
from hpcwise.core.units import SEGMENT_S, RequestId, TaskId
from hpcwise.core.world import World

#: Shots looked ahead.
WINDOW = 16
#: Films looked at in one tick (those that grow are looked at when they do).
FILMS_A_TICK = 4
#: A lowered shot is raised again only with this much slack; shots nearer to their deadline than
#: SAFETY_S count as late.
RAISE_MARGIN_S = 1.0
SAFETY_S = 0.3


class Need(msgspec.Struct):
    """A shot that is still to be made. options: (index of the alternative, seconds), best first."""

    task_id: TaskId
    deadline_s: float
    before_s: float
    film_s: float
    prominence: float
    options: list[tuple[int, float]]
    now_at: int
    choice: int = 0
    late_s: float = 0.0


def turn(world: World) -> list[RequestId]:
    """The films whose turn it is in this tick: with many, each is looked at every few seconds."""
    live = list(world.adaptive)
    if len(live) <= FILMS_A_TICK:
        return live
    start = world.state.ticks * FILMS_A_TICK % len(live)
    return (live[start:] + live[:start])[:FILMS_A_TICK]


def adapt(world: World, emit: Emit, request_ids: Iterable[RequestId]) -> None:
    """Move shots of these films along the ladder where they are at risk, or have slack again."""
    for request_id in request_ids:
        if request_id not in world.adaptive:
            continue
        request = world.state.requests[request_id]
        needs = _needs(world, request)
        if not needs:
            continue
        model = world.state.tasks[needs[0].task_id].spec.alternatives[0].model
        free = _free_times(world, model, len(world.live))
        if not free:
            continue
        ladder(needs, free, world.state.now_s)
        for need in needs:
            chosen = need.options[need.choice][0]
            if chosen == need.now_at:
                continue
            task = world.state.tasks[need.task_id]
            tier = task.spec.alternatives[chosen].tier
            if chosen > need.now_at:
                reason = f"lowered to {tier}: would be {max(need.late_s, 0):.1f} s late"
            elif need.deadline_s - world.state.now_s < RAISE_MARGIN_S:
                continue
            else:
                reason = f"raised to {tier}: there is time again"
            emit(m.SetAlternative(need.task_id, chosen, reason))


def ladder(needs: list[Need], free_at_s: list[float], now_s: float) -> None:
    """Set `choice` of each need (in film order) so that no shot is late, at the least loss."""
    for need in needs:
        need.choice = 0
    servers = _servers(needs, free_at_s, now_s)
    for i, need in enumerate(needs):
        before = servers.copy()
        late_s = _late_s(need, servers)
        while late_s > 0:
            need.late_s = max(need.late_s, late_s)
            give = _least_loss(needs[: i + 1])
            if give is None:
                break
            give.choice += 1
            give.late_s = max(give.late_s, late_s)
            if give is not need:
                # What plays before this shot has changed: play it all again.
                before = _servers(needs, free_at_s, now_s)
                for earlier in needs[:i]:
                    _late_s(earlier, before)
            servers = before.copy()
            late_s = _late_s(need, servers)


def _servers(needs: list[Need], free_at_s: list[float], now_s: float) -> list[float]:
    """When workers are free, a heap; no more of them than there are shots to look at."""
    servers = [max(t, now_s) for t in sorted(free_at_s)[: len(needs)]]
    heapify(servers)
    return servers


def _late_s(need: Need, servers: list[float]) -> float:
    """By how much `need` misses a segment's deadline if it is made next; `servers` then has it."""
    start_s = servers[0] + need.before_s
    seconds = need.options[need.choice][1]
    heapreplace(servers, start_s + seconds)
    # Segments come evenly over the run and are needed every SEGMENT_S: the first or the last is worst.
    first_s = start_s + seconds * min(1.0, SEGMENT_S / max(need.film_s, 1e-9))
    last_due_s = need.deadline_s + max(0.0, need.film_s - SEGMENT_S)
    return max(first_s - need.deadline_s, start_s + seconds - last_due_s) + SAFETY_S


def _least_loss(needs: list[Need]) -> Need | None:
    """The shot to lower by one rung: the least prominent that has a cheaper rung, the latest of equals."""
    best: Need | None = None
    for need in needs:
        if need.choice + 1 >= len(need.options):
            continue
        if best is None or (need.prominence, -need.deadline_s) <= (best.prominence, -best.deadline_s):
            best = need
    return best


def _needs(world: World, request: RequestRecord) -> list[Need]:
    found: list[Need] = []
    for shot in request.shots[request.next_shot :]:
        task = world.state.tasks[shot.task_id]
        if task.state in ENDED or task.state in HELD or task.state == "failed":
            continue
        options = _options(world, request, task)
        if options:
            found.append(
                Need(
                    task_id=shot.task_id,
                    deadline_s=world.deadline_s(task),
                    before_s=_before_s(world, task),
                    film_s=shot.expected_s,
                    prominence=shot.prominence,
                    options=options,
                    now_at=task.alternative,
                )
            )
        if len(found) == WINDOW:
            break
    return found


def _options(world: World, request: RequestRecord, task: TaskRecord) -> list[tuple[int, float]]:
    """Alternatives from the best that the budget allows, each cheaper than the one before."""
    found: list[tuple[int, float]] = []
    for i, alternative in enumerate(task.spec.alternatives):
        info = world.config.catalogue.models.get(alternative.model)
        elo = info.elo if info else 0.0
        if i and alternative.tier != "static" and elo < request.job.elo_floor:
            continue
        if alternative.parts or f"{alternative.tier}/{alternative.model}" in task.broken:
            continue
        seconds = world.typical_s(alternative, task.scale)
        if not found or seconds < found[-1][1]:
            found.append((i, seconds))
    budget = request.job.budget_usd
    if budget is not None and request.cost_usd >= budget and found:
        return found[-1:]
    return found


def _before_s(world: World, task: TaskRecord) -> float:
    """Work that must be done for this shot before it can be filmed (its speech)."""
    total = 0.0
    for edge in task.spec.inputs:
        source = world.state.tasks[edge.source]
        if source.spec.shot == task.spec.shot and source.state not in ENDED:
            total += world.typical_s(world.alternative_of(source))
    return total


def _free_times(world: World, model: str, films: int) -> list[float]:
    """When the workers that this film may count on are free: its share of those that host `model`."""
    times = sorted(
        w.free_at_s for c in world.fleet.hosting(model) for w in c.members.values() if w.state == "joined"
    )
    share = max(1, len(times) // max(1, films))
    return times[:share] if times else []
