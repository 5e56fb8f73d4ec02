"""configs/clusters/<name>.yaml as people edit it, and what was learned beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from hpcwise.core.cluster import Cluster, Pool
from hpcwise.core.contractquote import Calibration
from hpcwise.core.errors import UsageError
from hpcwise.core.queuewait import WaitModel
from hpcwise.store.paths import storage_errors, write_beside

#: What each field is for; said once in the file, so that it can be edited without this source.
_CLUSTER: Final = {
    "cluster": "Slurm's own name for this site",
    "slurm": "version that was found",
    "mode": "jobs: each worker an sbatch job; steps: srun steps inside one allocation",
    "account": "that jobs are charged to",
    "qos": "of jobs; empty: the account's default",
    "accounts": "that this user may charge",
    "submits_from_nodes": "whether sbatch may be called on compute nodes",
    "accounting": "whether sacct answers",
    "user_signal": "whether a preemption sends a job's --signal (SIGUSR2) too",
    "jobs_max": "jobs of one user at once, null for no limit",
    "kill_wait_s": "between SIGTERM and SIGKILL",
    "usd_per_unit_h": "price of a billing unit an hour; null: prices of hardware.yaml",
    "shared_dir": "folder that all nodes see",
    "node_local_dir": "fast folder of a node's own; may hold variables",
    "idle_s": "without work for so long, a worker is given back",
    "setup": "shell lines before a worker starts, such as module load and source venv/bin/activate",
}
_POOL_HEAD: Final = """\
# Equal nodes of one partition each. Yours to edit: use (no leaves a pool alone), hardware (an entry of
# hardware.yaml; the GPU's type decided), usd_per_gpu_h (a price by hand; null: billing weights, else
# hardware.yaml), losses_per_h (of one worker; null: the usual), replicas (workers of several processes:
# {nodes: 4, tasks_per_node: 8, models: [wan-2.1-dit]}). The rest is Slurm's; `hpcwise cluster check` says
# when it has changed.
"""


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """configs/clusters/<name>.waits.json. evictions_per_h: of a job in a preemptible partition."""

    waits: WaitModel
    evictions_per_h: float = 0.1
    calibration: Calibration = Calibration()


def text_of(cluster: Cluster, known: tuple[str, ...]) -> str:
    """The file's text. known: entries of hardware.yaml."""
    lines = [
        f"# A Slurm site, as `hpcwise cluster discover` found it; edit what it could not know. Hardware that "
        f"is known:\n# {', '.join(known)}."
    ]
    for field, comment in _CLUSTER.items():
        line = f"{field}: {_value(getattr(cluster, field))}"
        lines.append(f"{line:<40}# {comment}" if len(line) < 39 else f"# {comment}\n{line}")
    lines.append(_POOL_HEAD + "pools:")
    for pool in cluster.pools:
        lines += _pool(pool)
    return "\n".join(lines) + "\n"


def read(name: str) -> tuple[Cluster, Path]:
    """The cluster file of that name, checked against hardware.yaml. Raises UsageError."""
    from hpcwise.head.clusterfile import cluster_path, read_cluster
    from hpcwise.head.settings import find_configs, read_hardware

    configs = find_configs()
    path = cluster_path(configs, name)
    return read_cluster(path, read_hardware(configs / "hardware.yaml").hardware), path


def learned_path(path: Path) -> Path:
    return path.with_suffix(".waits.json")


def read_learned(path: Path) -> Learned | None:
    """What was learned beside a cluster file; None where nothing was."""
    try:
        data = learned_path(path).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=Learned)
    except msgspec.DecodeError as error:
        raise UsageError(f"{learned_path(path)}: {error}; run hpcwise cluster learn again") from None


def write_learned(path: Path, learned: Learned) -> Path:
    target = learned_path(path)
    with storage_errors(target):
        write_beside(target, msgspec.json.encode(learned) + b"\n", durable=False)
        target.chmod(0o644)
    return target


def write(path: Path, cluster: Cluster, known: tuple[str, ...]) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(path, text_of(cluster, known).encode(), durable=False)
        path.chmod(0o644)


def _pool(pool: Pool) -> list[str]:
    fields = {name: getattr(pool, name) for name in pool.__struct_fields__}
    rows = [f"{name}: {_value(value)}" for name, value in fields.items()]
    return [f"  - {rows[0]}", *[f"    {row}" for row in rows[1:]]]


def _value(value: Any) -> str:
    """JSON, which is YAML; yes and no for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return msgspec.json.encode(value).decode().replace('","', '", "')
