"""Our plans for a row of budgets, each carried out by the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.types import Objective, Plan, Work
from hpcwise.evaluation.rows import Point
from hpcwise.evaluation.run import Context, PriceList, label, pools_of
from hpcwise.sim.planrun import Executed


class Swept(NamedTuple):
    """A budget with our plan for it and what the engine made of it."""

    budget: Mapping[str, int]
    plan: Plan
    done: Executed

    @property
    def point(self) -> Point:
        return Point(self.done.ttff_eff_s, self.done.cost_usd, label(self.plan.estimate.devices))

    @property
    def energy(self) -> Point:
        """Energy in kWh in place of dollars."""
        return Point(self.done.ttff_eff_s, self.plan.estimate.energy_kwh, label(self.plan.estimate.devices))


def sweep(
    context: Context,
    work: Work,
    budgets: Sequence[Mapping[str, int]],
    objective: Objective | None = None,
    *,
    spot: bool = True,
    prices: PriceList = "paper",
) -> list[Swept]:
    """Budgets that are too small for the work are left out."""
    found = []
    for budget in budgets:
        context.step(f"{work.name}, {label(budget)}")
        try:
            made = context.checked(work, pools_of(budget, spot=spot), objective, prices=prices)
        except UsageError:
            continue
        found.append(Swept(budget, *made))
    return found
