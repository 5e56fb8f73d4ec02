"""Engine time over restarts and set clocks."""

from __future__ import annotations

import pytest

from hpcwise.head.clock import EngineClock


class Machine:
    """Two clocks that the test moves."""

    def __init__(self) -> None:
        self.monotonic_s, self.wall_s = 1000.0, 1_700_000_000.0

    def passes(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds

    def clock(self, now_s: float, recorded_wall_s: float) -> EngineClock:
        return EngineClock.resumed(now_s, recorded_wall_s, lambda: self.monotonic_s, lambda: self.wall_s)


def test_a_new_run_begins_at_zero_and_goes_on_with_the_monotonic_clock() -> None:
    machine = Machine()
    clock = machine.clock(0.0, 0.0)
    machine.passes(2.5)
    assert clock.now_s() == pytest.approx(2.5)


def test_the_time_without_a_head_has_passed_too() -> None:
    machine = Machine()
    clock = machine.clock(50.0, machine.wall_s - 30.0)
    assert clock.now_s() == pytest.approx(80.0)


def test_a_wall_clock_set_back_between_two_heads_takes_nothing_away() -> None:
    machine = Machine()
    clock = machine.clock(50.0, machine.wall_s + 3600.0)
    assert clock.now_s() == pytest.approx(50.0)


def test_a_step_of_the_wall_clock_is_told_once_and_does_not_move_engine_time() -> None:
    machine = Machine()
    clock = machine.clock(0.0, 0.0)
    machine.passes(1.0)
    assert clock.stepped_s() == 0.0
    machine.wall_s -= 7200.0
    assert clock.stepped_s() == pytest.approx(-7200.0)
    assert clock.stepped_s() == 0.0
    assert clock.now_s() == pytest.approx(1.0)
    machine.wall_s += 0.8  # slewed, not set
    assert clock.stepped_s() == 0.0
