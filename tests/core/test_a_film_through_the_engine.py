"""A whole film through the engine, with workers that take what their profiles say."""

from __future__ import annotations

from hpcwise.core import messages as m
from hpcwise.core.report import list_requests, receipt, show_request
from hpcwise.core.screenplay import Scene
from hpcwise.core.spec import Batch, By, Live
from tests.core.driver import Driver, podcast, scenes


def _film(driver: Driver, slo: Live | By | Batch, **changes: object) -> None:
    driver.send(m.RequestArrived("film", podcast(slo, **changes), wall_s=1000.0))
    driver.run()


def test_a_document_becomes_a_film_whose_segments_are_published_in_order() -> None:
    driver = Driver()
    _film(driver, Live(ttff_s=10))
    assert driver.state_of("film") == "done"
    published = driver.commands(m.Publish)
    assert [(p.index, p.shot, p.chunk) for p in published] == [
        (2 * shot + chunk, shot, chunk) for shot in range(8) for chunk in range(2)
    ]
    assert [c.version for c in driver.commands(m.MakeFilm)] == [1]
    row = list_requests(driver.engine)[0]
    assert (row.shots_done, row.shots, row.film_s) == (8, 8, 56.0)


def test_the_first_segment_plays_while_later_scenes_are_not_written() -> None:
    driver = Driver(screenplay=scenes(20))
    driver.runtime = lambda call, _w: 20.0 if call.stage == "screenplay" else 0.5
    _film(driver, Live(ttff_s=10))
    events = [(t, e) for t, e, _ in driver.log]
    first = next(t for t, e in events if isinstance(e, m.Published))
    written = next(t for t, e in events if isinstance(e, m.TaskFinished) and "screenplay" in e.task_id)
    assert first < written - 10


def test_deadlines_of_segments_follow_playback_and_real_speech_lengths() -> None:
    driver = Driver()
    driver.speech_s = {0: 10.0}
    _film(driver, Live(ttff_s=10))
    shots = show_request(driver.engine, "film").shots
    start = driver.engine.state.requests["film"].start_s
    due = [round(s.deadline_s - start, 3) for s in shots if s.deadline_s is not None]
    assert due == [0.0, 10.0, 17.0, 24.0, 31.0, 38.0, 45.0, 52.0]


def test_an_idle_worker_loads_the_voice_while_the_document_is_still_read() -> None:
    driver = Driver()
    driver.runtime = lambda call, _w: 3.0 if call.stage == "document" else 0.3
    driver.send(m.RequestArrived("film", podcast(Live(ttff_s=10)), wall_s=1.0))
    driver.run(until_s=2.0)
    assert "kokoro-82m" in {c.model for c in driver.commands(m.LoadModel) if c.worker_id == "w2"}
    driver.run()
    first = next(c for c in driver.commands(m.Dispatch) if "speech/0000" in c.task_id)
    assert first.expected_s == 0.05 + 0.2 * 7.0  # nothing of it is loading


def test_two_workers_are_launched_for_a_film_and_drained_when_idle() -> None:
    driver = Driver()
    _film(driver, Batch())
    assert len(driver.commands(m.Launch)) == 2
    driver.now_s += 100
    driver.send(m.Tick())
    assert {c.worker_id for c in driver.commands(m.Drain)} == {"w1", "w2"}


def test_equal_recipes_are_computed_once_and_a_second_request_is_all_cache_hits() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("a", podcast(), wall_s=1.0))
    driver.send(m.RequestArrived("b", podcast(), wall_s=1.0))
    driver.run()
    keys = [c.key for c in driver.commands(m.Dispatch)]
    assert len(keys) == len(set(keys)) == 3 + 2 * 8
    assert driver.state_of("a") == driver.state_of("b") == "done"
    assert receipt(driver.engine, "a").n_cache_hits + receipt(driver.engine, "b").n_cache_hits == 19


