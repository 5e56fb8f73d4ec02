"""What hpcwise knows of a Slurm site: `configs/clusters/<name>.yaml`, found by `hpcwise cluster discover`,
edited by hand. A value: reading and checking the file is `head/clusterfile.py`."""

from __future__ import annotations

from typing import Literal

import msgspec


class Replica(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker of several processes: `tasks_per_node` on each of `nodes`, every one with a GPU of its own (or
    a core) and that GPU's share of its node. models: that it holds, and the pool's other workers do not.
    mpi: srun's --mpi, empty where the processes meet by Slurm's environment.
    """

    models: tuple[str, ...]
    nodes: int = 1
    tasks_per_node: int = 1
    mpi: str = ""

    @property
    def processes(self) -> int:
        return self.nodes * self.tasks_per_node

    def kind_in(self, pool: str) -> str:
        """The kind of worker that it is: `h200-2x8` has two nodes of h200 with eight processes each."""
        return f"{pool}-{self.nodes}x{self.tasks_per_node}"


class Pool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Equal nodes of one partition. A partition with two types of node is two pools.

    pool: a name of its own, and the kind of the workers that run there. gpu: Slurm's type of the GRES, empty
    for nodes without. hardware: an entry of configs/hardware.yaml. features: of all nodes, for --constraint.
    preempts: what Slurm does to a job that has to give way (PreemptMode), with `grace_s` of notice.
    usd_per_gpu_h: a price by hand; without one the billing weights of the partition, else hardware.yaml (its
    spot price where the pool is preemptible). use: no leaves the pool alone. losses_per_h: evictions and
    failures of one worker, null for the usual; how often loops are checkpointed follows. replicas: workers of
    several processes, beside those of one.
    """

    pool: str
    partition: str
    nodes: int
    cpus_per_node: int
    memory_gb_per_node: float
    hardware: str = "cpu"
    gpu: str = ""
    gpus_per_node: int = 0
    features: tuple[str, ...] = ()
    infiniband: bool = False
    max_min: int | None = None
    default_min: int | None = None
    preempts: Literal["off", "requeue", "cancel", "suspend"] = "off"
    grace_s: float = 0.0
    qos: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    billing_weights: str = ""
    usd_per_gpu_h: float | None = None
    use: bool = True
    losses_per_h: float | None = None
    replicas: tuple[Replica, ...] = ()


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site. mode: how workers are had. `jobs`: each replica an sbatch job; `steps`: srun steps inside one
    allocation. submits_from_nodes: whether sbatch may be called on compute nodes. accounting: sacct
    answers. user_signal: a preemption sends SIGUSR2 too. jobs_max: of one user at once. usd_per_unit_h: price
    of a billing unit. shared_dir: seen by all nodes; node_local_dir: fast and private to a node (may hold
    variables such as $TMPDIR). idle_s: after so long without work a worker is given back. setup: shell lines
    before a worker starts (modules, venv).
    """

    cluster: str
    slurm: str
    pools: tuple[Pool, ...]
    mode: Literal["jobs", "steps"] = "jobs"
    account: str = ""
    qos: str = ""
    accounts: tuple[str, ...] = ()
    submits_from_nodes: bool = True
    accounting: bool = True
    user_signal: bool = False
    jobs_max: int | None = None
    kill_wait_s: float = 30.0
    usd_per_unit_h: float | None = None
    shared_dir: str = ""
    node_local_dir: str = "$TMPDIR"
    idle_s: float = 120.0
    setup: tuple[str, ...] = ()
