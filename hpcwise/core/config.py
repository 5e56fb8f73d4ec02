"""What a head is told once, at its start; a value, hashed into the journal's header."""

from __future__ import annotations

import msgspec

from hpcwise.core.catalogue import Catalogue
from hpcwise.core.resources import FleetItem


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """max_attempts: failures of a task in one alternative before the ladder or the request gives way.
    launch_retry_s: wait after a failed launch, for its kind of worker, doubled each time up to
    launch_rest_s: a night must not end for what was wrong for a minute. keep_ended_s: how long an ended
    request is kept in memory. overdue_factor: an attempt that takes this many times its profile (and
    overdue_s more) is hung. planned: a provisioner answers with PlanReady; before
    its first answer nothing is launched but the least of each kind.
    """

    catalogue: Catalogue = Catalogue()
    fleet: tuple[FleetItem, ...] = ()
    policy: str = "streamwise"
    max_attempts: int = 3
    launch_retry_s: float = 1.0
    launch_rest_s: float = 600.0
    cancel_grace_s: float = 4.0
    overdue_factor: float = 20.0
    overdue_s: float = 60.0
    keep_ended_s: float = 7 * 86400.0
    planned: bool = False
