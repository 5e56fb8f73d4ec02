"""Joules of an attempt: by the GPU's counter, by its power, of all processes of a gang, or not at all."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef
from hpcwise.worker.nvml import named
from hpcwise.worker.power import Sampler
from tests.models.ranks import REPOSITORY, environment
from tests.worker.conftest import Start
from tests.worker.scripted import WITHIN_S, ScriptedHead, config_of, task
from tests.worker.standin import Gpus

K = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(9)]
CODE = "import sys; from hpcwise.worker.main import run_worker; run_worker(sys.argv[1].encode())"


def stream(key: str) -> InputRef:
    """One chunk is there, and more to come."""
    return InputRef(name="in", kind="stream", key=key, n_chunks=1, done=False)


def source(head: ScriptedHead, key: str) -> None:
    """Two chunks in the store, for a task that reads them one by one."""
    for chunk in range(2):
        head.store.commit(key, chunk, head.store.begin(key, chunk), {"n": chunk})
    head.store.finish(key, 2, {})


def test_every_end_of_an_attempt_has_what_the_counter_of_its_gpu_went_on(
    head: ScriptedHead, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = Gpus(tmp_path / "nvml", monkeypatch, n=3)
    # The beginning of a UUID, as CUDA takes it; then one that CUDA would not look behind.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-00000002, 1, none, 0")
    gpus.say(0, energy_mj=1)
    gpus.say(1, energy_mj=10_000)
    gpus.say(2, energy_mj=9_000_000_000)
    start("w1", device_kind="cuda", memory_gb=80.0, heartbeat_s=5.0)
    [hello] = head.until(lambda: head.hellos)
    assert hello.worker.ranks[0].devices == (2, 1)
    source(head, K[0])

    ends: dict[str, float] = {}
    kind: Any
    for name, fields, said, kind in (
        ("made", {"chunks": 2}, None, m.TaskFinished),
        ("failed", {"chunks": 2, "fail": "error", "fail_at_chunk": 1}, None, m.TaskFailed),
        ("paused", {"seconds": 1000.0, "steps": 20_000}, m.Pause, m.TaskPaused),
        ("cancelled", {"seconds": 1000.0, "steps": 20_000}, m.Cancel, m.TaskCancelled),
    ):
        inputs = () if said else (stream(K[0]),)
        head.run("w1", task(name, hashlib.sha256(name.encode()).hexdigest(), inputs, nbytes=20, **fields))
        head.event(m.TaskProgress if said else m.ChunkReady, name)
        gpus.say(0, energy_mj=5_000_000)  # another job's
        gpus.say(1, energy_mj=10_000 + 1_000_250 * (len(ends) + 1))
        gpus.say(2, energy_mj=9_000_000_000 + 500 * (len(ends) + 1))
        head.say("w1", said("w1", name, 1) if said else m.DeliverChunk("w1", name, 1, "in", K[0], 2, True))
        ends[name] = head.event(kind, name).energy_j
    assert ends == dict.fromkeys(ends, pytest.approx(1000.75))
    # Nothing moved: not measured, rather than free.
    head.run("w1", task("quick", K[1]))
    assert head.event(m.TaskFinished, "quick").energy_j == 0.0


def test_a_gpu_without_a_counter_is_sampled_and_a_slice_or_a_share_of_one_is_not_told_apart(
    head: ScriptedHead, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = Gpus(tmp_path / "nvml", monkeypatch, n=2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for device in (0, 1):
        gpus.say(device, power_mw=300_000)
    start("w1", device_kind="cuda", memory_gb=80.0, heartbeat_s=5.0)
    [hello] = head.until(lambda: head.hellos)
    assert hello.worker.ranks[0].devices == (0, 1)
    began_s = time.monotonic()
    head.run("w1", task("t", K[0], seconds=0.5, steps=10))
    done = head.event(m.TaskFinished)
    assert 600.0 * done.seconds <= done.energy_j <= 600.0 * (time.monotonic() - began_s)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    start("w2", device_kind="cuda", memory_gb=80.0, heartbeat_s=5.0)
    shared = start("w3", device_kind="cuda", memory_gb=20.0, heartbeat_s=5.0)
    head.until(lambda: len(head.hellos) == 3)
    assert {h.worker.ranks[0].devices for h in head.hellos[1:]} == {(1,)}
    assert shared.poll() is None
    for name in ("w2", "w3"):
        head.run(name, task(name, K[0], seconds=0.2, steps=2))
        assert head.event(m.TaskFinished, name).energy_j == 0.0


def test_a_gang_counts_the_devices_of_all_its_processes_and_leaves_with_any_that_is_ill(
    head: ScriptedHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = Gpus(tmp_path / "nvml", monkeypatch, n=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    for device in (0, 1):
        gpus.say(device, energy_mj=1000)
    config = config_of(tmp_path / "run", device_kind="cuda", memory_gb=80.0, gang=2, heartbeat_s=5.0)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, config.decode()], cwd=REPOSITORY, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment(rank, 2)},
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        [hello] = head.until(lambda: head.hellos)
        assert [rank.devices for rank in hello.worker.ranks] == [(0,), (1,)]
        head.run("w1", task("t", K[0], seconds=1000.0, steps=20_000))
        head.event(m.TaskProgress)
        gpus.say(0, energy_mj=101_000)
        gpus.say(1, energy_mj=31_000)
        head.say("w1", m.Cancel("w1", "t", 1))
        assert head.event(m.TaskCancelled).energy_j == pytest.approx(130.0)
        # One GPU of the two falls ill; an error is a reason to look at both.
        gpus.say(1, retired_pending=1)
        head.run("w1", task("fails", K[1], fail="error"))
        head.until(lambda: head.goodbyes)
        what = "GPU 1: pages of its memory wait to be retired by a reset"
        assert head.goodbyes == [f"unhealthy: {socket.gethostname()}: {what}"]
        assert [rank.wait(WITHIN_S) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


def test_power_is_added_up_between_samples() -> None:
    now_s, watts = [10.0], [100.0]
    sampler = Sampler(lambda: watts[0], lambda: now_s[0])
    now_s[0], watts[0] = 12.0, 300.0
    assert sampler.joules() == 400.0
    now_s[0] = 13.0
    assert sampler.joules() == 700.0


def test_devices_are_named_as_cuda_reads_its_variable() -> None:
    assert named({}) is None
    assert named({"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert named({"CUDA_VISIBLE_DEVICES": "1,0,-1,2"}) == ("1", "0")
    assert named({"CUDA_VISIBLE_DEVICES": "MIG-GPU-a/1/0,GPU-b,x"}) == ("MIG-GPU-a/1/0", "GPU-b")
