"""Tasks that a model computes together: each has its own start, end and share, and none holds others up."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core import messages as m
from tests.worker.scripted import CONFIGS, ScriptedHead, config_of, task
from tests.worker.standin import Gpus

CODE = "from tests.worker.together import main; main()"


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gpus:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    made = Gpus(tmp_path / "nvml", monkeypatch)
    made.say(0, energy_mj=1000)
    return made


@pytest.fixture
def worker(head: ScriptedHead, gpus: Gpus) -> Iterator[ScriptedHead]:
    """The head, once worker w1 has joined and loaded its model."""
    config = config_of(head.paths.root, device_kind="cuda", memory_gb=80.0, heartbeat_s=5.0).decode()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, config], cwd=CONFIGS.parent, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    head.until(lambda: head.hellos)
    head.say("w1", m.LoadModel("w1", "emulated"))
    head.event(m.ModelLoaded)
    yield head
    process.kill()
    process.wait()


def ends(head: ScriptedHead) -> dict[str, m.TaskFinished]:
    return {e.task_id: e for e in head.events if isinstance(e, m.TaskFinished)}


def test_what_waits_is_computed_together_by_deadline_and_one_that_is_cancelled_harms_nobody(
    worker: ScriptedHead, gpus: Gpus, tmp_path: Path
) -> None:
    gate: dict[str, Any] = {"until": str(tmp_path / "gate")}
    names = ("a", "b", "c", "d")
    worker.run("w1", *(task(n, key(n), n=n, deadline_s=float(i), **gate) for i, n in enumerate(names)))
    for name in "abc":
        worker.event(m.TaskStarted, name)
    worker.say("w1", m.Cancel("w1", "b", 1), m.Revoke("w1", "c", 1), m.Revoke("w1", "d", 1))
    assert worker.event(m.Revoked) == m.Revoked("d", 1), "the fourth is one too many"
    assert worker.event(m.TooLate) == m.TooLate("c", 1)
    gpus.say(0, energy_mj=91_000)
    (tmp_path / "gate").touch()
    worker.until(lambda: len(ends(worker)) == 2)
    assert worker.event(m.TaskCancelled) == m.TaskCancelled("b", 1, energy_j=30.0)
    for name, end in ends(worker).items():
        assert (end.facts, end.n_chunks, end.energy_j) == ({"together": 3}, 1, 30.0)
        made = worker.store.read(key(name), 0)
        assert (made.path / "made.txt").read_text() == name
    assert set(ends(worker)) == {"a", "c"} and worker.store.chunks(key("b")) == 0


def test_where_a_batch_fails_its_tasks_run_one_by_one_and_all_that_are_cancelled_stop(
    worker: ScriptedHead, tmp_path: Path
) -> None:
    worker.run(
        "w1", task("good", key("good"), n=1), task("bad", key("bad"), n=2, alone=True, fail="error"),
        task("well", key("well"), n=3, deadline_s=9.0), task("next", key("next"), n=4, deadline_s=10.0),
    )  # fmt: skip
    failed = worker.event(m.TaskFailed)
    assert (failed.task_id, failed.reason) == ("bad", "RuntimeError: emulated failure")
    worker.until(lambda: set(ends(worker)) == {"good", "well", "next"})
    assert all("together" not in end.facts for end in ends(worker).values())

    gate: dict[str, Any] = {"until": str(tmp_path / "never")}
    worker.run("w1", *(task(n, key(n), n=n, **gate) for n in ("x", "y")))
    worker.event(m.TaskStarted, "y")
    worker.say("w1", m.Cancel("w1", "x", 1), m.Pause("w1", "y", 1))
    worker.event(m.TaskCancelled, "x")
    assert worker.event(m.TaskPaused) == m.TaskPaused("y", 1, "")
    # And it goes on together.
    worker.run("w1", *(task(n, key(n), n=n) for n in ("p", "q")))
    worker.until(lambda: {"p", "q"} <= set(ends(worker)))
    assert ends(worker)["p"].facts == ends(worker)["q"].facts == {"together": 2}
