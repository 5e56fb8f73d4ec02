"""What `scripts/bench/fidelity` runs for real: a head with forty emulated workers, and films in its journal.

The workflow is the paper's podcast as a graph: screenplay, then speech and a streamed sketch for each shot,
then decode, sync and upscale for each segment. Models sleep for what their profile says times a noise that
the head does not know; workers of three kinds are differently fast.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from hpcwise.core import messages as m
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.core.workflow import Edge
from hpcwise.head.ledger import Record, read_records
from hpcwise.launch.processes import by_folder
from hpcwise.sim.draws import Draws
from hpcwise.store.inbox import Inbox
from hpcwise.store.paths import RunPaths
from scripts.bench.dispatchload import CannotRun, _marked, _tail

ROOT: Final = Path(__file__).resolve().parents[2]
#: kind -> (workers, speed, dollars an hour); `late` ones wait in a queue for every film.
KINDS: Final = {"fast": (12, 1.0, 4.0), "slow": (18, 0.5, 1.5), "late": (10, 0.8, 2.0)}
#: model -> (nominal seconds, kinds that host it).
MODELS: Final = {
    "emu-text": (1.0, ("fast",)),
    "emu-voice": (0.4, ("slow", "late")),
    "emu-sketch": (1.2, ("fast", "slow")),
    "emu-decode": (0.3, ("slow", "late")),
    "emu-sync": (3.0, ("fast", "slow", "late")),
    "emu-upscale": (0.8, ("slow", "late")),
}
SHOTS, SEGMENTS = 26, 4
QUEUE_S, QUEUE_SIGMA, NOISE_SIGMA = 6.0, 0.4, 0.08
EVICT_AT_S: Final = 8.0
#: What a preempted worker gets to end its task.
GRACE_S: Final = 10.0
START_S, END_S = 150.0, 150.0


def film(seed: int) -> JobSpec:
    """A graph of one film; its noise follows from the seed and stands only in what the models sleep."""
    draws = Draws(seed)
    tasks: list[GraphTask] = []

    def add(name: str, model: str, deadline_s: float, *inputs: Edge, chunks: int = 1) -> None:
        nominal_s, _ = MODELS[model]
        seconds = nominal_s * draws.factor(NOISE_SIGMA, "noise", name)
        tasks.append(
            GraphTask(
                name=name, stage=name.split("-")[0], model=model, deadline_s=deadline_s, inputs=inputs,
                params={
                    "seconds": seconds, "chunks": chunks, "steps": max(chunks, int(seconds / 0.2)),
                    "seed": seed,
                },
                features={"seconds": nominal_s},
            )
        )  # fmt: skip

    add("text", "emu-text", 2.0)
    for shot in range(SHOTS):
        due_s = 10.0 + shot * 0.8
        add(f"voice-{shot}", "emu-voice", due_s - 5, Edge("text", "text"))
        add(f"sketch-{shot}", "emu-sketch", due_s - 6, Edge("text", "text"), chunks=SEGMENTS)
        for k in range(SEGMENTS):
            name, at_s = f"{shot}.{k}", due_s + k * 0.2
            add(f"decode-{name}", "emu-decode", at_s - 5, Edge("latents", f"sketch-{shot}", "stream", k))
            parts = (Edge("video", f"decode-{name}"), Edge("speech", f"voice-{shot}"))
            add(f"sync-{name}", "emu-sync", at_s - 1, *parts)
            add(f"upscale-{name}", "emu-upscale", at_s, Edge("video", f"sync-{name}"))
    return JobSpec(workflow="graph", graph=tuple(tasks))


def write_configs(folder: Path) -> None:
    """Cards, prices and the fleet of KINDS and MODELS."""
    shutil.copytree(ROOT / "configs", folder)
    for name, (_, kinds) in MODELS.items():
        card = {
            "name": name, "version": "1", "family": "emulated", "stages": ["emulated"],
            "licence": "Apache-2.0", "elo": 0, "memory_gb": 0.05, "load_s": 0.01,
            "options": {"load_s": 0.01, "speeds": {kind: KINDS[kind][1] for kind in kinds}},
            "profiles": {kind: {"per": {"seconds": 1 / KINDS[kind][1]}} for kind in kinds},
        }  # fmt: skip
        (folder / "models" / f"{name}.yaml").write_text(yaml.safe_dump(card))
    prices = {"hardware": {kind: {"usd_per_h": usd, "busy_w": 100} for kind, (_, _, usd) in KINDS.items()}}
    (folder / "hardware.yaml").write_text(yaml.safe_dump(prices))
    fleet = [
        {
            "kind": kind, "hardware": kind, "workers": n, "min_workers": 0 if kind == "late" else n,
            "models": [name for name, (_, kinds) in MODELS.items() if kind in kinds], "device_kind": kind,
            "memory_gb": 1.0, "idle_timeout_s": 3.0 if kind == "late" else 3600.0,
        }
        for kind, (n, _, _) in KINDS.items()
    ]  # fmt: skip
    (folder / "head.yaml").write_text(yaml.safe_dump({"cluster": "local", "fleet": fleet}))


class Cluster:
    """A running head with its workers; `run` films once."""

    def __init__(self, folder: Path, head: Any) -> None:
        self.paths = RunPaths(folder / "run")
        self._head = head

    def records(self) -> list[Record]:
        numbers = self.paths.epoch_numbers() if self.paths.root.is_dir() else ()
        return list(read_records(self.paths.journal_file(numbers[-1]))) if numbers else []

    def alive(self) -> dict[str, list[str]]:
        """Workers by kind, in the order in which they joined."""
        found: dict[str, dict[str, None]] = {}
        for record in self.records():
            if isinstance(record.event, m.WorkerJoined):
                found.setdefault(record.event.worker.kind, {})[record.event.worker.worker_id] = None
            elif isinstance(record.event, m.WorkerLost):
                for names in found.values():
                    names.pop(record.event.worker_id, None)
        return {kind: list(names) for kind, names in found.items()}

    def wait_ready(self) -> None:
        """Until all but the late kind are there, and none of that."""
        wanted = {kind: (0 if kind == "late" else n) for kind, (n, _, _) in KINDS.items()}
        until_s = time.monotonic() + START_S
        while {kind: len(self.alive().get(kind, ())) for kind in KINDS} != wanted:
            if self._head.poll() is not None or time.monotonic() > until_s:
                raise CannotRun(f"workers there: {self.alive()}; the head's status: {self._head.poll()}")
            time.sleep(0.25)

    def run(self, seed: int) -> list[Record]:
        """One film with one eviction; its records, from arrival to end."""
        self.wait_ready()
        token = f"film-{seed}"
        victim = self.alive()["fast"][seed % KINDS["fast"][0]]
        Inbox(self.paths).drop(msgspec.json.encode(film(seed)), token)
        self._evict(token, victim)
        until_s = time.monotonic() + END_S
        while True:
            records = self.records()
            ends = [
                i
                for i, r in enumerate(records)
                if any(isinstance(c, m.RequestEnded) and c.request_id == token for c in r.commands)
            ]
            if ends:
                begin = next(
                    i
                    for i, r in enumerate(records)
                    if isinstance(r.event, m.RequestArrived) and r.event.request_id == token
                )
                return records[begin : ends[0] + 1]
            if self._head.poll() is not None or time.monotonic() > until_s:
                raise CannotRun(f"{token} did not end within {END_S:.0f} s")
            time.sleep(0.5)

    def _evict(self, token: str, worker_id: str) -> None:
        """SIGTERM to the worker EVICT_AT_S after the film arrived, as a batch system preempts."""
        arrived = None
        while arrived is None:
            arrived = next(
                (
                    r.wall_s
                    for r in reversed(self.records())
                    if isinstance(r.event, m.RequestArrived) and r.event.request_id == token
                ),
                None,
            )
            time.sleep(0.02)
        time.sleep(max(0.0, arrived + EVICT_AT_S - time.time()))
        folder = self.paths.workers / worker_id / "submitit"
        for pid in by_folder([folder])[folder]:
            # The controller passes the signal on; each of the job's processes gets it once.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


@contextlib.contextmanager
def cluster(seed: int) -> Iterator[Cluster]:
    """Start head and workers in a folder of their own; ends all of it."""
    with tempfile.TemporaryDirectory(prefix="hpcwise-fidelity-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_configs(folder / "configs")
        RunPaths(folder / "run").create()
        log = folder / "head.log"
        command = [
            sys.executable, str(ROOT / "scripts/bench/fidelityhead.py"), str(folder / "run"),
            str(folder / "results"), str(folder / "configs"), str(log), "late", str(QUEUE_S),
            str(QUEUE_SIGMA), str(seed),
        ]  # fmt: skip
        with _marked(command, log) as head:
            made = Cluster(folder, head)
            try:
                yield made
            except CannotRun as error:
                raise CannotRun(f"{error}; the head's log ends: {_tail(log)}") from error
            head.terminate()
            with contextlib.suppress(Exception):
                head.wait(30)
