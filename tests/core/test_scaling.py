"""How many workers there are: by plan or demand, successors in time, launches taken back, models placed."""

from __future__ import annotations

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.resources import FleetItem, WorkerInfo
from hpcwise.core.scaling import KEEP_LAUNCH_S
from hpcwise.core.spec import GraphTask, JobSpec

MODELS = {
    name: ModelInfo(
        name=name, family="t", memory_gb=6.0, load_s=5.0, profiles={"gpu": LinearProfile(base_s=40.0)}
    )
    for name in ("a", "b")
}


class World:
    """An engine whose commands are kept; nothing answers but the test."""

    def __init__(self, **fields: object) -> None:
        item = {
            "kind": "k",
            "hardware": "gpu",
            "models": ("a", "b"),
            "max_workers": 4,
            "memory_gb": 10.0,
            **fields,
        }
        fleet = (msgspec.convert(item, FleetItem),)
        config = EngineConfig(catalogue=Catalogue(models=MODELS), fleet=fleet, planned="planned" in fields)
        self.engine = Engine(config)
        self.said: list[m.Command] = []

    def at(self, now_s: float, event: m.Event) -> list[m.Command]:
        found = self.engine.handle(event, now_s)
        self.engine.check()
        self.said += found
        return found

    def join(self, now_s: float, token: str, **fields: object) -> list[m.Command]:
        info = {
            "worker_id": token,
            "kind": "k",
            "hardware": "gpu",
            "launch": token,
            "models": ("a", "b"),
            "memory_gb": 10.0,
        }
        return self.at(now_s, m.WorkerJoined(msgspec.convert({**info, **fields}, WorkerInfo)))

    def job(self, now_s: float, n: int = 1, name: str = "r", model: str = "a") -> list[m.Command]:
        tasks = tuple(
            GraphTask(name=f"t{i}", stage="s", model=model, params={"i": i, "r": name}) for i in range(n)
        )
        return self.at(now_s, m.RequestArrived(name, JobSpec(workflow="graph", graph=tasks)))


def of(commands: list[m.Command], kind: type[m.Command]) -> list[m.Command]:
    return [c for c in commands if type(c) is kind]


def test_a_launch_that_nobody_wants_any_more_is_taken_back_and_says_so_once() -> None:
    world = World()
    tokens = [c.token for c in of(world.job(1.0, n=3), m.Launch)]  # type: ignore[attr-defined]
    assert len(tokens) == 3
    assert of(world.at(2.0, m.RequestCancelled("r")), m.CancelLaunch) == []
    # Nothing but time is left to happen, and the engine asks to be woken for it.
    assert world.engine.next_wakeup_s() == 1.0 + KEEP_LAUNCH_S
    back = of(world.at(1.0 + KEEP_LAUNCH_S, m.Tick()), m.CancelLaunch)
    assert back == [m.CancelLaunch(token, "no longer wanted") for token in reversed(tokens)]
    assert world.engine.state.launches == {}
    assert world.engine.next_wakeup_s() is None
    # A worker that comes all the same is one more idle worker, and what fails now is no news.
    world.join(20.0, tokens[0])
    assert of(world.at(21.0, m.LaunchFailed(tokens[1], "cancelled")), m.Launch) == []
    assert world.engine.state.refusals == {}


def test_by_demand_a_kind_is_launched_for_tasks_that_it_can_do_and_for_no_others() -> None:
    world = World(models=("b",))
    assert of(world.job(1.0, n=3), m.Launch) == []
    asked = of(world.job(2.0, n=2, name="other", model="b"), m.Launch)
    assert len(asked) == 2
    token = asked[0].token  # type: ignore[attr-defined]
    world.join(3.0, token, models=("b",))
    [sent] = of(world.said, m.Dispatch)
    world.at(4.0, m.RequestCancelled("other"))
    world.at(5.0, m.TaskCancelled(sent.task_id, sent.attempt))  # type: ignore[attr-defined]
    # It is idle, although three tasks are still to be done: they are not for it.
    drained = of(world.at(70.0, m.Tick()), m.Drain)
    assert [c.worker_id for c in drained] == [token]  # type: ignore[attr-defined]


def test_the_successor_of_a_worker_is_asked_for_before_its_allocation_ends_and_once() -> None:
    world = World(min_workers=1, max_workers=1, launch_s=20.0)
    [launch] = of(world.at(0.0, m.HeadStarted(1)), m.Launch)
    world.join(20.0, launch.token, lifetime_s=1000.0)  # type: ignore[attr-defined]
    # One and a half usual waits of 20 s and a margin of 15 s before the end at 1020 s.
    wake_s = world.engine.next_wakeup_s()
    assert wake_s == 1020.0 - 45.0
    assert of(world.at(wake_s - 1.0, m.Tick()), m.Launch) == []
    [successor] = of(world.at(wake_s, m.Tick()), m.Launch)
    assert of(world.at(wake_s + 5.0, m.Tick()), m.Launch) == []
    world.join(wake_s + 20.0, successor.token, lifetime_s=1000.0)  # type: ignore[attr-defined]
    # The old one is not drained before it has been idle for the usual time, nor the new one instead.
    drained = of(world.at(wake_s + 21.0, m.Tick()), m.Drain)
    assert [d.worker_id for d in drained] == [launch.token]  # type: ignore[attr-defined]
    assert of(world.at(1020.0, m.WorkerLost(launch.token, "left")), m.Launch) == []  # type: ignore[attr-defined]


def test_a_successor_waits_as_long_as_the_last_launches_did() -> None:
    world = World(min_workers=1, max_workers=1, launch_s=1.0)
    [launch] = of(world.at(0.0, m.HeadStarted(1)), m.Launch)
    world.join(100.0, launch.token, lifetime_s=2000.0)  # type: ignore[attr-defined]
    assert world.engine.state.waits == {"k": 100.0}
    assert world.engine.next_wakeup_s() == 2100.0 - (1.5 * 100.0 + 15.0)


def test_a_short_allocation_is_not_replaced_before_half_of_it_is_over() -> None:
    world = World(min_workers=1, max_workers=1, launch_s=60.0)
    [launch] = of(world.at(0.0, m.HeadStarted(1)), m.Launch)
    world.join(60.0, launch.token, lifetime_s=100.0)  # type: ignore[attr-defined]
    assert world.engine.next_wakeup_s() == 60.0 + 50.0


def test_with_a_provisioner_nothing_is_launched_before_its_first_answer_and_then_what_it_says() -> None:
    world = World(planned=True)
    assert of(world.job(1.0, n=3), m.Launch) == []
    assert len(of(world.at(1.2, m.PlanReady(1, {"k": 2})), m.Launch)) == 2
    # A kind that a plan does not name is left to demand, here three tasks.
    assert len(of(world.at(2.0, m.PlanReady(2, {})), m.Launch)) == 1
    assert world.engine.state.plans == 2


def test_idle_workers_load_what_the_plan_says_and_make_room_for_it() -> None:
    world = World()
    world.job(1.0, n=2)
    names = list(world.engine.state.launches)
    for name in names:
        world.join(2.0, name, loaded=("a",))
    for task_id in ("r/t0", "r/t1"):
        task = world.engine.state.tasks[task_id]
        world.at(3.0, m.TaskFinished(task_id, task.attempt, inline=True))
    holds = (m.Hold("k", ("a",), 1), m.Hold("k", ("b",), 1))
    told = world.at(4.0, m.PlanReady(1, {"k": 2}, holds))
    assert told == [m.UnloadModel(names[1], "a"), m.LoadModel(names[1], "b")]
    world.at(4.1, m.ModelUnloaded(names[1], "a"))
    world.at(9.0, m.ModelLoaded(names[1], "b", 4.9))
    assert [c for c in world.at(9.5, m.Tick()) if isinstance(c, m.LoadModel | m.UnloadModel)] == []


def test_a_plan_in_the_journal_is_applied_again_and_not_made_again() -> None:
    world = World(planned=True)
    again = Engine(world.engine.config)
    events: list[tuple[float, m.Event]] = [
        (
            1.0,
            m.RequestArrived(
                "r", JobSpec(workflow="graph", graph=(GraphTask(name="t", stage="s", model="a"),))
            ),
        ),
        (1.1, m.PlanReady(1, {"k": 3}, (m.Hold("k", ("a",), 3),), "start", 9.0)),
        (2.0, m.RequestCancelled("r")),
        (2.0 + KEEP_LAUNCH_S, m.PlanReady(3, {"k": 0})),
    ]
    for at_s, event in events:
        commands = world.at(at_s, event)
        again.apply_recorded(event, commands, at_s)
    assert len(of(world.said, m.CancelLaunch)) == 3
    assert again.snapshot() == world.engine.snapshot()


def two_pools() -> World:
    world = World(min_workers=1, max_workers=1)
    [item] = world.engine.config.fleet
    fleet = (item, msgspec.structs.replace(item, kind="other"))
    world.engine = Engine(msgspec.structs.replace(world.engine.config, fleet=fleet))
    return world


def test_what_one_pool_refuses_keeps_nobody_from_asking_another() -> None:
    world = two_pools()
    now_s = 0.0
    asked = of(world.at(now_s, m.HeadStarted(1)), m.Launch)
    refused, other = (c.token for c in asked)  # type: ignore[attr-defined]
    waits = []
    for _ in range(12):
        assert of(world.at(now_s, m.LaunchFailed(refused, "a limit is reached")), m.Launch) == []
        wake_s = world.engine.next_wakeup_s()
        assert wake_s is not None
        waits.append(wake_s - now_s)
        now_s = wake_s
        [again] = of(world.at(now_s, m.Tick()), m.Launch)
        refused = again.token  # type: ignore[attr-defined]
    # Doubled up to ten minutes, and never given up.
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 600.0, 600.0]
    assert of(world.at(now_s, m.LaunchFailed(other, "its node went down")), m.Launch) == []
    [again] = of(world.at(now_s + 1.0, m.Tick()), m.Launch)
    assert again.kind == "other"  # type: ignore[attr-defined]


def test_a_worker_that_joins_and_a_new_head_forget_what_was_refused() -> None:
    world = two_pools()
    first, _ = of(world.at(0.0, m.HeadStarted(1)), m.Launch)
    world.at(0.0, m.LaunchFailed(first.token, "no"))  # type: ignore[attr-defined]
    [second] = of(world.at(1.0, m.Tick()), m.Launch)
    world.join(2.0, second.token)  # type: ignore[attr-defined]
    assert world.engine.state.refusals == {}
    [third] = of(world.at(3.0, m.WorkerLost(second.token, "gone")), m.Launch)  # type: ignore[attr-defined]
    assert of(world.at(3.0, m.LaunchFailed(third.token, "no")), m.Launch) == []  # type: ignore[attr-defined]
    [again] = of(world.at(3.5, m.HeadStarted(2)), m.Launch)
    assert again.kind == "k"  # type: ignore[attr-defined]
