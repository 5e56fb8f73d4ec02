"""When requests come, and what they want."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.spec import Batch, By, JobSpec, Live, Slo
from hpcwise.core.units import HOUR_S, RequestId
from hpcwise.sim.draws import Draws


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    at_s: float
    request_id: RequestId
    job: JobSpec


class SloClass(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the requests. live_s: first frame within; by_s: film within; both None: no deadline."""

    share: float
    live_s: float | None = None
    by_s: float | None = None

    def slo(self, at_s: float, wall0_s: float) -> Slo:
        if self.live_s is not None:
            return Live(ttff_s=self.live_s)
        if self.by_s is not None:
            return By(wall_s=wall0_s + at_s + self.by_s, text=f"{self.by_s:g} s")
        return Batch()


def at_once(job: JobSpec, request_id: RequestId = "podcast") -> tuple[Arrival, ...]:
    """One request at the start."""
    return (Arrival(at_s=0.0, request_id=request_id, job=job),)


def poisson(
    job: JobSpec,
    n: int,
    per_h: float,
    seed: int,
    classes: Sequence[SloClass] = (),
    by_hour: Sequence[float] = (),
    wall0_s: float = 0.0,
) -> tuple[Arrival, ...]:
    """`n` requests at `per_h` an hour, each for a document of its own, with SLOs by the classes' shares.

    by_hour: 24 factors on the rate by hour of the day (thinning). Raises UsageError for a rate, share or
    curve that cannot be.
    """
    if not per_h > 0 or n < 0:
        raise UsageError(f"arrivals: {n} requests at {per_h!r} an hour are not possible; give more than 0")
    if by_hour and (len(by_hour) != 24 or min(by_hour) < 0 or max(by_hour) <= 0):
        raise UsageError(f"arrivals.by_hour: {len(by_hour)} factors; give 24 of 0 or more, one above 0")
    total = sum(c.share for c in classes)
    if classes and (min(c.share for c in classes) < 0 or total <= 0):
        raise UsageError("arrivals.classes: shares add up to nothing; give shares of 0 or more")
    draws = Draws(seed)
    peak = max(by_hour) if by_hour else 1.0
    found: list[Arrival] = []
    at_s, tries = 0.0, 0
    while len(found) < n:
        at_s += draws.exponential(per_h * peak / HOUR_S, "arrival", tries)
        tries += 1
        if by_hour:
            factor = by_hour[int(at_s / HOUR_S) % 24]
            if draws.uniform("thin", tries) * peak > factor:
                continue
        i = len(found)
        slo = _class_of(classes, total, draws.uniform("class", i)).slo(at_s, wall0_s) if classes else job.slo
        own = msgspec.structs.replace(job, input_sha256=f"{i:064x}", seed=job.seed + i, slo=slo)
        found.append(Arrival(at_s=at_s, request_id=f"r{i:05d}", job=own))
    return tuple(found)


def _class_of(classes: Sequence[SloClass], total: float, u: float) -> SloClass:
    left = u * total
    for each in classes:
        left -= each.share
        if left <= 0:
            return each
    return classes[-1]
