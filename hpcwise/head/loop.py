"""The head: one asyncio process that owns the engine and performs what it decides.

cli -> inbox -> RequestArrived -> engine -> Dispatch -> worker -> TaskFinished -> engine -> Publish. All of
it happens on the event loop's thread; only disks, launchers and stitching have threads or a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.errors import HpcwiseError, StoreError
from hpcwise.core.estimate import worker_work_s
from hpcwise.core.report import receipt
from hpcwise.core.state import LIVE_REQUEST
from hpcwise.core.units import RequestId, WorkerId
from hpcwise.head.answers import READ, HeadStatus, status
from hpcwise.head.clock import EngineClock
from hpcwise.head.config import HeadConfig
from hpcwise.head.core_loop import Core
from hpcwise.head.fleet import Fleet
from hpcwise.head.intake import Intake
from hpcwise.head.ledger import Ledger, SnapshotBody
from hpcwise.head.mailroom import WATCH_POLL_S, Mailroom
from hpcwise.head.morning import Morning
from hpcwise.head.peers import Peers
from hpcwise.head.perform import Performer
from hpcwise.head.provisioning import Provisioning, ground_of
from hpcwise.head.publishing import Publishing
from hpcwise.head.recover import Recovered
from hpcwise.launch.base import Launcher
from hpcwise.store.artifacts import Store
from hpcwise.store.epoch import Epoch, is_stale
from hpcwise.store.inbox import Inbox
from hpcwise.store.journal import JournalWriter, Snapshot, Snapshots
from hpcwise.store.paths import RunPaths, write_beside
from hpcwise.wire import messages as w
from hpcwise.wire.sockets import ServerSocket

log = logging.getLogger(__name__)

#: How often the inbox is looked at where that is cheap; on a slow file system it takes 5 % of the time.
INBOX_S: Final = 0.02
#: A head that did not look around for so long was deaf, and its workers need not have been silent.
DEAF_S: Final = 3.0
#: Artifacts told to the engine in one event.
KNOWN_AT_ONCE: Final = 2000
EXIT_OK, EXIT_STALE, EXIT_BUG = 0, 3, 70


class Head:
    """Built by `main`, which has claimed the epoch and recovered. `run` returns the exit status."""

    def __init__(
        self, config: HeadConfig, paths: RunPaths, epoch: Epoch, recovered: Recovered, writer: JournalWriter,
        server: ServerSocket, launcher: Launcher, version: str,
    ) -> None:  # fmt: skip
        self._config = config
        self._paths = paths
        self._epoch = epoch
        self._engine = recovered.engine
        self._writer = writer
        self._server = server
        self._version = version
        self._started_s = self._judged_s = time.monotonic()
        self._stop = asyncio.Event()
        self._exit = EXIT_OK
        self._keep_workers = False
        self._failure: BaseException | None = None
        clock = EngineClock.resumed(recovered.now_s, recovered.wall_s)
        self._peers = Peers(server, epoch.number)
        self._fleet = Fleet(
            config, launcher, self._take, self._in_fleet, version,
            beats=lambda worker_id: self._silent_s(worker_id) < 3 * config.heartbeat_s,
            work_s=lambda: worker_work_s(self._engine),
        )  # fmt: skip
        self._publishing = Publishing(self._take)
        results = Path(config.results_dir)
        self._morning = Morning(paths.root, results)
        self._performer = Performer(
            self._engine, self._peers, self._fleet, self._publishing, paths.root, results, self._receipt
        )
        self._core = Core(
            self._engine, clock, Ledger(writer), self._performer.perform, self._performer.perform_durable,
            self._send, self._failed, self._heard,
        )  # fmt: skip
        self._provisioning = Provisioning(
            self._engine, ground_of(config.settings), self._take, clock.now_s, results
        )
        self._mail = Mailroom(
            server, epoch.number, self._core, self._peers, self._answer, self._stale, self._fleet.left
        )
        self._intake = Intake(Inbox(paths), self._engine, clock, epoch.number, self._take)
        self._snapshots = Snapshots(paths)
        self._snapshot_count = 0
        self._snapshot_s = self._started_s
        self._ended = {r.request_id for r in self._engine.state.requests.values() if not _live(r.state)}

    async def run(self, ready: Callable[[], None]) -> int:
        """Serve until told to stop. ready: called once workers and clients may come."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unexpected)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        # Slurm sends SIGTERM to a job that has to give way: then the next head takes the workers over.
        loop.add_signal_handler(signal.SIGTERM, self._hand_over if self._config.hand_over else self.stop)
        loop.add_signal_handler(signal.SIGUSR1, self._hand_over)
        for token, launch in list(self._engine.state.launches.items()):
            self._fleet.launch(launch.kind, token)
        for worker_id in self._engine.state.workers:
            self._fleet.adopt(worker_id)
        self._take(m.HeadStarted(self._epoch.number, grace_s=self._config.lost_after_s + 5.0))
        for known in await asyncio.to_thread(list, self._known_artifacts()):
            self._take(known)
        for request_id in self._ended:
            if not (self._folder(request_id) / "receipt.json").exists():
                self._end(request_id)
        self._core.commit()
        self._mail.open()
        ready()
        chores = [
            loop.create_task(self._every(INBOX_S, self._poll_inbox)),
            loop.create_task(self._every(1.0, self._look_around)),
            loop.create_task(self._every(WATCH_POLL_S, self._watch)),
        ]
        await self._stop.wait()
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await self._shut_down()
        return self._exit

    def stop(self) -> None:
        """Orderly end; may be called by a signal."""
        self._stop.set()

    def _hand_over(self) -> None:
        self._keep_workers = True
        self.stop()

    # -- between the parts -------------------------------------------------------------------------------

    def _take(self, event: m.Event) -> None:
        self._core.take(event)
        if type(event) is m.WorkerLost:
            log.info("worker %s is gone: %s", event.worker_id, event.reason)
            self._peers.drop(event.worker_id)
        elif type(event) is m.RequestArrived:
            if event.job.workflow != "graph":
                self._publishing.warm()
        elif type(event) in _ENDS:
            # These end a request without a decision of the engine's.
            for request in self._engine.state.requests.values():
                if request.request_id not in self._ended and not _live(request.state):
                    self._end(request.request_id)

    def _heard(self, event: m.Event, commands: Sequence[m.Command]) -> None:
        self._provisioning.heard(event, commands)

    def _end(self, request_id: RequestId) -> None:
        self._ended.add(request_id)
        if self._engine.state.requests[request_id].job.workflow != "graph":
            self._performer.end_film(request_id)

    def _silent_s(self, worker_id: WorkerId) -> float:
        peer = self._peers.get(worker_id)
        return float("inf") if peer is None else time.monotonic() - peer.heard_s

    def _in_fleet(self, worker_id: WorkerId) -> bool:
        return worker_id in self._engine.state.workers

    def _send(self) -> None:
        for worker_id in self._peers.flush(time.monotonic()):
            self._take(m.WorkerLost(worker_id, "does not read its messages"))
        self._mail.look_again()

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody handles is a bug; going on would hide it, the next head starts clean."""
        error = context.get("exception") or RuntimeError(str(context.get("message")))
        self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if self._failure is not None:
            return
        log.critical("a bug; the head ends, its journal holds all that was decided", exc_info=error)
        self._failure = error
        self._exit = EXIT_BUG
        self._keep_workers = True
        self._stop.set()

    def _stale(self, newer: int) -> None:
        if not self._stop.is_set():
            log.error("epoch %d is over, epoch %d was claimed: this head stops", self._epoch.number, newer)
            self._exit = EXIT_STALE
            self._keep_workers = True
            self._stop.set()

    def _answer(self, query: w.Query) -> object:
        read = READ.get(type(query))
        if read is not None:
            return read(self._engine, query)
        if isinstance(query, w.CancelRequest):
            view = READ[w.AskShow](self._engine, query)
            self._take(m.RequestCancelled(query.request_id))
            return view
        if isinstance(query, w.StopHead):
            self._keep_workers = query.keep_workers
            asyncio.get_running_loop().call_soon(self.stop)
        return self._status()

    def _status(self) -> HeadStatus:
        return status(
            self._engine,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=self._version,
            run_dir=str(self._paths.root),
            up_s=time.monotonic() - self._started_s,
            events=self._core.events,
            journal_bytes=self._writer.size_bytes,
            garbage=self._mail.garbage,
            paused=self._core.paused,
            publishing=len(self._publishing),
            launching=self._fleet.launching,
            slurm=self._fleet.use,
            unwell=self._fleet.unwell,
        )

    # -- chores ------------------------------------------------------------------------------------------

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await chore()
            except HpcwiseError as error:
                log.warning("%s", error)
            except Exception as error:
                self._failed(error)
                return
            await asyncio.sleep(seconds)

    async def _poll_inbox(self) -> None:
        if self._core.paused:
            return
        started_s = time.monotonic()
        answers = self._intake.poll()
        if not answers:
            # Where looking takes long (a shared file system under load), look less often.
            await asyncio.sleep(20 * (time.monotonic() - started_s))
            return
        self._core.commit()
        await self._core.ledger.durable()
        await asyncio.to_thread(self._intake.settle, answers)
        self._intake.settled(answers)

    async def _watch(self) -> None:
        self._mail.watch()

    async def _look_around(self) -> None:
        now_s = time.monotonic()
        if not self._core.paused:
            self._judge_silence(now_s)
        delta_s = self._core.clock.stepped_s()
        if delta_s:
            log.warning("the wall clock was set by %+.1f s", delta_s)
            self._take(m.ClockStepped(delta_s))
        self._fleet.sweep()
        if await asyncio.to_thread(is_stale, self._paths, self._epoch):
            self._stale(self._epoch.number + 1)
        if self._engine.state.store_full:
            await self._ask_store()
        self._core.ledger.durable()  # nobody waits: a machine that fails loses about a second
        records = self._writer.count - self._snapshot_count
        late = now_s - self._snapshot_s > self._config.snapshot_s
        if records >= self._config.snapshot_records or (records and late):
            await self._snapshot()

    def _judge_silence(self, now_s: float) -> None:
        deaf_s = now_s - self._judged_s
        self._judged_s = now_s
        if deaf_s > DEAF_S:
            # A full disk, or one that hung, kept this head from reading what workers said meanwhile.
            self._peers.excuse(deaf_s, now_s)
        for peer in self._peers:
            silent_s = now_s - peer.heard_s
            if silent_s > self._config.lost_after_s:
                reason = f"no heartbeat for {silent_s:.0f} s{self._fleet.words(peer.worker_id)}"
                self._take(m.WorkerLost(peer.worker_id, reason))
            elif silent_s > 0.4 * self._config.lost_after_s:
                self._fleet.look_soon()

    async def _ask_store(self) -> None:
        try:
            await asyncio.to_thread(self._paths.check_usable)
        except StoreError:
            return
        log.info("the store has space again")
        self._take(m.StoreAvailable())

    async def _snapshot(self) -> None:
        engine = self._engine
        body = SnapshotBody(engine.now_s, self._core.clock.wall_s(), engine.snapshot())
        snapshot = Snapshot(self._epoch.number, self._writer.count, msgspec.msgpack.encode(body))
        self._snapshot_count, self._snapshot_s = snapshot.seq, time.monotonic()
        # A snapshot must not be ahead of the journal that it stands for.
        await self._core.ledger.durable()
        await asyncio.to_thread(self._snapshots.save, snapshot)

    def _known_artifacts(self) -> Iterator[m.ArtifactsKnown]:
        """What the store holds and the engine does not know. Runs in a thread."""
        done = {key for key, artifact in self._engine.state.artifacts.items() if artifact.done}
        found = (
            m.KnownArtifact(
                key=known.key,
                n_chunks=known.n_chunks,
                done=known.done,
                facts=dict(known.facts),
                nbytes=known.size_bytes,
                chunk_facts=tuple(dict(facts) for facts in known.chunk_facts),
                chunk_digests=tuple(dict(digests) for digests in known.chunk_digests),
            )
            for known in Store(self._paths).scan()
            if known.key not in done and known.n_chunks
        )
        while batch := tuple(islice(found, KNOWN_AT_ONCE)):
            yield m.ArtifactsKnown(batch)

    def _folder(self, request_id: RequestId) -> Path:
        return Path(self._config.results_dir) / request_id

    def _receipt(self, request_id: RequestId) -> None:
        self._ended.add(request_id)
        request = self._engine.state.requests[request_id]
        if "receipt" not in request.job.outputs:
            return
        folder = self._folder(request_id)
        data = msgspec.json.format(msgspec.json.encode(receipt(self._engine, request_id)), indent=2) + b"\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_beside(folder / "receipt.json", data)
        except OSError as error:
            log.error("%s: %s", folder, error.strerror)
            return
        self._morning.ended(request_id)

    # -- the end -----------------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        """Workers leave, the state is kept, the address goes. A stale head touches nothing of its heir's."""
        with contextlib.suppress(HpcwiseError):
            self._core.commit()
        if not self._keep_workers:
            self._peers.close(w.Stop("the head stops"))
            self._peers.flush(time.monotonic())
            # Events keep coming in: chunks that workers finish on their way out are not lost.
            with contextlib.suppress(HpcwiseError):
                await self._fleet.end(self._config.grace_s)
        self._mail.close()
        self._fleet.close()
        self._publishing.close()
        self._provisioning.close()
        await self._morning.close(0.0 if self._keep_workers else self._config.grace_s)
        self._core.close()
        if self._exit == EXIT_OK:
            with contextlib.suppress(HpcwiseError):
                await self._snapshot()
            with contextlib.suppress(OSError):
                self._paths.head_json.unlink()
        with contextlib.suppress(StoreError):
            self._core.ledger.close()
        self._server.close()


#: Events after which a request may be over without the engine having said RequestEnded.
_ENDS: Final = frozenset({m.RequestCancelled, m.PublishFailed})


def _live(state: Any) -> bool:
    return state in LIVE_REQUEST
