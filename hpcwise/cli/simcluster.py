"""The cluster of `hpcwise simulate`: out of a file, of a list of devices, or this machine's own head.yaml."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.core.resources import FleetItem
from hpcwise.core.spec import JobSpec
from hpcwise.head.planning import read_planning
from hpcwise.head.settings import find_configs, find_models_dir, read_file, read_settings
from hpcwise.sim.arrivals import at_once
from hpcwise.sim.config import Loss, SimConfig, Site
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import Workload

#: Cores beside a list of devices: for what needs no accelerator.
_CORES: Final = "cores"
_MOST_DEVICES: Final = 4096
#: Fields of SimConfig that a file and `--set` may name.
_KNOBS: Final = tuple(
    f.name for f in msgspec.structs.fields(SimConfig) if f.name not in ("engine", "truth", "sites", "losses")
)


class Workers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of a cluster file: `workers` replicas of `gpus` devices each. See FleetItem and Site."""

    kind: str
    hardware: str
    models: tuple[str, ...]
    workers: int = 1
    min_workers: int | None = None
    gpus: int = 1
    nodes: int = 1
    memory_gb: float = 0.0
    launch_s: float = 1.0
    idle_timeout_s: float = 60.0
    region: str = ""
    zone: str = ""
    spot: bool = False
    infiniband: bool = False
    cold: bool = False
    lifetime_s: float | None = None
    queue_s: float = 0.0
    queue_sigma: float = 0.0
    evictions_per_h: float = 0.0
    crashes_per_h: float = 0.0


class ClusterFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `--cluster` reads. simulation: fields of SimConfig by name. profiles: a set of
    configs/profiles/, empty for the cards' own."""

    workers: tuple[Workers, ...]
    profiles: str = "streamwise"
    policy: str = "streamwise"
    losses: tuple[Loss, ...] = ()
    simulation: dict[str, float | bool] = {}


def of_this_machine() -> SimConfig:
    """The fleet of head.yaml, as `hpcwise generate` would use it here."""
    return SimConfig(engine=read_settings(find_configs(), find_models_dir()).engine)


def of_file(path: Path) -> SimConfig:
    """Raises UsageError that names the file, the entry and the fix."""
    made = read_file(path, ClusterFile)
    catalogue = read_planning(find_configs(), made.profiles)
    items, sites = [], {}
    for i, entry in enumerate(made.workers):
        where = f"{path}: workers[{i}] {entry.kind}"
        for name, value in (("gpus", entry.gpus), ("nodes", entry.nodes)):
            if not 1 <= value <= _MOST_DEVICES:
                raise UsageError(f"{where}.{name}: {value} is not usable; choose 1 to {_MOST_DEVICES}")
        if entry.gpus % entry.nodes:
            raise UsageError(f"{where}.gpus: {entry.gpus} are not spread evenly over {entry.nodes} nodes")
        _check_hardware(where, entry.hardware, catalogue)
        items.append(_item(entry, catalogue))
        names = [f.name for f in msgspec.structs.fields(Site)]
        sites[entry.kind] = Site(**{name: getattr(entry, name) for name in names})
    engine = EngineConfig(catalogue=catalogue, fleet=tuple(items), policy=made.policy)
    config = SimConfig(engine=engine, sites=sites, losses=made.losses)
    return with_knobs(config, made.simulation, f"{path}: simulation")


def of_devices(text: str, job: JobSpec, workload: Workload, profiles: str) -> SimConfig:
    """`a100=8,h200=4`: each device a worker, and the models shared out over them by the work of `job`.

    That is naive static partitioning (StreamWise section 5); a plan with replicas of several devices comes
    from a cluster file. Raises UsageError.
    """
    counts = devices_of(text)
    catalogue = read_planning(find_configs(), profiles)
    for hardware in counts:
        _check_hardware("--fleet", hardware, catalogue)
    work_s = {hardware: _work_s(job, workload, catalogue, hardware) for hardware in counts}
    items: list[FleetItem] = []
    covered: set[str] = set()
    for hardware, n in counts.items():
        for names, workers in share_out(work_s[hardware], n, catalogue, hardware):
            covered.update(names)
            items.append(_device(hardware, names, workers, catalogue))
    left = tuple(sorted({name for each in work_s.values() for name in each} - covered))
    needed = _needed(job, workload, catalogue)
    rest = tuple(name for name in needed if name not in covered)
    if rest or left:
        # What has no profile on these devices runs on cores beside them.
        items.append(
            FleetItem(
                kind=_CORES,
                hardware="cpu",
                models=rest or left,
                min_workers=2,
                max_workers=2,
                idle_timeout_s=1e9,
            )
        )
    return SimConfig(engine=EngineConfig(catalogue=catalogue, fleet=tuple(items)), warm=True)


