"""One attempt at one task: inputs from the store, the adapter's outputs into it, stops between steps."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef, RunTask
from hpcwise.core.errors import Stopped, TornArtifact
from hpcwise.models.base import Adapter, Call, Input, Output
from hpcwise.store.artifacts import Store
from hpcwise.store.checkpoints import CheckpointStore
from hpcwise.store.preview import Stamp, stamped
from hpcwise.wire.messages import WorkerEvent
from hpcwise.worker.exchange import LatentFiles
from hpcwise.worker.saving import Saver

log = logging.getLogger(__name__)

#: Progress is reported at most so often, seconds.
PROGRESS_S = 0.2
#: What the head says is looked at between steps, but no more often, seconds: steps may be shorter.
HEAR_S = 0.02
#: A picture of what is being made, at most so often, seconds.
PREVIEW_S = 2.0


class TornInput(TornArtifact):
    """An input is torn: its key, so that whatever made it is made again."""

    def __init__(self, key: str, error: TornArtifact) -> None:
        super().__init__(str(error))
        self.key = key


@dataclass(slots=True)
class Delivered:
    """How much of one input exists. Grows while the attempt runs."""

    n_chunks: int
    done: bool


class Attempt:
    """Runs in the worker's main thread. `stop` is set by the loop from inside `pump`.

    emit: queues an event for the head. pump: handles what the head said, waiting up to its argument in
    seconds. work: an empty folder that is this attempt's alone. losses_per_h: how often a worker of this
    kind is lost. preview: where people who watch look for a picture of it.
    """

    def __init__(
        self,
        task: RunTask,
        store: Store,
        checkpoints: CheckpointStore,
        work: Path,
        emit: Callable[[WorkerEvent], None],
        pump: Callable[[float], None],
        *,
        losses_per_h: float,
        preview: Path,
    ) -> None:
        self.task = task
        self.stop = ""
        self.last_step_s = time.monotonic()
        self.done_steps = 0
        self._store = store
        self._work = work
        self._emit = emit
        self._pump = pump
        self._inputs = {ref.name: Delivered(ref.n_chunks, ref.done) for ref in task.inputs}
        self._held: Output | None = None
        self._chunk = task.first_chunk
        self._nbytes = 0
        self._facts: Mapping[str, Any] = {}
        self._reported_s = self.last_step_s
        self._heard_s = float("-inf")
        self._steps = 0
        self._preview_path, self._previewed, self._previewed_s = preview, False, 0.0
        self._latents = LatentFiles(f"{task.model} {task.key}")
        self.saver = Saver(checkpoints, task.key, losses_per_h, self._should_stop, self._progress)

    def deliver(self, name: str, n_chunks: int, done: bool) -> None:
        """A stream input has grown; never shrinks, whatever order messages come in."""
        delivered = self._inputs.get(name)
        if delivered is not None:
            delivered.n_chunks = max(delivered.n_chunks, n_chunks)
            delivered.done = delivered.done or done

    def run(self, adapter: Adapter) -> m.TaskFinished:
        """Run to the end; the caller emits the result. Raises Stopped when `stop` was set, TornInput,
        DiskFull, and whatever the adapter raises."""
        started_s = time.monotonic()
        for output in adapter.run(self.call(), self._on_step, self._should_stop):
            self.take(output)
        return self.finish(time.monotonic() - started_s)

    def call(self) -> Call:
        """What the adapter is asked to do."""
        task = self.task
        return Call(
            stage=task.stage,
            params=task.params,
            seed=task.seed,
            inputs={ref.name: self._input(ref) for ref in task.inputs},
            work=self._work,
            first_chunk=task.first_chunk,
            checkpoints=self.saver,
            latents=self._latents,
            own=self._own,
            preview=self._preview,
        )

    def take(self, output: Output) -> None:
        """The next chunk: into the store."""
        self._commit_held()
        if output.files:
            self._commit(output)
        else:
            # Facts alone need no store if this is the only chunk. Whether it is, is known as soon
            # as the adapter ends, makes a step or waits: until then it is held back.
            self._held = output

    def finish(self, seconds: float) -> m.TaskFinished:
        """The adapter has ended, and took so long: what to tell."""
        task = self.task
        self.saver.close(finished=True)
        if self._held is not None and self._chunk == 0:
            facts = dict(self._held.facts)
            return m.TaskFinished(task.task_id, task.attempt, 1, facts, seconds, 0, inline=True)
        self._commit_held()
        n_chunks = self._chunk or self._store.chunks(task.key)
        self._store.finish(task.key, n_chunks, self._facts)
        return m.TaskFinished(task.task_id, task.attempt, n_chunks, dict(self._facts), seconds, self._nbytes)

    def clean(self) -> None:
        """End the attempt's thread and empty the work folder for the next one."""
        self.saver.close(finished=False)
        if self._previewed:
            self._preview_path.unlink(missing_ok=True)
        with os.scandir(self._work) as entries:
            left = list(entries)
        for entry in left:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)

    # -- outputs -----------------------------------------------------------------------------------------

    def _commit_held(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._commit(held)

    def _commit(self, output: Output) -> None:
        key, chunk = self.task.key, self._chunk
        scratch = self._store.begin(key, chunk)
        try:
            for name, path in output.files.items():
                _move(path, scratch / name)
            hashed = self._latents.digests(output.files)
            manifest = self._store.commit(key, chunk, scratch, output.facts, hashed)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        self._chunk += 1
        self._nbytes += manifest.size_bytes
        # What stands in the store counts: an earlier attempt may have been first.
        self._facts = manifest.facts
        digests = {entry.name: entry.digest.xxh128 for entry in manifest.files}
        ref = self.task
        size_bytes = manifest.size_bytes
        self._emit(m.ChunkReady(ref.task_id, ref.attempt, chunk, manifest.facts, size_bytes, digests))
        self.saver.committed(chunk)
        self._pump(0.0)

    # -- inputs ------------------------------------------------------------------------------------------

    def _input(self, ref: InputRef) -> Iterator[Input]:
        delivered = self._inputs[ref.name]
        if ref.only >= 0:
            yield self._read(ref, ref.only)
            return
        chunk = 0
        while True:
            if chunk < delivered.n_chunks:
                yield self._read(ref, chunk)
                chunk += 1
            elif delivered.done:
                return
            else:
                self._commit_held()
                self.last_step_s = time.monotonic()  # waiting for another is not hanging
                self._pump(0.25)
                self._check_stop()

    def _own(self, chunk: int) -> Input:
        self._commit_held()
        artifact = self._store.read(self.task.key, chunk)
        return Input(artifact.path, artifact.manifest.facts)

    def _read(self, ref: InputRef, chunk: int) -> Input:
        if ref.inline_facts is not None:
            if chunk < len(ref.inline_facts):
                return Input(self._work, ref.inline_facts[chunk])
            raise TornInput(ref.key, TornArtifact(f"input {ref.name}: chunk {chunk} has no facts"))
        try:
            artifact = self._store.read(ref.key, chunk)
        except TornArtifact as error:
            raise TornInput(ref.key, error) from error
        return Input(artifact.path, artifact.manifest.facts)

    # -- steps -------------------------------------------------------------------------------------------

    def _on_step(self, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        self.last_step_s = now
        self.done_steps, self._steps = done, total
        self._commit_held()
        if now - self._reported_s >= PROGRESS_S:
            self._reported_s = now
            self._progress(self.saver.share)
        told = self.stop
        self._hear()
        if self.stop == "pause" and not told and self.saver.used:
            return  # it came after the state of this step was offered: stops behind the next one's
        self._check_stop()

    def _should_stop(self) -> bool:
        self.last_step_s = time.monotonic()
        self._hear()
        return bool(self.stop)

    def _hear(self) -> None:
        now_s = time.monotonic()
        if now_s - self._heard_s >= HEAR_S:
            self._heard_s = now_s
            self._pump(0.0)

    def _progress(self, share: float) -> None:
        task, files = self.task, self.saver.files()
        self._heard_s = float("-inf")  # it leaves with this step
        self._emit(m.TaskProgress(task.task_id, task.attempt, self.done_steps, self._steps, share, files))

    def _preview(self, make: Callable[[], bytes]) -> None:
        now_s = time.monotonic()
        if now_s - self._previewed_s < PREVIEW_S:
            return
        jpeg = stamped(make(), Stamp(self.task.task_id, self.task.attempt, self.done_steps))
        # Lost with the attempt, and no harm done: no sync, and nobody is told. Rarer where one takes long.
        self._previewed, self._previewed_s = True, now_s + 50 * (time.monotonic() - now_s)
        beside = self._preview_path.with_suffix(".new")
        try:
            beside.write_bytes(jpeg)
            beside.replace(self._preview_path)
        except OSError as error:
            log.debug("no preview: %s", error)

    def _check_stop(self) -> None:
        if self.stop:
            raise Stopped(self.stop)


def _move(source: Path, target: Path) -> None:
    """Rename, or copy where the work folder lies on another file system."""
    try:
        source.replace(target)
    except OSError:
        shutil.copyfile(source, target)
        source.unlink(missing_ok=True)
