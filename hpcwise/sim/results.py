"""What a simulation found: for each request, for each kind of worker, and for all of it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hpcwise.core.engine import Engine
from hpcwise.core.explain import explain
from hpcwise.core.profiles import Profiles
from hpcwise.core.report import play_of, slo_met, slo_text
from hpcwise.core.state import LIVE_REQUEST
from hpcwise.sim.worker import Replica


class RequestResult(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Times in seconds after its arrival; None for what did not come to be.

    ready_s: until film.mp4 (of a graph: until its last task). ttff_stall_free_s: the earliest start of
    playback that never stalls. cost_usd, energy_j: of the time in which workers ran its tasks.
    """

    request_id: str
    state: str
    reason: str
    slo: str
    slo_met: bool | None
    arrived_s: float
    ready_s: float | None
    ttff_s: float | None
    ttff_stall_free_s: float | None
    ttff_eff_s: float | None
    stall_s: float
    stalls: int
    film_s: float
    shots: int
    degraded: int
    cost_usd: float
    energy_j: float


class KindResult(msgspec.Struct, frozen=True, kw_only=True):
    """Workers of a kind. held_s: from joining to leaving, busy_s: running tasks, over all of them."""

    kind: str
    hardware: str
    devices: int
    workers: int
    held_s: float
    busy_s: float
    utilisation: float
    held_usd: float
    held_energy_j: float


class SimResult(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. busy_usd pays the seconds in which tasks ran, held_usd those in which workers were held
    (what a cluster or cloud bills); energy_j counts idle power too. taken_back: launches that were no longer
    wanted before their worker came; plans: answers of the provisioner."""

    seed: int
    end_s: float
    requests: tuple[RequestResult, ...]
    kinds: tuple[KindResult, ...]
    workers: int
    tasks: int
    attempts: int
    events: int
    commands: int
    failures: int
    stragglers: int
    evictions: int
    crashes: int
    launch_failures: int
    busy_usd: float
    held_usd: float
    energy_j: float
    utilisation: float
    taken_back: int = 0
    plans: int = 0


def request_result(engine: Engine, request_id: str) -> RequestResult:
    """How a request came out; one that is still live is stuck, and its reason says why."""
    request = engine.state.requests[request_id]
    state, reason = request.state, request.reason
    if state in LIVE_REQUEST:
        state, reason = "stuck", _why_stuck(engine, request_id)
    play = play_of(engine.world, request)
    ready_at_s = request.film_at_s
    if request.job.workflow == "graph" and state == "done":
        ready_at_s = request.ended_s
    tasks = engine.state.tasks
    return RequestResult(
        request_id=request_id,
        state=state,
        reason=reason,
        slo=slo_text(request.job),
        slo_met=slo_met(engine, request, play),
        arrived_s=request.arrived_s,
        ready_s=ready_at_s - request.arrived_s if ready_at_s >= 0 else None,
        ttff_s=play.ttff_s if play else None,
        ttff_stall_free_s=play.ttff_stall_free_s if play else None,
        ttff_eff_s=play.ttff_eff_s if play else None,
        stall_s=play.stall_s if play else 0.0,
        stalls=play.stalls if play else 0,
        film_s=play.duration_s if play else 0.0,
        shots=len(request.shots),
        degraded=sum(tasks[s.task_id].alternative > 0 for s in request.shots),
        cost_usd=request.cost_usd,
        energy_j=request.energy_j,
    )


def kind_results(
    replicas: Iterable[Replica], busy_s: dict[str, float], end_s: float, prices: Profiles
) -> tuple[KindResult, ...]:
    """Sums over the workers of each kind; busy_s: by worker id."""
    rows: dict[str, list[Replica]] = {}
    for replica in replicas:
        rows.setdefault(replica.info.kind, []).append(replica)
    found = []
    for kind, members in rows.items():
        info = members[0].info
        held_s = sum((r.ended_s if r.ended_s >= 0 else end_s) - r.joined_s for r in members)
        busy = sum(busy_s.get(r.info.worker_id, 0.0) for r in members)
        hardware = prices.catalogue.hardware.get(info.hardware)
        idle_w = hardware.idle_w if hardware else 0.0
        busy_w = hardware.busy_w if hardware else 0.0
        found.append(
            KindResult(
                kind=kind,
                hardware=info.hardware,
                devices=info.n_devices,
                workers=len(members),
                held_s=held_s,
                busy_s=busy,
                utilisation=busy / held_s if held_s > 0 else 0.0,
                held_usd=prices.cost_usd(info.hardware, info.n_devices, held_s, spot=info.spot),
                held_energy_j=info.n_devices * (busy * busy_w + max(0.0, held_s - busy) * idle_w),
            )
        )
    return tuple(sorted(found, key=lambda row: row.kind))


def _why_stuck(engine: Engine, request_id: str) -> str:
    answer = explain(engine, request_id)
    blocked = [r for r in answer.reasons if r.code not in ("waits_inputs", "done")]
    chosen = blocked or list(answer.reasons)
    return f"{chosen[0].task_id}: {chosen[0].text}" if chosen else answer.summary
