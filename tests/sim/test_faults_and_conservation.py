"""Whatever happens to workers and tasks: nothing is lost, and all ends well."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hpcwise.core import messages as m
from hpcwise.core.spec import Live
from hpcwise.core.state import ENDED
from hpcwise.sim.arrivals import Arrival, SloClass, at_once, poisson
from hpcwise.sim.config import Loss, Site
from hpcwise.sim.simulation import Simulation, simulate
from hpcwise.sim.workload import Workload
from tests.sim.worlds import FOUR, config, graph, item, node, podcast, watched

ROUGH: dict[str, Any] = {
    "noise_sigma": 0.3,
    "straggler_rate": 0.05,
    "failure_rate": 0.05,
    "launch_failure_rate": 0.1,
    "warm": False,
    "overhead_s": 0.002,
    "sites": {
        "gpu": Site(
            queue_s=5.0, queue_sigma=0.5, spot=True, zone="z", evictions_per_h=25, crashes_per_h=10,
            lifetime_s=300.0,
        )
    },
    "notice_s": 2.0,
    "together": 0.2,
    "drain_margin_s": 5.0,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_every_request_ends_and_every_task_is_accounted_for(seed: int) -> None:
    arrivals = poisson(
        podcast(56.0), 4, 200.0, seed, classes=(SloClass(share=1, live_s=30), SloClass(share=1))
    )
    result, watch = watched(config(item(12), seed=seed, **ROUGH), arrivals, Workload(speech_sigma=0.2))
    assert {r.state for r in result.requests} == {"done"}
    assert result.evictions + result.crashes > 0
    state = watch.simulation.engine.state
    assert {t.state for t in state.tasks.values()} <= ENDED
    assert len(state.tasks) == result.tasks
    finished = Counter(e.task_id for _, e in watch.events(m.TaskFinished))
    dispatched = Counter(c.task_id for _, c in watch.commands(m.Dispatch))
    done = [name for name, task in state.tasks.items() if task.state == "finished" and not task.cached]
    assert set(finished) >= set(done)
    assert sum(dispatched.values()) == result.attempts >= len(done)
    # Every dispatched attempt has one end: finished, failed, given back, stopped, or lost with its worker.
    ends = sum(len(watch.events(kind)) for kind in (m.TaskFinished, m.TaskFailed, m.Revoked, m.TaskCancelled))
    lost = sum("lost" in line for t in state.tasks.values() for line in t.history)
    assert ends + lost >= result.attempts


def test_an_evicted_worker_ends_what_it_can_within_its_notice() -> None:
    job = graph(*(node(f"t{i}", "fantasytalking") for i in range(4)))
    losses = (Loss(at_s=4.0, kind="gpu", notice_s=30.0),)
    result, watch = watched(config(item(2, launch_s=100.0), losses=losses), at_once(job))
    [(drained_s, _)] = watch.events(m.WorkerDraining)
    [(lost_s, lost)] = watch.events(m.WorkerLost)
    # Its task ends at 6 s, in time; the other worker does the remaining two.
    assert (drained_s, lost_s, lost.reason) == (4.0, 6.0, "left: evicted")
    assert result.requests[0].ready_s == pytest.approx(18.0)
    assert result.evictions == 1
    assert result.attempts == 4


def test_a_crashed_worker_costs_the_work_that_it_had_done() -> None:
    job = graph(node("t", "fantasytalking"))
    result = simulate(config(item(2), losses=(Loss(at_s=4.0, kind="gpu"),)), at_once(job))
    [request] = result.requests
    assert request.ready_s == pytest.approx(10.0)
    assert request.cost_usd == pytest.approx((4.0 + 6.0) * 3.6 / 3600)
    assert (result.crashes, result.attempts) == (1, 2)


def test_an_eviction_takes_others_of_its_zone() -> None:
    fleet = item(6, launch_s=15.0)
    site = Site(spot=True, zone="z", evictions_per_h=30.0)
    job = graph(*(node(f"t{i}", "fantasytalking") for i in range(60)))
    alone = simulate(config(fleet, sites={"gpu": site}, seed=3), at_once(job))
    together = simulate(config(fleet, sites={"gpu": site}, seed=3, together=1.0), at_once(job))
    assert together.evictions >= 6 > alone.evictions > 0
    assert together.requests[0].ready_s is not None and alone.requests[0].ready_s is not None
    assert together.requests[0].ready_s > alone.requests[0].ready_s


def test_a_task_that_always_fails_ends_its_request_with_a_reason() -> None:
    [request] = simulate(config(failure_rate=1.0), at_once(graph(node("t", "flux")))).requests
    assert request.state == "failed"
    assert request.reason == "podcast/t failed 2 times: simulated failure"


def test_a_model_that_no_worker_hosts_leaves_the_request_stuck_and_named() -> None:
    [request] = simulate(config(item(1, "kokoro-82m")), at_once(graph(node("t", "flux")))).requests
    assert request.state == "stuck"
    assert "podcast/t" in request.reason and "flux" in request.reason


def test_a_slow_worker_that_is_doubted_in_vain_changes_nothing_but_time() -> None:
    result = simulate(config(item(8), straggler_rate=1.0, straggler_factor=5.0), at_once(podcast(56.0)), FOUR)
    plain = simulate(config(item(8)), at_once(podcast(56.0)), FOUR)
    assert result.requests[0].state == plain.requests[0].state == "done"
    assert result.requests[0].cost_usd == pytest.approx(5 * plain.requests[0].cost_usd, rel=0.01)
    assert result.stragglers == result.attempts


def test_the_embedded_podcast_runs_on_the_same_simulator_and_lowers_its_quality_under_pressure() -> None:
    from tests.core.driver import FILM_MODELS
    from tests.core.driver import catalogue as embedded
    from tests.core.driver import podcast as film

    fleet = item(2, *FILM_MODELS, kind="cpu", hardware="cpu", memory_gb=8.0)
    at_ease = config(fleet, models=embedded(frame_s=0.01))
    pressed = config(fleet, models=embedded(frame_s=0.12))
    job = film(Live(ttff_s=10.0))
    easy, hard = (simulate(c, at_once(job)).requests[0] for c in (at_ease, pressed))
    assert (easy.state, easy.degraded, easy.slo_met) == ("done", 0, True)
    assert hard.state == "done" and hard.degraded > 0


def test_workers_scale_with_the_load_and_leave_when_idle() -> None:
    fleet = item(10, min_workers=1, idle_timeout_s=5.0, launch_s=1.0)
    first = graph(*(node(f"t{i}", "flux") for i in range(10)))
    later = graph(node("again", "flux"))
    arrivals = (
        Arrival(at_s=0.0, request_id="a", job=first),
        Arrival(at_s=60.0, request_id="b", job=later),
    )
    result, watch = watched(config(fleet, warm=False), arrivals)
    assert {r.state for r in result.requests} == {"done"}
    assert len(watch.commands(m.Launch)) == 10
    assert len(watch.commands(m.Drain)) == 9


def test_a_provisioner_is_asked_and_its_plan_is_followed() -> None:
    job = graph(*(node(f"t{i}", "flux") for i in range(8)))
    asked: list[float] = []

    def provision(_engine: Any, now_s: float) -> dict[str, int] | None:
        asked.append(now_s)
        return {"gpu": 4} if len(asked) == 1 else None

    cold = config(item(8, min_workers=0), warm=False)
    simulation = Simulation(cold, at_once(job), provision=provision, provision_every_s=2.0)
    result = simulation.run()
    assert result.workers == 4
    assert asked == [0.0, 2.0, 4.0]
    assert result.requests[0].ready_s == pytest.approx(6.0)
