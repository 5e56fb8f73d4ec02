"""From the records of one real run to the simulator's world, and the same figures out of both."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import log
from typing import Final, TypeVar

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import LinearProfile
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.profiles import Profiles
from hpcwise.head.ledger import Record
from hpcwise.sim.arrivals import Arrival
from hpcwise.sim.config import SimConfig
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import Workload

_K = TypeVar("_K")
#: Simulated runs of which a prediction is the mean: the simulator draws its own noise.
DRAWS: Final = 9


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Of one film: arrival to end (or to film.mp4), arrival to its first segment, dollars of the time that
    workers spent on it."""

    makespan_s: float
    ttff_s: float
    cost_usd: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a run teaches. factors: measured seconds by what the profile says, by model and hardware; sigma:
    spread of the logarithm around them. overhead_s: mean from dispatch to result, less the task itself, on an
    idle worker that had the model. loads_s: mean time of loading each model. joins_s: from a launch to its
    worker, by kind. film_s: from the last segment to film.mp4."""

    factors: dict[tuple[str, str], float]
    sigma: float
    overhead_s: float
    loads_s: dict[str, float]
    joins_s: dict[str, list[float]]
    film_s: float = 0.0


def replayed(records: Iterable[Record], config: EngineConfig) -> Engine:
    """The engine as the head had it after these records."""
    engine = Engine(config)
    for record in records:
        engine.apply_recorded(record.event, record.commands, record.now_s)
    return engine


def outcome(engine: Engine, request_id: str, first_task: str) -> Outcome:
    """What a request came to, real or simulated; first_task: whose end makes the first segment."""
    request = engine.state.requests[request_id]
    end_s = request.film_at_s if request.film_at_s >= 0 else request.ended_s
    first = engine.state.tasks[f"{request_id}/{first_task}"]
    return Outcome(
        makespan_s=end_s - request.arrived_s,
        ttff_s=first.finished_s - request.arrived_s,
        cost_usd=request.cost_usd,
    )


def measure(records: Sequence[Record], engine: Engine, request_id: str) -> Measured:
    """records: those of the request's run; engine: after them."""
    profiles = Profiles(engine.config.catalogue, {})
    kinds = {item.kind: item.hardware for item in engine.config.fleet}
    request = engine.state.requests[request_id]
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    idle = _idle_dispatches(records)
    overheads: list[float] = []
    for task_id in request.tasks:
        task = engine.state.tasks[task_id]
        if task.state != "finished" or task.cached or task.seconds <= 0:
            continue
        made = task.spec.alternatives[task.alternative]
        # A worker's id is e<epoch>-<kind>-<number>.
        hardware = kinds[task.last_worker.partition("-")[2].rpartition("-")[0]]
        expected_s = profiles.expected_s(made.model, hardware, made.features, 1, task.scale)
        ratios[made.model, hardware].append(task.seconds / expected_s)
        if task.attempt in idle:
            overheads.append(task.finished_s - task.dispatched_s - task.seconds)
    loads: dict[str, list[float]] = defaultdict(list)
    joins: dict[str, list[float]] = defaultdict(list)
    asked: dict[str, tuple[str, float]] = {}
    for record in records:
        event = record.event
        if isinstance(event, m.ModelLoaded):
            loads[event.model].append(event.seconds)
        elif isinstance(event, m.WorkerJoined) and event.worker.launch in asked:
            kind, at_s = asked.pop(event.worker.launch)
            joins[kind].append(record.now_s - at_s)
        asked |= {c.token: (c.kind, record.now_s) for c in record.commands if isinstance(c, m.Launch)}
    factors = {pair: statistics.fmean(values) for pair, values in ratios.items()}
    spread = [log(value / factors[pair]) for pair, values in ratios.items() for value in values]
    last_s = max((at_s for at_s, _ in request.published), default=request.film_at_s)
    return Measured(
        factors=factors,
        sigma=statistics.pstdev(spread),
        overhead_s=max(0.0, statistics.fmean(overheads)) if overheads else 0.0,
        loads_s={model: statistics.fmean(values) for model, values in loads.items()},
        joins_s=dict(joins),
        film_s=max(0.0, request.film_at_s - last_s),
    )


