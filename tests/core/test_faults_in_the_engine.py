"""Lost workers, failing models, broken streams, full disks: what the engine makes of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcwise.core import messages as m
from hpcwise.core.catalogue import LinearProfile, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.errors import CoreError
from hpcwise.core.explain import explain
from hpcwise.core.recovery import reseeded
from hpcwise.core.report import receipt, show_request
from hpcwise.core.resources import AttemptRef, FleetItem, WorkerInfo
from hpcwise.core.spec import Batch, GraphTask, JobSpec, Live
from hpcwise.core.workflow import Edge
from tests.core.driver import Driver, catalogue, podcast, scenes


def graph(*tasks: GraphTask) -> JobSpec:
    return JobSpec(workflow="graph", graph=tasks)


def emulated() -> EngineConfig:
    """A fleet of one kind with a model that takes a second."""
    model = ModelInfo(name="em", family="emulated", profiles={"cpu": LinearProfile(base_s=1.0)})
    return EngineConfig(
        catalogue=catalogue(em=model), fleet=(FleetItem(kind="cpu", hardware="cpu", models=("em",)),)
    )


def test_a_task_of_a_lost_worker_runs_again_elsewhere_and_keeps_its_chunks() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=8.0)
    victim = next(w for w in driver.engine.state.workers.values() if any("animate" in t for t in w.held))
    task_id = next(t for t in victim.held if "animate" in t)
    task = driver.engine.state.tasks[task_id]
    driver.send(m.ChunkReady(task_id, task.attempt, 0, {"frames": 84}, 500))
    driver.kill(victim.info.worker_id)
    driver.run()
    first, again = (c for c in driver.commands(m.Dispatch) if c.task_id == task_id)
    assert (first.first_chunk, again.first_chunk, again.key) == (0, 1, first.key)
    assert again.worker_id != first.worker_id
    assert driver.state_of("film") == "done"


def test_messages_of_an_attempt_that_was_given_up_change_nothing() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=0.6)
    dispatch = driver.commands(m.Dispatch)[0]
    driver.kill(dispatch.worker_id)
    before = driver.engine.snapshot()
    stale = m.TaskFinished(dispatch.task_id, dispatch.attempt, facts={"n": 1}, seconds=1.0)
    assert driver.send(stale) == []
    version = driver.engine.state.version
    driver.engine.state.version = version - 1
    assert driver.engine.snapshot() == before


def test_a_shot_that_fails_three_times_goes_on_with_static_content_and_the_film_is_done() -> None:
    driver = Driver()
    driver.fails = lambda call, _w: (
        "CUDA error" if call.task_id == "film/animate/0003" and call.params["quality"] != "static" else None
    )
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run()
    assert driver.state_of("film") == "done"
    shot = show_request(driver.engine, "film").shots[3]
    assert (shot.tier, shot.degraded, shot.attempts) == ("static", True, 4)
    assert shot.why == "static after 3 failures: CUDA error"


def test_black_pictures_are_tried_with_one_new_seed_and_a_good_one_is_kept() -> None:
    driver = Driver()
    seeds: list[int] = []

    def fails(call: Any, _worker: Any) -> str | None:
        if call.task_id != "film/animate/0003":
            return None
        seeds.append(call.seed)
        return "black frames" if len(seeds) == 1 else None

    driver.fails = fails
    driver.send(m.RequestArrived("film", podcast(seed=7), wall_s=1.0))
    driver.run()
    assert driver.state_of("film") == "done"
    assert seeds == [7, reseeded(7)] and reseeded(7) != 7
    # Another recipe: its artifact has another key, and nothing of the first is taken over.
    first, second = (c for c in driver.commands(m.Dispatch) if c.task_id == "film/animate/0003")
    assert first.key != second.key and second.first_chunk == 0
    shot = show_request(driver.engine, "film").shots[3]
    assert (shot.tier, shot.degraded, shot.attempts) == ("high", False, 2)


def test_pictures_that_are_black_with_a_new_seed_too_go_down_the_ladder() -> None:
    driver = Driver()
    driver.fails = lambda call, _w: (
        "black frames" if call.task_id == "film/animate/0003" and call.params["quality"] != "static" else None
    )
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run()
    assert driver.state_of("film") == "done"
    shot = show_request(driver.engine, "film").shots[3]
    assert (shot.tier, shot.degraded, shot.attempts) == ("static", True, 3)
    assert shot.why == "static after 2 failures: black frames"


def test_a_stage_without_another_way_fails_the_request_with_its_reason() -> None:
    driver = Driver()
    driver.fails = lambda call, _w: "no text in it" if call.stage == "document" else None
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run()
    request = driver.engine.state.requests["film"]
    assert request.state == "failed"
    assert "film/document failed" in request.reason
    assert "no text in it" in request.reason


def test_speech_that_fails_is_spoken_by_the_fallback_voice() -> None:
    driver = Driver()
    driver.fails = lambda call, _w: "no voice" if call.model == "kokoro-82m" else None
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run()
    assert driver.state_of("film") == "done"
    assert {s.speech_model for s in receipt(driver.engine, "film").shots} == {"fallback-voice"}


def test_a_model_that_no_worker_can_load_gives_way_to_the_next_alternative() -> None:
    driver = Driver()
    driver.unloadable = {"kokoro-82m"}
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run()
    assert driver.state_of("film") == "done"
    assert {s.speech_model for s in receipt(driver.engine, "film").shots} == {"fallback-voice"}
    loads = [c.worker_id for c in driver.commands(m.LoadModel) if c.model == "kokoro-82m"]
    assert sorted(loads) == ["w1", "w2"]


def test_a_model_without_alternative_that_cannot_be_loaded_fails_the_request_by_name() -> None:
    driver = Driver()
    driver.unloadable = {"extractive-screenplay"}
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run()
    request = driver.engine.state.requests["film"]
    assert (request.state, "extractive-screenplay cannot be loaded: no weights" in request.reason) == (
        "failed",
        True,
    )


def test_a_reader_of_a_broken_stream_gives_its_worker_back_and_waits() -> None:
    driver = Driver(emulated())
    job = graph(
        GraphTask(name="dit", stage="dit", model="em", params={"chunks": 4}),
        GraphTask(name="vae", stage="vae", model="em", inputs=(Edge("latents", "dit", "stream"),)),
    )
    driver.join("a", models=("em",))
    driver.join("b", models=("em",))
    driver.runtime = lambda call, _w: 4.0 if call.stage == "dit" else 10.0
    driver.launches = False
    driver.send(m.RequestArrived("r", job, wall_s=1.0))
    driver.run(until_s=1.5)
    tasks = driver.engine.state.tasks
    assert (tasks["r/dit"].state, tasks["r/vae"].state) == ("running", "running")
    driver.kill(tasks["r/dit"].worker)
    assert [c.recall for c in driver.commands(m.Cancel)] == []
    driver.run()
    assert driver.state_of("r") == "done"
    assert [c.first_chunk for c in driver.commands(m.Dispatch) if c.task_id == "r/dit"] == [0, 1]


def test_chunks_are_delivered_to_a_running_reader_as_they_come() -> None:
    driver = Driver(emulated())
    job = graph(
        GraphTask(name="dit", stage="dit", model="em", params={"chunks": 4}),
        GraphTask(name="vae", stage="vae", model="em", inputs=(Edge("latents", "dit", "stream"),)),
    )
    driver.join("a", models=("em",))
    driver.join("b", models=("em",))
    driver.launches = False
    driver.runtime = lambda call, _w: 4.0 if call.stage == "dit" else 10.0
    driver.send(m.RequestArrived("r", job, wall_s=1.0))
    driver.run()
    delivered = [(c.n_chunks, c.done) for c in driver.commands(m.DeliverChunk) if c.task_id == "r/vae"]
    assert delivered == [(2, False), (3, False), (4, False), (4, True)]


def test_a_full_disk_pauses_dispatch_and_loses_nothing() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=4.0)
    driver.send(m.StoreFull("no space left under results"))
    before = len(driver.commands(m.Dispatch))
    driver.run(until_s=60.0)
    assert len(driver.commands(m.Dispatch)) == before
    codes = {r.code for r in explain(driver.engine, "film").reasons}
    assert "store_full" in codes
    driver.send(m.StoreAvailable())
    driver.run()
    assert driver.state_of("film") == "done"


def test_a_task_that_kills_its_workers_fails_and_those_that_waited_behind_it_do_not() -> None:
    timed = ModelInfo(name="em", family="e", profiles={"cpu": LinearProfile(per={"seconds": 1.0})})
    engine = Engine(msgspec.structs.replace(emulated(), catalogue=catalogue(em=timed)))
    for name, seconds in (("bad", 0.001), ("good", 1.0)):
        only = GraphTask(name="t", stage="s", model="em", params={"of": name}, features={"seconds": seconds})
        engine.handle(m.RequestArrived(name, graph(only)), 0.0)
    now_s, workers = 0.0, 0
    while engine.state.requests["bad"].state == "running":
        now_s, workers = now_s + 1.0, workers + 1
        worker = WorkerInfo(worker_id=f"w{workers}", kind="cpu", hardware="cpu", models=("em",))
        engine.handle(m.WorkerJoined(worker), now_s)
        bad, held = engine.state.tasks["bad/t"], engine.state.tasks["good/t"]
        assert bad.worker == held.worker == worker.worker_id
        engine.handle(m.TaskStarted("bad/t", bad.attempt), now_s)
        engine.handle(m.WorkerLost(worker.worker_id, "job 7 OUT_OF_MEMORY"), now_s + 0.5)
        engine.check()
    assert workers == 6
    assert engine.state.requests["bad"].reason.endswith("w6 lost: job 7 OUT_OF_MEMORY")
    assert engine.state.requests["good"].state == "running"
    assert (held.losses, held.failures) == (0, 0)


def test_a_store_that_takes_nothing_again_and_again_is_no_fault_of_the_task() -> None:
    engine = Engine(emulated())
    engine.handle(m.RequestArrived("r", graph(GraphTask(name="t", stage="s", model="em"))), 0.0)
    worker = WorkerInfo(worker_id="w", kind="cpu", hardware="cpu", models=("em",))
    engine.handle(m.WorkerJoined(worker), 0.0)
    task = engine.state.tasks["r/t"]
    for k in range(60):
        engine.handle(m.TaskStarted("r/t", task.attempt), k + 0.1)
        engine.handle(m.StoreFull("Read-only file system"), k + 0.5)
        engine.handle(m.TaskFailed("r/t", task.attempt, "Read-only file system", True), k + 0.5)
        engine.handle(m.StoreAvailable(), k + 0.9)
        engine.check()
    assert (task.state, task.losses, task.failures) == ("assigned", 0, 0)


def test_a_receipt_names_the_licences_of_what_made_it() -> None:
    model = ModelInfo(name="em", family="emulated", licence="FLUX.1 [dev] Non-Commercial")
    fleet = (FleetItem(kind="cpu", hardware="cpu", models=("em",)),)
    engine = Engine(EngineConfig(catalogue=catalogue(em=model), fleet=fleet))
    engine.handle(m.RequestArrived("r", graph(GraphTask(name="t", stage="s", model="em"))), 0.0)
    engine.handle(m.WorkerJoined(WorkerInfo(worker_id="w", kind="cpu", hardware="cpu", models=("em",))), 0.0)
    assert receipt(engine, "r").licences == {}
    engine.handle(m.TaskFinished("r/t", engine.state.tasks["r/t"].attempt, seconds=1.0), 1.0)
    assert receipt(engine, "r").licences == {"em": "FLUX.1 [dev] Non-Commercial"}


def test_a_torn_artifact_is_made_again_and_the_film_with_it() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=9.0)
    done = [
        t for t in driver.engine.state.tasks.values() if t.state == "finished" and t.spec.stage == "speech"
    ]
    key, task_id = done[0].key, done[0].spec.task_id
    driver.send(m.ArtifactTorn(key))
    driver.run()
    assert driver.state_of("film") == "done"
    assert [c.key for c in driver.commands(m.Dispatch) if c.task_id == task_id] == [key, key]


def test_a_film_whose_document_is_gone_from_the_store_has_it_read_again_and_waits_for_it() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("a", podcast(), wall_s=1.0))
    driver.run()
    # Another film of it: the engine takes the document for there, but its text has to lie beside the film.
    driver.stitches = False
    driver.send(m.RequestArrived("b", podcast(show="Another"), wall_s=1.0))
    driver.run(until_s=driver.now_s + 60.0)
    assert [c.request_id for c in driver.commands(m.MakeFilm)] == ["a", "b"]
    plan = driver.engine.film_plan("b", live=False)
    key = plan.document_key
    assert plan.screenplay is not None and plan.screenplay.scenes == tuple(driver.scenes)
    driver.send(m.PublishFailed("b", "is missing", key=key))
    assert len(driver.commands(m.MakeFilm)) == 2
    driver.stitches = True
    driver.run()
    assert driver.state_of("b") == "done"
    assert [c.task_id for c in driver.commands(m.Dispatch) if c.key == key] == ["a/document", "b/document"]
    assert [c.request_id for c in driver.commands(m.MakeFilm)] == ["a", "b", "b"]


def test_segments_dropped_with_one_that_could_not_be_published_are_asked_for_again() -> None:
    driver = Driver()
    driver.publishes = False
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=60.0)
    asked = driver.commands(m.Publish)
    assert [c.index for c in asked] == list(range(16))
    driver.send(m.Published("film", 0))
    driver.publishes = True
    # A late answer to an asking of before: the head has dropped all that waited behind it.
    driver.send(m.PublishFailed("film", "is missing", key=asked[6].key, index=6))
    driver.run()
    assert driver.state_of("film") == "done"
    assert [c.index for c in driver.commands(m.Publish)[16:]] == list(range(1, 16))
    made = [c.task_id for c in driver.commands(m.Dispatch) if c.key == asked[6].key]
    assert made == [asked[6].task_id] * 2


def test_a_worker_that_does_not_stop_is_killed_after_the_grace_time() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=6.0)
    holder = next(w.info.worker_id for w in driver.engine.state.workers.values() if w.held)
    driver.deaf.add(holder)
    driver.send(m.RequestCancelled("film"))
    driver.workers[holder].running = AttemptRef("nothing", 0)
    driver.run(until_s=12.0)
    assert [c.worker_id for c in driver.commands(m.Kill)] == [holder]
    assert holder not in driver.engine.state.workers


def test_a_worker_that_hangs_far_beyond_its_profile_is_killed_and_its_task_moves() -> None:
    driver = Driver()
    driver.runtime = lambda call, w: 1e5 if w.info.worker_id == "w1" and call.stage == "animate" else 0.2
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=400.0)
    assert {c.worker_id for c in driver.commands(m.Kill)} == {"w1"}
    assert driver.state_of("film") == "done"


def test_failing_launches_are_tried_again_later_and_later() -> None:
    driver = Driver()
    driver.launches = False
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    for _ in range(60):
        for launch in list(driver.engine.state.launches):
            driver.send(m.LaunchFailed(launch, "no such partition"))
        driver.now_s += 1.0
        driver.send(m.Tick())
    assert 5 <= len(driver.commands(m.Launch)) <= 8
    assert "waits_launch" in {r.code for r in explain(driver.engine, "film").reasons}


def test_a_new_head_waits_for_its_workers_and_gives_up_those_that_stay_away() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=6.0)
    held = {w.info.worker_id: tuple(w.held) for w in driver.engine.state.workers.values()}
    driver.engine = Engine.restore(driver.config, driver.engine.snapshot())
    driver.send(m.HeadStarted(epoch=2, grace_s=3.0))
    stays, goes = sorted(held)
    running = tuple(AttemptRef(t, driver.engine.state.tasks[t].attempt) for t in held[stays])
    driver.send(m.WorkerJoined(driver.workers[stays].info, running))
    driver.workers.pop(goes).alive = False
    driver.run()
    assert [c.worker_id for c in driver.commands(m.ForgetWorker)] == [goes]
    assert driver.state_of("film") == "done"
    moved = [c.task_id for c in driver.commands(m.Dispatch)]
    assert all(moved.count(t) == 2 for t in held[goes])
    assert all(moved.count(t) == 1 for t in held[stays])


def test_what_ran_while_there_was_no_head_does_not_hang_until_it_makes_no_step_for_this_one() -> None:
    engine = Engine(emulated())
    engine.handle(m.RequestArrived("r", graph(GraphTask(name="t", stage="s", model="em"))), 0.0)
    worker = WorkerInfo(worker_id="w", kind="cpu", hardware="cpu", models=("em",))
    engine.handle(m.WorkerJoined(worker), 0.0)
    running = AttemptRef("r/t", engine.state.tasks["r/t"].attempt)
    engine.handle(m.TaskStarted("r/t", running.attempt), 0.1)
    later = Engine.restore(emulated(), engine.snapshot())
    said = later.handle(m.HeadStarted(2, grace_s=15.0), 300.0)
    said += later.handle(m.Tick(), 305.0)
    said += later.handle(m.WorkerJoined(worker, (running,)), 306.0)
    said += later.handle(m.Tick(), 306.0 + 79.0)
    assert [c for c in said if isinstance(c, m.Kill | m.ForgetWorker)] == []
    [kill] = [c for c in later.handle(m.Tick(), 306.0 + 81.0) if isinstance(c, m.Kill)]
    assert kill.worker_id == "w" and "no step for over 80 s" in kill.reason
    assert kill.worker_id in later.state.killed


def test_an_attempt_that_nobody_knows_is_cancelled_on_the_worker_that_has_it() -> None:
    driver = Driver()
    stray = AttemptRef("old/task", 7)
    info = WorkerInfo(worker_id="w", kind="cpu", hardware="cpu", models=("drawn-scene",))
    commands = driver.engine.handle(m.WorkerJoined(info, (stray,)), 1.0)
    assert commands == [m.Cancel("w", "old/task", 7)]


def test_time_that_runs_backwards_is_refused() -> None:
    driver = Driver()
    driver.engine.handle(m.Tick(), 5.0)
    with pytest.raises(CoreError, match="time ran backwards"):
        driver.engine.handle(m.Tick(), 4.0)


def test_a_batch_request_is_not_starved_by_live_ones_beyond_its_age() -> None:
    config = EngineConfig(
        catalogue=catalogue(em=ModelInfo(name="em", family="e", profiles={"cpu": LinearProfile(base_s=1.0)})),
        fleet=(),
    )
    driver = Driver(config)
    driver.join("w", models=("em",))
    old = JobSpec(
        workflow="graph", slo=Batch(max_age_s=50), graph=(GraphTask(name="t", stage="s", model="em"),)
    )
    driver.send(m.RequestArrived("batch", old, wall_s=1.0))

    def live(i: int) -> None:
        slo = Live(ttff_s=10)
        tasks = (GraphTask(name="t", stage="s", model="em", params={"i": i}),)
        driver.send(m.RequestArrived(f"live{i}", JobSpec(workflow="graph", slo=slo, graph=tasks), wall_s=1.0))

    for i in range(200):
        driver.at(0.5 * i, lambda i=i: live(i))  # type: ignore[misc]
    driver.run(until_s=300)
    ended = driver.engine.state.requests["batch"].ended_s
    assert driver.state_of("batch") == "done"
    assert ended <= 0.0 + 50 + 15


@settings(max_examples=25, deadline=None)
@given(
    kills=st.lists(st.floats(0.6, 40.0), max_size=6),
    failures=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 2)), max_size=4),
    n_workers=st.integers(1, 4),
    live=st.booleans(),
)
def test_whatever_workers_and_models_do_the_film_ends_and_every_shot_is_in_it(
    kills: list[float], failures: list[tuple[int, int]], n_workers: int, live: bool
) -> None:
    fleet = (
        FleetItem(kind="cpu", hardware="cpu", models=Driver().config.fleet[0].models, max_workers=n_workers),
    )
    driver = Driver(EngineConfig(catalogue=catalogue(), fleet=fleet), scenes(8))
    left = {f"film/animate/{shot:04d}": n for shot, n in failures}

    def fails(call: Any, _worker: Any) -> str | None:
        if left.get(call.task_id, 0) > 0:
            left[call.task_id] -= 1
            return "it broke"
        return None

    def kill() -> None:
        if driver.workers:
            driver.kill(sorted(driver.workers)[0])

    driver.fails = fails
    for at in kills:
        driver.at(at, kill)
    driver.send(m.RequestArrived("film", podcast(Live(ttff_s=8) if live else Batch()), wall_s=1.0))
    driver.run()
    request = driver.engine.state.requests["film"]
    assert request.state == "done"
    published = [(s.shot, s.chunk) for s in request.segments]
    assert published == [(s, k) for s in range(8) for k in range(2)]
    assert len(request.published) == 16
    plan = driver.engine.film_plan("film", live=False)
    assert sum(s.frames for s in plan.segments) == 8 * 168


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 25.0), st.sampled_from(["kill", "cancel", "again", "full", "torn", "head"])),
        max_size=12,
    ),
    st.integers(1, 3),
)
def test_several_equal_films_under_kills_cancels_and_torn_artifacts_keep_every_invariant(
    steps: list[tuple[float, str]], n_films: int
) -> None:
    driver = Driver()

    def act(what: str, i: int) -> None:
        film = f"film{i % n_films}"
        if what == "kill" and driver.workers:
            driver.kill(sorted(driver.workers)[i % len(driver.workers)])
        elif what == "cancel":
            driver.send(m.RequestCancelled(film))
        elif what == "again":
            driver.send(m.RequestArrived(film, podcast(), wall_s=1.0))
        elif what == "head":
            driver.restart_head()
        elif what == "full":
            driver.send(m.StoreFull("no space"))
            driver.at(driver.now_s + 1.0, lambda: (driver.send(m.StoreAvailable()), None)[1])
        elif what == "torn":
            done = [a.key for a in driver.engine.state.artifacts.values() if a.done]
            if done:
                driver.send(m.ArtifactTorn(done[i % len(done)]))

    for i in range(n_films):
        slo = Live(ttff_s=8.0) if i % 2 else Batch()
        driver.send(m.RequestArrived(f"film{i}", podcast(slo), wall_s=1.0))
    for i, (at_s, what) in enumerate(steps):
        driver.at(at_s, lambda what=what, i=i: act(what, i))  # type: ignore[misc]
    driver.run()
    ended = {driver.state_of(f"film{i}") for i in range(n_films)}
    assert ended <= {"done", "cancelled"}
