"""A film with a ready-by contract through the engine: the policy asks for pools, in simulated queues."""

from __future__ import annotations

import msgspec
import pytest

from hpcwise.core import messages as m
from hpcwise.core.contract import Night, Offer, Terms, latest_s
from hpcwise.core.contracthead import Agreement, Contracted
from hpcwise.core.contractquote import Calibration, contract
from hpcwise.core.engine import Engine
from hpcwise.core.queuewait import flat
from hpcwise.core.spec import By
from hpcwise.sim.arrivals import Arrival, at_once
from hpcwise.sim.config import Loss, SimConfig, Site
from hpcwise.sim.provisioning import contracted_of
from hpcwise.sim.results import SimResult
from hpcwise.sim.simulation import Simulation
from tests.sim.worlds import Watched, catalogue, config, item, podcast

HOUR = 3600.0
NEVER = 100 * HOUR
#: A film that two nodes of four workers make in about 20 minutes.
HEAVY = {"framepack_dit": 240.0, "fantasytalking": 360.0, "real_esrgan": 60.0}
WORK_S = 1500.0


def world(**sites: Site) -> SimConfig:
    fleet = [item(16, kind=kind, min_workers=0, idle_timeout_s=60.0) for kind in sites]
    made = config(*fleet, models=catalogue(**HEAVY), warm=False, tick_s=15.0)
    engine = msgspec.structs.replace(made.engine, planned=True)
    return msgspec.structs.replace(made, engine=engine, sites=sites, patience_s=NEVER)


def offer(pool: str, usd_per_h: float, evictions_per_h: float = 0.0) -> Offer:
    return Offer(
        name=f"{pool} x2", partition=pool, nodes=2, gpus=8, walltime_s=4 * HOUR, load_s=60.0, work_s=WORK_S,
        usd_per_h=usd_per_h, evictions_per_h=evictions_per_h, pools=(pool,),
    )  # fmt: skip


def agreed(request_id: str, by_s: float) -> Agreement:
    terms = Terms(
        offers=(offer("spot", 8.0, 0.1), offer("a100", 32.0)), waits=((flat(300.0),) * 24,) * 2, sigma=0.05
    )  # fmt: skip
    made = contract(terms, by_s, 0.0, Calibration())
    return Agreement(request_id=request_id, cluster="here", made_s=0.0, terms=terms, contract=made)


def run(made: SimConfig, *agreements: Agreement) -> tuple[SimResult, Watched]:
    """Films of the agreements, all asked for at once."""
    known = {each.request_id: each for each in agreements}
    arrivals = tuple(
        Arrival(at_s=0.0, request_id=each.request_id, job=podcast(60.0, slo=By(wall_s=each.contract.by_s)))
        for each in agreements
    )
    watch = Watched()
    online = contracted_of(made, known.get, {"spot": 4, "a100": 4})
    watch.simulation = Simulation(made, arrivals, provision=online, watch=watch)
    return watch.simulation.run(), watch


def asked(watch: Watched, kind: str) -> list[float]:
    return [t for t, c in watch.commands(m.Launch) if c.kind == kind]


def test_spot_that_never_starts_is_given_up_at_the_latest_safe_moment_and_the_film_is_ready_in_time() -> None:
    one = agreed("film", 4 * HOUR)
    result, watch = run(world(spot=Site(queue_s=NEVER, spot=True), a100=Site(queue_s=300.0)), one)
    [film] = result.requests
    assert (film.state, film.slo_met) == ("done", True)
    assert asked(watch, "spot")[:8] == pytest.approx([0.0] * 8, abs=3.0)
    night = Night(remaining=1.0, deadline_s=one.contract.quote.planned_s)
    latest = latest_s(one.terms, 1, night, 0.0)
    assert 2 * HOUR < latest < 3.8 * HOUR
    # Not before, and not because a minute has passed: at the moment itself.
    assert min(asked(watch, "a100")) == pytest.approx(latest, rel=0.01)
    assert len(asked(watch, "a100")) == 8
    [why] = [e.why for _, e in watch.events(m.PlanReady) if e.why.startswith("contract: ")]
    assert why == "contract: film: a100 0 -> 8"
    # As soon as it is safe, nothing waits for spot any more.
    taken_back = [t for t, c in watch.commands(m.CancelLaunch)]
    assert len(taken_back) == 8 and min(taken_back) > latest


def test_spot_that_starts_makes_the_film_alone() -> None:
    result, watch = run(
        world(spot=Site(queue_s=600.0, spot=True), a100=Site(queue_s=300.0)), agreed("film", 4 * HOUR)
    )
    assert [(r.state, r.slo_met) for r in result.requests] == [("done", True)]
    assert asked(watch, "a100") == [] and len(asked(watch, "spot")) == 8


