"""The engine has the last word: plans by both estimates are carried out, and the better one is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.provision import ITERATIONS, Problem, provision
from hpcwise.core.provisioner.types import Objective, Plan


class Outcome(Protocol):
    """What carrying a plan out gave; hpcwise.sim.planrun.Executed is one."""

    @property
    def ttff_eff_s(self) -> float: ...
    @property
    def ready_s(self) -> float: ...
    @property
    def cost_usd(self) -> float: ...


T = TypeVar("T", bound=Outcome)


def provision_checked(
    asked: Problem,
    carry_out: Callable[[Plan], T],
    objective: Objective | None = None,
    warm_starts: Sequence[Plan] = (),
    iterations: int = ITERATIONS,
) -> tuple[Plan, T]:
    """As `provision`, but the plan by whole units and the one by the fluid are carried out by the engine
    (`carry_out`), and the better of them by that is returned with its outcome.

    Energy and power are the estimate's. Limits are judged by the outcome: `misses` names what the engine
    misses. A plan that the engine cannot finish is passed over; raises UsageError where it is so with all.
    """
    goal = objective or Objective()
    plans = [provision(asked, goal, warm_starts, iterations)]
    other = msgspec.structs.replace(asked, fluid=not asked.fluid)
    plans.append(provision(other, goal, warm_starts, iterations))
    found: list[tuple[tuple[float, float], int, Plan, T]] = []
    seen: list[object] = []
    wrong = ""
    for n, plan in enumerate(plans):
        if (plan.variant, plan.replicas) in seen:
            continue
        seen.append((plan.variant, plan.replicas))
        try:
            done = carry_out(plan)
        except UsageError as error:
            wrong = str(error)
            continue
        found.append((_score(goal, plan, done), n, plan, done))
    if not found:
        raise UsageError(wrong)
    _, _, plan, done = min(found, key=lambda row: row[:2])
    return msgspec.structs.replace(plan, misses=_misses(goal, plan, done)), done


def _limits(goal: Objective, plan: Plan, done: Outcome) -> tuple[tuple[str, float | None, float, str], ...]:
    return (
        ("first frame without a stall", goal.ttff_s, done.ttff_eff_s, "s"),
        ("ready", goal.ready_s, done.ready_s, "s"),
        ("cost", goal.budget_usd, done.cost_usd, "USD"),
        ("power", goal.power_w, plan.estimate.peak_w, "W"),
    )


def _misses(goal: Objective, plan: Plan, done: Outcome) -> tuple[str, ...]:
    return tuple(
        f"{what}: {found:.4g} {unit} where at most {limit:g} {unit} is asked for"
        for what, limit, found, unit in _limits(goal, plan, done)
        if limit is not None and found > limit
    )


def _score(goal: Objective, plan: Plan, done: Outcome) -> tuple[float, float]:
    violation = sum(
        found / limit - 1
        for _, limit, found, _ in _limits(goal, plan, done)
        if limit is not None and found > limit
    )
    energy = plan.estimate.energy_kwh
    value = {
        "cost*ttff": done.cost_usd * done.ttff_eff_s, "cost": done.cost_usd, "ttff": done.ttff_eff_s,
        "ready": done.ready_s, "energy": energy, "energy*ttff": energy * done.ttff_eff_s,
    }[goal.name]  # fmt: skip
    return violation, value
