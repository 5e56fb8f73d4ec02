"""The ladder: only shots at risk, prominent ones last, back up with slack, remade within the budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpcwise.core import messages as m
from hpcwise.core.config import EngineConfig
from hpcwise.core.explain import explain
from hpcwise.core.quality import Need, ladder
from hpcwise.core.report import receipt, show_request
from hpcwise.core.resources import FleetItem
from hpcwise.core.spec import Batch, By, Live
from tests.core.driver import FILM_MODELS, Driver, catalogue, podcast, scenes


def slow_driver(frame_s: float, workers: int = 2, n_shots: int = 8) -> Driver:
    fleet = (FleetItem(kind="cpu", hardware="cpu", models=FILM_MODELS, max_workers=workers),)
    return Driver(EngineConfig(catalogue=catalogue(frame_s=frame_s), fleet=fleet), scenes(n_shots))


def need(deadline_s: float, prominence: float = 0.5, seconds: tuple[float, ...] = (8.0, 4.0, 1.0)) -> Need:
    return Need(
        task_id=f"t{deadline_s}",
        deadline_s=deadline_s,
        before_s=0.0,
        film_s=3.5,
        prominence=prominence,
        options=list(enumerate(seconds)),
        now_at=0,
    )


def test_shots_with_time_keep_their_quality_and_only_those_at_risk_are_lowered() -> None:
    needs = [need(9.0), need(18.0), need(19.0), need(60.0)]
    ladder(needs, [(0.0, 1.0)], 0.0)
    assert [n.choice for n in needs] == [0, 0, 2, 0]


def test_a_prominent_shot_is_lowered_only_after_those_before_it() -> None:
    needs = [need(9.0, 0.4), need(13.0, 1.0)]
    ladder(needs, [(0.0, 1.0)], 0.0)
    assert [n.choice for n in needs] == [1, 0]


def test_more_workers_need_no_lowering() -> None:
    needs = [need(9.0), need(9.0), need(9.0)]
    ladder(needs, [(0.0, 1.0)] * 3, 0.0)
    assert [n.choice for n in needs] == [0, 0, 0]


@given(
    deadlines=st.lists(st.floats(0.5, 100.0), min_size=1, max_size=10),
    free=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=4),
)
def test_lowering_never_goes_below_the_last_rung_and_never_on_without_need(
    deadlines: list[float], free: list[float]
) -> None:
    needs = [need(d) for d in sorted(deadlines)]
    ladder(needs, [(at_s, 1.0) for at_s in free], 0.0)
    assert all(0 <= n.choice <= 2 for n in needs)
    if all(n.choice == 0 for n in needs):
        return
    plain = [need(d) for d in sorted(deadlines)]
    ladder(plain, [(-1e6, 1.0)] * 50, -1e6)
    assert all(n.choice == 0 for n in plain)


def test_a_live_film_that_cannot_be_made_in_time_is_lowered_and_plays_without_a_stall() -> None:
    driver = slow_driver(frame_s=0.12)
    driver.send(m.RequestArrived("film", podcast(Live(ttff_s=6.0)), wall_s=1.0))
    driver.run()
    made = receipt(driver.engine, "film")
    assert made.play is not None
    assert made.play.stall_s < 1.0
    lowered = [c for c in driver.commands(m.SetAlternative) if "lowered" in c.reason]
    assert lowered
    assert all(s.slack_s is not None for s in made.shots)


def test_degraded_shots_of_a_live_film_are_made_again_so_that_the_final_film_has_none() -> None:
    driver = slow_driver(frame_s=0.12)
    driver.send(m.RequestArrived("film", podcast(Live(ttff_s=6.0)), wall_s=1.0))
    driver.run()
    assert [c.version for c in driver.commands(m.MakeFilm)] == [1, 2]
    view = show_request(driver.engine, "film")
    assert [s.degraded for s in view.shots] == [False] * 8
    assert any(s.remade for s in view.shots)
    assert view.row.state == "done"
    assert "below the best tier" not in explain(driver.engine, "film").summary


def test_degraded_shots_stay_when_the_budget_is_spent() -> None:
    driver = slow_driver(frame_s=0.12)
    job = podcast(Live(ttff_s=6.0), budget_usd=0.001)
    driver.send(m.RequestArrived("film", job, wall_s=1.0))
    driver.run()
    assert [c.version for c in driver.commands(m.MakeFilm)] == [1]
    lowered = receipt(driver.engine, "film").n_degraded
    assert lowered > 0 and f"{lowered} of 8 shots below" in explain(driver.engine, "film").summary
    assert driver.state_of("film") == "done"


def test_a_batch_film_and_a_fixed_ladder_are_never_lowered() -> None:
    for slo, fixed in ((Batch(), False), (Live(ttff_s=2.0), True)):
        driver = slow_driver(frame_s=0.12)
        driver.send(m.RequestArrived("film", podcast(slo, fixed_ladder=fixed), wall_s=1.0))
        driver.run()
        assert driver.commands(m.SetAlternative) == []
        assert receipt(driver.engine, "film").n_degraded == 0


def test_a_relaxed_deadline_is_met_at_full_quality_and_a_tight_one_by_lowering() -> None:
    for by_s, lowered in ((4000.0, False), (60.0, True)):
        driver = slow_driver(frame_s=0.12)
        driver.send(m.RequestArrived("film", podcast(By(wall_s=1000.0 + by_s)), wall_s=1000.0))
        driver.run()
        first_film = next(t for t, e, _ in driver.log if isinstance(e, m.FilmMade))
        assert first_film <= by_s
        assert bool(driver.commands(m.SetAlternative)) == lowered


def test_quality_comes_back_when_workers_join() -> None:
    driver = slow_driver(frame_s=0.12, workers=1, n_shots=16)
    driver.send(m.RequestArrived("film", podcast(Live(ttff_s=6.0), duration_s=112.0), wall_s=1.0))
    for i in range(6):
        driver.at(20.0, lambda i=i: (driver.join(f"more{i}"), None)[1])  # type: ignore[misc]
    driver.run()
    raised = [c for c in driver.commands(m.SetAlternative) if "raised" in c.reason]
    assert raised
    tiers = [c.alternative for c in driver.commands(m.Dispatch) if "/animate/001" in c.task_id]
    assert 0 in tiers


def test_the_ladder_never_takes_a_model_below_the_elo_floor_and_goes_to_static_content_instead() -> None:
    tiers = {}
    for floor in (0.0, 950.0):
        fleet = (FleetItem(kind="cpu", hardware="cpu", models=FILM_MODELS, max_workers=2),)
        driver = Driver(EngineConfig(catalogue=catalogue(frame_s=0.01, mpx_s=0.45), fleet=fleet))
        driver.send(m.RequestArrived("film", podcast(Live(ttff_s=6.0), elo_floor=floor), wall_s=1.0))
        driver.run()
        tasks = driver.engine.state.tasks
        tiers[floor] = {
            tasks[c.task_id].spec.alternatives[c.alternative].tier for c in driver.commands(m.SetAlternative)
        }
    # The drawn model of these tests has no Elo: below a floor only cards are left of its lower rungs.
    assert tiers[0.0] & {"medium", "low"}
    assert tiers[950.0] <= {"high", "static"}
    assert "static" in tiers[950.0]


def test_slow_workers_count_as_slow_and_work_of_others_must_be_there_first() -> None:
    both = [need(9.0), need(9.0)]
    ladder(both, [(0.0, 1.0), (0.0, 3.0)], 0.0)
    assert [n.choice for n in both] == [0, 2]
    waits = need(12.0)
    waits.ready_s = [6.0, 5.0, 1.0]
    ladder([waits], [(0.0, 1.0)], 0.0)
    assert waits.choice == 1


def test_a_drawn_shot_that_is_lowered_keeps_its_voice() -> None:
    driver = slow_driver(frame_s=0.12)
    driver.send(m.RequestArrived("film", podcast(Live(ttff_s=6.0)), wall_s=1.0))
    driver.run()
    moved = driver.commands(m.SetAlternative)
    assert moved and all("/animate/" in c.task_id for c in moved)
