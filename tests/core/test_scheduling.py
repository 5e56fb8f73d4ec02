"""Who goes where and when: whole decisions of the scheduler, by policy."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hpcwise.core import messages as m
from hpcwise.core.apply_commands import apply_command
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, Link, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.errors import UsageError
from hpcwise.core.explain import explain
from hpcwise.core.policies import policy_named, policy_names
from hpcwise.core.resources import AttemptRef, FleetItem, Rank, WorkerInfo
from hpcwise.core.spec import Batch, GraphTask, JobSpec, Live
from hpcwise.core.workflow import Alternative, Edge, Part, TaskSpec

SECONDS = {"a100": 8.0, "h200": 4.0, "cpu": 40.0}


def model(name: str, seconds: dict[str, float] = SECONDS, **changes: Any) -> ModelInfo:
    profiles = {h: LinearProfile(base_s=s, speedup={1: 1.0, 8: 5.0}) for h, s in seconds.items()}
    return ModelInfo(name=name, family="emulated", profiles=profiles, **changes)


def engine(policy: str = "streamwise", *models: ModelInfo, links: tuple[Link, ...] = ()) -> Engine:
    catalogue = Catalogue(
        models={x.name: x for x in (models or (model("dit"),))},
        hardware={
            "cpu": HardwareInfo(name="cpu", usd_per_h=0.1),
            "a100": HardwareInfo(name="a100", usd_per_h=1.8),
            "h200": HardwareInfo(name="h200", usd_per_h=5.6),
        },
        links=links,
    )
    return Engine(EngineConfig(catalogue=catalogue, policy=policy))


def join(e: Engine, name: str, hardware: str, now_s: float = 0.0, **changes: Any) -> list[m.Command]:
    fields: dict[str, Any] = {"models": ("dit",), "memory_gb": 80.0}
    info = WorkerInfo(worker_id=name, kind=hardware, hardware=hardware, **{**fields, **changes})
    return e.handle(m.WorkerJoined(info), now_s)


def submit(
    e: Engine, request: str, *tasks: GraphTask, slo: Any = None, now_s: float = 0.0
) -> list[m.Command]:
    job = JobSpec(workflow="graph", graph=tasks, slo=slo or Batch())
    commands = e.handle(m.RequestArrived(request, job, wall_s=1.0), now_s)
    e.check()
    return commands


def task(name: str, deadline_s: float | None = None, **changes: Any) -> GraphTask:
    fields: dict[str, Any] = {"stage": "dit", "model": "dit", "params": {"of": name}}
    return GraphTask(name=name, deadline_s=deadline_s, **{**fields, **changes})


def placed(commands: list[m.Command]) -> list[tuple[str, str]]:
    return [(c.task_id, c.worker_id) for c in commands if isinstance(c, m.Dispatch)]


def finish(e: Engine, task_id: str, now_s: float, seconds: float = 1.0) -> list[m.Command]:
    attempt = e.state.tasks[task_id].attempt
    commands = e.handle(m.TaskFinished(task_id, attempt, seconds=seconds, nbytes=10), now_s)
    e.check()
    return commands


def test_the_nearest_deadline_goes_first_over_all_requests() -> None:
    e = engine()
    submit(e, "late", task("x", 90.0), task("y", 30.0))
    submit(e, "soon", task("z", 60.0))
    assert placed(join(e, "w", "a100")) == [("late/y", "w")]
    assert placed(finish(e, "late/y", 8.0)) == [("soon/z", "w")]
    assert placed(finish(e, "soon/z", 16.0)) == [("late/x", "w")]


def test_a_task_goes_where_it_is_expected_to_end_first() -> None:
    e = engine()
    join(e, "slow", "a100")
    join(e, "fast", "h200")
    assert placed(submit(e, "r", task("a", 10.0))) == [("r/a", "fast")]
    # The fast one is free in 4 s and would end at 8: as soon as the slow one, which is free now.
    assert placed(submit(e, "s", task("a2", 11.0))) == [("s/a2", "slow")]


def test_waiting_for_a_busy_fast_worker_wins_over_an_idle_slow_one() -> None:
    e = engine("streamwise", model("dit", {"cpu": 40.0, "h200": 4.0}))
    join(e, "slow", "cpu")
    join(e, "fast", "h200")
    submit(e, "r", task("a", 10.0))
    commands = submit(e, "s", task("b", 20.0))
    assert placed(commands) == [("s/b", "fast")]
    assert next(c.reason for c in commands if isinstance(c, m.Dispatch)) == "waits for a faster worker"


def test_work_not_started_is_taken_back_when_a_better_place_appears() -> None:
    e = engine("streamwise", model("dit", {"cpu": 40.0, "h200": 4.0}))
    join(e, "slow", "cpu")
    join(e, "fast", "h200")
    submit(e, "r", task("a", 10.0), task("b", 20.0))
    first = e.state.tasks["r/a"]
    e.handle(m.TaskStarted("r/a", first.attempt), 0.0)
    join(e, "new", "h200", now_s=1.0)
    commands = e.handle(m.Tick(), 1.0)
    queued = e.state.tasks["r/b"]
    assert commands == [m.Revoke("fast", "r/b", queued.attempt)]
    assert placed(e.handle(m.Revoked("r/b", queued.attempt), 1.1)) == [("r/b", "new")]
    e.check()


def test_a_revoke_that_comes_too_late_leaves_the_task_where_it_runs() -> None:
    e = engine("streamwise", model("dit", {"cpu": 40.0, "h200": 4.0}))
    join(e, "slow", "cpu")
    join(e, "fast", "h200")
    submit(e, "r", task("a", 10.0), task("b", 20.0))
    e.handle(m.TaskStarted("r/a", e.state.tasks["r/a"].attempt), 0.0)
    join(e, "new", "h200", now_s=1.0)
    e.handle(m.Tick(), 1.0)
    attempt = e.state.tasks["r/b"].attempt
    assert placed(e.handle(m.TooLate("r/b", attempt), 1.1)) == []
    assert (e.state.tasks["r/b"].state, e.state.tasks["r/b"].worker) == ("running", "fast")
    finish(e, "r/a", 4.0)
    finish(e, "r/b", 8.0)
    assert e.state.requests["r"].state == "done"


def test_work_queued_behind_a_task_that_takes_far_longer_than_its_profile_is_taken_back() -> None:
    e = engine("streamwise", model("dit", {"cpu": 0.01}))
    join(e, "first", "cpu")
    submit(e, "r", task("endless", 10.0), task("short", 20.0))
    e.handle(m.TaskStarted("r/endless", e.state.tasks["r/endless"].attempt), 0.0)
    join(e, "second", "cpu", now_s=1.0)
    attempt = e.state.tasks["r/short"].attempt
    revoked = [c for now_s in (1.0, 1.25) for c in e.handle(m.Tick(), now_s)]
    assert revoked == [m.Revoke("first", "r/short", attempt)]


def test_a_pause_that_crosses_a_cancel_on_the_wire_ends_the_attempt() -> None:
    e = engine("streamwise", model("dit", checkpoints=True))
    join(e, "w", "h200")
    submit(e, "batch", task("long"))
    attempt = e.state.tasks["batch/long"].attempt
    e.handle(m.TaskStarted("batch/long", attempt), 0.0)
    submit(e, "live", task("now"), slo=Live(ttff_s=6.0), now_s=1.0)
    e.handle(m.Tick(), 1.0)
    e.handle(m.RequestCancelled("batch"), 1.1)
    commands = e.handle(m.TaskPaused("batch/long", attempt, checkpoint="f" * 40), 1.2)
    e.check()
    assert (e.state.tasks["batch/long"].state, placed(commands)) == ("dropped", [("live/now", "w")])


def test_cheap_work_is_kept_off_fast_gpus_while_it_meets_its_deadline() -> None:
    light = model("dit", {"cpu": 2.0, "h200": 0.1}, light=True)
    e = engine("streamwise", light)
    join(e, "cpu", "cpu")
    join(e, "gpu", "h200")
    assert placed(submit(e, "r", task("relaxed", 60.0))) == [("r/relaxed", "cpu")]
    assert placed(submit(e, "s", task("tight", 1.0))) == [("s/tight", "gpu")]


def test_a_bigger_replica_of_the_same_hardware_is_faster_by_its_measured_speed_up() -> None:
    e = engine()
    join(e, "one", "a100")
    join(e, "gang", "a100", ranks=(Rank("n1", (0, 1, 2, 3)), Rank("n2", (0, 1, 2, 3))))
    commands = submit(e, "r", task("a", 10.0))
    assert [(c.worker_id, c.expected_s) for c in commands if isinstance(c, m.Dispatch)] == [("gang", 1.6)]


def test_no_task_starts_where_the_workers_life_ends_first_unless_it_checkpoints() -> None:
    e = engine()
    join(e, "dying", "h200", lifetime_s=3.0)
    assert placed(submit(e, "r", task("a", 10.0))) == []
    assert explain(e, "r").reasons[0].code == "waits_worker"
    saving = engine("streamwise", model("dit", checkpoints=True))
    join(saving, "dying", "h200", lifetime_s=3.0)
    assert placed(submit(saving, "r", task("a", 10.0))) == [("r/a", "dying")]


def test_models_are_loaded_and_unloaded_so_that_memory_is_never_exceeded() -> None:
    e = engine("streamwise", model("dit", memory_gb=48.0, load_s=30.0), model("vae", memory_gb=40.0))
    join(e, "w", "a100", models=("dit", "vae"))
    first = submit(e, "r", task("a"), task("b", model="vae", stage="vae"))
    assert [type(c).__name__ for c in first if isinstance(c, m.LoadModel | m.Dispatch)] == [
        "LoadModel",
        "Dispatch",
    ]
    e.handle(m.ModelLoaded("w", "dit", 30.0), 30.0)
    second = finish(e, "r/a", 38.0)
    assert [c for c in second if not isinstance(c, m.Dispatch)] == [
        m.UnloadModel("w", "dit"),
        m.LoadModel("w", "vae"),
    ]


def test_short_tasks_are_sent_ahead_and_long_ones_are_not() -> None:
    e = engine("streamwise", model("dit", {"cpu": 0.001}))
    join(e, "w", "cpu")
    sent = placed(submit(e, "r", *(task(f"t{i}", 100.0 + i) for i in range(200))))
    assert [t for t, _ in sent] == [f"r/t{i}" for i in range(50)]
    slow = engine("streamwise", model("dit", {"cpu": 1.0}))
    join(slow, "w", "cpu")
    assert len(placed(submit(slow, "r", task("a"), task("b")))) == 1


def test_inputs_in_another_region_cost_their_transfer() -> None:
    link = Link(a="east", b="west", gb_per_s=1.0, latency_s=0.05)
    e = engine("streamwise", model("dit", {"a100": 8.0, "h200": 7.9}), links=(link,))
    join(e, "east", "a100", region="east")
    submit(e, "r", task("a"), task("b", inputs=(Edge("latents", "a"),)))
    join(e, "west", "h200", region="west")
    attempt = e.state.tasks["r/a"].attempt
    commands = e.handle(m.TaskFinished("r/a", attempt, seconds=8.0, nbytes=2_000_000_000), 8.0)
    assert placed(commands) == [("r/b", "east")]


def test_a_running_task_that_checkpoints_is_paused_for_a_tighter_deadline_and_resumes() -> None:
    e = engine("streamwise", model("dit", checkpoints=True))
    join(e, "w", "h200")
    submit(e, "batch", task("long"))
    e.handle(m.TaskStarted("batch/long", e.state.tasks["batch/long"].attempt), 0.0)
    submit(e, "live", task("now"), slo=Live(ttff_s=6.0), now_s=1.0)
    attempt = e.state.tasks["batch/long"].attempt
    why = "live/now would be 1.0 s late behind it"
    assert e.handle(m.Tick(), 1.0) == [m.Pause("w", "batch/long", attempt, reason=why)]
    [told] = explain(e, "batch").reasons
    assert (told.code, told.text) == ("runs", f"leaves w on localhost after this step: {why}")
    commands = e.handle(m.TaskPaused("batch/long", attempt, checkpoint="f" * 40, done=3), 1.5)
    [told] = explain(e, "batch").reasons
    assert told.text == f"paused: {why}; all 1 workers that can host dit are busy"
    assert placed(commands) == [("live/now", "w")]
    resumed = finish(e, "live/now", 5.0)
    assert [(c.task_id, c.checkpoint) for c in resumed if isinstance(c, m.Dispatch)] == [
        ("batch/long", "f" * 40)
    ]


def test_what_a_checkpoint_holds_is_not_expected_again_of_the_next_worker() -> None:
    e = engine("streamwise", model("dit", checkpoints=True))
    join(e, "lost", "h200")
    (first,) = [c for c in submit(e, "r", task("a", 10.0)) if isinstance(c, m.Dispatch)]
    e.handle(m.TaskStarted("r/a", first.attempt), 0.0)
    e.handle(m.TaskProgress("r/a", first.attempt, 8, 10, saved=0.75), 2.0)
    e.handle(m.TaskProgress("r/a", first.attempt, 9, 10), 2.1)
    e.handle(m.WorkerLost("lost", "evicted"), 3.0)
    again = join(e, "next", "h200", now_s=3.0)
    (second,) = [c for c in again if isinstance(c, m.Dispatch)]
    assert second.expected_s == pytest.approx(first.expected_s * 0.25)
    # A resumed attempt teaches the profile nothing.
    e.handle(m.TaskFinished("r/a", second.attempt, seconds=0.1), 4.0)
    assert e.state.tasks["r/a"].resumed


def test_an_alternative_of_several_parts_becomes_a_chain_of_tasks() -> None:
    e = engine("streamwise", model("dit"), model("vae"))
    join(e, "a", "h200", models=("dit", "vae"))
    join(e, "b", "h200", models=("dit", "vae"))
    split = Alternative(
        tier="high",
        model="dit",
        parts=(
            Part(stage="dit", model="dit", params={"steps": 10}),
            Part(stage="vae", model="vae", input_name="latents", kind="stream"),
        ),
    )
    spec = TaskSpec(task_id="r/video", request_id="r", stage="video", alternatives=(split,))
    submit(e, "r", task("other", 1.0))
    apply_command(e.world, m.AddTasks("r", (spec,), last=True))
    commands = e.handle(m.Tick(), 0.1)
    assert next(type(c) for c in commands if not isinstance(c, m.Launch)) is m.ReplaceTask
    chain = e.state.tasks["r/video"].spec
    assert (chain.stage, chain.inputs) == ("vae", (Edge("latents", "r/video/dit", "stream"),))
    dit = e.state.tasks["r/video/dit"]
    assert dit.state == "assigned"
    commands = e.handle(m.ChunkReady("r/video/dit", dit.attempt, 0, {}, 100), 1.0)
    assert placed(commands) == []
    commands = finish(e, "r/other", 2.0)
    assert placed(commands) == [("r/video", e.state.tasks["r/other"].last_worker)]


def test_a_live_twin_does_not_wait_behind_the_batch_task_that_was_there_first() -> None:
    e = engine()
    submit(e, "batch", task("same"))
    submit(e, "live", task("same"), slo=Live(ttff_s=2.0))
    assert (e.state.tasks["batch/same"].state, e.state.tasks["live/same"].state) == ("twin", "ready")
    join(e, "w", "h200")
    finish(e, "live/same", 4.0)
    assert e.state.requests["batch"].state == e.state.requests["live"].state == "done"


POLICY_ORDER = {
    "streamwise": ["r/near", "r/far"],
    "edf": ["r/near", "r/far"],
    "fifo": ["r/far", "r/near"],
    "round_robin": ["r/far", "r/near"],
    "least_load": ["r/far", "r/near"],
}


@pytest.mark.parametrize(("policy", "order"), POLICY_ORDER.items())
def test_each_policy_has_its_own_order(policy: str, order: list[str]) -> None:
    e = engine(policy)
    submit(e, "r", task("far", 900.0), task("near", 10.0))
    first = placed(join(e, "w", "a100"))
    second = placed(finish(e, first[0][0], 8.0))
    assert [t for t, _ in first + second] == order


def test_heft_takes_the_highest_upward_rank_first() -> None:
    e = engine("heft")
    submit(e, "r", task("leaf"), task("root"), task("child", inputs=(Edge("x", "root"),)))
    assert placed(join(e, "w", "a100")) == [("r/root", "w")]


def test_round_robin_takes_workers_in_turn_where_fifo_takes_whoever_is_free_first() -> None:
    for policy, expected in (("round_robin", ["a", "b", "a", "b"]), ("fifo", ["a", "a", "a", "a"])):
        e = engine(policy, model("dit", {"cpu": 1.0}))
        join(e, "a", "cpu")
        join(e, "b", "cpu")
        went: list[str] = []
        for i in range(4):
            went += [w for _, w in placed(submit(e, f"r{i}", task(f"t{i}"), now_s=float(i)))]
            finish(e, f"r{i}/t{i}", i + 0.5)
        assert went == expected


def test_an_unknown_policy_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError, match="streamwise, fifo, edf, round_robin, least_load, heft"):
        policy_named("magic")
    assert len(policy_names()) == 6


def test_a_stray_revoke_answer_of_an_unknown_attempt_is_ignored() -> None:
    e = engine()
    join(e, "w", "a100")
    submit(e, "r", task("a"))
    assert e.handle(m.Revoked("r/a", 99), 1.0) == []
    assert e.handle(m.WorkerJoined(e.state.workers["w"].info, (AttemptRef("r/a", 1),)), 1.0) == []
    e.check()


def test_a_task_that_no_lifetime_fits_does_not_hold_up_shorter_ones_of_its_model() -> None:
    made = ModelInfo(name="m", family="t", profiles={"gpu": LinearProfile(per={"s": 1.0})})
    item = FleetItem(kind="k", hardware="gpu", models=("m",), max_workers=0)
    engine = Engine(EngineConfig(catalogue=Catalogue(models={"m": made}), fleet=(item,)))
    sizes = {"long": 500.0, "longer": 900.0, "short": 20.0, "shorter": 10.0}
    tasks = tuple(
        GraphTask(name=name, stage="s", model="m", features={"s": s}, deadline_s=float(i), params={"s": s})
        for i, (name, s) in enumerate(sizes.items())
    )
    engine.handle(m.RequestArrived("r", JobSpec(workflow="graph", graph=tasks)), 0.0)
    info = WorkerInfo(worker_id="w", kind="k", hardware="gpu", models=("m",), loaded=("m",), lifetime_s=100.0)
    told = engine.handle(m.WorkerJoined(info), 1.0)
    [dispatch] = [c for c in told if isinstance(c, m.Dispatch)]
    assert dispatch.task_id == "r/short"
    engine.check()
    told = engine.handle(m.TaskFinished("r/short", dispatch.attempt, inline=True, seconds=20.0), 21.0)
    assert [c.task_id for c in told if isinstance(c, m.Dispatch)] == ["r/shorter"]
    # A worker that lives long enough takes the most urgent of those that were passed over.
    told = engine.handle(
        m.WorkerJoined(msgspec.structs.replace(info, worker_id="x", lifetime_s=5000.0)), 22.0
    )
    assert [c.task_id for c in told if isinstance(c, m.Dispatch)] == ["r/long"]
    engine.check()
