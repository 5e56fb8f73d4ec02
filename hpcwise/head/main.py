"""`python -m hpcwise.head --run-dir DIR`: claim the epoch, recover, serve.

The order is what keeps two heads apart: look whether one lives, claim the next epoch (which fences the
old one), let it fall silent, only then read what it wrote.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import zmq

import hpcwise
from hpcwise.core.errors import HeadExists, HpcwiseError, StaleEpoch, UsageError, WireError, WrongVersion
from hpcwise.head.config import HeadConfig, code_digest, digest
from hpcwise.head.loop import EXIT_STALE, Head
from hpcwise.head.recover import recover
from hpcwise.head.settings import Settings, find_configs, find_models_dir, read_settings
from hpcwise.launch.base import Launcher
from hpcwise.launch.jobs import SlurmLauncher
from hpcwise.launch.launcher import SubmititLauncher
from hpcwise.launch.steps import StepsLauncher, allocation, in_allocation
from hpcwise.store.epoch import OwnerInfo, claim
from hpcwise.store.journal import JournalHeader, JournalWriter
from hpcwise.store.keys import Keys, ensure_keys
from hpcwise.store.paths import RunPaths, storage_errors, write_beside
from hpcwise.wire.sockets import CurveKeys, ServerSocket, find_head
from hpcwise.wire.start import HeadAddress

log = logging.getLogger("hpcwise.head")

#: How long a head is asked whether it lives, and how long an old one has to fall silent, seconds.
PROBE_S = 1.0
SILENCE_S = 5.0
#: How long workers live without a head: a person starts the next one, or Slurm requeues its job, which
#: takes minutes.
PATIENCE_S = 120.0
SLURM_PATIENCE_S = 600.0


def run_head(config: HeadConfig, ready: Callable[[HeadAddress], None] = lambda _address: None) -> int:
    """Serve the run directory until stopped; returns the exit status (3: another head took over, 70: a
    bug, whose traceback is in the log).

    ready: called when workers and clients may come. Raises HeadExists, UsageError and StoreError.
    """
    paths = RunPaths(Path(config.run_dir))
    paths.create()
    keys = ensure_keys(paths)
    old = _read_address(paths)
    if old is not None and not config.takeover and _answers(old, keys, old.epoch):
        raise HeadExists(
            f"{paths.root}: a head of epoch {old.epoch} runs on {old.host} (process {old.pid}); "
            "stop it with `hpcwise head stop`, or take over"
        )
    owner = OwnerInfo(
        host=socket.gethostname(), pid=os.getpid(), started_s=time.time(), nonce=secrets.token_hex(8)
    )
    epoch = claim(paths, owner)
    if old is not None:
        _let_fall_silent(old, keys, epoch.number)
    engine_config = config.settings.engine
    recovered = recover(paths, engine_config)
    log.info("epoch %d: recovered %d records", epoch.number, recovered.records)
    header = JournalHeader(
        epoch=epoch.number,
        version=hpcwise.__version__,
        code_hash=code_digest(),
        config_hash=digest(msgspec.structs.replace(engine_config, catalogue=type(engine_config.catalogue)())),
        profiles_hash=digest(engine_config.catalogue),
        created_s=time.time(),
    )
    writer = JournalWriter(paths.journal_file(epoch.number), header)
    interface = config.settings.interface or ("127.0.0.1" if config.settings.cluster == "local" else "*")
    server = ServerSocket(_server_keys(keys), interface)
    address = HeadAddress(
        epoch=epoch.number,
        addresses=server.addresses,
        server_public=keys.server.public,
        pid=os.getpid(),
        host=owner.host,
        version=hpcwise.__version__,
        started_wall_s=owner.started_s,
    )
    launcher = _launcher(config, paths)

    def advertise() -> None:
        with storage_errors(paths.head_json):
            write_beside(paths.head_json, address.encode())
        log.info("epoch %d at %s", epoch.number, ", ".join(server.addresses))
        ready(address)

    async def serve() -> int:
        head = Head(config, paths, epoch, recovered, writer, server, launcher, hpcwise.__version__)
        return await head.run(advertise)

    # What was made so far lives as long as the head; full collections would stop it for tens of
    # milliseconds each time at ten thousand tasks.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)
    return asyncio.run(serve())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the head's process."""
    parser = argparse.ArgumentParser(prog="python -m hpcwise.head", description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", type=Path, required=True, help="journal, store, keys and inbox")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where films go")
    parser.add_argument("--configs", type=Path, default=None, help="folder of head.yaml and models/")
    parser.add_argument("--models-dir", type=Path, default=None, help="where model files are kept")
    parser.add_argument("--workers", type=int, default=None, help="workers at most (default: one a core)")
    parser.add_argument("--cluster", default="", help="name of a Slurm site in configs/clusters/")
    parser.add_argument("--hand-over", action="store_true", help="keep workers at SIGTERM, for the next head")
    parser.add_argument("--takeover", action="store_true", help="replace a head that still runs")
    parser.add_argument("--log", type=Path, default=None, help="log file (default: standard error)")
    chosen = parser.parse_args(arguments)
    _log_to(chosen.log)
    try:
        settings = read_settings(
            chosen.configs or find_configs(), chosen.models_dir or find_models_dir(), chosen.workers,
            chosen.cluster,
        )  # fmt: skip
        settings = within_allocation(settings)
        config = HeadConfig(
            run_dir=str(chosen.run_dir.absolute()),
            results_dir=str(chosen.results_dir.absolute()),
            settings=settings,
            takeover=chosen.takeover,
            hand_over=chosen.hand_over,
            patience_s=PATIENCE_S if settings.cluster == "local" else SLURM_PATIENCE_S,
        )
        return run_head(config)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except HpcwiseError as error:
        log.error("%s", error)
        print(f"error: {error}", file=sys.stderr)
        return EXIT_STALE if isinstance(error, HeadExists) else 1


