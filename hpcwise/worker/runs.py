"""One thing at a time: a worker's attempts and loads, and what is told of how they ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from hpcwise.core import messages as m
from hpcwise.core.calls import RunTask
from hpcwise.core.errors import DiskFull, HpcwiseError, NoRoom, Stopped
from hpcwise.core.resources import AttemptRef
from hpcwise.core.units import QUICK_S
from hpcwise.models.base import Adapter, Batched
from hpcwise.store.artifacts import Store
from hpcwise.store.checkpoints import CheckpointStore
from hpcwise.store.paths import RunPaths, translate_oserror
from hpcwise.wire.start import WorkerConfig
from hpcwise.worker.attempt import Attempt, TornInput
from hpcwise.worker.batch import Together
from hpcwise.worker.failures import Failure, cause_of, failure, line
from hpcwise.worker.gang import Gang
from hpcwise.worker.power import Meter
from hpcwise.worker.pulse import Pulse
from hpcwise.worker.room import free_memory
from hpcwise.worker.shelf import Shelf

if TYPE_CHECKING:
    from hpcwise.worker.link import Link

log = logging.getLogger(__name__)

#: After memory ran out while a model was loaded, so much less than it needs is taken to be free.
_SHORT: Final = 0.99


class Runs:
    """Belongs to the worker's main thread. pump: handles what the head says; see Attempt. end_now: tells the
    head to send nothing more, and why.

    broken: why this process can compute nothing any more, empty while it can. doubt: whether an error came
    that a sick device may have caused; both are for the worker's loop to act on.
    """

    def __init__(
        self, config: WorkerConfig, store: Store, shelf: Shelf, pulse: Pulse, work: Path, meter: Meter,
        gang: Gang | None, pump: Callable[[float], None], end_now: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._config = config
        self._store = store
        self._shelf = shelf
        self._pulse = pulse
        self._work = work
        self._meter = meter
        self._gang = gang
        self._pump = pump
        self._end_now = end_now
        paths = RunPaths(Path(config.run_dir))
        self._checkpoints = CheckpointStore(paths, durable=config.durable)
        self._preview = paths.preview(config.worker_id)
        self.link: Link
        self.running: tuple[Attempt, ...] = ()
        self._singly = 0
        self.ended_s = time.monotonic()
        self.broken = ""
        self.doubt = False

    def attempt(self, ref: AttemptRef) -> Attempt | None:
        """The attempt, if it is being run."""
        return next((attempt for attempt in self.running if ref_of(attempt.task) == ref), None)

    def most(self, model: str) -> int:
        """How many tasks of a model may be run together."""
        adapter = self._shelf.get(model)
        if self._gang is not None or self._singly > 0 or not isinstance(adapter, Batched):
            return 1
        return adapter.batch

    def run(
        self, tasks: Sequence[RunTask], delivered: Mapping[AttemptRef, Iterable[m.DeliverChunk]]
    ) -> Sequence[RunTask]:
        """Attempts at tasks of one model from their start to what is told of their end. Several are run
        together where their inputs are whole; those that it did not work for come back, to be run singly."""
        adapter = self._shelf.get(tasks[0].model)
        if len(tasks) > 1 and isinstance(adapter, Batched) and all(map(_whole, tasks)):
            return self._together(adapter, tasks)
        self._singly = max(0, self._singly - 1)
        self._alone(tasks[0], delivered.get(ref_of(tasks[0]), ()))
        return tasks[1:]

    def _together(self, adapter: Batched, tasks: Sequence[RunTask]) -> Sequence[RunTask]:
        works = [self._work / f"call-{number}" for number in range(len(tasks))]
        for work in works:
            work.mkdir()
        attempts = tuple(self._begin(task, work) for task, work in zip(tasks, works, strict=True))
        batch = Together(attempts, self._pump)
        before_j = self._meter.joules()
        self.running = attempts
        try:
            batch.run(adapter)
        except Stopped:
            pass  # all of them
        except (Exception, SystemExit) as error:
            what = failure(error)
            log.error("%d tasks together, %s first: %s", len(tasks), tasks[0].task_id, what.reason)
            self.broken = what.reason if what.cause == "device" else ""
        joules = self._meter.since(before_j) / len(tasks)
        left = []
        for attempt in attempts:
            task = attempt.task
            made = batch.made.get(task.task_id)
            if made is not None:
                self.link.emit_end(replace(made, energy_j=joules))
            elif attempt.stop:
                self._stopped(attempt, ref_of(task), joules)
            elif self.broken:
                self.link.emit(
                    m.TaskFailed(task.task_id, task.attempt, self.broken, transient=True, energy_j=joules)
                )
            else:
                left.append(task)
            attempt.clean()
        self._ended()
        for work in works:
            work.rmdir()
        self._singly = len(left)
        return left

    def _begin(self, task: RunTask, work: Path) -> Attempt:
        attempt = Attempt(
            task, self._store, self._checkpoints, work, self.link.put, self._pump,
            losses_per_h=self._config.losses_per_h, preview=self._preview,
        )  # fmt: skip
        self._pulse.last_step_s = attempt.last_step_s
        self._pulse.running = ref_of(task)
        self.link.emit(m.TaskStarted(task.task_id, task.attempt))
        if task.expected_s >= QUICK_S:
            # A model may end the process at once: what had begun then must be known.
            self.link.flush()
        return attempt

    def _ended(self) -> None:
        self.running = ()
        self._pulse.running = None
        self.ended_s = time.monotonic()

    def _alone(self, task: RunTask, deliveries: Iterable[m.DeliverChunk]) -> None:
        ref = ref_of(task)
        attempt = self._begin(task, self._work)
        for delivery in deliveries:
            attempt.deliver(delivery.name, delivery.n_chunks, delivery.done)
        self.running = (attempt,)
        before_j = self._meter.joules()
        try:
            result = attempt.run(self._shelf.get(task.model) or self._load(task.model))
        except Stopped:
            self._stopped(attempt, ref, self._meter.since(before_j))
        except TornInput as error:
            log.warning("%s: %s", task.task_id, error)
            self.link.emit(m.ArtifactTorn(error.key))
            self._failed(ref, failure(error), before_j)
        except (Exception, SystemExit) as error:
            # A model may raise anything; whatever it is, it ends this attempt and not the worker.
            self._errs(task, error, before_j)
        else:
            joules = self._meter.since(before_j)
            self.link.emit_end(replace(result, energy_j=joules) if joules else result)
        finally:
            self._ended()
            attempt.clean()

    def chore(self, chore: m.LoadModel | m.UnloadModel) -> None:
        """Load or unload a model, and tell."""
        if isinstance(chore, m.UnloadModel):
            self._unload(chore.model)
        else:
            try:
                self._load(chore.model)
            except Exception as error:  # a model may raise anything; the head was told which
                log.error("model %s: %s", chore.model, error)
        self.link.flush()

    # -- how it ended ------------------------------------------------------------------------------------

    def _errs(self, task: RunTask, error: Exception | SystemExit, before_j: float | None) -> None:
        ref = ref_of(task)
        blamed = error if self._gang is None else self._gang.blamed(error)
        what = failure(blamed)
        told = None if isinstance(error, HpcwiseError) else error
        log.error("%s attempt %d: %s", task.task_id, task.attempt, what.reason, exc_info=told)
        full = translate_oserror(error, Path(error.filename or self._work)) if isinstance(
            error, OSError
        ) else error  # fmt: skip
        if isinstance(full, DiskFull):
            self.link.emit(m.StoreFull(str(full)))
        self._say_lost(what.reason if what.cause == "device" else "")
        self._failed(ref, what, before_j)
        # The traceback holds what the model had in memory.
        del error, blamed, full, told
        if what.cause == "memory":
            self._make_room(task.model)
        elif what.cause == "device":
            self.broken = what.reason
        self.doubt = self.doubt or what.doubt

    def _say_lost(self, broken: str = "") -> None:
        """A replica that has lost a process is sent nothing more: it says so before what it did not make,
        which would come back at once."""
        reason = "" if self._gang is None else self._gang.lost or broken
        if reason:
            self._end_now(reason)

    def _failed(self, ref: AttemptRef, what: Failure, before_j: float | None) -> None:
        joules = self._meter.since(before_j)
        self.link.emit(m.TaskFailed(ref.task_id, ref.attempt, what.reason, what.transient, what.bad, joules))

    def _stopped(self, attempt: Attempt, ref: AttemptRef, joules: float) -> None:
        if attempt.stop == "pause":
            share = attempt.saver.share
            key = attempt.task.key if share else ""
            self.link.emit(m.TaskPaused(ref.task_id, ref.attempt, key, attempt.done_steps, share, joules))
        elif attempt.stop == "leave":
            # Chunks are in the store and known: the Goodbye that follows has the rest done elsewhere.
            log.info("%s attempt %d given up", ref.task_id, ref.attempt)
        else:
            self.link.emit(m.TaskCancelled(ref.task_id, ref.attempt, joules))

    # -- models ------------------------------------------------------------------------------------------

    def _make_room(self, model: str) -> None:
        """Memory ran out under `model`: the next attempt has the others' too."""
        for other in self._shelf.loaded:
            if other != model:
                log.warning("model %s makes room for %s", other, model)
                self._unload(other)
        free_memory()

    def _unload(self, model: str) -> None:
        self._shelf.unload(model)
        self.link.emit(m.ModelUnloaded(self._config.worker_id, model))

    def _load(self, model: str) -> Adapter:
        room = self._shelf.room
        started_s, used_gb = time.monotonic(), room.used_gb()
        self._pulse.loading = True
        try:
            adapter = self._shelf.load(model)
        except Exception as error:
            self._not_loaded(model, error)
            raise
        finally:
            self._pulse.loading = False
        seconds, took_gb = time.monotonic() - started_s, room.measured(model, used_gb)
        self.link.emit(m.ModelLoaded(self._config.worker_id, model, seconds, took_gb))
        log.info("model %s loaded in %.2f s, %.2f GB", model, seconds, took_gb)
        return adapter

    def _not_loaded(self, model: str, error: Exception) -> None:
        self._say_lost()
        reason = " ".join(str(error).split()) or type(error).__name__
        cause, free_gb = cause_of(error), -1.0
        if isinstance(error, NoRoom):
            free_gb = error.free_gb
        elif cause == "memory":
            free_memory()
            free_gb = min(self._shelf.room.free_gb() or 0.0, _SHORT * self._shelf.needs_gb(model))
        elif cause == "device":
            reason = self.broken = line(error)
        self.link.emit(
            m.ModelLoadFailed(
                self._config.worker_id, model, reason[:500], free_gb >= 0 or cause == "device", free_gb
            )
        )


def _whole(task: RunTask) -> bool:
    """Whether its inputs are all there, and nothing of it has been made."""
    return not task.first_chunk and all(ref.done or ref.only >= 0 for ref in task.inputs)


def ref_of(task: RunTask) -> AttemptRef:
    return AttemptRef(task.task_id, task.attempt)
