"""Random numbers by name: each is a function of the seed and of what it is drawn for.

So the noise of a task does not depend on when, or beside what, it runs: two plans are compared on the same
luck, and equal seeds give equal bytes in every process.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()
_SCALE: Final = 2.0**-53


class Draws:
    """Independent streams under one seed; a draw is named by its arguments and repeats exactly."""

    def __init__(self, seed: int) -> None:
        self._key = (seed % 2**64).to_bytes(8, "big")

    def uniform(self, *name: str | int) -> float:
        """In the open interval (0, 1)."""
        text = "\x1f".join(map(str, name)).encode()
        digest = blake2b(text, digest_size=8, key=self._key).digest()
        return ((int.from_bytes(digest, "big") >> 11) + 0.5) * _SCALE

    def normal(self, *name: str | int) -> float:
        """Standard normal."""
        return _NORMAL.inv_cdf(self.uniform(*name))

    def factor(self, sigma: float, *name: str | int) -> float:
        """Log-normal around a mean of 1; exactly 1 for a sigma of 0."""
        return math.exp(sigma * self.normal(*name) - sigma * sigma / 2) if sigma > 0 else 1.0

    def exponential(self, per_s: float, *name: str | int) -> float:
        """Seconds to the next event of a Poisson process; infinite for a rate of 0."""
        return -math.log(self.uniform(*name)) / per_s if per_s > 0 else math.inf
