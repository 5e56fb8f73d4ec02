"""What can be known to go wrong before anything is submitted: one line each, with what to do."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from hpcwise.core.cluster import Cluster
from hpcwise.core.errors import UsageError
from hpcwise.launch import slurm
from hpcwise.launch.base import LaunchError, LaunchProfile, Unreachable

#: Clocks of this host and of slurmctld may differ by so much, seconds.
SKEW_S: Final = 30.0
#: Private to a node wherever Linux runs.
PRIVATE: Final = ("/tmp", "/var/tmp", "/dev/shm", "/run")


def check_run_dir(run_dir: Path, cluster: Cluster) -> None:
    """Raise UsageError for a run directory that the nodes surely do not share."""
    run_dir = run_dir.resolve()
    shared = Path(cluster.shared_dir).resolve() if cluster.shared_dir else None
    if shared is not None and run_dir.is_relative_to(shared):
        return
    fix = f"use a folder in {shared}" if shared else "use a folder on the shared file system"
    local = os.path.expandvars(cluster.node_local_dir)
    for private in (*PRIVATE, *([local] if local.startswith("/") else [])):
        if run_dir.is_relative_to(private):
            raise UsageError(f"--run-dir: {run_dir}: nodes do not share {private}; {fix}")
    if shared is not None:
        raise UsageError(f"--run-dir: {run_dir}: is not in the shared_dir of the cluster file; {fix}")


def check_site(cluster: Cluster, where: str, now_wall_s: float | None = None) -> None:
    """Raise UsageError where there is no Slurm here, or another one than the file's, or its clock is off.

    One question (scontrol show config).
    """
    command = "sbatch" if cluster.mode == "jobs" else "srun"
    if shutil.which(command) is None:
        other = "" if cluster.mode == "steps" else ", or set `mode: steps` where compute nodes have none"
        raise UsageError(f"{command}: is not on PATH here; load the site's Slurm module{other}")
    try:
        text = slurm.ask(["scontrol", "show", "config"])
    except Unreachable as error:
        raise UsageError(f"{error}; Slurm does not answer now, nothing was submitted, try again") from None
    except LaunchError as error:
        raise UsageError(str(error)) from None
    config = parse_config(text)
    name = config.get("ClusterName", cluster.cluster)
    if name != cluster.cluster:
        raise UsageError(f"{where}: cluster: {cluster.cluster!r}, but this is {name!r}; name the right file")
    if cluster.accounting and "slurmdbd" not in config.get("AccountingStorageType", "slurmdbd"):
        raise UsageError(f"{where}: accounting: is off at this site; set `accounting: no`")
    skew_s = clock_skew_s(text, time.time() if now_wall_s is None else now_wall_s)
    if skew_s is not None and abs(skew_s) > SKEW_S:
        raise UsageError(
            f"clock: this host's differs from slurmctld's by {skew_s:+.0f} s; have it set (chrony, ntpd)"
        )


def check_profiles(profiles: Mapping[str, LaunchProfile], where: str) -> None:
    """Ask Slurm whether it would take a job of each kind (sbatch --test-only; nothing is submitted), and for
    the partitions' limits, over which it lets jobs wait for ever. Raises UsageError that names the pool.
    """
    try:
        limits = slurm.parse_limits(slurm.ask(["sinfo", "--noheader", "--format=%R|%l"]))
    except LaunchError as error:
        raise UsageError(str(error)) from None
    for kind, profile in profiles.items():
        if profile.partition not in limits:
            known = ", ".join(sorted(limits))
            raise UsageError(
                f"{where}: pool {kind}: partition {profile.partition!r} is not here (there are: {known}); "
                "run `hpcwise cluster discover` again"
            )
        if profile.timeout_min > limits[profile.partition]:
            raise UsageError(
                f"{where}: pool {kind}: max_min: {profile.timeout_min} is over the limit of partition "
                f"{profile.partition}, {limits[profile.partition]:g} minutes; lower it"
            )
    for kind, profile in profiles.items():
        try:
            slurm.ask(["sbatch", "--test-only", *options(profile), "--wrap=true"])
        except LaunchError as error:
            raise UsageError(f"{where}: pool {kind}: {error}") from None


def options(profile: LaunchProfile) -> list[str]:
    """The profile as options of sbatch."""
    given = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "gres": profile.gres or (f"gpu:{profile.gpus_per_node}" if profile.gpus_per_node else ""),
        "time": str(profile.timeout_min),
        "nodes": str(profile.nodes),
        "ntasks-per-node": str(profile.tasks_per_node),
        "cpus-per-task": str(profile.cpus_per_task or ""),
        "mem": f"{int(profile.memory_gb * 1000)}M" if profile.memory_gb else "",
    }
    return [f"--{name}={value}" for name, value in given.items() if value]


def parse_config(text: str) -> dict[str, str]:
    """`scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def clock_skew_s(text: str, now_wall_s: float) -> float | None:
    """Ours minus slurmctld's, from the first line of `scontrol show config`; both print local time."""
    found = re.search(r"data as of (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", text)
    return None if found is None else now_wall_s - datetime.fromisoformat(found[1]).timestamp()
