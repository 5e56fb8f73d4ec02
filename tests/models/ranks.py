"""The processes of a gang for the tests of this folder: the ranks meet as workers do (SUBMITIT_LOCAL_* say
which one each is), then each runs a function of on_ranks.py with its devices and the folder; what rank 0
returns is written to FOLDER/result.json."""

from __future__ import annotations

import importlib
import json
import os
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hpcwise.core.resources import Rank
from hpcwise.models.base import Devices
from hpcwise.store.paths import RunPaths
from hpcwise.wire.start import WorkerConfig
from hpcwise.worker.gang import Follower, Gang, flush_and_exit
from hpcwise.worker.gangnotes import Work
from hpcwise.worker.gangplace import place
from tests.models import forks

REPOSITORY = Path(__file__).resolve().parents[2]


def start(function: str, folder: Path, world: int) -> list[BaseProcess]:
    """The processes of a gang on this host, which write to FOLDER/log-RANK."""
    RunPaths(folder / "run").create()
    (folder / "run" / "workers" / "w").mkdir(mode=0o700)
    return [
        forks.start(main, function, folder, log=folder / f"log-{rank}", environment=environment(rank, world))
        for rank in range(world)
    ]


def environment(rank: int, world: int) -> dict[str, str]:
    """What submitit's local executor tells a task, and one thread for each."""
    return {
        "SUBMITIT_LOCAL_GLOBALID": str(rank), "SUBMITIT_LOCAL_NTASKS": str(world),
        "SUBMITIT_LOCAL_JOB_ID": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def config(folder: Path, world: int) -> WorkerConfig:
    return WorkerConfig(
        run_dir=str(folder / "run"), worker_id="w", kind="k", hardware="cpu", configs_dir="", models_dir="",
        gang=world,
    )  # fmt: skip


def follow(devices: Devices, replica: Any) -> None:
    """Ranks other than 0: what rank 0 says to this replica or adapter, until it says nothing."""
    mates: Any = devices.mates
    while True:
        note = mates.spoke.next(200.0)
        if isinstance(note, Work):
            if not note.payload:
                return
            replica.assist(note.payload)


def main(function: str, folder: Path) -> None:
    world = int(os.environ["SUBMITIT_LOCAL_NTASKS"])
    asked, paths = config(folder, world), RunPaths(folder / "run")
    where = place(asked, os.environ)
    own = Rank(os.uname().nodename)
    mates: Any = (Follower if where.rank else Gang)(asked, paths, where, own)
    devices = Devices("cpu", (), 1, where.rank, world, mates)
    module, name = function.split(":")
    result = getattr(importlib.import_module(module), name)(devices, folder)
    if where.rank == 0:
        (folder / "result.new").write_text(json.dumps(result))
        (folder / "result.new").replace(folder / "result.json")
        mates.close("done")
    else:
        mates.spoke.next(60.0)
        mates.close()
    flush_and_exit(0)
