"""A device that is not well is found at the start, behind an error and in idle times, and left alone."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcwise.core import messages as m
from hpcwise.core.errors import DiskFull, Unhealthy
from hpcwise.models.base import Devices
from hpcwise.worker import health
from hpcwise.worker.health import Health, product_on
from hpcwise.worker.nvml import Gpu
from hpcwise.worker.nvml import Gpus as Seen
from hpcwise.worker.nvml import gpus as found_gpus
from tests.worker.conftest import Start
from tests.worker.scripted import CONFIGS, WITHIN_S, ScriptedHead, config_of, task
from tests.worker.standin import Gpus

K = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(9)]
HERE = socket.gethostname()

#: The second product that this worker's device makes has one wrong number.
FAILING = """
import sys
import numpy as np
from hpcwise.worker import health
from hpcwise.worker.main import run_worker
made = []
def product(left, right):
    made.append(left @ right)
    made[-1][3, 4] += len(made) > 1
    return made[-1]
health.product_on = lambda devices, seen: product
run_worker(sys.argv[1].encode())
"""


def _nothing() -> None:
    """No product to try."""


@contextmanager
def worker(head: ScriptedHead, code: str, **fields: Any) -> Iterator[subprocess.Popen[bytes]]:
    config = config_of(head.paths.root, heartbeat_s=5.0, **fields).decode()
    process = subprocess.Popen(
        [sys.executable, "-c", code, config], cwd=CONFIGS.parent, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_worker_whose_device_computes_wrongly_leaves_and_names_its_node(head: ScriptedHead) -> None:
    with worker(head, FAILING, health_s=0.5) as process:
        head.until(lambda: head.hellos)
        # It was well when it started, and is looked at again when it is idle.
        head.until(lambda: head.goodbyes)
        assert process.wait(WITHIN_S) == 0
    reason = "unhealthy: the device computes wrongly: 1 of 262144 numbers of a product"
    assert (head.goodbyes, head.unwell) == ([reason], [(HERE,)])
    assert head.event(m.WorkerDraining).reason == reason


def test_an_error_of_a_model_is_a_reason_to_look_at_the_device_and_bad_input_is_none(
    head: ScriptedHead,
) -> None:
    with worker(head, FAILING) as process:
        head.until(lambda: head.hellos)
        head.run("w1", task("wrong", K[0], chunks=0), task("well", K[1], deadline_s=1.0))
        assert not head.event(m.TaskFailed, "wrong").transient
        head.event(m.TaskFinished, "well")
        head.run("w1", task("fails", K[2], fail="error"), task("waits", K[3], deadline_s=1.0))
        head.event(m.TaskFailed, "fails")
        assert head.event(m.Revoked) == m.Revoked("waits", 1)
        head.until(lambda: head.goodbyes)
        assert process.wait(WITHIN_S) == 0
    assert head.unwell == [(HERE,)]


def test_a_gpu_that_waits_for_a_reset_is_refused_before_anything_runs_on_it(
    head: ScriptedHead, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = Gpus(tmp_path / "nvml", monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    gpus.say(0, retired_pending=1)
    process = start("w1", device_kind="cuda", memory_gb=80.0, heartbeat_s=5.0)
    head.until(lambda: head.goodbyes)
    assert head.goodbyes == ["unhealthy: GPU 0: pages of its memory wait to be retired by a reset"]
    assert head.unwell == [(HERE,)] and process.wait(WITHIN_S) == 0


def test_what_a_card_counts_is_news_only_while_the_worker_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Gpus(tmp_path / "nvml", monkeypatch, n=2)
    said.say(1, ecc=7)  # before this job
    both = {"CUDA_VISIBLE_DEVICES": "0,1"}
    looked = Health(found_gpus(both), tmp_path, _nothing, durable=False)
    looked.look()
    for values, reason in (
        ({"ecc": 9}, "GPU 1: 9 uncorrected memory errors"),
        ({"ecc": 7, "retired_pending": 1}, "GPU 1: pages of its memory wait to be retired by a reset"),
        (
            {"retired_pending": 0, "remap_failed": 1},
            "GPU 1: a row of its memory is broken and could not be replaced",
        ),
        ({"remap_failed": 0, "lost": 1}, "GPU 1: GPU is lost"),
    ):
        said.say(1, **values)
        with pytest.raises(Unhealthy) as raised:
            looked.look()
        assert str(raised.value) == reason
    assert found_gpus(both).trouble == "GPU 1: GPU is lost"
    with pytest.raises(Unhealthy, match="GPU 1: GPU is lost"):
        Health(found_gpus(both), tmp_path, _nothing, durable=False).look()
    assert found_gpus({"CUDA_VISIBLE_DEVICES": "0,7"}) == Seen(), "NVML counts otherwise: nothing is known"
    # Rows that wait to be replaced are out of use meanwhile.
    said.say(1, lost=0, remap_pending=1)
    looked.look()


def test_a_device_that_fails_or_does_not_answer_is_told_from_one_that_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_left: Any, _right: Any) -> Any:
        raise RuntimeError("CUDA error: unspecified launch failure\nadvice")

    gone = threading.Event()

    def hangs(_left: Any, _right: Any) -> Any:
        gone.wait()

    Health(Seen(), tmp_path, lambda: np.matmul, durable=True).look()
    with pytest.raises(Unhealthy, match="failed at a small product: RuntimeError: CUDA error: unspecified"):
        Health(Seen(), tmp_path, lambda: fails, durable=False).look()
    monkeypatch.setattr(health, "ANSWER_S", 0.2)
    with pytest.raises(Unhealthy, match=r"the device has not answered for 0\.2 s"):
        Health(Seen(), tmp_path, lambda: hangs, durable=False).look()
    gone.set()
    with pytest.raises(Unhealthy, match="the run directory cannot be used"):
        Health(Seen(), tmp_path / "missing", _nothing, durable=False).look()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):  # everybody's
        Health(Seen(), tmp_path, _nothing, durable=True).look()
    assert list(tmp_path.iterdir()) == []


def test_the_known_product_is_made_where_the_models_compute() -> None:
    assert product_on(Devices("cpu"), Seen()) is np.matmul
    assert product_on(Devices("cuda"), Seen()) is None, "without NVML torch is not imported for it"
    one = Gpu("0", 0, None, None, False)
    assert product_on(Devices("emulated"), Seen((one,))) is None


def test_doctor_names_the_gpus_of_this_machine_and_what_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpcwise.cli.doctor import Check, _gpus

    said = Gpus(tmp_path / "nvml", monkeypatch, n=2)
    detail = "0: NVIDIA Stand-in 0, 80 GB, 1: NVIDIA Stand-in 1, 80 GB"
    assert list(_gpus()) == [Check(name="GPUs", ok=True, detail=detail)]
    said.say(1, retired_pending=1)
    [wrong] = _gpus()
    assert (wrong.ok, wrong.detail) == (False, "GPU 1: pages of its memory wait to be retired by a reset")
    assert "nvidia-smi -r" in wrong.fix
    monkeypatch.delenv("NVML_STAND_IN")
    assert [check.ok for check in _gpus()] == [None]
