"""The parties that `scripts/bench/dispatch` compares: hpcwise's own head and workers, and its peers' pools.

Each is started, made warm, asked for bags and chains, and ended with all processes that it started: they
carry a mark in their environment, so that none of them is missed and nobody else's is touched.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.errors import HpcwiseError
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.core.workflow import Edge
from hpcwise.head.ledger import Record, read_records
from hpcwise.store.inbox import Inbox
from hpcwise.store.paths import RunPaths

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = {
    "executorlib": "executorlib==1.11.0",
    "ray": "ray==2.60.0",
    "parsl": "parsl==2026.10.26",
    "distributed": "distributed==2026.8.0",
    "hyperqueue": "hyperqueue==0.27.0",
}
_MARK: Final = "HPCWISE_BENCH_MARK"
#: A party that does not start, or answer, within this is given up.
START_S, ANSWER_S, END_S = 90.0, 300.0, 30.0


class Party(Protocol):
    """A running pool of two warm workers."""

    def tasks(self, n: int) -> float:
        """Seconds that `n` independent no-op tasks take."""

    def chain(self, n: int) -> float:
        """Seconds that `n` no-op tasks take of which each needs the one before."""


class CannotRun(HpcwiseError):
    """A party did not start, or did not do what it was asked for."""


# --- ours ---------------------------------------------------------------------------------------------------


class Ours:
    """A head in its own process with two workers; jobs go through the inbox, times come from the journal."""

    def __init__(self, run_dir: Path, head: subprocess.Popen[bytes]) -> None:
        self._paths = RunPaths(run_dir)
        self._head = head
        self._inbox = Inbox(self._paths)
        self._jobs = 0

    def tasks(self, n: int) -> float:
        """Distinct parameters, so that no task is a repetition of another's, and distinct deadlines."""
        graph = tuple(
            GraphTask(
                name=f"t{i}",
                stage="noop",
                model="emulated",
                params={"i": i, "job": self._jobs},
                deadline_s=600 + i * 0.001,
            )
            for i in range(n)
        )
        return self._run(graph)

    def chain(self, n: int) -> float:
        graph = tuple(
            GraphTask(
                name=f"t{i}",
                stage="noop",
                model="emulated",
                params={"i": i, "job": self._jobs},
                inputs=(Edge("before", f"t{i - 1}"),) if i else (),
                deadline_s=600 + i * 0.001,
            )
            for i in range(n)
        )
        return self._run(graph)

    def wait_ready(self) -> None:
        """Until both workers have joined and loaded the model: tasks that last are shared by the two."""
        until_s = time.monotonic() + START_S
        loaded: set[str] = set()
        while len(loaded) < 2:
            if time.monotonic() > until_s:
                raise CannotRun("two workers did not join the head in time")
            lasting = {"seconds": 0.1, "job": self._jobs}
            self._run(
                tuple(
                    GraphTask(
                        name=f"t{i}",
                        stage="warm",
                        model="emulated",
                        params={**lasting, "i": i},
                        features={"seconds": 0.1},
                        deadline_s=600,
                    )
                    for i in range(6)
                )
            )
            loaded = {r.event.worker_id for r in self._records() if isinstance(r.event, m.ModelLoaded)}
        self.tasks(200)
        self.chain(20)

    def _run(self, graph: tuple[GraphTask, ...]) -> float:
        self._jobs += 1
        token = f"bench-{self._jobs:04d}"
        payload = msgspec.json.encode(JobSpec(workflow="graph", graph=graph))
        offset = self._journal().stat().st_size
        start_wall_s = time.time()
        self._inbox.drop(payload, token)
        self._await_end(offset)
        for record in self._records():
            for command in record.commands:
                if isinstance(command, m.RequestEnded) and command.request_id == token:
                    if command.state != "done":
                        raise CannotRun(f"a job ended as {command.state}: {command.reason}")
                    return record.wall_s - start_wall_s
        raise CannotRun("a job's end is not in the journal")

    def _await_end(self, offset: int) -> None:
        """Until the journal, from `offset` on, says that a request has ended.

        Looks at new bytes only: the head must not be slowed down by being asked.
        """
        until_s = time.monotonic() + ANSWER_S
        overlap = b""
        with self._journal().open("rb") as file:
            file.seek(offset)
            while time.monotonic() < until_s:
                new = overlap + file.read()
                if b"RequestEnded" in new:
                    return
                overlap = new[-16:]
                self._check_head()
                time.sleep(0.02)
        raise CannotRun(f"a job did not end within {ANSWER_S:.0f} s")

    def _records(self) -> Iterator[Record]:
        return read_records(self._journal())

    def _journal(self) -> Path:
        until_s = time.monotonic() + START_S
        while True:
            # The epoch is claimed a moment before its journal is opened.
            epochs = self._paths.epoch_numbers()
            path = self._paths.journal_file(epochs[-1]) if epochs else None
            if path is not None and path.exists():
                return path
            self._check_head()
            if time.monotonic() > until_s:
                raise CannotRun("the head did not start in time")
            time.sleep(0.05)

    def _check_head(self) -> None:
        if self._head.poll() is not None:
            raise CannotRun(f"the head ended with status {self._head.returncode}")


