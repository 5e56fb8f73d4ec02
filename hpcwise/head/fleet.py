"""Launches, kills and the sweep over processes. What takes long runs in a thread; results are events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.errors import HpcwiseError
from hpcwise.core.units import WorkerId
from hpcwise.head.config import HeadConfig
from hpcwise.launch.base import Entry, Handle, Launcher
from hpcwise.wire.start import WorkerConfig

log = logging.getLogger(__name__)
_T = TypeVar("_T")

_TARGET: Final = "hpcwise.worker.main:run_worker"


class Fleet:
    """A worker's id is the token of its launch, so that its job can always be found.

    take: hands an event to the engine. joined: whether a worker is in the fleet.
    """

    def __init__(
        self,
        config: HeadConfig,
        launcher: Launcher,
        take: Callable[[m.Event], None],
        joined: Callable[[WorkerId], bool],
        version: str,
    ) -> None:
        self._config = config
        self._launcher = launcher
        self._take = take
        self._joined = joined
        self._version = version
        self._kinds = {item.kind: item for item in config.settings.engine.fleet}
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="launch")
        self._handles: dict[str, Handle] = {}
        self._launched_s: dict[str, float] = {}
        self._leaving: set[WorkerId] = set()
        self._cancelled: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping = False
        self._ending = False

    @property
    def launching(self) -> tuple[str, ...]:
        """Tokens of launches whose worker has not joined."""
        left = self._leaving
        return tuple(t for t in self._launched_s if not self._joined(t) and t not in left)

    def launch(self, kind: str, token: str) -> None:
        """Start a worker unless a job with that token exists already. Failure becomes LaunchFailed.

        Not while all are sent home: to the engine that is a loss, which it would make up for at once. The
        launch stays asked for in its state, and the next head sees to it.
        """
        if not self._ending:
            self._go(self._launch(kind, token))

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

    def left(self, worker_id: WorkerId) -> None:
        """The worker said goodbye; its process ends by itself, and that is no news."""
        self._leaving.add(worker_id)

    def sweep(self) -> None:
        """Look at all jobs once, in a thread; call it every second."""
        if self._handles and not self._sweeping:
            self._go(self._sweep())

    async def end(self, patience_s: float) -> None:
        """Wait for all jobs to end, then kill what is left. No event comes of it."""
        self._ending = True
        loop = asyncio.get_running_loop()
        until_s = loop.time() + patience_s
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        for token in [t for t in self._handles if not self._joined(t) and t not in self._leaving]:
            await self._call(self._launcher.kill, self._handles.pop(token))  # holds nothing yet
        while self._handles:
            states = await self._call(self._launcher.states, list(self._handles.values()))
            for token, state in states.items():
                if state == "gone":
                    self._handles.pop(token, None)
            if loop.time() > until_s:
                for handle in list(self._handles.values()):
                    await self._call(self._launcher.kill, handle)
                self._handles.clear()
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

    async def _launch(self, kind: str, token: str) -> None:
        self._launched_s[token] = asyncio.get_running_loop().time()
        try:
            handle = await self._call(self._launcher.find, token)
            if handle is None:
                handle = await self._call(self._launcher.launch, kind, token, self._entry(kind, token))
                log.info("launched %s as job %s", token, handle.job_id)
        except HpcwiseError as error:
            self._launched_s.pop(token, None)
            self._take(m.LaunchFailed(token, str(error)))
            return
        self._handles[token] = handle
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
        handle = self._handles.pop(token, None)
        try:
            handle = handle or await self._call(self._launcher.find, token)
            if handle is not None:
                log.info("launch %s taken back: %s", token, reason)
                await self._call(self._launcher.kill, handle)
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
                self._gone(token)
            elif state == "running" and expected and handle.host:
                since_s = self._launched_s.setdefault(token, now_s)
                if now_s - since_s > self._config.join_s:
                    await self._call(self._launcher.kill, handle)
                    self._gone(token, f"did not join within {self._config.join_s:g} s")

    def _gone(self, token: str, reason: str = "its process ended") -> None:
        self._handles.pop(token, None)
        self._launched_s.pop(token, None)
        if token in self._leaving:
            self._leaving.discard(token)
        elif self._joined(token):
            self._take(m.WorkerLost(token, reason))
        else:
            self._take(m.LaunchFailed(token, f"{reason}; see {self._launcher.log_path(token)}"))

    def _entry(self, kind: str, token: str) -> Entry:
        item = self._kinds[kind]
        config, settings = self._config, self._config.settings
        # A local process has no allocation that ends.
        minutes = None if settings.cluster == "local" else settings.launch[kind].timeout_min
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
            patience_s=config.patience_s,
            grace_s=config.worker_grace_s,
            lifetime_s=None if minutes is None else 60.0 * minutes,
            heartbeat_s=config.heartbeat_s,
            durable=config.durable,
            version=self._version,
        )
        return Entry(_TARGET, msgspec.json.encode(worker))
