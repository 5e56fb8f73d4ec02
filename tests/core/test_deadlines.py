"""Positions, deadlines and what playback measures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwise.core.deadlines import Positions, play_metrics


@given(
    st.lists(st.floats(0.1, 60.0), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.floats(0.1, 60.0)), max_size=30),
)
def test_positions_are_prefix_sums_under_any_updates(
    lengths: list[float], updates: list[tuple[int, float]]
) -> None:
    positions = Positions(lengths)
    for shot, length_s in updates:
        if shot < len(lengths):
            lengths[shot] = length_s
            positions.set(shot, length_s)
    for shot in range(len(lengths) + 1):
        assert positions.start_s(shot) == pytest.approx(sum(lengths[:shot]), abs=1e-6)


def test_the_papers_example_of_an_effective_ttff() -> None:
    # StreamWise section 2.3: 10 minutes at 24 FPS with 50 ms between frames take 2 minutes, TTFF 30 s.
    published = [(30.0 + 0.05 * 24 * i, 24) for i in range(600)]
    play = play_metrics(0.0, published, 24.0)
    assert play is not None
    assert play.ttff_s == 30.0
    assert play.tbf_mean_s == pytest.approx(0.05)
    assert play.ttff_eff_s == pytest.approx(120.0, rel=0.01)


def test_stalls_are_counted_as_a_viewer_would_see_them() -> None:
    play = play_metrics(0.0, [(1.0, 84), (2.0, 84), (10.0, 84)], 24.0, deadlines_s=[2.0, 5.5, 9.0])
    assert play is not None
    assert (play.stalls, play.stall_s, play.min_slack_s) == (1, 2.0, -1.0)
    assert play.ttff_stall_free_s == 3.0
    assert play.duration_s == 10.5


def test_a_film_without_a_frame_has_no_metrics() -> None:
    assert play_metrics(0.0, [], 24.0) is None
