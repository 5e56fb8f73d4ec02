"""Parsl: its high-throughput executor with two workers; prefetching, which it recommends for many short
tasks, no encryption on one's own machine, no memoisation, no scaling."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

import parsl  # type: ignore[import-not-found]
from parsl.executors import HighThroughputExecutor  # type: ignore[import-not-found]
from parsl.providers import LocalProvider  # type: ignore[import-not-found]

from scripts.bench.peers.protocol import serve, take_output


def noop(given: int) -> int:
    return given


def main() -> None:
    answers = take_output()
    executor = HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=0.5,
        prefetch_capacity=100,
        encrypted=False,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    with tempfile.TemporaryDirectory(prefix="parsl-") as run_dir:
        config = parsl.Config(
            executors=[executor],
            strategy="none",
            run_dir=run_dir,
            initialize_logging=False,
            usage_tracking=0,
        )
        with parsl.load(config):
            app = parsl.python_app(noop, cache=False)

            def tasks(n: int) -> float:
                start_s = time.perf_counter()
                futures = [app(i) for i in range(n)]
                assert sum(f.result() for f in futures) == n * (n - 1) // 2
                return time.perf_counter() - start_s

            def chain(n: int) -> float:
                start_s = time.perf_counter()
                last = app(7)
                for _ in range(n - 1):
                    last = app(last)
                assert last.result() == 7
                return time.perf_counter() - start_s

            serve(answers, tasks, chain)


if __name__ == "__main__":
    main()
