"""What checkpoints take, as workers report it, is what moving is taken to cost."""

from __future__ import annotations

import msgspec
import pytest

from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.filetimes import FILE_GB_PER_S, FILE_S, FileTimes, expected_s, learn
from hpcwise.core.moving import move_s
from hpcwise.core.state import State
from tests.core.test_moving import ask, engine, handled, join, late, pauses, placed, start


def learned(*files: tuple[float, float]) -> FileTimes:
    times = FileTimes()
    for size_gb, seconds in files:
        learn(times, size_gb, seconds)
    return times


def test_nothing_reported_is_the_constants_and_reports_take_their_place() -> None:
    assert expected_s(None, 1.0) == expected_s(FileTimes(), 1.0) == FILE_S + 1.0 / FILE_GB_PER_S
    # Half a report against one: two thirds of the way.
    assert expected_s(learned((0.0, 4 * FILE_S)), 0.0) == pytest.approx(3 * FILE_S)
    # A disk that takes 0.02 s a file and does 2 GB/s, from files of two sizes: right about a third.
    fast = learned(*[(size_gb, 0.02 + size_gb / 2.0) for size_gb in (0.05, 1.0) * 30])
    assert expected_s(fast, 3.0) == pytest.approx(1.52, rel=0.1)
    # Then it is full of others' work, and soon that is what counts.
    for _ in range(20):
        learn(fast, 1.0, 8.0)
    assert expected_s(fast, 1.0) == pytest.approx(8.0, rel=0.35)


def test_files_of_one_size_say_little_about_much_larger_ones_and_times_are_never_negative() -> None:
    small = learned(*[(0.03, 0.01)] * 60)
    assert expected_s(small, 0.03) < 0.04
    assert expected_s(small, 2.0) > 0.1 * (FILE_S + 2.0 / FILE_GB_PER_S)
    for odd in ([(5.0, 0.001), (0.0, 60.0)], [(5.0, 60.0), (0.0, 1e-6)], [(1e-9, 1e9), (1e3, 1e-9)]):
        times = learned(*odd * 40)
        assert all(0 <= expected_s(times, size_gb) < 1e5 for size_gb in (0.0, 0.01, 1.0, 50.0))


def test_what_cannot_have_been_measured_changes_nothing() -> None:
    nan, inf = float("nan"), float("inf")
    assert learned((-1.0, 1.0), (nan, 1.0), (1.0, nan), (1.0, 0.0), (1.0, -2.0), (inf, 1.0)) == FileTimes()


def reported(e: Engine, how: str, seconds: float, times: int = 60) -> None:
    """A worker that does nothing else for the task `warm` than to write, or to read."""
    join(e, "reports", "slow", loaded=("other",), models=("other",))
    ask(e, "warm", 10, model="other")
    start(e, "warm")
    files = tuple(m.FileTaken(how, 0.0, seconds) for _ in range(times))  # type: ignore[arg-type]
    told = m.TaskProgress("warm/t", e.state.tasks["warm/t"].attempt, 1, 10, files=files)
    handled(e, told, 0.0)
    # Of an attempt that is none any more nothing counts.
    before = msgspec.json.encode(e.state.files)
    handled(e, msgspec.structs.replace(told, attempt=told.attempt + 9), 0.0)
    assert msgspec.json.encode(e.state.files) == before
    handled(e, m.WorkerLost("reports", "left"), 0.0)


@pytest.mark.parametrize(("how", "moves"), [("write", False), ("read", False), ("", True)])
def test_a_late_task_stays_where_its_files_take_longer_than_it_would_win(how: str, moves: bool) -> None:
    e = engine()
    if how:
        reported(e, how, 25.0)
    late(e)
    task = e.state.tasks["r/t"]
    price = move_s(e.world, task, 40.0)
    leaving, arriving = price.leave_s - 1.0, price.arrive_s
    assert (leaving > 20, arriving > 20) == (how == "write", how == "read")
    assert {leaving, arriving} >= ({FILE_S} if how else set())
    # It would win 40 - 5 - 8.75 s, less the files.
    join(e, "new", "fast", now_s=5.0)
    assert bool(pauses(handled(e, m.Tick(), 5.0))) == moves


def test_a_worker_with_little_life_left_takes_what_is_worth_a_move_by_the_times_that_were_seen() -> None:
    # Moving takes a step, two files of a hundredth of a second and 5 s of loading, not two of a quarter.
    for seen, answer in ((False, 0), (True, 1)):
        e = engine(load_s=5.0)
        if seen:
            reported(e, "write", 0.01)
        join(e, "w", "slow", lifetime_s=6.4)
        assert len(placed(ask(e, "r", 100))) == answer


def test_what_was_seen_outlives_a_head_and_a_state_of_before_has_none() -> None:
    e = engine()
    reported(e, "write", 3.0)
    encoded = msgspec.json.encode(e.state)
    again = Engine(e.config, msgspec.json.decode(encoded, type=State))
    assert again.state.files == e.state.files and set(again.state.files) == {"write"}
    old = {key: value for key, value in msgspec.json.decode(encoded).items() if key != "files"}
    assert msgspec.convert(old, State).files == {}
    event = msgspec.json.decode(b'{"type":"TaskProgress","task_id":"t","attempt":1,"done":2,"total":3}',
                                type=m.TaskProgress)  # fmt: skip
    assert event.files == ()
