"""The engine has the last word: plans by both estimates are carried out, and the better one is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.provision import ITERATIONS, Problem, provision
from hpcwise.core.provisioner.types import Objective, Plan

#: Of a limit that is made stricter, so that it is not missed by a hair again.
_CLOSER: Final = 0.99
#: More plans where the engine misses a limit.
_ROUNDS: Final = 2


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
    misses. Where it misses one that the estimate keeps, more plans are made, for limits that are stricter by
    as much. A plan that the engine cannot finish is passed over; raises UsageError where it is so with all.
    """
    goal = objective or Objective()
    other = msgspec.structs.replace(asked, fluid=not asked.fluid)
    found: list[tuple[tuple[float, float], int, Plan, T]] = []
    seen: list[object] = []
    wrong = ""

    def offer(plan: Plan) -> None:
        nonlocal wrong
        if (plan.variant, plan.replicas) in seen:
            return
        seen.append((plan.variant, plan.replicas))
        try:
            done = carry_out(plan)
        except UsageError as error:
            wrong = str(error)
            return
        found.append((_score(goal, plan, done), len(seen), plan, done))

    first = provision(asked, goal, warm_starts, iterations)
    offer(first)
    offer(provision(other, goal, warm_starts, iterations))
    strict, rounds = goal, 0
    while rounds < _ROUNDS and found and not first.misses and min(row[0][0] for row in found) > 0:
        rounds += 1
        # Of the plans by whole units, or of the fluid where the engine could not finish those, the last one.
        _, _, plan, done = found[0] if rounds == 1 else found[-1]
        strict = _stricter(goal, strict, done)
        again = provision(asked, strict, [*warm_starts, plan], iterations)
        offer(msgspec.structs.replace(again, objective=goal))
    if not found:
        raise UsageError(wrong)
    _, _, plan, done = min(found, key=lambda row: row[:2])
    return msgspec.structs.replace(plan, misses=_misses(goal, plan, done)), done


def _stricter(goal: Objective, last: Objective, done: Outcome) -> Objective:
    """`last` with limits on start, ready and cost as much lower as the engine was above those of `goal`."""
    pairs = (
        ("ttff_s", goal.ttff_s, last.ttff_s, done.ttff_eff_s),
        ("ready_s", goal.ready_s, last.ready_s, done.ready_s),
        ("budget_usd", goal.budget_usd, last.budget_usd, done.cost_usd),
    )  # fmt: skip
    lower = {
        name: _CLOSER * was * limit / found
        for name, limit, was, found in pairs
        if limit is not None and was is not None and found > limit
    }
    return msgspec.structs.replace(last, **lower)


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
