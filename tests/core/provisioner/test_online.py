"""What should stand now: by deadline and model, from what stands, and the same for equal views."""

from __future__ import annotations

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.profiles import Profiles
from hpcwise.core.provisioner.online import Online, OnlineSettings, pressing
from hpcwise.core.provisioner.standing import Offer, Place
from hpcwise.core.provisioner.view import View
from hpcwise.core.resources import FleetItem, WorkerInfo
from hpcwise.core.spec import Batch, By, GraphTask, JobSpec, Live, Slo
from hpcwise.core.workflow import Edge


def catalogue(load_s: float = 0.0) -> Catalogue:
    models = {
        name: ModelInfo(
            name=name, family="t", memory_gb=5.0, load_s=load_s,
            profiles={"gpu": LinearProfile(base_s=each_s)},
        )
        for name, each_s in (("draw", 10.0), ("sync", 30.0))
    }  # fmt: skip
    return Catalogue(
        models=models, hardware={"gpu": HardwareInfo(name="gpu", usd_per_h=3.6, spot_usd_per_h=1.0)}
    )


def offer(kind: str = "k", n: int = 32, models: tuple[str, ...] = ("draw", "sync"), **place: object) -> Offer:
    item = FleetItem(kind=kind, hardware="gpu", models=models, memory_gb=16.0, max_workers=n, launch_s=0.0)
    return Offer(item=item, place=msgspec.convert(place, Place))


def job(n: int, due_s: float | None = None, salt: str = "") -> JobSpec:
    """`n` drawings, each with a sync after it; whole by `due_s`."""
    draws = [
        GraphTask(name=f"d{i}", stage="draw", model="draw", params={"i": i, "salt": salt}, deadline_s=due_s)
        for i in range(n)
    ]
    syncs = [
        GraphTask(name=f"s{i}", stage="sync", model="sync", inputs=(Edge("d", f"d{i}"),), deadline_s=due_s)
        for i in range(n)
    ]
    return JobSpec(workflow="graph", graph=(*draws, *syncs))


def engine(*jobs: JobSpec, load_s: float = 0.0) -> Engine:
    made = Engine(EngineConfig(catalogue=catalogue(load_s), planned=True))
    for i, each in enumerate(jobs):
        made.handle(m.RequestArrived(f"r{i}", each, wall_s=1000.0), 1.0)
    return made


def asked(made: Engine, *offers: Offer, load_s: float = 0.0, **settings: object) -> tuple[Online, View]:
    online = Online(catalogue(load_s), offers, msgspec.convert(settings, OnlineSettings))
    return online, online.view(made.state)


def test_the_nearer_the_deadline_the_more_workers() -> None:
    counts = []
    for due_s in (2000.0, 400.0, 150.0):
        online, view = asked(engine(job(20, due_s)), offer())
        counts.append(online.plan(view).wanted["k"])
    # 800 s of work: at least so many devices, and the limit is tightened by a fifth.
    assert counts[0] < counts[1] < counts[2]
    assert all(n >= 800 / due for n, due in zip(counts, (2000.0, 400.0, 150.0), strict=True))
    assert counts[0] <= 3


def test_workers_of_each_kind_are_wanted_for_the_models_that_they_alone_can_host() -> None:
    online, view = asked(engine(job(12, 200.0)), offer("draws", 8, ("draw",)), offer("syncs", 20, ("sync",)))
    plan = online.plan(view, "start")
    assert {hold.kind: hold.models for hold in plan.holds} == {"draws": ("draw",), "syncs": ("sync",)}
    assert 1 <= plan.wanted["draws"] < plan.wanted["syncs"] <= 20
    assert sum(hold.n for hold in plan.holds) == sum(plan.wanted.values())
    assert (plan.state_version, plan.why) == (view.version, "start")
    assert 0 < plan.ready_s <= 200.0


def test_equal_views_give_equal_plans_also_from_bytes() -> None:
    online, view = asked(engine(job(7, 90.0), job(5)), offer(), offer("spot", 9, spot=True))
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(view), type=View)
    other = Online(catalogue(), (offer(), offer("spot", 9, spot=True)))
    assert other.plan(copy) == online.plan(view) == online.plan(view)


def test_those_who_wait_come_first_and_batch_work_uses_the_time_that_they_leave() -> None:
    made = engine(job(4, 200.0), msgspec.structs.replace(job(200, salt="b"), slo=Batch(max_age_s=1e6)))
    online, view = asked(made, offer())
    chosen, goal = pressing(view.left, (offer(),), Profiles(catalogue(), {}))
    assert [left.request_id for left in chosen] == ["r0"]
    assert goal.name == "cost" and goal.ready_s is not None and goal.ready_s < 200.0
    # Alone, the batch work is planned by cost and time to the first frame, without a limit.
    alone, goal = pressing(view.left[1:], (offer(),), Profiles(catalogue(), {}))
    assert len(alone) == 1 and (goal.name, goal.ready_s) == ("cost*ttff", None)
    assert online.plan(view).wanted["k"] < 8


def test_the_deadline_that_asks_most_of_the_fleet_decides_not_the_nearest() -> None:
    online, view = asked(engine(job(1, 100.0), job(40, 300.0, "x"), job(1, 5000.0, "y")), offer())
    chosen, goal = pressing(view.left, (offer(),), Profiles(catalogue(), {}))
    assert [left.request_id for left in chosen] == ["r0", "r1"]
    assert goal.ready_s is not None and 200 < goal.ready_s < 300
    assert online.plan(view).wanted["k"] >= 41 * 40 / 300


