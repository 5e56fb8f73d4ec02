"""The head's provisioner drives the simulator: workers by the hour of the day, in regions, and repeatably."""

from __future__ import annotations

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.spec import Batch, By
from hpcwise.sim.arrivals import Arrival, SloClass, at_once, poisson
from hpcwise.sim.config import SimConfig, Site
from hpcwise.sim.provisioning import online_of
from hpcwise.sim.results import SimResult
from hpcwise.sim.simulation import Simulation
from tests.sim.worlds import Watched, catalogue, config, graph, item, node, podcast

#: Quiet nights, a long busy day.
BY_HOUR = (*([0.02] * 7), *([1.0] * 12), *([0.02] * 5))
CLASSES = (SloClass(share=1, by_s=1800), SloClass(share=1, by_s=7200), SloClass(share=1))
#: Films that keep several workers busy for half an hour.
HEAVY = {"framepack_dit": 40.0, "fantasytalking": 60.0, "real_esrgan": 20.0}


def world(n: int = 60, **sites: Site) -> SimConfig:
    """Up to `n` workers that wait two minutes in a queue and load for 20 s."""
    known = catalogue(**HEAVY)
    models = {name: msgspec.structs.replace(info, load_s=20.0) for name, info in known.models.items()}
    kinds = sites or {"gpu": Site(queue_s=120.0, queue_sigma=0.3)}
    fleet = [item(n // len(kinds), kind=kind, min_workers=0, idle_timeout_s=300.0) for kind in kinds]
    made = config(*fleet, models=msgspec.structs.replace(known, models=models), warm=False, tick_s=15.0)
    engine = msgspec.structs.replace(made.engine, planned=True, keep_ended_s=600.0)
    return msgspec.structs.replace(made, engine=engine, sites=kinds, noise_sigma=0.1, patience_s=3600.0)


def run(made: SimConfig, arrivals: tuple[Arrival, ...]) -> tuple[SimResult, Watched]:
    watch = Watched()
    watch.simulation = Simulation(made, arrivals, provision=online_of(made), watch=watch)
    return watch.simulation.run(), watch


def workers_by_hour(watch: Watched) -> list[int]:
    """The most workers that were there in each hour."""
    most, there = [0] * 48, 0
    for at_s, event, _ in watch.log:
        there += isinstance(event, m.WorkerJoined)
        there -= isinstance(event, m.WorkerLost)
        hour = int(at_s / 3600)
        most[hour] = max(most[hour], there)
    return most


def test_workers_come_by_day_and_go_by_night_and_films_are_there_in_time() -> None:
    made = world()
    arrivals = poisson(podcast(slo=Batch(max_age_s=7200.0)), 16, 2.5, 3, classes=CLASSES, by_hour=BY_HOUR)
    result, watch = run(made, arrivals)
    assert {r.state for r in result.requests} == {"done"}
    promised = [r for r in result.requests if r.slo_met is not None]
    assert sum(bool(r.slo_met) for r in promised) >= 0.95 * len(promised)
    by_hour = workers_by_hour(watch)
    day, night = by_hour[8:18], by_hour[1:6]
    assert max(night) <= 0.5 * max(day) and min(night) == 0
    # Demand alone takes as many as there may be, whenever anything is to do.
    plain = msgspec.structs.replace(made, engine=msgspec.structs.replace(made.engine, planned=False))
    demand = Simulation(plain, arrivals).run()
    assert result.held_usd < 0.6 * demand.held_usd
    assert max(by_hour) < 60


def test_equal_seeds_give_equal_bytes_with_plans_and_losses() -> None:
    def once(seed: int) -> bytes:
        made = world(30, spot=Site(queue_s=60.0, queue_sigma=0.5, spot=True, zone="z", evictions_per_h=1.0))
        made = msgspec.structs.replace(made, seed=seed, together=0.5, failure_rate=0.02)
        result, watch = run(made, poisson(podcast(), 3, 20.0, seed, classes=CLASSES))
        plans = [event for _, event in watch.events(m.PlanReady)]
        assert result.plans == len(plans) > 5
        return msgspec.msgpack.encode((result, plans))

    assert once(1) == once(1) != once(2)


def test_of_two_regions_the_one_without_a_queue_is_asked_first_and_both_when_time_is_short() -> None:
    sites = {"near": Site(region="a", queue_s=10.0), "far": Site(region="b", queue_s=900.0)}

    def kinds(by_s: float) -> dict[str, int]:
        job = podcast(slo=By(wall_s=by_s))
        result, _ = run(world(16, **sites), at_once(job))
        assert [r.state for r in result.requests] == ["done"]
        return {kind.kind: kind.workers for kind in result.kinds}

    assert kinds(3600.0).keys() == {"near"}


def test_a_launch_whose_film_was_cancelled_never_becomes_a_worker() -> None:
    made = world(8)
    job = graph(*(node(f"t{i}", "flux", n=i) for i in range(8)))
    watch = Watched()
    simulation = watch.simulation = Simulation(made, at_once(job), provision=online_of(made), watch=watch)
    simulation.after(30.0, lambda: m.RequestCancelled("podcast"))
    simulation.after(400.0, lambda: m.Tick())
    late = Arrival(at_s=500.0, request_id="later", job=graph(node("t", "yolo")))
    simulation._coming += 1
    simulation.after(late.at_s, simulation._arrive, late)
    result = simulation.run()
    asked = [c for t, c in watch.commands(m.Launch) if t < 30.0]
    assert asked and result.taken_back == len(asked)
    assert {e.worker.launch for _, e in watch.events(m.WorkerJoined)}.isdisjoint(c.token for c in asked)
