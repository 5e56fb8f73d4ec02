"""The worker: one main thread that talks to the head, keeps the local queue and runs one attempt at a time.

Everything that the head says is handled in `_pump`, which the running attempt calls at every step; so a
cancel takes effect between two steps, and nothing needs a lock.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpcwise.core import messages as m
from hpcwise.core.calls import RunTask
from hpcwise.core.errors import DiskFull, Unhealthy
from hpcwise.core.queue import LocalQueue, QueueEntry
from hpcwise.core.resources import AttemptRef, Rank, WorkerInfo
from hpcwise.store.artifacts import Store
from hpcwise.wire.messages import Run, Stop
from hpcwise.wire.start import WorkerConfig
from hpcwise.worker import restart
from hpcwise.worker.gang import Gang
from hpcwise.worker.health import Health
from hpcwise.worker.link import Link
from hpcwise.worker.power import Meter
from hpcwise.worker.pulse import Pulse
from hpcwise.worker.runs import Runs, ref_of
from hpcwise.worker.shelf import Shelf

log = logging.getLogger(__name__)

#: Slurm sends the signal that announces the end of a job up to so much earlier than it was asked to.
EARLY_S = 65.0
#: Longest wait for a message before lifetimes and time-outs are looked at again.
IDLE_POLL_S = 0.25
#: Before a process is replaced, what it has said gets so long to arrive, seconds.
SETTLE_S = 5.0
#: One that is not well may still have to find the head, seconds.
UNWELL_S = 10.0
_REPLACED: Final = "its process is replaced"


@dataclass(slots=True)
class Signals:
    """Set by signal handlers, read between two steps. terms: SIGTERMs so far (the second one hurries), the
    last at monotonic time term_s. warned: SIGUSR2, which comes before an end that may be minutes away."""

    terms: int = 0
    term_s: float = float("-inf")
    warned: bool = False


class Worker:
    """`run` returns why the worker left. link is given later because the two need each other.

    again: behind `run`, whether a fresh process is to go on in the place of this one.
    """

    def __init__(
        self, config: WorkerConfig, store: Store, shelf: Shelf, pulse: Pulse, signals: Signals, work: Path,
        ranks: tuple[Rank, ...], started_s: float, meter: Meter, health: Health, gang: Gang | None = None,
    ) -> None:  # fmt: skip
        self._config = config
        self._shelf = shelf
        self._pulse = pulse
        self._signals = signals
        self._ranks = ranks
        self._started_s = started_s
        self._gang = gang
        if gang is not None:
            gang.last_words = self._last_words
        self._runs = Runs(config, store, shelf, pulse, work, meter, gang, self._pump, self._end_now)
        self._health = health
        self._looked_s = float("-inf")
        self._unwell: tuple[str, ...] = ()
        self.again = False
        self._queue = LocalQueue()
        self._tasks: dict[AttemptRef, RunTask] = {}
        self._delivered: dict[AttemptRef, list[m.DeliverChunk]] = {}
        self._chores: list[m.LoadModel | m.UnloadModel] = []
        self._leaving = ""
        self._give_up_s: float | None = None
        self._link: Link

    def say(self) -> tuple[WorkerInfo, tuple[AttemptRef, ...]]:
        """What a Hello holds: this worker now, and every attempt that it holds."""
        running = tuple(ref_of(attempt.task) for attempt in self._runs.running)
        info = self._config.info(self._ranks, self._shelf.loaded, self._left_s())
        return info, running + self._queue.refs()

    def run(self, link: Link) -> str:
        """Work until told to leave, drained, idle too long or without a head; returns the reason."""
        self._link = self._runs.link = link
        self._pulse.chore = link.flush_stale
        while True:
            if self._runs.broken and self._answer_broken():
                self.again = True
                return _REPLACED
            if not self._leaving and (self._runs.doubt or self._due()):
                self._look_at_health()
            self._pump(0.0 if len(self._queue) or self._chores else IDLE_POLL_S)
            if self._chores:
                self._runs.chore(self._chores.pop(0))
                continue
            batch = (
                () if self._give_up_s is not None and self._hurried() else self._queue.take(self._runs.most)
            )
            if batch:
                tasks = [self._tasks.pop(entry.ref) for entry in batch]
                delivered = {entry.ref: self._delivered.get(entry.ref, ()) for entry in batch}
                left = self._runs.run(tasks, delivered)
                for task in left:
                    self._hold(task)
                for ref in set(delivered) - set(map(ref_of, left)):
                    self._delivered.pop(ref, None)
                if len(self._queue):
                    link.flush_soon()
                else:
                    link.flush()
                continue
            if self._leaving and not len(self._queue) and (link.settled or self._hurried()):
                link.goodbye(self._leaving, self._unwell)
                return self._leaving
            if link.silent_s > self._config.patience_s:
                return f"no head for {self._config.patience_s:g} s"

    # -- whether it can go on ----------------------------------------------------------------------------

    def _look_at_health(self) -> None:
        self._runs.doubt = False
        self._looked_s = time.monotonic()
        try:
            self._health.look()
        except Unhealthy as error:
            self._leave_unwell(str(error), (self._ranks[0].node,))
        except DiskFull as error:
            self._link.emit(m.StoreFull(str(error)))
        if self._gang is not None and not self._unwell:
            self._gang.look()
            if self._gang.unwell:
                said = "; ".join(f"{node}: {what}" for node, what in self._gang.unwell.items())
                self._leave_unwell(said, tuple(self._gang.unwell))

    def _leave_unwell(self, what: str, nodes: tuple[str, ...]) -> None:
        """Nothing more is computed here, and new workers keep away from `nodes`."""
        log.error("unhealthy: %s", what)
        self._unwell = nodes
        self._drain(f"unhealthy: {what}", UNWELL_S)

    def _answer_broken(self) -> bool:
        """This process can compute nothing any more. True where a fresh one is to take its place."""
        reason, self._runs.broken = self._runs.broken, ""
        if self._leaving:
            return False
        if self._gang is not None:
            # Its other processes are part of what broke.
            self._drain(reason, 0.0)
            return False
        times = restart.times_s(os.environ, time.monotonic())
        if len(times) >= self._config.restarts:
            often = f"{reason} ({len(times) + 1} times within an hour)"
            self._leave_unwell(often, (self._ranks[0].node,))
            return False
        log.error("this process is of no use any more: %s", reason)
        self._leaving = _REPLACED  # nothing new is taken meanwhile
        self._give_back()
        end_s = time.monotonic() + SETTLE_S
        while not self._link.settled and time.monotonic() < end_s:
            self._pump(IDLE_POLL_S)
        if self._leaving != _REPLACED:
            return False
        self._leaving = ""
        return not (self._signals.terms or self._signals.warned)

    # -- what the head says --------------------------------------------------------------------------------

    def _pump(self, timeout_s: float) -> None:
        """Handle signals, times and messages; sends what waits. Called at every step."""
        if self._runs.running:
            self._pulse.last_step_s = self._runs.running[0].last_step_s
            self._link.flush_soon()
        for note in self._link.receive(timeout_s):
            handler = _HANDLERS.get(type(note))
            if handler is None:
                log.warning("ignored %s", type(note).__name__)
            else:
                handler(self, note)
        self._look_at_times()

    def _look_at_times(self) -> None:
        now = time.monotonic()
        if self._gang is not None and self._gang.lost:
            self._end_now(self._gang.lost)
        if not self._leaving:
            left = self._left_s()
            if self._signals.warned and self._no_news(left):
                self._signals.warned = False
            if self._signals.terms or self._signals.warned:
                self._drain(*self._notice(left))
            elif left is not None and left < self._config.drain_margin_s:
                self._drain("its allocation ends", max(0.0, left))
            elif (
                self._config.idle_timeout_s is not None
                and not self._runs.running
                and not len(self._queue)
                and now - self._runs.ended_s > self._config.idle_timeout_s
            ):
                self._link.emit(m.WorkerDraining(self._config.worker_id, 0.0, "idle"))
                self._drain("idle", None)
        if self._runs.running and (self._hurried() or self._link.silent_s > self._config.patience_s):
            for attempt in self._runs.running:
                attempt.stop = attempt.stop or "leave"

    def _notice(self, left_s: float | None) -> tuple[str, float]:
        """What a signal means, and how long there is: near the end of the allocation that end, else it has to
        give way to somebody, within the grace of its partition. Where nobody else comes first SIGUSR2 is the
        allocation's end, which is then nearer than the worker thought."""
        margin_s = self._config.drain_margin_s
        if left_s is not None and left_s < 2 * margin_s:
            return "its allocation ends", max(0.0, left_s)
        if left_s is not None and not self._signals.terms and not self._config.spot:
            return "its allocation ends", margin_s
        if left_s is None:
            return "told to stop by a signal", self._config.grace_s
        word = "SIGTERM" if self._signals.terms else "SIGUSR2"
        return f"{word}: preempted or cancelled", self._config.grace_s

    def _no_news(self, left_s: float | None) -> bool:
        """Whether SIGUSR2 says only that the end comes which the worker knows: it drains when that is near.
        Where others come first the signal may be theirs."""
        margin_s = self._config.drain_margin_s
        return not self._config.spot and left_s is not None and left_s < margin_s + EARLY_S

    def _hurried(self) -> bool:
        """Whether the grace that follows a signal or the end of the allocation is over."""
        return self._signals.terms > 1 or (self._give_up_s is not None and time.monotonic() > self._give_up_s)

    def _drain(self, reason: str, remaining_s: float | None) -> None:
        """Take nothing new, give back what has not started. remaining_s: None for as long as it takes,
        which nobody need be told."""
        self._leaving = reason
        log.info("draining: %s", reason)
        if remaining_s is not None:
            self._give_up_s = time.monotonic() + remaining_s
            self._link.emit(m.WorkerDraining(self._config.worker_id, remaining_s, reason))
        self._give_back()

    def _end_now(self, reason: str) -> None:
        """Nothing can be computed here any more."""
        if self._leaving != reason:
            self._drain(reason, 0.0)

    def _give_back(self) -> None:
        """What has not started is done elsewhere."""
        for ref in self._queue.clear():
            self._forget(ref)
            self._link.emit(m.Revoked(ref.task_id, ref.attempt))
        self._link.flush()

    def _due(self) -> bool:
        """Whether the worker has been idle long enough for a look at its device; and once at its start."""
        return not len(self._queue) and time.monotonic() - self._looked_s > self._config.health_s

    def _last_words(self, reason: str) -> None:
        """From a thread of the gang: the main one is inside a collective that will not end."""
        self._link.emit(m.WorkerDraining(self._config.worker_id, 0.0, reason))
        for attempt in self._runs.running:
            self._link.emit(m.TaskFailed(attempt.task.task_id, attempt.task.attempt, reason, True))
        self._link.flush()
        self._link.goodbye(reason)

    def _left_s(self) -> float | None:
        lifetime_s = self._config.lifetime_s
        return None if lifetime_s is None else self._started_s + lifetime_s - time.monotonic()

    def _forget(self, ref: AttemptRef) -> None:
        self._tasks.pop(ref, None)
        self._delivered.pop(ref, None)

    def _on_run(self, note: Run) -> None:
        task = note.task
        ref = ref_of(task)
        if self._leaving:
            self._link.emit(m.Revoked(task.task_id, task.attempt))
            return
        if self._runs.attempt(ref) is None:
            self._hold(task)

    def _hold(self, task: RunTask) -> None:
        entry = QueueEntry(
            ref=ref_of(task), model=task.model, deadline_s=task.deadline_s, expected_s=task.expected_s
        )
        if self._queue.put(entry):
            self._tasks[entry.ref] = task

    def _on_deliver(self, note: m.DeliverChunk) -> None:
        ref = AttemptRef(note.task_id, note.attempt)
        attempt = self._runs.attempt(ref)
        if attempt is not None:
            attempt.deliver(note.name, note.n_chunks, note.done)
        elif ref in self._tasks:
            self._delivered.setdefault(ref, []).append(note)

    def _on_revoke(self, note: m.Revoke) -> None:
        ref = AttemptRef(note.task_id, note.attempt)
        if self._queue.revoke(ref):
            self._forget(ref)
            self._link.emit(m.Revoked(note.task_id, note.attempt))
        else:
            self._link.emit(m.TooLate(note.task_id, note.attempt))
        self._link.flush()

    def _on_cancel(self, note: m.Cancel) -> None:
        ref = AttemptRef(note.task_id, note.attempt)
        attempt = self._runs.attempt(ref)
        if attempt is not None:
            attempt.stop = "cancel"
            return
        # Queued, or over already, or never seen: in each case it does not run here any more.
        self._queue.revoke(ref)
        self._forget(ref)
        self._link.emit(m.TaskCancelled(note.task_id, note.attempt))
        self._link.flush()

    def _on_pause(self, note: m.Pause) -> None:
        attempt = self._runs.attempt(AttemptRef(note.task_id, note.attempt))
        if attempt is not None:
            attempt.stop = attempt.stop or "pause"

    def _on_chore(self, note: m.LoadModel | m.UnloadModel) -> None:
        self._chores.append(note)

    def _on_drain(self, note: m.Drain) -> None:
        if self._leaving in ("", _REPLACED):
            self._drain(note.reason, None)

    def _on_stop(self, note: Stop) -> None:
        self._drain(note.reason, 0.0)


_HANDLERS: Final[Mapping[type, Callable[[Worker, Any], None]]] = {
    Run: Worker._on_run,
    m.DeliverChunk: Worker._on_deliver,
    m.Revoke: Worker._on_revoke,
    m.Cancel: Worker._on_cancel,
    m.Pause: Worker._on_pause,
    m.LoadModel: Worker._on_chore,
    m.UnloadModel: Worker._on_chore,
    m.Drain: Worker._on_drain,
    Stop: Worker._on_stop,
}