def test_a_request_whose_editing_changed_one_line_makes_one_shot_again() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("a", podcast(), wall_s=1.0))
    driver.run()
    before = len(driver.commands(m.Dispatch))
    line = driver.scenes[2].shots[0].lines[0]
    changed = type(line)(speaker=line.speaker, text="This line was edited.")
    from msgspec.structs import replace

    driver.scenes[2] = replace(
        driver.scenes[2],
        shots=(replace(driver.scenes[2].shots[0], lines=(changed,)), driver.scenes[2].shots[1]),
    )
    driver.send(m.RequestArrived("b", podcast(seed=0, duration_s=61.0), wall_s=1.0))
    driver.run()
    again = [c.task_id for c in driver.commands(m.Dispatch)[before:]]
    assert again == ["b/screenplay", "b/speech/0004", "b/animate/0004"]


def test_a_new_word_of_the_lexicon_makes_the_shots_again_in_which_it_is_said() -> None:
    driver = Driver()
    shots = [shot for scene in driver.scenes for shot in scene.shots]
    driver.scenes[2] = _with_first_line(driver.scenes[2], "Here the estuary is named.")
    driver.send(m.RequestArrived("a", podcast(), wall_s=1.0))
    driver.run()
    before = len(driver.commands(m.Dispatch))
    assert len(shots) > 4
    driver.send(m.RequestArrived("b", podcast(lexicon={"estuary": "est you airy"}), wall_s=1.0))
    driver.run()
    again = [c.task_id for c in driver.commands(m.Dispatch)[before:]]
    assert again == ["b/speech/0004", "b/animate/0004"]


def _with_first_line(scene: Scene, text: str) -> Scene:
    from msgspec.structs import replace

    first = scene.shots[0]
    line = replace(first.lines[0], text=text)
    return replace(scene, shots=(replace(first, lines=(line, *first.lines[1:])), *scene.shots[1:]))


def test_a_cancelled_request_stops_its_running_tasks_and_leaves_nothing_open() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=5.0)
    running = [t for w in driver.engine.state.workers.values() for t in w.held]
    assert running
    commands = driver.send(m.RequestCancelled("film"))
    assert sorted(c.task_id for c in commands if isinstance(c, m.Cancel)) == sorted(running)
    driver.run(until_s=6.0)
    assert driver.state_of("film") == "cancelled"
    assert all(not w.held for w in driver.engine.state.workers.values())
    assert not [c for t, e, cs in driver.log if t > 5.1 for c in cs if isinstance(c, m.Dispatch)]


def test_a_cancelled_request_that_comes_again_starts_anew_from_what_was_made() -> None:
    driver = Driver()
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run(until_s=8.0)
    driver.send(m.RequestCancelled("film"))
    made = sum(isinstance(e, m.TaskFinished) for _, e, _ in driver.log)
    driver.send(m.RequestArrived("film", podcast(), wall_s=1.0))
    driver.run()
    assert driver.state_of("film") == "done"
    assert receipt(driver.engine, "film").n_cache_hits == made > 0


def test_a_by_deadline_survives_a_step_of_the_wall_clock() -> None:
    driver = Driver()
    driver.launches = False
    driver.send(m.RequestArrived("film", podcast(By(wall_s=5000.0)), wall_s=1000.0))
    task = driver.engine.state.tasks["film/document"]
    before = driver.engine.world.deadline_s(task)
    driver.send(m.ClockStepped(600.0))
    assert round(before - driver.engine.world.deadline_s(task), 6) == 600.0


def test_a_request_that_ended_long_ago_leaves_the_memory_and_its_results_stay_known() -> None:
    driver = Driver()
    _film(driver, Batch())
    artifacts = len(driver.engine.state.artifacts)
    driver.now_s += 8 * 86400.0
    driver.send(m.Tick())
    assert (driver.engine.state.requests, driver.engine.state.tasks) == ({}, {})
    assert len(driver.engine.state.artifacts) == artifacts == 19
    driver.send(m.RequestArrived("again", podcast(), wall_s=1.0))
    driver.run()
    assert receipt(driver.engine, "again").n_cache_hits == 19
