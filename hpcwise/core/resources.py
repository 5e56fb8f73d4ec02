"""Workers: long-lived processes that hold models. A worker is a replica; a big one is a gang of ranks."""

from __future__ import annotations

import msgspec

from hpcwise.core.units import ModelName, TaskId, WorkerId


class Rank(msgspec.Struct, frozen=True, array_like=True):
    """One process of a replica: the node it runs on and the device indices that it owns there."""

    node: str
    devices: tuple[int, ...] = ()


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself when it joins. Rank 0 speaks for the whole gang.

    kind: the fleet entry it was launched from. launch: idempotency token of its launch. models: what it
    can host. lifetime_s: seconds until its allocation ends, None for no end. devices: GPUs of all ranks.
    """

    worker_id: WorkerId
    kind: str
    hardware: str
    launch: str = ""
    ranks: tuple[Rank, ...] = (Rank("localhost"),)
    region: str = ""
    models: tuple[ModelName, ...] = ()
    loaded: tuple[ModelName, ...] = ()
    memory_gb: float = 8.0
    lifetime_s: float | None = None
    spot: bool = False
    version: str = ""

    @property
    def n_devices(self) -> int:
        """Devices of all ranks; a rank without a GPU counts as one unit of its hardware."""
        return sum(len(r.devices) or 1 for r in self.ranks)


class AttemptRef(msgspec.Struct, frozen=True, array_like=True):
    """One attempt at one task; messages about any other attempt are stale."""

    task_id: TaskId
    attempt: int


class FleetItem(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of worker that the head may launch, and how many of it.

    kind: name of a launch profile (partition, GPUs, nodes) that the launcher knows.
    """

    kind: str
    hardware: str
    models: tuple[ModelName, ...]
    memory_gb: float = 8.0
    min_workers: int = 0
    max_workers: int = 1
    idle_timeout_s: float = 60.0
    launch_s: float = 1.0
    nodes: int = 1
    devices_per_node: int = 0
