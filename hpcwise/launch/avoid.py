"""Nodes that failed twice, or whose own worker said that they are not well, are left alone for a while."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

STRIKES: Final = 2
#: How long a failure counts, and how long a node is avoided after its last one, seconds.
MEMORY_S: Final = 3600.0


class Avoid:
    """Failures by node. Times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self._failed_s: dict[str, list[float]] = {}

    def note(self, nodes: Iterable[str], now_s: float) -> None:
        """A job failed there for a reason that was the node's."""
        for node in nodes:
            self._failed_s.setdefault(node, []).append(now_s)

    def shun(self, nodes: Iterable[str], now_s: float) -> None:
        """A worker looked at its device there and left."""
        for node in nodes:
            self._failed_s[node] = [now_s] * STRIKES

    def nodes(self, now_s: float) -> tuple[str, ...]:
        """Nodes to keep away from now."""
        for node, times in list(self._failed_s.items()):
            recent = [t for t in times if now_s - t < MEMORY_S]
            if recent:
                self._failed_s[node] = recent
            else:
                del self._failed_s[node]
        return tuple(sorted(n for n, times in self._failed_s.items() if len(times) >= STRIKES))
