"""A replica of several processes, on one node or more: how they meet, and how rank 0 leads them.

All of them are started with the same configuration, as tasks of one job or step. Which rank a process is says
Slurm's environment, MPI (`srun --mpi=pmix` and mpi4py), or submitit's on this host. Rank 0 opens a hub
(gangwire.py) and hands its address and a key pair made for this gang to the others: in a file of 0600 in the
worker's folder (0700), or by MPI, whose part is over then.

Rank 0 is the worker that the head knows. Tasks run on rank 0 alone; where a model is computed by all, its
adapter tells the others what their part is (`Mates`). So whether to stop, pause or save is decided in one
place, between two steps, and no rank can be of another opinion.

torch.distributed's own rendezvous (TCPStore) answers anybody who can reach its port. Here its addresses go
through the hub (models/parallel/group.py). The data connections of gloo and NCCL know no keys: they belong on
a network of the cluster's own.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn
from urllib.parse import urlsplit

import msgspec
import zmq

from hpcwise.core.errors import GangLost, HpcwiseError
from hpcwise.core.resources import Rank
from hpcwise.models.base import Adapter, Devices
from hpcwise.models.registry import Registry
from hpcwise.store.paths import RunPaths, write_beside
from hpcwise.wire.sockets import CurveKeys, interface_towards
from hpcwise.wire.start import WorkerConfig
from hpcwise.worker.gangnotes import Ask, Done, Go, Join, Leave, Load, Ready, Told, Unload, Welcome, Work
from hpcwise.worker.gangplace import Place, by_mpi
from hpcwise.worker.gangwire import Hub, Spoke
from hpcwise.worker.room import Room
from hpcwise.worker.shelf import Shelf

log = logging.getLogger(__name__)

#: Until all ranks have met, seconds: tasks of one job start together, but Python may come from a slow disk.
MEET_S: Final = 120.0
#: Until a rank has said how its device is: its socket's thread answers, whatever it computes.
ASK_S: Final = 1.0
#: Until all ranks have a model's weights in memory, seconds.
LOAD_S: Final = 1800.0
#: After a collective has failed: so long for the cause to be seen, seconds.
BLAME_S: Final = 3.0
#: After a rank is lost rank 0's main thread, which may be inside a collective, has so long to say goodbye.
LAST_WORDS_S: Final = 5.0
LEAVE_S: Final = 0.5
#: Exit codes: of a rank that lost its gang, and of one that could not go on.
EXIT_LOST: Final = 3
EXIT_BROKEN: Final = 4
_POLL_S: Final = 0.05


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """What the other ranks need to find rank 0, and to be let in."""

    instance: str
    addresses: tuple[str, ...]
    hub_public: str
    public: str
    secret: str


class _Mates:
    """What an adapter may ask for (`Mates` of models/base.py), the same on all ranks."""

    nodes: tuple[str, ...] = ()

    def __init__(self, end: Hub | Spoke) -> None:
        self._end = end
        self.kept: list[object] = []

    def publish(self, key: str, value: bytes) -> None:
        self._end.put(key, value)

    def look_up(self, key: str) -> bytes:
        return self._end.get(key, MEET_S)


class Gang(_Mates):
    """Rank 0's side. last_words: is called, in a thread of its own, when a rank is lost and the main thread
    has
    not left within LAST_WORDS_S; the process ends behind it."""

    def __init__(self, config: WorkerConfig, paths: RunPaths, where: Place, own: Rank) -> None:
        hub_public, hub_secret = zmq.curve_keypair()
        public, secret = zmq.curve_keypair()
        self.last_words: Callable[[str], None] = lambda _reason: None
        self._number = self._asked = 0
        self._hub = Hub(CurveKeys(hub_public, hub_secret, public), where.world, self._lost)
        super().__init__(self._hub)
        self._where = where
        self._hub.start()
        meeting = Meeting(
            instance=where.instance, addresses=self._hub.addresses, hub_public=hub_public.decode(),
            public=public.decode(), secret=secret.decode(),
        )  # fmt: skip
        try:
            if where.by == "mpi":
                by_mpi(msgspec.json.encode(meeting))
            else:
                write_beside(paths.gang(config.worker_id), msgspec.json.encode(meeting), durable=False)
            joined = self._hub.gather(MEET_S)
        except BaseException:
            self._hub.close()
            raise
        finally:
            # The key has done its work.
            paths.gang(config.worker_id).unlink(missing_ok=True)
        #: What the head is told: node and devices of each rank.
        self.ranks = (own, *(Rank(join.node, join.devices) for join in joined.values()))
        self.nodes = tuple(rank.node for rank in self.ranks)
        #: What is wrong with other ranks' devices, by node.
        self.unwell = {join.node: join.unhealthy for join in joined.values() if join.unhealthy}
        # As a rank on another node sees us: those of our own would also do with loopback.
        far = min(joined.values(), key=lambda join: join.node == own.node)
        _choose_interface(_host(far.reached))
        self._hub.tell(Welcome(self.nodes, _host(far.reached)))
        log.info("gang of %d by %s: %s", where.world, where.by, ", ".join(self.nodes))

    @property
    def lost(self) -> str:
        """Why the gang cannot go on, naming rank and node; empty while it can."""
        return self._hub.lost

    def joules(self) -> float | None:
        """Taken by the devices of the other ranks so far; None where one cannot tell."""
        answers = self._ask(look=False)
        if answers is None or any(told.joules < 0 for _, told in answers):
            return None
        return sum(told.joules for _, told in answers)

    def look(self) -> None:
        """Ask the other ranks whether their devices are well; see `unwell`."""
        for node, told in self._ask(look=True) or ():
            if told.unwell:
                self.unwell[node] = told.unwell

    def _ask(self, *, look: bool) -> list[tuple[str, Told]] | None:
        if self._hub.lost:
            return None
        self._asked += 1
        return self._hub.ask(Ask(self._asked, look), ASK_S)

    def tell(self, model: str, payload: bytes) -> None:
        """Raises GangLost where that is of no use any more."""
        if self._hub.lost:
            raise GangLost(self._hub.lost)
        self._hub.tell(Work(model, payload))

    def out_of_step(self, error: Exception) -> None:
        # That another rank was lost is the better reason, and may be known a moment later.
        if not self._hub.wait_lost(BLAME_S):
            self._hub.lose(f"rank 0 on {self.nodes[0]} cannot go on: {line_of(error)}")

    def agree(self) -> None:
        for rank in range(1, self._where.world):
            answer = self._hub.next_from(rank, LOAD_S)
            while answer.number != self._number:
                answer = self._hub.next_from(rank, LOAD_S)
            if isinstance(answer, Done):
                raise GangLost(f"rank {rank} on {self.nodes[rank]}: {answer.error}")
        self._hub.tell(Go(self._number, ""))

    def loading(self, model: str) -> None:
        """All other ranks begin to load it; `loaded` is to follow."""
        self._number += 1
        self._hub.tell(Load(model, self._number))

    def loaded(self, error: str) -> None:
        """Rank 0's own loading has ended; waits for the others. Raises GangLost that names who could not."""
        if error:
            self._hub.tell(Go(self._number, error))
        failed = ""
        for rank in range(1, self._where.world):
            answer = self._hub.next_from(rank, LOAD_S)
            while answer.number != self._number or isinstance(answer, Ready):
                if answer.number == self._number:
                    # It would wait for ever: the adapter shares on that rank what it does not share here.
                    self._hub.tell(Go(self._number, error or "rank 0 has loaded it for itself alone"))
                answer = self._hub.next_from(rank, LOAD_S)
            if answer.error and not failed:
                failed = f"rank {rank} on {self.nodes[rank]}: {answer.error}"
        if failed and not error:
            raise GangLost(failed)

    def unloaded(self, model: str) -> None:
        self._hub.tell(Unload(model))

    def blamed(self, error: Exception | SystemExit) -> Exception | SystemExit:
        """The reason behind `error`: that a rank was lost, if one was."""
        if isinstance(error, HpcwiseError):
            return error
        lost = self._hub.wait_lost(BLAME_S)
        return GangLost(lost) if lost else error

    def close(self, reason: str) -> None:
        """Send the others home."""
        self._hub.tell(Leave(reason))
        self._hub.close()

    def _lost(self, reason: str) -> None:
        threading.Thread(target=self._insist, args=(reason,), name="last-words", daemon=True).start()

    def _insist(self, reason: str) -> None:
        time.sleep(LAST_WORDS_S)
        log.error("ends now: %s", reason)
        self.last_words(reason)
        # Nothing tells when a message has left this host.
        time.sleep(LEAVE_S)
        flush_and_exit(EXIT_LOST)


