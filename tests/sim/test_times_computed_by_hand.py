"""Simulated times, costs and energies of small cases, against what paper and pencil give."""

from __future__ import annotations

import msgspec
import pytest

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue, HardwareInfo, LinearProfile, ModelInfo
from hpcwise.core.spec import GraphTask
from hpcwise.core.workflow import Edge
from hpcwise.sim.arrivals import Arrival, at_once
from hpcwise.sim.config import Site
from hpcwise.sim.simulation import simulate
from tests.sim.worlds import FOUR, catalogue, config, graph, item, node, podcast, watched

CHAIN = graph(node("a", "flux"), node("b", "kokoro-82m", "a"), node("c", "real-esrgan", "b"))


def test_a_chain_takes_the_sum_of_its_tasks_and_costs_what_ran() -> None:
    result = simulate(config(item(1)), at_once(CHAIN))
    [request] = result.requests
    assert request.state == "done"
    assert request.ready_s == pytest.approx(3.0 + 0.5 + 2.0)
    assert request.cost_usd == pytest.approx(5.5 * 3.6 / 3600)
    assert request.energy_j == pytest.approx(5.5 * 100)
    assert (result.tasks, result.attempts) == (3, 3)
    assert result.utilisation == pytest.approx(1.0)


def test_held_cost_and_idle_energy_count_every_worker_until_the_end() -> None:
    result = simulate(config(item(2)), at_once(CHAIN))
    [kind] = result.kinds
    assert kind.held_s == pytest.approx(11.0)
    assert kind.busy_s == pytest.approx(5.5)
    assert result.held_usd == pytest.approx(11.0 * 3.6 / 3600)
    assert result.energy_j == pytest.approx(5.5 * 100 + 5.5 * 10)
    assert result.utilisation == pytest.approx(0.5)


def test_independent_tasks_share_two_workers() -> None:
    job = graph(*(node(f"t{i}", "fantasytalking") for i in range(5)))
    assert simulate(config(item(2)), at_once(job)).requests[0].ready_s == pytest.approx(18.0)


def test_a_reader_of_a_stream_runs_beside_its_writer() -> None:
    job = graph(
        node("w", "framepack-dit", chunks=4), node("r", "fantasytalking", "w", kind="stream", chunks=4)
    )
    models = catalogue()
    even = ModelInfo(name="framepack-dit", family="x", profiles={"gpu": LinearProfile(per={"work": 1.0})})
    reader = ModelInfo(name="fantasytalking", family="x", profiles={"gpu": LinearProfile(per={"work": 1.0})})
    models = Catalogue(
        models={**models.models, "framepack-dit": even, "fantasytalking": reader},
        hardware=models.hardware,
    )
    tasks = tuple(node_with_work(task, seconds) for task, seconds in zip(job.graph, (4.0, 6.0), strict=True))
    result = simulate(config(item(2), models=models), at_once(graph(*tasks)))
    # The writer needs 1 s a chunk, the reader 1.5 s: it starts at 1 s and is never starved again.
    assert result.requests[0].ready_s == pytest.approx(1.0 + 6.0)


def node_with_work(task: GraphTask, seconds: float) -> GraphTask:
    return msgspec.structs.replace(task, features={"work": seconds})


def test_the_first_frame_waits_for_one_segment_of_every_stage() -> None:
    # 4 shots of 14 s, enough workers for everything at once; one scene a chunk, evenly over 2 s after base.
    result, watch = watched(config(item(60)), at_once(podcast(56.0)), FOUR)
    [request] = result.requests
    screenplay_first = 2.0 + 0.0  # all of this model's time is base: it comes before the first chunk
    first_segment = 1.0 + screenplay_first + 3.0 + 0.25 + 4.0 + 1.0 + 6.0 + 2.0
    assert request.ttff_s == pytest.approx(first_segment)
    assert request.shots == 16
    assert request.film_s == pytest.approx(56.0, abs=0.1)
    # With a worker for each segment all follow at once.
    assert request.ready_s == pytest.approx(first_segment)
    assert (request.stalls, request.ttff_stall_free_s) == (0, pytest.approx(first_segment))
    assert len(watch.events(m.Published)) == 16


def test_every_segment_starts_when_its_own_chunk_is_there() -> None:
    models = catalogue()
    sketch = ModelInfo(
        name="framepack-dit", family="x", profiles={"gpu": LinearProfile(per={"film_s": 4 / 14})}
    )
    models = Catalogue(models={**models.models, "framepack-dit": sketch}, hardware=models.hardware)
    _, watch = watched(config(item(60), models=models), at_once(podcast(56.0)), FOUR)
    started = {e.task_id: t for t, e in watch.events(m.TaskStarted)}
    sketched = [started["podcast/sketch/0000"] + k for k in (1.0, 2.0, 3.0, 4.0)]
    decoded = [started[f"podcast/decode/{k:04d}"] for k in range(4)]
    assert decoded == pytest.approx(sketched)


