"""Simulated queues by hand, the Lublin-Feitelson month by its own numbers, logs in the standard format."""

from __future__ import annotations

import numpy as np
import pytest

from hpcwise.core.contract import Offer, Terms
from hpcwise.core.errors import UsageError
from hpcwise.core.queuewait import flat
from hpcwise.sim.lublin import LoadJob, month
from hpcwise.sim.nights import night
from hpcwise.sim.sitequeue import Partition, SiteQueue
from hpcwise.sim.swf import read_swf

FOUR = (Partition(name="p", nodes=4), Partition(name="spot", nodes=4, under="p"))


def job(
    ident: int, submit_s: float, nodes: int, run_s: float, wall_s: float, partition: str = "p"
) -> LoadJob:
    return LoadJob(ident, submit_s, nodes, run_s, wall_s, partition)


def waits(site: SiteQueue) -> list[float]:
    return [sample.wait_s for sample in site.samples]


def test_short_jobs_backfill_a_hole_and_long_ones_do_not_delay_the_first() -> None:
    load = [
        job(1, 0, 3, 100, 100),
        job(2, 1, 4, 50, 50),  # waits for all nodes until 100
        job(3, 2, 1, 90, 90),  # done by 92: backfilled at once
        job(4, 3, 1, 90, 200),  # asks for longer than the hole: after the second
    ]
    site = SiteQueue(FOUR, load)
    site.run_until(1000)
    assert waits(site) == [0, 0, 99, 147]


def test_a_preemptible_job_gives_way_and_waits_again() -> None:
    load = [job(1, 0, 3, 500, 500, "spot"), job(2, 10, 2, 20, 100)]
    site = SiteQueue(FOUR, load)
    site.run_until(1000)
    # Evicted at 10, started anew at 30, done at 530; accounting knows its first wait.
    assert (site.evicted, waits(site)) == (1, [0, 0])
    assert site.preemptible_h == pytest.approx((10 + 500) / 3600)


def test_a_twin_goes_its_own_way() -> None:
    site = SiteQueue(FOUR, [job(1, 0, 4, 100, 100), job(2, 50, 2, 100, 100)])
    site.run_until(40)
    twin = site.copy()
    ours = twin.submit("p", 4, 30)
    assert twin.run_until(1000, {ours}) == 100 and [h.what for h in twin.happened()] == ["started"]
    assert twin.run_until(1000, {ours}) == 130 and [h.what for h in twin.happened()] == ["ended"]
    site.run_until(1000)
    assert waits(site) == [0, 50]


def test_the_estimate_of_a_start_counts_on_walltimes() -> None:
    site = SiteQueue(FOUR, [job(1, 0, 4, 10, 100), job(2, 1, 2, 10, 300)])
    site.run_until(5)
    assert site.start_estimate_s("p", 2, 60) == 95
    assert site.start_estimate_s("p", 4, 60) == 395
    assert SiteQueue(FOUR, []).start_estimate_s("p", 4, 60) == 0


def offer(partition: str, usd: float, evictions_per_h: float = 0.0) -> Offer:
    return Offer(
        name=partition, partition=partition, nodes=2, gpus=2, pools=(partition,), usd_per_h=usd,
        walltime_s=400.0, load_s=10.0, work_s=100.0, evictions_per_h=evictions_per_h,
    )  # fmt: skip


def test_an_evicted_film_goes_on_where_it_was_and_is_ready_in_time() -> None:
    # Others take all nodes from 60 to 160; ours had 50 s of work done on spot by then.
    site = SiteQueue(FOUR, [job(1, 60, 4, 100, 100)])
    terms = Terms(offers=(offer("spot", 1, evictions_per_h=1.0),), waits=((flat(0),) * 24,), sigma=0.0)
    made = night(site, terms, deadline_s=1000)
    assert (made.ready_s, made.preempted) == (160 + 10 + 50, 1)
    assert made.gpu_h == pytest.approx(2 * (60 + 60) / 3600)


def test_the_night_escalates_when_spot_does_not_come() -> None:
    site = SiteQueue((Partition(name="p", nodes=4), Partition(name="spot", nodes=4, under="p"),
                      Partition(name="dear", nodes=4)), [job(1, 0, 4, 5000, 5000)])  # fmt: skip
    site.run_until(1)
    both = (offer("spot", 1), offer("dear", 9))
    terms = Terms(offers=both, waits=((flat(60),) * 24, (flat(30),) * 24), sigma=0.0)
    made = night(site, terms, deadline_s=1001)
    # Asked for 140 s before the deadline, it starts at once and is done 30 s early.
    assert made.asked == (0, 1) and made.ready_s == pytest.approx(1001 - 30, abs=2)


def test_a_month_has_the_models_daily_cycle_and_the_load_that_was_asked_for() -> None:
    shares = {"a": (64, 0.6, 43200.0), "b": (32, 0.5, 43200.0)}
    months = [month(seed, 30, shares) for seed in range(3)]
    assert months[0] == month(0, 30, shares) != months[1]
    jobs = [each for one in months for each in one]
    for name, (nodes, load, longest_s) in shares.items():
        own = [each for each in jobs if each.partition == name]
        offered = sum(each.nodes * each.run_s for each in own) / (nodes * 3 * 30 * 86400)
        assert offered == pytest.approx(load, rel=0.15)
        assert max(each.nodes for each in own) <= nodes // 2
        assert all(0 < each.run_s <= each.walltime_s <= longest_s for each in own)
    hours = np.bincount([int(each.submit_s / 3600) % 24 for each in jobs], minlength=24)
    assert hours[13:17].mean() > 5 * hours[2:6].mean()
    serial = np.mean([each.nodes == 1 for each in jobs])
    assert serial == pytest.approx(0.244, abs=0.03)


def test_a_log_in_the_standard_format_is_read_with_its_header() -> None:
    lines = [
        "; Version: 2.2", "; UnixStartTime: 1000", "; MaxNodes: 8", "; MaxProcs: 64", "",
        "1 10 5 100 16 -1 -1 32 3600 -1 1 3 1 -1 2 1 -1 -1",
        "2 20 7 -1 -1 -1 -1 32 3600 -1 5 3 1 -1 2 1 -1 -1",
    ]  # fmt: skip
    log = read_swf(lines, "x.swf")
    assert (log.start_s, log.max_procs, log.max_nodes) == (1000, 64, 8)
    assert [(j.procs, j.wait_s, j.walltime_s, j.queue, j.started) for j in log.jobs] == [
        (16, 5, 3600, 2, True), (32, 7, 3600, 2, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 2"], "x.swf:1: 2 fields; the Standard Workload Format has 18 in a line"),
        (["; none"], "x.swf: holds no jobs; give a log in the Standard Workload Format"),
        (["a " + "1 " * 17], "x.swf:1: 'a' is not a number; -1 stands for unknown"),
    ],
)
def test_a_line_that_is_no_job_is_named(lines: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        read_swf(lines, "x.swf")
