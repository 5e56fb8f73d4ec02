"""Workers as `srun --exact` steps inside one allocation: for sites that cap jobs or forbid sbatch on nodes.

submitit has no executor for steps, and needs none: its local executor runs `python -m submitit...` under a
controller, and takes the command that stands for python. Given `srun --jobid=... --exact ... python` the
very same launch runs on any node of the allocation, and the srun client beside the head stands for it: it is
found among this host's processes, it ends when the step ends, and a SIGTERM to it ends the step. So Slurm is
asked nothing between the beginning of a worker and its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.launch import slurm
from hpcwise.launch.avoid import Avoid
from hpcwise.launch.base import Entry, Handle, LaunchProfile, SlurmUse
from hpcwise.launch.launcher import SubmititLauncher
from hpcwise.launch.processes import by_folder
from hpcwise.launch.rpc import RpcBudget
from hpcwise.launch.submission import step_command

#: How long srun has to end a step before its own processes are killed, seconds.
STEP_END_S: Final = 10.0


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a heterogeneous allocation, or all of a plain one (het_group None)."""

    partition: str
    nodes: int
    het_group: int | None = None


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """The allocation that steps run in. ends_s: Unix time of its end, None where that is not known."""

    job_id: str
    components: tuple[Component, ...]
    ends_s: float | None = None


def allocation(environment: Mapping[str, str]) -> Allocation | None:
    """The allocation that a process with this environment runs in (salloc, or a batch script)."""
    het = int(environment.get("SLURM_HET_SIZE", "0") or 0)
    job_id = environment.get("SLURM_JOB_ID_HET_GROUP_0", "") if het else ""
    job_id = job_id or environment.get("SLURM_JOB_ID", "")
    if not job_id:
        return None
    ends = environment.get("SLURM_JOB_END_TIME") or environment.get("HPCWISE_END_S") or ""
    parts = [
        Component(
            partition=environment.get(f"SLURM_JOB_PARTITION_HET_GROUP_{i}", ""),
            nodes=int(environment.get(f"SLURM_JOB_NUM_NODES_HET_GROUP_{i}", "1") or 1),
            het_group=i,
        )
        for i in range(het)
    ] or [
        Component(
            partition=environment.get("SLURM_JOB_PARTITION", ""),
            nodes=int(environment.get("SLURM_JOB_NUM_NODES", "1") or 1),
        )
    ]
    return Allocation(job_id=job_id, components=tuple(parts), ends_s=float(ends) if ends.isdigit() else None)


def in_allocation(profiles: Mapping[str, LaunchProfile], where: Allocation) -> dict[str, LaunchProfile]:
    """Profiles of the kinds that have nodes in the allocation. Raises UsageError where none has."""
    found: dict[str, LaunchProfile] = {}
    for kind, profile in profiles.items():
        for part in where.components:
            if part.partition == profile.partition:
                found[kind] = msgspec.structs.replace(profile, het_group=part.het_group)
                break
    if not found:
        has = ", ".join(part.partition or "?" for part in where.components)
        known = ", ".join(sorted({p.partition for p in profiles.values()}))
        raise UsageError(f"allocation {where.job_id} is of partition {has}; the cluster file has {known}")
    return found


class StepsLauncher(SubmititLauncher):
    """See `Launcher`. Knows the steps that were started on this host, where the allocation's head runs."""

    def __init__(self, root: Path, profiles: Mapping[str, LaunchProfile], where: Allocation) -> None:
        super().__init__(root, profiles)
        self._where = where
        self._budget = RpcBudget(10_000, time.monotonic())
        self._avoid = Avoid()

    def launch(self, kind: str, token: str, entry: Entry) -> Handle:
        self._budget.spent("srun", time.monotonic())
        return super().launch(kind, token, entry)

    def avoid(self, nodes: Iterable[str]) -> None:
        self._avoid.shun(nodes, time.monotonic())

    def kill(self, handle: Handle) -> None:
        """Let srun end its step, which a SIGKILL of srun would leave alone; then whatever is left."""
        if handle.host == self._host:
            folder = self._folder(handle.token)
            until_s = time.monotonic() + STEP_END_S
            while (pids := by_folder([folder])[folder]) and time.monotonic() < until_s:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGTERM)
                time.sleep(0.1)
        super().kill(handle)

    def kill_many(self, handles: Iterable[Handle]) -> None:
        for handle in handles:
            self.kill(handle)

    def words(self, token: str) -> str:
        """srun's last words, which name the signal or the node that failed."""
        try:
            lines = self.log_path(token).read_text("utf-8", "replace").splitlines()
        except OSError:
            return ""
        said = [line for line in lines[-20:] if line.startswith(("srun:", "slurmstepd:"))]
        return f"step of job {self._where.job_id}: {said[-1]}" if said else ""

    def use(self) -> SlurmUse:
        now_s = time.monotonic()
        return SlurmUse(
            calls=dict(self._budget.calls),
            total=self._budget.calls.total(),
            last_minute=self._budget.last_minute(now_s),
            per_minute=round(self._budget.per_minute(now_s), 2),
            avoided=self._avoid.nodes(now_s),
        )

    def _python(self, token: str, profile: LaunchProfile) -> str | None:
        # The controller that submitit starts inherits our environment; srun reads options out of SLURM_*.
        bare = [f"--unset={name}" for name in sorted(set(os.environ) - set(slurm.scrubbed(os.environ)))]
        shunned = self._avoid.nodes(time.monotonic())
        step = step_command(profile, self._where.job_id, f"hw-{token}", self._where.ends_s, shunned)
        return f"env {' '.join(bare)} {step}" if bare else step
