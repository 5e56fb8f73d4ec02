"""Starting worker processes somewhere: the protocol, and what is started.

A launch has a token. It is looked for before it is repeated (a head may die between the submission and
its note of it), so a launcher must be able to find a job by its token alone.

LaunchError           a job was refused; the message is one line of the launcher or of Slurm
└── Unreachable       Slurm does not answer: nothing was refused, ask again later
    └── NoAnswer      it may have taken the job all the same: look for its token before asking again
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


class Unreachable(LaunchError):
    """Slurm does not answer now; nothing is known to be wrong with what was asked."""


class NoAnswer(Unreachable):
    """The answer did not come in time; what was asked may have happened."""


class LaunchProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How to ask for one worker of a kind. Zero or empty leaves a choice to the cluster.

    gres: generic resources of a node by type (`gpu:a100:1`), in place of gpus_per_node. het_group: component
    of a heterogeneous allocation, for steps. extra: further parameters of sbatch, as submitit's
    `slurm_additional_parameters`. mpi: srun's --mpi for replicas of several processes (`pmix`), empty where
    they meet by Slurm's environment. setup: shell lines before the worker starts. grace_s: from notice to
    kill when the job has to give way."""

    partition: str = ""
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    gres: str = ""
    cpus_per_task: int = 0
    memory_gb: float = 0.0
    timeout_min: int = 60 * 24 * 7
    account: str = ""
    qos: str = ""
    constraint: str = ""
    setup: tuple[str, ...] = ()
    het_group: int | None = None
    mpi: str = ""
    grace_s: float = 0.0
    extra: dict[str, Any] = {}


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """A submitted job. host: where its processes run or are watched from, empty where that is no matter.

    job_id: empty while it is not known whether Slurm took the job. name: of the Slurm job, and index: within
    its array, by which it is found then; group: the launch whose folder holds the files of the array.
    """

    token: str
    job_id: str
    host: str = ""
    name: str = ""
    index: int | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the job calls: `module:function` with `payload`. Named, not imported: whoever launches need
    not have what the worker needs."""

    target: str
    payload: bytes

    def __call__(self) -> object:
        module, function = self.target.split(":")
        return getattr(importlib.import_module(module), function)(self.payload)


class SlurmUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a head asked of Slurm since it started. calls: by command. last_minute: in the last 60 s. trouble:
    why it waits to ask again, empty where it does not. avoided: nodes that new jobs keep away from."""

    calls: dict[str, int] = {}
    total: int = 0
    last_minute: int = 0
    per_minute: float = 0.0
    trouble: str = ""
    avoided: tuple[str, ...] = ()


class Launcher(Protocol):
    """All calls but `may_launch`, `hurry`, `words`, `avoid` and `use` may take seconds: the head makes them
    in a thread. at_once: the most that `launch_many` takes."""

    at_once: int

    def may_launch(self) -> bool:
        """Whether `launch_many` would ask now; false while that would be one call too many."""

    def launch(self, kind: str, token: str, entry: Entry) -> Handle:
        """Submit one job. Raises LaunchError, and UsageError for a kind without a profile."""

    def launch_many(
        self, kind: str, entries: Mapping[str, Entry], minutes: int | None = None
    ) -> Mapping[str, Handle]:
        """Submit equal jobs, by token, at once. minutes: a shorter time than the profile's."""

    def find(self, token: str) -> Handle | None:
        """The job that was submitted with `token`, running or over; None when there was none."""

    def states(self, handles: Iterable[Handle]) -> Mapping[str, JobState]:
        """State by token, in one sweep over all of them; empty when it is too early to look again."""

    def hurry(self, urgent: bool = False) -> None:
        """Something happened: look again as soon as may be. urgent: somebody waits for what is seen, and
        calls that are kept for others may be used."""

    def words(self, token: str) -> str:
        """What was last seen of the job in the scheduler's own words, with its id; empty for nothing."""

    def avoid(self, nodes: Iterable[str]) -> None:
        """Keep new jobs away from these nodes for a while; where there is only this host, nothing can be."""

    def kill(self, handle: Handle) -> None:
        """End the job for good. Returns when that is done or asked for; gone jobs are no error."""

    def kill_many(self, handles: Iterable[Handle]) -> None:
        """`kill` for all of them in as few calls as may be."""

    def log_path(self, token: str) -> Path:
        """Where the job's standard error goes (the folder, before there is any)."""

    def use(self) -> SlurmUse | None:
        """What was asked of Slurm; None where there is none."""
