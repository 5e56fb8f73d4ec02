"""What a head is configured with: configs/head.yaml, configs/hardware.yaml and the profiles on the cards
of configs/models/ become one value. The command line reads it too, to show and to check it.

A host's price and power are shared evenly by the workers that it is given, so that a receipt adds up to
what the host costs while all of them work.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from hpcwise.core.billing import DeviceShare, billed, parse_weights
from hpcwise.core.catalogue import Catalogue, Frequency, HardwareInfo, LinearProfile, Link, ModelInfo
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.online import OnlineSettings
from hpcwise.core.provisioner.types import ObjectiveName
from hpcwise.core.resources import FleetItem
from hpcwise.launch.base import LaunchProfile

T = TypeVar("T")
_FIX = "name the folder of configurations in HPCWISE_CONFIGS"


class HardwareEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of configs/hardware.yaml. Prices are of a node; host: all figures are of a whole host."""

    usd_per_h: float = 0.0
    spot_usd_per_h: float = 0.0
    busy_w: float = 0.0
    idle_w: float = 0.0
    tdp_w: float = 0.0
    memory_gb: float = 0.0
    devices_per_node: int = 1
    year: int = 0
    frequencies: tuple[Frequency, ...] = ()
    host: bool = False


class BillingEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site's own prices. weights: Slurm's TRESBillingWeights; devices: what comes with one device."""

    usd_per_unit_h: float
    weights: str
    devices: dict[str, DeviceShare]


class HardwareFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """configs/hardware.yaml."""

    hardware: dict[str, HardwareEntry]
    price_source: str = ""
    billing: BillingEntry | None = None
    links: tuple[Link, ...] = ()


class ProfileFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of configs/profiles/: profiles by model and hardware, in place of those on the cards."""

    profiles: dict[str, dict[str, LinearProfile]]


class FleetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of worker in configs/head.yaml. threads: of one worker. launch: how to ask a cluster for it.
    losses_per_h: evictions and failures of one such worker, null for the usual; how often loops are
    checkpointed follows."""

    kind: str
    hardware: str
    workers: int | Literal["cores"] = 1
    min_workers: int = 0
    threads: int = 1
    models: tuple[str, ...] | Literal["all"] = "all"
    memory_gb: float = 0.0
    idle_timeout_s: float = 60.0
    launch_s: float = 1.0
    device_kind: str = "cpu"
    losses_per_h: float | None = None
    launch: LaunchProfile = LaunchProfile()


class HeadFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """configs/head.yaml. provision: whether plans say how many workers there are and what they hold, or
    demand; `auto`: plans, except on this host alone, whose cores cost the same whether they are used or not.
    objective: what plans minimise."""

    cluster: Literal["local", "slurm"] = "local"
    policy: str = "streamwise"
    provision: bool | Literal["auto"] = "auto"
    objective: ObjectiveName | Literal["auto"] = "auto"
    interface: str = ""
    fleet: tuple[FleetEntry, ...]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. threads, device_kinds, spots and launch: by kind of worker. cluster: what launches workers:
    this host, Slurm jobs (`slurm`) or steps of one allocation. site: name of the cluster file, if any;
    per_node: workers that fit on a node (or the nodes of one), by kind. losses_per_h: of the kinds of which
    it is said."""

    engine: EngineConfig
    cluster: Literal["local", "slurm", "steps"]
    interface: str
    configs_dir: str
    models_dir: str
    threads: dict[str, int]
    device_kinds: dict[str, str]
    launch: dict[str, LaunchProfile]
    spots: frozenset[str] = frozenset()
    losses_per_h: dict[str, float] = {}
    site: str = ""
    per_node: dict[str, int] = {}
    node_local_dir: str = ""
    shared_dir: str = ""
    provision: OnlineSettings | None = None


