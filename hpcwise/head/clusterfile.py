"""`configs/clusters/<name>.yaml`, read and checked, and what a head makes of it: kinds of workers with their
launch profiles, and prices.

A kind of worker is a pool: one GPU with its share of the node's cores and memory, or one core of a node
without GPUs. A pool may have wide kinds too, whose workers are several such processes on one node or more.
Models without a profile of the pool's hardware run on the node's cores, as on any host.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from hpcwise.core.billing import DeviceShare, billed_usd_per_h, parse_weights
from hpcwise.core.catalogue import HardwareInfo, ModelInfo
from hpcwise.core.cluster import Cluster, Pool, Replica
from hpcwise.core.errors import UsageError
from hpcwise.core.resources import FleetItem
from hpcwise.launch.base import LaunchProfile

#: From the start of a job to its worker's Hello, where nothing was learned yet.
START_S: Final = 10.0
#: Asked for where neither pool nor partition has a limit.
LONGEST_MIN: Final = 60 * 24 * 7
#: Share of a node's memory that jobs may ask for: RealMemory is what slurmd found, some is always in use.
MEMORY: Final = 0.95
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def cluster_path(configs_dir: Path, name: str) -> Path:
    """Where the file of that cluster is. Raises UsageError for a name that is none or has no file."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--cluster: {name[:60]!r}: use 1 to 40 letters, digits, '-' or '_'")
    path = configs_dir / "clusters" / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none yet"
        raise UsageError(
            f"--cluster: {name!r} has no file {path} (there: {there}); `hpcwise cluster discover` writes it"
        )
    return path


def read_cluster(path: Path, hardware: Mapping[str, object]) -> Cluster:
    """The file's content, checked. hardware: entries of hardware.yaml. Raises UsageError with the field."""
    from hpcwise.head.settings import read_file

    cluster = read_file(path, Cluster)
    names = [pool.pool for pool in cluster.pools]
    for number, pool in enumerate(cluster.pools):
        where = f"{path}: pools[{number}] ({pool.pool})"
        if not _NAME.fullmatch(pool.pool) or names.count(pool.pool) > 1:
            raise UsageError(f"{where}.pool: give each pool a name of its own (letters, digits, '-', '_')")
        if not pool.partition or re.search(r"[\s,]", pool.partition):
            raise UsageError(f"{where}.partition: {pool.partition!r} is not one partition; name one")
        if pool.hardware not in hardware:
            known = ", ".join(hardware)
            raise UsageError(f"{where}.hardware: {pool.hardware!r} is not in hardware.yaml; use {known}")
        for field in ("nodes", "cpus_per_node", "memory_gb_per_node"):
            value: float = getattr(pool, field)
            if not 0 < value < math.inf:
                raise UsageError(f"{where}.{field}: {value} is not usable; give more than 0")
        if pool.gpus_per_node < 0 or pool.grace_s < 0 or (pool.max_min is not None and pool.max_min < 1):
            raise UsageError(f"{where}: gpus_per_node, grace_s and max_min must not be negative")
        if pool.usd_per_gpu_h is not None and not 0 <= pool.usd_per_gpu_h < math.inf:
            raise UsageError(f"{where}.usd_per_gpu_h: {pool.usd_per_gpu_h} is not usable; give 0 or more")
        if pool.losses_per_h is not None and not 0 <= pool.losses_per_h < math.inf:
            raise UsageError(f"{where}.losses_per_h: {pool.losses_per_h} is not usable; give 0 or more")
        _check_replicas(pool, where)
    if not 0 < cluster.idle_s < math.inf:
        raise UsageError(f"{path}: idle_s: {cluster.idle_s} is not usable; give more than 0 seconds")
    if not any(pool.use for pool in cluster.pools):
        raise UsageError(f"{path}: pools: none is in use; give one of them `use: yes`")
    return cluster


def workers_per_node(pool: Pool) -> int:
    """One a GPU, or one a core."""
    return pool.gpus_per_node or pool.cpus_per_node


