"""Which process of a replica this is, by Slurm's environment, MPI, or submitit's on this host."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hpcwise.core.errors import GangLost
from hpcwise.wire.start import WorkerConfig


@dataclass(frozen=True, slots=True)
class Place:
    """Which process of the gang this is. by: who says so. local: its number on its node. instance: of this
    start, so that a file of an earlier one is not taken for this one's."""

    rank: int = 0
    world: int = 1
    local: int = 0
    by: Literal["alone", "slurm", "mpi", "local"] = "alone"
    instance: str = ""


def place(config: WorkerConfig, environ: Mapping[str, str]) -> Place:
    """This process's place. Raises GangLost where the launch did not start as many as were asked for."""
    world = config.gang
    if world == 1:
        return Place()
    by = config.gang_by
    if by == "auto":
        if "PMIX_RANK" in environ and importlib.util.find_spec("mpi4py"):
            by = "mpi"
        else:
            by = "slurm" if _number(environ, "SLURM_STEP_NUM_TASKS") == world else "local"
    job = ".".join(environ.get(f"SLURM_{name}", "") for name in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    if by == "mpi":
        rank, tasks = _mpi_rank()
        local = _number(environ, "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "PMIX_LOCAL_RANK")
        job = job if environ.get("SLURM_JOB_ID") else environ.get("PMIX_NAMESPACE", "")
    elif by == "slurm":
        rank = _number(environ, "SLURM_PROCID")
        tasks = _number(environ, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
        local = _number(environ, "SLURM_LOCALID")
    else:
        rank, tasks = _number(environ, "SUBMITIT_LOCAL_GLOBALID"), _number(environ, "SUBMITIT_LOCAL_NTASKS")
        local, job = rank, environ.get("SUBMITIT_LOCAL_JOB_ID", "")
    if tasks != world or not 0 <= rank < world:
        raise GangLost(
            f"this replica is to have {world} processes, by {by} there are {max(tasks, 0)}; in the launch "
            "profile nodes x tasks_per_node must be that number"
        )
    return Place(rank, world, max(local, 0), by, job)


def _mpi_rank() -> tuple[int, int]:
    """Rank and size by MPI. Raises GangLost where it does not start."""
    import mpi4py

    mpi4py.rc.initialize = mpi4py.rc.finalize = False
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise GangLost(f"MPI: {error}; load the module of the MPI that mpi4py was built for, or set "
                       "gang_by to slurm") from error  # fmt: skip
    if not MPI.Is_initialized():
        MPI.Init()
    return MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()


def by_mpi(own: bytes) -> bytes:
    """Rank 0's bytes, to all. MPI is finalised behind it: from then on a lost rank is our business alone."""
    from mpi4py import MPI

    size = bytearray(len(own).to_bytes(8, "little"))
    MPI.COMM_WORLD.Bcast([size, MPI.BYTE], root=0)
    held = bytearray(own.ljust(int.from_bytes(size, "little"), b"\0"))
    MPI.COMM_WORLD.Bcast([held, MPI.BYTE], root=0)
    MPI.Finalize()
    return bytes(held)


def _number(environ: Mapping[str, str], *names: str) -> int:
    """The first of these variables that is a number, else -1."""
    for name in names:
        if environ.get(name, "").isdigit():
            return int(environ[name])
    return -1
