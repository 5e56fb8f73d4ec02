"""Faults of `scripts/chaos`: each strikes, holds for a while, and takes itself back. Nothing here waits for
the run to recover: that is read from the journals afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hpcwise.core.errors import HpcwiseError
from hpcwise.core.report import RequestRow, WorkerRow
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.head.answers import HeadStatus
from hpcwise.testbed.shape import TestbedError
from hpcwise.wire.start import HeadAddress
from scripts.chaossite import GREEDY_GB, ChaosSite, Disk

#: How long a fault looks for a victim: a worker that runs a task and has time.
VICTIM_S: Final = 40.0
GPUS: Final = 4


class Fault(msgspec.Struct, kw_only=True):
    """A line of the log. at_s, mended_s: Unix time. hits: tasks that ran on what was hit, all where it was
    everything. recovered_s: from the fault until one of them was finished, where that is not in the journals.
    """

    number: int
    kind: str
    what: str = ""
    at_s: float = 0.0
    mended_s: float = 0.0
    hits: tuple[str, ...] = ()
    recovered_s: float | None = None


class NoVictim(HpcwiseError):
    """There was nothing to hit."""


@dataclass
class Look:
    """What the run looked like just now."""

    at_s: float = 0.0
    status: HeadStatus | None = None
    rows: dict[str, RequestRow] = field(default_factory=dict)

    @property
    def workers(self) -> tuple[WorkerRow, ...]:
        return self.status.view.workers if self.status is not None else ()


class Claims:
    """What several faults must not break at once."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def __call__(self, *names: str):  # type: ignore[no-untyped-def]
        with self._changed:
            self._changed.wait_for(lambda: not self._held & set(names))
            self._held |= set(names)
        try:
            yield
        finally:
            self.free(*names)

    def take(self, name: str) -> bool:
        with self._changed:
            free = name not in self._held
            self._held.add(name)
            return free

    def free(self, *names: str) -> None:
        with self._changed:
            self._held -= set(names)
            self._changed.notify_all()


