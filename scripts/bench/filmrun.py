"""What scripts/bench/film runs: a head, the page with a browser before it, and a look at their processes."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcwise.core.errors import HpcwiseError

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "jobs" / "inputs" / "hpcwise.pdf"
#: Filmed first, so that every model is loaded when the paper comes; nothing of it can be used again there.
WARMUP = """# Tide mills

## Abstract

Tide mills store the sea behind a gate and let it out over a wheel at low water. One mill ground flour for
forty families. It needed no wind and no river.

## Results

The mill ran for eleven hours a day. A gate of oak lasted nineteen years in salt water.

## Conclusion

A tide never fails.
"""
_TICK_S = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """Of a process and all below it: processor seconds, and the most memory at one moment, MB."""

    cpu_s: float
    peak_rss_mb: float


class Processes:
    """Watches the processes of a run folder, known by their command lines; a context manager."""

    def __init__(self, run_dir: Path) -> None:
        self._mark = str(run_dir).encode()
        self._cpu: dict[int, float] = {}
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Processes:
        self._look()
        self._before = dict(self._cpu)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def used(self) -> Used:
        """Since the block began."""
        self._look()
        total = sum(cpu - self._before.get(pid, 0.0) for pid, cpu in self._cpu.items())
        return Used(total, self._peak / 1e6)

    def _watch(self) -> None:
        while not self._over.wait(_TICK_S):
            self._look()

    def _look(self) -> None:
        parents, ours, memory = {}, set(), {}
        for path in Path("/proc").iterdir():
            if not path.name.isdigit():
                continue
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                command = (path / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            pid = int(path.name)
            parents[pid] = int(fields[1])
            memory[pid] = (int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _CLOCK)
            if self._mark in command and b"hpcwise" in command and b"chrom" not in command:
                ours.add(pid)
        for pid in sorted(parents):
            above = pid
            while above in parents and above not in ours:
                above = parents[above]
            if above in ours:
                ours.add(pid)
        ours -= {os.getpid()}
        self._peak = max(self._peak, sum(memory[pid][0] for pid in ours))
        self._cpu.update({pid: memory[pid][1] for pid in ours})


def hpcwise(*arguments: str) -> str:
    """Run the command line tool; its output. Raises HpcwiseError with its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "hpcwise", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise HpcwiseError(f"hpcwise {arguments[0]}: {said[-1] if said else done.returncode}")
    return done.stdout


def cold_ttff_s(seconds: float) -> float:
    """From `hpcwise generate`, where nothing of it runs yet, to the first segment that can be played."""
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "hpcwise", "generate", str(PAPER), "--duration", f"{seconds:g}s",
             "--resolution", "640x400", "--json", "--run-dir", folder],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            while not any(Path(folder).glob("*/live/index.m3u8")):
                if process.poll() is not None or time.monotonic() - began_s > 120:
                    raise HpcwiseError("hpcwise generate: made no first segment")
                time.sleep(0.01)
            return time.monotonic() - began_s
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


@contextmanager
def warm_head(folder: Path) -> Iterator[None]:
    """A head whose workers have every model loaded."""
    hpcwise("head", "start", "--run-dir", str(folder))
    try:
        document = folder / "mills.md"
        document.write_text(WARMUP)
        hpcwise("generate", str(document), "--duration", "20s", "--json", "--run-dir", str(folder))
        yield
    finally:
        hpcwise("head", "stop", "--run-dir", str(folder))


class Page:
    """`hpcwise serve` for a run folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hpcwise", "serve", "--port", "0", "--run-dir", str(folder)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        found = re.search(r"http://[^ ]+:(\d+)/", said)
        if found is None:
            raise HpcwiseError(f"hpcwise serve: {said.strip() or 'did not start'}")
        self.url, self._port = found[0], int(found[1])

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate()

    def hand_in(self, seconds: float) -> str:
        """Hand the paper in to be watched live; its id."""
        query = urllib.parse.urlencode(
            {"path": str(PAPER), "duration": f"{seconds:g}s", "resolution": "640x400", "live": "1"}
        )
        return str(self._ask("POST", f"/api/requests?{query}")["request_id"])

    def about(self, request_id: str, what: str) -> Any:
        """The receipt or the timeline of a request."""
        return self._ask("GET", f"/api/requests/{request_id}/{what}")

    def _ask(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, headers={"X-Hpcwise": "1"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status >= 300:
            raise HpcwiseError(f"the page: {body.get('error', answer.status)}")
        return body
