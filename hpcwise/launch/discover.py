"""What Slurm answers about itself, as a Cluster: pure functions over text.

Nodes come from `sinfo --json` (22.05 lists nodes, later versions groups of equal ones), or from `sinfo -N` in
a fixed format where a Slurm has no JSON; partitions and configuration from scontrol's `KEY=VALUE`, which has
been the same since long before 22.05; QoS and accounts from sacctmgr's parsable output.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from hpcwise.core.cluster import Cluster, Pool
from hpcwise.launch.base import LaunchError

#: Fields of `sinfo -h -N -o`.
SINFO_FORMAT: Final = "%N|%P|%c|%m|%G|%f|%T"
QOS_FORMAT: Final = "Name,Priority,MaxWall,MaxJobsPerUser,Preempt,PreemptMode,GraceTime,Flags"
ASSOC_FORMAT: Final = "Account,Partition,QOS,DefaultQOS,MaxJobs"
_GRES: Final = re.compile(r"gpu(?::(?P<type>[A-Za-z][^:(,]*))?:(?P<n>\d+)")
_PAIR: Final = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_:]*)=")
_INFINIBAND: Final = frozenset({"ib", "infiniband", "edr", "hdr", "hdr100", "hdr200", "ndr", "ndr200", "xdr"})
_UNSET: Final = frozenset({"", "(null)", "N/A", "NONE", "None", "UNLIMITED", "INFINITE", "ALL"})
Preempts = Literal["off", "requeue", "cancel", "suspend"]
_MODES: Final[dict[str, Preempts]] = {"requeue": "requeue", "cancel": "cancel", "suspend": "suspend"}


class Node(msgspec.Struct, frozen=True):
    """A node in one partition."""

    name: str
    partition: str
    cpus: int
    memory_mb: int
    gpu: str
    gpus: int
    features: tuple[str, ...]


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The texts as Slurm gave them. sinfo_json: empty where this Slurm has none; sinfo is read then. assoc,
    qos, user: empty without accounting."""

    config: str
    partitions: str
    sinfo_json: str = ""
    sinfo: str = ""
    qos: str = ""
    assoc: str = ""
    user: str = ""


def cluster_of(
    answers: Answers, hardware: Sequence[str], shared_dir: str = "", name: str = "", qos: str = ""
) -> Cluster:
    """The site. hardware: names of hardware.yaml, which GPU types are mapped to; a pool whose GPU is none of
    them is not used until somebody says what it is. qos: that jobs are submitted with, where it is not the
    account's default: it decides who has to give way. Raises LaunchError for text that is no answer."""
    config = pairs_of_config(answers.config)
    nodes = parse_sinfo_json(answers.sinfo_json) if answers.sinfo_json else parse_sinfo(answers.sinfo)
    partitions = {row["PartitionName"]: row for row in map(pairs, answers.partitions.splitlines()) if row}
    if not nodes or not partitions or "SLURM_VERSION" not in config:
        raise LaunchError("sinfo, scontrol: gave no nodes or no partitions; is slurmctld up?")
    accounts, known_qos, default_qos, most_jobs = parse_assoc(answers.assoc)
    accounting = "slurmdbd" in config.get("AccountingStorageType", "")
    default = answers.user.strip().splitlines()[0].strip() if answers.user.strip() else ""
    flags = f"{config.get('SlurmctldParameters', '')},{config.get('PreemptParameters', '')}"
    limits = [limit for limit in (most_jobs, _jobs_of(answers.qos, default_qos)) if limit]
    return Cluster(
        cluster=name or config.get("ClusterName", "cluster"),
        slurm=".".join(config["SLURM_VERSION"].split(".")[:2]),
        account=default if default in accounts else (accounts[0] if accounts else ""),
        accounts=accounts,
        qos=default_qos,
        accounting=accounting,
        user_signal="send_user_signal" in flags,
        jobs_max=min(limits, default=None),
        submits_from_nodes=all(row.get("AllocNodes", "ALL") == "ALL" for row in partitions.values()),
        kill_wait_s=float(config.get("KillWait", "30").split()[0]),
        shared_dir=shared_dir,
        pools=tuple(
            _by_qos(pool, answers.qos, qos or default_qos, config)
            for pool in _pools(
                nodes, partitions, hardware, accounts, known_qos, config.get("PreemptType", "")
            )
        ),
    )


def pairs(line: str) -> dict[str, str]:
    """`KEY=VALUE KEY=VALUE` of `scontrol -o`; values may hold blanks and further equal signs."""
    marks = list(_PAIR.finditer(line))
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    return {m[1]: line[m.end() : end].strip() for m, end in zip(marks, ends, strict=True)}


