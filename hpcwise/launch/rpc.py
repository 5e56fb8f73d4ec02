"""How often Slurm is asked. A controller serves thousands of users; a head is one of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

WINDOW_S: Final = 60.0
#: An answer that takes longer is a sign of load; the next question waits this many times as long.
SLOW_S: Final = 2.0
SLOW_FACTOR: Final = 10.0
#: After a call that failed: first wait, doubled each time up to the longest.
FIRST_WAIT_S: Final = 5.0
LONGEST_WAIT_S: Final = 120.0


class RpcBudget:
    """Counts calls, and says whether one more is welcome: no more than `limit` in any minute, none while
    Slurm is slow or down. Times are monotonic seconds, given by the caller.

    What must be (a kill) is counted by `spent` without asking, and what is merely of use leaves `keep` calls
    for what somebody waits for.
    """

    def __init__(self, limit: int, now_s: float) -> None:
        self._limit = limit
        self._started_s = now_s
        self._recent: deque[tuple[float, str]] = deque()
        self._failures = 0
        self._not_before_s = now_s
        self.calls: Counter[str] = Counter()
        self.trouble = ""

    def may(self, now_s: float, keep: int = 0) -> bool:
        """Whether a call may be made now."""
        return now_s >= self._not_before_s and self.last_minute(now_s) + keep < self._limit

    def spent(self, what: str, now_s: float, n: int = 1) -> None:
        """`n` calls are being made."""
        self.calls[what] += n
        self._recent.extend([(now_s, what)] * n)

    def recall(self, ages_s: Iterable[float], now_s: float) -> None:
        """Calls that a head before this one made so long ago: a minute is a minute, whoever asks."""
        self._recent.extend(sorted((now_s - age_s, "") for age_s in ages_s if 0 <= age_s < WINDOW_S))

    def ages_s(self, now_s: float) -> list[float]:
        """How long ago each call of the last minute was made."""
        self.last_minute(now_s)
        return [now_s - at_s for at_s, _ in self._recent]

    def answered(self, now_s: float, took_s: float) -> None:
        """A call was answered, be it with a refusal."""
        self._failures, self.trouble = 0, ""
        if took_s > SLOW_S:
            wait_s = min(LONGEST_WAIT_S, SLOW_FACTOR * took_s)
            self._not_before_s = now_s + wait_s
            self.trouble = f"Slurm took {took_s:.0f} s to answer; asked again in {wait_s:.0f} s"

    def failed(self, now_s: float, why: str) -> None:
        """A call was not answered."""
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._not_before_s = now_s + wait_s
        self.trouble = f"{why}; asked again in {wait_s:.0f} s"

    def last_minute(self, now_s: float, what: str = "") -> int:
        """Calls in the last 60 s, of one command or of all."""
        while self._recent and now_s - self._recent[0][0] >= WINDOW_S:
            self._recent.popleft()
        return sum(call == what for _, call in self._recent) if what else len(self._recent)

    def per_minute(self, now_s: float) -> float:
        """Mean since the start; of the first minute all that there were."""
        return self.calls.total() / max(1.0, (now_s - self._started_s) / WINDOW_S)
