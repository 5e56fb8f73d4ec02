"""A head as a process of this machine: started, found ready, watched over, stopped."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hpcwise.cli.client import connect, head_address, is_head
from hpcwise.cli.run import Run
from hpcwise.core.errors import HeadError, HpcwiseError, UsageError, WireError
from hpcwise.head.answers import HeadStatus
from hpcwise.store.paths import storage_errors
from hpcwise.wire import messages as w

READY_S: Final = 30.0
#: A head that died this often while it was watched over is not started again.
MOST_RESTARTS: Final = 5
#: An orderly end: workers get time for the step that they are in.
STOP_S: Final = 40.0
_EXIT_USAGE, _EXIT_OTHER_HEAD = 2, 3
_PR_SET_PDEATHSIG: Final = 1


class LocalHead:
    """Runs one head process for this run. with_us: it ends when this process ends. cluster: name of a Slurm
    site whose jobs its workers are."""

    def __init__(self, run: Run, workers: int | None = None, *, with_us: bool, cluster: str = "") -> None:
        self._run = run
        self._workers = workers
        self._with_us = with_us
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start it and wait until it answers. Another head that runs already will do.

        Raises UsageError with the head's own words where it refuses to start, HeadError where it dies.
        """
        self._run.create()
        self._process = self._spawn()
        until_s = time.monotonic() + READY_S
        while True:
            code = self._wait(0.05)
            if code is not None:
                if code == _EXIT_OTHER_HEAD and connect_ok(self._run):
                    return
                raise self._died(code)
            address = head_address(self._run)
            if address is not None and address.pid == self._process.pid:
                return
            if time.monotonic() > until_s:
                self.kill()
                raise HeadError(
                    f"the head was not ready within {READY_S:g} s; see {self._run.paths.head_log}"
                )

    def look_after(self) -> bool:
        """Start it again if it died; True where that happened. Raises HeadError when it keeps dying."""
        if self._process is None:
            return False
        code = self._process.poll()
        if code is None:
            return False
        if code == _EXIT_OTHER_HEAD and connect_ok(self._run):
            self._process = None  # another head has taken over: it is not ours to watch over
            return True
        self.restarts += 1
        if self.restarts > MOST_RESTARTS or code == _EXIT_USAGE:
            raise self._died(code)
        self.start()
        return True

    @property
    def ours(self) -> bool:
        """Whether the head that serves this run is the one started here."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it in order: workers stop between two steps, the state is kept. Raises HeadError."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        if self._wait(STOP_S) is None:
            self.kill()
            raise HeadError(f"the head did not stop within {STOP_S:g} s and was ended; nothing is lost")

    def kill(self) -> None:
        """End it at once; its journal holds all that it decided."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _wait(self, seconds: float) -> int | None:
        assert self._process is not None
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def _spawn(self) -> subprocess.Popen[bytes]:
        paths = self._run.paths
        command = [
            sys.executable, "-m", "hpcwise.head", "--run-dir", str(paths.root),
            "--results-dir", str(self._run.results), "--log", str(paths.head_log),
        ]  # fmt: skip
        if self._workers is not None:
            command += ["--workers", str(self._workers)]
        if self._cluster:
            command += ["--cluster", self._cluster]
        with storage_errors(paths.logs), self._words.open("wb") as output:
            # A session of its own: Ctrl-C in the terminal is for us, who then stop it in order.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                preexec_fn=_end_with_parent if self._with_us else None,
            )  # fmt: skip

    @property
    def _words(self) -> Path:
        return self._run.paths.logs / "head.out"

    def _died(self, code: int) -> HpcwiseError:
        try:
            lines = self._words.read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            lines = []
        said = lines[-1].removeprefix("error: ") if lines else f"it ended with code {code}"
        if code in (_EXIT_USAGE, _EXIT_OTHER_HEAD):
            return UsageError(said)
        return HeadError(f"the head cannot run: {said}; see {self._run.paths.head_log}")


def connect_ok(run: Run) -> bool:
    """Whether a head answers."""
    client = connect(run)
    if client is None:
        return False
    client.close()
    return True


def stop_head(run: Run, *, keep_workers: bool, on_wait: Callable[[], None] = lambda: None) -> int | None:
    """Stop the head of this run and wait for its end; its process number, None where none ran."""
    client = connect(run)
    if client is None:
        return None
    with client:
        pid, host = client.address.pid, client.address.host
        client.ask(lambda ident: w.StopHead(ident, keep_workers=keep_workers), HeadStatus)
    on_wait()
    until_s = time.monotonic() + STOP_S
    while time.monotonic() < until_s:
        address = head_address(run)
        gone = address is None or address.pid != pid
        # It takes its address away before it ends; of a process on another host no more can be seen.
        if gone and (host != socket.gethostname() or not is_head(pid)):
            return pid
        time.sleep(0.05)
    raise WireError(f"the head (process {pid}) still runs after {STOP_S:g} s; see {run.paths.head_log}")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
