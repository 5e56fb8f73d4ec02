"""A head as a Slurm job: checked before it is submitted, submitted once, waited for a moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.cli.client import connect
from hpcwise.cli.run import Run
from hpcwise.core.cluster import Cluster, Pool
from hpcwise.core.errors import UsageError
from hpcwise.head import clusterfile
from hpcwise.head.settings import find_configs, find_models_dir, read_hardware, read_settings
from hpcwise.launch import preflight, slurm
from hpcwise.launch.base import LaunchError, Unreachable
from hpcwise.store.paths import write_beside

#: How long `head start` waits for a job that is about to run, seconds.
READY_S: Final = 20.0
#: A head needs little: it plans and talks.
HEAD_CPUS: Final = 2
_REPOSITORY: Final = Path(__file__).resolve().parents[2]


class HeadJob(msgspec.Struct, frozen=True, kw_only=True):
    """Note of the job that runs this run's head."""

    job_id: str
    cluster: str


def start_head_job(run: Run, name: str, nodes: Mapping[str, int], workers: int | None) -> tuple[HeadJob, str]:
    """Submit the head of `run`, unless its job waits or runs; returns it and what Slurm says of it.

    nodes: by pool, of the allocation where workers run as steps in it. workers: of a kind at most.
    Raises UsageError, with nothing
    submitted, where it is known that this cannot work.
    """
    configs = find_configs()
    prices = read_hardware(configs / "hardware.yaml")
    path = clusterfile.cluster_path(configs, name)
    cluster = clusterfile.read_cluster(path, prices.hardware)
    settings = read_settings(configs, find_models_dir(), None, name)
    preflight.check_site(cluster, str(path))
    preflight.check_run_dir(run.results, cluster)
    command = ["sbatch", "--parsable", *head_options(run, cluster, nodes), str(_script())]
    preflight.check_profiles(settings.launch if cluster.mode == "jobs" else {}, str(path))
    try:
        slurm.ask([command[0], "--test-only", *command[2:]])
    except LaunchError as error:
        raise UsageError(f"{path}: the head's own job: {error}") from None
    run.create()
    before = _noted(run)
    if before is not None and (said := _said(before)):
        return before, said
    answer = slurm.ask(command, variables=exported(run, name, workers))
    job = HeadJob(job_id=slurm.parse_sbatch(answer), cluster=name)
    write_beside(_note(run), msgspec.json.encode(job))
    return job, _wait(run, job)


def head_options(run: Run, cluster: Cluster, nodes: Mapping[str, int]) -> list[str]:
    """Options of sbatch for the head's job; of a heterogeneous one where it brings several pools."""
    output = run.paths.logs / "head-job.out"
    common = ["--chdir", str(_REPOSITORY), "--output", str(output)]
    if cluster.mode == "jobs":
        if not cluster.submits_from_nodes:
            raise UsageError(
                "submits_from_nodes: no: a head in a job could not submit workers; set `mode: steps`, or "
                "start the head here with --here"
            )
        return [*common, *_of_pool(cluster, head_pool(cluster), 0)]
    wanted = nodes or {pool.pool: 1 for pool in cluster.pools if pool.use and pool.preempts == "off"}
    pools = {pool.pool: pool for pool in cluster.pools}
    parts: list[str] = []
    for number, (name, count) in enumerate(wanted.items()):
        if name not in pools or not 1 <= count <= pools[name].nodes:
            has = ", ".join(f"{p.pool}={p.nodes}" for p in cluster.pools)
            raise UsageError(f"--nodes: {name}={count}: the cluster file has {has}")
        parts += [":"] if number else []
        parts += _of_pool(cluster, pools[name], count)
    return [*common, *parts]


def head_pool(cluster: Cluster) -> Pool:
    """Where the head runs: without GPUs if there is such a pool, not where it would have to give way."""
    ranked = sorted(
        cluster.pools, key=lambda p: (p.preempts != "off", p.gpus_per_node > 0, -(p.max_min or 10**9))
    )
    return ranked[0]


def exported(run: Run, name: str, workers: int | None) -> dict[str, str]:
    """What the batch script reads; none of it is secret."""
    return {
        "HPCWISE_CLUSTER": name,
        "HPCWISE_RUN_DIR": str(run.results),
        "HPCWISE_HOME": str(_REPOSITORY),
        "HPCWISE_PYTHON": sys.executable,
        "HPCWISE_CONFIGS": str(find_configs()),
        "HPCWISE_HEAD_ARGS": "" if workers is None else f"--workers={workers}",
    }


def _of_pool(cluster: Cluster, pool: Pool, nodes: int) -> list[str]:
    profile = clusterfile.profile_of_pool(cluster, pool)
    given = {
        "partition": profile.partition, "account": profile.account, "qos": profile.qos,
        "time": str(profile.timeout_min),
    }  # fmt: skip
    if nodes:
        per_node = clusterfile.workers_per_node(pool)
        given |= {"nodes": str(nodes), "cpus-per-task": str(pool.cpus_per_node),
                  "constraint": profile.constraint,
                  "mem": f"{int(profile.memory_gb * 1000 * per_node)}M",
                  "gres": f"gpu:{pool.gpu}:{pool.gpus_per_node}" if pool.gpus_per_node else ""}  # fmt: skip
    else:
        given["cpus-per-task"] = str(min(HEAD_CPUS, pool.cpus_per_node))
    return [f"--{option}={value}" for option, value in given.items() if value]


def _script() -> Path:
    path = _REPOSITORY / "slurm" / "head.sbatch"
    if not path.is_file():
        raise UsageError(f"{path}: is missing; run hpcwise out of its clone")
    return path


def _note(run: Run) -> Path:
    return run.paths.root / "head-job.json"


def _noted(run: Run) -> HeadJob | None:
    try:
        return msgspec.json.decode(_note(run).read_bytes(), type=HeadJob)
    except (OSError, msgspec.MsgspecError):
        return None


def _said(job: HeadJob) -> str:
    """What Slurm says of a job that waits or runs; empty when it is over or Slurm does not know it."""
    try:
        text = slurm.ask(["squeue", "--noheader", f"--job={job.job_id}", f"--format={slurm.SQUEUE_FORMAT}"])
    except Unreachable:
        raise
    except LaunchError:
        return ""
    found = slurm.parse_squeue(text)
    return found[0].words if found and found[0].meaning != "gone" else ""


def _wait(run: Run, job: HeadJob) -> str:
    """Until the head answers, or for a moment: a queue may be long."""
    until_s = time.monotonic() + READY_S
    asked_s = 0.0
    said = ""
    while time.monotonic() < until_s:
        client = connect(run)
        if client is not None:
            client.close()
            return f"job {job.job_id} RUNNING"
        if time.monotonic() - asked_s > 5.0:
            asked_s, said = time.monotonic(), _said(job)
            if not said:
                raise UsageError(f"job {job.job_id} ended at once; see {run.paths.logs / 'head-job.out'}")
        time.sleep(0.2)
    return said