class Kind(NamedTuple):
    """A kind of worker: of one process of its pool, or a wide one."""

    name: str
    pool: Pool
    replica: Replica | None = None

    @property
    def per_node(self) -> int:
        """Workers that fit on a node, or of a kind that takes several nodes, on each such set of them."""
        return workers_per_node(self.pool) // (self.replica.tasks_per_node if self.replica else 1)

    @property
    def nodes(self) -> int:
        """Nodes of one worker."""
        return self.replica.nodes if self.replica else 1


def kinds(cluster: Cluster) -> tuple[Kind, ...]:
    """All kinds of the pools that are in use. A wide one is named by its shape: `h200-2x8` has two nodes of
    the pool h200 with eight processes each."""
    found = []
    for pool in cluster.pools:
        if pool.use:
            found.append(Kind(pool.pool, pool))
            found += [Kind(_wide_name(pool, replica), pool, replica) for replica in pool.replicas]
    return tuple(found)


def profile_of_pool(cluster: Cluster, pool: Pool, replica: Replica | None = None) -> LaunchProfile:
    """How to ask for one worker of the pool, or for one of several processes."""
    share = workers_per_node(pool)
    tasks = replica.tasks_per_node if replica else 1
    gpus = tasks if pool.gpus_per_node else 0
    return LaunchProfile(
        partition=pool.partition,
        nodes=replica.nodes if replica else 1,
        tasks_per_node=tasks,
        mpi=replica.mpi if replica else "",
        gpus_per_node=gpus,
        gres=f"gpu:{pool.gpu}:{gpus}" if gpus and pool.gpu else "",
        cpus_per_task=max(1, pool.cpus_per_node // share),
        memory_gb=math.floor(1000 * MEMORY * tasks * pool.memory_gb_per_node / share) / 1000,
        timeout_min=pool.max_min or LONGEST_MIN,
        account=cluster.account
        if not pool.accounts or cluster.account in pool.accounts
        else pool.accounts[0],
        qos=cluster.qos if not pool.qos or cluster.qos in pool.qos else pool.qos[0],
        constraint="&".join(pool.features[:1]) if _features_needed(cluster, pool) else "",
        setup=cluster.setup,
        # Without notice of its own a job still has KillWait between SIGTERM and SIGKILL.
        grace_s=pool.grace_s or cluster.kill_wait_s,
    )


def fleet_items(
    cluster: Cluster, models: Mapping[str, ModelInfo], limit: int | None = None
) -> list[FleetItem]:
    """Kinds of workers. limit: workers of a kind at most, beside what the pool has and the site allows.

    Raises UsageError where a replica names a model that its pool cannot run.
    """
    most = min(1024, limit or 1024, (cluster.jobs_max - 1) if cluster.jobs_max else 1024)
    found = []
    for kind in kinds(cluster):
        pool, replica = kind.pool, kind.replica
        known = suited(models, pool.hardware)
        shared = {name for wide in pool.replicas for name in wide.models}
        for name in sorted(shared - set(known)):
            raise UsageError(
                f"pools.{pool.pool}.replicas: {name!r} has no card that runs on {pool.hardware}; known are "
                + ", ".join(known)
            )
        found.append(
            FleetItem(
                kind=kind.name,
                hardware=pool.hardware,
                models=replica.models if replica else tuple(name for name in known if name not in shared),
                memory_gb=pool.memory_gb_per_node / workers_per_node(pool),
                min_workers=0,
                max_workers=max(1, min(most, pool.nodes // kind.nodes * kind.per_node)),
                idle_timeout_s=cluster.idle_s,
                launch_s=START_S,
                nodes=kind.nodes,
                devices_per_node=replica.tasks_per_node if replica else 1 if pool.gpus_per_node else 0,
            )
        )
    return found


def suited(models: Mapping[str, ModelInfo], hardware: str) -> tuple[str, ...]:
    """Models that workers of this hardware may hold: those that name it, have a profile on it, or neither."""

    def fits(info: ModelInfo) -> bool:
        if info.hardware and hardware not in info.hardware:
            return hardware in info.profiles
        return not info.profiles or hardware in info.profiles or bool(info.hardware)

    return tuple(name for name, info in models.items() if fits(info))


def with_host_profiles(models: Mapping[str, ModelInfo], cluster: Cluster) -> dict[str, ModelInfo]:
    """Cards with a profile for each hardware of the cluster: models that were profiled on a CPU only run on
    the cores beside a GPU just as fast."""
    used = {pool.hardware for pool in cluster.pools if pool.use}
    found: dict[str, ModelInfo] = {}
    for name, info in models.items():
        host = info.profiles.get("cpu") if set(info.profiles) == {"cpu"} else None
        missing = dict.fromkeys(used - set(info.profiles), host) if host is not None else {}
        found[name] = replace(info, profiles={**info.profiles, **missing}) if missing else info
    return found


def with_site_prices(
    hardware: Mapping[str, HardwareInfo], cluster: Cluster, path: Path
) -> dict[str, HardwareInfo]:
    """Prices of a unit of each hardware: a pool's own, else by its billing weights, else hardware.yaml's.

    A preemptible pool sets the spot price, others the reserved one; of several pools of one hardware the
    dearest counts.
    """
    found = dict(hardware)
    seen: dict[tuple[str, bool], float] = {}
    for pool in cluster.pools:
        if not pool.use:
            continue
        usd, source = _price(pool, cluster, path)
        if usd is None:
            continue
        spot = is_spot(pool)
        usd = max(usd, seen.get((pool.hardware, spot), 0.0))
        seen[pool.hardware, spot] = usd
        info = found[pool.hardware]
        found[pool.hardware] = replace(
            info,
            usd_per_h=info.usd_per_h if spot else usd,
            spot_usd_per_h=usd if spot else info.spot_usd_per_h,
            price_source=source,
        )
    return found


def is_spot(pool: Pool) -> bool:
    """Whether its jobs may have to give way."""
    return pool.preempts != "off"


def _wide_name(pool: Pool, replica: Replica) -> str:
    return replica.kind_in(pool.pool)


def _check_replicas(pool: Pool, where: str) -> None:
    """Raises UsageError for a replica that the pool's nodes cannot hold, or a shape or model named twice."""
    names: list[str] = []
    for number, replica in enumerate(pool.replicas):
        own = f"{where}.replicas[{number}]"
        for field, most in (("nodes", pool.nodes), ("tasks_per_node", workers_per_node(pool))):
            value: int = getattr(replica, field)
            if not 1 <= value <= most:
                raise UsageError(f"{own}.{field}: {value} is not usable; this pool allows 1 to {most}")
        if replica.processes == 1:
            raise UsageError(f"{own}: one process is what every worker is; give more nodes or tasks_per_node")
        if not replica.models:
            raise UsageError(f"{own}.models: is empty; name the models that such a replica is for")
        twice = {name for name in replica.models if [*names, *replica.models].count(name) > 1}
        if twice or _wide_name(pool, replica) in [_wide_name(pool, r) for r in pool.replicas[:number]]:
            what = f"{min(twice)!r} is named twice" if twice else "another one has the same shape"
            raise UsageError(f"{own}: {what}; name each shape once, with all of its models")
        names += replica.models


def _price(pool: Pool, cluster: Cluster, path: Path) -> tuple[float | None, str]:
    if pool.usd_per_gpu_h is not None:
        return pool.usd_per_gpu_h, f"{path.name}, pool {pool.pool}"
    if cluster.usd_per_unit_h is None or not pool.billing_weights:
        return None, ""
    share = workers_per_node(pool)
    device = DeviceShare(
        cpus=pool.cpus_per_node / share,
        memory_gb=pool.memory_gb_per_node / share,
        gres=pool.gpu,
        gpu=pool.gpus_per_node > 0,
    )
    try:
        weights = parse_weights(pool.billing_weights)
    except UsageError as error:
        raise UsageError(f"{path}: pool {pool.pool}: {error}") from None
    usd = billed_usd_per_h(pool.hardware, device, weights, cluster.usd_per_unit_h)
    return usd, "billing weights of this site"


def _features_needed(cluster: Cluster, pool: Pool) -> bool:
    """Whether another pool of the partition lacks what tells this one apart; GPU types tell themselves."""
    others = [p for p in cluster.pools if p.partition == pool.partition and p.pool != pool.pool]
    return bool(pool.features) and any(
        p.gpu == pool.gpu and pool.features[0] not in p.features for p in others
    )