def read_settings(
    configs_dir: Path, models_dir: Path, workers: int | None = None, cluster: str = ""
) -> Settings:
    """Read and join the files; `workers` replaces the number of each kind that says `cores`.

    cluster: name of a file in configs/clusters/, whose pools are the fleet in place of head.yaml's. Raises
    UsageError that names the file and the field.
    """
    from hpcwise.head import clusterfile

    if cluster:
        return _of_cluster(configs_dir, models_dir, workers, cluster)
    head = read_file(configs_dir / "head.yaml", HeadFile)
    prices = read_hardware(configs_dir / "hardware.yaml")
    models = runnable(configs_dir, {entry.hardware for entry in head.fleet})
    cores = workers if workers is not None else len(os.sched_getaffinity(0))
    fleet: list[FleetItem] = []
    per_host: dict[str, int] = {}
    for entry in head.fleet:
        where = f"{configs_dir / 'head.yaml'}: fleet.{entry.kind}"
        number = cores if entry.workers == "cores" else entry.workers
        if not 1 <= number <= 1024:
            raise UsageError(f"{where}.workers: {number} is not usable; choose 1 to 1024")
        if entry.hardware not in prices.hardware:
            known = ", ".join(prices.hardware)
            raise UsageError(f"{where}.hardware: {entry.hardware!r} is not in hardware.yaml; use {known}")
        names = clusterfile.suited(models, entry.hardware) if entry.models == "all" else tuple(entry.models)
        for name in names:
            if name not in models:
                raise UsageError(f"{where}.models: {name!r} has no card; known are {', '.join(models)}")
        losses = entry.losses_per_h
        if losses is not None and not 0 <= losses < float("inf"):
            raise UsageError(f"{where}.losses_per_h: {losses} is not usable; give 0 or more")
        launch, wide = entry.launch, entry.launch.nodes * entry.launch.tasks_per_node > 1
        per_host[entry.hardware] = per_host.get(entry.hardware, 0) + number
        fleet.append(
            FleetItem(
                kind=entry.kind,
                hardware=entry.hardware,
                models=names,
                memory_gb=entry.memory_gb or _host_memory_gb() / number,
                min_workers=entry.min_workers,
                max_workers=number,
                idle_timeout_s=entry.idle_timeout_s,
                launch_s=entry.launch_s,
                nodes=launch.nodes,
                devices_per_node=max(launch.gpus_per_node, launch.tasks_per_node if wide else 0),
            )
        )
    hardware = priced(prices, configs_dir / "hardware.yaml", per_host)
    catalogue = Catalogue(models=models, hardware=hardware, links=prices.links)
    provision = _provision(head, head.cluster == "local")
    return Settings(
        engine=EngineConfig(
            catalogue=catalogue, fleet=tuple(fleet), policy=head.policy, planned=provision is not None
        ),
        provision=provision,
        cluster=head.cluster,
        interface=head.interface,
        configs_dir=str(configs_dir.absolute()),
        models_dir=str(models_dir.absolute()),
        threads={entry.kind: entry.threads for entry in head.fleet},
        device_kinds={entry.kind: entry.device_kind for entry in head.fleet},
        losses_per_h={e.kind: e.losses_per_h for e in head.fleet if e.losses_per_h is not None},
        launch={entry.kind: entry.launch for entry in head.fleet},
    )


def _provision(head: HeadFile, local: bool) -> OnlineSettings | None:
    on = not local if head.provision == "auto" else bool(head.provision)
    return OnlineSettings(objective=head.objective) if on else None


def _of_cluster(configs_dir: Path, models_dir: Path, workers: int | None, name: str) -> Settings:
    """Settings of a Slurm site."""
    from hpcwise.head import clusterfile

    head = read_file(configs_dir / "head.yaml", HeadFile)
    prices = read_hardware(configs_dir / "hardware.yaml")
    path = clusterfile.cluster_path(configs_dir, name)
    cluster = clusterfile.read_cluster(path, prices.hardware)
    models = runnable(configs_dir, {pool.hardware for pool in cluster.pools if pool.use})
    models = clusterfile.with_host_profiles(models, cluster)
    used = [pool for pool in cluster.pools if pool.use]
    kinds = clusterfile.kinds(cluster)
    try:
        fleet = clusterfile.fleet_items(cluster, models, workers)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    per_host = {pool.hardware: clusterfile.workers_per_node(pool) for pool in used}
    hardware = priced(prices, configs_dir / "hardware.yaml", per_host)
    hardware = clusterfile.with_site_prices(hardware, cluster, path)
    catalogue = Catalogue(models=models, hardware=hardware, links=prices.links)
    provision = _provision(head, False)
    return Settings(
        engine=EngineConfig(
            catalogue=catalogue, fleet=tuple(fleet), policy=head.policy, planned=provision is not None
        ),
        provision=provision,
        cluster="slurm" if cluster.mode == "jobs" else "steps",
        interface=head.interface,
        configs_dir=str(configs_dir.absolute()),
        models_dir=str(models_dir.absolute()),
        # Threads change bytes: one, as on any host, so that equal recipes give equal films.
        threads={kind.name: 1 for kind in kinds},
        device_kinds={kind.name: "cuda" if kind.pool.gpus_per_node else "cpu" for kind in kinds},
        launch={kind.name: clusterfile.profile_of_pool(cluster, kind.pool, kind.replica) for kind in kinds},
        spots=frozenset(kind.name for kind in kinds if clusterfile.is_spot(kind.pool)),
        losses_per_h={k.name: k.pool.losses_per_h for k in kinds if k.pool.losses_per_h is not None},
        site=name,
        per_node={kind.name: kind.per_node for kind in kinds},
        node_local_dir=cluster.node_local_dir,
        shared_dir=cluster.shared_dir,
    )


def runnable(configs_dir: Path, hardware: Collection[str]) -> dict[str, ModelInfo]:
    """The cards that this version can run. One that was never measured has the profiles of the artifact's
    fit (configs/profiles/fitted.yaml) until runs or `hpcwise profile` correct them; hosts need none of it."""
    models = read_models(configs_dir / "models")
    path = configs_dir / "profiles" / "fitted.yaml"
    if set(hardware) - {"cpu"} and path.is_file():
        fitted = read_file(path, ProfileFile).profiles
        for name, info in models.items():
            if not info.profiles and name in fitted:
                models[name] = msgspec.structs.replace(info, profiles=fitted[name])
    return with_site_profiles(models, configs_dir)


