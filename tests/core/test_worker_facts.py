"""What workers measure and the engine believes: memory that is short, sizes, joules, and who is not well."""

from __future__ import annotations

import pytest

from hpcwise.core import messages as m
from hpcwise.core.apply_workers import SHORT_S
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.report import receipt
from hpcwise.core.resources import FleetItem, WorkerInfo
from hpcwise.core.spec import GraphTask, JobSpec

NAMES = ("wan", "vae")
NO_ROOM = "NoRoom: wan needs 40 GB, 12.0 GB of 80.0 GB are on GPU 0 free; held by process 7 (python) 30.0 GB"


def engine(**fleet: int) -> Engine:
    models = {
        name: ModelInfo(
            name=name, family="t", memory_gb=gb, load_s=5.0, profiles={"gpu": LinearProfile(base_s=10.0)}
        )
        for name, gb in zip(NAMES, (40.0, 38.0), strict=True)
    }
    hardware = {"gpu": HardwareInfo(name="gpu", usd_per_h=3.6, busy_w=500.0)}
    items = (FleetItem(kind="k", hardware="gpu", models=NAMES, **fleet),) if fleet else ()
    return Engine(EngineConfig(catalogue=Catalogue(models=models, hardware=hardware), fleet=items))


def join(e: Engine, name: str, now_s: float) -> list[m.Command]:
    info = WorkerInfo(
        worker_id=name, kind="k", hardware="gpu", launch=name, models=NAMES, memory_gb=80.0
    )  # fmt: skip
    return e.handle(m.WorkerJoined(info), now_s)


def ask(e: Engine, name: str, model: str, now_s: float) -> list[m.Command]:
    only = GraphTask(name="t", stage="s", model=model, params={"of": name})
    return e.handle(m.RequestArrived(name, JobSpec(workflow="graph", graph=(only,))), now_s)


def attempt(e: Engine, name: str) -> int:
    return e.state.tasks[f"{name}/t"].attempt


def start(e: Engine, name: str, now_s: float) -> None:
    e.handle(m.TaskStarted(f"{name}/t", attempt(e, name)), now_s)


def test_memory_that_others_hold_is_no_reason_to_give_a_model_up_there() -> None:
    e = engine()
    join(e, "w", 0.0)
    assert m.LoadModel("w", "vae") in ask(e, "first", "vae", 0.0)
    e.handle(m.ModelLoaded("w", "vae", 5.0, memory_gb=38.5), 1.0)
    e.handle(m.TaskFinished("first/t", attempt(e, "first")), 2.0)
    # By the cards both fit. Somebody else holds 30 GB.
    sent = ask(e, "r", "wan", 3.0)
    assert m.LoadModel("w", "wan") in sent and not [c for c in sent if isinstance(c, m.UnloadModel)]
    start(e, "r", 3.0)
    assert e.handle(m.ModelLoadFailed("w", "wan", NO_ROOM, transient=True, free_gb=12.0), 4.0) == []
    again = e.handle(m.TaskFailed("r/t", attempt(e, "r"), NO_ROOM, transient=True), 4.0)
    e.check()
    # The next attempt makes room first, with what this worker can unload.
    assert [c for c in again if isinstance(c, m.UnloadModel | m.LoadModel)] == [
        m.UnloadModel("w", "vae"), m.LoadModel("w", "wan")
    ]  # fmt: skip
    e.handle(m.ModelUnloaded("w", "vae"), 4.1)
    e.handle(m.ModelLoaded("w", "wan", 5.0), 9.0)
    assert e.state.workers["w"].info.models == NAMES and e.state.unloadable == {}
    e.handle(m.TaskFinished("r/t", attempt(e, "r")), 19.0)
    e.check()
    assert e.state.requests["r"].state == "done"


def test_where_nothing_of_ours_can_be_unloaded_another_worker_has_it_or_it_waits() -> None:
    e = engine()
    join(e, "w", 0.0)
    ask(e, "r", "wan", 0.0)
    start(e, "r", 0.0)
    e.handle(m.ModelLoadFailed("w", "wan", NO_ROOM, transient=True, free_gb=12.0), 1.0)
    assert e.handle(m.TaskFailed("r/t", attempt(e, "r"), NO_ROOM, transient=True), 1.0) == [
        m.Requeue("r/t", NO_ROOM, counts=False)
    ]
    assert not [c for c in e.handle(m.Tick(), 1.0 + SHORT_S - 0.1) if isinstance(c, m.Dispatch)]
    other = join(e, "other", 1.0 + SHORT_S - 0.1)
    assert [c.worker_id for c in other if isinstance(c, m.Dispatch)] == ["other"]
    e.handle(m.TaskFinished("r/t", attempt(e, "r")), 30.95)
    # Later it is tried there again: whoever held the memory may be gone.
    e.handle(m.WorkerLost("other", "evicted"), 30.96)
    ask(e, "r2", "wan", 30.97)
    sent = e.handle(m.Tick(), 1.0 + SHORT_S)
    assert [c.worker_id for c in sent if isinstance(c, m.Dispatch)] == ["w"]
    e.check()


