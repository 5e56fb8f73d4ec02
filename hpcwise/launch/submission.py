"""What submitit is asked for, and the batch script that it writes.

Submitted by us and not by submitit, for two reasons. submitit moves the pickle to a name with the job's id
after sbatch has answered: a job whose answer came too late would wait for it in vain, so the script links it
itself. And sbatch is called with a scrubbed environment and a time-out. submitit's watcher, which polls
sacct, never runs: nobody asks its jobs for their state.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hpcwise.launch.base import Entry, LaunchProfile

#: USR2 so long before the end of the walltime: what a worker needs to drain.
SIGNAL_S: Final = 60
#: The interpreter on the node: that of an unpacked environment (`hpcwise env pack`), else ours.
PYTHON: Final = f'"${{HPCWISE_PYTHON:-{sys.executable}}}"'
#: Of a short walltime no more than a share of it.
SIGNAL_SHARE: Final = 0.25


def local_parameters(token: str, profile: LaunchProfile) -> dict[str, Any]:
    """submitit's parameters of a process of this host."""
    return _stated({
        "name": token,
        "nodes": 1,
        # A gang of processes of this host.
        "tasks_per_node": profile.tasks_per_node,
        "timeout_min": 60 * 24 * 7,
        "gpus_per_node": profile.gpus_per_node or None,
    })  # fmt: skip


def slurm_parameters(
    name: str, profile: LaunchProfile, minutes: int, exclude: Sequence[str] = (), members: int = 1
) -> dict[str, Any]:
    """Parameters of submitit's Slurm executor; only what the profile states.

    Not requeued by Slurm: after a preemption it holds a job back for two minutes, a new submission starts at
    once, and one that the engine has given up must not come back.
    """
    extra: dict[str, Any] = {"no-requeue": True, **profile.extra}
    gang = profile.nodes * profile.tasks_per_node > 1
    return _stated({
        "job_name": name,
        # A site may cut or rewrite names; a comment is kept as it is.
        "comment": name,
        "nodes": profile.nodes,
        "ntasks_per_node": profile.tasks_per_node,
        "time": minutes,
        "gres": profile.gres or None,
        "gpus_per_node": None if profile.gres else profile.gpus_per_node or None,
        "cpus_per_task": profile.cpus_per_task or None,
        "mem": f"{int(profile.memory_gb * 1000)}M" if profile.memory_gb else None,
        "partition": profile.partition or None,
        "account": profile.account or None,
        "qos": profile.qos or None,
        "constraint": profile.constraint or None,
        "exclude": ",".join(exclude) or None,
        "signal_delay_s": min(SIGNAL_S, round(SIGNAL_SHARE * 60 * minutes)),
        "map_count": members if members > 1 else None,
        "srun_args": gang_arguments(profile) if gang else None,
        "additional_parameters": extra,
    })  # fmt: skip


def write_submission(
    folder: Path, entries: Sequence[Entry], profile: LaunchProfile, chosen: dict[str, Any]
) -> Path:
    """Pickles and batch script of one job, or of an array of equal ones, in `folder` (0700)."""
    from submitit.core.utils import DelayedSubmission
    from submitit.slurm.slurm import SlurmExecutor

    for number, entry in enumerate(entries):
        delayed = DelayedSubmission(entry)
        delayed.set_timeout(chosen["time"], 0)
        delayed.dump(folder / f"entry-{number}.pkl")
    setup = [link_line(folder), end_line(chosen["time"]), *profile.setup]
    executor = SlurmExecutor(folder, python=PYTHON)
    members = chosen.pop("map_count", None)
    executor.update_parameters(**chosen, setup=setup)
    if members:
        executor.parameters["map_count"] = members
    script = folder / "submission.sh"
    script.write_text(executor._make_submission_file_text(executor._submitit_command_str, ""), "utf-8")
    return script


def link_line(folder: Path) -> str:
    """Shell: the pickle of this member of the array under the name by which submitit looks for it."""
    ident = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
    where = shlex.quote(str(folder))
    return f'ln -sfn "entry-${{SLURM_ARRAY_TASK_ID:-0}}.pkl" {where}/"{ident}_submitted.pkl"'


def end_line(minutes: int) -> str:
    """Shell: the allocation's end. Newer Slurms tell it. Older ones are not asked, a hundred jobs that start
    together would all do it: the walltime counts from here, and SIGUSR2 says so where the end is nearer."""
    return f'export HPCWISE_END_S="${{SLURM_JOB_END_TIME:-$(($(date +%s) + {60 * minutes}))}}"'


def gang_arguments(profile: LaunchProfile) -> list[str]:
    """srun's, for a replica of one process or several. A gang reports a lost rank and then ends by itself."""
    if profile.nodes * profile.tasks_per_node == 1:
        return ["--kill-on-bad-exit=1"]
    return ["--kill-on-bad-exit=0", *([f"--mpi={profile.mpi}"] if profile.mpi else [])]


def step_command(
    profile: LaunchProfile, job_id: str, name: str, ends_s: float | None, exclude: Sequence[str] = ()
) -> str:
    """Command line that runs Python as a step of allocation `job_id`: what stands in for `python` in
    submitit's local executor.

    --exact: the step takes what it asks for and leaves the rest of the allocation to others. --overlap is not
    given: it would share the batch step's cores. A gang is not killed by Slurm when it loses a
    rank: it says so to the head and ends by itself.
    """
    end = "" if ends_s is None else f",HPCWISE_END_S={ends_s:.0f}"
    command = ["srun", f"--jobid={job_id}", "--exact", "--unbuffered", *gang_arguments(profile),
               f"--job-name={name}", f"--nodes={profile.nodes}",
               f"--ntasks-per-node={profile.tasks_per_node}", f"--export=ALL{end}"]  # fmt: skip
    if profile.het_group is not None:
        command.append(f"--het-group={profile.het_group}")
    if profile.cpus_per_task:
        command.append(f"--cpus-per-task={profile.cpus_per_task}")
    gres = profile.gres or (f"gpu:{profile.gpus_per_node}" if profile.gpus_per_node else "")
    command.append(f"--gres={gres or 'none'}")
    command.append(f"--mem={int(profile.memory_gb * 1000)}M" if profile.memory_gb else "--mem=0")
    if exclude:
        command.append(f"--exclude={','.join(exclude)}")
    lines = " && ".join([*profile.setup, f'exec {PYTHON} "$@"'])
    return shlex.join([*command, "bash", "-c", lines, "worker"])


def private(folder: Path) -> Path:
    """`folder` and the launch's own above it, made 0700: submitit unpickles what lies in it."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        from hpcwise.core.errors import UsageError

        raise UsageError(f"{folder}: belongs to another user; use a run directory of your own")
    return folder


def _stated(chosen: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if value is not None}
