"""The provisioner of a running head, and of the simulator: what should stand now (StreamWise section 4.4,
auto-scaling).

It starts from what stands: workers that are there have no queue to wait in, and what they have loaded is
loaded; the present plan is always a candidate. Requests that are made by the same models are planned for
together: of those with deadlines, the ones up to the deadline that asks most of the fleet in the time that is
left; for the others, what their product of cost and time to the first frame wants, once nobody else is in a
hurry. The rest is made in the time that the first leave.

`Online` belongs to one engine: `due` says why there should be a new plan, `view` what it is made from, `plan`
makes it. Equal views give equal plans, wherever and however long the search runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue
from hpcwise.core.errors import UsageError
from hpcwise.core.profiles import Profiles
from hpcwise.core.provisioner.provision import problem, provision
from hpcwise.core.provisioner.standing import Offer, followed, kind_of, pools_of, present_of, without
from hpcwise.core.provisioner.types import (
    Objective,
    ObjectiveName,
    Plan,
    Pool,
    StageShape,
    Variant,
    Work,
)
from hpcwise.core.provisioner.view import Left, Shapes, Standing, View, view_of
from hpcwise.core.state import State
from hpcwise.core.units import ModelName

#: More work than planned, or less progress, by this share of the plan's work, asks for a new plan; so does a
#: model that takes so much more or less time than it did.
CHANGE: Final = 0.25
#: A plan is left for another one that is better by more than this share of its value.
STAY: Final = 0.1
#: Limits are tightened by this factor: estimates err, and whole units end in waves.
SPARE: Final = 1.2
#: Events after which, besides the end of a request, there may be a reason for a new plan.
LOOKS: Final = frozenset({m.RequestArrived, m.WorkerJoined, m.WorkerLost, m.LaunchFailed, m.WorkerDraining})


class OnlineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """objective: `auto` is the cheapest plan in time for work with a deadline, else cost x TTFF. every_s: a
    new plan at the latest, while there is work; gap_s: at least between two. iterations: plans judged at most
    for one answer."""

    objective: ObjectiveName | Literal["auto"] = "auto"
    every_s: float = 60.0
    gap_s: float = 2.0
    iterations: int = 2000


class Online:
    """See the module docstring. offers: every kind of the engine's fleet."""

    def __init__(
        self, catalogue: Catalogue, offers: Sequence[Offer], settings: OnlineSettings | None = None
    ) -> None:
        self._catalogue, self._offers = catalogue, tuple(offers)
        self._settings = settings or OnlineSettings()
        self._shapes = Shapes(catalogue)
        self._asked: View | None = None
        self._alive: dict[str, int] = {}
        self._work_s = self._ready_s = 0.0
        self._looked_s = float("-inf")

    # --- when -------------------------------------------------------------------------------------------

    def wait_s(self, now_s: float) -> float:
        """How long to wait before the next look at whether there should be a new plan."""
        return self._looked_s + self._settings.gap_s - now_s

    def view(self, state: State) -> View:
        """What a plan for `state` is made from."""
        self._looked_s = state.now_s
        return view_of(state, self._shapes)

    def due(self, view: View) -> str:
        """Why there should be a new plan by now; empty where there is no reason."""
        last = self._asked
        if last is None:
            return "start" if view.left else ""
        before, now = ({left.request_id for left in each.left} for each in (last, view))
        if now - before:
            return f"arrived: {min(now - before)}"
        if before - now:
            return f"ended: {min(before - now)}"
        if not now:
            return ""
        growing = {left.request_id for left in last.left if not left.known}
        grown = growing & {left.request_id for left in view.left if left.known}
        if grown:
            return f"all tasks are known: {min(grown)}"
        alive = _alive(view)
        for kind in sorted({*alive, *self._alive}):
            if alive.get(kind, 0) != self._alive.get(kind, 0):
                return f"fleet: {kind} {self._alive.get(kind, 0)} -> {alive.get(kind, 0)}"
        for pair, ratio in view.ratios.items():
            old = last.ratios.get(pair, 1.0)
            if abs(ratio - old) > CHANGE * old:
                return f"estimate: {pair} takes {ratio:.2f} of its profile, was {old:.2f}"
        passed_s = view.now_s - last.now_s
        planned = max(0.0, 1 - passed_s / self._ready_s) if self._ready_s else 1.0
        if self._work(view) > (planned + CHANGE) * self._work_s:
            return "behind the plan"
        return "time passed" if passed_s >= self._settings.every_s else ""

    def asked(self, view: View, answer: m.PlanReady | None = None) -> None:
        """A plan is being made from `view`; later, what came of it."""
        self._asked, self._alive = view, _alive(view)
        self._work_s = self._work(view)
        if answer is not None:
            self._ready_s = answer.ready_s

    def _work(self, view: View) -> float:
        profiles = Profiles(self._catalogue, dict(view.ratios))
        return sum(work_s(left, self._offers, profiles) for left in view.left)

    # --- what -------------------------------------------------------------------------------------------

    def plan(self, view: View, why: str = "") -> m.PlanReady:
        """How many workers of each kind, and what they hold. Kinds that could only serve requests for which
        nothing can be planned (too few devices, a model that fits nowhere) are left to demand."""
        free = {offer.item.kind: offer.item.max_workers for offer in self._offers}
        wanted = {offer.item.kind: 0 for offer in self._offers}
        holds: list[m.Hold] = []
        ready_s = 0.0
        standing = list(view.standing)
        groups: dict[str, list[Left]] = {}
        for left in view.left:
            groups.setdefault(left.like, []).append(left)
        profiles = Profiles(self._catalogue, dict(view.ratios))
        order = sorted(groups.values(), key=lambda lefts: min(_hurry(left) for left in lefts))
        for lefts in order:
            chosen, goal = pressing(lefts, self._offers, profiles, self._settings.objective)
            try:
                plan = self._plan_for(chosen, goal, view, standing, free)
            except UsageError as error:
                why = f"{why}; by demand, as {error}"
                models = {stage.model for left in lefts for stage in left.stages}
                for offer in self._offers:
                    if models & set(offer.item.models) and not wanted[offer.item.kind]:
                        wanted.pop(offer.item.kind, None)
                continue
            ready_s = max(ready_s, plan.estimate.ready_s)
            for row in plan.replicas:
                kind = kind_of(row.pool)
                free[kind] -= row.n
                if kind in wanted:
                    wanted[kind] += row.n
                holds.append(m.Hold(kind, row.models, row.n))
            standing = without(standing, plan)
        return m.PlanReady(view.version, wanted, _summed(holds), why, ready_s)

    def _plan_for(
        self,
        lefts: Sequence[Left],
        goal: Objective,
        view: View,
        standing: list[Standing],
        free: dict[str, int],
    ) -> Plan:
        work = _work_of(lefts, self._offers)
        pools = pools_of(self._offers, view.waits, standing, free)
        present = present_of(work, standing, pools)
        if not any(self._price(pool) for pool in pools):
            goal = msgspec.structs.replace(goal, name="ready")
        asked = problem(work, pools, self._catalogue, view.ratios, present)
        stay = followed(work, view.holds, pools)
        return provision(
            asked, goal, warm_starts=(stay,), iterations=self._settings.iterations, stay=stay, worth=STAY
        )

    def _price(self, pool: Pool) -> float:
        hardware = self._catalogue.hardware[pool.hardware]
        return hardware.spot_usd_per_h if pool.spot else hardware.usd_per_h


