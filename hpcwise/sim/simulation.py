"""Discrete events around the engine: each of its commands becomes what would follow from it, later.

The loop owns no decision: requests, workers, tasks, quality and scaling are decided by the engine that the
head runs, each worker's order by the queue that workers run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.errors import UsageError
from hpcwise.core.profiles import Profiles
from hpcwise.core.provisioner.online import Online
from hpcwise.core.resources import FleetItem, Rank, WorkerInfo
from hpcwise.core.spec import problems
from hpcwise.core.state import LIVE_REQUEST, TaskRecord
from hpcwise.core.units import ModelName
from hpcwise.sim.arrivals import Arrival
from hpcwise.sim.config import SimConfig, check_config
from hpcwise.sim.draws import Draws
from hpcwise.sim.provisioning import Asking
from hpcwise.sim.replica import Replicas
from hpcwise.sim.results import RequestResult, SimResult, kind_results, request_result
from hpcwise.sim.worker import Action, Replica
from hpcwise.sim.workload import Workload, frames_of

#: Called with the engine and the time; workers wanted by kind, or None to leave them as they are.
Provision = Callable[[Engine, float], dict[str, int] | None]
#: Called after each event with the time, the event and what the engine decided.
Watch = Callable[[float, m.Event, list[m.Command]], None]


class Simulation:
    """One run. Build it, call `run` once. Equal arguments give equal results, byte by byte.

    provision: the head's provisioner (see sim/provisioning.py), asked whenever the plan could change; or a
    function that is asked every `provision_every_s` for the workers that should be there. watch: sees every
    event with its decisions, for timelines and journals. Raises UsageError for a configuration or a job that
    cannot be.
    """

    def __init__(
        self,
        config: SimConfig,
        arrivals: Iterable[Arrival],
        workload: Workload | None = None,
        provision: Provision | Online | None = None,
        provision_every_s: float = 300.0,
        watch: Watch | None = None,
    ) -> None:
        check_config(config)
        self.config = config
        self.engine = Engine(config.engine)
        self.now_s = 0.0
        self.draws = Draws(config.seed)
        self.workload = workload or Workload()
        self.truth = Profiles(config.truth or config.engine.catalogue, {})
        self.replicas = Replicas(config, self.truth, self.draws, self)
        self._asking = Asking(provision, self.after) if isinstance(provision, Online) else None
        self._provision = None if isinstance(provision, Online) else provision
        self._provision_every_s = provision_every_s
        self._taken_back: set[str] = set()
        self._watch = watch
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._pushed = 0
        self._tick_s: float | None = None
        self._events = self._commands = self._attempts = self._tasks = self._launch_failures = 0
        self._live: dict[str, None] = {}
        self._results: dict[str, RequestResult] = {}
        self._coming = 0
        self._busy_s: dict[str, float] = {}
        self._items = {item.kind: item for item in config.engine.fleet}
        self._check_models(arrivals := tuple(arrivals))
        for arrival in arrivals:
            self._coming += 1
            self.after(arrival.at_s, self._arrive, arrival)
        for loss in config.losses:
            self.after(loss.at_s, self.replicas.lose_planned, loss)

    # --- running ----------------------------------------------------------------------------------------

    def run(self, until_s: float = float("inf")) -> SimResult:
        """Play until every request has ended or nothing moves any more, at most until `until_s`."""
        if self.config.warm:
            self._start_warm()
        else:
            self._take(m.HeadStarted(1, grace_s=0.0))
        if self._provision is not None:
            self._ask_plan()
        heap, patience_s = self._heap, self.config.patience_s
        moved_s = 0.0
        while self._coming or self._live:
            tick_s = self._tick_s
            if heap and (tick_s is None or heap[0][0] <= tick_s):
                at_s, _, action, arguments = heappop(heap)
                if at_s > until_s:
                    break
                self.now_s = moved_s = at_s
                event = action(*arguments)
                if event is not None:
                    self._take(event)
            elif tick_s is None or tick_s > until_s or tick_s - moved_s > patience_s:
                break
            else:
                self.now_s = tick_s
                self._take(_TICK)
        return self._result()

    def after(self, delay_s: float, action: Action, *arguments: Any) -> None:
        """See Host."""
        self._pushed += 1
        heappush(self._heap, (self.now_s + delay_s, self._pushed, action, arguments))

    # --- what replicas ask ------------------------------------------------------------------------------

    def task(self, task_id: str) -> TaskRecord:
        return self.engine.state.tasks[task_id]

    def nbytes(self, task: TaskRecord) -> int:
        return self.workload.nbytes(task)

    def chunk_facts(self, task: TaskRecord) -> list[dict[str, Any]]:
        """See Host: what a real model would say of each chunk."""
        spec = task.spec
        request = self.engine.state.requests[spec.request_id]
        if spec.expand:
            scenes = self.workload.screenplay(request.job, self.draws, spec.request_id)
            return [{"scene": msgspec.to_builtins(scene)} for scene in scenes]
        if spec.publishes or spec.remake_of:
            frames = frames_of(task, request.job, request.shots[spec.shot].expected_s)
            return [{"frames": n} for n in frames]
        if spec.stage == "speech":
            return [{"duration_s": self.workload.speech_s(task, self.draws)}]
        n = spec.params.get("chunks", 1)
        return [{} for _ in range(n if isinstance(n, int) and n > 0 else 1)]

    def input_chunks(self, task: TaskRecord) -> dict[str, tuple[int, bool]]:
        """See Host."""
        found: dict[str, tuple[int, bool]] = {}
        for edge in task.spec.inputs:
            if edge.kind == "stream" and edge.chunk < 0:
                source = self.engine.state.tasks[edge.source]
                if source.state != "finished":
                    found[edge.name] = (source.chunks, False)
        return found

    def transfer_s(self, task: TaskRecord, replica: Replica) -> float:
        """See Host: over regions by their link, within one by InfiniBand or the shared file system."""
        config, state = self.config, self.engine.state
        region = replica.info.region
        if not region and not config.fs_gb_per_s and not config.ib_gb_per_s:
            return 0.0
        total_s = 0.0
        for edge in task.spec.inputs:
            source = state.tasks[edge.source]
            artifact = state.artifacts[source.key]
            if artifact.region != region and artifact.region and region:
                total_s += self.truth.transfer_s(artifact.region, region, artifact.nbytes)
                continue
            maker = state.workers.get(source.last_worker)
            fast = maker is not None and config.site(maker.info.kind).infiniband and replica.site.infiniband
            if fast and config.ib_gb_per_s:
                total_s += config.ib_latency_s + artifact.nbytes / 1e9 / config.ib_gb_per_s
            elif config.fs_gb_per_s:
                total_s += config.fs_latency_s + artifact.nbytes / 1e9 / config.fs_gb_per_s
        return total_s

    # --- events -----------------------------------------------------------------------------------------

    def _take(self, event: m.Event) -> None:
        self._events += 1
        kind = type(event)
        lost = self.engine.state.workers.get(event.worker_id) if isinstance(event, m.WorkerLost) else None
        commands = self.engine.handle(event, self.now_s)
        if lost is not None:
            self._busy_s[lost.info.worker_id] = lost.busy_s
        if self._watch is not None:
            self._watch(self.now_s, event, commands)
        self._commands += len(commands)
        for command in commands:
            perform = _PERFORM.get(type(command))
            if perform is not None:
                perform(self, command)
        if self._asking is not None:
            self._asking.heard(self.engine.state, event, commands)
        if kind is m.Tick:
            wake_s = self.engine.next_wakeup_s()
            self._tick_s = None if wake_s is None else max(wake_s, self.now_s + self.config.tick_s)
        elif self._tick_s is None or self._tick_s > self.now_s + self.config.tick_s:
            wake_s = self.engine.next_wakeup_s()
            if wake_s is not None:
                self._tick_s = max(wake_s, self.now_s + self.config.tick_s)

    def _arrive(self, arrival: Arrival) -> m.Event:
        self._coming -= 1
        self._live[arrival.request_id] = None
        return m.RequestArrived(arrival.request_id, arrival.job, self.config.wall0_s + self.now_s)

    def _ask_plan(self) -> None:
        provision = self._provision
        assert provision is not None

        def answer() -> m.Event | None:
            self.after(self._provision_every_s, answer)
            wanted = provision(self.engine, self.now_s)
            return None if wanted is None else m.PlanReady(self.engine.state_version, wanted)

        first = answer()
        if first is not None:
            self._take(first)

    # --- commands ---------------------------------------------------------------------------------------

    def _dispatch(self, c: m.Dispatch) -> None:
        self._attempts += 1
        spec = self.engine.state.tasks[c.task_id].spec
        self.replicas.dispatch(c, spec.alternatives[c.alternative].model)

    def _launch(self, c: m.Launch) -> None:
        item, site = self._items[c.kind], self.config.site(c.kind)
        wait_s = item.launch_s + site.queue_s * self.draws.factor(site.queue_sigma, "queue", c.token)
        if self.config.launch_failure_rate > self.draws.uniform("launch", c.token):
            self._launch_failures += 1
            self.after(wait_s, _told, m.LaunchFailed(c.token, "simulated failure of the batch system"))
        else:
            self.after(wait_s, self._join, item, c.token, ())

    def _cancel_launch(self, c: m.CancelLaunch) -> None:
        self._taken_back.add(c.token)

    def _join(self, item: FleetItem, token: str, loaded: tuple[ModelName, ...]) -> m.Event | None:
        if token in self._taken_back:
            return None
        site = self.config.site(item.kind)
        devices = tuple(range(item.devices_per_node))
        return self.replicas.join(
            WorkerInfo(
                worker_id=token,
                kind=item.kind,
                hardware=item.hardware,
                launch=token,
                ranks=tuple(Rank(f"{token}-n{i}", devices) for i in range(max(1, item.nodes))),
                region=site.region,
                models=item.models,
                loaded=loaded,
                memory_gb=item.memory_gb,
                lifetime_s=site.lifetime_s,
                spot=site.spot,
            )
        )

    def _publish(self, c: m.Publish) -> None:
        self.after(self.config.publish_s, _told, m.Published(c.request_id, c.index))

    def _make_film(self, c: m.MakeFilm) -> None:
        self.after(self.config.film_s, _told, m.FilmMade(c.request_id, c.version))

    def _ended(self, c: m.RequestEnded) -> None:
        self._live.pop(c.request_id, None)
        self._results[c.request_id] = request_result(self.engine, c.request_id)

    def _added(self, c: m.AddTasks | m.ReplaceTask) -> None:
        self._tasks += len(c.tasks) - (type(c) is m.ReplaceTask)

    # --- start and end ----------------------------------------------------------------------------------

    def _start_warm(self) -> None:
        for item in self.config.engine.fleet:
            if self.config.site(item.kind).cold:
                continue
            loaded: list[ModelName] = []
            free_gb = item.memory_gb
            for model in item.models:
                free_gb -= self.truth.memory_gb(model)
                if free_gb < -1e-9:
                    break
                loaded.append(model)
            for i in range(item.max_workers):
                joined = self._join(item, f"{item.kind}-{i}", tuple(loaded))
                assert joined is not None
                self._take(joined)

    def _check_models(self, arrivals: tuple[Arrival, ...]) -> None:
        """Whatever could never run is named before anything does."""
        known = self.config.engine.catalogue.models
        hosted = {model for item in self.config.engine.fleet if item.max_workers for model in item.models}
        for model in sorted(hosted - known.keys()):
            raise UsageError(
                f"model: {model!r} is not in the catalogue; known are {', '.join(sorted(known))}"
            )
        names: set[str] = set()
        seen: set[str] = set()
        for arrival in arrivals:
            if arrival.request_id in seen:
                raise UsageError(
                    f"arrivals: {arrival.request_id!r} comes twice; give every request its own id"
                )
            seen.add(arrival.request_id)
            if not arrival.at_s >= 0:
                raise UsageError(f"arrivals.{arrival.request_id}: at {arrival.at_s!r} s; give 0 or more")
            for problem in problems(arrival.job):
                raise UsageError(problem.line())
            names.update(arrival.job.models.values(), (t.model for t in arrival.job.graph))
        for model in sorted(names - known.keys()):
            raise UsageError(
                f"model: {model!r} is not in the catalogue; known are {', '.join(sorted(known))}"
            )

    def _result(self) -> SimResult:
        state = self.engine.state
        for request_id, request in state.requests.items():
            if request_id not in self._results:
                over = request.state not in LIVE_REQUEST
                self._results[request_id] = request_result(self.engine, request_id)
                if over:
                    self._live.pop(request_id, None)
        for worker_id, worker in state.workers.items():
            self._busy_s[worker_id] = worker.busy_s
        replicas = sorted((*self.replicas.gone, *self.replicas.live.values()), key=lambda r: r.nth)
        kinds = kind_results(replicas, self._busy_s, self.now_s, self.truth)
        held_s = sum(k.held_s * k.devices for k in kinds)
        return SimResult(
            seed=self.config.seed,
            end_s=self.now_s,
            requests=tuple(sorted(self._results.values(), key=lambda r: (r.arrived_s, r.request_id))),
            kinds=kinds,
            workers=len(replicas),
            tasks=self._tasks,
            attempts=self._attempts,
            events=self._events,
            commands=self._commands,
            failures=self.replicas.failures,
            stragglers=self.replicas.stragglers,
            evictions=self.replicas.evictions,
            crashes=self.replicas.crashes,
            launch_failures=self._launch_failures,
            taken_back=len(self._taken_back),
            plans=self._asking.plans if self._asking else 0,
            busy_usd=sum(r.cost_usd for r in self._results.values()),
            held_usd=sum(k.held_usd for k in kinds),
            energy_j=sum(k.held_energy_j for k in kinds),
            utilisation=sum(k.busy_s * k.devices for k in kinds) / held_s if held_s > 0 else 0.0,
        )


def simulate(
    config: SimConfig,
    arrivals: Iterable[Arrival],
    workload: Workload | None = None,
    watch: Watch | None = None,
) -> SimResult:
    """Run one simulation to its end; see Simulation."""
    return Simulation(config, arrivals, workload, watch=watch).run()


def _told(event: m.Event) -> m.Event:
    return event


_TICK: Final = m.Tick()
_PERFORM: Final[dict[type[m.Command], Callable[[Simulation, Any], None]]] = {
    m.Dispatch: Simulation._dispatch,
    m.Launch: Simulation._launch,
    m.CancelLaunch: Simulation._cancel_launch,
    m.Publish: Simulation._publish,
    m.MakeFilm: Simulation._make_film,
    m.RequestEnded: Simulation._ended,
    m.AddTasks: Simulation._added,
    m.ReplaceTask: Simulation._added,
    m.DeliverChunk: lambda sim, c: sim.replicas.delivered(c),
    m.LoadModel: lambda sim, c: sim.replicas.load(c),
    m.UnloadModel: lambda sim, c: sim.replicas.load(c),
    m.Revoke: lambda sim, c: sim.replicas.revoke(c),
    m.Cancel: lambda sim, c: sim.replicas.stop(c),
    m.Pause: lambda sim, c: sim.replicas.stop(c),
    m.Kill: lambda sim, c: sim.replicas.kill(c),
    m.Drain: lambda sim, c: sim.replicas.drain(c),
}
