"""executorlib: block allocation, which its documentation recommends for many small functions, two workers."""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from executorlib import SingleNodeExecutor  # type: ignore[import-not-found]

from scripts.bench.peers.protocol import serve, take_output


def noop(given: int) -> int:
    return given


def main() -> None:
    answers = take_output()
    with SingleNodeExecutor(max_workers=2, block_allocation=True, hostname_localhost=True) as pool:

        def tasks(n: int) -> float:
            start_s = time.perf_counter()
            futures = [pool.submit(noop, i) for i in range(n)]
            assert sum(f.result() for f in futures) == n * (n - 1) // 2
            return time.perf_counter() - start_s

        def chain(n: int) -> float:
            start_s = time.perf_counter()
            last: Future[int] | int = 7
            for _ in range(n):
                last = pool.submit(noop, last)
            assert not isinstance(last, int) and last.result() == 7
            return time.perf_counter() - start_s

        serve(answers, tasks, chain)


if __name__ == "__main__":
    main()
