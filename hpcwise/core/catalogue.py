"""What the engine knows of models and hardware: sizes, prices, profiles. Read from configs/ by the head."""

from __future__ import annotations

import msgspec

from hpcwise.core.units import ModelName


class LinearProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Expected seconds of one task: `base_s + sum(per[f] * features[f])`, divided by the speed-up of the
    replica's size (StreamWise section 4.3: runtime is linear in steps, pixels and frames).

    speedup: measured USP speed-up by number of GPUs; sizes between two entries are interpolated.
    """

    base_s: float = 0.0
    per: dict[str, float] = {}
    speedup: dict[int, float] = {}


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue.

    profiles: by hardware name. light: cheap work, kept off fast GPUs. batch_max: tasks that may run
    together where the profile says that it pays. fps/max_frames: the model's own limits, 0 for none.
    """

    name: ModelName
    version: str = "1"
    family: str
    stages: tuple[str, ...] = ()
    memory_gb: float = 0.0
    load_s: float = 0.0
    profiles: dict[str, LinearProfile] = {}
    light: bool = False
    batch_max: int = 1
    elo: float = 0.0
    max_frames: int = 0
    checkpoints: bool = False
    licence: str = ""


class HardwareInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Price and power of one unit of hardware (one GPU, or a CPU worker's share of a host)."""

    name: str
    usd_per_h: float = 0.0
    busy_w: float = 0.0
    idle_w: float = 0.0
    memory_gb: float = 0.0


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Network between two regions; within one region the shared file system is taken as free."""

    a: str
    b: str
    gb_per_s: float
    latency_s: float


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """All that profiles and prices say; a value, so that the head and the simulator share it."""

    models: dict[ModelName, ModelInfo] = {}
    hardware: dict[str, HardwareInfo] = {}
    links: tuple[Link, ...] = ()
