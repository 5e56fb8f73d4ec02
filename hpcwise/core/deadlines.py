"""When things must be ready, and how well it went.

Playback gives the deadlines (StreamWise section 2.3): a segment that starts at film position p must be
there at start + TTFF + p. Tasks before it get theirs by recursion backwards over expected runtimes
(section 4.5), here as `tail_s`: the time from a task's end to the moment its segment can be played.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpcwise.core.spec import Batch, By, Live, Slo
from hpcwise.core.state import RequestRecord, TaskRecord

#: Kept free between the last segment and a `by` deadline, for stitching film.mp4.
FINISH_S = 5.0


class Positions:
    """Where each shot starts in the film: prefix sums under updates, both in O(log n) (a Fenwick tree)."""

    def __init__(self, lengths_s: Sequence[float] = ()) -> None:
        self._lengths: list[float] = []
        self._tree: list[float] = [0.0]
        for length in lengths_s:
            self.append(length)

    def __len__(self) -> int:
        return len(self._lengths)

    def append(self, length_s: float) -> None:
        """Add a shot at the end of the film."""
        i = len(self._lengths) + 1
        low = i - (i & -i)
        self._lengths.append(length_s)
        self._tree.append(self.start_s(i - 1) - self.start_s(low) + length_s)

    def set(self, shot: int, length_s: float) -> None:
        """Change the length of `shot`; all later shots move."""
        delta = length_s - self._lengths[shot]
        self._lengths[shot] = length_s
        i = shot + 1
        while i < len(self._tree):
            self._tree[i] += delta
            i += i & -i

    def start_s(self, shot: int) -> float:
        """Film position at which `shot` starts; the film's length for one past the last."""
        total = 0.0
        i = min(shot, len(self._lengths))
        while i > 0:
            total += self._tree[i]
            i -= i & -i
        return total


def film_deadline_s(request: RequestRecord, position_s: float, wall_offset_s: float) -> float:
    """Engine time by which film position `position_s` must be playable."""
    slo: Slo = request.job.slo
    if isinstance(slo, Live):
        start_s = request.start_s if request.start_s >= 0 else request.arrived_s + slo.ttff_s
        return start_s + position_s
    if isinstance(slo, By):
        return request.due_wall_s - wall_offset_s - FINISH_S
    assert isinstance(slo, Batch)
    return request.arrived_s + slo.max_age_s


def task_deadline_s(
    request: RequestRecord, task: TaskRecord, positions: Positions, wall_offset_s: float
) -> float:
    """Engine time by which `task` (its first chunk, if it streams) must have ended."""
    if task.spec.deadline_s is not None:
        return request.arrived_s + task.spec.deadline_s
    position_s = positions.start_s(task.spec.shot) if task.spec.shot > 0 else 0.0
    return film_deadline_s(request, position_s, wall_offset_s) - task.tail_s


class PlayMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """How a film came out, as a viewer who pressed play at the first frame would see it.

    ttff_s: arrival to first frame. tbf_*: time between frames, a segment's frames counted as evenly made
    over the time since the one before. ttff_eff_s: StreamWise section 2.3, max(TTFF, mean TBF x frames -
    duration). ttff_stall_free_s: the latest start after arrival that never stalls. stall_s: time that
    playback from the first frame stood still. min_slack_s: smallest distance to a deadline.
    """

    ttff_s: float
    tbf_mean_s: float
    tbf_p99_s: float
    ttff_eff_s: float
    ttff_stall_free_s: float
    stall_s: float
    stalls: int
    min_slack_s: float
    frames: int
    duration_s: float


def play_metrics(
    arrived_s: float, published: Sequence[tuple[float, int]], fps: float, deadlines_s: Sequence[float] = ()
) -> PlayMetrics | None:
    """Metrics from (time, frames) of each published segment in film order; None before the first."""
    if not published:
        return None
    first_s = published[0][0]
    gaps: list[tuple[float, int]] = []
    clock_s, position_s, stall_s, stalls, stall_free_s = first_s, 0.0, 0.0, 0, 0.0
    before_s = first_s
    for at_s, frames in published:
        if frames > 0 and at_s > first_s:
            gaps.append(((at_s - before_s) / frames, frames))
        before_s = at_s
        stall_free_s = max(stall_free_s, at_s - arrived_s - position_s)
        if at_s > clock_s + 1e-9:
            stall_s += at_s - clock_s
            stalls += 1
            clock_s = at_s
        clock_s += frames / fps
        position_s += frames / fps
    total = sum(n for _, n in published)
    later = sum(n for _, n in gaps)
    mean_s = (published[-1][0] - first_s) / later if later else 0.0
    ttff_s = first_s - arrived_s
    slack = [d - at for d, (at, _) in zip(deadlines_s, published, strict=False)]
    return PlayMetrics(
        ttff_s=ttff_s,
        tbf_mean_s=mean_s,
        tbf_p99_s=_weighted_p99(gaps),
        ttff_eff_s=max(ttff_s, mean_s * total - total / fps),
        ttff_stall_free_s=stall_free_s,
        stall_s=stall_s,
        stalls=stalls,
        min_slack_s=min(slack, default=0.0),
        frames=total,
        duration_s=total / fps,
    )


def _weighted_p99(gaps: Sequence[tuple[float, int]]) -> float:
    left = 0.01 * sum(n for _, n in gaps)
    worst = 0.0
    for gap, n in sorted(gaps, reverse=True):
        worst = gap
        left -= n
        if left <= 0:
            break
    return worst
