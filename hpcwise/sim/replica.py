"""What simulated workers do: the local queue is the real one, models take the time that profiles say."""

from __future__ import annotations

import math
from typing import Final

from hpcwise.core import messages as m
from hpcwise.core.profiles import UNKNOWN, Profiles, profile_s
from hpcwise.core.queue import QueueEntry
from hpcwise.core.resources import AttemptRef, WorkerInfo
from hpcwise.core.state import TaskRecord
from hpcwise.core.units import HOUR_S, ModelName, WorkerId
from hpcwise.sim.config import Loss, SimConfig
from hpcwise.sim.draws import Draws
from hpcwise.sim.worker import Attempt, Host, Replica

#: A feature whose cost comes before the first chunk.
FIRST: Final = "first_scene"


class Replicas:
    """All workers that joined. Commands come in by method, their effects go out through the host."""

    def __init__(self, config: SimConfig, truth: Profiles, draws: Draws, host: Host) -> None:
        self._config, self._truth, self._draws, self._host = config, truth, draws, host
        self.live: dict[WorkerId, Replica] = {}
        self.gone: list[Replica] = []
        self.stragglers = self.failures = self.evictions = self.crashes = 0
        self._saved: dict[str, float] = {}
        self._joined = 0
        models = truth.catalogue.models
        self._batch_max = {name: info.batch_max for name, info in models.items() if info.batch_max > 1}

    # --- coming and going -------------------------------------------------------------------------------

    def join(self, info: WorkerInfo) -> m.Event:
        """A worker says hello; what will happen to it is drawn now."""
        site = self._config.site(info.kind)
        replica = Replica(info, site, self._host.now_s, self._joined, loaded=dict.fromkeys(info.loaded))
        self._joined += 1
        self.live[info.worker_id] = replica
        name, after = info.worker_id, self._host.after
        if info.lifetime_s is not None:
            margin_s = min(self._config.drain_margin_s, info.lifetime_s)
            after(info.lifetime_s - margin_s, self._drain, replica, margin_s, "its allocation ends")
        crash_s = self._draws.exponential(site.crashes_per_h / HOUR_S, "crash", name)
        if crash_s < math.inf:
            after(crash_s, self._crash, replica)
        if site.spot:
            evict_s = self._draws.exponential(site.evictions_per_h / HOUR_S, "evict", name)
            if evict_s < math.inf:
                after(evict_s, self._evict, replica)
        return m.WorkerJoined(info)

    def lose_planned(self, loss: Loss) -> m.Event | None:
        """A loss that the configuration asks for."""
        alive = [r for r in self.live.values() if r.info.kind == loss.kind]
        if loss.nth >= len(alive):
            return None
        if loss.notice_s <= 0:
            return self._crash(alive[loss.nth])
        self.evictions += 1
        return self._drain(alive[loss.nth], loss.notice_s, "evicted")

    def kill(self, c: m.Kill) -> None:
        replica = self.live.get(c.worker_id)
        if replica is not None:
            self._host.after(self._config.kill_s, self._lose, replica, f"killed: {c.reason}")

    def drain(self, c: m.Drain) -> None:
        replica = self.live.get(c.worker_id)
        if replica is not None:
            self._host.after(0.0, self._drain, replica, math.inf, c.reason)

    def _crash(self, replica: Replica) -> m.Event | None:
        self.crashes += replica.ended_s < 0
        return self._lose(replica, "its process ended")

    def _evict(self, replica: Replica) -> m.Event | None:
        if replica.ended_s >= 0:
            return None
        self.evictions += 1
        zone = replica.site.zone
        if zone and self._config.together > 0:
            for other in self.live.values():
                luck = self._draws.uniform("together", replica.info.worker_id, other.info.worker_id)
                shared = other is not replica and other.site.zone == zone and other.site.spot
                if shared and not other.leaving and luck < self._config.together:
                    self.evictions += 1
                    self._host.after(0.0, self._drain, other, self._config.notice_s, "evicted")
        return self._drain(replica, self._config.notice_s, "evicted")

    def _drain(self, replica: Replica, remaining_s: float, reason: str) -> m.Event | None:
        """Takes nothing new, gives back what has not started; ends with its work, or when time is up."""
        if replica.ended_s >= 0 or replica.leaving:
            return None
        replica.leaving = reason
        replica.chores.clear()
        after = self._host.after
        for ref in replica.queue.clear():
            after(0.0, _told, m.Revoked(ref.task_id, ref.attempt))
        if remaining_s < math.inf:
            after(remaining_s, self._lose, replica, f"left: {reason}")
        if not replica.busy:
            after(0.0, self._lose, replica, f"left: {reason}")
        return (
            m.WorkerDraining(replica.info.worker_id, remaining_s, reason) if remaining_s < math.inf else None
        )

    def _lose(self, replica: Replica, reason: str) -> m.Event | None:
        if replica.ended_s >= 0:
            return None
        replica.ended_s = self._host.now_s
        del self.live[replica.info.worker_id]
        self.gone.append(replica)
        replica.running.clear()
        return m.WorkerLost(replica.info.worker_id, reason)

    # --- work -------------------------------------------------------------------------------------------

    def dispatch(self, c: m.Dispatch, model: ModelName) -> None:
        replica = self.live.get(c.worker_id)
        if replica is None:
            return
        if replica.leaving:
            self._host.after(0.0, _told, m.Revoked(c.task_id, c.attempt))
            return
        ref = AttemptRef(c.task_id, c.attempt)
        replica.delivered.pop(c.task_id, None)
        replica.queue.put(QueueEntry(ref=ref, model=model, deadline_s=c.deadline_s, expected_s=c.expected_s))
        if not replica.busy:
            replica.busy = True
            self._host.after(self._config.overhead_s, self._next, replica)

    def load(self, c: m.LoadModel | m.UnloadModel) -> None:
        replica = self.live.get(c.worker_id)
        if replica is None or replica.leaving:
            return
        replica.chores.append(c)
        if not replica.busy:
            replica.busy = True
            self._host.after(self._config.overhead_s, self._next, replica)

    def _next(self, replica: Replica) -> m.Event | None:
        """The worker's loop: chores first, then the most urgent of its queue, then it may leave."""
        if replica.ended_s >= 0:
            return None
        replica.busy = True
        if replica.chores:
            chore = replica.chores.pop(0)
            if isinstance(chore, m.UnloadModel):
                replica.loaded.pop(chore.model, None)
                self._host.after(0.0, self._next, replica)
                return m.ModelUnloaded(replica.info.worker_id, chore.model)
            self._host.after(self._load_s(replica, chore.model), self._loaded, replica, chore.model)
            return None
        batch = replica.queue.take(self._batch_of) if self._batch_max else replica.queue.take()
        if batch:
            return self._begin(replica, batch)
        replica.busy = False
        return self._lose(replica, f"left: {replica.leaving}") if replica.leaving else None

    def _batch_of(self, model: ModelName) -> int:
        return self._batch_max.get(model, 1)

    def _load_s(self, replica: Replica, model: ModelName) -> float:
        if model in replica.loaded:
            return 0.0
        luck = self._draws.factor(self._config.load_sigma, "load", replica.info.worker_id, model)
        return self._truth.load_s(model) * luck

    def _loaded(self, replica: Replica, model: ModelName) -> m.Event | None:
        if replica.ended_s >= 0:
            return None
        seconds = self._load_s(replica, model)
        replica.loaded[model] = None
        self._host.after(0.0, self._next, replica)
        return m.ModelLoaded(replica.info.worker_id, model, seconds)

    def _begin(self, replica: Replica, batch: tuple[QueueEntry, ...]) -> m.Event:
        first, *others = batch
        for entry in others:
            self._host.after(0.0, self._also, replica, entry.ref)
        model = first.model
        replica.batch = list(batch)
        load_s = self._load_s(replica, model)
        if model not in replica.loaded:
            self._host.after(load_s, self._loaded_late, replica, model, load_s)
        else:
            self._work(replica)
        return m.TaskStarted(first.ref.task_id, first.ref.attempt)

    def _also(self, replica: Replica, ref: AttemptRef) -> m.Event | None:
        return m.TaskStarted(ref.task_id, ref.attempt) if replica.ended_s < 0 else None

    def _loaded_late(self, replica: Replica, model: ModelName, seconds: float) -> m.Event | None:
        if replica.ended_s >= 0:
            return None
        replica.loaded[model] = None
        self._work(replica)
        return m.ModelLoaded(replica.info.worker_id, model, seconds)

    def _work(self, replica: Replica) -> None:
        """Start the batch that was taken; a batch takes as long as its slowest, and a share of the rest."""
        batch, replica.batch = replica.batch, []
        if not batch:
            # All of it was cancelled while its model was loading.
            self._host.after(0.0, self._next, replica)
            return
        seconds = [self._seconds(replica, entry.ref) for entry in batch]
        longest = max(seconds)
        total = longest + self._config.batch_marginal * (sum(seconds) - longest)
        for entry in batch:
            task = self._host.task(entry.ref.task_id)
            wait_s = self._host.transfer_s(task, replica)
            attempt = self._attempt(replica, task, entry.ref, total)
            replica.running[entry.ref.task_id] = attempt
            fed = replica.delivered.pop(entry.ref.task_id, None)
            if fed:
                attempt.fed.update(fed)
            self._run_on(replica, attempt, wait_s)

    def _seconds(self, replica: Replica, ref: AttemptRef) -> float:
        """What the whole task really takes here."""
        task = self._host.task(ref.task_id)
        alternative = task.spec.alternatives[task.alternative]
        info = replica.info
        seconds = self._truth.expected_s(
            alternative.model, info.hardware, alternative.features, info.n_devices, task.scale
        )
        config = self._config
        seconds *= self._draws.factor(config.noise_sigma, "noise", ref.task_id, task.alternative)
        if config.straggler_rate and self._draws.uniform("slow", ref.task_id) < config.straggler_rate:
            seconds *= config.straggler_factor
            self.stragglers += 1
        return seconds

    def _attempt(self, replica: Replica, task: TaskRecord, ref: AttemptRef, seconds: float) -> Attempt:
        facts = self._host.chunk_facts(task)
        n = len(facts)
        artifact_chunks = min(task.chunks, n)
        chunk_s = [seconds] if n == 1 else self._spread(replica, task, seconds, n)
        saved = self._saved.pop(task.checkpoint, 0.0) if task.checkpoint else 0.0
        # A checkpoint spares work inside the chunk that comes next.
        done_s = sum(chunk_s[:artifact_chunks])
        if saved > done_s and artifact_chunks < n:
            chunk_s[artifact_chunks] = max(0.0, chunk_s[artifact_chunks] - (saved - done_s))
        fails_at = -1
        rate = self._config.failure_rate
        if rate and self._draws.uniform("fails", ref.task_id, task.failures + task.losses) < rate:
            fails_at = int(self._draws.uniform("where", ref.task_id, ref.attempt) * n)
        streams = any(edge.kind == "stream" for edge in task.spec.inputs)
        return Attempt(
            ref=ref,
            facts=facts,
            chunk_s=chunk_s,
            done=artifact_chunks,
            fed=self._host.input_chunks(task) if streams else {},
            nbytes=self._host.nbytes(task),
            fails_at=fails_at,
            begun_s=self._host.now_s,
        )

    def _spread(self, replica: Replica, task: TaskRecord, seconds: float, n: int) -> list[float]:
        """Time of each chunk: what a profile needs before the first step is paid first, the rest evenly."""
        alternative = task.spec.alternatives[task.alternative]
        info = self._truth.catalogue.models.get(alternative.model)
        profile = info.profiles.get(replica.info.hardware, UNKNOWN) if info else UNKNOWN
        whole_s = profile_s(profile, alternative.features, 1, task.scale)
        first_s = profile.base_s + profile.per.get(FIRST, 0.0) * alternative.features.get(FIRST, 0.0)
        base_s = seconds * first_s / whole_s if whole_s > 0 else 0.0
        each = (seconds - base_s) / n
        return [base_s + each] + [each] * (n - 1)

    def _run_on(self, replica: Replica, attempt: Attempt, wait_s: float = 0.0) -> None:
        """Schedule the end of the next chunk, unless a stream has to bring more first."""
        index = attempt.done
        if index >= len(attempt.facts):
            self._host.after(wait_s, self._finished, replica, attempt)
            return
        if attempt.fed:
            # Output k needs chunk k of each stream, the last output all of it.
            last = index == len(attempt.facts) - 1
            attempt.blocked = any(not whole and (last or n <= index) for n, whole in attempt.fed.values())
            if attempt.blocked:
                return
        attempt.chunk_begun_s = self._host.now_s + wait_s
        if index == attempt.fails_at:
            part = self._draws.uniform("part", attempt.ref.task_id, attempt.ref.attempt)
            self._host.after(wait_s + part * attempt.chunk_s[index], self._failed, replica, attempt)
            return
        last = len(attempt.facts) == 1
        self._host.after(
            wait_s + attempt.chunk_s[index], self._finished if last else self._chunk_made, replica, attempt
        )

    def _chunk_made(self, replica: Replica, attempt: Attempt) -> m.Event | None:
        if replica.running.get(attempt.ref.task_id) is not attempt:
            return None
        index = attempt.done
        attempt.done = index + 1
        self._run_on(replica, attempt)
        nbytes = attempt.nbytes // len(attempt.facts)
        return m.ChunkReady(attempt.ref.task_id, attempt.ref.attempt, index, attempt.facts[index], nbytes)

    def _finished(self, replica: Replica, attempt: Attempt) -> m.Event | None:
        if replica.running.get(attempt.ref.task_id) is not attempt:
            return None
        self._end(replica, attempt)
        n = len(attempt.facts)
        seconds = self._host.now_s - attempt.begun_s
        return m.TaskFinished(
            attempt.ref.task_id, attempt.ref.attempt, n, attempt.facts[-1], seconds, attempt.nbytes
        )

    def _failed(self, replica: Replica, attempt: Attempt) -> m.Event | None:
        if replica.running.get(attempt.ref.task_id) is not attempt:
            return None
        self._end(replica, attempt)
        self.failures += 1
        return m.TaskFailed(attempt.ref.task_id, attempt.ref.attempt, "simulated failure")

    def _end(self, replica: Replica, attempt: Attempt) -> None:
        del replica.running[attempt.ref.task_id]
        if not replica.running:
            self._host.after(0.0, self._next, replica)

    # --- orders -----------------------------------------------------------------------------------------

    def delivered(self, c: m.DeliverChunk) -> None:
        replica = self.live.get(c.worker_id)
        if replica is None:
            return
        attempt = replica.running.get(c.task_id)
        if attempt is None:
            replica.delivered.setdefault(c.task_id, {})[c.name] = (c.n_chunks, c.done)
        elif attempt.ref.attempt == c.attempt:
            attempt.fed[c.name] = (c.n_chunks, c.done)
            if attempt.blocked:
                self._run_on(replica, attempt)

    def revoke(self, c: m.Revoke) -> None:
        replica = self.live.get(c.worker_id)
        if replica is not None:
            back = replica.queue.revoke(AttemptRef(c.task_id, c.attempt))
            answer = (m.Revoked if back else m.TooLate)(c.task_id, c.attempt)
            self._host.after(self._config.overhead_s, _told, answer)

    def stop(self, c: m.Cancel | m.Pause) -> None:
        """What waits is given back at once, what runs stops a little later, between two steps."""
        replica = self.live.get(c.worker_id)
        if replica is None:
            return
        ref = AttemptRef(c.task_id, c.attempt)
        pause = isinstance(c, m.Pause)
        replica.batch = [entry for entry in replica.batch if pause or entry.ref != ref]
        if replica.running.get(c.task_id) is not None:
            self._host.after(self._config.stop_s, self._stopped, replica, ref, pause)
        elif not pause:
            replica.queue.revoke(ref)
            self._host.after(0.0, _told, m.TaskCancelled(c.task_id, c.attempt))

    def _stopped(self, replica: Replica, ref: AttemptRef, pause: bool) -> m.Event | None:
        attempt = replica.running.get(ref.task_id)
        if replica.ended_s >= 0 or attempt is None or attempt.ref != ref:
            return None
        self._end(replica, attempt)
        if not pause:
            return m.TaskCancelled(ref.task_id, ref.attempt)
        spent_s = 0.0 if attempt.blocked else max(0.0, self._host.now_s - attempt.chunk_begun_s)
        name = f"checkpoint-{ref.attempt}"
        self._saved[name] = sum(attempt.chunk_s[: attempt.done]) + spent_s
        share = self._saved[name] / max(1e-9, sum(attempt.chunk_s))
        return m.TaskPaused(ref.task_id, ref.attempt, name, attempt.done, min(1.0, share))


def _told(event: m.Event) -> m.Event:
    return event
