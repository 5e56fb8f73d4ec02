"""Dask's distributed: a local cluster of two processes, `client.map` in batches, and a chain of futures."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from distributed import Client, LocalCluster  # type: ignore[import-not-found]

from scripts.bench.peers.protocol import serve, take_output


def noop(given: int) -> int:
    return given


def main() -> None:
    answers = take_output()
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):

        def tasks(n: int) -> float:
            start_s = time.perf_counter()
            futures = client.map(noop, range(n), pure=False, batch_size=1000)
            assert sum(client.gather(futures)) == n * (n - 1) // 2
            return time.perf_counter() - start_s

        def chain(n: int) -> float:
            start_s = time.perf_counter()
            last = client.submit(noop, 7, pure=False)
            for _ in range(n - 1):
                last = client.submit(noop, last, pure=False)
            assert last.result() == 7
            return time.perf_counter() - start_s

        serve(answers, tasks, chain)


if __name__ == "__main__":
    main()
