"""Replicas over two hosts of a real Slurm: they meet by MPI or by Slurm's environment, and add up."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from hpcwise.core import messages as m
from hpcwise.core.calls import RunTask
from hpcwise.launch.base import LaunchProfile
from hpcwise.models.base import Devices, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.store.latents import read_latent
from hpcwise.testbed.cluster import Testbed
from hpcwise.wire.start import WorkerConfig
from tests.head.harness import REPOSITORY
from tests.models.tinies import called, ran
from tests.worker.scripted import ScriptedHead
from tests.worker.test_gang import OPTIONS, PARAMS, card, key

pytestmark = pytest.mark.timeout(400)


def step(
    testbed: Testbed, run_dir: Path, name: str, *more: str, options: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What rank 0 of a step over a100-0 and a100-1 said."""
    (run_dir / "workers" / name).mkdir(mode=0o700)
    done = testbed.run(
        ["srun", "-p", "a100", "-N", "2", "--ntasks-per-node=1", "--kill-on-bad-exit=0", *options,
         "env", f"PYTHONPATH={REPOSITORY}", "OMP_NUM_THREADS=1",
         sys.executable, "-m", "tests.slurm.gang_rank", str(run_dir), name, "2", *more],
        check=False, cwd=REPOSITORY,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, (done.stdout, done.stderr)
    said: dict[str, Any] = json.loads(lines[0])
    return said


@pytest.mark.parametrize(("options", "by"), [(("--mpi=pmix",), "mpi"), (("--mpi=none",), "slurm")])
def test_ranks_on_two_hosts_meet_and_add_up(
    testbed: Testbed, shared: Path, options: tuple[str, ...], by: str
) -> None:
    said = step(testbed, shared, by, options=options)
    assert said.pop("seconds") < 1.0 and said.pop("interface") not in ("", "lo")
    assert said == {"by": by, "nodes": ["a100-0", "a100-1"], "total": 3.0, "lost": "", "key_left": False}


def test_a_killed_rank_is_named_with_its_host_in_seconds(testbed: Testbed, shared: Path) -> None:
    said = step(testbed, shared, "lost", "lose", options=("--mpi=none",))
    assert said["lost"] == "rank 1 on a100-1 was lost: its connection closed"
    assert said["seconds"] < 5.0


def test_a_worker_of_two_nodes_makes_what_one_process_makes_and_names_the_rank_that_it_loses(
    testbed: Testbed, shared: Path
) -> None:
    """By the launcher, as a head asks it: one job, two tasks, the ring between the hosts."""
    head = ScriptedHead(shared, interface="*")
    tiny.build("tiny-wan2.1-t2v", shared / "models" / "tiny-wan2.1-t2v")
    cards = shared / "configs" / "models"
    cards.mkdir(parents=True)
    (cards / "wan.yaml").write_text(yaml.safe_dump(card("wan")))
    config = WorkerConfig(
        run_dir=str(shared), worker_id="wide", kind="wide", hardware="a100", heartbeat_s=5.0, durable=False,
        configs_dir=str(cards.parent), models_dir=str(shared / "models"), gang=2,
    )  # fmt: skip
    profile = LaunchProfile(
        partition="a100", nodes=2, gres="gpu:a100:1", account="research", timeout_min=10,
        setup=(f"export PYTHONPATH={REPOSITORY} HF_HUB_OFFLINE=1",),
    )  # fmt: skip
    launch = (
        "import sys; from pathlib import Path; from hpcwise.launch.base import Entry, LaunchProfile\n"
        "from hpcwise.launch.jobs import SlurmLauncher; import msgspec\n"
        "profile = msgspec.json.decode(sys.argv[2], type=LaunchProfile)\n"
        "launcher = SlurmLauncher(Path(sys.argv[1]) / 'workers', {'wide': profile})\n"
        "entry = Entry('hpcwise.worker.main:run_worker', sys.argv[3].encode())\n"
        "print(launcher.launch('wide', 'wide', entry).job_id)\n"
    )
    arguments = (msgspec.json.encode(profile).decode(), msgspec.json.encode(config).decode())
    done = subprocess.run(
        [sys.executable, "-c", launch, str(shared), *arguments], env={**testbed.env, "PYTHONPATH": "."},
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    job = done.stdout.strip()
    assert job.isdigit(), done.stderr
    try:
        hello = head.until(lambda: head.hellos, 60.0)[0]
        assert [rank.node for rank in hello.worker.ranks] == ["a100-0", "a100-1"]
        head.run("wide", RunTask(
            task_id="film", attempt=1, stage="sketch", model="wan", key=key("film"), seed=3, params=PARAMS,
        ))  # fmt: skip
        head.event(m.TaskFinished, "film", 200.0)
        made = read_latent(head.store.read(key("film"), 0).path / "latents.h5")[0]
        adapter = DiffusersAdapter()
        folder = shared / "models" / "tiny-wan2.1-t2v"
        adapter.load(ModelSpec("wan", "1", "diffusers", folder, OPTIONS), Devices())
        ((_, chunk),) = ran(adapter, called("sketch", shared / "work", PARAMS, {}), shared)
        assert np.abs(read_latent(chunk.path / "latents.h5")[0] - made).max() <= 1e-5

        head.run("wide", RunTask(
            task_id="lost", attempt=1, stage="sketch", model="wan", key=key("lost"), seed=3,
            params={**PARAMS, "steps": 4000},
        ))  # fmt: skip
        head.until(lambda: [e for e in head.events if isinstance(e, m.TaskProgress) and e.task_id == "lost"])
        log = head.paths.rank_log("wide", 1).read_text()
        process = re.search(r"worker wide on a100-1, process (\d+)", log)
        assert process is not None
        # As when a node hangs: the connection stays, the collective that rank 0 is in never ends.
        os.kill(int(process[1]), signal.SIGSTOP)
        reason = "rank 1 on a100-1 was lost: its connection closed"
        assert head.until(lambda: head.goodbyes, 30.0) == [reason]
        failed = head.event(m.TaskFailed, "lost")
        assert (failed.reason, failed.transient) == (reason, True)
        os.kill(int(process[1]), signal.SIGKILL)
        testbed.wait_job(job, "FAILED", "COMPLETED")
    finally:
        testbed.run(["scancel", job], check=False)
        head.close()
