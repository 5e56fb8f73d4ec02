"""A worker process from start to end: `run_worker(config)` is what a launch runs.

The order matters. Thread counts must be in the environment before numpy or a model library is imported,
and submitit's signal handlers must be replaced: it ignores SIGTERM, which is the notice of an eviction.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hpcwise.core.errors import HpcwiseError
from hpcwise.core.resources import Rank
from hpcwise.wire.start import WorkerConfig

if TYPE_CHECKING:
    from hpcwise.worker.loop import Signals

log = logging.getLogger("hpcwise.worker")

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS",
)  # fmt: skip


def run_worker(encoded: bytes) -> str:
    """Run the worker that `encoded` (JSON of a WorkerConfig) describes; returns why it left.

    Raises HpcwiseError where it cannot work at all (no keys, another protocol, no store).
    """
    started_s = time.monotonic()
    config = msgspec.json.decode(encoded, type=WorkerConfig)
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(config.threads)
    # MKL may choose other kernels for other memory addresses; equal recipes are to give equal bytes.
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
    _lead_group()
    from hpcwise.store.paths import RunPaths

    paths = RunPaths(Path(config.run_dir))
    paths.worker(config.worker_id).mkdir(mode=0o700, parents=True, exist_ok=True)
    _log_to(paths.worker_log(config.worker_id))
    log.info("worker %s on %s, process %d", config.worker_id, socket.gethostname(), os.getpid())
    try:
        reason = _work(config, started_s)
    except HpcwiseError as error:
        log.error("%s", error)
        raise
    except BaseException:
        log.exception("the worker failed")
        raise
    log.info("left: %s", reason)
    return reason


def _work(config: WorkerConfig, started_s: float) -> str:
    """Build the parts, run, take them down again. Imports are here: see the module docstring."""
    import zmq

    from hpcwise.models.base import Devices
    from hpcwise.models.registry import Registry
    from hpcwise.store.artifacts import Store
    from hpcwise.store.keys import load_keys
    from hpcwise.store.paths import RunPaths
    from hpcwise.worker.link import Link
    from hpcwise.worker.loop import Signals, Worker
    from hpcwise.worker.pulse import Pulse
    from hpcwise.worker.shelf import Shelf

    signals = Signals()
    _listen(signals)
    paths = RunPaths(Path(config.run_dir))
    cards = Registry.read(Path(config.configs_dir) / "models", Path(config.models_dir))
    devices = Devices(config.device_kind, _visible_devices(config.device_kind), config.threads)
    local_cache = paths.node_cache(Path(config.local_cache)) if config.local_cache else None
    store = Store(paths, local_cache, config.local_cache_gb, durable=config.durable)
    base = Path(config.scratch) if config.scratch else paths.worker(config.worker_id)
    work = base / f"work-{secrets.token_hex(4)}"
    work.mkdir(mode=0o700, parents=True)
    context = zmq.Context()
    client = load_keys(paths).client
    pair = client.public.encode(), client.secret.encode()
    pulse = Pulse(context, paths, pair, config.worker_id, config.heartbeat_s)
    ranks = (Rank(socket.gethostname(), devices.indices),)
    worker = Worker(config, store, Shelf(cards, devices), pulse, signals, work, ranks, started_s)
    link = Link(context, pulse, config.worker_id, secrets.token_hex(8), worker.say)
    pulse.start()
    try:
        return worker.run(link)
    finally:
        pulse.stop()
        link.close()
        context.term()
        shutil.rmtree(work, ignore_errors=True)


def _listen(signals: Signals) -> None:
    def note(_signum: int, _frame: types.FrameType | None) -> None:
        signals.terms += 1

    # USR2 is what submitit has Slurm send before the time limit and, where a site allows it, on preemption.
    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGUSR2, note)


def _lead_group() -> None:
    """Lead a process group, so that a kill reaches the helpers that a model starts."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def _visible_devices(kind: str) -> tuple[int, ...]:
    """Device indices that the launch gave to this process."""
    if kind == "cpu":
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(int(index) for index in visible.split(",") if index.strip().isdigit())


def _log_to(path: Path) -> None:
    logging.basicConfig(
        filename=path,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
