"""Rows, frontiers and orderings: what is printed follows from numbers, and reversed numbers fail."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwise.evaluation.report import Summary, markdown, summary
from hpcwise.evaluation.rows import Point, Row, Table, cost_at, dominates, frontier, ordering, start_at

points = st.lists(st.builds(Point, st.floats(1, 1e5), st.floats(1, 1e4)), min_size=1, max_size=12)


def test_the_error_is_against_the_paper_and_without_it_against_the_artifact() -> None:
    row = Row(figure="f", what="w", unit="s", kind="outcome", paper=10.0, artifact=5.0, ours=11.0)
    assert row.error == pytest.approx(0.1)
    assert msgspec.structs.replace(row, paper=None).error == pytest.approx(1.2)
    assert msgspec.structs.replace(row, ours=None).error is None


@pytest.mark.parametrize(
    ("ours", "kept"), [(11.4, True), (8.6, True), (11.6, False), (8.4, False), (None, False)]
)
def test_a_number_is_kept_within_its_goal_and_not_without_ours(ours: float | None, kept: bool) -> None:
    row = Row(figure="f", what="w", unit="s", kind="regression", paper=10.0, ours=ours, goal=0.15)
    assert row.kept is kept


def test_without_a_goal_nothing_is_asked() -> None:
    assert Row(figure="f", what="w", unit="s", kind="outcome", paper=10.0, ours=99.0).kept is None


def test_what_is_not_kept_is_counted_and_printed_as_such() -> None:
    rows = [
        ordering("f", "a before b", True), ordering("f", "b before a", False, "why"),
        Row(figure="f", what="w", unit="s", kind="regression", paper=10.0, ours=20.0, goal=0.15,
            stall_free_s=30.0, price="spot", window="until ready"),
    ]  # fmt: skip
    total = summary(rows)
    assert (total.orderings, total.goals) == ((1, 2), (0, 1))
    assert msgspec.json.decode(msgspec.json.encode(total), type=Summary) == total
    text = markdown(rows).splitlines()
    assert "| b before a |  |  |  |  | ordering | NO |  |  | engine | why |" in text
    assert "| w (s) | 10 |  | 20 | +100 % | regression | NO | spot, until ready | 30 s |  |  |" in text


@given(points)
def test_no_point_of_a_frontier_is_beaten_and_all_others_are(found: list[Point]) -> None:
    rim = frontier(found)
    for point in found:
        beaten = any(
            (p.ttff_s, p.cost_usd) != (point.ttff_s, point.cost_usd)
            and p.ttff_s <= point.ttff_s and p.cost_usd <= point.cost_usd
            for p in found
        )  # fmt: skip
        assert beaten == ((point.ttff_s, point.cost_usd) not in {(p.ttff_s, p.cost_usd) for p in rim})
    assert cost_at(found, rim[-1].ttff_s) == rim[-1].cost_usd
    assert start_at(found, rim[0].cost_usd) == rim[0].ttff_s


@given(points)
def test_what_dominates_does_not_when_it_is_reversed(found: list[Point]) -> None:
    worse = [Point(p.ttff_s * 2, p.cost_usd * 2) for p in found]
    assert dominates(found, worse)
    assert not dominates(worse, found)
    assert not dominates([], found) and not dominates(found, [])


def test_a_table_is_written_as_csv_with_empty_cells_for_what_is_unknown() -> None:
    table = Table(name="t", columns=("a", "b_s"), rows=(("x, y", 1.23456789), ("z", None)))
    assert table.csv() == 'a,b_s\n"x, y",1.23457\nz,\n'