def devices_of(text: str) -> dict[str, int]:
    """`a100=8,h200=4` as numbers by hardware; raises UsageError."""
    counts: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        found = re.fullmatch(r"([A-Za-z0-9_.-]+)=(-?\d+)", part)
        if found is None:
            raise UsageError(f"--fleet: {part!r} is not HARDWARE=NUMBER; write such as a100=8,h200=4")
        name, number = found[1], int(found[2])
        if not 0 <= number <= _MOST_DEVICES:
            raise UsageError(f"--fleet {name}: {number} is not usable; choose 0 to {_MOST_DEVICES}")
        if name in counts:
            raise UsageError(f"--fleet {name}: is named twice; add the numbers up")
        counts[name] = number
    counts = {name: n for name, n in counts.items() if n}
    if not counts:
        raise UsageError("--fleet: has no workers; write such as a100=8,h200=4")
    return counts


def share_out(
    work_s: Mapping[str, float], n: int, catalogue: Catalogue, hardware: str
) -> list[tuple[tuple[str, ...], int]]:
    """Devices by model, in proportion to its work; light models share one. Too few devices host all."""
    light = tuple(sorted(name for name in work_s if catalogue.models[name].light))
    heavy = sorted((name for name in work_s if name not in light), key=lambda name: (-work_s[name], name))
    if n < len(heavy) + bool(light):
        return [(tuple(sorted(work_s)), n)] if work_s else []
    left = n - bool(light)
    total = sum(work_s[name] for name in heavy) or 1.0
    shares = {name: max(1.0, left * work_s[name] / total) for name in heavy}
    given = {name: math.floor(share) for name, share in shares.items()}
    while sum(given.values()) > left:
        several = [name for name in heavy if given[name] > 1]
        given[max(several, key=lambda name: given[name] - left * work_s[name] / total)] -= 1
    for name in sorted(heavy, key=lambda name: (given[name] - shares[name], name)):
        if sum(given.values()) < left:
            given[name] += 1
    found = [((name,), number) for name, number in given.items()]
    return ([(light, 1)] if light else []) + found


def with_knobs(config: SimConfig, knobs: Mapping[str, Any], where: str) -> SimConfig:
    """The configuration with fields of the simulation changed; raises UsageError for one that is none."""
    for name in knobs:
        if name not in _KNOBS:
            raise UsageError(f"{where}.{name}: is not known; known are {', '.join(_KNOBS)}")
    return msgspec.structs.replace(config, **dict(knobs)) if knobs else config


def _needed(job: JobSpec, workload: Workload, catalogue: Catalogue) -> dict[str, float]:
    return _pilot(job, workload, catalogue, "cpu")


def _work_s(job: JobSpec, workload: Workload, catalogue: Catalogue, hardware: str) -> dict[str, float]:
    """Seconds of work by model on one device of `hardware`, of the models that have a profile there."""
    found = _pilot(job, workload, catalogue, hardware)
    return {name: s for name, s in found.items() if hardware in catalogue.models[name].profiles}


def _pilot(job: JobSpec, workload: Workload, catalogue: Catalogue, hardware: str) -> dict[str, float]:
    """Seconds of work by model, from a run where every task has a worker of its own."""
    models = tuple(sorted(catalogue.models))
    item = FleetItem(
        kind="pilot", hardware=hardware, models=models, memory_gb=1e6, min_workers=512, max_workers=512,
        idle_timeout_s=1e9, launch_s=0.0,
    )  # fmt: skip
    engine = EngineConfig(catalogue=catalogue, fleet=(item,), policy="fifo")
    specs: dict[str, str] = {}
    work_s: dict[str, float] = {}

    def watch(_now_s: float, event: m.Event, commands: list[m.Command]) -> None:
        for command in commands:
            if isinstance(command, m.Dispatch):
                spec = simulation.task(command.task_id).spec
                specs[command.task_id] = spec.alternatives[command.alternative].model
        if isinstance(event, m.TaskFinished):
            name = specs[event.task_id]
            work_s[name] = work_s.get(name, 0.0) + event.seconds

    plain = SimConfig(engine=engine, warm=True, tick_s=60.0)
    simulation = Simulation(plain, at_once(job), workload, watch=watch)
    simulation.run()
    return work_s


def _check_hardware(where: str, name: str, catalogue: Catalogue) -> None:
    if name not in catalogue.hardware:
        known = ", ".join(catalogue.hardware)
        raise UsageError(f"{where}: hardware {name!r} is not in hardware.yaml; known are {known}")


def _item(entry: Workers, catalogue: Catalogue) -> FleetItem:
    return FleetItem(
        kind=entry.kind,
        hardware=entry.hardware,
        models=entry.models,
        memory_gb=entry.memory_gb or catalogue.hardware[entry.hardware].memory_gb or 8.0,
        min_workers=entry.workers if entry.min_workers is None else entry.min_workers,
        max_workers=entry.workers,
        idle_timeout_s=entry.idle_timeout_s,
        launch_s=entry.launch_s,
        nodes=entry.nodes,
        devices_per_node=entry.gpus // entry.nodes,
    )


def _device(hardware: str, models: tuple[str, ...], n: int, catalogue: Catalogue) -> FleetItem:
    return FleetItem(
        kind=f"{hardware}:{models[0] if len(models) == 1 else 'light' if n == 1 else 'all'}",
        hardware=hardware,
        models=models,
        memory_gb=catalogue.hardware[hardware].memory_gb or 8.0,
        min_workers=n,
        max_workers=n,
        idle_timeout_s=1e9,
        devices_per_node=1,
    )
