"""Ray: remote functions on two processors; a chain passes object references, as its documentation does."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray  # type: ignore[import-not-found]

from scripts.bench.peers.protocol import serve, take_output


def noop(given: int) -> int:
    return given


def main() -> None:
    answers = take_output()
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=200_000_000,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(Path.cwd()),  # the bench's own, which it removes
    )
    remote = ray.remote(noop)

    def tasks(n: int) -> float:
        start_s = time.perf_counter()
        assert sum(ray.get([remote.remote(i) for i in range(n)])) == n * (n - 1) // 2
        return time.perf_counter() - start_s

    def chain(n: int) -> float:
        start_s = time.perf_counter()
        last = remote.remote(7)
        for _ in range(n - 1):
            last = remote.remote(last)
        assert ray.get(last) == 7
        return time.perf_counter() - start_s

    serve(answers, tasks, chain)
    ray.shutdown()


if __name__ == "__main__":
    main()