class Breaker:
    """look: the latest look; end: set when the script is to end early, holding no fault longer. asked: told
    of a request that a fault hands in."""

    def __init__(
        self, site: ChaosSite, look: Callable[[], Look], end: threading.Event, asked: Callable[[str], None]
    ) -> None:
        self._site = site
        self._bed = site.testbed
        self._look = look
        self._end = end
        self._asked = asked
        self._claims = Claims()

    def strike(self, fault: Fault, chance: random.Random) -> None:
        """Do it and undo it. Raises NoVictim where nothing could be hit."""
        KINDS[fault.kind](self, fault, chance)
        fault.mended_s = time.time()

    # -- workers and their nodes -------------------------------------------------------------------------

    def preempt(self, fault: Fault, chance: random.Random) -> None:
        with self._claims("slurm"):
            victim = self._victim(chance, kind="spot")
            node = victim.nodes[0]
            text = self._bed.run(["squeue", "-h", "-r", "-w", node, "-t", "R", "-o", "%P|%b"]).stdout
            rows = [line.split("|") for line in text.splitlines()]
            free = GPUS - sum(part != "spot" and "gpu" in gres for part, gres in rows)
            if free < 1:
                raise NoVictim(f"{node} has no GPU that a preemption could take")
            self._hit(fault, victim)
            urgent = self._bed.run(
                ["sbatch", "--parsable", "-A", "research", "-p", node.partition("-")[0], "-w", node,
                 "-t", "5", "-c", "1", "--mem=1G", f"--gres=gpu:{free}", "-o", "/dev/null",
                 "--wrap", "sleep 300"]
            ).stdout.strip()  # fmt: skip
        try:
            self._until(lambda: self._gone(victim), 40.0)
        finally:
            self._bed.run(["scancel", urgent], check=False)

    def node_cut(self, fault: Fault, chance: random.Random) -> None:
        with self._node(fault, chance) as node:
            self._bed.cut(node)
            try:
                self._hold(chance.uniform(4.0, 22.0))
            finally:
                self._bed.heal(node)

    def node_crash(self, fault: Fault, chance: random.Random) -> None:
        with self._node(fault, chance) as node:
            self._bed.kill(node)
            try:
                self._hold(chance.uniform(2.0, 18.0))
            finally:
                self._bed.restart(node)

    def slurmd_kill(self, fault: Fault, chance: random.Random) -> None:
        with self._node(fault, chance) as node:
            self._bed.kill(node, daemon_only=True)
            try:
                self._hold(chance.uniform(2.0, 18.0))
            finally:
                self._bed.restart(node)

    def slow_link(self, fault: Fault, chance: random.Random) -> None:
        with self._node(fault, chance) as node:
            ms = chance.choice((50.0, 200.0, 800.0))
            fault.what += f" by {ms:g} ms"
            self._bed.slow(node, ms)
            try:
                self._hold(chance.uniform(6.0, 15.0))
            finally:
                self._bed.slow(node, 0)

    def worker_kill(self, fault: Fault, chance: random.Random) -> None:
        victim = self._victim(chance)
        self._hit(fault, victim)
        _signal(self._site.worker_pids(victim.worker_id)[-1:], signal.SIGKILL)

    def worker_hang(self, fault: Fault, chance: random.Random) -> None:
        victim = self._victim(chance)
        pids = self._site.worker_pids(victim.worker_id)
        self._hit(fault, victim)
        _signal(pids, signal.SIGSTOP)
        try:
            self._hold(chance.uniform(3.0, 20.0))
        finally:
            _signal(pids, signal.SIGCONT)

    def scancel(self, fault: Fault, chance: random.Random) -> None:
        with self._claims("slurm"):
            victim = self._victim(chance)
            job = self._job_of(victim)
            self._hit(fault, victim)
            self._bed.run(["scancel", job])

    def walltime(self, fault: Fault, chance: random.Random) -> None:
        """The end comes nearer than was said when the job began; USR2 tells, a minute ahead at most."""
        with self._claims("slurm"):
            victim = self._victim(chance)
            job = self._job_of(victim)
            self._hit(fault, victim)
            spent_min = int(victim.age_s / 60) + 1
            self._bed.run(["scontrol", "update", f"JobId={job}", f"TimeLimit={spent_min}"])
        self._until(lambda: self._gone(victim), 90.0)

    def out_of_memory(self, fault: Fault, chance: random.Random) -> None:
        """A task that takes more memory than any job has: its request fails, and says why."""
        with self._claims("memory"):
            self._greedy(fault)

    def _greedy(self, fault: Fault) -> None:
        name = f"greedy-{fault.number}"
        self._until(lambda: self._look().status is not None, VICTIM_S)
        fault.at_s, fault.what = time.time(), name
        task = GraphTask(
            name="greedy", stage="emulated", model="emulated",
            params={"seconds": 20.0, "steps": 40, "memory_gb": GREEDY_GB, "salt": name},
            features={"seconds": 20.0},
        )  # fmt: skip
        self._site.drop(JobSpec(workflow="graph", name=name, graph=(task,)), name)
        self._asked(name)

        def over() -> bool:
            row = self._look().rows.get(name)
            return row is not None and row.state in ("done", "failed")

        if self._until(over, 180.0):
            fault.recovered_s = time.time() - fault.at_s

    # -- the head ----------------------------------------------------------------------------------------

    def head_kill(self, fault: Fault, chance: random.Random) -> None:
        with self._claims("head"):
            epoch = self._epoch()
            address = HeadAddress.decode(self._site.run.paths.head_json.read_bytes())
            self._hit_all(fault, f"process {address.pid} on {address.host}")
            _signal([address.pid], signal.SIGKILL)
            self._until(lambda: self._later_than(epoch), 60.0)

    def head_requeue(self, fault: Fault, chance: random.Random) -> None:
        """By an administrator, who does not let it wait for Slurm's two minutes either."""
        with self._claims("head", "slurm"):
            epoch, job = self._epoch(), self._site.head_job()
            self._hit_all(fault, f"job {job}")
            self._bed.run(["scontrol", "requeue", job])
            self._until(lambda: self._bed.job_state(job) == "PENDING", 30.0)
            # Slurm takes a job that starts within the second of its requeue for a revoked one, and fails it.
            self._hold(3.0)
            self._bed.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False)
            self._until(lambda: self._later_than(epoch), 90.0)

    def head_again(self, fault: Fault, chance: random.Random) -> None:
        """Cancelled by a person, its workers with it, and submitted again."""
        with self._claims("head", "slurm"):
            epoch, job = self._epoch(), self._site.head_job()
            self._hit_all(fault, f"job {job}")
            self._bed.run(["scancel", job])
            self._until(lambda: self._bed.job_state(job) == "CANCELLED", 60.0)
            self._hold(chance.uniform(0.0, 5.0))
            self._site.start()
            self._until(lambda: self._later_than(epoch), 60.0)

    # -- Slurm -------------------------------------------------------------------------------------------

    def slurmctld_down(self, fault: Fault, chance: random.Random) -> None:
        with self._claims("slurm"):
            self._hit_all(fault, "slurmctld")
            if chance.random() < 0.5:
                fault.what = "slurmctld hangs"
                self._bed.pause("slurmctld")
                try:
                    self._hold(chance.uniform(8.0, 35.0))
                finally:
                    self._bed.resume("slurmctld")
            else:
                self._bed.kill("slurmctld")
                try:
                    self._hold(chance.uniform(8.0, 25.0))
                finally:
                    self._bed.restart("slurmctld")
            self._until(lambda: bool(self._bed.states()), 60.0)

    def database_down(self, fault: Fault, chance: random.Random) -> None:
        with self._claims("database"):
            names = chance.choice((("slurmdbd",), ("slurmdbd", "mariadbd")))
            self._hit_all(fault, " and ".join(names))
            for name in names:
                self._bed.kill(name)
            try:
                self._hold(chance.uniform(8.0, 20.0))
            finally:
                for name in reversed(names):
                    self._bed.restart(name)

    def late_sbatch(self, fault: Fault, chance: random.Random) -> None:
        """The next sbatch makes its job and does not answer; a worker is cancelled, so that there is one."""
        with self._claims("late", "slurm"):
            victim = self._victim(chance)
            job = self._job_of(victim)
            self._site.late.touch()
            self._hit(fault, victim)
            self._bed.run(["scancel", job])
        try:
            if not self._until(lambda: not self._site.late.exists(), 90.0):
                raise NoVictim("no worker was asked for")
        finally:
            self._site.late.unlink(missing_ok=True)

    # -- the file system ---------------------------------------------------------------------------------

    def disk_slow(self, fault: Fault, chance: random.Random) -> None:
        with self._claims("disk"):
            self._hit_all(fault, "hangs")
            seconds = chance.uniform(5.0, 25.0)
            if chance.random() < 0.5:
                self._disk.hang(seconds)
            else:
                fault.what = "stutters"
                self._disk.stutter(seconds)

    def disk_read_only(self, fault: Fault, chance: random.Random) -> None:
        """The artifacts, on every node."""
        with self._claims("disk"):
            self._hit_all(fault, "artifacts")
            nodes = [node.name for node in self._bed.record.shape.nodes()]
            done = [node for node in nodes if self._remount(node, wanted=True)]
            try:
                self._hold(chance.uniform(5.0, 15.0))
            finally:
                for node in done:
                    self._remount(node, wanted=False)

    def disk_full(self, fault: Fault, chance: random.Random) -> None:
        with self._claims("disk"):
            self._hit_all(fault, "no byte left")
            try:
                self._disk.fill()
                self._hold(chance.uniform(4.0, 15.0))
            finally:
                self._disk.empty()

    # -- inside ------------------------------------------------------------------------------------------

    @property
    def _disk(self) -> Disk:
        assert self._site.disk is not None
        return self._site.disk

    def _remount(self, node: str, *, wanted: bool) -> bool:
        """A node that has crashed meanwhile starts with what the machine sees, which is writable."""
        until_s = time.monotonic() + 5.0
        while time.monotonic() < until_s:
            try:
                enter = self._bed.enter(node)
            except TestbedError:
                return False
            if self._disk.read_only(enter, wanted):
                return True
            time.sleep(0.05)
        return False

    @contextlib.contextmanager
    def _node(self, fault: Fault, chance: random.Random):  # type: ignore[no-untyped-def]
        """A node with a worker that runs a task, which no other fault has hold of and no head runs on."""
        head = HeadAddress.decode(self._site.run.paths.head_json.read_bytes()).host
        victim = self._victim(chance, but=head, free=True)
        node = victim.nodes[0]
        try:
            there = [worker for worker in self._look().workers if node in worker.nodes]
            fault.hits = tuple(task for worker in there for task in worker.running)
            fault.at_s, fault.what = time.time(), node
            yield node
        finally:
            self._claims.free(f"node {node}")

    def _victim(
        self, chance: random.Random, kind: str = "", but: str = "", *, free: bool = False
    ) -> WorkerRow:
        found: list[WorkerRow] = []

        def some() -> bool:
            workers = sorted(self._look().workers, key=lambda worker: worker.worker_id)
            chance.shuffle(workers)
            for worker in workers:
                fits = worker.running and worker.kind.startswith(kind) and but not in (worker.nodes or ("",))
                if fits and (not free or self._claims.take(f"node {worker.nodes[0]}")):
                    found.append(worker)
                    return True
            return False

        if not self._until(some, VICTIM_S):
            raise NoVictim(f"no worker of {kind or 'any pool'} runs a task")
        return found[0]

    def _hit(self, fault: Fault, victim: WorkerRow) -> None:
        fault.at_s, fault.hits = time.time(), victim.running
        fault.what = f"{victim.worker_id} on {','.join(victim.nodes)}"

    def _hit_all(self, fault: Fault, what: str) -> None:
        fault.hits = tuple(task for worker in self._look().workers for task in worker.running)
        fault.at_s, fault.what = time.time(), what

    def _job_of(self, victim: WorkerRow) -> str:
        note = self._site.run.paths.workers / victim.worker_id / "launch.json"
        try:
            job = str(msgspec.json.decode(note.read_bytes())["job_id"])
        except (OSError, msgspec.MsgspecError) as error:
            raise NoVictim(f"{victim.worker_id}: {error}") from None
        if not job:
            raise NoVictim(f"{victim.worker_id}: its job is not known")
        return job

    def _gone(self, victim: WorkerRow) -> bool:
        look = self._look()
        return look.status is not None and all(w.worker_id != victim.worker_id for w in look.workers)

    def _epoch(self) -> int:
        if not self._until(lambda: self._look().status is not None, VICTIM_S):
            raise NoVictim("no head answers")
        status = self._look().status
        return status.view.epoch if status is not None else 0

    def _later_than(self, epoch: int) -> bool:
        status = self._look().status
        return status is not None and status.view.epoch > epoch

    def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        until_s = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > until_s or self._end.is_set():
                return False
            time.sleep(0.3)
        return True

    def _hold(self, seconds: float) -> None:
        self._end.wait(seconds)


def _signal(pids: list[int], number: int) -> None:
    if not pids:
        raise NoVictim("its processes have ended by themselves")
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


KINDS: Final[dict[str, Callable[[Breaker, Fault, random.Random], None]]] = {
    method.__name__: method
    for method in (
        Breaker.preempt, Breaker.node_cut, Breaker.node_crash, Breaker.slurmd_kill, Breaker.slow_link,
        Breaker.worker_kill, Breaker.worker_hang, Breaker.scancel, Breaker.walltime, Breaker.out_of_memory,
        Breaker.head_kill, Breaker.head_requeue, Breaker.head_again, Breaker.slurmctld_down,
        Breaker.database_down, Breaker.late_sbatch, Breaker.disk_slow, Breaker.disk_read_only,
        Breaker.disk_full,
    )
}  # fmt: skip
#: What takes a file system of one's own.
DISK_KINDS: Final = frozenset({"disk_slow", "disk_read_only", "disk_full"})


def deal(kinds: list[str], faults: int, chance: random.Random) -> list[str]:
    """So many faults, every kind as often as any other or once more, shuffled."""
    dealt = kinds * (faults // len(kinds)) + chance.sample(kinds, faults % len(kinds))
    chance.shuffle(dealt)
    return dealt
