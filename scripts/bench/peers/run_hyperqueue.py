"""HyperQueue: one job of many programs on a worker of two cores, output files off as its documentation
advises for many tasks; a chain is a job whose tasks depend on one another. Its task is always a process."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))

from hyperqueue import Job, LocalCluster  # type: ignore[import-not-found]
from hyperqueue.cluster import WorkerConfig  # type: ignore[import-not-found]

from scripts.bench.peers.protocol import serve, take_output


def main() -> None:
    answers = take_output()
    with (
        tempfile.TemporaryDirectory(prefix="hq-") as folder,
        LocalCluster(folder, WorkerConfig(cores=2)) as cluster,
    ):
        client = cluster.client()

        def run(n: int, *, chained: bool) -> float:
            start_s = time.perf_counter()
            job = Job(default_workdir=folder, max_fails=0)
            before: list[Any] = []
            for _ in range(n):
                task = job.program(["/bin/true"], stdout=None, stderr=None, deps=before if chained else ())
                before = [task]
            client.wait_for_jobs([client.submit(job)])
            return time.perf_counter() - start_s

        serve(answers, lambda n: run(n, chained=False), lambda n: run(n, chained=True))


if __name__ == "__main__":
    main()
