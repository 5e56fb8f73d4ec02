"""The Standard Workload Format of the Parallel Workloads Archive: version 2.2, by Feitelson, Talby and Jones.

One line a job with 18 fields, comments after `;`, -1 for what is unknown. Of the header, UnixStartTime,
MaxProcs and MaxNodes are read.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hpcwise.core.errors import UsageError

_FIELDS = 18
#: Status 5 is cancelled; with no run time it never started.
_CANCELLED = 5


class SwfJob(msgspec.Struct, frozen=True):
    """One line. Seconds after the log's start; -1 where it does not say. procs: allocated, else asked for."""

    ident: int
    submit_s: float
    wait_s: float
    run_s: float
    procs: int
    walltime_s: float
    status: int
    queue: int
    partition: int

    @property
    def started(self) -> bool:
        return not (self.status == _CANCELLED and self.run_s <= 0)


class SwfLog(msgspec.Struct, frozen=True):
    """start_s: Unix time of second 0 of the log, 0 where the header has none."""

    start_s: float
    max_procs: int
    max_nodes: int
    jobs: tuple[SwfJob, ...]


def read_swf(lines: Iterable[str], name: str) -> SwfLog:
    """Raises UsageError that names the file and the line that is no job."""
    head: dict[str, float] = {}
    jobs: list[SwfJob] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(";"):
            key, _, value = text[1:].partition(":")
            if key.strip() in ("UnixStartTime", "MaxProcs", "MaxNodes"):
                head[key.strip()] = _number(value.split()[0] if value.split() else "", name, number)
            continue
        if not text:
            continue
        fields = text.split()
        if len(fields) != _FIELDS:
            raise UsageError(
                f"{name}:{number}: {len(fields)} fields; the Standard Workload Format has {_FIELDS} in a line"
            )
        f = [_number(field, name, number) for field in fields]
        procs = f[4] if f[4] > 0 else f[7]
        jobs.append(SwfJob(int(f[0]), f[1], f[2], f[3], int(procs), f[8], int(f[10]), int(f[14]), int(f[15])))
    if not jobs:
        raise UsageError(f"{name}: holds no jobs; give a log in the Standard Workload Format")
    procs, nodes = int(head.get("MaxProcs", 0)), int(head.get("MaxNodes", 0))
    return SwfLog(head.get("UnixStartTime", 0.0), procs, nodes, tuple(jobs))


def _number(text: str, name: str, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name}:{line}: {text[:40]!r} is not a number; -1 stands for unknown") from None
