"""The frontier of cost, time to the first frame and energy: plans of which none is better in everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.explain import explain_step
from hpcwise.core.provisioner.provision import Problem, provision
from hpcwise.core.provisioner.types import Objective, Plan

#: Limits on the start of playback that are tried between the fastest and the cheapest plan.
_LIMITS: Final = 9


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A plan of the frontier; why: what it bought beyond the next cheaper one, and what binds it."""

    plan: Plan
    ttff_eff_s: float
    cost_usd: float
    energy_kwh: float
    why: tuple[str, ...]


def frontier(
    asked: Problem, iterations: int, check: Callable[[Plan], Plan] | None = None, limits: int = _LIMITS
) -> tuple[Point, ...]:
    """From the cheapest to the dearest. check: replaces a plan by what the engine made of it, if given.

    iterations: plans judged at most for each point. Raises UsageError as `provision` does.
    """
    ends = [
        provision(asked, Objective(name=name), iterations=iterations)
        for name in ("ttff", "cost", "energy", "cost*ttff", "energy*ttff")
    ]
    low = min(plan.estimate.ttff_eff_s for plan in ends)
    high = max(low, max(plan.estimate.ttff_eff_s for plan in ends))
    plans = list(ends)
    for n in range(1, limits + 1):
        limit_s = low * (high / low) ** (n / (limits + 1)) if low > 0 else high
        for name in ("cost", "energy"):
            goal = Objective(name=name, ttff_s=limit_s)
            plan = provision(asked, goal, warm_starts=plans[-1:], iterations=iterations)
            if not plan.misses:
                plans.append(plan)
    if check is not None:
        plans = [check(plan) for plan in plans]
    kept = undominated(plans)
    found: list[Point] = []
    for plan in kept:
        e = plan.estimate
        before = found[-1].plan if found else None
        found.append(
            Point(
                plan=plan, ttff_eff_s=e.ttff_eff_s, cost_usd=e.cost_usd, energy_kwh=e.energy_kwh,
                why=explain_step(before, plan),
            )
        )  # fmt: skip
    if not found:
        raise UsageError("plan: no plan was found; give more iterations")
    return tuple(found)


def undominated(plans: Sequence[Plan]) -> list[Plan]:
    """Plans than which no other is at least as good in cost, start and energy and better in one; by cost."""

    def key(plan: Plan) -> tuple[float, float, float]:
        e = plan.estimate
        return e.cost_usd, e.ttff_eff_s, e.energy_kwh

    kept: dict[tuple[float, float, float], Plan] = {}
    for plan in plans:
        mine = key(plan)
        if mine not in kept and not any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in map(key, plans)
        ):
            kept[mine] = plan
    return [kept[each] for each in sorted(kept)]
