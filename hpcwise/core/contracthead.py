"""Contracts in a running head, and in the simulator: the policy decides how many workers of each pool a
request has, the provisioner what they hold, and everything about requests without a contract.

    contracts = Contracted(catalogue, offers, settings, agreement_of, per_node)
    view = contracts.view(state)
    if why := contracts.due(view):
        engine.handle(contracts.plan(view, why), now_s)      # PlanReady: launches and drains follow
    ask again at view.look_s, whatever happens before

A head's kinds of workers are the pools of the cluster file; `per_node` says how many of them a node holds.
All that the policy is asked with is read off the engine's state, so that a head that starts again goes on as
the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue
from hpcwise.core.contract import Held, Night, Submit, Terms, decide, next_look_s, safe
from hpcwise.core.contractquote import Contract
from hpcwise.core.profiles import Profiles
from hpcwise.core.provisioner.online import Online, OnlineSettings, work_s
from hpcwise.core.provisioner.standing import Offer
from hpcwise.core.provisioner.types import StageShape
from hpcwise.core.provisioner.view import Left, Standing, View
from hpcwise.core.state import ENDED, HELD, RequestRecord, State, TaskRecord

_T = TypeVar("_T")
#: A task that runs is not done, however long it has run.
_MOST_BEGUN: Final = 0.95
#: Sooner than this nothing new is looked at, seconds.
_SOON_S: Final = 1.0


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed with whoever asked: `contract.json` beside the film, which a head reads. Times are
    Unix time. cluster: name of its file."""

    request_id: str
    cluster: str
    made_s: float
    terms: Terms
    contract: Contract


class Want(msgspec.Struct, frozen=True, array_like=True):
    """Workers by pool that a contract wants now; 0 for those of which nothing is asked any more."""

    request_id: str
    workers: dict[str, int]


class ContractView(View, frozen=True, kw_only=True):
    """wants: of each request with a contract. look_s: engine time at which the contracts may say something
    new by themselves."""

    wants: tuple[Want, ...] = ()
    look_s: float = math.inf


