"""What the engine knows of models and hardware: sizes, prices, profiles. Read from configs/ by the head."""

from __future__ import annotations

from typing import Literal

import msgspec

from hpcwise.core.units import ModelName

#: Classes of StreamWise's Table 2, then those of this project's own stages.
ModelClass = Literal["llm", "a2t", "tts", "t2i", "i2i", "i2v", "v+a", "document", "test", ""]


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Where a profile comes from and how far it may be trusted.

    r2, mape: on runs that were held out of the fit (mape is a fraction), 0 and 0 where none were.
    ranges: least and greatest value of each raw feature that was measured. estimated: not measured on
    this hardware, but scaled from another's profile. model_version: of the card when it was measured.
    """

    source: str = ""
    model_version: str = ""
    measured_on: str = ""
    points: int = 0
    heldout: int = 0
    r2: float = 0.0
    mape: float = 0.0
    ranges: dict[str, tuple[float, float]] = {}
    estimated: bool = False


class SizeProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Time of a replica of one size, as measured with that many devices. floor: see LinearProfile."""

    base_s: float = 0.0
    per: dict[str, float] = {}
    floor: dict[str, float] = {}


class LinearProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Expected seconds of one task: `base_s + sum(per[term] * value(term))` (StreamWise section 4.3: runtime
    is linear in steps, pixels and frames). A term is a feature or a product of features, joined by `*`:
    `steps*frame_mpx*frames`; attention is quadratic in what it attends to, hence products.

    floor: least that the terms with a feature take together, by that feature: `{steps: 0.08}` says that a
    step takes 80 ms however little there is to compute (launching kernels), and all terms with `steps` are
    together no less than that.

    A replica of several devices is faster in one of two measured ways. sizes: its own terms by number of
    devices, where they were measured (one device: this profile itself). speedup: USP speed-up by number of
    devices of everything but `serial_s` and `serial` (what USP cannot split: VAE). Between two measured
    sizes the rate is interpolated, beyond the largest nothing is gained.
    power_w: mean power of the whole replica while it works, by number of devices.
    """

    base_s: float = 0.0
    per: dict[str, float] = {}
    floor: dict[str, float] = {}
    speedup: dict[int, float] = {}
    sizes: dict[int, SizeProfile] = {}
    serial_s: float = 0.0
    serial: dict[str, float] = {}
    power_w: dict[int, float] = {}
    fit: Fit | None = None


class Vae(msgspec.Struct, frozen=True, kw_only=True):
    """Compression of a model's VAE: pixels to a latent pixel along one side, frames to a latent frame (the
    first one stays alone); patch: latent pixels along one side of a token of the transformer."""

    spatial: int = 8
    temporal: int = 1
    patch: int = 2


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue.

    profiles: by hardware name. light: cheap work, kept off fast GPUs. batch_max: tasks that may run
    together where the profile says that it pays. fps/max_frames: the model's own limits, 0 for none.

    size_b: billions of parameters. warmup_s: first request after loading (compilation). elo_source: the
    leaderboard and its date; an Elo of 0 means that none was found. attention_heads: bounds Ulysses.
    pads: its code pads a sequence that the devices do not divide. resolutions: width and height, empty
    for any that the VAE can take. max_devices: largest replica, 0 for no bound of its own. split: models
    that make its work as separate stages (DiT, VAE); part_of: the model that this is a stage of.
    hardware: where it runs, empty for wherever memory suffices. memory_gb: of one replica's one device.
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
    model_class: ModelClass = ""
    architecture: str = ""
    size_b: float = 0.0
    released: str = ""
    source: str = ""
    warmup_s: float = 0.0
    fps: float = 0.0
    elo_source: str = ""
    attention_heads: int = 0
    vae: Vae | None = None
    pads: bool = False
    resolutions: tuple[tuple[int, int], ...] = ()
    max_devices: int = 0
    split: tuple[ModelName, ...] = ()
    part_of: ModelName = ""
    hardware: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()


class Frequency(msgspec.Struct, frozen=True, kw_only=True):
    """A clock that a device can be held to. power: share of the power at the highest clock; time: how much
    longer work takes (1 at the highest)."""

    mhz: int
    power: float
    time: float


class HardwareInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Price and power of one unit of hardware (one GPU, or a CPU worker's share of a host).

    usd_per_h: reserved, or what the site bills. busy_w: mean while working where a model's profile does
    not say. frequencies: from low to high, empty where none were measured.
    """

    name: str
    usd_per_h: float = 0.0
    busy_w: float = 0.0
    idle_w: float = 0.0
    memory_gb: float = 0.0
    spot_usd_per_h: float = 0.0
    tdp_w: float = 0.0
    devices_per_node: int = 1
    year: int = 0
    price_source: str = ""
    frequencies: tuple[Frequency, ...] = ()


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
