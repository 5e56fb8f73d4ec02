"""A run directory on a testbed, used as a person would: `cluster discover`, `head start`, `submit`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import yaml

from hpcwise.cli.client import connect
from hpcwise.cli.run import Run
from hpcwise.core.errors import HpcwiseError, WireError
from hpcwise.core.report import RequestRow, WorkerRow
from hpcwise.core.spec import JobSpec
from hpcwise.head.answers import HeadStatus
from hpcwise.head.settings import find_models_dir
from hpcwise.launch.jobs import SlurmLauncher
from hpcwise.store.inbox import Inbox
from hpcwise.testbed.cluster import Testbed
from hpcwise.wire import messages as w

REPOSITORY: Final = Path(__file__).resolve().parents[1]
#: Questions to slurmctld and slurmdbd are counted where they are asked, by whatever process of the run.
COUNTED: Final = ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sinfo", "sacctmgr")
POLL_S: Final = 0.25
T = TypeVar("T")


class TooLate(HpcwiseError):
    """Something did not happen in time."""


class NightSite:
    """workers: of a pool at most. max_min: shorter walltimes by pool. like: the site whose models and
    settings it has, else the clone's. shared: a folder that all nodes see, else the testbed's. pools: those
    that are used, all if none is named."""

    def __init__(
        self,
        testbed: Testbed,
        name: str,
        workers: int,
        max_min: Mapping[str, int] | None = None,
        like: NightSite | None = None,
        shared: Path | None = None,
        pools: Collection[str] = (),
    ) -> None:
        self.testbed = testbed
        self.name = name
        shared = shared or testbed.shared
        self.root = shared / name
        self.root.mkdir(mode=0o700)
        self.run = Run.at(str(self.root / "results"))
        self.configs = self.root / "configs"
        shutil.copytree(like.configs if like is not None else REPOSITORY / "configs", self.configs)
        shutil.rmtree(self.configs / "clusters", ignore_errors=True)
        # By demand: a plan might not use the pools that are to be disturbed.
        head = self.configs / "head.yaml"
        head.write_text(yaml.safe_dump({**yaml.safe_load(head.read_text()), "provision": False}))
        self.workers = workers
        self._count_calls()
        self.hpcwise("cluster", "discover", "--name", "here", "--shared-dir", str(shared))
        path = self.configs / "clusters" / "here.yaml"
        content = yaml.safe_load(path.read_text())
        content["cluster"] = testbed.name
        for pool in content["pools"]:
            pool["use"] = pool["pool"] in (pools or (pool["pool"],))
            pool["max_min"] = (max_min or {}).get(pool["pool"], pool["max_min"])
        path.write_text(yaml.safe_dump(content))

    @property
    def env(self) -> dict[str, str]:
        """What `hpcwise testbed env` says, with this site's configurations, and commands that are counted."""
        base = self.testbed.env
        return {
            **base,
            "PATH": f"{self.root / 'bin'}:{base['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HPCWISE_CONFIGS": str(self.configs),
            "HPCWISE_MODELS_DIR": str(find_models_dir()),
            "HPCWISE_RUN_DIR": str(self.run.results),
        }

    def hpcwise(self, *arguments: str) -> str:
        """A command line of a person; its standard output. Raises HpcwiseError with its complaint."""
        done = subprocess.run(
            [sys.executable, "-m", "hpcwise", *arguments], env=self.env, cwd=self.root, text=True,
            capture_output=True, timeout=180, check=False,
        )  # fmt: skip
        if done.returncode:
            raise HpcwiseError(f"hpcwise {arguments[0]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> None:
        """The head by sbatch, until it answers."""
        self.hpcwise("head", "start", "--cluster", "here", "--workers", str(self.workers))
        self.wait(self.status, "the head's job answers", 120.0)

    def stop(self) -> None:
        self.hpcwise("head", "stop")

    def submit(self, spec: Path, *options: str) -> str:
        """Hand a film in; its request id."""
        return str(json.loads(self.hpcwise("submit", str(spec), "--json", *options))["request_id"])

    def drop(self, job: JobSpec, token: str) -> None:
        """Hand in a graph, for which there is no file format."""
        Inbox(self.run.paths).drop(msgspec.json.encode(job), token)

    # -- what is going on ----------------------------------------------------------------------------------

    def ask(self, query: Callable[[int], w.Query], kind: type[T]) -> T | None:
        """The head's answer; None while none answers."""
        try:
            client = connect(self.run)
            if client is None:
                return None
            with client:
                return client.ask(query, kind)[0]
        except WireError:
            return None

    def status(self) -> HeadStatus | None:
        return self.ask(w.AskStatus, HeadStatus)

    def fleet(self) -> tuple[WorkerRow, ...]:
        """The head's workers; none while none answers."""
        status = self.status()
        return status.view.workers if status is not None else ()

    def rows(self) -> dict[str, RequestRow]:
        return {row.request_id: row for row in self.ask(w.AskList, tuple[RequestRow, ...]) or ()}

    def done(self, *requests: str) -> bool:
        """Whether all have ended. Raises HpcwiseError with the reason of one that failed."""
        rows = self.rows()
        for request in requests:
            if request in rows and rows[request].state in ("failed", "cancelled"):
                raise HpcwiseError(f"{request} {rows[request].state}: {rows[request].reason}")
        return all(request in rows and rows[request].state == "done" for request in requests)

    def jobs(self, states: str = "PENDING,RUNNING,COMPLETING,CONFIGURING") -> list[str]:
        """Ids of the Slurm jobs of this run's workers, and of its head."""
        text = self.testbed.run(["squeue", "-r", "-h", "-t", states, "-o", "%i|%j"]).stdout
        rows = [line.split("|") for line in text.splitlines()]
        return [job for job, name in rows if name.startswith(self.prefix) or job == self.head_job()]

    def head_job(self) -> str:
        path = self.run.paths.root / "head-job.json"
        return str(json.loads(path.read_text())["job_id"]) if path.exists() else ""

    @property
    def prefix(self) -> str:
        """Begins the names of this run's worker jobs."""
        return SlurmLauncher(self.run.paths.workers, {}).run_name

    def log(self) -> str:
        path = self.run.paths.head_log
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def wait(self, condition: Callable[[], T | None], what: str, within_s: float) -> T:
        """The first true value of `condition`. Raises TooLate with the end of the head's log."""
        until_s = time.monotonic() + within_s
        while not (found := condition()):
            if time.monotonic() > until_s:
                last = "\n".join(self.log().splitlines()[-15:])
                raise TooLate(f"{self.name}: not within {within_s:g} s: {what}; the head's log:\n{last}")
            time.sleep(POLL_S)
        return found

    # -- what it took --------------------------------------------------------------------------------------

    def calls(self, of_run: bool) -> list[float]:
        """Unix times of the questions to Slurm: of the run (head and workers), or of commands that people
        give (`head start`, `submit`)."""
        path = self.root / "calls"
        lines = [line.split(" ", 2) for line in path.read_text().splitlines()] if path.exists() else []
        return [float(at) for at, _, by in lines if ("-m hpcwise " not in by) == of_run]

    def allocated_s(self) -> float:
        """GPU seconds that this run's jobs held, of Slurm's books."""
        fields = "JobName,ElapsedRaw,AllocTRES"
        text = self.testbed.run(["sacct", "-X", "-n", "-P", "-S", "today", "-o", fields]).stdout
        total = 0.0
        for line in text.splitlines():
            name, elapsed, tres = line.split("|")
            if name.startswith(self.prefix):
                counts = dict(item.partition("=")[::2] for item in tres.split(",") if item)
                total += float(elapsed) * int(counts.get("gres/gpu", "0"))
        return total

    def close(self) -> None:
        """End whatever is left of its jobs."""
        left = self.jobs()
        if left:
            self.testbed.run(["scancel", *left], check=False)

    def _count_calls(self) -> None:
        folder = self.root / "bin"
        folder.mkdir()
        for name in COUNTED:
            real = shutil.which(name, path=self.testbed.env["PATH"])
            if real is None:
                continue
            path = folder / name
            asker = "$(tr '\\0\\n' '  ' < /proc/$PPID/cmdline)"
            note = f'echo "$(date +%s.%N) {name} {asker}" >> {self.root / "calls"}'
            path.write_text(f'#!/bin/sh\n{note}\nexec {real} "$@"\n')
            path.chmod(0o755)