def pairs_of_config(text: str) -> dict[str, str]:
    """`KEY = VALUE` lines of `scontrol show config`."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition(" = ")
        if equals:
            found[key.strip()] = value.strip()
    return found


def parse_sinfo_json(text: str) -> list[Node]:
    """`sinfo --json` of 22.05 (a list of nodes) and of later ones (groups of equal nodes, by partition)."""
    try:
        data: Any = json.loads(text)
        if "nodes" in data:
            return [
                _node(n["name"], partition, n["cpus"], n["real_memory"], n["gres"], n["features"])
                for n in data["nodes"]
                for partition in n["partitions"]
            ]
        return [
            _node(
                name, g["partition"]["name"], g["cpus"]["maximum"], g["memory"]["minimum"],
                g["gres"]["total"], g["features"]["total"],
            )
            for g in data["sinfo"]
            for name in g["nodes"]["nodes"]
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise LaunchError(f"sinfo --json: its answer is of an unknown form ({error})") from error


def parse_sinfo(text: str) -> list[Node]:
    """`sinfo -h -N -o SINFO_FORMAT`; lines of another form are skipped."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 7 or not fields[2].rstrip("+").isdigit():
            continue
        name, partition, cpus, memory, gres, features, _ = fields
        cpu, mb = int(cpus.rstrip("+")), int(memory.rstrip("+"))
        found.append(_node(name, partition.rstrip("*"), cpu, mb, gres, features))
    return found


def parse_minutes(text: str) -> int | None:
    """Minutes of Slurm's `2-00:00:00`, `08:00:00` or `30:00`; None for no limit."""
    if text in _UNSET:
        return None
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:
        parts += [0] * (3 - len(parts))
        return int(days) * 1440 + parts[0] * 60 + parts[1] + (parts[2] > 0)
    hours, minutes, seconds = ([0] * (3 - len(parts)) + parts) if len(parts) > 1 else (0, parts[0], 0)
    return hours * 60 + minutes + (seconds > 0)


def parse_assoc(text: str) -> tuple[tuple[str, ...], tuple[str, ...], str, int | None]:
    """Accounts, QoS, default QoS and most jobs of this user."""
    accounts: list[str] = []
    qos: list[str] = []
    default, most = "", None
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 5 or not fields[0]:
            continue
        accounts.append(fields[0])
        qos += [name for name in fields[2].split(",") if name]
        default = default or fields[3]
        if fields[4].isdigit():
            most = min(int(fields[4]), most or int(fields[4]))
    return tuple(sorted(set(accounts))), tuple(sorted(set(qos))), default, most


def hardware_of(gpu: str, known: Iterable[str]) -> str:
    """The entry of hardware.yaml that a GRES type means: `nvidia_a100-sxm4-80gb` is an a100. Empty for
    none; `cpu` for no GPU."""
    if not gpu:
        return "cpu"
    words = re.split(r"[^a-z0-9]+", gpu.lower())
    names = sorted((n for n in known if n != "cpu"), key=lambda n: -len(n.split("-")))
    return next((name for name in names if all(part in words for part in name.split("-"))), "")


def drift(ours: Cluster, now: Cluster) -> list[str]:
    """What the file says otherwise than Slurm does, one line each; what people choose is not compared."""
    site = ("cluster", "slurm", "accounts", "accounting", "user_signal", "jobs_max", "kill_wait_s")
    lines = _differences(ours, now, site, "")
    there = {(p.partition, p.gpu, p.gpus_per_node, p.features): p for p in now.pools}
    found = set()
    for pool in ours.pools:
        key = (pool.partition, pool.gpu, pool.gpus_per_node, pool.features)
        match = there.get(key)
        if match is None:
            close = [p for k, p in there.items() if k[0] == pool.partition]
            if not close:
                lines.append(f"pools.{pool.pool}: Slurm has no partition {pool.partition!r} any more")
                continue
            match = next((p for p in close if p.pool == pool.pool), close[0])
        found.add(match.pool)
        lines += _differences(pool, match, _FACTS, f"pools.{pool.pool}.")
    lines += [
        f"pools: Slurm has {p.pool!r} too, which the file lacks" for p in now.pools if p.pool not in found
    ]
    return lines


def merged(ours: Cluster, now: Cluster) -> Cluster:
    """Slurm's facts with the choices that people made in the file."""
    by_name = {pool.pool: pool for pool in ours.pools}
    pools = []
    for pool in now.pools:
        old = by_name.get(pool.pool)
        if old is not None:
            pool = msgspec.structs.replace(
                pool, hardware=old.hardware, usd_per_gpu_h=old.usd_per_gpu_h, use=old.use,
                losses_per_h=old.losses_per_h, replicas=old.replicas,
            )  # fmt: skip
        pools.append(pool)
    return msgspec.structs.replace(
        now, pools=tuple(pools), mode=ours.mode, account=ours.account, qos=ours.qos,
        submits_from_nodes=ours.submits_from_nodes, usd_per_unit_h=ours.usd_per_unit_h,
        shared_dir=ours.shared_dir or now.shared_dir, node_local_dir=ours.node_local_dir, idle_s=ours.idle_s,
        setup=ours.setup,
    )  # fmt: skip


_FACTS: Final = (
    "nodes", "cpus_per_node", "memory_gb_per_node", "gpu", "gpus_per_node", "features", "max_min",
    "default_min", "preempts", "grace_s", "qos", "accounts", "billing_weights",
)  # fmt: skip


def _differences(ours: object, now: object, fields: Iterable[str], where: str) -> list[str]:
    return [
        f"{where}{field}: the file has {_show(ours, field)}, Slurm {_show(now, field)}"
        for field in fields
        if getattr(ours, field) != getattr(now, field)
    ]


