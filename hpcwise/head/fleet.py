"""Launches, kills and the sweep over jobs. What takes long runs in a thread; results are events.

Launches of one kind that were asked for together are submitted together. A Slurm that does not answer refuses
nothing: what was asked for waits here until it does, and workers that beat live, whatever Slurm says of their
jobs (a slurmd that died takes nobody with it).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.errors import HpcwiseError
from hpcwise.core.units import WorkerId
from hpcwise.head.config import HeadConfig
from hpcwise.launch.base import Entry, Handle, Launcher, SlurmUse, Unreachable
from hpcwise.launch.walltime import shaped_min
from hpcwise.wire.start import WorkerConfig

log = logging.getLogger(__name__)
_T = TypeVar("_T")

_TARGET: Final = "hpcwise.worker.main:run_worker"
#: After a refusal the other launches that were asked for with it wait so long, seconds.
REFUSED_S: Final = 30.0
#: A batch job has this many times as long to join as a process: its node may have to boot.
BOOT: Final = 5.0
#: Losses an hour to expect of a worker that others may push aside; how often it checkpoints follows.
SPOT_LOSSES_PER_H: Final = 0.5
#: From the end of a worker's own grace to Slurm's SIGKILL.
KILL_MARGIN_S: Final = 2.0
USE_LOG_S: Final = 60.0
UNWELL_SHOWN: Final = 10
#: Of a short walltime no more than this share is left for draining.
DRAIN_SHARE: Final = 0.25


class Fleet:
    """A worker's id is the token of its launch, so that its job can always be found.

    take: hands an event to the engine. joined: whether a worker is in the fleet. beats: whether it was heard
    of just now. work_s: of what is left to do, for one worker; None where that is not known.
    """

    def __init__(
        self,
        config: HeadConfig,
        launcher: Launcher,
        take: Callable[[m.Event], None],
        joined: Callable[[WorkerId], bool],
        version: str,
        beats: Callable[[WorkerId], bool] = lambda _worker_id: False,
        work_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._config = config
        self._launcher = launcher
        self._take = take
        self._joined = joined
        self._version = version
        self._beats = beats
        self._work_s = work_s
        self._kinds = {item.kind: item for item in config.settings.engine.fleet}
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="launch")
        self._handles: dict[str, Handle] = {}
        #: Asked for and not submitted yet, by kind; and until when kinds wait.
        self._asked: dict[str, dict[str, None]] = {}
        self._refused_s: dict[str, float] = {}
        self._submitting = False
        self._use_logged_s = 0.0
        self._launched_s: dict[str, float] = {}
        self._running_s: dict[str, float] = {}
        self._leaving: set[WorkerId] = set()
        #: Workers that left because their device or node is not well: which, where and why, the last of them.
        self.unwell: tuple[str, ...] = ()
        self._cancelled: set[str] = set()
        #: Jobs of launches that were taken back, until they are ended, all in one call.
        self._unwanted: dict[str, Handle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping = False
        self._ending = False

    @property
    def launching(self) -> tuple[str, ...]:
        """Tokens of launches whose worker has not joined."""
        left = self._leaving
        return tuple(t for t in self._launched_s if not self._joined(t) and t not in left)

    @property
    def use(self) -> SlurmUse | None:
        """What was asked of Slurm so far; None where there is none."""
        return self._launcher.use()

    def words(self, worker_id: WorkerId) -> str:
        """`, job 12 NODE_FAIL on n3`: what was last said of the worker's job, to add to a reason."""
        said = self._launcher.words(worker_id)
        return f", {said}" if said else ""

    def look_soon(self) -> None:
        """A worker is silent: what the scheduler says of it is worth a question."""
        self._launcher.hurry(urgent=True)

    def launch(self, kind: str, token: str) -> None:
        """Start a worker unless a job with that token exists already. Failure becomes LaunchFailed.

        Not while all are sent home: to the engine that is a loss, which it would make up for at once. The
        launch stays asked for in its state, and the next head sees to it.
        """
        if self._ending:
            return
        self._launched_s[token] = asyncio.get_running_loop().time()
        self._asked.setdefault(kind, {})[token] = None
        if not self._submitting:
            self._submitting = True
            self._go(self._submit())

    def adopt(self, worker_id: WorkerId) -> None:
        """Find the job of a worker that an earlier head launched."""
        self._go(self._adopt(worker_id))

    def cancel(self, token: str, reason: str) -> None:
        """Take back a launch whose worker has not joined; one that has joined by now stays. No event comes
        of it."""
        self._cancelled.add(token)
        self._go(self._cancel(token, reason))

    def kill(self, worker_id: WorkerId, reason: str) -> None:
        """End the worker's processes; WorkerLost follows."""
        self._go(self._kill(worker_id, reason))

    def left(self, worker_id: WorkerId, reason: str, unwell: tuple[str, ...]) -> None:
        """The worker said goodbye; its process ends by itself, and that is no news. What the scheduler says
        of it is written down: preempted, cancelled, or just done. unwell: nodes that it left because of."""
        self._leaving.add(worker_id)
        if unwell:
            self.unwell = (*self.unwell[1 - UNWELL_SHOWN :], f"{worker_id} on {', '.join(unwell)}: {reason}")
            self._launcher.avoid(unwell)
        self._launcher.hurry()

    def sweep(self) -> None:
        """Look at all jobs once, in a thread, and submit what had to wait; call it every second."""
        if self._handles and not self._sweeping:
            self._go(self._sweep())
        if self._asked and not self._submitting and not self._ending:
            self._submitting = True
            self._go(self._submit())
        if self._unwanted and self._launcher.may_launch():
            unwanted, self._unwanted = list(self._unwanted.values()), {}
            self._go(self._end_jobs(unwanted))
        now_s = asyncio.get_running_loop().time()
        use = self._launcher.use()
        if use is not None and now_s - self._use_logged_s >= USE_LOG_S:
            self._use_logged_s = now_s
            log.info(
                "Slurm: %d calls, %.1f a minute %s %s", use.total, use.per_minute, use.calls, use.trouble
            )

    async def end(self, patience_s: float) -> None:
        """Wait for all jobs to end, then kill what is left. No event comes of it."""
        self._ending = True
        loop = asyncio.get_running_loop()
        until_s = loop.time() + patience_s
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        unborn = [t for t in self._handles if not self._joined(t) and t not in self._leaving]
        self._handles.update(self._unwanted)
        await self._kill_all([*unborn, *self._unwanted])  # hold nothing yet
        while self._handles:
            states = await self._call(self._launcher.states, list(self._handles.values()))
            for token, handle in list(self._handles.items()):
                # A batch job whose worker has said goodbye ends by itself; Slurm need not be asked.
                if states.get(token) == "gone" or (not handle.host and token in self._leaving):
                    self._handles.pop(token, None)
            if loop.time() > until_s:
                await self._kill_all(list(self._handles))
            await asyncio.sleep(0.05)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- inside --------------------------------------------------------------------------------------------

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # a bug in it is the loop's to report

    async def _call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _submit(self) -> None:
        """Submit what is asked for, kind by kind, as far as Slurm is to be asked now."""
        try:
            await asyncio.sleep(0)  # all launches of one decision go together
            now_s = asyncio.get_running_loop().time()
            for kind in list(self._asked):
                while self._asked.get(kind) and self._refused_s.get(kind, 0.0) <= now_s:
                    if not self._launcher.may_launch():
                        return
                    tokens = list(self._asked[kind])[: self._launcher.at_once]
                    for token in tokens:
                        del self._asked[kind][token]
                    await self._launch(kind, tokens)
                if not self._asked.get(kind):
                    self._asked.pop(kind, None)
        finally:
            self._submitting = False

    async def _launch(self, kind: str, tokens: list[str]) -> None:
        handles: dict[str, Handle] = {}
        try:
            for token in tokens:
                if (handle := await self._call(self._launcher.find, token)) is not None:
                    handles[token] = handle
            minutes = self._minutes(kind)
            new = {t: self._entry(kind, t, minutes) for t in tokens if t not in handles}
            if new:
                launch = partial(self._launcher.launch_many, kind, new, minutes)
                made = await self._call(launch)
                log.info(
                    "launched %s as job %s", ", ".join(new), ", ".join(h.job_id or "?" for h in made.values())
                )
                handles.update(made)
        except Unreachable as error:
            log.warning("launches wait: %s", error)
            waiting = [t for t in tokens if t not in handles]
            self._asked[kind] = dict.fromkeys([*waiting, *self._asked.get(kind, {})])
            self._refused_s[kind] = asyncio.get_running_loop().time() + self._config.heartbeat_s
        except HpcwiseError as error:
            first, *others = [t for t in tokens if t not in handles]
            self._launched_s.pop(first, None)
            # One refusal, one failure: the others are asked for again, when the first one's place may be.
            self._asked[kind] = dict.fromkeys([*others, *self._asked.get(kind, {})])
            self._refused_s[kind] = asyncio.get_running_loop().time() + REFUSED_S
            self._take(m.LaunchFailed(first, str(error)))
        self._handles.update(handles)
        for token in handles:
            if token in self._cancelled:  # meanwhile
                await self._cancel(token, "its launch was taken back")

    async def _adopt(self, worker_id: WorkerId) -> None:
        try:
            handle = await self._call(self._launcher.find, worker_id)
        except HpcwiseError as error:
            log.warning("job of worker %s: %s", worker_id, error)
            return
        if handle is not None:
            self._handles[worker_id] = handle

    async def _cancel(self, token: str, reason: str) -> None:
        if self._joined(token):
            return
        for kind, tokens in self._asked.items():
            if token in tokens:
                log.info("launch %s of a %s taken back before it was submitted: %s", token, kind, reason)
                del tokens[token]
                self._launched_s.pop(token, None)
                return
        handle = self._handles.pop(token, None)
        try:
            handle = handle or await self._call(self._launcher.find, token)
            if handle is not None:
                log.info("launch %s taken back: %s", token, reason)
                self._unwanted[token] = handle
        except HpcwiseError as error:
            log.error("launch %s: %s", token, error)
        self._launched_s.pop(token, None)

    async def _kill(self, worker_id: WorkerId, reason: str) -> None:
        log.warning("killing worker %s: %s", worker_id, reason)
        handle = self._handles.pop(worker_id, None)
        try:
            handle = handle or await self._call(self._launcher.find, worker_id)
            if handle is not None:
                await self._call(self._launcher.kill, handle)
        except HpcwiseError as error:
            log.error("worker %s: %s", worker_id, error)
        self._launched_s.pop(worker_id, None)
        self._take(m.WorkerLost(worker_id, f"killed: {reason}"))

    async def _sweep(self) -> None:
        self._sweeping = True
        try:
            states = await self._call(self._launcher.states, list(self._handles.values()))
        except HpcwiseError as error:
            log.warning("%s", error)
            return
        finally:
            self._sweeping = False
        now_s = asyncio.get_running_loop().time()
        for token, state in states.items():
            handle = self._handles.get(token)
            if handle is None:
                continue
            expected = not self._joined(token) and token not in self._leaving
            if state == "gone":
                if handle.host or not self._beats(token):
                    self._gone(token, self._launcher.words(token) or "its process ended")
            elif state == "running" and expected:
                # A process runs since its launch; a batch job since it was first seen to run.
                began_s = self._launched_s.setdefault(token, now_s) if handle.host else now_s
                since_s = self._running_s.setdefault(token, began_s)
                limit_s = self._config.join_s * (1.0 if handle.host else BOOT)
                if now_s - since_s > limit_s:
                    await self._call(self._launcher.kill, handle)
                    self._gone(token, f"did not join within {limit_s:g} s{self.words(token)}")
            else:
                self._running_s.pop(token, None)

    def _gone(self, token: str, reason: str) -> None:
        self._handles.pop(token, None)
        self._launched_s.pop(token, None)
        self._running_s.pop(token, None)
        if token in self._leaving:
            self._leaving.discard(token)
            log.info("worker %s has left%s", token, self.words(token))
        elif self._joined(token):
            self._take(m.WorkerLost(token, reason))
        else:
            self._take(m.LaunchFailed(token, f"{reason}; see {self._launcher.log_path(token)}"))

    async def _kill_all(self, tokens: list[str]) -> None:
        handles = [handle for t in tokens if (handle := self._handles.pop(t, None)) is not None]
        if handles:
            await self._end_jobs(handles)

    async def _end_jobs(self, handles: list[Handle]) -> None:
        await self._call(self._launcher.kill_many, handles)

    def _minutes(self, kind: str) -> int | None:
        """Walltime of a job that starts now; None for processes that have no allocation of their own."""
        settings = self._config.settings
        if settings.cluster != "slurm":
            return None
        return shaped_min(self._work_s(), settings.launch[kind].timeout_min)

    def _entry(self, kind: str, token: str, minutes: int | None) -> Entry:
        item = self._kinds[kind]
        config, settings = self._config, self._config.settings
        profile, spot = settings.launch[kind], kind in settings.spots
        grace_s = max(1.0, profile.grace_s - KILL_MARGIN_S) if profile.grace_s else config.worker_grace_s
        worker = WorkerConfig(
            run_dir=config.run_dir,
            worker_id=token,
            kind=kind,
            hardware=item.hardware,
            launch=token,
            configs_dir=settings.configs_dir,
            models_dir=settings.models_dir,
            models=item.models,
            memory_gb=item.memory_gb,
            device_kind=settings.device_kinds[kind],
            threads=settings.threads[kind],
            spot=spot,
            local_cache=settings.node_local_dir,
            patience_s=config.patience_s,
            grace_s=grace_s,
            # The job's real end replaces this where Slurm tells it (worker/main.py).
            lifetime_s=None if minutes is None else 60.0 * minutes,
            heartbeat_s=config.heartbeat_s,
            durable=config.durable,
            version=self._version,
            gang=profile.nodes * profile.tasks_per_node,
        )
        if minutes is not None:
            margin_s = min(worker.drain_margin_s, DRAIN_SHARE * 60.0 * minutes)
            worker = msgspec.structs.replace(worker, drain_margin_s=margin_s)
        losses_per_h = settings.losses_per_h.get(kind, SPOT_LOSSES_PER_H if spot else worker.losses_per_h)
        worker = msgspec.structs.replace(worker, losses_per_h=losses_per_h)
        return Entry(_TARGET, msgspec.json.encode(worker))
