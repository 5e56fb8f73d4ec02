"""Engine time: seconds that never run backwards, over restarts and whatever happens to the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A wall clock that is off by more than this from what it should show was set by somebody, seconds.
STEP_S = 1.0


class EngineClock:
    """Engine time is `base_s` at construction and goes on with the monotonic clock."""

    def __init__(
        self,
        base_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._offset_s = base_s - monotonic()
        self._wall_offset_s = wall() - monotonic()

    @classmethod
    def resumed(
        cls,
        now_s: float,
        recorded_wall_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> EngineClock:
        """Goes on from engine time `now_s`, recorded at Unix time `recorded_wall_s`: the time without a
        head has passed too. A wall clock that was set back in between takes nothing away."""
        gap_s = wall() - recorded_wall_s if recorded_wall_s > 0 else 0.0
        return cls(now_s + max(0.0, gap_s), monotonic, wall)

    def now_s(self) -> float:
        """Engine time."""
        return self._monotonic() + self._offset_s

    def wall_s(self) -> float:
        """Unix time."""
        return self._wall()

    def stepped_s(self) -> float:
        """By how much the wall clock was set since the last call, 0 for not at all."""
        offset_s = self._wall() - self._monotonic()
        delta_s = offset_s - self._wall_offset_s
        if abs(delta_s) <= STEP_S:
            return 0.0
        self._wall_offset_s = offset_s
        return delta_s
