"""What a worker is started with, and where it finds the head: all that it reads before it can talk."""

from __future__ import annotations

from typing import Literal

import msgspec

from hpcwise.core.errors import WireError
from hpcwise.core.resources import Rank, WorkerInfo
from hpcwise.core.units import ModelName, WorkerId
from hpcwise.wire.messages import PROTOCOL


class HeadAddress(msgspec.Struct, frozen=True, kw_only=True):
    """head.json: written by each head when it can be reached, read by workers and clients.

    addresses: candidates, likeliest first; the peer keeps the one that answers. server_public: Z85.
    """

    epoch: int
    addresses: tuple[str, ...]
    server_public: str
    pid: int
    host: str
    protocol: int = PROTOCOL
    version: str = ""
    started_wall_s: float = 0.0

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> HeadAddress:
        """Raises WireError when `data` is not a head.json."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise WireError(f"head.json: {error}; start the head again to rewrite it") from error


class SubmissionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """acks/TOKEN.json: what the head says of a submission. error: one line, empty where it was accepted."""

    request_id: str
    accepted: bool
    error: str = ""
    epoch: int = 0


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Travels with the launch. Paths are absolute and the same on all nodes.

    scratch: where adapters write before the store takes over, empty for the worker's own folder in the
    run directory (then the hand-over is a rename). local_cache: node-local read cache, empty for none.
    patience_s: how long to live without a head. grace_s: what the running task gets after SIGTERM.
    lifetime_s: of the allocation, from launch, None for no end; drain_margin_s before it the worker drains.
    idle_timeout_s: leaves when it had nothing for so long, None for never. losses_per_h: evictions and
    failures to expect of such a worker; how often it checkpoints follows from it. gang: processes of this
    one replica, each of which gets this configuration; gang_by: how they find each other
    (worker/gangplace.py). restarts: times an hour that the process is replaced after a CUDA error. health_s:
    how long it is idle before its device is looked at again.
    """

    run_dir: str
    worker_id: WorkerId
    kind: str
    hardware: str
    launch: str = ""
    configs_dir: str
    models_dir: str
    models: tuple[ModelName, ...] = ()
    memory_gb: float = 8.0
    region: str = ""
    spot: bool = False
    device_kind: str = "cpu"
    threads: int = 1
    scratch: str = ""
    local_cache: str = ""
    local_cache_gb: float = 20.0
    patience_s: float = 120.0
    grace_s: float = 20.0
    lifetime_s: float | None = None
    drain_margin_s: float = 60.0
    idle_timeout_s: float | None = None
    losses_per_h: float = 0.02
    heartbeat_s: float = 1.0
    durable: bool = True
    version: str = ""
    gang: int = 1
    gang_by: Literal["auto", "slurm", "mpi", "local"] = "auto"
    restarts: int = 3
    health_s: float = 600.0

    def info(
        self, ranks: tuple[Rank, ...], loaded: tuple[ModelName, ...], left_s: float | None
    ) -> WorkerInfo:
        """What the worker says of itself. left_s: seconds of its allocation that remain."""
        return WorkerInfo(
            worker_id=self.worker_id,
            kind=self.kind,
            hardware=self.hardware,
            launch=self.launch,
            ranks=ranks,
            region=self.region,
            models=self.models,
            loaded=loaded,
            memory_gb=self.memory_gb,
            lifetime_s=left_s,
            spot=self.spot,
            version=self.version,
        )
