"""The state with its indexes, and the few primitive changes that keep both in step.

`apply.py` changes the world by events and commands; the deciding modules (scheduler, quality, publish,
growth, scaling) only read it. What an event leaves to be decided is noted here (`fresh`, `failed`, ...)
and taken up by the engine in the same call.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from hpcwise.core.cache import recipe_key
from hpcwise.core.config import EngineConfig
from hpcwise.core.deadlines import Positions, task_deadline_s
from hpcwise.core.fleet import Fleet
from hpcwise.core.policies import policy_named
from hpcwise.core.profiles import KNOWN_MOST, Profiles
from hpcwise.core.ready import Pool
from hpcwise.core.spec import Batch
from hpcwise.core.state import (
    ENDED,
    HELD,
    LIVE_REQUEST,
    OPEN,
    ArtifactRecord,
    RequestRecord,
    State,
    TaskRecord,
    WorkerRecord,
    step_task,
)
from hpcwise.core.units import SEGMENT_S, Key, ModelName, RequestId, TaskId
from hpcwise.core.workflow import Alternative, Edge, TaskSpec

#: Why an attempt failed: by its own fault, with its worker, it had not begun or could not be stored, or what
#: it made cannot be shown.
Blame = Literal["fault", "lost", "blameless", "bad"]


class World:
    """See the module docstring. All methods are deterministic and do no I/O."""

    def __init__(self, config: EngineConfig, state: State) -> None:
        self.config = config
        self.state = state
        self.policy = policy_named(config.policy)
        self.profiles = Profiles(config.catalogue, state.ratios)
        self.fleet = Fleet(self.policy.rank)
        self.pools: dict[ModelName, Pool] = {}
        self.consumers: dict[TaskId, list[TaskId]] = {}
        self.positions: dict[RequestId, Positions] = {}
        self.makers: dict[Key, TaskId] = {}
        self.twins: dict[TaskId, list[TaskId]] = {}
        #: How many tasks that have not ended a model may have a hand in.
        self.asked: Counter[ModelName] = Counter()
        self._places: dict[ModelName, tuple[tuple[str, int], ...]] = {}
        #: By model, scale and features: what the profiles say of each place, beside the place's ratio.
        self._typical: dict[tuple[object, ...], tuple[tuple[str, float], ...]] = {}
        #: Requests that have not ended, and those among them whose quality follows their deadlines.
        self.live: dict[RequestId, None] = {}
        self.adaptive: dict[RequestId, None] = {}
        self.clear_notes()
        self._rebuild()

    def clear_notes(self) -> None:
        """Nothing is left to be decided."""
        self.fresh: list[TaskRecord] = []
        self.failed: dict[TaskId, Blame] = {}
        self.grown: list[tuple[TaskId, int]] = []
        self.arrived: list[RequestId] = []
        self.moved_requests: dict[RequestId, None] = {}
        self.streamed: dict[TaskId, None] = {}
        self.stalled: dict[TaskId, None] = {}
        self.strays: list[tuple[str, TaskId, int]] = []
        self.work_changed = False

    def _rebuild(self) -> None:
        for request in self.state.requests.values():
            self.positions[request.request_id] = Positions([s.expected_s for s in request.shots])
            if request.state in LIVE_REQUEST:
                self.begin_request(request)
        for task in self.state.tasks.values():
            for edge in task.spec.inputs:
                self.consumers.setdefault(edge.source, []).append(task.spec.task_id)
            if task.state not in ENDED:
                self.asked.update(task.spec.models)
            if task.state == "twin":
                self.twins.setdefault(task.twin, []).append(task.spec.task_id)
            if task.state in HELD:
                self.makers[task.key] = task.spec.task_id
        for worker in self.state.workers.values():
            self.fleet.add(worker)
        for task in self.state.tasks.values():
            if task.state in OPEN:
                self.makers.setdefault(task.key, task.spec.task_id)
                self.pool_of(task).push(task)
                self.fresh.append(task)
        self.work_changed = True

    def begin_request(self, request: RequestRecord) -> None:
        """`request` is live from now on."""
        self.live[request.request_id] = None
        adaptive = self.policy.adaptive and not request.job.fixed_ladder
        if adaptive and request.job.workflow != "graph" and not isinstance(request.job.slo, Batch):
            self.adaptive[request.request_id] = None

    def finish_request(self, request: RequestRecord) -> None:
        """`request` has ended."""
        self.live.pop(request.request_id, None)
        self.adaptive.pop(request.request_id, None)

    # --- reading ------------------------------------------------------------------------------------

    def request_of(self, task: TaskRecord) -> RequestRecord:
        return self.state.requests[task.spec.request_id]

    def alternative_of(self, task: TaskRecord) -> Alternative:
        return task.spec.alternatives[task.alternative]

    def pool_of(self, task: TaskRecord) -> Pool:
        """The pool of the task's model, made when first needed."""
        model = task.spec.alternatives[task.alternative].model
        pool = self.pools.get(model)
        if pool is None:
            pool = self.pools[model] = Pool(model, self.urgency, self._order)
        return pool

    def deadline_s(self, task: TaskRecord) -> float:
        """Engine time by which `task`, or its first chunk, must have ended."""
        request = self.state.requests[task.spec.request_id]
        return task_deadline_s(request, task, self.positions[request.request_id], self.state.wall_offset_s)

    def urgency(self, task: TaskRecord) -> float:
        """The policy's order over ready tasks."""
        return self.policy.urgency(task, self.request_of(task), self.deadline_s(task))

    def _order(self, task: TaskRecord) -> float:
        """Order within a request's stage: never changes while the task is ready."""
        return task.spec.order if self.policy.by_deadline else self.urgency(task)

    def typical_s(self, alternative: Alternative, scale: float = 1.0) -> float:
        """Expected seconds on the fastest hardware that the fleet may have for this model; of several parts,
        one after the other."""
        if alternative.parts:
            return sum(self._typical_s(part.model, part.features, scale) for part in alternative.parts)
        return self._typical_s(alternative.model, alternative.features, scale)

    def _typical_s(self, model: ModelName, features: dict[str, float], scale: float) -> float:
        asked = (model, scale, *features.items())
        found = self._typical.get(asked)
        if found is None:
            found = tuple(
                (
                    self.profiles.pair(model, hardware),
                    self.profiles.profiled_s(model, hardware, features, n, scale),
                )
                for hardware, n in self._where(model)
            )
            if len(self._typical) >= KNOWN_MOST:
                self._typical.clear()
            self._typical[asked] = found
        ratios = self.state.ratios
        return min([seconds * ratios.get(pair, 1.0) for pair, seconds in found])

    def _where(self, model: ModelName) -> tuple[tuple[str, int], ...]:
        """Hardware and devices that the fleet may have for a model."""
        where = self._places.get(model)
        if where is None:
            found = {
                (item.hardware, max(1, item.nodes * max(1, item.devices_per_node))): None
                for item in self.config.fleet
                if model in item.models
            }
            info = self.config.catalogue.models.get(model)
            where = tuple(found) or tuple((h, 1) for h in (info.profiles if info else {})) or (("", 1),)
            self._places[model] = where
        return where

    def key_of(self, task: TaskRecord) -> Key:
        """The task's recipe key in its present alternative; all its inputs have keys by now."""
        tasks = self.state.tasks
        alternative = task.spec.alternatives[task.alternative]
        info = self.config.catalogue.models.get(alternative.model)
        inputs = [
            (e.name if e.chunk < 0 else f"{e.name}[{e.chunk}]", tasks[e.source].key) for e in task.spec.inputs
        ]
        return recipe_key(task.spec, alternative, info.version if info else "", inputs)

    def artifact_done(self, key: Key) -> bool:
        artifact = self.state.artifacts.get(key)
        return artifact is not None and artifact.done

    def edge_met(self, edge: Edge) -> bool:
        """Whether the input is there: whole, or of a stream its first chunk, or the one that is wanted."""
        source = self.state.tasks[edge.source]
        if source.state == "finished":
            return True
        return edge.kind == "stream" and source.chunks > max(0, edge.chunk)

    def segment_deadline_s(self, task: TaskRecord, chunk: int) -> float:
        """Engine time by which chunk `chunk` of a publishing task must be playable."""
        return self.deadline_s(task) + task.tail_s + chunk * SEGMENT_S

    # --- changing -----------------------------------------------------------------------------------

    def next_ordinal(self) -> int:
        self.state.ordinals += 1
        return self.state.ordinals

    def add_task(self, spec: TaskSpec, tail_s: float) -> TaskRecord:
        """A new node of the graph; its sources exist already."""
        task = TaskRecord(spec=spec, ordinal=self.next_ordinal(), tail_s=tail_s)
        self.state.tasks[spec.task_id] = task
        request = self.state.requests[spec.request_id]
        request.tasks.append(spec.task_id)
        self.begin_task(task)
        self.connect(task)
        return task

    def connect(self, task: TaskRecord) -> None:
        """Register the task with its inputs and make it ready if they are all there."""
        unmet = 0
        for edge in task.spec.inputs:
            users = self.consumers.setdefault(edge.source, [])
            if not users or users[-1] != task.spec.task_id:
                users.append(task.spec.task_id)
            if not self.edge_met(edge):
                unmet += 1
        task.unmet = unmet
        if unmet == 0:
            step_task(task, "inputs_met")
            self.make_ready(task)

    def make_ready(self, task: TaskRecord) -> None:
        """The task is open (ready or paused): it gets its key, claims it if nobody has, and is offered.

        It waits again if an input was found torn while it was elsewhere (at a worker, or behind a twin).
        """
        task.unmet = sum(not self.edge_met(e) for e in task.spec.inputs)
        if task.unmet:
            step_task(task, "inputs_lost")
            return
        task.key = self.key_of(task)
        self.makers.setdefault(task.key, task.spec.task_id)
        self.fresh.append(task)
        self.pool_of(task).push(task)
        self.work_changed = True

    def recheck_inputs(self, task: TaskRecord) -> None:
        """Count the task's unmet inputs anew; `waiting` becomes ready where none is left.

        A task that has just gone back to `waiting` gives up its key first (`unclaim`).
        """
        task.unmet = sum(not self.edge_met(e) for e in task.spec.inputs)
        if task.state == "waiting" and task.unmet == 0:
            step_task(task, "inputs_met")
            self.make_ready(task)

    def input_arrived(self, source: TaskRecord, first_chunk: bool) -> None:
        """`source` has its first chunk, or is finished: count down its consumers."""
        for task_id in self.consumers.get(source.spec.task_id, ()):
            task = self.state.tasks[task_id]
            if task.state == "waiting":
                if len(task.spec.inputs) == 1 and not first_chunk:
                    task.unmet = 0
                    step_task(task, "inputs_met")
                    self.make_ready(task)
                else:
                    self.recheck_inputs(task)
            elif task.state in HELD:
                self.streamed[task_id] = None

    def hold(self, worker: WorkerRecord, task: TaskRecord, expected_s: float) -> None:
        """`worker` was given `task`."""
        now_s = self.state.now_s
        worker.held[task.spec.task_id] = expected_s
        worker.backlog_s += expected_s
        worker.free_at_s = max(worker.free_at_s, now_s) + expected_s
        worker.dispatches += 1
        task.kept_in = worker.info.region
        self.fleet.update(worker)

    def release(self, task: TaskRecord) -> None:
        """The task's worker no longer has it."""
        worker = self.state.workers.get(task.worker)
        task.last_worker = task.worker or task.last_worker
        task.worker = ""
        if worker is None:
            return
        now_s = self.state.now_s
        expected_s = worker.held.pop(task.spec.task_id, None)
        if expected_s is None:
            return
        worker.backlog_s = worker.backlog_s - expected_s if worker.held else 0.0
        worker.free_at_s = now_s + worker.backlog_s
        if not worker.held:
            worker.idle_since_s = now_s
        self.fleet.update(worker)
        self.work_changed = True

    def begin_task(self, task: TaskRecord) -> None:
        """The task is to be done, for the first time or once more."""
        self.request_of(task).open_tasks += 1
        self.asked.update(task.spec.models)

    def respecify(self, task: TaskRecord, spec: TaskSpec) -> None:
        """The task, which has not ended, is to be done as `spec` says."""
        self.asked.subtract(task.spec.models)
        self.asked.update(spec.models)
        task.spec = spec

    def end_task(self, task: TaskRecord) -> None:
        """The task will not run again (unless its artifact is found torn)."""
        if task.state not in ENDED:
            return
        request = self.state.requests[task.spec.request_id]
        request.open_tasks -= 1
        self.asked.subtract(task.spec.models)
        self.moved_requests[request.request_id] = None

    def forget_task(self, task: TaskRecord) -> None:
        """The task's request is forgotten, or made anew."""
        if task.state not in ENDED:
            self.asked.subtract(task.spec.models)
        del self.state.tasks[task.spec.task_id]
        self.consumers.pop(task.spec.task_id, None)

    def drop(self, task: TaskRecord) -> None:
        """The task is no longer wanted and is not held by a worker."""
        step_task(task, "drop")
        self.end_task(task)
        self.unclaim(task)

    def unclaim(self, task: TaskRecord) -> None:
        """The task no longer makes its key: those who waited for it look again."""
        if self.makers.get(task.key) == task.spec.task_id:
            del self.makers[task.key]
        for task_id in self.twins.pop(task.spec.task_id, ()):
            # One that was dropped meanwhile may have been forgotten, or planned anew under the same id.
            twin = self.state.tasks.get(task_id)
            if twin is not None and twin.state == "twin" and twin.twin == task.spec.task_id:
                twin.twin = ""
                step_task(twin, "twin_done")
                self.make_ready(twin)

    def artifact(self, key: Key) -> ArtifactRecord:
        """The record of `key`, made when first needed."""
        found = self.state.artifacts.get(key)
        if found is None:
            found = self.state.artifacts[key] = ArtifactRecord(key=key)
        return found

    def note_chunks(self, task: TaskRecord, n_chunks: int) -> None:
        """The task has chunks up to `n_chunks`: whatever follows from each new one is noted."""
        first = task.chunks == 0 and n_chunks > 0
        if task.spec.expand:
            self.grown.extend((task.spec.task_id, k) for k in range(task.chunks, n_chunks))
        task.chunks = max(task.chunks, n_chunks)
        if task.spec.publishes:
            self.moved_requests[task.spec.request_id] = None
        if task.spec.task_id in self.consumers:
            if first:
                self.input_arrived(task, first_chunk=True)
            else:
                self._stream_on(task)

    def _stream_on(self, task: TaskRecord) -> None:
        for task_id in self.consumers[task.spec.task_id]:
            consumer = self.state.tasks[task_id]
            if consumer.state in HELD:
                self.streamed[task_id] = None
            elif consumer.state == "waiting":
                self.recheck_inputs(consumer)

    def turn_page(self, request: RequestRecord) -> None:
        """Move to the shot whose next chunk is to be published; past those that are through."""
        while request.next_shot < len(request.shots):
            task = self.state.tasks[request.shots[request.next_shot].task_id]
            if task.state != "finished" or request.next_chunk < task.chunks:
                return
            request.next_shot += 1
            request.next_chunk = 0

    def retime(self, request: RequestRecord) -> None:
        """Deadlines of this film have moved."""
        for pool in self.pools.values():
            pool.retime(request.request_id)
        self.work_changed = True
