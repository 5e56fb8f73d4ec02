"""What a peer's program does for `scripts/bench/dispatch`: start a warm pool, then time what is asked for.

A line on standard input is `tasks N`, `chain N` or `quit`; the answer to the first two is the seconds, as a
line on what was standard output. Whatever the peer itself prints goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TextIO

Seconds = Callable[[int], float]


def take_output() -> TextIO:
    """Standard output, for `serve` alone: what anybody prints from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    return answers


def serve(answers: TextIO, tasks: Seconds, chain: Seconds) -> None:
    """Warm up, say `ready`, and answer until `quit` or the end of the input."""
    tasks(200)
    chain(20)
    answers.write("ready\n")
    for line in sys.stdin:
        what, _, n = line.strip().partition(" ")
        if what not in ("tasks", "chain"):
            return
        answers.write(f"{(tasks if what == 'tasks' else chain)(int(n))}\n")
