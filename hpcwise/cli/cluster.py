"""`hpcwise cluster`: what is known of a Slurm site, and how long its queues take."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import click
import msgspec

from hpcwise.cli.clusterfile import Learned, learned_path, read, read_learned, write, write_learned
from hpcwise.cli.completion import sites
from hpcwise.cli.group import Group
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import json_option
from hpcwise.cli.specfile import relative
from hpcwise.cli.values import format_s, printable
from hpcwise.core.cluster import Cluster
from hpcwise.core.contractquote import Calibration
from hpcwise.core.errors import UsageError
from hpcwise.core.queuewait import WaitSample

#: The file and Slurm differ.
_EXIT_DRIFT: Final = 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@click.group("cluster", cls=Group)
def cluster_command() -> None:
    """A Slurm site: discover it, learn its queues, look at it, check that its file still holds."""


@cluster_command.command("discover")
@click.option("--name", metavar="NAME", help="Name of the file; Slurm's own name for the cluster.")
@click.option("--shared-dir", metavar="FOLDER", help="A folder that all nodes see ($SCRATCH, $WORK, home).")
@click.option("--write", "rewrite", is_flag=True, help="Take Slurm's facts into an existing file.")
@json_option
def discover_command(name: str | None, shared_dir: str | None, rewrite: bool, as_json: bool) -> int:
    """Ask sinfo, scontrol and sacctmgr, and write configs/clusters/NAME.yaml.

    A file that is there stays as it is: what has changed since is printed, and --write takes it over but
    keeps what people chose (use, hardware, prices, account, paths, setup).
    """
    from hpcwise.head.settings import find_configs
    from hpcwise.launch.discover import drift, merged

    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(
            f"--name: {printable(repr(name))} is not usable; use 1 to 40 letters, digits, '-' or '_'"
        )
    now, known = _found(shared_dir)
    path = find_configs() / "clusters" / f"{name or now.cluster}.yaml"
    lines: list[str] = []
    if path.is_file():
        ours, _ = read(path.stem)
        if ours.qos != now.qos:
            now, _ = _found(shared_dir, ours.qos)
        lines = drift(ours, now)
        now = merged(ours, now) if rewrite else ours
    if rewrite or not path.is_file():
        write(path, now, known)
        done = "written"
    else:
        done = "unchanged" if not lines else "differs; --write takes Slurm's facts over"
    if as_json:
        print_json({"path": str(path), "cluster": now, "drift": lines, "done": done})
        return 0
    _print(now, path, None)
    for line in lines:
        click.echo(f"drift         {line}")
    click.echo(f"file          {relative(path)}: {done}")
    for pool in now.pools:
        if not pool.use:
            click.echo(f"note          pools.{pool.pool}: GPU {pool.gpu!r} is unknown; set hardware and use")
    return 0


@cluster_command.command("check")
@click.argument("name", shell_complete=sites)
@json_option
def check_command(name: str, as_json: bool) -> int:
    """Compare the file with what Slurm says now; one line for each difference, and exit code 1."""
    from hpcwise.launch.discover import drift

    ours, path = read(name)
    now, _ = _found(ours.shared_dir, ours.qos)
    lines = drift(ours, now)
    if as_json:
        print_json({"path": str(path), "drift": lines})
    else:
        for line in lines:
            click.echo(f"{path.name}: {line}")
        if not lines:
            click.echo(f"{path.name}: as Slurm says")
    return _EXIT_DRIFT if lines else 0


@cluster_command.command("show")
@click.argument("name", shell_complete=sites)
@json_option
def show_command(name: str, as_json: bool) -> None:
    """The file of a cluster, with what was learned of its queues."""
    ours, path = read(name)
    learned = read_learned(path)
    if as_json:
        print_json({"path": str(path), "cluster": ours, "learned": learned})
        return
    _print(ours, path, learned)


@cluster_command.command("learn")
@click.argument("name", shell_complete=sites)
@click.option("--days", type=click.IntRange(1, 3660), default=60, show_default=True, help="Of accounting.")
@click.option(
    "--swf", type=click.Path(path_type=Path), metavar="FILE", help="A log in the Standard Workload Format."
)
@click.option("--partition", metavar="NAME", help="With --swf: the partition that the log is of.")
@click.option(
    "--nights", type=click.IntRange(0, 2000), default=80, show_default=True,
    help="Of the past, rehearsed with the contract's policy; 0 for none.",
)  # fmt: skip
@json_option
def learn_command(
    name: str, days: int, swf: Path | None, partition: str | None, nights: int, as_json: bool
) -> None:
    """Learn how long jobs wait, by partition, size, walltime and hour, from sacct or from a log.

    Where few jobs are known, coarser groups answer. Nights of that past are rehearsed, so that contracts
    promise what would have held. Written to configs/clusters/NAME.waits.json.
    """
    from hpcwise.cli.contractlearn import rehearsed

    ours, path = read(name)
    made, samples = _of_swf(swf, partition, ours) if swf is not None else _of_sacct(ours, days)
    before = read_learned(path)
    if before is not None:
        made = msgspec.structs.replace(made, calibration=before.calibration)
    calibration, why_not = rehearsed(ours, path, made, samples, nights)
    if calibration is not None:
        made = msgspec.structs.replace(made, calibration=calibration)
    target = write_learned(path, made)
    if as_json:
        print_json({"path": str(target), "jobs": made.waits.jobs, "cells": len(made.waits.cells),
                    "evictions_per_h": made.evictions_per_h, "source": made.waits.source,
                    "calibration": calibration, "not_rehearsed": why_not})  # fmt: skip
        return
    click.echo(f"learned       {made.waits.jobs} jobs of {made.waits.source}, {len(made.waits.cells)} groups")
    if made.waits.jobs < 200:
        click.echo("note          few jobs: waits are rough; learn again when more have run")
    _print_waits(ours, made)
    _print_rehearsed(calibration, why_not)
    click.echo(f"file          {relative(target)}")


def _found(shared_dir: str | None, qos: str = "") -> tuple[Cluster, tuple[str, ...]]:
    """qos: that the file of this cluster says, if there is one."""
    from hpcwise.head.settings import find_configs, read_hardware
    from hpcwise.launch.discover import cluster_of
    from hpcwise.launch.slurmquery import ask_site

    known = tuple(read_hardware(find_configs() / "hardware.yaml").hardware)
    return cluster_of(ask_site(), known, shared_dir or _shared_dir(), qos=qos), known


def _shared_dir() -> str:
    """Sites name their shared folders in variables; a home is shared nearly everywhere."""
    for variable in ("SCRATCH", "WORK", "PROJECT"):
        if os.environ.get(variable, "").startswith("/"):
            return os.environ[variable]
    return str(Path.home())


def _print_rehearsed(calibration: Calibration | None, why_not: str) -> None:
    if calibration is None:
        click.echo(f"rehearsed     no nights: {why_not}")
        return
    held = ", ".join(
        f"at {100 * float(level):.0f} % held {100 * share:.0f} % (stretch {calibration.stretch[level]:.2f})"
        for level, share in calibration.held.items()
    )
    click.echo(f"rehearsed     {calibration.nights} nights of that past; promises {held}")


def _of_sacct(ours: Cluster, days: int) -> tuple[Learned, list[WaitSample]]:
    from hpcwise.core.queuewait import learn
    from hpcwise.launch.slurmquery import ask_past, evictions, parse_past

    text = ask_past(days)
    samples, first, last = parse_past(text)
    if not samples:
        raise UsageError(f"sacct: knows no job of {days} days; use --days, or a log with --swf FILE")
    spot = frozenset(pool.partition for pool in ours.pools if pool.preempts != "off")
    n, hours = evictions(text, spot)
    # One eviction in ten hours is assumed at first, and forgotten as hours are seen.
    rate = (n + 1) / (hours + 10)
    waits = learn(samples, f"sacct, {days} days", first, last)
    return Learned(waits=waits, evictions_per_h=round(rate, 4)), samples


def _of_swf(path: Path, partition: str | None, ours: Cluster) -> tuple[Learned, list[WaitSample]]:
    from datetime import datetime

    from hpcwise.core.queuewait import learn
    from hpcwise.sim.swf import read_swf

    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a log in the Standard Workload Format") from None
    names = list(dict.fromkeys(pool.partition for pool in ours.pools))
    chosen = partition or names[0]
    if chosen not in names:
        raise UsageError(f"--partition: {chosen!r} is not one of {ours.cluster!r}; use {', '.join(names)}")
    log = read_swf(text.splitlines(), path.name)
    node = next(pool.cpus_per_node for pool in ours.pools if pool.partition == chosen)
    per_node = log.max_procs / log.max_nodes if log.max_nodes and log.max_procs else node
    samples = [
        WaitSample(
            partition=chosen,
            nodes=max(1, round(job.procs / max(1.0, per_node))),
            walltime_s=job.walltime_s if job.walltime_s > 0 else max(job.run_s, 60.0),
            hour=datetime.fromtimestamp(log.start_s + job.submit_s).hour,
            wait_s=job.wait_s,
            started=job.started,
            submit_s=log.start_s + job.submit_s,
        )
        for job in log.jobs
        if job.wait_s >= 0
    ]
    if not samples:
        raise UsageError(f"{path}: says of no job how long it waited (field 3); give another log")
    first, last = log.start_s + log.jobs[0].submit_s, log.start_s + log.jobs[-1].submit_s
    return Learned(waits=learn(samples, path.name, first, last)), samples


def _print(cluster: Cluster, path: Path, learned: Learned | None) -> None:
    out = console()
    for key, value in (
        ("cluster", f"{cluster.cluster}, Slurm {cluster.slurm}"),
        ("account", f"{cluster.account or '-'} of {', '.join(cluster.accounts) or 'none'}"),
        ("accounting", "yes" if cluster.accounting else "no: queue waits need a log (learn --swf)"),
        ("folders", f"{cluster.shared_dir} (shared), {cluster.node_local_dir} (of a node)"),
    ):
        out.print(f"{key:<14}{value}", markup=False)
    columns = ("pool", "nodes", "GPUs", "hardware", "features", "at most", "preempted", "weights or price")
    rows = [
        (
            p.pool if p.use else f"{p.pool} (not used)", p.nodes,
            f"{p.gpus_per_node} {p.gpu}".strip() if p.gpus_per_node else "-", p.hardware,
            ",".join(p.features), format_s(p.max_min * 60) if p.max_min else "-",
            f"{p.preempts}, {format_s(p.grace_s)} notice" if p.preempts != "off" else "no",
            f"${p.usd_per_gpu_h:g} a GPU-hour" if p.usd_per_gpu_h is not None else p.billing_weights or "-",
        )
        for p in cluster.pools
    ]  # fmt: skip
    out.print(table(columns, rows, right=("nodes",)))
    if learned is not None:
        _print_waits(cluster, learned)
    elif learned_path(path).parent.is_dir():
        out.print("waits         nothing learned yet; hpcwise cluster learn", markup=False)


def _print_waits(cluster: Cluster, learned: Learned) -> None:
    out = console()
    rows = []
    for partition in dict.fromkeys(pool.partition for pool in cluster.pools if pool.use):
        for hour in (9, 22):
            waits = learned.waits.waits(partition, 1, 2 * 3600, hour)
            rows.append(
                (f"{partition}, 1 node, 2 h, at {hour}:00", format_s(waits.at(0.5)), format_s(waits.at(0.9)),
                 waits.n, waits.of)
            )  # fmt: skip
    columns = ("waits of", "half within", "nine of ten", "jobs", "known from")
    out.print(table(columns, rows, right=columns[1:4]))
