"""Asking a Slurm about itself: the few commands of discovery and learning, and what they need to be there."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from hpcwise.core.errors import UsageError
from hpcwise.core.queuewait import WaitSample
from hpcwise.launch.base import LaunchError
from hpcwise.launch.discover import ASSOC_FORMAT, QOS_FORMAT, SINFO_FORMAT, Answers
from hpcwise.launch.slurm import ask as run

Run = Callable[[Sequence[str]], str]
#: Fields of `sacct -X -n -P -o`.
SACCT_FORMAT: Final = "JobIDRaw,Partition,NNodes,Submit,Start,End,TimelimitRaw,State,ReqTRES"
_NEVER: Final = frozenset({"", "None", "Unknown", "N/A"})


def need(*programs: str) -> None:
    """Raises UsageError for a program that is not on PATH."""
    for program in programs:
        if shutil.which(program) is None:
            raise UsageError(
                f"{program}: is not on PATH; log in to the cluster, or load its Slurm module, and try again"
            )


def ask_site(ask: Run = run) -> Answers:
    """All that discovery reads: seven commands, once. Raises UsageError and LaunchError."""
    need("sinfo", "scontrol")
    config = ask(["scontrol", "show", "config"])
    accounting = "slurmdbd" in config
    user = getpass.getuser()
    return Answers(
        config=config,
        partitions=ask(["scontrol", "-o", "show", "partition"]),
        sinfo_json=_optional(ask, ["sinfo", "--json"]),
        sinfo=ask(["sinfo", "-h", "-N", "-o", SINFO_FORMAT]),
        qos=_optional(ask, ["sacctmgr", "-nP", "show", "qos", f"format={QOS_FORMAT}"]) if accounting else "",
        assoc=_optional(
            ask, ["sacctmgr", "-nP", "show", "assoc", f"user={user}", f"format={ASSOC_FORMAT}"]
        ) if accounting else "",
        user=_optional(
            ask, ["sacctmgr", "-nP", "show", "user", user, "format=DefaultAccount"]
        ) if accounting else "",
    )  # fmt: skip


def ask_past(days: int, ask: Run = run) -> str:
    """Accounting's jobs of so many days, of all users as far as this one may see them.

    Raises UsageError where accounting is off.
    """
    need("sacct")
    command = ["sacct", "-a", "-X", "-n", "-P", "-S", f"now-{days}days", "-E", "now", "-o", SACCT_FORMAT]
    try:
        return ask(command)
    except LaunchError as error:
        raise UsageError(
            f"{error}; accounting is off or out of reach: give a log instead (--swf FILE), or ask the "
            "admins for slurmdbd"
        ) from None


def parse_past(text: str) -> tuple[list[WaitSample], float, float]:
    """Samples of `sacct -o SACCT_FORMAT`, and the first and last submission in Unix time (local zone).

    Jobs that still wait are left out; those cancelled while they waited are censored there. A job in
    several partitions is counted in the one that Slurm names first.
    """
    found: list[WaitSample] = []
    first, last = float("inf"), 0.0
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 9:
            continue
        _, partition, nodes, submit, start, end, limit, _state, _ = fields
        if submit in _NEVER or not nodes.isdigit():
            continue
        at = datetime.fromisoformat(submit)
        submit_s = at.timestamp()
        until, started = (start, True) if start not in _NEVER else (end, False)
        if until in _NEVER:
            continue
        wait_s = datetime.fromisoformat(until).timestamp() - submit_s
        first, last = min(first, submit_s), max(last, submit_s)
        found.append(
            WaitSample(
                partition=partition.partition(",")[0], nodes=max(1, int(nodes)), hour=at.hour,
                walltime_s=float(limit) * 60 if limit.isdigit() else 86400.0, wait_s=max(0.0, wait_s),
                started=started, submit_s=submit_s,
            )
        )  # fmt: skip
    return found, (first if found else 0.0), last


def evictions(text: str, preemptible: frozenset[str]) -> tuple[int, float]:
    """How many jobs of these partitions were preempted, and their hours in all."""
    n, hours = 0, 0.0
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 9 or fields[1] not in preemptible:
            continue
        _, _, _, _, start, end, _, state, _ = fields
        if start in _NEVER or end in _NEVER:
            continue
        hours += (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() / 3600
        n += state.startswith("PREEMPTED")
    return n, hours


def _optional(ask: Run, command: Sequence[str]) -> str:
    """Empty where this Slurm has no such answer."""
    try:
        return ask(command)
    except LaunchError:
        return ""