def test_a_model_that_takes_more_than_its_card_says_is_booked_with_what_it_takes() -> None:
    e = engine()
    join(e, "w", 0.0)
    ask(e, "first", "wan", 0.0)
    e.handle(m.ModelLoaded("w", "wan", 5.0, memory_gb=43.0), 5.0)
    e.handle(m.TaskFinished("first/t", attempt(e, "first")), 15.0)
    assert m.UnloadModel("w", "wan") in ask(e, "r", "vae", 16.0)
    # One that takes less keeps its card's: that counts what it computes with.
    e = engine()
    join(e, "w", 0.0)
    ask(e, "first", "wan", 0.0)
    e.handle(m.ModelLoaded("w", "wan", 5.0, memory_gb=30.0), 5.0)
    e.handle(m.TaskFinished("first/t", attempt(e, "first")), 15.0)
    assert not [c for c in ask(e, "r", "vae", 16.0) if isinstance(c, m.UnloadModel)]


def test_a_fresh_process_of_a_worker_gets_its_work_again_at_once_and_loads_it_again() -> None:
    e = engine()
    join(e, "w", 0.0)
    ask(e, "r", "wan", 0.0)
    start(e, "r", 0.0)
    e.handle(m.ModelLoaded("w", "wan", 5.0), 5.0)
    e.handle(m.TaskProgress("r/t", attempt(e, "r"), 6, 10, saved=0.6), 11.0)
    # Its last words got lost: it says hello, and holds nothing.
    sent = join(e, "w", 12.0)
    e.check()
    lost = "the worker no longer has it"
    # It had got on: no blame.
    assert sent[:2] == [
        m.Requeue("r/t", lost, counts=False, blameless=True), m.LoadModel("w", "wan")
    ]  # fmt: skip
    (again,) = [c for c in sent if isinstance(c, m.Dispatch)]
    assert again.worker_id == "w" and again.expected_s == pytest.approx(5.0 + 4.0)
    # A load that ended with the old process bars nothing.
    e.handle(m.ModelLoadFailed("w", "wan", "AcceleratorError: CUDA error: x", transient=True), 13.0)
    assert e.state.workers["w"].info.models == NAMES and e.state.unloadable == {}


def test_a_receipt_tells_joules_that_were_measured_from_those_that_are_estimated() -> None:
    e = engine()
    join(e, "w", 0.0)
    ask(e, "r", "wan", 0.0)
    start(e, "r", 0.0)
    # One attempt that failed, one that was paused, and one that made it; the last could not be measured.
    e.handle(m.TaskFailed("r/t", attempt(e, "r"), "x", transient=True, energy_j=700.0), 2.0)
    start(e, "r", 2.0)
    e.handle(m.TaskCancelled("r/t", attempt(e, "r"), energy_j=900.0), 4.0)
    start(e, "r", 4.0)
    e.handle(m.TaskFinished("r/t", attempt(e, "r"), seconds=3.0), 7.0)
    e.check()
    made = receipt(e, "r")
    assert made.energy_measured_j == 1600.0
    assert made.energy_j == pytest.approx(1600.0 + 3.0 * 500.0)
    assert made.cost_usd == pytest.approx(7.0 * 3.6 / 3600)


def test_what_a_paused_attempt_has_taken_is_charged() -> None:
    e = engine()
    join(e, "w", 0.0)
    ask(e, "r", "wan", 0.0)
    start(e, "r", 0.0)
    task = e.state.tasks["r/t"]
    task.state = "pausing"
    e.handle(m.TaskPaused("r/t", attempt(e, "r"), "", 3, energy_j=1234.0), 5.0)
    assert (task.measured_j, task.energy_j) == (1234.0, 1234.0)
    assert task.cost_usd == pytest.approx(5.0 * 3.6 / 3600)


def test_the_successor_of_an_unhealthy_worker_is_asked_for_later_each_time_until_one_works() -> None:
    e = engine(max_workers=1)
    launched = [c for c in ask(e, "r", "wan", 0.0) if isinstance(c, m.Launch)]
    now_s, waits = 0.0, []
    for _ in range(3):
        token = launched[0].token
        join(e, token, now_s)
        assert not [c for c in e.handle(m.WorkerLost(token, "left: unhealthy: x", True), now_s)
                    if isinstance(c, m.Launch)]  # fmt: skip
        lost_s = now_s
        while not (launched := [c for c in e.handle(m.Tick(), now_s) if isinstance(c, m.Launch)]):
            now_s += 0.25
        waits.append(now_s - lost_s)
    assert waits == [1.0, 2.0, 4.0]
    join(e, launched[0].token, now_s)
    start(e, "r", now_s)
    e.handle(m.TaskFinished("r/t", attempt(e, "r")), now_s + 1.0)
    assert e.state.sick == {}
