"""The engine with its clock and journal: events go in, decisions are recorded, then performed.

`take` may be called from anywhere on the event loop; `commit` ends a batch: the records go to the kernel
first, messages leave after, and decisions with effects outside wait for the disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.errors import StoreError
from hpcwise.head.clock import EngineClock
from hpcwise.head.ledger import Ledger

log = logging.getLogger(__name__)

#: The disk is asked again after so long when it was full, seconds.
FULL_RETRY_S = 1.0


class Core:
    """perform_now: performs a decision whose effect may run ahead of the disk. perform_durable: one that
    must not. send: sends what was queued for workers. failed: the engine raised; the head must end. heard:
    told of each event with what was decided."""

    def __init__(
        self,
        engine: Engine,
        clock: EngineClock,
        ledger: Ledger,
        perform: Callable[[m.Command], bool],
        perform_durable: Callable[[m.Command], None],
        send: Callable[[], None],
        failed: Callable[[BaseException], None],
        heard: Callable[[m.Event, Sequence[m.Command]], None] = lambda _event, _commands: None,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.ledger = ledger
        self.events = 0
        self.paused = ""
        self._perform = perform
        self._perform_durable = perform_durable
        self._send = send
        self._failed = failed
        self._heard = heard
        self._durable: list[m.Command] = []
        self._commit_soon: asyncio.Handle | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, event: m.Event) -> None:
        """Decide on `event` now; the batch is committed at the latest when the loop turns."""
        now_s = max(self.clock.now_s(), self.engine.now_s)
        try:
            commands = self.engine.handle(event, now_s)
        except Exception as error:
            # A rule was broken: what the engine knows can no longer be trusted. The journal does not hold
            # this event, so the next head starts from before it.
            self._failed(error)
            raise
        self.events += 1
        self.ledger.record(now_s, self.clock.wall_s(), event, commands)
        for command in commands:
            if not self._perform(command):
                self._durable.append(command)
        self._heard(event, commands)
        if self._commit_soon is None:
            self._commit_soon = asyncio.get_running_loop().call_soon(self.commit)

    def commit(self) -> None:
        """End the batch. With a full disk everything waits, and nothing is lost."""
        if self._commit_soon is not None:
            self._commit_soon.cancel()
            self._commit_soon = None
        try:
            self.ledger.flush()
        except StoreError as error:
            if not self.paused:
                log.error("paused: %s", error)
            self.paused = str(error)
            self._commit_soon = asyncio.get_running_loop().call_later(FULL_RETRY_S, self._again)
            return
        if self.paused:
            log.info("the journal can be written again")
            self.paused = ""
        self._send()
        if self._durable:
            durable, self._durable = self._durable, []
            task = asyncio.get_running_loop().create_task(self._when_durable(durable))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._set_wake()

    def close(self) -> None:
        """Stop timers; what was recorded is flushed by the ledger's close."""
        for handle in (self._commit_soon, self._wake):
            if handle is not None:
                handle.cancel()
        for task in self._tasks:
            task.cancel()

    def _again(self) -> None:
        self._commit_soon = None
        self.commit()

    async def _when_durable(self, commands: list[m.Command]) -> None:
        await self.ledger.durable()
        try:
            for command in commands:
                self._perform_durable(command)
        except Exception as error:
            self._failed(error)
            raise

    def _set_wake(self) -> None:
        wanted_s = self.engine.next_wakeup_s()
        if wanted_s is None:
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max(0.0, wanted_s - self.clock.now_s())
        # An earlier wake-up stays: under load each event would push the next tick further away.
        if self._wake is not None and self._wake.when() <= at_s + 0.001:
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake = loop.call_at(at_s, self._tick)

    def _tick(self) -> None:
        self._wake = None
        if self.paused:
            return  # the commit that ends the pause sets the next one
        self.take(m.Tick())
        self.commit()
