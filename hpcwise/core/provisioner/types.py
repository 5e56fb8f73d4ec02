"""What the provisioner is asked and what it answers. Seconds, US dollars, watts."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from hpcwise.core.units import ModelName

ObjectiveName = Literal["cost*ttff", "cost", "ttff", "ready", "energy", "energy*ttff"]
OBJECTIVES: tuple[ObjectiveName, ...] = ("cost*ttff", "cost", "ttff", "ready", "energy", "energy*ttff")


class StageShape(msgspec.Struct, frozen=True, kw_only=True):
    """Work of one stage of a film: `units` equal units, of which the first may differ (`first`).

    features, first: of a unit, what the model's profile multiplies; first empty: as the others. after:
    stages whose units it needs; units are matched by their share of the film. serial: one unit after the
    other, so that more replicas do not help (an LLM's scenes). fixed_s: runs on cores beside the cluster
    in that time, and nothing is provisioned. share: stages of equal share (not empty) are held by one
    replica together. near: stages of equal near stay in one region (DiT and VAE). out_gb: of a unit.
    resolution, frames: what valid sizes of a replica depend on.
    """

    name: str
    model: ModelName = ""
    units: int = 1
    features: dict[str, float] = {}
    first: dict[str, float] = {}
    after: tuple[str, ...] = ()
    serial: bool = False
    fixed_s: float | None = None
    share: str = ""
    near: str = ""
    out_gb: float = 0.0
    resolution: tuple[int, int] = (640, 400)
    frames: int = 0


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One way to make the film: stages, sources before their users; the last one's units are the film's.

    tier: rung of the quality ladder. Variants of one Work are what the provisioner may choose from: model
    by stage, direct or upscaled, DiT and VAE fused or apart, tiers.
    """

    name: str
    stages: tuple[StageShape, ...]
    tier: str = "high"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A film to be made; variants: the ways in which it may be made, the preferred one first."""

    name: str
    film_s: float
    variants: tuple[Variant, ...]


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Devices of one kind in one place: a partition or a region's offer.

    zone: evictions strike a zone together (empty: the pool's name). queue_s: wait until a new replica can
    start to load. evictions_per_h: of one replica. together: share of a zone that an eviction takes.
    warm: every model is loaded already, wherever it is planned; otherwise new replicas load first.

    A kind of worker as a pool: size: devices of each replica, 0 for any; models: what it can host, empty for
    all; memory_gb: of a replica, 0 for its hardware's.
    """

    name: str
    hardware: str
    devices: int
    region: str = ""
    zone: str = ""
    spot: bool = False
    queue_s: float = 0.0
    evictions_per_h: float = 0.0
    together: float = 0.0
    warm: bool = True
    size: int = 0
    models: tuple[ModelName, ...] = ()
    memory_gb: float = 0.0


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """What is minimised, and limits that come first. ready_s: until the whole film is there (ready-by).
    With the name `cost` and a TTFF or ready limit: the cheapest that keeps it. seamless: playback begins with
    the first segment, whenever that comes, and must never stall. rises_s: quality adapts; playback begins
    with the first segment, lower rungs are played until slower replicas have their first segment at the best
    one, and that must be so after `rises_s` of the film."""

    name: ObjectiveName = "cost*ttff"
    ttff_s: float | None = None
    ready_s: float | None = None
    budget_usd: float | None = None
    power_w: float | None = None
    seamless: bool = False
    rises_s: float | None = None


class Replicas(msgspec.Struct, frozen=True, order=True):
    """`n` equal replicas of `devices` devices each that hold the models of `stages`. mhz: clock that the
    devices are held down to, 0 for their highest."""

    stages: tuple[str, ...]
    models: tuple[ModelName, ...]
    pool: str
    devices: int
    n: int
    nodes: int = 1
    mhz: int = 0


class StageTime(msgspec.Struct, frozen=True):
    """first_s: of the stage's first unit; rest_s: in which all its others are made, once it flows."""

    stage: str
    first_s: float
    rest_s: float


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """ttff_s: first segment. ready_s: whole film. ttff_eff_s: earliest start without a stall.

    cost_usd: all planned devices held from start to ready_s (loading and waiting included). risk_usd: part
    of the cost that insures against evictions. peak_w: all at work at once.
    first_binds, rest_binds: the stage that the first segment and the rest of the film wait for most.
    """

    ttff_s: float
    ready_s: float
    ttff_eff_s: float
    cost_usd: float
    usd_per_h: float
    risk_usd: float
    energy_kwh: float
    peak_w: float
    devices: dict[str, int]
    stages: tuple[StageTime, ...]
    first_binds: str
    rest_binds: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """misses: limits that it does not keep, in words; empty when it keeps all. Then it is the closest plan.
    steps: how many candidate plans were judged."""

    work: str
    variant: str
    tier: str
    replicas: tuple[Replicas, ...]
    estimate: Estimate
    objective: Objective = Objective()
    misses: tuple[str, ...] = ()
    steps: int = 0


#: Of a plan that nobody has estimated.
NOTHING: Final = Estimate(
    ttff_s=0.0, ready_s=0.0, ttff_eff_s=0.0, cost_usd=0.0, usd_per_h=0.0, risk_usd=0.0, energy_kwh=0.0,
    peak_w=0.0, devices={}, stages=(), first_binds="", rest_binds="",
)  # fmt: skip
