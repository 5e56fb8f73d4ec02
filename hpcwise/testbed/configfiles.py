"""The configuration of a testbed's Slurm: the templates of slurm/testbed, filled in."""

from __future__ import annotations

import os
from pathlib import Path
from string import Template
from typing import Final

from hpcwise.core.errors import UsageError
from hpcwise.testbed.record import Record
from hpcwise.testbed.shape import CONTROLLER, LOGIN, Node

_FILES: Final = ("slurm.conf", "slurmdbd.conf", "gres.conf", "cgroup.conf")
#: CPUs and memory that a node claims to have; jobs are not bound to them.
_CPUS: Final = 32
_MEMORY_MB: Final = 256_000
#: What an hour on a node of a partition costs, in billing units: spot is a third of the dear ones.
_WEIGHTS: Final = {
    "a100": "CPU=0.25,Mem=0.03G,GRES/gpu=12.0",
    "h200": "CPU=0.25,Mem=0.03G,GRES/gpu=36.0",
    "spot": "CPU=0.08,Mem=0.01G,GRES/gpu:a100=4.0,GRES/gpu:h200=12.0",
    "cpu": "CPU=0.25,Mem=0.03G",
}
#: A preemption sends a job's --signal too; the option has moved.
_USER_SIGNAL: Final = {
    "22.05": "SlurmctldParameters=preempt_send_user_signal",
    "24.11": "PreemptParameters=send_user_signal",
}


def find_templates() -> Path:
    """The folder of templates: $HPCWISE_SLURM/testbed, else that of the clone this package runs out of.

    Raises UsageError where there is none.
    """
    chosen = os.environ.get("HPCWISE_SLURM")
    base = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "slurm"
    if not (base / "testbed" / "slurm.conf").is_file():
        raise UsageError(f"{base}: no testbed/slurm.conf there; name a clone's slurm folder in HPCWISE_SLURM")
    return base / "testbed"


def write_configs(record: Record, plugin_dir: str) -> None:
    """Write etc/ of a testbed: Slurm's four files and the hosts that its nodes know."""
    shape = record.shape
    values = {
        "name": record.name,
        "dir": record.dir,
        "ctl_address": record.address(shape.node(CONTROLLER)),
        "slurmd_timeout_s": str(shape.slurmd_timeout_s),
        # A node that is silent is asked once more before it is down.
        "message_timeout_s": str(min(10, max(5, shape.slurmd_timeout_s - 1))),
        "kill_wait_s": str(shape.kill_wait_s),
        "user_signal": _USER_SIGNAL[shape.slurm] if shape.user_signal else "",
        "plugin_dir": f"PluginDir={plugin_dir}" if plugin_dir else "",
        "nodes": "\n".join(_node(record, node) for node in shape.nodes()),
        "partitions": "\n".join(_partitions(record)),
        "gres": "\n".join(_gres(record)),
        "cgroup": "CgroupPlugin=disabled" if shape.slurm == "24.11" else "CgroupAutomount=no",
    }
    etc = record.folder / "etc"
    etc.mkdir(exist_ok=True)
    for name in _FILES:
        template = Template((find_templates() / name).read_text(encoding="utf-8"))
        path = etc / name
        path.write_text(template.substitute(values), encoding="utf-8")
        # slurmdbd refuses a file that others may read.
        path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
    (etc / "hosts").write_text(_hosts(record), encoding="ascii")


def _node(record: Record, node: Node) -> str:
    gres = f" Gres=gpu:{node.gpu}:{node.gpus}" if node.gpu else ""
    return (
        f"NodeName={node.name} NodeAddr={record.address(node)} CPUs={_CPUS} RealMemory={_MEMORY_MB}"
        f" Feature={','.join(node.features)}{gres} Weight={100 if node.gpu == 'h200' else 10}"
    )


def _partitions(record: Record) -> list[str]:
    shape = record.shape
    members = {
        kind: [node.name for node in shape.nodes() if node.name.startswith(kind)]
        for kind in ("a100", "h200", "cpu")
    }
    found: list[str] = []
    for kind, names in members.items():
        if names:
            found.append(
                f"PartitionName={kind} Nodes={','.join(names)} Default={'NO' if found else 'YES'}"
                f" MaxTime={'1-00:00:00' if kind == 'h200' else '2-00:00:00'} DefaultTime=00:30:00"
                f" PriorityTier=10 PreemptMode=OFF DefMemPerCPU=2000"
                f' TRESBillingWeights="{_WEIGHTS[kind]}"'
            )
    if shape.spot_nodes():
        found.append(
            f"PartitionName=spot Nodes={','.join(shape.spot_nodes())} MaxTime=08:00:00 DefaultTime=00:30:00"
            f" PriorityTier=1 PreemptMode=REQUEUE GraceTime={shape.grace_s} DefMemPerCPU=2000"
            f' TRESBillingWeights="{_WEIGHTS["spot"]}"'
        )
    return found


def _gres(record: Record) -> list[str]:
    return [
        f"NodeName={node.name} Name=gpu Type={node.gpu} File={record.dir}/dev/nvidia[0-{node.gpus - 1}]"
        if node.gpus > 1
        else f"NodeName={node.name} Name=gpu Type={node.gpu} File={record.dir}/dev/nvidia0"
        for node in record.shape.nodes()
        if node.gpu
    ]


def _hosts(record: Record) -> str:
    lines = ["127.0.0.1 localhost", f"{record.login_address} {LOGIN} {os.uname().nodename}"]
    nodes = (record.shape.node(CONTROLLER), *record.shape.nodes())
    lines += [f"{record.address(node)} {node.name}" for node in nodes]
    return "\n".join(lines) + "\n"