class Contracted(Online):
    """Online, with contracts. agreement_of: of a request, None where it has none. per_node: workers that a
    node of each pool holds."""

    def __init__(
        self, catalogue: Catalogue, offers: Sequence[Offer], settings: OnlineSettings | None = None,
        agreement_of: Callable[[str], Agreement | None] = lambda _request_id: None,
        per_node: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(catalogue, offers, settings)
        self._agreement_of, self._per_node = agreement_of, dict(per_node or {})
        self._most = {offer.item.kind: offer.item.max_workers for offer in offers}
        self._wanted: tuple[Want, ...] = ()

    # --- when -------------------------------------------------------------------------------------------

    def view(self, state: State) -> ContractView:
        base = super().view(state)
        profiles = Profiles(self._catalogue, dict(base.ratios))
        nominal = Profiles(self._catalogue, {})
        crew = _Crew(state)
        wants, look_s = [], math.inf
        for left in sorted(base.left, key=lambda left: (left.due_s or 0.0, left.request_id)):
            agreement = self._here(self._agreement_of(left.request_id))
            if agreement is None:
                continue
            request = state.requests[left.request_id]
            remaining = self._remaining(state, request, left, profiles, nominal)
            want, next_s = self._want(agreement, remaining, crew, state)
            wants.append(want)
            look_s = min(look_s, next_s)
        fields = {name: getattr(base, name) for name in View.__struct_fields__}
        return ContractView(**fields, wants=tuple(wants), look_s=look_s)

    def due(self, view: View) -> str:
        why = super().due(view)
        if why or not isinstance(view, ContractView):
            return why
        before = {want.request_id: want.workers for want in self._wanted}
        for want in view.wants:
            old = before.get(want.request_id, {})
            for pool, n in want.workers.items():
                if n != old.get(pool, 0):
                    return f"contract: {want.request_id}: {pool} {old.get(pool, 0)} -> {n}"
        return ""

    def asked(self, view: View, answer: m.PlanReady | None = None) -> None:
        super().asked(view, answer)
        self._wanted = view.wants if isinstance(view, ContractView) else ()

    # --- what -------------------------------------------------------------------------------------------

    def plan(self, view: View, why: str = "") -> m.PlanReady:
        """Workers of pools as the contracts want them, with the best that those make of their requests, and
        the provisioner's plan for the rest on what is left."""
        if not isinstance(view, ContractView) or not view.wants:
            return super().plan(view, why)
        fixed = dict.fromkeys(self._most, 0)
        for want in view.wants:
            for pool, n in want.workers.items():
                if pool in fixed:
                    fixed[pool] = min(self._most[pool], fixed[pool] + n)
        ours = {want.request_id for want in view.wants}
        mine, others = _split(view.standing, fixed)
        # What waits in a queue makes nothing yet: as long as others run, they are to hold it all.
        alive = {row.kind for row in mine if not row.coming}
        shape = {kind: n if not alive or kind in alive else 0 for kind, n in fixed.items()}
        best = msgspec.structs.replace(self._settings, objective="ready")
        here = Online(self._catalogue, _capped(self._offers, shape), best)
        free = {kind: self._most[kind] - n for kind, n in fixed.items()}
        there = Online(self._catalogue, _capped(self._offers, free), self._settings)
        bound = here.plan(_part(view, [x for x in view.left if x.request_id in ours], mine), why)
        rest = there.plan(_part(view, [x for x in view.left if x.request_id not in ours], others), bound.why)
        wanted = {kind: n + rest.wanted.get(kind, 0) for kind, n in fixed.items() if n or kind in rest.wanted}
        # No contract counts replicas of several processes. Of those that alone hold what it needs it has one.
        needed = {s.model for left in view.left if left.request_id in ours for s in left.stages}
        for offer in self._offers:
            if offer.size > 1 and needed & set(offer.item.models):
                wanted[offer.item.kind] = max(1, wanted.get(offer.item.kind, 0))
        return m.PlanReady(
            view.version, wanted, bound.holds + rest.holds, rest.why, max(bound.ready_s, rest.ready_s)
        )

    # --- inside -----------------------------------------------------------------------------------------

    def _here(self, agreement: Agreement | None) -> Agreement | None:
        """With those offers alone whose pool this fleet still has; None where it has none of them."""
        if agreement is None:
            return None
        terms = agreement.terms
        kept = [i for i, offer in enumerate(terms.offers) if self._most.get(offer.pools[0])]
        if len(kept) == len(terms.offers):
            return agreement
        terms = msgspec.structs.replace(
            terms, offers=tuple(terms.offers[i] for i in kept), waits=tuple(terms.waits[i] for i in kept)
        )
        return msgspec.structs.replace(agreement, terms=terms) if kept else None

    def _remaining(
        self, state: State, request: RequestRecord, left: Left, profiles: Profiles, nominal: Profiles
    ) -> float:
        """Work that is left as real runs taught it, by all of it as it was planned; above 1 where it takes
        longer than planned. What runs counts as far as its time has passed."""
        tasks = [state.tasks[task_id] for task_id in request.tasks]
        begun = {task.spec.stage: 0.0 for task in tasks}
        for task in tasks:
            begun[task.spec.stage] += _begun(task, state.now_s)
        whole = self._shapes.of(request.job) if request.job.workflow != "graph" else ()
        if not whole:
            total = sum(task.scale for task in tasks)
            still = sum(task.scale for task in tasks if task.state not in ENDED) - sum(begun.values())
            return still / total if total else 1.0

        def seconds(stages: Sequence[StageShape], known: Profiles) -> float:
            return work_s(msgspec.structs.replace(left, stages=tuple(stages)), self._offers, known)

        units = {stage.name: msgspec.structs.replace(stage, units=1) for stage in left.stages}
        done_s = sum(begun.get(name, 0.0) * seconds([unit], profiles) for name, unit in units.items())
        planned_s = seconds(whole, nominal)
        return max(0.0, seconds(left.stages, profiles) - done_s) / planned_s if planned_s else 1.0

    def _want(self, agreement: Agreement, remaining: float, crew: _Crew, state: State) -> tuple[Want, float]:
        """What a contract wants, and the engine time at which it may want something else."""
        terms, offset_s = agreement.terms, state.wall_offset_s
        asked = {
            offer.pools[0]: self._workers(offer.pools[0], offer.nodes) for offer in terms.offers
        }  # fmt: skip
        held = crew.take(terms, asked, offset_s)
        deadline_s = min(agreement.contract.quote.planned_s, agreement.contract.by_s)
        night = Night(remaining=remaining, deadline_s=deadline_s, held=held)
        now_s = state.now_s + offset_s
        wall_s = next_look_s(terms, night, now_s)
        return (
            Want(agreement.request_id, wanted(terms, night, asked, now_s)),
            max(state.now_s + _SOON_S, wall_s - offset_s),
        )

    def _workers(self, pool: str, nodes: int) -> int:
        return min(self._most.get(pool, 0), nodes * self._per_node.get(pool, 1))


def wanted(terms: Terms, night: Night, workers: Mapping[str, int], now_s: float) -> dict[str, int]:
    """Workers by pool; 0 for those of which nothing is asked any more. workers: of each pool's offer."""
    actions = decide(terms, night, now_s)
    taken_back = {action.ident for action in actions if not isinstance(action, Submit)}
    enough = safe(terms, night, now_s)
    found = {offer.pools[0]: 0 for offer in terms.offers}
    for job in night.held:
        pool = terms.offers[job.offer].pools[0]
        if job.ident not in taken_back:
            # Of one that comes worker by worker those that are there are enough, where it is safe with them.
            found[pool] = round(workers[pool] * job.share) if enough else workers[pool]
    for action in actions:
        if isinstance(action, Submit):
            pool = terms.offers[action.offer].pools[0]
            found[pool] = workers[pool]
    return found


def _begun(task: TaskRecord, now_s: float) -> float:
    """How much of a running task is done by the clock, in units; never all of it."""
    if task.state not in HELD or task.started_s < 0 or task.expected_s <= 0:
        return 0.0
    return task.scale * min(_MOST_BEGUN, (now_s - task.started_s) / task.expected_s)


class _Crew:
    """The workers and launches of a state, given to contracts one after the other."""

    def __init__(self, state: State) -> None:
        self._alive: dict[str, list[tuple[float, float | None]]] = {}
        self._coming: dict[str, list[float]] = {}
        for worker in state.workers.values():
            if worker.state != "draining":
                self._alive.setdefault(worker.info.kind, []).append((worker.joined_s, worker.ends_s))
        for launch in state.launches.values():
            self._coming.setdefault(launch.kind, []).append(launch.asked_s)
        for kind in self._alive:
            self._alive[kind].sort(key=lambda row: row[0])
        for kind in self._coming:
            self._coming[kind].sort()

    def take(self, terms: Terms, asked: Mapping[str, int], offset_s: float) -> tuple[Held, ...]:
        """What an agreement holds of each offer's pool, as many as it asks for; others get the rest."""
        found = []
        for i, offer in enumerate(terms.offers):
            pool = offer.pools[0]
            n = asked[pool]
            alive, self._alive[pool] = _first(self._alive.get(pool, []), n)
            coming, self._coming[pool] = _first(self._coming.get(pool, []), n - len(alive))
            if alive:
                ends = [ends_s for _, ends_s in alive if ends_s is not None]
                found.append(
                    Held(
                        ident=pool, offer=i, running=True, since_s=alive[-1][0] + offset_s,
                        share=len(alive) / n, ends_s=min(ends) + offset_s if ends else None,
                    )
                )  # fmt: skip
            elif coming:
                found.append(Held(ident=pool, offer=i, running=False, since_s=coming[0] + offset_s))
        return tuple(found)


def _first(rows: list[_T], n: int) -> tuple[list[_T], list[_T]]:
    return rows[:n], rows[n:]


def _split(standing: Sequence[Standing], fixed: Mapping[str, int]) -> tuple[list[Standing], list[Standing]]:
    """Standing workers of the contracts, those that are there before those on their way, and the others."""
    free = dict(fixed)
    mine: list[Standing] = []
    others: list[Standing] = []
    for row in sorted(standing, key=lambda row: row.coming):
        n = min(row.n, free.get(row.kind, 0))
        free[row.kind] = free.get(row.kind, 0) - n
        for part, into in ((n, mine), (row.n - n, others)):
            if part:
                into.append(Standing(row.kind, row.models, part, row.asked_s))
    return mine, others


def _capped(offers: Sequence[Offer], most: Mapping[str, int]) -> list[Offer]:
    return [
        msgspec.structs.replace(o, item=msgspec.structs.replace(o.item, max_workers=most[o.item.kind]))
        for o in offers
    ]


def _part(view: ContractView, left: Sequence[Left], standing: Sequence[Standing]) -> View:
    fields = {name: getattr(view, name) for name in View.__struct_fields__}
    return View(**{**fields, "left": tuple(left), "standing": tuple(standing)})
