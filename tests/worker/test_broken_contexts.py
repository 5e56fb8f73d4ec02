"""A CUDA context that breaks costs an attempt and a process, so often an hour, and then the worker."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core import messages as m
from hpcwise.core.errors import BadOutput, GangLost, HpcwiseError, ModelError, NoRoom, UsageError
from hpcwise.launch.base import Entry, LaunchProfile
from hpcwise.launch.launcher import SubmititLauncher
from hpcwise.launch.processes import by_folder
from hpcwise.worker.failures import Failure, failure
from hpcwise.worker.restart import MEMORY_S, began_s, times_s
from tests.worker.poisoned import SAID, AcceleratorError
from tests.worker.scripted import CONFIGS, ScriptedHead, config_of, task

K = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(9)]
REASON = "AcceleratorError: CUDA error: device-side assert triggered"


@pytest.fixture
def folder(head: ScriptedHead, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a job that submitit's local executor starts: `w1`, which may restart three times an hour."""
    monkeypatch.setenv("PYTHONPATH", str(CONFIGS.parent))
    payload = config_of(head.paths.root, lifetime_s=1000.0, restarts=3, heartbeat_s=5.0)
    launcher = SubmititLauncher(head.paths.workers, {"cpu": LaunchProfile()})
    handle = launcher.launch("cpu", "w1", Entry("tests.worker.poisoned:work", payload))
    yield head.paths.workers / "w1" / "submitit"
    launcher.kill(handle)


def test_a_broken_context_is_answered_by_a_fresh_process_in_place_and_at_last_by_leaving(
    head: ScriptedHead, folder: Path, tmp_path: Path
) -> None:
    def broken(name: str, attempt: int) -> None:
        """The attempt ends by name, and a fresh process says hello that holds nothing."""
        hellos = len(head.hellos)
        failed = head.until(
            lambda: next(
                (e for e in head.events if isinstance(e, m.TaskFailed) and e.attempt == attempt), None
            )
        )
        assert failed == m.TaskFailed(name, attempt, REASON, transient=True)
        head.until(lambda: len(head.hellos) > hellos)

    head.until(lambda: head.hellos)
    pids = by_folder([folder])[folder]
    twice: dict[str, Any] = {"poison": {"file": str(tmp_path / "count"), "times": 2}}
    head.say("w1", m.LoadModel("w1", "emulated"))
    head.event(m.ModelLoaded)
    head.run("w1", task("t", K[0], **twice), task("waits", K[1], deadline_s=9.0))
    broken("t", 1)
    assert m.Revoked("waits", 1) in head.events, "what had not started goes elsewhere, without blame"
    head.run("w1", task("t", K[0], attempt=2, **twice))
    broken("t", 2)
    head.run("w1", task("t", K[0], attempt=3, **twice))
    assert head.event(m.TaskFinished).attempt == 3

    assert by_folder([folder])[folder] == pids, "submitit's controller and its task, as they were"
    assert len({hello.nonce for hello in head.hellos}) == 3
    assert all((h.worker.loaded, h.running) == ((), ()) for h in head.hellos)
    assert {h.worker.worker_id for h in head.hellos} == {"w1"}
    lifetimes = [h.worker.lifetime_s or 0.0 for h in head.hellos]
    assert lifetimes == sorted(lifetimes, reverse=True) and lifetimes[-1] > 900

    always: dict[str, Any] = {"poison": {"file": str(tmp_path / "always"), "times": 99}}
    head.run("w1", task("bad", K[2], attempt=4, **always))
    broken("bad", 4)
    head.run("w1", task("bad", K[2], attempt=5, **always))
    head.until(lambda: head.goodbyes)
    assert head.goodbyes == [f"unhealthy: {REASON} (4 times within an hour)"]
    assert head.unwell == [(socket.gethostname(),)]
    head.until(lambda: not by_folder([folder])[folder])
    log = head.paths.worker_log("w1").read_text()
    assert log.count("this process is replaced by a fresh one") == 3


def test_restarts_count_for_an_hour_and_a_worker_is_as_old_as_its_first_process() -> None:
    environ = {"HPCWISE_RESTARTS_S": "10,3000,x,9999", "HPCWISE_BEGAN_S": "5.5"}
    assert times_s(environ, 4000.0) == (3000.0,)
    assert times_s(environ, 10.0 + MEMORY_S - 1) == (10.0, 3000.0)
    assert times_s({}, 1.0) == ()
    assert (began_s(environ, 100.0), began_s({}, 100.0)) == (5.5, 100.0)
    assert os.environ.get("HPCWISE_RESTARTS_S") is None


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def said(error: Exception, cause: str) -> Failure:
    """Tried again, in the words of its first line."""
    return Failure(f"{type(error).__name__}: {str(error).splitlines()[0]}", True, False, cause, not cause)  # type: ignore[arg-type]


CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle)`")
NCCL = RuntimeError("NCCL error in: x.cpp:1, unhandled system error\nncclSystemError: call failed.")
TORCH = OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
DRIVER = RuntimeError("CUDA error: out of memory\nadvice")
HOST = RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried")
KERNEL = RuntimeError("CUDA error: no kernel image is available for execution on the device")
DISK = OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AcceleratorError(SAID), Failure(REASON, True, False, "device", False)),
        (CUBLAS, said(CUBLAS, "device")),
        (NCCL, said(NCCL, "device")),
        # Adapters give some errors a name of their own.
        (caused(ModelError("no frames"), CUBLAS), Failure("no frames", True, False, "device", False)),
        (TORCH, said(TORCH, "memory")),
        (DRIVER, said(DRIVER, "memory")),
        (HOST, said(HOST, "memory")),
        # A fresh process would say the same.
        (KERNEL, Failure(f"RuntimeError: {KERNEL}", False, False, "", True)),
        (ValueError("a shape"), Failure("ValueError: a shape", False, False, "", True)),
        (DISK, said(DISK, "")),
        (BadOutput("black"), Failure("black", True, True, "", True)),
        (UsageError("sides"), Failure("sides", False, False, "", False)),
        (GangLost("rank 1: CUDA error: x"), Failure("rank 1: CUDA error: x", True, False, "", False)),
        (NoRoom("NoRoom: a\x1b", 1.0), Failure("NoRoom: a?", True, False, "", False)),
    ],
)
def test_what_an_error_means(error: Exception, expected: Failure) -> None:
    assert failure(error) == expected
    assert isinstance(error, HpcwiseError) or expected.reason.startswith(type(error).__name__)
