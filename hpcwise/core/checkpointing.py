"""How often a running loop should keep its state."""

from __future__ import annotations

import math

#: A checkpoint must not hold the loop up for a larger share of its time than this.
MOST_OVERHEAD = 0.01


def interval_s(save_s: float, losses_per_h: float) -> float:
    """Seconds between checkpoints that lose least: sqrt(2 * cost * mean time between losses) (J. W. Young, "A
    first order approximation to the optimum checkpoint interval", 1974), and never so often that saving
    takes more than MOST_OVERHEAD of the time.

    save_s: what one checkpoint holds the loop up for. losses_per_h: evictions and failures of one worker;
    infinite where none is expected.
    """
    if losses_per_h <= 0:
        return math.inf
    return max(math.sqrt(2.0 * save_s * 3600.0 / losses_per_h), save_s / MOST_OVERHEAD)
