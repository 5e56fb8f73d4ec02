"""The engine: `handle(event, now) -> commands`, the only mutator of the state.

An event is applied (facts), then what follows is decided, and each decision is applied in the moment it is
taken and returned as a command. So a journal of (event, commands) can be recovered by applying both
without deciding again, and replayed by deciding again and comparing. No I/O, no clock, no randomness: the
head, the simulator and the tests drive the same code.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.apply_commands import apply_command
from hpcwise.core.apply_events import apply_event
from hpcwise.core.calls import InputRef, RunTask
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import CoreError
from hpcwise.core.film import FilmPlan, advance_film, film_plan
from hpcwise.core.invariants import check
from hpcwise.core.placement import place_models
from hpcwise.core.planner import expand, first_tasks
from hpcwise.core.preemption import preempt, relocate
from hpcwise.core.quality import adapt, turn
from hpcwise.core.recovery import (
    deliver_chunks,
    forget_old,
    leave_unloadable,
    settle_failed,
    settle_stalled,
    watch_workers,
)
from hpcwise.core.scaling import next_change_s, scale
from hpcwise.core.scheduler import assign, preload, settle_fresh, take_back
from hpcwise.core.state import LIVE_REQUEST, State, TaskRecord
from hpcwise.core.units import RequestId
from hpcwise.core.world import World

#: While requests are live, time itself is an event this often.
TICK_S = 0.25


class Engine:
    """See the module docstring; drivers call `handle`, perform the commands, and feed back events."""

    def __init__(self, config: EngineConfig, state: State | None = None) -> None:
        self.config = config
        self.state = state if state is not None else State()
        self.world = World(config, self.state)
        self._out: list[m.Command] = []

    # --- driving ------------------------------------------------------------------------------------

    def handle(self, event: m.Event, now_s: float) -> list[m.Command]:
        """Apply `event` at engine time `now_s` and return all decisions that follow, in order.

        Raises CoreError if time runs backwards; IllegalTransition is a bug.
        """
        self._advance(now_s)
        apply_event(self.world, event)
        self._out = []
        self._decide(event)
        self.world.clear_notes()
        out, self._out = self._out, []
        return out

    def apply_recorded(self, event: m.Event, commands: Sequence[m.Command], now_s: float) -> None:
        """Recovery: what was decided then is applied; nothing is decided again."""
        self._advance(now_s)
        apply_event(self.world, event)
        for command in commands:
            apply_command(self.world, command)
        self.world.clear_notes()

    def next_wakeup_s(self) -> float | None:
        """Engine time at which a Tick is wanted; None while nothing but events can change anything."""
        state = self.state
        if self.world.live or state.killed:
            return state.now_s + TICK_S
        if any(w.state == "suspect" or w.held for w in state.workers.values()):
            return state.now_s + TICK_S
        return next_change_s(self.world)

    @property
    def now_s(self) -> float:
        return self.state.now_s

    @property
    def state_version(self) -> int:
        return self.state.version

    # --- reading ------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return msgspec.msgpack.encode((m.MESSAGES_VERSION, self.state))

    @classmethod
    def restore(cls, config: EngineConfig, snapshot: bytes) -> Engine:
        """The engine of a snapshot; raises CoreError for one of another version."""
        version, state = msgspec.msgpack.decode(snapshot, type=tuple[int, msgspec.Raw])
        if version != m.MESSAGES_VERSION:
            raise CoreError(f"snapshot of version {version}, this is version {m.MESSAGES_VERSION}")
        return cls(config, msgspec.msgpack.decode(state, type=State))

    def check(self) -> None:
        """Raise InvariantBroken if the state contradicts itself; for tests, after every event."""
        check(self.world)

    def run_message(self, dispatch: m.Dispatch) -> RunTask:
        """All that a worker needs for the attempt of `dispatch`."""
        task = self.state.tasks[dispatch.task_id]
        alternative = task.spec.alternatives[dispatch.alternative]
        spec = task.spec
        params = spec.params
        if alternative.params or spec.local:
            params = {**spec.params, **alternative.params, **spec.local}
        return RunTask(
            task_id=dispatch.task_id,
            attempt=dispatch.attempt,
            stage=spec.stage,
            model=alternative.model,
            key=dispatch.key,
            params=params,
            features=alternative.features,
            seed=spec.seed,
            first_chunk=dispatch.first_chunk,
            checkpoint=dispatch.checkpoint,
            deadline_s=dispatch.deadline_s,
            expected_s=dispatch.expected_s,
            inputs=tuple(self._inputs(task)) if spec.inputs else (),
        )

    def film_plan(self, request_id: RequestId, live: bool) -> FilmPlan:
        """What stitching needs; see core/film.py."""
        return film_plan(self.world, request_id, live)

    # --- deciding -----------------------------------------------------------------------------------

    def _advance(self, now_s: float) -> None:
        if now_s < self.state.now_s:
            raise CoreError(f"time ran backwards: {now_s} after {self.state.now_s}")
        self.state.now_s = now_s
        self.state.version += 1

    def _emit(self, command: m.Command) -> None:
        apply_command(self.world, command)
        self._out.append(command)

    def _decide(self, event: m.Event) -> None:
        world, emit = self.world, self._emit
        if world.arrived:
            arrived, world.arrived = world.arrived, []
            for request_id in arrived:
                emit(first_tasks(self.state.requests[request_id], self.config))
        if type(event) is m.Tick:
            watch_workers(world, emit)
            forget_old(world, emit)
        tick = type(event) is m.Tick
        grew = self._settle()
        if world.policy.adaptive and (grew or tick):
            adapt(world, emit, grew or turn(world))
            self._settle()
        open_work = world.work_changed or tick
        while open_work:
            world.work_changed = False
            assign(world, emit)
            self._settle()
            open_work = world.work_changed
        if type(event) in _PRELOADS:
            preload(world, emit)
        if self.state.holds and type(event) in _PLACES:
            place_models(world, emit)
        if world.streamed:
            deliver_chunks(world, emit)
        if tick:
            take_back(world, emit)
            preempt(world, emit)
            relocate(world, emit)
        if type(event) in _SCALES:
            scale(world, emit)

    def _settle(self) -> dict[RequestId, None]:
        """Take up what is noted until nothing is left; the requests that grew.

        Each kind can leave more to do for the others: a cached chunk expands into tasks that are cached in
        turn, a film that is whole brings remakes, a request that ends has attempts to stop.
        """
        world, emit = self.world, self._emit
        grew: dict[RequestId, None] = {}
        if self.state.unloadable and world.work_changed:
            leave_unloadable(world, emit)
        while (
            world.failed or world.grown or world.fresh or world.stalled or world.strays
            or world.moved_requests
        ):  # fmt: skip
            if world.failed:
                settle_failed(world, emit)
            if world.grown:
                grew.update(self._grow())
            if world.fresh:
                settle_fresh(world, emit)
                if self.state.unloadable:
                    leave_unloadable(world, emit)
            if world.stalled or world.strays:
                settle_stalled(world, emit)
            self._advance_films()
        return grew

    def _grow(self) -> dict[RequestId, None]:
        grew: dict[RequestId, None] = {}
        grown, self.world.grown = self.world.grown, []
        for task_id, chunk in grown:
            task = self.state.tasks[task_id]
            request = self.world.request_of(task)
            if request.state in LIVE_REQUEST:
                facts = self.state.artifacts[task.key].chunk_facts[chunk]
                self._emit(expand(request, task, self.state.tasks, facts, self.config))
                grew[request.request_id] = None
        return grew

    def _advance_films(self) -> None:
        while self.world.moved_requests:
            moved, self.world.moved_requests = self.world.moved_requests, {}
            for request_id in moved:
                advance_film(self.world, self._emit, request_id)

    def _inputs(self, task: TaskRecord) -> list[InputRef]:
        refs = []
        for edge in task.spec.inputs:
            source = self.state.tasks[edge.source]
            artifact = self.state.artifacts[source.key]
            refs.append(
                InputRef(
                    name=edge.name,
                    kind=edge.kind,
                    key=source.key,
                    n_chunks=artifact.n_chunks,
                    done=artifact.done,
                    inline_facts=tuple(artifact.chunk_facts) if artifact.inline else None,
                    only=edge.chunk,
                )
            )
        return refs


#: Events after which an idle worker may have a model to load that will soon be wanted.
_PRELOADS = frozenset({m.Tick, m.RequestArrived, m.WorkerJoined, m.ModelLoaded, m.TaskFinished})
#: Events after which a worker may lack what the plan says that it holds.
_PLACES = frozenset({m.Tick, m.PlanReady, m.WorkerJoined, m.ModelLoaded})
#: Events after which the number of workers may be wrong.
_SCALES = frozenset(
    {m.Tick, m.RequestArrived, m.WorkerLost, m.LaunchFailed, m.WorkerDraining, m.PlanReady, m.HeadStarted}
)