def pressing(
    lefts: Sequence[Left], offers: Sequence[Offer], profiles: Profiles,
    objective: ObjectiveName | Literal["auto"] = "auto",
) -> tuple[list[Left], Objective]:  # fmt: skip
    """The requests that the fleet must be made for, and the goal.

    By deadline, each prefix asks for its work in the time until its last deadline; the one that asks for most
    in a second decides. With nobody waiting in it: all of the requests, without a limit.
    """
    dated = sorted((left for left in lefts if left.due_s is not None), key=_hurry)
    asked, most, n = 0.0, 0.0, 0
    for i, left in enumerate(dated):
        asked += work_s(left, offers, profiles)
        rate = asked / max(1.0, left.due_s or 0.0)
        if rate > most:
            most, n = rate, i + 1
    firm = [left for left in dated[:n] if left.firm]
    if not firm:
        return list(lefts), Objective(name="cost*ttff" if objective == "auto" else objective)
    ready_s = max(left.due_s or 0.0 for left in dated[:n])
    starts = [left.start_s for left in firm if left.start_s is not None and left.start_s > 0]
    goal = Objective(
        name="cost" if objective == "auto" else objective,
        ttff_s=min(starts) / SPARE if starts else None,
        ready_s=ready_s / SPARE if ready_s > 0 else None,
        seamless=bool(starts),
    )
    if goal.ttff_s is None and goal.ready_s is None:
        # Late already: no limit can be kept, so the way back is weighed against its price.
        goal = Objective(name="cost*ttff" if objective == "auto" else objective)
    return dated[:n], goal