def test_a_live_film_needs_its_pace_and_a_film_by_a_time_only_its_time() -> None:
    def film(slo: Slo) -> float:
        models = ("pdf-document", "extractive-screenplay", "kokoro-82m", "drawn-scene")
        of = {
            name: ModelInfo(
                name=name, family="t", profiles={"gpu": LinearProfile(base_s=0.5, per={"frames": 0.1})}
            )
            for name in models
        }
        known = msgspec.structs.replace(catalogue(), models=of)
        made = Engine(EngineConfig(catalogue=known))
        spec = JobSpec(
            input_path="a.pdf", duration_s=120.0, slo=slo, cast=(), width=640, height=400, fps=24,
        )  # fmt: skip
        made.handle(m.RequestArrived("f", spec, wall_s=1000.0), 1.0)
        online = Online(known, (offer("k", 40, models),))
        return online.plan(online.view(made.state)).wanted["k"]

    # 120 s at 24 frames of 0.1 s are 288 s of work: real time needs 2.4 workers, 20 minutes a quarter of one.
    assert film(By(wall_s=1000.0 + 1200.0)) == 1
    assert film(Live(ttff_s=30.0)) >= 3


def test_what_stands_and_has_its_models_is_kept_where_new_workers_would_first_load() -> None:
    made = engine(job(12, 300.0), load_s=60.0)
    for i, model in enumerate(("draw", "sync", "sync", "sync")):
        info = WorkerInfo(
            worker_id=f"w{i}",
            kind="old",
            hardware="gpu",
            models=("draw", "sync"),
            loaded=(model,),
            memory_gb=16.0,
        )
        made.handle(m.WorkerJoined(info), 2.0)
    online, view = asked(made, offer("old", 4), offer("new", 64, queue_s=100.0), load_s=60.0)
    plan = online.plan(view)
    assert plan.wanted["new"] == 0 and plan.wanted["old"] >= 3
    assert plan.ready_s < 300.0


def test_a_plan_that_is_a_little_better_is_not_worth_a_change() -> None:
    made = engine(job(10, 400.0))
    online, view = asked(made, offer("a", 20), offer("b", 20))
    first = online.plan(view)
    assert first.wanted["a"] > 0 == first.wanted["b"]
    followed = msgspec.structs.replace(view, holds=tuple(m.Hold("b", h.models, h.n) for h in first.holds))
    assert online.plan(followed).wanted == {"a": 0, "b": first.wanted["a"]}
    # The same workers at a third of the price are.
    cheap, _ = asked(made, offer("a", 20, spot=True), offer("b", 20))
    assert cheap.plan(followed).wanted["b"] == 0


def test_evictions_are_met_with_more_workers() -> None:
    calm, risky = (
        Online(catalogue(60.0), (offer(spot=True, queue_s=300.0, evictions_per_h=rate),)).plan(
            asked(engine(job(60, 1500.0), load_s=60.0), offer(), load_s=60.0)[1]
        )
        for rate in (0.0, 4.0)
    )
    assert calm.wanted["k"] < risky.wanted["k"]


def test_too_few_devices_for_a_replica_of_each_model_hold_all_of_them() -> None:
    online, view = asked(engine(job(6, 600.0)), offer("one", 1))
    plan = online.plan(view)
    assert plan.wanted == {"one": 1}
    assert plan.holds == (m.Hold("one", ("draw", "sync"), 1),)


def test_what_cannot_be_planned_is_left_to_demand_and_says_why() -> None:
    small = msgspec.structs.replace(offer("small"), item=msgspec.structs.replace(offer().item, memory_gb=1.0))
    online, view = asked(engine(job(2, 100.0)), small)
    plan = online.plan(view, "start")
    assert plan.wanted == {} and plan.holds == ()
    assert plan.why.startswith("start; by demand, as model: ")


def test_there_is_a_reason_for_each_new_plan_and_none_without_a_change() -> None:
    made = engine(job(8, 1000.0))
    online, view = asked(made, offer(), every_s=50.0)
    assert online.due(view) == "start"
    online.asked(view, online.plan(view))
    assert online.due(view) == ""
    assert online.wait_s(1.5) == 1.5
    made.handle(m.WorkerJoined(WorkerInfo(worker_id="w", kind="k", hardware="gpu", models=("draw",))), 3.0)
    assert online.due(online.view(made.state)) == "fleet: k 0 -> 1"
    online.asked(online.view(made.state))
    made.handle(m.RequestArrived("more", job(1, 50.0, "z"), wall_s=1000.0), 4.0)
    assert online.due(online.view(made.state)) == "arrived: more"
    made.handle(m.RequestCancelled("more"), 5.0)
    assert online.due(online.view(made.state)) == ""
    made.state.ratios["sync@gpu"] = 1.3
    assert online.due(online.view(made.state)) == "estimate: sync@gpu takes 1.30 of its profile, was 1.00"
    made.state.ratios.clear()
    late = msgspec.structs.replace(view, now_s=60.0, standing=online.view(made.state).standing)
    assert online.due(late) == "time passed"
    planned = online.plan(online.view(made.state))
    online.asked(online.view(made.state), planned)
    assert online.due(msgspec.structs.replace(late, now_s=5.0 + 0.5 * planned.ready_s)) == "behind the plan"
    made.handle(m.RequestCancelled("r0"), 7.0)
    assert online.due(online.view(made.state)) == "ended: r0"
    assert online.plan(online.view(made.state)).wanted == {"k": 0}
