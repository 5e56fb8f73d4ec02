"""What is simulated: the engine's own configuration, and how the world around it behaves."""

from __future__ import annotations

import math

import msgspec

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where workers of a kind come from.

    queue_s, queue_sigma: median wait in the batch system's queue, and the spread of its logarithm; the
    kind's `launch_s` comes on top. lifetime_s: length of an allocation. zone: spot workers of one zone are
    evicted together, with the share `SimConfig.together`. infiniband: transfers between two such kinds of
    one region take that way. cold: not there at the start, though `SimConfig.warm` says so of the rest.
    """

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


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that is lost at a given time: the `nth` (from 0) of `kind` that joined and lives then.

    notice_s: an eviction's notice; 0 for a crash without a word.
    """

    at_s: float
    kind: str
    nth: int = 0
    notice_s: float = 0.0


class SimConfig(msgspec.Struct, frozen=True, kw_only=True):
    """truth: what tasks really take, where that is not what the engine believes. Times in seconds.

    noise_sigma: of the logarithm of a task's time. straggler_rate: share of tasks that take
    straggler_factor times as long. failure_rate: share of attempts that fail, at any point of their run.
    together: share of the other spot workers of a zone that an eviction takes too. overhead_s: from a
    dispatch to the task's start on an idle worker. publish_s, film_s: until a segment can be played, until
    film.mp4 stands. stop_s: a running task stops so long after it was told to. fs_*, ib_*: the shared file
    system and InfiniBand; 0 GB/s for transfers that take no time. batch_marginal: what each further task of
    a batch adds, as a share of its own time. warm: all workers are there at the start with their models
    loaded, as far as those fit. tick_s: how often time itself is an event; the head's is 0.25.
    patience_s: live requests of which nothing moves for so long are given up as stuck.
    """

    engine: EngineConfig
    seed: int = 0
    truth: Catalogue | None = None
    sites: dict[str, Site] = {}
    losses: tuple[Loss, ...] = ()
    noise_sigma: float = 0.0
    load_sigma: float = 0.0
    straggler_rate: float = 0.0
    straggler_factor: float = 3.0
    failure_rate: float = 0.0
    launch_failure_rate: float = 0.0
    notice_s: float = 30.0
    together: float = 0.0
    overhead_s: float = 0.001
    publish_s: float = 0.1
    film_s: float = 1.0
    stop_s: float = 0.1
    kill_s: float = 0.5
    drain_margin_s: float = 30.0
    fs_gb_per_s: float = 0.0
    fs_latency_s: float = 0.0
    ib_gb_per_s: float = 0.0
    ib_latency_s: float = 0.0
    batch_marginal: float = 0.9
    warm: bool = False
    tick_s: float = 0.25
    patience_s: float = 600.0
    wall0_s: float = 0.0

    def site(self, kind: str) -> Site:
        return self.sites.get(kind, _ANYWHERE)


_ANYWHERE = Site()

_SHARES = ("straggler_rate", "failure_rate", "launch_failure_rate", "together")
_POSITIVE = ("tick_s", "patience_s", "straggler_factor")


def check_config(config: SimConfig) -> None:
    """Raises UsageError for an empty cluster or a number that no world could have."""
    fleet = config.engine.fleet
    if not any(item.max_workers > 0 for item in fleet):
        raise UsageError("cluster: has no workers; give at least one kind and a number of 1 or more")
    kinds = [item.kind for item in fleet]
    for item in fleet:
        if item.max_workers < 0:
            raise UsageError(
                f"cluster.{item.kind}: {item.max_workers} workers are not possible; give 0 or more"
            )
        if kinds.count(item.kind) > 1:
            raise UsageError(f"cluster.{item.kind}: is named twice; give every kind a name of its own")
    for name in (*config.sites, *(loss.kind for loss in config.losses)):
        if name not in kinds:
            raise UsageError(f"cluster.{name}: is not a kind of the fleet; known are {', '.join(kinds)}")
    for owner, values in (("simulation", config), *((f"cluster.{k}", s) for k, s in config.sites.items())):
        for field in msgspec.structs.fields(values):
            value = getattr(values, field.name)
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            where = f"{owner}.{field.name}"
            if not math.isfinite(value) or (value < 0 and field.name not in ("seed", "wall0_s")):
                raise UsageError(f"{where}: {value!r} is not usable; give a number of 0 or more")
            if field.name in _SHARES and value > 1:
                raise UsageError(f"{where}: {value!r} is not a share; give 0 to 1")
            if field.name in _POSITIVE and value <= 0:
                raise UsageError(f"{where}: {value!r} is not usable; give more than 0")