class Follower(_Mates):
    """The side of another rank. unhealthy: what is wrong with its device."""

    def __init__(
        self, config: WorkerConfig, paths: RunPaths, where: Place, own: Rank, unhealthy: str = ""
    ) -> None:
        self.number = 0
        meeting = _meeting(config, paths, where)
        keys = CurveKeys(meeting.public.encode(), meeting.secret.encode(), meeting.hub_public.encode())
        join = Join(where.rank, own.node, own.devices, "", unhealthy)
        self._context = zmq.Context()
        self._spoke = Spoke(self._context, keys, meeting.addresses, join, MEET_S, _gone)
        super().__init__(self._spoke)
        self._spoke.start()
        welcome = self._spoke.next(MEET_S)
        if not isinstance(welcome, Welcome):
            raise GangLost(f"rank 0 said {type(welcome).__name__} in place of a welcome")
        self.nodes = welcome.nodes
        _choose_interface(welcome.hub)
        log.info("rank %d of %d, led by %s", where.rank, where.world, self.nodes[0])

    @property
    def spoke(self) -> Spoke:
        return self._spoke

    def tell(self, model: str, payload: bytes) -> None:
        raise AssertionError("only rank 0 leads")

    def out_of_step(self, error: Exception) -> None:
        raise AssertionError("only rank 0 leads")

    def agree(self) -> None:
        self._spoke.say(Ready(self.number))
        answer = self._spoke.next(LOAD_S)
        while not (isinstance(answer, Go) and answer.number == self.number):
            answer = self._spoke.next(LOAD_S)
        if answer.error:
            raise GangLost(f"rank 0: {answer.error}")

    def close(self) -> None:
        self._spoke.close()


