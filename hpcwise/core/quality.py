"""Adaptive quality: lower rungs of the ladder for shots at risk, and only for them (StreamWise 4.5).

The next shots are played forward over the workers that can make them. A shot whose segments would come
after their deadlines is lowered until they do not; before a prominent shot is touched, less prominent ones
in front of it give way. The plan starts from the best rung each time, so that quality comes back with
slack; a shot that was lowered is raised only if it then still has `RAISE_MARGIN_S` to spare.

What a shot is made from (a sketch, its decoding) goes with it where that has rungs too; of several shots made
from one sketch, the first, which needs it soonest, decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.scheduler import Emit
from hpcwise.core.state import ENDED, HELD, RequestRecord, TaskRecord
from hpcwise.core.units import SEGMENT_S, RequestId, TaskId
from hpcwise.core.workflow import Alternative
from hpcwise.core.world import World

#: Shots looked ahead.
WINDOW = 16
#: Films looked at in one tick (those that grow are looked at when they do).
FILMS_A_TICK = 4
#: A lowered shot is raised again only with this much slack; shots nearer to their deadline than
#: SAFETY_S count as late.
RAISE_MARGIN_S = 1.0
SAFETY_S = 0.3


#: When a worker is free, and how many times the fastest one's seconds it takes.
Server = tuple[float, float]


class Need(msgspec.Struct):
    """A shot that is still to be made. options: (index of the alternative, seconds on the fastest worker),
    best first. before_s: work for it that its own workers do first; ready_s: engine time at which the work of
    others for it is done, after_s: what others do after it (enlarging), both by option."""

    task_id: TaskId
    deadline_s: float
    before_s: float
    film_s: float
    prominence: float
    options: list[tuple[int, float]]
    now_at: int
    ready_s: list[float] = []
    after_s: list[float] = []
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
        best = world.state.tasks[needs[0].task_id].spec.alternatives[0]
        servers = _servers_of(world, best, len(world.live))
        if not servers:
            continue
        ladder(needs, servers, world.state.now_s)
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
            if need.ready_s:
                _follow(world, emit, task, reason)


def ladder(needs: list[Need], servers: list[Server], now_s: float) -> None:
    """Set `choice` of each need (in film order) so that no shot is late, at the least loss."""
    for need in needs:
        need.choice = 0
    start = nsmallest(len(needs), ((max(free_s, now_s), slower) for free_s, slower in servers))
    free = start.copy()
    for i, need in enumerate(needs):
        before = free.copy()
        late_s = _late_s(need, free)
        while late_s > 0:
            need.late_s = max(need.late_s, late_s)
            give = _least_loss(needs[: i + 1])
            if give is None:
                break
            give.choice += 1
            give.late_s = max(give.late_s, late_s)
            if give is not need:
                # What plays before this shot has changed: play it all again.
                before = start.copy()
                for earlier in needs[:i]:
                    _late_s(earlier, before)
            free = before.copy()
            late_s = _late_s(need, free)


def _late_s(need: Need, servers: list[Server]) -> float:
    """By how much `need` misses a segment's deadline if it is made next, where it ends first; `servers` then
    has it."""
    seconds = need.options[need.choice][1]
    ready_s = need.ready_s[need.choice] if need.ready_s else float("-inf")
    best, start_s, end_s = 0, 0.0, float("inf")
    for i, (free_s, slower) in enumerate(servers):
        begin_s = free_s + need.before_s
        if begin_s < ready_s:
            begin_s = ready_s
        if begin_s + seconds * slower < end_s:
            best, start_s, end_s = i, begin_s, begin_s + seconds * slower
    servers[best] = (end_s, servers[best][1])
    # Segments come evenly over the run and are needed every SEGMENT_S: the first or the last is worst.
    first_s = start_s + (end_s - start_s) * min(1.0, SEGMENT_S / max(need.film_s, 1e-9))
    last_due_s = need.deadline_s + max(0.0, need.film_s - SEGMENT_S)
    after_s = need.after_s[need.choice] if need.after_s else 0.0
    return max(first_s - need.deadline_s, end_s - last_due_s) + after_s + SAFETY_S


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
    # There other workers make what a shot is made from, with rungs of its own. (The voices of the embedded
    # film are no rungs: a drawn shot that is lowered keeps its speech.)
    apart = request.job.workflow == "streamwise-podcast"
    for shot in request.shots[request.next_shot :]:
        task = world.state.tasks[shot.task_id]
        if task.state in ENDED or task.state in HELD or task.state == "failed":
            continue
        if (part := _part_of(world, task)) is not None:
            # Enlarged, decided: what it is enlarged from takes a worker's time until that worker has it.
            if part.state not in ENDED and part.state not in HELD:
                found.append(_decided(world, task, part))
            continue
        options = _options(world, request, task)
        if options:
            others = apart and any(
                len(world.state.tasks[e.source].spec.alternatives) > 1 for e in task.spec.inputs
            )
            tiers = [task.spec.alternatives[i].tier for i, _ in options] if others else []
            found.append(
                Need(
                    task_id=shot.task_id,
                    deadline_s=world.deadline_s(task),
                    before_s=0.0 if others else _before_s(world, task),
                    film_s=shot.expected_s,
                    prominence=shot.prominence,
                    options=options,
                    now_at=task.alternative,
                    ready_s=[_ready_s(world, task, tier) for tier in tiers],
                    after_s=[_after_s(world, task, i) for i, _ in options],
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
        if f"{alternative.tier}/{alternative.model}" in task.broken:
            continue
        seconds = world.typical_s(alternative, task.scale) - _after_s(world, task, i)
        if not found or seconds < found[-1][1]:
            found.append((i, seconds))
    budget = request.job.budget_usd
    if budget is not None and request.cost_usd >= budget and found:
        return found[-1:]
    return found


def _part_of(world: World, task: TaskRecord) -> TaskRecord | None:
    """The task before `task` in the chain that its rung became, if it became one."""
    prefix = f"{task.spec.task_id}/"
    for edge in task.spec.inputs:
        if edge.source.startswith(prefix):
            return world.state.tasks[edge.source]
    return None


def _decided(world: World, task: TaskRecord, part: TaskRecord) -> Need:
    """What is left to place of a shot whose rung can no longer change."""
    shot = world.request_of(task).shots[task.spec.shot]
    alternative = world.alternative_of(part)
    return Need(
        task_id=part.spec.task_id,
        deadline_s=world.deadline_s(part),
        before_s=0.0,
        film_s=shot.expected_s,
        prominence=shot.prominence,
        options=[(part.alternative, world.typical_s(alternative, part.scale))],
        now_at=part.alternative,
        ready_s=[_ready_s(world, part, alternative.tier)],
    )


def _after_s(world: World, task: TaskRecord, index: int) -> float:
    """What others do once the alternative's own model has made it: the parts of other models."""
    made = task.spec.alternatives[index]
    if not made.parts:
        return 0.0
    parts = [part for part in made.parts if part.model != made.model]
    return sum(
        world.typical_s(Alternative(tier=made.tier, model=p.model, features=p.features), task.scale)
        for p in parts
    )


