"""A run directory on the testbed's shared folder: heads with `--cluster`, and their real Slurm jobs."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from hpcwise.core.spec import JobSpec
from hpcwise.testbed.cluster import Testbed
from tests.head.harness import REPOSITORY, Site, graph, node, until

#: What a person's cluster file says of the testbed, pool by pool.
POOLS: dict[str, dict[str, Any]] = {
    "a100": {"partition": "a100", "hardware": "a100", "gpu": "a100", "nodes": 2, "max_min": 2880},
    "h200": {"partition": "h200", "hardware": "h200", "gpu": "h200", "nodes": 2, "max_min": 1440},
    "spot": {
        "partition": "spot", "hardware": "a100", "gpu": "a100", "nodes": 2, "max_min": 480,
        "preempts": "requeue", "grace_s": 4,
    },
}  # fmt: skip


class SlurmSite(Site):
    """A site whose heads launch on `testbed`. pools: names out of POOLS."""

    def __init__(self, testbed: Testbed, pools: Sequence[str], workers: int = 1, **cluster: Any) -> None:
        root = testbed.folder / "shared" / f"run-{secrets.token_hex(4)}"
        root.mkdir(mode=0o700)
        super().__init__(root, workers)
        self.testbed = testbed
        self.root = root
        content: dict[str, Any] = {
            "cluster": testbed.name,
            "slurm": testbed.record.shape.slurm,
            "account": "research",
            "kill_wait_s": 5,
            "shared_dir": str(testbed.folder / "shared"),
            "pools": [self.pool(name) for name in pools],
            **cluster,
        }
        # By demand: how many workers a provisioner would have is another test's question.
        head = self.configs / "head.yaml"
        head.write_text(yaml.safe_dump({**yaml.safe_load(head.read_text()), "provision": False}))
        clusters = self.configs / "clusters"
        clusters.mkdir(exist_ok=True)
        self.cluster_file = clusters / "here.yaml"
        self.cluster_file.write_text(yaml.safe_dump(content))

    @staticmethod
    def pool(name: str) -> dict[str, Any]:
        return {
            "pool": name, "cpus_per_node": 32, "memory_gb_per_node": 256, "gpus_per_node": 4, **POOLS[name],
        }  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**self.testbed.env, "PYTHONPATH": str(REPOSITORY)}

    def command(self, *arguments: str) -> list[str]:
        return [
            sys.executable, "-m", "hpcwise.head", "--run-dir", str(self.paths.root),
            "--results-dir", str(self.results), "--configs", str(self.configs),
            "--models-dir", str(self.models_dir), "--workers", str(self.workers), "--cluster", "here",
            "--log", str(self.root / "head.log"), *arguments,
        ]  # fmt: skip

    def begin(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        head = subprocess.Popen(
            self.command(*arguments), cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True, env={**self.environment(), **environment},
        )  # fmt: skip
        self.heads.append(head)
        return head

    def jobs(self, states: str = "PENDING,RUNNING,COMPLETING,CONFIGURING") -> dict[str, str]:
        """Slurm's own id -> state of the jobs of this run."""
        done = self.testbed.run(["squeue", "-r", "-h", "-t", states, "-o", "%i|%T|%j|%o"], check=False)
        rows = (line.split("|", 3) for line in done.stdout.splitlines())
        return {row[0]: row[1] for row in rows if row[2].startswith(self.run_name)}

    @property
    def run_name(self) -> str:
        from hpcwise.launch.jobs import SlurmLauncher

        return SlurmLauncher(self.paths.workers, {}).run_name

    def job_of(self, worker_id: str) -> str:
        """The Slurm job of a worker, by its log (the worker itself says so)."""
        return until(lambda: self._said(worker_id, r", job (\d+)"))

    def node_of(self, worker_id: str) -> str:
        return until(lambda: self._said(worker_id, r"worker \S+ on (\S+),"))

    def _said(self, worker_id: str, pattern: str) -> str:
        path = self.paths.worker_log(worker_id)
        found = re.search(pattern, path.read_text()) if path.exists() else None
        return found[1] if found else ""

    def close(self) -> None:
        super().close()
        left = list(self.jobs())
        if left:
            self.testbed.run(["scancel", *{job.split("_")[0] for job in left}], check=False)
            until(lambda: not self.jobs(), 40)
        shutil.rmtree(self.root, ignore_errors=True)


#: The fixture `make`: a site of these pools.
Make = Callable[..., SlurmSite]


def chunked(name: str, seconds: float, chunks: int) -> JobSpec:
    """One task of some seconds that is durable chunk by chunk."""
    return graph(
        node(name, seconds=seconds, steps=10 * chunks, chunks=chunks, nbytes=1000 * chunks), name=name
    )