def within_allocation(settings: Settings) -> Settings:
    """With steps, the fleet is what the allocation has that this process runs in; else as it is.

    Raises UsageError where it runs in none.
    """
    if settings.cluster != "steps":
        return settings
    where = allocation(os.environ)
    if where is None:
        raise UsageError(
            f"cluster {settings.site}: mode: steps needs an allocation to run in; start the head with salloc "
            "or sbatch, or `hpcwise head start --cluster` does it"
        )
    profiles = in_allocation(settings.launch, where)
    nodes = {kind: sum(c.nodes for c in where.components if c.partition == p.partition)
             for kind, p in profiles.items()}  # fmt: skip
    for item in settings.engine.fleet:
        if item.nodes > nodes.get(item.kind, item.nodes):
            raise UsageError(
                f"cluster {settings.site}: a replica {item.kind} takes {item.nodes} nodes, this allocation "
                f"has {nodes[item.kind]}; start the head with more"
            )
    fleet = tuple(
        msgspec.structs.replace(
            item, max_workers=max(1, min(item.max_workers, nodes[item.kind] // item.nodes * most))
        )
        for item in settings.engine.fleet
        if item.kind in profiles and (most := settings.per_node.get(item.kind, 1))
    )
    engine = msgspec.structs.replace(settings.engine, fleet=fleet)
    return msgspec.structs.replace(settings, engine=engine, launch=profiles)


def _launcher(config: HeadConfig, paths: RunPaths) -> Launcher:
    settings = config.settings
    if settings.cluster == "slurm":
        return SlurmLauncher(paths.workers, settings.launch, rpcs_per_minute=config.rpcs_per_minute)
    where = allocation(os.environ) if settings.cluster == "steps" else None
    if where is not None:
        return StepsLauncher(paths.workers, settings.launch, where)
    return SubmititLauncher(paths.workers, settings.launch)


def _read_address(paths: RunPaths) -> HeadAddress | None:
    try:
        return HeadAddress.decode(paths.head_json.read_bytes())
    except (FileNotFoundError, WireError):
        return None


def _answers(address: HeadAddress, keys: Keys, epoch: int) -> bool:
    """Whether a head of `epoch` answers at `address`. One of this host whose process is gone does not."""
    if address.host == socket.gethostname() and not Path(f"/proc/{address.pid}").exists():
        return False
    context = zmq.Context()
    pair = CurveKeys(keys.client.public.encode(), keys.client.secret.encode(), keys.server.public.encode())
    try:
        find_head(context, pair, address.addresses, epoch, PROBE_S)
        return True
    except WrongVersion:
        return True  # it lives, and speaks another version
    except StaleEpoch:
        return True
    except WireError:
        return False
    finally:
        context.term()


def _let_fall_silent(old: HeadAddress, keys: Keys, epoch: int) -> None:
    """The probe carries our epoch: a head that hears of it stops, without another word in its journal."""
    until_s = time.monotonic() + SILENCE_S
    while _answers(old, keys, epoch):
        if time.monotonic() > until_s:
            raise HeadExists(f"the head of epoch {old.epoch} on {old.host} (process {old.pid}) does not stop")


def _server_keys(keys: Keys) -> CurveKeys:
    return CurveKeys(keys.server.public.encode(), keys.server.secret.encode(), keys.client.public.encode())


def _log_to(path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=path,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