def work_s(left: Left, offers: Sequence[Offer], profiles: Profiles) -> float:
    """Device seconds of what is left, each stage where it takes least."""
    total_s = 0.0
    for stage in left.stages:
        total_s += stage.units * min(
            (
                offer.size * profiles.expected_s(stage.model, offer.item.hardware, stage.features, offer.size)
                for offer in offers
                if stage.model in offer.item.models
            ),
            default=0.0,
        )
    return total_s


def _hurry(left: Left) -> float:
    return left.due_s if left.due_s is not None else float("inf")


def _alive(view: View) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in view.standing:
        if not row.coming:
            found[row.kind] = found.get(row.kind, 0) + row.n
    return found


def _work_of(lefts: Sequence[Left], offers: Sequence[Offer]) -> Work:
    """One work of all: stages of equal name are one. Held by models apart, or together by each replica, as
    far as the same kinds of workers host them."""
    merged: dict[str, list[StageShape]] = {}
    for left in lefts:
        for stage in left.stages:
            merged.setdefault(stage.name, []).append(stage)
    # Whatever comes later in one film does so in all; the one with most stages gives the order.
    longest = max(lefts, key=lambda left: len(left.stages))
    names = [stage.name for stage in longest.stages]
    names += [name for name in merged if name not in names]

    def together(stage: StageShape, share: str) -> StageShape:
        kinds = [offer.item.kind for offer in offers if stage.model in offer.item.models]
        return msgspec.structs.replace(stage, share=share and "/".join((share, *kinds)))

    stages = [_joined(merged[name], set(names[:i])) for i, name in enumerate(names)]
    apart = tuple(together(stage, stage.share) for stage in stages)
    shared = tuple(together(stage, "all") for stage in stages)
    variants = [Variant(name="apart", stages=apart)]
    if len({s.share for s in shared}) < len({s.share or s.name for s in apart}):
        variants.append(Variant(name="shared", stages=shared))
    film_s = max(left.film_s for left in lefts) / SPARE
    return Work(name="now", film_s=film_s, variants=tuple(variants))


def _joined(members: Sequence[StageShape], known: set[str]) -> StageShape:
    units = sum(stage.units for stage in members)
    features: dict[str, float] = {}
    for stage in members:
        for name, value in stage.features.items():
            features[name] = features.get(name, 0.0) + value * stage.units / units
    first = members[0]
    return msgspec.structs.replace(
        first, units=units, features=features, after=tuple(a for a in first.after if a in known)
    )


def _summed(holds: Sequence[m.Hold]) -> tuple[m.Hold, ...]:
    found: dict[tuple[str, tuple[ModelName, ...]], int] = {}
    for hold in holds:
        found[hold.kind, hold.models] = found.get((hold.kind, hold.models), 0) + hold.n
    return tuple(m.Hold(kind, models, n) for (kind, models), n in found.items())