def test_an_eviction_that_makes_it_unsafe_brings_the_dear_pool_in_time() -> None:
    losses = tuple(Loss(at_s=1500.0, kind="spot") for _ in range(8))
    made = world(spot=Site(queue_s=600.0, spot=True), a100=Site(queue_s=300.0))
    made = msgspec.structs.replace(made, losses=losses)
    result, watch = run(made, agreed("film", 2900.0))
    assert [(r.state, r.slo_met) for r in result.requests] == [("done", True)]
    assert asked(watch, "a100") and len(asked(watch, "spot")) > 8


def test_two_contracts_do_not_count_on_the_same_workers() -> None:
    made = world(spot=Site(queue_s=600.0, spot=True), a100=Site(queue_s=300.0))
    result, watch = run(made, agreed("one", 4 * HOUR), agreed("two", 5 * HOUR))
    assert [(r.state, r.slo_met) for r in result.requests] == [("done", True)] * 2
    assert len(asked(watch, "spot")) == 16 and asked(watch, "a100") == []


def test_a_pool_that_is_no_longer_in_use_is_passed_over() -> None:
    made = world(a100=Site(queue_s=300.0))
    result, watch = run(made, agreed("film", 4 * HOUR))
    assert [(r.state, r.slo_met) for r in result.requests] == [("done", True)]
    assert max(asked(watch, "a100")) < 5.0, "the cheapest that is left is asked for at once"


def test_a_film_without_a_contract_is_planned_for_beside_one_that_has_it() -> None:
    made = world(spot=Site(queue_s=NEVER, spot=True), a100=Site(queue_s=300.0))
    one = agreed("film", 4 * HOUR)
    arrivals = (
        Arrival(at_s=0.0, request_id="film", job=podcast(60.0, slo=By(wall_s=4 * HOUR))),
        Arrival(at_s=10.0, request_id="plain", job=podcast(60.0, slo=By(wall_s=1.5 * HOUR))),
    )
    watch = Watched()
    online = contracted_of(made, {"film": one}.get, {"spot": 4, "a100": 4})
    watch.simulation = Simulation(made, arrivals, provision=online, watch=watch)
    result = watch.simulation.run()
    assert [(r.state, r.slo_met) for r in result.requests] == [("done", True)] * 2
    # The other film's workers came at once; the contract's own were not needed before its moment, if at all.
    assert min(asked(watch, "a100")) < 60.0


def test_a_head_that_starts_again_wants_the_same() -> None:
    one = agreed("film", 4 * HOUR)
    made = world(spot=Site(queue_s=NEVER, spot=True), a100=Site(queue_s=300.0))
    engine = Engine(made.engine)

    def contracts() -> Contracted:
        return contracted_of(made, {"film": one}.get, {"spot": 4, "a100": 4})

    first = contracts()
    [arrival] = at_once(podcast(60.0, slo=By(wall_s=4 * HOUR)))
    engine.handle(m.RequestArrived("film", arrival.job, 0.0), 0.0)
    view = first.view(engine.state)
    answer = first.plan(view, first.due(view))
    assert answer.wanted == {"spot": 8, "a100": 0}
    launched = [c for c in engine.handle(answer, 1.0) if isinstance(c, m.Launch)]
    assert len(launched) == 8
    again = contracts()
    assert again.view(engine.state) == first.view(engine.state)
    encoded = msgspec.msgpack.encode(engine.state)
    assert again.plan(again.view(engine.state)).wanted == answer.wanted
    assert msgspec.msgpack.encode(engine.state) == encoded


def test_a_model_that_only_wide_replicas_hold_has_one_of_them_under_a_contract() -> None:
    sites = {"a100": Site(queue_s=300.0), "a100-2x1": Site(queue_s=300.0)}
    made = world(**sites)
    own, wide = made.engine.fleet
    fleet = (
        msgspec.structs.replace(own, models=tuple(name for name in own.models if name != "framepack-dit")),
        msgspec.structs.replace(wide, models=("framepack-dit",), max_workers=4, nodes=2, devices_per_node=1),
    )
    made = msgspec.structs.replace(made, engine=msgspec.structs.replace(made.engine, fleet=fleet))
    result, watch = run(made, agreed("film", 4 * HOUR))
    assert [r.state for r in result.requests] == ["done"]
    assert len(asked(watch, "a100-2x1")) == 1 and len(asked(watch, "a100")) == 8
