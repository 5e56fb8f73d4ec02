"""Starting worker processes somewhere: the protocol, and what is started.

A launch has a token. It is looked for before it is repeated (a head may die between the submission and
its note of it), so a launcher must be able to find a job by its token alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from hpcwise.core.errors import HpcwiseError

#: `unknown`: cannot be seen from here (another host, Slurm does not answer); heartbeats decide then.
JobState = Literal["pending", "running", "gone", "unknown"]


class LaunchError(HpcwiseError):
    """A job could not be submitted; the message is one line of the launcher or of Slurm."""

    transient = True


class LaunchProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How to ask for one worker of a kind. Zero or empty leaves a choice to the cluster.

    extra: further parameters of sbatch, as submitit's `slurm_additional_parameters`. setup: shell lines
    before the worker starts.
    """

    partition: str = ""
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int = 0
    memory_gb: float = 0.0
    timeout_min: int = 60 * 24 * 7
    account: str = ""
    qos: str = ""
    constraint: str = ""
    setup: tuple[str, ...] = ()
    extra: dict[str, Any] = {}


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """A submitted job. host: where its processes run or are watched from, empty where that is no matter."""

    token: str
    job_id: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the job calls: `module:function` with `payload`. Named, not imported: whoever launches need
    not have what the worker needs."""

    target: str
    payload: bytes

    def __call__(self) -> object:
        module, function = self.target.split(":")
        return getattr(importlib.import_module(module), function)(self.payload)


class Launcher(Protocol):
    """All calls may take seconds: the head makes them in a thread."""

    def launch(self, kind: str, token: str, entry: Entry) -> Handle:
        """Submit one job. Raises LaunchError, and UsageError for a kind without a profile."""

    def find(self, token: str) -> Handle | None:
        """The job that was submitted with `token`, running or over; None when there was none."""

    def states(self, handles: Iterable[Handle]) -> Mapping[str, JobState]:
        """State by token, in one sweep over all of them."""

    def kill(self, handle: Handle) -> None:
        """End the job for good. Returns when that is done or asked for; gone jobs are no error."""

    def log_path(self, token: str) -> Path:
        """Where the job's standard error goes (the folder, before there is any)."""
