"""Which Slurm: this machine's own (22.05 of Debian 12)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpcwise.core.errors import UsageError
from hpcwise.testbed.packages import program
from hpcwise.testbed.services import Programs


def programs(version: str, say: Callable[[str], None]) -> Programs:
    """The programs of that Slurm."""
    return installed(version, "")


def installed(version: str, root: str) -> Programs:
    """The programs of a testbed that exists."""
    if version != "22.05":
        raise UsageError(f"--slurm: {version} is not here")
    return Programs(bin=Path(program("sbatch")).parent, sbin=Path(program("slurmctld")).parent)
