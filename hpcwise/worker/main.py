"""A worker process from start to end: `run_worker(config)` is what a launch runs.

The order matters. Thread counts must be in the environment before numpy or a model library is imported,
and submitit's signal handlers must be replaced: it ignores SIGTERM, which is the notice of an eviction.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hpcwise.core.errors import DiskFull, HpcwiseError, Unhealthy
from hpcwise.core.resources import Rank
from hpcwise.wire.start import WorkerConfig

if TYPE_CHECKING:
    from hpcwise.models.base import Devices
    from hpcwise.worker.gangplace import Place
    from hpcwise.worker.loop import Signals

log = logging.getLogger("hpcwise.worker")

#: Two SIGTERMs within so many seconds are one.
ECHO_S = 1.0
#: Clocks of nodes may differ by so much without a word, seconds.
SKEW_S = 60.0
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS",
)  # fmt: skip


def run_worker(encoded: bytes) -> str:
    """Run the worker that `encoded` (JSON of a WorkerConfig) describes; returns why it left.

    Raises HpcwiseError where it cannot work at all (no keys, another protocol, no store).
    """
    from hpcwise.worker import restart

    now_s = time.monotonic()
    began_s = restart.began_s(os.environ, now_s)
    config = with_real_end(
        lived(msgspec.json.decode(encoded, type=WorkerConfig), now_s - began_s), os.environ, time.time()
    )
    config = with_local_cache(config, os.environ)
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(config.threads)
    # MKL may choose other kernels for other memory addresses; equal recipes are to give equal bytes.
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
    _lead_group()
    from hpcwise.store.paths import RunPaths
    from hpcwise.worker.gang import flush_and_exit
    from hpcwise.worker.gangplace import place

    paths = RunPaths(Path(config.run_dir))
    paths.worker(config.worker_id).mkdir(mode=0o700, parents=True, exist_ok=True)
    where = place(config, os.environ)
    name = config.worker_id
    _log_to(paths.rank_log(name, where.rank) if where.rank else paths.worker_log(name))
    job = os.environ.get("SLURM_JOB_ID")
    log.info(
        "worker %s on %s, process %d%s, %s", config.worker_id, socket.gethostname(), os.getpid(),
        f", job {job}" if job else "",
        "no end" if config.lifetime_s is None else f"{config.lifetime_s:.0f} s to live",
    )  # fmt: skip
    try:
        reason, again = (_follow(config, where), False) if where.rank else _work(config, now_s, where)
    except HpcwiseError as error:
        log.error("%s", error)
        raise
    except BaseException:
        log.exception("the worker failed")
        raise
    if again:
        restart.replace(began_s, time.monotonic())
    log.info("left: %s", reason)
    if where.world > 1:
        flush_and_exit(0)
    return reason


def _follow(config: WorkerConfig, where: Place) -> str:
    """A process of a gang other than its first: it talks to that one only, which decides when it is over."""
    from hpcwise.models.registry import Registry
    from hpcwise.store.paths import RunPaths
    from hpcwise.worker.gang import Follower
    from hpcwise.worker.gangmate import assist
    from hpcwise.worker.health import Health, product_on
    from hpcwise.worker.nvml import Gpus, gpus
    from hpcwise.worker.power import Meter
    from hpcwise.worker.room import Room

    for notice in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(notice, signal.SIG_IGN)
    cards = Registry.read(Path(config.configs_dir) / "models", Path(config.models_dir))
    paths = RunPaths(Path(config.run_dir))
    own, devices = _own_devices(config, where)
    seen = gpus() if devices.kind == "cuda" else Gpus()
    room = Room(devices.kind, config.memory_gb, seen.found)
    unhealthy = ""
    product = functools.cache(lambda: product_on(devices, seen))
    health = Health(seen, paths.worker(config.worker_id), product, config.durable)
    try:
        health.look()
    except Unhealthy as error:
        unhealthy = str(error)
    except DiskFull:
        pass  # rank 0 sees it too, and says so
    meter = Meter(seen.found, shared=room.share < 1)
    gang = Follower(config, paths, where, own, unhealthy)
    gang.spoke.meter, gang.spoke.unwell = meter.own_joules, health.wrong_cards
    try:
        return assist(gang, cards, dataclasses.replace(devices, mates=gang, share=room.share), room)
    finally:
        gang.close()
        meter.close()


def _work(config: WorkerConfig, started_s: float, where: Place) -> tuple[str, bool]:
    """Build the parts, run, take them down again. Why it left, and whether a fresh process is to go on.

    Imports are here: see the module docstring.
    """
    import zmq

    from hpcwise.models.registry import Registry
    from hpcwise.store.artifacts import Store
    from hpcwise.store.keys import load_keys
    from hpcwise.store.paths import RunPaths
    from hpcwise.worker import restart
    from hpcwise.worker.gang import Gang, GangShelf
    from hpcwise.worker.health import Health, product_on
    from hpcwise.worker.link import Link
    from hpcwise.worker.loop import Signals, Worker
    from hpcwise.worker.nvml import Gpus, gpus
    from hpcwise.worker.power import Meter
    from hpcwise.worker.pulse import Pulse
    from hpcwise.worker.room import Room
    from hpcwise.worker.shelf import Shelf

    signals = Signals()
    _listen(signals)
    restart.listen_again()
    paths = RunPaths(Path(config.run_dir))
    cards = Registry.read(Path(config.configs_dir) / "models", Path(config.models_dir))
    own, devices = _own_devices(config, where)
    gang = Gang(config, paths, where, own) if where.world > 1 else None
    seen = gpus() if devices.kind == "cuda" else Gpus()
    room = Room(devices.kind, config.memory_gb, seen.found)
    devices = dataclasses.replace(devices, mates=gang, share=room.share)
    shelf = Shelf(cards, devices, room) if gang is None else GangShelf(cards, devices, room, gang)
    meter = Meter(seen.found, shared=room.share < 1, others=gang.joules if gang else lambda: 0.0)
    product = functools.cache(lambda: product_on(devices, seen))
    health = Health(seen, paths.worker(config.worker_id), product, config.durable)
    local_cache = paths.node_cache(Path(config.local_cache)) if config.local_cache else None
    store = Store(paths, local_cache, config.local_cache_gb, durable=config.durable)
    base = Path(config.scratch) if config.scratch else paths.worker(config.worker_id)
    work = base / f"work-{secrets.token_hex(4)}"
    work.mkdir(mode=0o700, parents=True)
    context = zmq.Context()
    client = load_keys(paths).client
    pair = client.public.encode(), client.secret.encode()
    pulse = Pulse(context, paths, pair, config.worker_id, config.heartbeat_s)
    ranks = (own,) if gang is None else gang.ranks
    worker = Worker(config, store, shelf, pulse, signals, work, ranks, started_s, meter, health, gang)
    link = Link(context, pulse, config.worker_id, secrets.token_hex(8), worker.say)
    pulse.start()
    reason = "it failed"
    try:
        reason = worker.run(link)
        return reason, worker.again
    finally:
        if gang is not None:
            gang.close(reason)
        pulse.stop()
        link.close()
        meter.close()
        context.term()
        shutil.rmtree(work, ignore_errors=True)


def _listen(signals: Signals) -> None:
    """Notices that this worker has to give way. submitit ignores SIGTERM, which is Slurm's; SIGUSR2 comes
    before the end of the walltime, and at a preemption where a site sends it too."""

    def term(_signum: int, _frame: types.FrameType | None) -> None:
        # slurmd signals the task, and srun beside the batch script hands on its copy: one notice, not two.
        now_s = time.monotonic()
        if now_s - signals.term_s > ECHO_S:
            signals.terms += 1
            signals.term_s = now_s

    def warn(_signum: int, _frame: types.FrameType | None) -> None:
        signals.warned = True

    signal.signal(signal.SIGTERM, term)
    signal.signal(signal.SIGUSR2, warn)


def lived(config: WorkerConfig, seconds: float) -> WorkerConfig:
    """The same for a worker that is so old already: its process was replaced."""
    if config.lifetime_s is None or not seconds:
        return config
    return msgspec.structs.replace(config, lifetime_s=config.lifetime_s - seconds)


def with_real_end(config: WorkerConfig, environment: Mapping[str, str], now_wall_s: float) -> WorkerConfig:
    """The lifetime that Slurm gives this job, in place of the one that was asked for.

    SLURM_JOB_END_TIME is Slurm's own (24.11 and newer); HPCWISE_END_S is set by the batch script. A value
    that is over already, or far later than the walltime, is of another clock: what was asked for counts.
    """
    text = environment.get("SLURM_JOB_END_TIME") or environment.get("HPCWISE_END_S") or ""
    if not text.isdigit():
        return config
    left_s = int(text) - now_wall_s
    asked_s = config.lifetime_s
    if left_s <= 0 or (asked_s is not None and left_s > asked_s + SKEW_S):
        log.error(
            "this node's clock and Slurm's differ: the job would end in %.0f s, %s s were asked for; "
            "have the clocks set (chrony, ntpd)", left_s, asked_s,
        )  # fmt: skip
        return config
    return msgspec.structs.replace(config, lifetime_s=left_s)


def with_local_cache(config: WorkerConfig, environment: Mapping[str, str]) -> WorkerConfig:
    """Variables of the node in `local_cache` filled in; no cache where that is no folder to write to."""
    path = re.sub(r"\$\{?(\w+)\}?", lambda found: environment.get(found[1], "?"), config.local_cache)
    usable = path.startswith("/") and "?" not in path and os.access(path, os.W_OK | os.X_OK)
    return msgspec.structs.replace(config, local_cache=path if usable else "")


def _lead_group() -> None:
    """Lead a process group, so that a kill reaches the helpers that a model starts."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def _own_devices(config: WorkerConfig, where: Place) -> tuple[Rank, Devices]:
    """What this process computes on: as the node counts its devices, and as this process does.

    A rank whose node shows it several devices takes one, by its number there; one that Slurm has given its
    own (--gpus-per-task) keeps it."""
    from hpcwise.models.base import Devices
    from hpcwise.worker.nvml import gpus, named

    names = named(os.environ) if config.device_kind != "cpu" else ()
    if names is None:  # all that there are
        names = tuple(gpu.name for gpu in gpus(os.environ).found)
    if where.world > 1 and len(names) > 1:
        names = names[where.local : where.local + 1]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
    # A UUID says nothing of a place on the node; NVML knows it.
    known = () if all(map(str.isdigit, names)) else gpus(os.environ).found
    places = {gpu.name: gpu.index for gpu in known}
    on_node = tuple(int(name) if name.isdigit() else places.get(name, i) for i, name in enumerate(names))
    counted = tuple(range(len(names)))
    devices = Devices(config.device_kind, counted, config.threads, where.rank, where.world)
    return Rank(socket.gethostname(), on_node), devices


def _log_to(path: Path) -> None:
    logging.basicConfig(
        filename=path,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
