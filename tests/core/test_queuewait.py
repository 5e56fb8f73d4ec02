"""Queue waits: quantiles, censoring, and what answers where few jobs are known."""

from __future__ import annotations

import pytest

from hpcwise.core.queuewait import LEVELS, MIN_SAMPLES, WaitSample, flat, learn, quantiles


def sample(wait_s: float, partition: str = "a", nodes: int = 1, walltime_s: float = 3600, hour: int = 10,
           started: bool = True) -> WaitSample:  # fmt: skip
    return WaitSample(
        partition=partition, nodes=nodes, walltime_s=walltime_s, hour=hour, wait_s=wait_s, started=started
    )


def test_quantiles_are_those_of_the_jobs() -> None:
    made = quantiles([(float(i), True) for i in range(1, 101)])
    assert made[LEVELS.index(0.5)] == 50.0
    assert made[LEVELS.index(0.9)] == 90.0
    assert made[-1] == 100.0


def test_jobs_cancelled_in_the_queue_make_waits_longer_not_shorter() -> None:
    # By hand (Kaplan-Meier): 1 of 4 starts after 10 s; the second gives up at 20 s; 1 of the last 2 at 30 s.
    made = quantiles([(10.0, True), (20.0, False), (30.0, True), (40.0, False)])
    assert made[LEVELS.index(0.25)] == 10.0
    assert made[LEVELS.index(0.6)] == 30.0
    # Never seen to start: at least so long.
    assert made[LEVELS.index(0.9)] == 40.0


def test_a_thin_group_answers_with_the_next_coarser_one() -> None:
    rows = [sample(100.0) for _ in range(MIN_SAMPLES)]
    rows += [sample(900.0, hour=22) for _ in range(MIN_SAMPLES - 1)]
    rows += [sample(5.0, partition="b", nodes=8) for _ in range(MIN_SAMPLES)]
    model = learn(rows, "test")
    day = model.waits("a", 1, 3600, 10)
    assert (day.at(0.9), day.of) == (100.0, "partition a, up to 1 nodes, up to 1 h, 8 to 12 h")
    night = model.waits("a", 1, 3600, 22)
    assert night.of == "partition a, up to 1 nodes, up to 1 h" and night.n == 2 * MIN_SAMPLES - 1
    assert model.waits("a", 64, 9e4, 3).of == "partition a"
    assert model.waits("new", 1, 60, 3).of == "all partitions"
    assert len(model.by_hour("a", 1, 3600)) == 24


def test_between_two_levels_waits_are_interpolated() -> None:
    waits = learn([sample(float(i)) for i in range(1, 1001)], "test").waits("a", 1, 3600, 10)
    assert waits.at(0.52) == pytest.approx(520, abs=1)
    assert flat(7.0).at(0.3) == 7.0


def test_no_jobs_at_all_is_said() -> None:
    with pytest.raises(IndexError):
        quantiles([])
    assert learn([], "nothing").waits("a", 1, 60, 0).of == "nothing known"
