"""A task of a job step on the testbed: the ranks meet as a worker's do and add their numbers up.

    python -m tests.slurm.gang_rank RUN_DIR NAME WORLD [lose]

Rank 0 prints one line of JSON. lose: rank 1 is killed afterwards, and rank 0 says what it noticed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from hpcwise.core.resources import Rank
from hpcwise.models.base import Devices
from hpcwise.models.parallel.group import join_group
from hpcwise.store.paths import RunPaths
from hpcwise.wire.start import WorkerConfig
from hpcwise.worker import gang, gangplace


def main(run_dir: str, name: str, world: int, lose: bool) -> None:
    config = WorkerConfig(
        run_dir=run_dir, worker_id=name, kind="k", hardware="cpu", configs_dir="", models_dir="", gang=world
    )
    paths = RunPaths(Path(run_dir))
    where = gangplace.place(config, os.environ)
    own = Rank(socket.gethostname())
    made: Any = (gang.Follower if where.rank else gang.Gang)(config, paths, where, own)
    join_group(Devices("cpu", (), 1, where.rank, world, made))
    total = torch.tensor([float(where.rank + 1)])
    dist.all_reduce(total)
    if where.rank:
        if lose:
            os.kill(os.getpid(), signal.SIGKILL)
        made.spoke.next(60.0)
        made.close()
        gang.flush_and_exit(0)
    began_s = time.monotonic()
    noticed = made._hub.wait_lost(30.0) if lose else ""
    said = {
        "by": where.by, "nodes": made.nodes, "total": float(total), "lost": noticed,
        "seconds": time.monotonic() - began_s, "interface": os.environ.get("GLOO_SOCKET_IFNAME", ""),
        "key_left": paths.gang(name).exists(),
    }  # fmt: skip
    print(json.dumps(said))
    made.close("done")
    gang.flush_and_exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "lose" in sys.argv)