def read_models(folder: Path) -> dict[str, ModelInfo]:
    """The planning side of all model cards, by name; where their files come from is the registry's.

    Raises UsageError for a card that is wrong, a name given twice, or a folder without cards.
    """
    models: dict[str, ModelInfo] = {}
    for path in sorted(folder.glob("*.yaml")):
        info = read_file(path, ModelInfo)
        if info.name in models:
            raise UsageError(f"{path}: name: {info.name!r} is another card's too; give each its own")
        models[info.name] = info
    if not models:
        raise UsageError(f"{folder}: no model cards (*.yaml) there; {_FIX}")
    return models


def with_site_profiles(models: dict[str, ModelInfo], configs_dir: Path) -> dict[str, ModelInfo]:
    """The same cards with the profiles that this site measured (`hpcwise profile MODEL --write`), if any.

    An entry of a model that has no card any more is passed over: it may be another version's.
    """
    path = configs_dir / "profiles" / "site.yaml"
    if not path.is_file():
        return models
    changed = dict(models)
    for name, by_hardware in read_file(path, ProfileFile).profiles.items():
        if name in models:
            merged = {**models[name].profiles, **by_hardware}
            changed[name] = msgspec.structs.replace(models[name], profiles=merged)
    return changed


def find_configs() -> Path:
    """The folder of configurations: $HPCWISE_CONFIGS, else that of the clone this package runs out of.

    Raises UsageError where there is none.
    """
    chosen = os.environ.get("HPCWISE_CONFIGS")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "configs"
    if not (folder / "head.yaml").is_file():
        raise UsageError(f"{folder}: no head.yaml there; {_FIX}")
    return folder.absolute()


def find_models_dir() -> Path:
    """Where files of models are kept: $HPCWISE_MODELS_DIR, else the user's cache folder."""
    chosen = os.environ.get("HPCWISE_MODELS_DIR")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "hpcwise" / "models"


def read_hardware(path: Path) -> HardwareFile:
    """configs/hardware.yaml as it stands. Raises UsageError that names the file, the entry and the field."""
    file = read_file(path, HardwareFile)
    for name, entry in file.hardware.items():
        for field in ("usd_per_h", "spot_usd_per_h", "busy_w", "idle_w", "tdp_w", "memory_gb"):
            value: float = getattr(entry, field)
            if not 0 <= value < float("inf"):
                raise UsageError(f"{path}: hardware.{name}.{field}: {value} is not usable; give 0 or more")
        if entry.devices_per_node < 1:
            where = f"{path}: hardware.{name}.devices_per_node"
            raise UsageError(f"{where}: {entry.devices_per_node} is not usable; give 1 or more")
        clocks = [point.mhz for point in entry.frequencies]
        if clocks != sorted(set(clocks)):
            raise UsageError(f"{path}: hardware.{name}.frequencies: give each clock once, from low to high")
    return file


def priced(file: HardwareFile, path: Path, workers: Mapping[str, int]) -> dict[str, HardwareInfo]:
    """Price and power of one unit of each hardware: the file's, or a site's by its billing weights.

    workers: how many share one host, for entries of whole hosts. Raises UsageError for wrong weights.
    """
    hardware = {
        name: _share(name, entry, workers.get(name, 1), file.price_source)
        for name, entry in file.hardware.items()
    }
    if file.billing is None:
        return hardware
    try:
        weights = parse_weights(file.billing.weights)
        return billed(hardware, file.billing.devices, weights, file.billing.usd_per_unit_h)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _share(name: str, entry: HardwareEntry, workers: int, price_source: str) -> HardwareInfo:
    part = 1 / workers if entry.host else 1.0
    of_node = part / entry.devices_per_node
    return HardwareInfo(
        name=name,
        usd_per_h=entry.usd_per_h * of_node,
        spot_usd_per_h=entry.spot_usd_per_h * of_node,
        busy_w=entry.busy_w * part,
        idle_w=entry.idle_w * part,
        tdp_w=entry.tdp_w * part,
        memory_gb=entry.memory_gb * part,
        devices_per_node=entry.devices_per_node,
        year=entry.year,
        price_source=price_source,
        frequencies=entry.frequencies,
    )


def _host_memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def read_file(path: Path, kind: type[T]) -> T:
    """A YAML file as `kind`. Raises UsageError that names the file and the field."""
    import yaml

    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
        if not isinstance(data, dict):
            raise UsageError(f"{path}: is no map of fields; write `name: value`, a line each")
        return msgspec.convert(data, kind)
    except FileNotFoundError:
        raise UsageError(f"{path}: is missing; check the path, or {_FIX}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error