def merged(runs: Sequence[Measured]) -> Measured:
    """The mean of several runs."""

    def mean(values: Iterable[dict[_K, float]]) -> dict[_K, float]:
        found: dict[_K, list[float]] = defaultdict(list)
        for each in values:
            for key, value in each.items():
                found[key].append(value)
        return {key: statistics.fmean(each) for key, each in found.items()}

    joins: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for kind, each in run.joins_s.items():
            joins[kind] += each
    return Measured(
        factors=mean(run.factors for run in runs),
        sigma=statistics.fmean(run.sigma for run in runs),
        overhead_s=statistics.fmean(run.overhead_s for run in runs),
        loads_s=mean(run.loads_s for run in runs),
        joins_s=dict(joins),
        film_s=statistics.fmean(run.film_s for run in runs),
    )


def _idle_dispatches(records: Sequence[Record]) -> set[int]:
    """Attempts that were sent to a worker that held nothing and had their model."""
    held: dict[str, set[str]] = defaultdict(set)
    where: dict[str, str] = {}
    has: set[tuple[str, str]] = set()
    models: dict[str, str] = {}
    found: set[int] = set()
    for record in records:
        event = record.event
        if isinstance(event, m.TaskFinished | m.TaskFailed | m.TaskCancelled | m.Revoked):
            worker = where.pop(event.task_id, "")
            held[worker].discard(event.task_id)
            if isinstance(event, m.TaskFinished):
                has.add((worker, models.get(event.task_id, "")))
        for command in record.commands:
            if isinstance(command, m.AddTasks):
                models |= {spec.task_id: spec.alternatives[0].model for spec in command.tasks}
            elif isinstance(command, m.Dispatch):
                if not held[command.worker_id] and (command.worker_id, models[command.task_id]) in has:
                    found.add(command.attempt)
                held[command.worker_id].add(command.task_id)
                where[command.task_id] = command.worker_id
    return found


def measured_config(measured: Measured, engine: EngineConfig) -> EngineConfig:
    """The head's configuration with the profiles and load times that another run measured."""
    models = dict(engine.catalogue.models)
    for (model, hardware), factor in measured.factors.items():
        plain = models[model].profiles.get(hardware, LinearProfile(base_s=1.0))
        per = {term: each * factor for term, each in plain.per.items()}
        profile = LinearProfile(base_s=plain.base_s * factor, per=per)
        profiles = {**models[model].profiles, hardware: profile}
        models[model] = msgspec.structs.replace(models[model], profiles=profiles)
    for model, load_s in measured.loads_s.items():
        models[model] = msgspec.structs.replace(models[model], load_s=load_s)
    catalogue = msgspec.structs.replace(engine.catalogue, models=models)
    return msgspec.structs.replace(engine, catalogue=catalogue)


def predicted(
    configs: Iterable[SimConfig], arrival: Arrival, first_task: str, workload: Callable[[int], Workload]
) -> Outcome:
    """Mean over simulated runs, each with its own draws. workload: by the number of the draw."""
    found = []
    for i, config in enumerate(configs):
        simulation = Simulation(config, (arrival,), workload(i))
        simulation.run()
        found.append(outcome(simulation.engine, arrival.request_id, first_task))
    return Outcome(
        makespan_s=statistics.fmean(o.makespan_s for o in found),
        ttff_s=statistics.fmean(o.ttff_s for o in found),
        cost_usd=statistics.fmean(o.cost_usd for o in found),
    )


def error(real: float, predicted_: float) -> float:
    """Relative error of a prediction."""
    return abs(predicted_ - real) / real