class GangShelf(Shelf):
    """Loads a model on all ranks, or on none."""

    def __init__(self, registry: Registry, devices: Devices, room: Room, gang: Gang) -> None:
        super().__init__(registry, devices, room)
        self.gang = gang

    def load(self, model: str) -> Adapter:
        adapter = self.get(model)
        if adapter is not None:
            return adapter
        self.gang.loading(model)
        try:
            adapter = super().load(model)
        except Exception as error:
            reason = line_of(error)
            cause = self.gang.blamed(error)
            if cause is error:
                self.gang.loaded(reason)
            raise cause from error
        try:
            self.gang.loaded("")
        except GangLost:
            super().unload(model)
            raise
        return adapter

    def unload(self, model: str) -> None:
        self.gang.unloaded(model)
        super().unload(model)


def line_of(error: Exception) -> str:
    """One line about anything that a model raises."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def flush_and_exit(code: int) -> NoReturn:
    """End this process as it is. torch's process groups may abort when they are taken down in order."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _gone(reason: str) -> NoReturn:
    log.error("%s", reason)
    flush_and_exit(EXIT_LOST)


def _meeting(config: WorkerConfig, paths: RunPaths, where: Place) -> Meeting:
    """From MPI, or from rank 0's file. Raises GangLost when it does not come."""
    if where.by == "mpi":
        return msgspec.json.decode(by_mpi(b""), type=Meeting)
    path = paths.gang(config.worker_id)
    end_s = time.monotonic() + MEET_S
    while time.monotonic() < end_s:
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Meeting)
            if found.instance == where.instance:
                return found
        except (OSError, msgspec.DecodeError):
            pass
        time.sleep(_POLL_S)
    raise GangLost(
        f"rank {where.rank} on {socket.gethostname()}: rank 0 has not written {path} within {MEET_S:g} s; "
        "is the run directory on a file system that all nodes share?"
    )


def _host(address: str) -> str:
    return urlsplit(address).hostname or "127.0.0.1"


def _choose_interface(hub: str) -> None:
    """gloo and NCCL take the network on which rank 0 is reached, unless the user's environment names one."""
    name = interface_towards(hub)
    if name:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
