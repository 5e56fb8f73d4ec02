"""One line that names the field, the value and the fix, before anything is simulated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.sim.arrivals import Arrival, SloClass, at_once, poisson
from hpcwise.sim.config import Loss, SimConfig, Site
from hpcwise.sim.simulation import Simulation
from tests.sim.worlds import config, graph, item, node, podcast

JOB = graph(node("t", "flux"))


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (
            SimConfig(engine=EngineConfig()),
            "cluster: has no workers; give at least one kind and a number of 1 or more",
        ),
        (config(item(0)), "cluster: has no workers; give at least one kind and a number of 1 or more"),
        (config(item(1), item(-2, kind="b")), "cluster.b: -2 workers are not possible; give 0 or more"),
        (config(item(1), item(1)), "cluster.gpu: is named twice; give every kind a name of its own"),
        (config(sites={"x": Site()}), "cluster.x: is not a kind of the fleet; known are gpu"),
        (config(losses=(Loss(at_s=1, kind="y"),)), "cluster.y: is not a kind of the fleet; known are gpu"),
        (
            config(noise_sigma=float("nan")),
            "simulation.noise_sigma: nan is not usable; give a number of 0 or more",
        ),
        (config(failure_rate=1.5), "simulation.failure_rate: 1.5 is not a share; give 0 to 1"),
        (config(tick_s=0.0), "simulation.tick_s: 0.0 is not usable; give more than 0"),
        (
            config(sites={"gpu": Site(queue_s=-1.0)}),
            "cluster.gpu.queue_s: -1.0 is not usable; give a number of 0 or more",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_named(made: SimConfig, line: str) -> None:
    with pytest.raises(UsageError) as error:
        Simulation(made, at_once(JOB))
    assert str(error.value) == line


def test_an_unknown_model_is_named_with_those_that_are_known() -> None:
    job = podcast(models={"sync": "wav2lip"})
    with pytest.raises(
        UsageError, match=r"^model: 'wav2lip' is not in the catalogue; known are fantasytalking, "
    ):
        Simulation(config(), at_once(job))
    with pytest.raises(UsageError, match=r"^model: 'wav2lip' is not in the catalogue"):
        Simulation(config(item(1, "wav2lip")), at_once(JOB))


def test_a_job_that_breaks_the_rules_of_specs_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^duration: 5\.0 is not usable; choose 20s to 60m$"):
        Simulation(config(), at_once(podcast(5.0)))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"n": 3, "per_h": 0.0}, "arrivals: 3 requests at 0.0 an hour are not possible; give more than 0"),
        (
            {"n": 3, "per_h": 1.0, "by_hour": [1.0]},
            "arrivals.by_hour: 1 factors; give 24 of 0 or more, one above 0",
        ),
        (
            {"n": 3, "per_h": 1.0, "classes": (SloClass(share=0.0),)},
            "arrivals.classes: shares add up to nothing; give shares of 0 or more",
        ),
    ],
)
def test_arrivals_that_cannot_be_are_named(arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as error:
        poisson(JOB, seed=1, **arguments)
    assert str(error.value) == line


def test_a_request_cannot_come_twice_or_before_the_start() -> None:
    one = Arrival(at_s=0.0, request_id="r", job=JOB)
    with pytest.raises(UsageError, match=r"^arrivals: 'r' comes twice; give every request its own id$"):
        Simulation(config(), (one, one))
    with pytest.raises(UsageError, match=r"^arrivals\.r: at -1 s; give 0 or more$"):
        Simulation(config(), (msgspec.structs.replace(one, at_s=-1),))