def test_loading_and_queue_waits_come_before_the_work() -> None:
    models = catalogue()
    slow = ModelInfo(
        name="flux", family="x", load_s=7.0, memory_gb=1, profiles={"gpu": LinearProfile(base_s=3.0)}
    )
    models = Catalogue(models={**models.models, "flux": slow}, hardware=models.hardware)
    cold = config(item(1, launch_s=2.0), models=models, warm=False, sites={"gpu": Site(queue_s=20.0)})
    result = simulate(cold, at_once(graph(node("a", "flux"))))
    assert result.requests[0].ready_s == pytest.approx(20.0 + 2.0 + 7.0 + 3.0)


def test_two_regions_pay_for_the_link_between_them() -> None:
    fleet = (item(1, "flux", kind="east"), item(1, "kokoro-82m", kind="west"))
    job = graph(node("a", "flux"), node("b", "kokoro-82m", "a"))
    sites = {"east": Site(region="a"), "west": Site(region="b")}
    result = simulate(config(*fleet, sites=sites), at_once(job))
    # 500 kB over 1 GB/s, and half a second to get there.
    assert result.requests[0].ready_s == pytest.approx(3.0 + 0.5 + 0.0005 + 0.5)


def test_the_shared_file_system_is_slower_than_infiniband() -> None:
    job = graph(node("a", "flux"), node("b", "kokoro-82m", "a"))
    slow = config(item(1), fs_gb_per_s=0.001, ib_gb_per_s=0.01)
    fast = config(item(1), fs_gb_per_s=0.001, ib_gb_per_s=0.01, sites={"gpu": Site(infiniband=True)})
    assert simulate(slow, at_once(job)).requests[0].ready_s == pytest.approx(3.5 + 0.5)
    assert simulate(fast, at_once(job)).requests[0].ready_s == pytest.approx(3.5 + 0.05)


def test_a_batch_takes_its_slowest_task_and_a_share_of_the_rest() -> None:
    quick = ModelInfo(
        name="kokoro-82m", family="x", batch_max=4, profiles={"gpu": LinearProfile(base_s=0.01)}
    )
    models = Catalogue(
        models={**catalogue().models, "kokoro-82m": quick},
        hardware={"gpu": HardwareInfo(name="gpu", usd_per_h=3.6)},
    )
    job = graph(*(node(f"t{i}", "kokoro-82m") for i in range(4)))
    result = simulate(config(item(1), models=models, batch_marginal=0.5), at_once(job))
    assert result.requests[0].ready_s == pytest.approx(0.01 + 3 * 0.5 * 0.01)


def test_requests_arrive_when_they_are_said_to() -> None:
    job = graph(node("a", "flux"))
    other = graph(node("b", "flux"))
    arrivals = (
        Arrival(at_s=0.0, request_id="one", job=job),
        Arrival(at_s=10.0, request_id="two", job=other),
    )
    result = simulate(config(item(1)), arrivals)
    assert [(r.arrived_s, r.ready_s) for r in result.requests] == [(0.0, 3.0), (10.0, 3.0)]


def test_a_task_that_reads_a_whole_stream_ends_no_sooner_than_the_stream() -> None:
    """A sketch of four chunks in 8 s; a decode of 1 s that needs all of it begins at its end, one that needs
    its first chunk after that."""
    known = catalogue(framepack_vae=1.0)
    drawn = msgspec.structs.replace(
        known.models["framepack-dit"], profiles={"gpu": LinearProfile(per={"work": 8.0})}
    )
    models = {**known.models, "framepack-dit": drawn}
    made = config(item(4), models=msgspec.structs.replace(known, models=models))
    sketch = msgspec.structs.replace(node("sketch", "framepack-dit", chunks=4), features={"work": 1.0})
    whole = node("whole", "framepack-vae", "sketch", kind="stream")
    first = msgspec.structs.replace(
        node("first", "framepack-vae"), inputs=(Edge("sketch", "sketch", "stream", 0),)
    )
    result, watch = watched(made, at_once(graph(sketch, whole, first)))
    assert result.requests[0].state == "done"
    ends = {e.task_id.rpartition("/")[2]: t for t, e in watch.events(m.TaskFinished)}
    assert ends == {"first": 3.0, "sketch": 8.0, "whole": 9.0}
