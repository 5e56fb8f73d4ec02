"""Slurm's answers, read by pure functions, and the three commands that ask for them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final

from hpcwise.launch.base import JobState, LaunchError

#: One line a job: id, state, name, reason. The name is the token of the launch.
SQUEUE_FORMAT: Final = "%i|%T|%j|%r"
COMMAND_TIMEOUT_S: Final = 30.0

_PENDING: Final = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SUSPENDED"}
)
_RUNNING: Final = frozenset({"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"})


def parse_squeue(text: str) -> dict[str, tuple[str, JobState, str]]:
    """Job name -> (job id, state, reason) of `squeue --format=SQUEUE_FORMAT`; lines of another form are
    skipped. Where several jobs share a name, the one that lives longest wins."""
    order: dict[JobState, int] = {"gone": 0, "unknown": 1, "pending": 2, "running": 3}
    found: dict[str, tuple[str, JobState, str]] = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 4:
            continue
        job_id, state, name, reason = fields
        now = job_state(state)
        if name not in found or order[found[name][1]] <= order[now]:
            found[name] = (job_id, now, reason)
    return found


def job_state(state: str) -> JobState:
    """What a Slurm state means to us; `CANCELLED by 0` and the like are gone."""
    word = state.split()[0].rstrip("+") if state.split() else ""
    if word in _PENDING:
        return "pending"
    return "running" if word in _RUNNING else "gone"


def parse_sacct(text: str) -> dict[str, str]:
    """Job name -> latest job id of `sacct -X -n -P -o JobID,JobName`."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        job_id, separator, name = line.strip().partition("|")
        if separator and job_id:
            found[name] = job_id
    return found


def run(command: Sequence[str]) -> str:
    """Standard output of a Slurm command. Raises LaunchError with its last line."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise LaunchError(f"{command[0]}: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout
