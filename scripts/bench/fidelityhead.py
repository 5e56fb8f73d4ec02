"""The head of `scripts/bench/fidelity`: the real one, whose local launcher lets some kinds wait in a queue.

usage: python scripts/bench/fidelityhead.py RUN_DIR RESULTS CONFIGS LOG KIND MEDIAN_S SIGMA SEED
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hpcwise.head import main as head_main
from hpcwise.head.config import HeadConfig
from hpcwise.head.settings import read_settings
from hpcwise.launch.base import Entry, Handle, JobState
from hpcwise.launch.launcher import SubmititLauncher
from hpcwise.sim.draws import Draws


def queued(kind: str, median_s: float, sigma: float, seed: int) -> type[SubmititLauncher]:
    """A launcher whose jobs of `kind` are pending for a time that is drawn for each, as in a batch system."""
    draws = Draws(seed)

    class Queued(SubmititLauncher):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._pending: dict[str, threading.Timer] = {}

        def launch(self, wanted: str, token: str, entry: Entry) -> Handle:
            if wanted != kind:
                return super().launch(wanted, token, entry)

            def start() -> None:
                super(Queued, self).launch(wanted, token, entry)
                self._pending.pop(token, None)

            wait_s = median_s * draws.factor(sigma, "queue", token)
            timer = self._pending[token] = threading.Timer(wait_s, start)
            timer.daemon = True
            timer.start()
            return Handle(token=token, job_id="pending", host=self._host)

        def states(self, handles: Iterable[Handle]) -> Mapping[str, JobState]:
            wanted = list(handles)
            waiting = {h.token for h in wanted if h.token in self._pending}
            found = dict(super().states([h for h in wanted if h.token not in waiting]))
            return {**found, **dict.fromkeys(waiting, "pending")}

        def kill(self, handle: Handle) -> None:
            timer = self._pending.pop(handle.token, None)
            if timer is not None:
                timer.cancel()
            else:
                super().kill(handle)

    return Queued


def main(arguments: list[str]) -> int:
    run_dir, results, configs, log, kind, median_s, sigma, seed = arguments
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    settings = read_settings(Path(configs), Path(run_dir) / "models")
    vars(head_main)["SubmititLauncher"] = queued(kind, float(median_s), float(sigma), int(seed))
    # Forty workers share few cores: heartbeats are rare and patience is long.
    config = HeadConfig(
        run_dir=run_dir, results_dir=results, settings=settings, heartbeat_s=3.0, lost_after_s=30.0,
        worker_grace_s=10.0, durable=False,
    )  # fmt: skip
    return head_main.run_head(config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
