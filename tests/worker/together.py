"""A worker whose model computes up to three tasks at once, and says with how many each was computed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hpcwise.models import registry
from hpcwise.models.base import Call, OnStep, Output
from hpcwise.models.emulated import EmulatedAdapter
from hpcwise.worker.main import run_worker


class Together(EmulatedAdapter):
    """Parameters: until, a file that a batch waits for; alone, an error in any company; nbytes."""

    batch = 3

    def run_batch(
        self, calls: Sequence[Call], on_step: OnStep, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output]]:
        if any(call.params.get("alone") for call in calls):
            raise ValueError("not together")
        for call in calls:
            while not Path(call.params.get("until", "/")).exists():
                on_step(0, 1, "waiting")
                time.sleep(0.005)
        for index, call in reversed(list(enumerate(calls))):
            path = call.work / "made.txt"
            path.write_text(str(call.params["n"]))
            yield index, Output({"made.txt": path}, {"together": len(calls)})


def main() -> None:
    registry.FAMILIES = {**registry.FAMILIES, "emulated": (__name__, "Together")}  # type: ignore[misc]
    run_worker(sys.argv[1].encode())
