"""A scripted head, and workers that are gone when the test is over."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.scripted import ScriptedHead, start_worker

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def head(tmp_path: Path) -> Iterator[ScriptedHead]:
    made = ScriptedHead(tmp_path / "run")
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(worker_id: str = "w1", **fields: Any) -> subprocess.Popen[bytes]:
        process = start_worker(tmp_path / "run", worker_id, **fields)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def joined(head: ScriptedHead, start: Start) -> ScriptedHead:
    """The head, once worker w1 has joined it."""
    start()
    head.until(lambda: head.hellos)
    return head
