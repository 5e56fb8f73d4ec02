"""The price of moving, and the decisions that it is part of: who is paused, what starts where it cannot end,
what is taken elsewhere. Whole decisions, computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from hpcwise.core import messages as m
from hpcwise.core import moving
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, Link, ModelInfo, Vae
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.explain import explain
from hpcwise.core.filetimes import FILE_GB_PER_S, FILE_S
from hpcwise.core.moving import ends_s, move_s, state_gb
from hpcwise.core.resources import Rank, WorkerInfo
from hpcwise.core.spec import Batch, GraphTask, JobSpec

#: A step of the model `dit` takes a second on a slow worker, a quarter of one on a fast one.
STEP_S = {"slow": 1.0, "fast": 0.25}
KEY = "c" * 40


def engine(
    *more: ModelInfo,
    load_s: float = 0.0,
    links: tuple[Link, ...] = (),
    policy: str = "streamwise",
    **dit: Any,
) -> Engine:
    profiles = {h: LinearProfile(per={"steps": s}) for h, s in STEP_S.items()}
    fields: dict[str, Any] = {"checkpoints": True, "memory_gb": 30.0, **dit}
    models = (
        ModelInfo(name="dit", family="f", profiles=profiles, load_s=load_s, **fields),
        ModelInfo(name="other", family="f", profiles=profiles, load_s=load_s, memory_gb=30.0),
        *more,
    )
    hardware = {h: HardwareInfo(name=h, usd_per_h=1.0) for h in STEP_S}
    catalogue = Catalogue(models={x.name: x for x in models}, hardware=hardware, links=links)
    return Engine(EngineConfig(catalogue=catalogue, policy=policy))


def join(e: Engine, name: str, hardware: str, now_s: float = 0.0, **changes: Any) -> list[m.Command]:
    fields: dict[str, Any] = {"models": ("dit", "other"), "loaded": ("dit", "other"), "memory_gb": 80.0}
    info = WorkerInfo(worker_id=name, kind=hardware, hardware=hardware, **{**fields, **changes})
    return handled(e, m.WorkerJoined(info), now_s)


def handled(e: Engine, event: m.Event, now_s: float) -> list[m.Command]:
    commands = e.handle(event, now_s)
    e.check()
    return commands


def ask(
    e: Engine, name: str, steps: int, due_s: float | None = None, now_s: float = 0.0, model: str = "dit",
    **params: Any,
) -> list[m.Command]:  # fmt: skip
    """A request of one task; due_s: engine time of its deadline."""
    deadline_s = None if due_s is None else due_s - now_s
    task = GraphTask(
        name="t", stage="s", model=model, features={"steps": float(steps)}, deadline_s=deadline_s,
        params={"of": name, **params},
    )  # fmt: skip
    return handled(e, m.RequestArrived(name, JobSpec(workflow="graph", graph=(task,), slo=Batch())), now_s)


def start(e: Engine, name: str, now_s: float = 0.0) -> None:
    handled(e, m.TaskStarted(f"{name}/t", e.state.tasks[f"{name}/t"].attempt), now_s)


def told(e: Engine, name: str, step: int, of: int, now_s: float, saved: float = 0.0) -> list[m.Command]:
    attempt = e.state.tasks[f"{name}/t"].attempt
    return handled(e, m.TaskProgress(f"{name}/t", attempt, step, of, saved), now_s)


def pauses(commands: list[m.Command]) -> list[tuple[str, str, str]]:
    return [(c.worker_id, c.task_id, c.to) for c in commands if isinstance(c, m.Pause)]


def placed(commands: list[m.Command]) -> list[tuple[str, str, str]]:
    return [(c.task_id, c.worker_id, c.reason) for c in commands if isinstance(c, m.Dispatch)]


# --- the price ---------------------------------------------------------------------------------------


def test_the_price_is_the_rest_of_the_step_two_files_the_model_and_the_way() -> None:
    e = engine(vae=Vae(spatial=8, temporal=4, patch=2))
    join(e, "a", "slow")
    ask(e, "r", 10)
    start(e, "r")
    told(e, "r", 3, 10, 3.0)
    task = e.state.tasks["r/t"]
    handled(e, m.Tick(), 3.25)
    paid = move_s(e.world, task, 10.0, load_s=30.0, transfer_s=2.0)
    assert (paid.leave_s, paid.arrive_s, paid.again_s) == (0.75 + FILE_S, 30.0 + 2.0 + FILE_S, 0.0)
    assert paid.total_s == 0.75 + 2 * FILE_S + 32.0


def test_a_state_is_latents_and_what_the_sampler_keeps_of_them() -> None:
    e = engine(vae=Vae(spatial=8, temporal=4, patch=2))
    join(e, "a", "slow")
    features = {"steps": 10.0, "frames": 324.0, "frame_mpx": 0.256}
    graph = (GraphTask(name="t", stage="s", model="dit", features=features, params={"chunks": 4}),)
    handled(e, m.RequestArrived("r", JobSpec(workflow="graph", graph=graph)), 0.0)
    task = e.state.tasks["r/t"]
    # One of four clips of 81 frames at 640 x 400: 20.25 latent frames of 80 x 50, 16 numbers each, thrice.
    assert state_gb(e.world, task) == pytest.approx(20.25 * 80 * 50 * 16 * 4 * 3 / 1e9)
    start(e, "r")
    file_s = FILE_S + state_gb(e.world, task) / FILE_GB_PER_S
    assert move_s(e.world, task, 40.0).total_s == pytest.approx(1.0 + 2 * file_s)


def test_a_worker_that_dies_within_the_step_takes_what_is_not_durable_along() -> None:
    e = engine()
    join(e, "a", "slow")
    ask(e, "r", 10)
    start(e, "r")
    told(e, "r", 6, 10, 6.0, saved=0.4)
    task = e.state.tasks["r/t"]
    orderly = move_s(e.world, task, 10.0, left_s=1.5)
    assert (orderly.leave_s, orderly.again_s) == (1.0 + FILE_S, 0.0)
    torn = move_s(e.world, task, 10.0, left_s=0.5)
    assert torn.leave_s == 0.5
    assert torn.again_s == pytest.approx(2.0)


def test_when_a_task_ends_follows_the_pace_that_it_shows() -> None:
    e = engine()
    join(e, "a", "slow")
    ask(e, "r", 10)
    start(e, "r")
    task = e.state.tasks["r/t"]
    told(e, "r", 1, 10, 1.0)
    assert ends_s(e.world, task) == 10.0
    told(e, "r", 4, 10, 8.0)  # two seconds a step
    assert ends_s(e.world, task) == 20.0
    handled(e, m.Tick(), 8.5)
    assert ends_s(e.world, task) == 20.0


def test_a_task_that_its_worker_does_not_outlive_ends_later_by_the_price_of_moving() -> None:
    e = engine(load_s=5.0)
    join(e, "a", "slow", lifetime_s=15.0)
    ask(e, "r", 30)
    start(e, "r")
    told(e, "r", 2, 30, 2.0)
    assert ends_s(e.world, e.state.tasks["r/t"]) == 30.0 + 1.0 + 2 * FILE_S + 5.0


# --- pausing for something more urgent ---------------------------------------------------------------


def behind(e: Engine, steps: int = 40, due_s: float | None = None, step: int = 10) -> None:
    """A fast worker that is at `step` of a task of `steps` steps when that many steps have passed."""
    join(e, "w", "fast")
    ask(e, "long", steps, due_s)
    start(e, "long")
    told(e, "long", step, steps, step * 0.25)


def test_a_task_is_paused_only_where_another_is_late_behind_it_and_helped_by_it() -> None:
    # `long` ends at 10 s and `now` takes 4: at 14 s behind it, at 7 s without it. Late in both cases, it is
    # helped by 7 s.
    for due_s, answer in ((14.0, []), (9.0, [("w", "long/t", "")]), (5.0, [("w", "long/t", "")])):
        e = engine()
        behind(e)
        ask(e, "now", 16, due_s, now_s=2.5)
        assert pauses(handled(e, m.Tick(), 2.5)) == answer, due_s
    # A task of 60 s that is late in any case is not worth pausing another for 7 s.
    e = engine()
    behind(e)
    ask(e, "now", 240, 5.0, now_s=2.5)
    assert pauses(handled(e, m.Tick(), 2.5)) == []


def test_nothing_is_paused_that_ends_before_its_pause_would_help() -> None:
    e = engine()
    behind(e, steps=40, step=39)
    ask(e, "now", 16, 9.75 + 4.1, now_s=9.75)
    # 0.25 s are left of it; leaving takes 0.25 + 0.25.
    assert pauses(handled(e, m.Tick(), 9.75)) == []


def test_models_that_must_be_loaded_first_and_again_are_part_of_the_decision() -> None:
    # 40 GB hold one of the two models: what is paused has to have its own loaded again.
    for load_s, due_s, answer in ((0.5, 17.0, 1), (3.0, 17.0, 0), (3.0, 22.0, 1)):
        e = engine(load_s=load_s)
        join(e, "w", "fast", loaded=("dit",), memory_gb=40.0)
        ask(e, "long", 40, due_s)
        start(e, "long")
        told(e, "long", 4, 40, 1.0)
        # It ends at 10 s, `now` at 10 + load + 4, or at 1.5 + load + 4; then a file, loading, 9 s.
        ask(e, "now", 16, 13.0 + load_s, now_s=1.0, model="other")
        assert len(pauses(handled(e, m.Tick(), 1.0))) == answer, (load_s, due_s)


def test_what_is_paused_still_meets_its_own_deadline_or_loses_less_than_the_other_wins() -> None:
    # `now` would end at 14 s, 4.5 s late. Paused at 2.75 + 0.25, `long` goes on at 7 s and ends at 14.75 s.
    for due_s, answer in ((15.0, 1), (12.0, 1), (10.3, 1), (10.2, 0), (9.6, 0)):
        e = engine()
        behind(e, due_s=due_s)
        ask(e, "now", 16, 9.5, now_s=2.5)
        assert len(pauses(handled(e, m.Tick(), 2.5))) == answer, due_s


def test_of_several_the_one_that_loses_least_gives_way() -> None:
    e = engine()
    for name, due_s in (("a", 10.2), ("b", 30.0), ("c", 20.0)):
        join(e, f"w{name}", "fast")
        ask(e, name, 40, due_s)
        start(e, name)
    for name in "abc":
        told(e, name, 10, 40, 2.5)
    where = {name: e.state.tasks[f"{name}/t"].worker for name in "abc"}
    ask(e, "now", 16, 9.0, now_s=2.5)
    assert pauses(handled(e, m.Tick(), 2.5)) == [(where["b"], "b/t", "")]
    assert pauses(handled(e, m.Tick(), 2.6)) == []  # one is on its way


def test_what_is_more_urgent_itself_is_never_paused() -> None:
    e = engine()
    behind(e, due_s=8.0)  # late already
    ask(e, "now", 16, 9.0, now_s=2.5)
    assert pauses(handled(e, m.Tick(), 2.5)) == []


def test_a_pause_that_its_worker_does_not_live_to_make_up_for_counts_the_move() -> None:
    # The worker lives to 12 s: `long`, put off to 14.5 s, would have to load its model elsewhere first.
    for due_s, answer in ((60.0, 1), (10.0, 0)):
        e = engine(load_s=30.0)
        join(e, "w", "fast", lifetime_s=12.0)
        ask(e, "long", 40, due_s)
        start(e, "long")
        told(e, "long", 10, 40, 2.5)
        ask(e, "now", 16, 9.0, now_s=2.5)
        assert len(pauses(handled(e, m.Tick(), 2.5))) == answer, due_s


# --- starting where the worker does not live long enough -----------------------------------------------


def test_a_task_longer_than_any_workers_life_starts_and_is_told_so() -> None:
    e = engine(load_s=5.0)
    join(e, "w", "slow", lifetime_s=50.0)
    [(_, worker, reason)] = placed(ask(e, "r", 100))
    assert (worker, reason) == ("w", "begins here, ends elsewhere: its worker leaves before")
    [dispatch] = [e.state.tasks["r/t"]]
    assert dispatch.expected_s == 100.0


def test_what_could_be_done_there_must_be_worth_more_than_moving() -> None:
    # Moving costs a step, two files and 5 s of loading.
    price_s = 1.0 + 2 * FILE_S + 5.0
    for life_s, answer in ((price_s + 0.1, 1), (price_s - 0.1, 0)):
        e = engine(load_s=5.0)
        join(e, "w", "slow", lifetime_s=life_s)
        assert len(placed(ask(e, "r", 100))) == answer
        assert len(placed(ask(engine(), "r", 100))) == 0


def test_a_worker_that_outlives_the_task_wins_over_one_that_would_be_faster_but_for_the_move() -> None:
    # 32 steps: 8 s on the fast one, which leaves at 7 s; 32 s on the slow one, which stays.
    for load_s, where in ((1.0, "fast"), (30.0, "slow")):
        e = engine(load_s=load_s)
        join(e, "fast", "fast", lifetime_s=7.0)
        join(e, "slow", "slow")
        [(_, worker, reason)] = placed(ask(e, "r", 32))
        assert worker == where
        assert bool(reason) == (where == "fast")


def test_a_task_of_many_workers_lives_ends_and_one_that_gets_nothing_done_fails() -> None:
    for share, state in ((0.1, "done"), (0.02, "failed")):
        e = engine()
        ask(e, "r", 100)
        lives = 0
        while e.state.requests["r"].state not in ("done", "failed"):
            now_s, name = lives * 20.0, f"w{lives}"
            left_s = 100.0 * (1 - e.state.tasks["r/t"].saved)
            [(_, worker, _)] = placed(join(e, name, "slow", now_s=now_s, lifetime_s=15.0))
            assert worker == name and e.state.tasks["r/t"].expected_s == pytest.approx(left_s)
            start(e, "r", now_s)
            lives += 1
            if lives * share >= 0.999:
                task = e.state.tasks["r/t"]
                handled(e, m.TaskFinished("r/t", task.attempt, seconds=10.0), now_s + 10)
            else:
                told(e, "r", round(100 * lives * share), 100, now_s + 10, saved=lives * share)
                handled(e, m.WorkerLost(name, "its time is over"), now_s + 15)
        assert (e.state.requests["r"].state, lives) == (state, 10 if state == "done" else 6)


# --- taking a late task elsewhere -----------------------------------------------------------------------


def late(e: Engine, due_s: float = 20.0, step: int = 5, **job: Any) -> None:
    """A task of 40 steps on a slow worker, which ends at 40 s."""
    join(e, "old", "slow")
    ask(e, "r", 40, due_s, **job)
    start(e, "r")
    told(e, "r", step, 40, float(step))


def test_a_late_task_goes_on_where_it_ends_in_time_from_where_it_was() -> None:
    e = engine()
    late(e)
    join(e, "new", "fast", now_s=5.0)
    # A step and two files, then 34 steps of a quarter of a second.
    commands = handled(e, m.Tick(), 5.0)
    why = "would be 20.0 s late; ends in time on new, moving included"
    attempt = e.state.tasks["r/t"].attempt
    assert commands == [m.Pause("old", "r/t", attempt, to="new", reason=why)]
    [reason] = explain(e, "r").reasons
    assert reason.text == f"leaves old on localhost after this step, step 5 of 40: {why}"
    paused = m.TaskPaused("r/t", attempt, checkpoint=KEY, done=6, saved=6 / 40)
    commands = handled(e, paused, 6.25)
    assert placed(commands) == [("r/t", "new", f"moved here: {why}")]
    [dispatch] = [c for c in commands if isinstance(c, m.Dispatch)]
    assert dispatch.checkpoint == KEY
    assert dispatch.expected_s == pytest.approx(34 * 0.25)
    start(e, "r", 6.5)
    told(e, "r", 7, 40, 6.75)
    assert ends_s(e.world, e.state.tasks["r/t"]) == pytest.approx(15.0)
    [reason] = explain(e, "r").reasons
    assert reason.text == f"running on new on localhost, step 7 of 40; was paused: {why}"


@pytest.mark.parametrize(
    ("due_s", "load_s", "new", "moves"),
    [
        (20.0, 0.0, {}, True),
        (41.0, 0.0, {}, False),  # in time where it is
        (20.0, 3.0, {"loaded": ()}, True),  # loads, and is in time
        (12.0, 10.0, {"loaded": ()}, True),  # late there too, by 13 s instead of 28 s
        (12.0, 25.0, {"loaded": ()}, False),  # late there too: would win 0 s
        (12.0, 18.0, {"loaded": ()}, False),  # would win 7 s of 35, less than a quarter
        (20.0, 0.0, {"hardware": "slow"}, False),  # equal workers
        (20.0, 0.0, {"models": ("other",), "loaded": ()}, False),
        (20.0, 0.0, {"region": "far"}, True),
        (20.0, 0.0, {"lifetime_s": 3.0}, False),
    ],
)
def test_a_task_moves_only_for_what_it_wins_after_the_price(
    due_s: float, load_s: float, new: dict[str, Any], moves: bool
) -> None:
    e = engine(load_s=load_s, links=(Link(a="near", b="far", gb_per_s=1.0, latency_s=2.0),))
    late(e, due_s)
    hardware = new.pop("hardware", "fast")
    join(e, "new", hardware, now_s=5.0, **new)
    assert bool(pauses(handled(e, m.Tick(), 5.0))) == moves


def test_a_task_that_streams_is_late_only_where_a_chunk_is() -> None:
    # Four chunks of ten steps: the deadline is the first one's, the others are due 3.5 s after each other.
    for due_first_s, moves in ((29.6, False), (29.4, True), (9.0, True)):
        e = engine()
        late(e, due_first_s, chunks=4)
        join(e, "new", "fast", now_s=5.0)
        # The last chunk comes at 40 s; the first comes at 10 s.
        assert bool(pauses(handled(e, m.Tick(), 5.0))) == moves, due_first_s
        task = e.state.tasks["r/t"]
        assert moving.due_s(e.world, task, 40.0) == due_first_s + 10.5
        assert moving.due_s(e.world, task, 8.0) == due_first_s + 6.0


def test_the_way_to_another_region_is_part_of_the_price() -> None:
    for latency_s, moves in ((1.0, True), (40.0, False)):
        e = engine(links=(Link(a="near", b="far", gb_per_s=1.0, latency_s=latency_s),))
        join(e, "old", "slow", region="near")
        ask(e, "r", 40, 20.0)
        start(e, "r")
        told(e, "r", 5, 40, 5.0)
        join(e, "new", "fast", now_s=5.0, region="far")
        assert bool(pauses(handled(e, m.Tick(), 5.0))) == moves


def test_a_checkpoint_in_another_region_is_on_its_way_before_the_task_goes_on() -> None:
    far = (Link(a="near", b="far", gb_per_s=0.001, latency_s=2.0),)
    e = engine(links=far, vae=Vae(spatial=8, temporal=4, patch=2))
    join(e, "old", "slow", region="near")
    features = {"steps": 40.0, "frames": 81.0, "frame_mpx": 0.256}
    graph = (GraphTask(name="t", stage="s", model="dit", features=features),)
    handled(e, m.RequestArrived("r", JobSpec(workflow="graph", graph=graph)), 0.0)
    start(e, "r")
    told(e, "r", 20, 40, 20.0, saved=0.5)
    handled(e, m.WorkerLost("old", "evicted"), 21.0)
    sent = join(e, "new", "slow", now_s=21.0, region="far")
    [dispatch] = [c for c in sent if isinstance(c, m.Dispatch)]
    state_s = 2.0 + state_gb(e.world, e.state.tasks["r/t"]) / 0.001
    assert dispatch.expected_s == pytest.approx(20.0 + state_s)
    assert state_s == pytest.approx(2.0 + 15.552)


def test_a_task_that_is_slower_than_its_profile_is_not_thought_to_be_fast_elsewhere() -> None:
    e = engine()
    join(e, "old", "fast")
    ask(e, "r", 40, 20.0)
    start(e, "r")
    told(e, "r", 10, 40, 10.0)  # four times its profile: it ends at 40 s
    join(e, "new", "fast", now_s=10.0)
    assert pauses(handled(e, m.Tick(), 10.0)) == []


def test_a_task_is_taken_from_a_worker_that_leaves_before_its_state_is_lost() -> None:
    e = engine(load_s=30.0)
    join(e, "old", "slow", lifetime_s=35.0)
    ask(e, "r", 40, 45.0)
    start(e, "r")
    told(e, "r", 5, 40, 5.0)
    # Left alone it would load its model somewhere at 35 s; a worker of the same kind has it already.
    join(e, "new", "slow", now_s=5.0)
    assert pauses(handled(e, m.Tick(), 5.0)) == [("old", "r/t", "new")]


def test_a_worker_is_promised_to_one_task_only() -> None:
    e = engine()
    for name in ("a", "b"):
        join(e, f"old-{name}", "slow")
        ask(e, name, 40, 20.0)
        start(e, name)
    for name in ("a", "b"):
        told(e, name, 5, 40, 5.0)
    join(e, "new", "fast", now_s=5.0)
    assert [to for _, _, to in pauses(handled(e, m.Tick(), 5.0))] == ["new"]
    assert pauses(handled(e, m.Tick(), 5.1)) == []


def test_a_promised_worker_that_something_more_urgent_took_is_done_without() -> None:
    e = engine()
    late(e)
    join(e, "new", "fast", now_s=5.0)
    handled(e, m.Tick(), 5.0)
    assert placed(ask(e, "urgent", 40, 16.0, now_s=5.5)) == [("urgent/t", "new", "")]
    attempt = e.state.tasks["r/t"].attempt
    commands = handled(e, m.TaskPaused("r/t", attempt, checkpoint=KEY, done=6, saved=6 / 40), 6.25)
    # It ends behind the other sooner than on the slow worker that it has left.
    assert placed(commands) == [("r/t", "new", "waits for a faster worker")]
    assert pauses(handled(e, m.Tick(), 6.5)) == []


def test_a_moved_task_moves_again_only_to_a_worker_that_came_or_became_idle_since() -> None:
    e = engine()
    late(e, due_s=8.0)
    join(e, "new", "fast", now_s=5.0)
    join(e, "third", "fast", now_s=5.0)
    [(_, _, first)] = pauses(handled(e, m.Tick(), 5.0))
    attempt = e.state.tasks["r/t"].attempt
    handled(e, m.TaskPaused("r/t", attempt, checkpoint=KEY, done=6, saved=6 / 40), 6.25)
    assert e.state.tasks["r/t"].worker == first
    start(e, "r", 6.5)
    # Ten times slower than its profile there, and late: the others were there when it was moved.
    for step in range(8, 20):
        now_s = 6.5 + (step - 6) * 2.5
        told(e, "r", step, 40, now_s)
        assert pauses(handled(e, m.Tick(), now_s)) == []


def test_a_policy_that_asks_for_no_deadlines_moves_nothing_for_one() -> None:
    for policy, moves in (("streamwise", True), ("edf", True), ("fifo", False), ("heft", False)):
        e = engine(policy=policy)
        late(e)
        join(e, "new", "fast", now_s=5.0)
        assert bool(pauses(handled(e, m.Tick(), 5.0))) == moves


def test_a_model_without_checkpoints_stays_where_it_is() -> None:
    e = engine(checkpoints=False)
    late(e)
    join(e, "new", "fast", now_s=5.0)
    assert pauses(handled(e, m.Tick(), 5.0)) == []
    ask(e, "now", 16, 9.0, now_s=5.0)
    assert pauses(handled(e, m.Tick(), 5.0)) == []


# --- replicas that cannot share a size ------------------------------------------------------------------


def test_a_task_goes_to_replicas_that_can_share_its_tokens_and_explain_says_so() -> None:
    e = engine(vae=Vae(spatial=8, temporal=4, patch=2), attention_heads=8)
    eight = (Rank("n", tuple(range(8))),)
    join(e, "eight", "fast", ranks=eight)
    # 40 x 25 tokens a latent frame: eight share them, sixteen do not.
    size: dict[str, Any] = {"render_width": 640, "render_height": 400}
    assert placed(ask(e, "fits", 8, **size)) == [("fits/t", "eight", "")]
    odd = engine(vae=Vae(spatial=8, temporal=4, patch=2), attention_heads=8)
    join(odd, "sixteen", "fast", ranks=(*eight, Rank("o", tuple(range(8)))))
    assert placed(ask(odd, "r", 8, **size)) == []
    [reason] = explain(odd, "r").reasons
    assert (reason.code, reason.text) == (
        "no_worker_can", "no replica there is can share the tokens of dit at this size evenly",
    )  # fmt: skip
    assert placed(ask(odd, "s", 8, render_width=640, render_height=384)) == [("s/t", "sixteen", "")]
