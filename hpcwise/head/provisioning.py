"""Asks the provisioner whenever the plan could change, in a process of its own, and tells the engine.

What is asked about is a value read off the state (`View`), so the engine goes on meanwhile; the answer is an
event, `PlanReady` with the version that it was made for, and stands in the journal like any other. A search
that fails leaves the number of workers to demand; it is no reason to end the head.

A request that was handed in with a ready-by contract has it beside its film (`contract.json`): the contract's
policy says then how many workers of which pools it has, and when to ask again.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.catalogue import Catalogue
from hpcwise.core.contracthead import Agreement, Contracted, ContractView
from hpcwise.core.engine import Engine
from hpcwise.core.provisioner.online import LOOKS, Online, OnlineSettings
from hpcwise.core.provisioner.standing import Offer, Place
from hpcwise.core.provisioner.view import View
from hpcwise.head.publishing import in_process
from hpcwise.head.settings import Settings

log = logging.getLogger(__name__)


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes while a head lives."""

    catalogue: Catalogue
    offers: tuple[Offer, ...]
    settings: OnlineSettings
    #: The cluster whose contracts this head keeps.
    site: str = ""
    per_node: dict[str, int] = {}


def ground_of(settings: Settings) -> Ground | None:
    """None where the head is configured to go by demand."""
    if settings.provision is None:
        return None
    offers = tuple(
        Offer(item=item, place=Place(spot=item.kind in settings.spots, queue_s=item.launch_s))
        for item in settings.engine.fleet
    )
    return Ground(
        catalogue=settings.engine.catalogue, offers=offers, settings=settings.provision,
        # Inside one allocation there is nothing to ask for.
        site=settings.site if settings.cluster == "slurm" else "", per_node=settings.per_node,
    )  # fmt: skip


def search(ground: bytes, view: bytes, why: str) -> bytes:
    """The plan for a view; runs in the process. Equal arguments give equal bytes."""
    known = msgspec.msgpack.decode(ground, type=Ground)
    online = Contracted(known.catalogue, known.offers, known.settings)
    answer = online.plan(msgspec.msgpack.decode(view, type=ContractView), why)
    return msgspec.msgpack.encode(answer)


class Agreements:
    """The contracts of requests, each read once. results: folder of the films; site: the cluster that this
    head asks for workers, empty for none."""

    def __init__(self, results: Path, site: str) -> None:
        self._results, self._site = results, site
        self._known: dict[str, Agreement | None] = {}

    def of(self, request_id: str) -> Agreement | None:
        """None where nothing was agreed, or nothing that this head could keep."""
        if request_id not in self._known:
            self._known[request_id] = self._read(request_id) if self._site else None
        return self._known[request_id]

    def _read(self, request_id: str) -> Agreement | None:
        path = self._results / request_id / "contract.json"
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Agreement)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s: %s; planned without its contract", path, error)
            return None
        if found.cluster != self._site:
            log.warning("%s: agreed on cluster %s, this is %s", path, found.cluster, self._site)
            return None
        log.info("request %s has a contract: by %.0f (Unix time)", request_id, found.contract.by_s)
        return found


class Provisioning:
    """take: hands an event to the engine. now_s: engine time. results: folder of the films. Belongs to the
    event loop."""

    def __init__(
        self, engine: Engine, ground: Ground | None, take: Callable[[m.Event], None],
        now_s: Callable[[], float], results: Path = Path("results"),
    ) -> None:  # fmt: skip
        self._engine, self._take, self._now_s = engine, take, now_s
        self._online = None if ground is None else Contracted(
            ground.catalogue, ground.offers, ground.settings, Agreements(results, ground.site).of,
            ground.per_node,
        )  # fmt: skip
        self._ground = msgspec.msgpack.encode(ground)
        self._pool: ProcessPoolExecutor | None = None
        self._search: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._clock: asyncio.TimerHandle | None = None

    def heard(self, event: m.Event, commands: Sequence[m.Command]) -> None:
        """After each event: look whether there should be a new plan, at the latest when `gap_s` is over."""
        if self._online is None:
            return
        looks = type(event) in LOOKS or any(type(c) is m.RequestEnded for c in commands)
        if looks or (type(event) is m.Tick and self._online.wait_s(self._now_s()) <= 0):
            self._look_soon()

    def close(self) -> None:
        for timer in (self._later, self._clock):
            if timer is not None:
                timer.cancel()
        if self._search is not None:
            self._search.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _look_soon(self) -> None:
        if self._online is None or self._later is not None or self._search is not None:
            return
        wait_s = self._online.wait_s(self._now_s())
        # Never inside the call that brought the event: its batch goes first.
        self._later = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._look)

    def _look(self) -> None:
        self._later = None
        assert self._online is not None
        try:
            view = self._online.view(self._engine.state)
            why = self._online.due(view)
        except Exception as error:
            # It would be the same for the next head: go on by demand, and say so.
            log.exception("planning is switched off; the number of workers follows demand")
            self._online = None
            self._take(m.PlanReady(self._engine.state_version, {}, why=f"by demand from now on: {error}"))
            return
        self._look_at(view.look_s)
        if why:
            self._online.asked(view)
            self._search = asyncio.get_running_loop().create_task(self._answer(self._online, view, why))

    def _look_at(self, at_s: float) -> None:
        """When a contract's time has come, however quiet it is until then."""
        if self._clock is not None:
            self._clock.cancel()
        self._clock = None
        if at_s < float("inf"):
            wait_s = at_s - self._now_s()
            self._clock = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._look_soon)

    async def _answer(self, online: Online, view: View, why: str) -> None:
        try:
            encoded = await asyncio.get_running_loop().run_in_executor(
                self._process(), search, self._ground, msgspec.msgpack.encode(view), why
            )
            answer = msgspec.msgpack.decode(encoded, type=m.PlanReady)
        except Exception as error:
            if isinstance(error, BrokenProcessPool):
                self._pool = None
            log.exception("planning failed; the number of workers follows demand")
            answer = m.PlanReady(view.version, {}, why=f"{why}; by demand, as the search failed: {error}")
        self._search = None
        online.asked(view, answer)
        wanted = ", ".join(f"{n} {kind}" for kind, n in answer.wanted.items() if n)
        log.info("plan (%s): %s", answer.why, wanted or "nothing")
        self._take(answer)
        self._look_soon()  # at what happened during the search

    def _process(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=in_process, initargs=(os.getpid(),))
        return self._pool
