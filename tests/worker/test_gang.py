"""A replica of two processes under a head: one worker to it, films out of both, and an end with a name."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
import zmq

from hpcwise.core import messages as m
from hpcwise.core.calls import RunTask
from hpcwise.core.errors import GangLost
from hpcwise.models.base import Devices, LoopState, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.store.checkpoints import CheckpointStore
from hpcwise.store.latents import read_latent
from hpcwise.store.paths import RunPaths
from hpcwise.wire.sockets import CurveKeys
from hpcwise.wire.start import WorkerConfig
from hpcwise.worker.gang import EXIT_LOST
from hpcwise.worker.gangnotes import Join, encode
from hpcwise.worker.gangplace import Place, place
from hpcwise.worker.gangwire import Hub
from tests.models.ranks import REPOSITORY, environment
from tests.models.tinies import Kept, Left, called, ran
from tests.worker.scripted import ScriptedHead

#: Importing diffusers takes seconds on a quiet machine, and many on a busy one.
pytestmark = pytest.mark.timeout(400)
SLOW_S = 150.0
#: A replica that loses a process ends in seconds: where it does not it hangs.
ENDS_S = 40.0

OPTIONS: dict[str, Any] = {"dtype": "float32", "call": {"guidance_scale": 5.0}}
PARAMS = {
    "prompt": "A host speaks.", "negative_prompt": "blurred", "steps": 4, "render_width": 64,
    "render_height": 64, "frames": 5, "fps": 16,
}  # fmt: skip
CODE = "import sys; from hpcwise.worker.main import run_worker; run_worker(sys.argv[1].encode())"


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def card(name: str, **parallel: Any) -> dict[str, Any]:
    """Of the tiny Wan, shared by its processes like this."""
    return {
        "name": name, "version": "1", "family": "diffusers", "stages": ["sketch"], "fps": 16,
        "licence": "Apache-2.0", "folder": "tiny-wan2.1-t2v", "memory_gb": 0.6, "load_s": 6, "elo": 0,
        "options": {**OPTIONS, "parallel": parallel}, "profiles": {"cpu": {"base_s": 0.3}},
    }  # fmt: skip


class Site:
    """A run directory with tiny models, a scripted head, and the processes of gangs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.head = ScriptedHead(root / "run")
        self.models = root / "models"
        tiny.build("tiny-wan2.1-t2v", self.models / "tiny-wan2.1-t2v")
        cards = root / "configs" / "models"
        cards.mkdir(parents=True)
        for name, parallel in {"wan": {}, "wan-cfg": {"cfg": 2}, "wan-five": {"ulysses": 5}}.items():
            (cards / f"{name}.yaml").write_text(yaml.safe_dump(card(name, **parallel)))
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, worker_id: str, world: int, **fields: Any) -> list[subprocess.Popen[bytes]]:
        config = WorkerConfig(
            run_dir=str(self.root / "run"), worker_id=worker_id, kind="cpu", hardware="cpu", heartbeat_s=5.0,
            durable=False, configs_dir=str(self.root / "configs"), models_dir=str(self.models), gang=world,
            **fields,
        )  # fmt: skip
        started = [
            subprocess.Popen(
                [sys.executable, "-c", CODE, msgspec.json.encode(config).decode()], cwd=REPOSITORY,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, **environment(rank, world)},
            )
            for rank in range(world)
        ]  # fmt: skip
        self.processes += started
        return started

    def latents(self, task_key: str) -> Any:
        return read_latent(self.head.store.read(task_key, 0).path / "latents.h5")[0]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.head.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("gang"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def single(site: Site) -> Callable[..., Any]:
    """The same sketch by one process: its latents."""
    adapter = DiffusersAdapter()
    folder = site.models / "tiny-wan2.1-t2v"
    adapter.load(ModelSpec("wan", "1", "diffusers", folder, OPTIONS), Devices())

    def made(place: Path, params: dict[str, Any], **more: Any) -> Any:
        place.mkdir()
        call = called("sketch", place / "work", params, {}, **more)
        ((_, chunk),) = ran(adapter, call, place)
        return read_latent(chunk.path / "latents.h5")[0]

    return made


def sketch(name: str, model: str = "wan", **params: Any) -> RunTask:
    return RunTask(
        task_id=name, attempt=1, stage="sketch", model=model, key=key(name), seed=3,
        params={**PARAMS, **params},
    )  # fmt: skip


def test_two_processes_are_one_worker_that_makes_what_one_process_makes(
    site: Site, single: Callable[..., Any], tmp_path: Path
) -> None:
    head = site.head
    # Of a loop that one process began: two go on with it.
    kept = Kept(stop_at=2)
    with pytest.raises(Left):
        single(tmp_path / "left", PARAMS, checkpoints=kept)
    state = kept.states[0, 2]
    CheckpointStore(head.paths).write(
        key("moved"), 0, 2, dict(state.arrays), dict(state.facts), state.bfloat16
    )
    whole = single(tmp_path / "whole", PARAMS)

    first, second = site.start("w1", 2, losses_per_h=1e9)
    hello = head.until(lambda: head.hellos, SLOW_S)[0]
    node = socket.gethostname()
    assert [rank.node for rank in hello.worker.ranks] == [node, node] and hello.worker.n_devices == 2
    assert not head.paths.gang("w1").exists(), "the key lies there only until all are in"
    assert stat.S_IMODE(head.paths.worker("w1").stat().st_mode) == 0o700

    head.run("w1", sketch("plain"), sketch("moved"), sketch("guided", "wan-cfg"))
    for name in ("plain", "moved", "guided"):
        head.event(m.TaskFinished, name, SLOW_S)
        assert np.abs(site.latents(key(name)) - whole).max() <= 1e-5, name
    loaded = {e.model for e in head.events if isinstance(e, m.ModelLoaded)}
    assert loaded == {"wan", "wan-cfg"}

    # A card that asks for what two processes cannot be: refused, and the worker lives on.
    head.say("w1", m.LoadModel("w1", "wan-five"))
    refused = head.event(m.ModelLoadFailed, "", SLOW_S)
    assert "parallel" in refused.reason and "is not 2, the replica's processes" in refused.reason
    # A picture whose tokens cannot be dealt out fails alone, before the other rank waits.
    head.run("w1", sketch("odd", render_width=48, render_height=16, frames=9))
    failed = head.event(m.TaskFailed, "odd", SLOW_S)
    assert "cannot be dealt out to 2 processes" in failed.reason and not failed.transient

    # Paused by rank 0 between two steps; another number of processes goes on.
    long: dict[str, Any] = {**PARAMS, "steps": 100}
    head.run("w1", sketch("paused", **long))
    head.until(lambda: [e for e in head.events if isinstance(e, m.TaskProgress) and e.task_id == "paused"])
    head.say("w1", m.Pause("w1", "paused", 1))
    paused = head.event(m.TaskPaused, "paused")
    found = CheckpointStore(head.paths).latest(key("paused"), 0)
    assert found is not None and 0 < found.step == paused.done < 100
    state = LoopState(found.arrays, found.facts, found.bfloat16)
    ended = single(tmp_path / "ended", long, checkpoints=Kept(states={(0, found.step): state}))
    alone = single(tmp_path / "alone", long)
    assert np.abs(ended - alone).max() <= 1e-5 * np.abs(alone).max()

    # kill -9 of the other process in the middle of a task.
    head.run("w1", sketch("lost", steps=4000))
    head.until(lambda: [e for e in head.events if isinstance(e, m.TaskProgress) and e.task_id == "lost"])
    second.kill()
    end = head.until(lambda: head.goodbyes, ENDS_S)
    assert end == [f"rank 1 on {node} was lost: its connection closed"]
    assert first.wait(ENDS_S) == 0
    # That it leaves is known before its task comes back.
    said = [e for e in head.events if isinstance(e, m.WorkerDraining | m.TaskFailed) and e.reason == end[0]]
    assert isinstance(said[0], m.WorkerDraining)
    assert all(isinstance(e, m.TaskFailed) and (e.task_id, e.transient) == ("lost", True) for e in said[1:])


def test_the_others_end_when_rank_0_is_killed_and_obey_it_when_it_leaves(site: Site) -> None:
    head = site.head
    head.forget()
    known = len(head.hellos)
    killed = site.start("w2", 3)
    leaving = site.start("w3", 2)
    head.until(lambda: len(head.hellos) == known + 2, SLOW_S)
    killed[0].kill()
    assert [process.wait(ENDS_S) for process in killed[1:]] == [EXIT_LOST, EXIT_LOST]
    # SIGTERM reaches all tasks of a job: rank 0 decides what it means.
    leaving[1].send_signal(signal.SIGTERM)
    leaving[0].send_signal(signal.SIGTERM)
    head.until(lambda: all(process.poll() is not None for process in leaving), SLOW_S)
    assert [process.returncode for process in leaving] == [0, 0]
    assert "told to stop by a signal" in head.paths.rank_log("w3", 1).read_text()


def test_a_process_that_does_not_come_is_named_and_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(tmp_path / "run")
    paths.create()
    config = WorkerConfig(
        run_dir=str(paths.root), worker_id="w4", kind="cpu", hardware="cpu", configs_dir="",
        models_dir="", gang=2,
    )  # fmt: skip
    says = re.escape("is to have 2 processes, by local there are 1; in the launch profile")
    with pytest.raises(GangLost, match=says):
        place(config, {"SUBMITIT_LOCAL_GLOBALID": "0", "SUBMITIT_LOCAL_NTASKS": "1"})
    slurm = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7",
             "SLURM_STEP_ID": "0"}  # fmt: skip
    assert place(config, slurm) == Place(1, 2, 0, "slurm", "7.0.")
    assert place(msgspec.structs.replace(config, gang=1), slurm) == Place()
    from hpcwise.core.resources import Rank
    from hpcwise.worker import gang

    paths.worker("w4").mkdir(mode=0o700)
    # Somebody else on the network joins in rank 1's name: without keys, and with keys of his own.
    monkeypatch.setattr(gang, "MEET_S", 1.0)
    hub = Hub(CurveKeys(*zmq.curve_keypair(), zmq.curve_keypair()[0]), 2, lambda _reason: None)
    hub.start()
    context, strangers = zmq.Context(), []
    for curve in (False, True):
        stranger = context.socket(zmq.DEALER)
        stranger.linger = 0
        if curve:
            stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
            stranger.curve_serverkey = zmq.curve_keypair()[0]
        stranger.connect(hub.addresses[-1])
        stranger.send(encode(Join(1, "evil", (), "")))
        strangers.append(stranger)
    with pytest.raises(GangLost, match="rank 1 of 2 did not come within 1 s"):
        hub.gather(1.0)
    hub.close()
    for stranger in strangers:
        stranger.close()
    context.term()
    monkeypatch.setattr(gang, "MEET_S", 0.3)
    with pytest.raises(GangLost, match="rank 1 of 2 did not come within"):
        gang.Gang(config, paths, Place(0, 2, 0, "local", "1"), Rank("here"))
    with pytest.raises(GangLost, match="is the run directory on a file system that all nodes share"):
        gang.Follower(config, paths, Place(1, 2, 1, "local", "1"), Rank("here"))
