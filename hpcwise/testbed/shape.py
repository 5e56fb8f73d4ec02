"""How large a testbed is and how its Slurm behaves: a value, checked when it is made."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from hpcwise.core.errors import HpcwiseError, UsageError

#: The host that runs slurmctld, slurmdbd and MariaDB.
CONTROLLER: Final = "ctl"
#: What the machine itself is called inside the testbed; clients run there.
LOGIN: Final = "login"
VERSIONS: Final = ("22.05", "24.11")
#: A testbed has a /24.
MOST_NODES: Final = 200
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,19}")


class TestbedError(HpcwiseError):
    """The testbed did not do what it was asked; the message names the log that says why."""

    __test__ = False


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A host of the testbed. gpu: the type of its GPUs, empty for none. number: last byte of its address."""

    name: str
    number: int
    gpu: str = ""
    gpus: int = 0
    features: tuple[str, ...] = ()


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `up` makes. a100, h200, cpu: nodes of each kind.

    spot: how many of the GPU nodes (h200 first) are in partition `spot` too; None: all. gpus: of each GPU
    node. users: Unix users that get an account, besides the one who runs `up`. grace_s: notice
    before a preempted job is killed. user_signal: a preemption sends the job's --signal too.
    slurmd_timeout_s: silence after which a node is down. kill_wait_s: from SIGTERM to SIGKILL at the time
    limit.
    """

    a100: int = 4
    h200: int = 2
    cpu: int = 0
    spot: int | None = None
    gpus: int = 4
    slurm: str = "22.05"
    users: tuple[str, ...] = ()
    grace_s: int = 20
    user_signal: bool = False
    slurmd_timeout_s: int = 12
    kill_wait_s: int = 5

    def __post_init__(self) -> None:
        for field, least, most in (
            ("a100", 0, MOST_NODES),
            ("h200", 0, MOST_NODES),
            ("cpu", 0, MOST_NODES),
            ("gpus", 1, 16),
            ("grace_s", 0, 3600),
            ("slurmd_timeout_s", 5, 3600),
            ("kill_wait_s", 1, 3600),
        ):
            value: int = getattr(self, field)
            if not least <= value <= most:
                raise UsageError(f"testbed.{field}: {value} is not usable; give {least} to {most}")
        if not 1 <= self.a100 + self.h200 + self.cpu <= MOST_NODES:
            total = self.a100 + self.h200 + self.cpu
            raise UsageError(f"testbed: {total} nodes are not usable; ask for 1 to {MOST_NODES}")
        if self.spot is not None and not 0 <= self.spot <= self.a100 + self.h200:
            most = self.a100 + self.h200
            raise UsageError(f"testbed.spot: {self.spot} is not usable; there are {most} GPU nodes")
        if self.slurm not in VERSIONS:
            raise UsageError(f"testbed.slurm: {self.slurm!r} is not known; use {' or '.join(VERSIONS)}")

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that run slurmd, numbered from 10."""
        kinds = (
            *(("a100", index) for index in range(self.a100)),
            *(("h200", index) for index in range(self.h200)),
            *(("cpu", index) for index in range(self.cpu)),
        )
        return tuple(
            Node(
                name=f"{kind}-{index}",
                number=10 + number,
                gpu="" if kind == "cpu" else kind,
                gpus=0 if kind == "cpu" else self.gpus,
                features=("ib", "h200") if kind == "h200" else (kind,),
            )
            for number, (kind, index) in enumerate(kinds)
        )

    def spot_nodes(self) -> tuple[str, ...]:
        """The nodes that partition `spot` may use, too."""
        gpus = sorted((node for node in self.nodes() if node.gpu), key=lambda node: node.gpu != "h200")
        return tuple(node.name for node in gpus[: self.spot])

    def node(self, name: str) -> Node:
        """The node of that name, the controller included. Raises UsageError that lists those there are."""
        for node in (*self.nodes(), Node(name=CONTROLLER, number=2)):
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes())
        raise UsageError(f"NODE: {name!r} is not in this testbed; it has {names} and {CONTROLLER}")


def checked_name(name: str) -> str:
    """The name of a testbed. Raises UsageError for one that cannot be a Slurm cluster's."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name: {name!r} is not usable; give a small letter, then up to 19 of a-z, 0-9 and -"
        )
    return name
