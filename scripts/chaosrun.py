"""A run under faults: tasks flow all the time, faults strike, some at the same time, and then all is quiet
until everything that was asked for has ended."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.core.errors import HpcwiseError
from hpcwise.core.report import RequestRow
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.core.workflow import Edge
from hpcwise.testbed.shape import TestbedError
from hpcwise.wire import messages as w
from scripts.chaosfaults import Breaker, Fault, Look, NoVictim, deal
from scripts.chaossite import ChaosSite

#: Requests that are under way at any time, and shots of each.
LIVE: Final = 4
SHOTS: Final = 3
#: After the last fault was mended, everything must have ended within this.
PATIENCE_S: Final = 300.0
#: A fault that finds no victim, or whose victim ends by itself, is tried again later, so many times.
TRIES: Final = 3
_OVER: Final = ("done", "failed", "cancelled")


@dataclass
class Asked:
    """Requests by token, with the names of their tasks. ended: as last seen."""

    tokens: list[str] = field(default_factory=list)
    ended: dict[str, RequestRow] = field(default_factory=dict)

    @property
    def open(self) -> int:
        return len(self.tokens) - len(self.ended)


def shots_job(name: str, chance: random.Random) -> JobSpec:
    """Speech, a sketch that streams into upscaling, and a summary of all; every task's recipe is its own."""
    tasks: list[GraphTask] = []

    def add(task: str, seconds: float, chunks: int, *inputs: tuple[str, str], keeps: bool = False) -> None:
        tasks.append(
            GraphTask(
                name=task,
                stage="emulated",
                model="emulated",
                params={
                    "seconds": seconds,
                    "steps": max(4, round(4 * seconds)),
                    "chunks": chunks,
                    "nbytes": 200_000,
                    "checkpoints": keeps,
                    "salt": f"{name}-{task}",
                },
                features={"seconds": seconds},
                inputs=tuple(Edge(source, source, kind) for source, kind in inputs),  # type: ignore[arg-type]
            )
        )

    for shot in range(SHOTS):
        add(f"speech-{shot}", chance.uniform(0.3, 1.5), 1)
        add(f"sketch-{shot}", chance.uniform(3.0, 9.0), 4, (f"speech-{shot}", "finish"), keeps=shot == 0)
        add(f"upscale-{shot}", chance.uniform(1.0, 4.0), 4, (f"sketch-{shot}", "stream"))
    add("summary", 0.5, 1, *((f"upscale-{shot}", "finish") for shot in range(SHOTS)))
    return JobSpec(workflow="graph", name=name, graph=tuple(tasks))


class ChaosRun:
    """say: told of each step. log: a line of JSON a fault, when it is mended. abreast: faults at once.
    every_s: from one fault to the next at the soonest. live: requests under way at any time."""

    def __init__(
        self,
        site: ChaosSite,
        seed: int,
        say: Callable[[str], None],
        log: Path,
        abreast: int,
        every_s: float,
        live: int = LIVE,
    ) -> None:
        self.site = site
        self.asked = Asked()
        self.faults: list[Fault] = []
        self.skipped: list[str] = []
        self._seed = seed
        self._say = say
        self._log = log
        self._abreast = abreast
        self._every_s = every_s
        self._live = live
        self._look = Look()
        self._end = threading.Event()
        self._quiet = threading.Event()
        self._stop = threading.Event()
        self._breaker = Breaker(site, lambda: self._look, self._end, self.asked.tokens.append)

    def run(self, kinds: Sequence[str], faults: int) -> None:
        """All of it. Raises TooLate where no head comes at all."""
        self.site.start()
        self._say(f"head runs as job {self.site.head_job()}")
        helpers = [threading.Thread(target=f, daemon=True) for f in (self._watch, self._ask)]
        for helper in helpers:
            helper.start()
        try:
            self._wait(lambda: any(worker.running for worker in self._look.workers), 120.0)
            self._strike_all(deal(list(kinds), faults, random.Random(self._seed)))
        except BaseException:
            self._end.set()
            raise
        finally:
            self._quiet.set()
            self._wait(lambda: self.asked.open == 0, PATIENCE_S)
            self._stop.set()
            for helper in helpers:
                helper.join(60.0)

    @property
    def unfinished(self) -> list[str]:
        """Requests that had not ended when patience had."""
        return [token for token in self.asked.tokens if token not in self.asked.ended]

    # -- inside ------------------------------------------------------------------------------------------

    def _strike_all(self, kinds: list[str]) -> None:
        waiting = [(number, kind, 1) for number, kind in enumerate(kinds)]
        lock = threading.Lock()

        def one(number: int, kind: str, trial: int) -> None:
            fault = Fault(number=number, kind=kind)
            chance = random.Random(f"{self._seed}-{number}")
            try:
                self._breaker.strike(fault, chance)
            except (NoVictim, TestbedError, FileNotFoundError) as error:
                if trial < TRIES:
                    waiting.append((number, kind, trial + 1))
                else:
                    self.skipped.append(f"{number} {kind}: {error}")
                    self._say(f"{number} {kind}: {error}")
                return
            with lock:
                self.faults.append(fault)
                with self._log.open("ab") as file:
                    file.write(msgspec.json.encode(fault) + b"\n")
            open_, done = self.asked.open, len(self.asked.ended)
            held_s = fault.mended_s - fault.at_s
            self._say(
                f"{len(self.faults)}/{len(kinds)} {kind}: {fault.what} for {held_s:.0f} s; "
                f"{done} requests ended, {open_} open"
            )

        with ThreadPoolExecutor(self._abreast) as pool:
            running: list[object] = []
            while waiting or any(not f.done() for f in running):  # type: ignore[attr-defined]
                for future in [f for f in running if f.done()]:  # type: ignore[attr-defined]
                    future.result()  # type: ignore[attr-defined]
                    running.remove(future)
                if waiting and len(running) < self._abreast:
                    running.append(pool.submit(one, *waiting.pop(0)))
                    time.sleep(self._every_s)
                time.sleep(0.1)

    def _watch(self) -> None:
        while not self._stop.wait(0.7):
            with contextlib.suppress(HpcwiseError, OSError):
                status = self.site.status()
                rows = self.site.ask(w.AskList, tuple[RequestRow, ...]) if status is not None else None
                known = self._look.rows if rows is None else {row.request_id: row for row in rows}
                self._look = Look(time.time(), status, known)
                for token in self.asked.tokens:
                    row = known.get(token)
                    if row is not None and row.state in _OVER:
                        self.asked.ended.setdefault(token, row)

    def _ask(self) -> None:
        chance = random.Random(f"{self._seed}-load")
        number = 0
        while not self._quiet.wait(0.5):
            if self.asked.open >= self._live:
                continue
            token = f"job-{number}"
            job = shots_job(token, chance)
            while True:  # a full disk takes nothing; the same token may be handed in again
                try:
                    self.site.drop(job, token)
                    break
                except HpcwiseError:
                    time.sleep(0.5)
            self.asked.tokens.append(token)
            number += 1

    def _wait(self, condition: Callable[[], bool], within_s: float) -> bool:
        until_s = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > until_s:
                return False
            time.sleep(0.3)
        return True