def _before_s(world: World, task: TaskRecord) -> float:
    """Work that must be done for this shot before it can be filmed (its speech)."""
    total = 0.0
    for edge in task.spec.inputs:
        source = world.state.tasks[edge.source]
        if source.spec.shot == task.spec.shot and source.state not in ENDED:
            total += world.typical_s(world.alternative_of(source))
    return total


def _ready_s(world: World, task: TaskRecord, tier: str) -> float:
    """Engine time at which all inputs of `task` can be there, if what it leads is made at `tier`."""
    now_s = world.state.now_s
    at_s = now_s
    for edge in task.spec.inputs:
        source = world.state.tasks[edge.source]
        if world.edge_met(edge):
            continue
        alternative = world.alternative_of(source)
        if _leads(world, task, source):
            alternative = source.spec.alternatives[_at_tier(source, tier)]
        seconds = world.typical_s(alternative, source.scale)
        if edge.chunk >= 0:
            seconds *= (edge.chunk + 1) / max(edge.chunk + 1, int(source.spec.params.get("chunks", 1)))
        begun_s = source.started_s if source.started_s >= 0 else _ready_s(world, source, tier)
        at_s = max(at_s, begun_s + seconds)
    return at_s


def _leads(world: World, task: TaskRecord, source: TaskRecord) -> bool:
    """Whether the rung of `source` is for `task` to choose: it can change, and no earlier task has it."""
    if len(source.spec.alternatives) < 2 or source.state not in ("waiting", "ready"):
        return False
    users = (world.state.tasks[user] for user in world.consumers[source.spec.task_id])
    return all(user.spec.order >= task.spec.order for user in users if not user.spec.remake_of)


def _at_tier(source: TaskRecord, tier: str) -> int:
    """The alternative of that rung, or the one that the task has."""
    tiers = [alternative.tier for alternative in source.spec.alternatives]
    return tiers.index(tier) if tier in tiers else source.alternative


def _follow(world: World, emit: Emit, task: TaskRecord, reason: str) -> None:
    """What `task` leads takes its rung."""
    tier = world.alternative_of(task).tier
    for edge in task.spec.inputs:
        source = world.state.tasks[edge.source]
        if not _leads(world, task, source):
            continue
        chosen = _at_tier(source, tier)
        if chosen != source.alternative:
            emit(m.SetAlternative(source.spec.task_id, chosen, reason))
        _follow(world, emit, source, reason)


def _servers_of(world: World, best: Alternative, films: int) -> list[Server]:
    """The workers that this film may count on, its share of those that host the model of its shots: when
    each is free, and how many times the fastest one's time it takes."""
    classes = world.fleet.hosting(best.model)
    times = [
        world.profiles.expected_s(best.model, cls.hardware, best.features, cls.n_devices) for cls in classes
    ]
    least_s = max(1e-9, min(times, default=0.0))
    found: list[Server] = []
    n = 0
    for cls, each_s in zip(classes, times, strict=True):
        slower = each_s / least_s
        free = [w.free_at_s for w in cls.members.values() if w.state == "joined"]
        n += len(free)
        # No more than there are shots to look at can matter.
        found += [(free_s, slower) for free_s in nsmallest(WINDOW, free)]
    return sorted(found)[: max(1, n // max(1, films))]
