"""Whatever workers come and whatever is late: tasks that are moved win by it, and do not wander.

A small world of steps: workers that make them at their speed, write and read states in the time that the
price of moving counts with, and stop between two of them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.filetimes import FILE_S
from hpcwise.core.moving import ends_s
from hpcwise.core.resources import WorkerInfo
from hpcwise.core.spec import GraphTask, JobSpec

STEP_S = {"slow": 1.0, "middle": 0.5, "fast": 0.25}
TICK_S = 0.25


@dataclass
class Running:
    dispatch: m.Dispatch
    steps: int
    done: int
    pausing: bool = False


@dataclass
class World:
    """strays: factor of a worker's real step to the profile's."""

    load_s: float
    strays: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        profiles = {h: LinearProfile(per={"steps": s}) for h, s in STEP_S.items()}
        dit = ModelInfo(name="dit", family="f", profiles=profiles, load_s=self.load_s, checkpoints=True)
        hardware = {h: HardwareInfo(name=h) for h in STEP_S}
        self.engine = Engine(EngineConfig(catalogue=Catalogue(models={"dit": dit}, hardware=hardware)))
        self.now_s, self.sequence = 0.0, 0
        self.agenda: list[tuple[float, int, Callable[[], object]]] = []
        self.queues: dict[str, list[Running]] = {}
        self.busy: dict[str, Running | None] = {}
        self.hardware: dict[str, str] = {}
        self.durable: dict[str, int] = {}
        #: What was said to the engine and what it did, in order.
        self.said: list[tuple[float, m.Event, list[m.Command]]] = []
        #: Of each task that was moved and went where it was to go: when it would have ended otherwise.
        self.stays_s: dict[str, float] = {}
        self.ended_s: dict[str, float] = {}

    def at(self, time_s: float, action: Callable[[], object]) -> None:
        self.sequence += 1
        heapq.heappush(self.agenda, (time_s, self.sequence, action))

    def send(self, event: m.Event) -> None:
        held = {t: ends_s(self.engine.world, task) for t, task in self.engine.state.tasks.items()
                if task.state == "running"}  # fmt: skip
        commands = self.engine.handle(event, self.now_s)
        self.engine.check()
        self.said.append((self.now_s, event, commands))
        for c in commands:
            if isinstance(c, m.LoadModel):
                self.at(self.now_s + self.load_s, lambda c=c: self.loaded(c.worker_id))  # type: ignore[misc]
                self.busy[c.worker_id] = Running(m.Dispatch("", 0, c.worker_id, 0, "", 0.0, 0.0), 0, 0)
            elif isinstance(c, m.Dispatch):
                if not c.reason.startswith("moved here"):
                    self.stays_s.pop(c.task_id, None)
                steps = int(self.engine.state.tasks[c.task_id].spec.alternatives[0].features["steps"])
                self.queues[c.worker_id].append(Running(c, steps, self.durable.get(c.task_id, 0)))
                self.at(self.now_s, lambda c=c: self.next(c.worker_id))  # type: ignore[misc]
            elif isinstance(c, m.Pause):
                self.stays_s.pop(c.task_id, None)
                if c.to:
                    self.stays_s[c.task_id] = held[c.task_id]
                running = self.busy[c.worker_id]
                assert running is not None and running.dispatch.task_id == c.task_id
                running.pausing = True
            elif isinstance(c, m.Revoke):
                back = [r for r in self.queues[c.worker_id] if r.dispatch.task_id == c.task_id]
                self.queues[c.worker_id] = [r for r in self.queues[c.worker_id] if r not in back]
                answer = m.Revoked if back else m.TooLate
                self.at(self.now_s, lambda c=c, a=answer: self.send(a(c.task_id, c.attempt)))  # type: ignore[misc]

    def join(self, name: str, hardware: str, loaded: bool) -> None:
        self.queues[name], self.busy[name], self.hardware[name] = [], None, hardware
        models = ("dit",)
        there = models if loaded else ()
        info = WorkerInfo(worker_id=name, kind=hardware, hardware=hardware, models=models, loaded=there)
        self.send(m.WorkerJoined(info))

    def loaded(self, name: str) -> None:
        self.busy[name] = None
        self.send(m.ModelLoaded(name, "dit", self.load_s))
        self.next(name)

    def next(self, name: str) -> None:
        if self.busy[name] is not None or not self.queues[name]:
            return
        running = self.busy[name] = self.queues[name].pop(0)
        self.send(m.TaskStarted(running.dispatch.task_id, running.dispatch.attempt))
        reading_s = FILE_S if running.done else 0.0
        self.at(self.now_s + reading_s + self.step_s(name), lambda: self.stepped(name, running))

    def step_s(self, name: str) -> float:
        return STEP_S[self.hardware[name]] * self.strays.get(name, 1.0)

    def stepped(self, name: str, running: Running) -> None:
        task_id, attempt = running.dispatch.task_id, running.dispatch.attempt
        running.done += 1
        if running.done == running.steps:
            self.busy[name] = None
            self.ended_s[task_id] = self.now_s
            self.send(m.TaskFinished(task_id, attempt, seconds=1.0))
            self.next(name)
        elif running.pausing:
            self.at(self.now_s + FILE_S, lambda: self.stopped(name, running))
        else:
            self.at(self.now_s + self.step_s(name), lambda: self.stepped(name, running))
            self.send(m.TaskProgress(task_id, attempt, running.done, running.steps))

    def stopped(self, name: str, running: Running) -> None:
        self.busy[name] = None
        self.durable[running.dispatch.task_id] = running.done
        share = running.done / running.steps
        dispatch = running.dispatch
        self.send(m.TaskPaused(dispatch.task_id, dispatch.attempt, "c" * 40, running.done, share))
        self.next(name)

    def run(self) -> None:
        """Until all has come and is done."""
        tasks = self.engine.state.tasks
        while self.now_s < 31.0 or len(self.ended_s) < len(tasks):
            assert self.now_s < 5000.0, "not done"
            tick_s = self.now_s + TICK_S
            while self.agenda and self.agenda[0][0] <= tick_s:
                self.now_s, _, action = heapq.heappop(self.agenda)
                action()
            self.now_s = tick_s
            self.send(m.Tick())


WORKERS = st.lists(
    st.tuples(st.sampled_from(sorted(STEP_S)), st.floats(0.0, 30.0), st.booleans()), min_size=1, max_size=5
)
TASKS = st.lists(
    st.tuples(st.integers(4, 60), st.floats(2.0, 60.0), st.floats(0.0, 20.0)), min_size=1, max_size=6
)


def played(
    load_s: float,
    workers: list[tuple[str, float, bool]],
    tasks: list[tuple[int, float, float]],
    strays: list[float] | None = None,
) -> World:
    world = World(load_s, {f"w{k}": factor for k, factor in enumerate(strays or ())})
    for k, (hardware, from_s, loaded) in enumerate(workers):
        at_s = round(from_s, 2) if k else 0.0
        world.at(at_s, lambda k=k, h=hardware, x=loaded: world.join(f"w{k}", h, x))  # type: ignore[misc]
    jobs = []
    for k, (steps, within_s, from_s) in enumerate(tasks):
        task = GraphTask(
            name="t", stage="s", model="dit", features={"steps": float(steps)}, deadline_s=within_s,
            params={"of": k},
        )  # fmt: skip
        jobs.append(JobSpec(workflow="graph", graph=(task,)))
        at_s = round(from_s, 2) if k else 0.0
        world.at(at_s, lambda k=k: world.send(m.RequestArrived(f"r{k}", jobs[k])))  # type: ignore[misc]
    world.run()
    return world


def moves(world: World) -> dict[str, list[int]]:
    """By task: when it was taken elsewhere, as indexes into what was said."""
    found: dict[str, list[int]] = {}
    for index, (_, _, commands) in enumerate(world.said):
        for c in commands:
            if isinstance(c, m.Pause) and c.to:
                found.setdefault(c.task_id, []).append(index)
    return found


SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(st.sampled_from((0.0, 2.0, 10.0)), WORKERS, TASKS)
def test_where_profiles_are_right_a_move_never_makes_a_task_end_later(
    load_s: float, workers: list[tuple[str, float, bool]], tasks: list[tuple[int, float, float]]
) -> None:
    world = played(load_s, workers, tasks)
    for task_id, stays_s in world.stays_s.items():
        assert world.ended_s[task_id] < stays_s


@SETTINGS
@given(
    st.sampled_from((0.0, 2.0, 10.0)), WORKERS, TASKS,
    st.lists(st.sampled_from((0.5, 1.0, 3.0, 10.0)), min_size=5, max_size=5),
)  # fmt: skip
def test_no_task_moves_again_unless_workers_or_their_work_have_changed(
    load_s: float, workers: list[tuple[str, float, bool]], tasks: list[tuple[int, float, float]],
    strays: list[float],
) -> None:  # fmt: skip
    """Also where workers are far from their profiles."""
    world = played(load_s, workers, tasks, strays)
    changes = (m.WorkerJoined, m.RequestArrived, m.TaskFinished, m.TaskPaused)
    for task_id, at in moves(world).items():
        for first, second in itertools.pairwise(at):
            others = [
                event
                for _, event, _ in world.said[first + 1 : second + 1]
                if isinstance(event, changes) and getattr(event, "task_id", "") != task_id
            ]
            assert others, f"{task_id} moved twice"
    # Each move wins a share of what is left: there cannot be many of one task.
    assert all(len(at) <= len(workers) + len(tasks) for at in moves(world).values())


def test_the_world_of_these_properties_has_moves() -> None:
    world = played(2.0, [("slow", 0.0, True), ("fast", 5.0, True)], [(40, 20.0, 0.0)])
    assert {task: len(at) for task, at in moves(world).items()} == {"r0/t": 1}
    # Six steps on the slow one, a state written and read, thirty-four on the fast one.
    assert world.ended_s["r0/t"] == 6.0 + 2 * FILE_S + 34 * 0.25
