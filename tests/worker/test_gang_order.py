"""A replica that has lost a process says so before what it did not make, which would come back at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core import messages as m
from hpcwise.core.errors import GangLost
from hpcwise.core.resources import Rank
from hpcwise.models.base import Call, OnStep, Output
from hpcwise.store.artifacts import Store
from hpcwise.store.paths import RunPaths
from hpcwise.wire.messages import FromHead, Run
from hpcwise.wire.start import WorkerConfig
from hpcwise.worker.health import Health
from hpcwise.worker.loop import Signals, Worker
from hpcwise.worker.nvml import Gpus
from hpcwise.worker.power import Meter
from tests.worker.scripted import task

LOST = "rank 1 on b was lost: its connection closed"
SAID = "CUDA error: unspecified launch failure"
BROKEN = f"RuntimeError: {SAID}"


class Replica:
    """Gang, shelf, adapter and pulse in one. lost: once its model has run, unless its own device breaks."""

    def __init__(self, breaks: str) -> None:
        self.breaks, self.lost = breaks, ""
        self.unwell: dict[str, str] = {}
        self.loaded = ("emulated",)

    def get(self, _model: str) -> Replica:
        return self

    def run(self, _call: Call, _on_step: OnStep, _should_stop: object) -> Iterator[Output]:
        if self.breaks != SAID:
            self.lost = LOST
        raise RuntimeError(self.breaks)
        yield

    def blamed(self, error: Exception) -> Exception:
        return GangLost(self.lost) if self.lost else error

    def joules(self) -> None:
        return None

    def look(self) -> None:
        pass


class Head:
    """Sends one task, and another as soon as it hears anything that is no start."""

    silent_s, settled = 0.0, True

    def __init__(self) -> None:
        self.said: list[Any] = []
        self._to_send: list[FromHead] = [Run(task("second", "b" * 64)), Run(task("first", "a" * 64))]

    def emit(self, event: Any) -> None:
        self.said.append(event)

    put = emit_end = emit

    def flush(self) -> None:
        pass

    flush_soon = flush_stale = flush

    def receive(self, _timeout_s: float) -> list[FromHead]:
        ready = any(not isinstance(event, m.TaskStarted) for event in self.said) if self.said else True
        return [self._to_send.pop()] if self._to_send and ready else []

    def goodbye(self, reason: str, unwell: tuple[str, ...]) -> None:
        self.said.append((reason, unwell))


class Pulse:
    running, loading, last_step_s, chore = None, False, 0.0, None


@pytest.mark.parametrize(("breaks", "reason"), [("Connection closed by peer", LOST), (SAID, BROKEN)])
def test_a_replica_that_cannot_go_on_says_that_it_leaves_before_it_gives_its_task_back(
    tmp_path: Path, breaks: str, reason: str
) -> None:
    paths = RunPaths(tmp_path)
    paths.create()
    config = WorkerConfig(
        run_dir=str(tmp_path), worker_id="w1", kind="cpu", hardware="cpu", configs_dir="", models_dir="",
        gang=2, durable=False,
    )  # fmt: skip
    work = tmp_path / "work"
    work.mkdir()
    replica, head = Replica(breaks), Head()
    stands_in: Any = replica
    pulse: Any = Pulse()
    link: Any = head
    worker = Worker(
        config, Store(paths, durable=False), stands_in, pulse, Signals(), work, (Rank("a"), Rank("b")), 0.0,
        Meter(()), Health(Gpus(), tmp_path, lambda: None, durable=False), stands_in,
    )  # fmt: skip
    assert worker.run(link) == reason
    (started, draining, failed, *last) = head.said
    assert started == m.TaskStarted("first", 1)
    assert draining == m.WorkerDraining("w1", 0.0, reason)
    assert (failed.task_id, failed.reason, failed.transient) == ("first", reason, True)
    # What was under way to it comes back untouched.
    assert last == [m.Revoked("second", 1), (reason, ())]