def _show(owner: object, field: str) -> str:
    return str(msgspec.to_builtins(getattr(owner, field)))


def _node(name: str, partition: str, cpus: int, memory_mb: int, gres: str, features: str) -> Node:
    found = _GRES.search(gres)
    words = tuple(sorted(w for w in features.split(",") if w and w not in _UNSET))
    kind = (found["type"] or "gpu") if found else ""
    return Node(name, partition, cpus, memory_mb, kind, int(found["n"]) if found else 0, words)


def _pools(
    nodes: list[Node], partitions: Mapping[str, Mapping[str, str]], hardware: Sequence[str],
    accounts: tuple[str, ...], qos: tuple[str, ...], preempt_type: str,
) -> list[Pool]:  # fmt: skip
    groups: dict[tuple[str, str, int, tuple[str, ...]], list[Node]] = {}
    for node in nodes:
        groups.setdefault((node.partition, node.gpu, node.gpus, node.features), []).append(node)
    kinds = Counter(partition for partition, *_ in groups)
    names: Counter[str] = Counter()
    found = []
    for (partition, gpu, gpus, features), members in sorted(groups.items()):
        row = partitions.get(partition)
        if row is None or row.get("State", "UP") != "UP":
            continue
        name = partition if kinds[partition] == 1 else f"{partition}-{gpu or 'cpu'}"
        names[name] += 1
        if names[name] > 1:
            name = f"{name}-{names[name]}"
        entry = hardware_of(gpu, hardware)
        found.append(
            Pool(
                pool=re.sub(r"[^A-Za-z0-9_-]", "-", name)[:40],
                partition=partition,
                nodes=len({node.name for node in members}),
                cpus_per_node=min(node.cpus for node in members),
                memory_gb_per_node=round(min(node.memory_mb for node in members) / 1024, 1),
                hardware=entry or "cpu",
                gpu="" if gpu == "gpu" else gpu,
                gpus_per_node=gpus,
                features=features,
                infiniband=bool(_INFINIBAND & {word.lower() for word in features}),
                max_min=parse_minutes(row.get("MaxTime", "")),
                default_min=parse_minutes(row.get("DefaultTime", "")),
                preempts=_preempts(row, partitions.values(), preempt_type, nodes),
                grace_s=float(row.get("GraceTime", "0") or 0),
                qos=_allowed(row, "AllowQos", qos),
                accounts=_allowed(row, "AllowAccounts", accounts),
                billing_weights=_set(row.get("TRESBillingWeights", "")),
                use=bool(entry),
            )
        )
    return found


def _preempts(
    row: Mapping[str, str], others: Iterable[Mapping[str, str]], preempt_type: str, nodes: list[Node]
) -> Preempts:
    """A partition gives way where another with a higher tier shares nodes with it."""
    mode = row.get("PreemptMode", "OFF").split(",")[-1].lower()
    if "partition_prio" not in preempt_type or mode not in ("requeue", "cancel", "suspend"):
        return "off"
    own = {node.name for node in nodes if node.partition == row["PartitionName"]}
    tier = int(row.get("PriorityTier", "1"))
    for other in others:
        members = {node.name for node in nodes if node.partition == other["PartitionName"]}
        if int(other.get("PriorityTier", "1")) > tier and own & members:
            return "requeue" if mode == "requeue" else "cancel" if mode == "cancel" else "suspend"
    return "off"


def _by_qos(pool: Pool, qos: str, used: str, config: Mapping[str, str]) -> Pool:
    """With preempt/qos, jobs of a QoS that another one may preempt give way, in every partition."""
    if "preempt/qos" not in config.get("PreemptType", ""):
        return pool
    own = used if not pool.qos or used in pool.qos else pool.qos[0]
    rows = {fields[0]: fields for line in qos.splitlines() if len(fields := line.strip().split("|")) == 8}
    if own not in rows or not any(own in row[4].split(",") for row in rows.values()):
        return pool
    mode = rows[own][5].lower()
    # A QoS without a mode of its own follows the cluster's.
    if mode in ("", "cluster"):
        mode = config.get("PreemptMode", "OFF").split(",")[-1].lower()
    if mode not in _MODES:
        return pool
    grace = parse_clock_s(rows[own][6])
    return msgspec.structs.replace(pool, preempts=_MODES[mode], grace_s=grace or pool.grace_s)


def parse_clock_s(text: str) -> float:
    """Seconds of `00:02:00` or of `120`; 0 for nothing."""
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + (float(part) if part.isdigit() else 0.0)
    return total


def _allowed(row: Mapping[str, str], key: str, mine: tuple[str, ...]) -> tuple[str, ...]:
    value = row.get(key, "ALL")
    return mine if value in _UNSET else tuple(name for name in mine if name in value.split(","))


def _set(value: str) -> str:
    return "" if value in _UNSET else value


def _jobs_of(qos: str, default: str) -> int | None:
    for line in qos.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 8 and fields[0] == default and fields[3].isdigit():
            return int(fields[3])
    return None