@contextlib.contextmanager
def ours(command: Sequence[str] = (sys.executable,)) -> Iterator[Ours]:
    """Start a head in an empty run directory and wait for two warm workers; ends all of it."""
    with tempfile.TemporaryDirectory(prefix="hpcwise-bench-") as folder:
        run_dir = Path(folder) / "run"
        RunPaths(run_dir).create()
        log = Path(folder) / "head.log"
        arguments = ["-m", "hpcwise.head", "--run-dir", str(run_dir), "--results-dir", f"{folder}/results"]
        with _marked([*command, *arguments, "--workers", "2", "--log", str(log)], log) as head:
            party = Ours(run_dir, head)
            try:
                party.wait_ready()
                yield party
            except CannotRun as error:
                raise CannotRun(f"hpcwise: {error}; its log ends: {_tail(log)}") from error
            head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(END_S)


# --- peers --------------------------------------------------------------------------------------------------


class Peer:
    """A peer's program in its own environment; see peers/protocol.py."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._name, self._process, self._log = name, process, log

    def tasks(self, n: int) -> float:
        return float(self._ask(f"tasks {n}", ANSWER_S))

    def chain(self, n: int) -> float:
        return float(self._ask(f"chain {n}", ANSWER_S))

    def _ask(self, line: str, timeout_s: float) -> str:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        if line:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
        if not select.select([process.stdout], [], [], timeout_s)[0]:
            raise CannotRun(f"{self._name}: no answer to {line or 'its start'!r} within {timeout_s:.0f} s")
        answer = process.stdout.readline().decode().strip()
        if not answer:
            raise CannotRun(f"{self._name}: ended without an answer: {_tail(self._log)}")
        return answer

    def wait_ready(self) -> None:
        self._ask("", START_S)


@contextlib.contextmanager
def peer(name: str) -> Iterator[Peer]:
    """Start the peer's program and wait until its pool is warm; ends all of it."""
    python = peer_python(name)
    program = ROOT / "scripts" / "bench" / "peers" / f"run_{name}.py"
    with tempfile.TemporaryDirectory(prefix=f"hpcwise-{name}-") as folder:
        log = Path(folder) / "log"
        # -P: the folder of the programs must not be where their imports are looked for.
        with _marked([str(python), "-P", str(program)], log, Path(folder), python.parent) as process:
            party = Peer(name, process, log)
            party.wait_ready()
            yield party
            assert process.stdin is not None
            process.stdin.write(b"quit\n")
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)


def peer_python(name: str) -> Path:
    return ROOT / ".peers" / name / "bin" / "python"


def installed(name: str) -> bool:
    """Whether the environment of a peer holds the version that is compared."""
    package, _, version = PEERS[name].partition("==")
    return any((ROOT / ".peers" / name).glob(f"lib/python*/site-packages/{package}-{version}.dist-info"))


def install(name: str) -> None:
    """Make the peer's environment. Raises CannotRun."""
    folder = ROOT / ".peers" / name
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(peer_python(name)), "-m", "pip", "install", "--quiet", PEERS[name]],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"installing {PEERS[name]}: {' '.join(done.stderr.split())[-300:]}")


# --- processes ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _marked(
    command: Sequence[str], log: Path, folder: Path | None = None, path: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    mark = uuid.uuid4().hex
    environment = {**os.environ, _MARK: mark, "PYTHONPATH": "" if path else str(ROOT)}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment.get('PATH', '')}"
        environment["TMPDIR"] = str(folder)
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if path else errors,
            stderr=errors,
            cwd=folder or ROOT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end_marked(mark)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _end_marked(mark: str) -> None:
    """SIGTERM, then SIGKILL, to every process that carries `mark`, until there is none."""
    wanted = f"{_MARK}={mark}".encode()
    for round_ in range(100):
        left = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/environ") if _carries(p, wanted)]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if round_ < 20 else signal.SIGKILL)
        time.sleep(0.1)


def _carries(environ: Path, wanted: bytes) -> bool:
    try:
        if wanted not in environ.read_bytes().split(b"\0"):
            return False
        return "\nState:\tZ" not in (environ.parent / "status").read_text()
    except OSError:
        return False


def _tail(log: Path) -> str:
    try:
        return " ".join(log.read_text("utf-8", "replace").split())[-300:]
    except OSError:
        return ""
