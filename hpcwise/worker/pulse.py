"""The worker's second thread: heartbeats, and the search for a head when the old one is silent.

It has sockets of its own, so that it lives while a model computes for minutes in the main thread. The
two threads share only the plain fields of `Pulse`, each written by one of them. When it is told to (`nudge`)
it calls `chore`, which sends what the main thread has no time to send. Unless told it sleeps from one
heartbeat's answer to the next heartbeat: each time that it wakes up it wants the interpreter's lock, and on a
machine that is busy the main thread then waits for its turn once more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from hpcwise.core.errors import StaleEpoch, WireError, WrongVersion
from hpcwise.core.resources import AttemptRef
from hpcwise.store.paths import RunPaths
from hpcwise.wire.messages import Heartbeat, Up, decode_down, encode
from hpcwise.wire.sockets import CurveKeys, PeerSocket, find_head
from hpcwise.wire.start import HeadAddress

log = logging.getLogger(__name__)

#: What waits for so long is sent by the pulse's thread, seconds.
STALE_S = 0.02
#: Until a heartbeat is answered `chore` is called so often, told or not, seconds.
CHORE_S = 0.05


@dataclass(frozen=True, slots=True)
class Found:
    """A head that answers: where, and of which epoch."""

    address: str
    epoch: int
    keys: CurveKeys


class Pulse(threading.Thread):
    """Fields written by the main thread: running, loading, last_step_s, received, session, chore. By this:
    found (the head to talk to), heard_s (monotonic time of its last answer), refused (why it never will)."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], paths: RunPaths, client: tuple[bytes, bytes],
        worker_id: str, heartbeat_s: float,
    ) -> None:  # fmt: skip
        super().__init__(name="pulse", daemon=True)
        self._context = context
        self._paths = paths
        self._client = client
        self._worker_id = worker_id
        self._every_s = heartbeat_s
        self._quit = threading.Event()
        self._nudged = threading.Event()
        self.changed = threading.Event()
        self.found: Found | None = None
        self.heard_s = time.monotonic()
        self.refused = ""
        self._read = (0, 0)
        self.chore: Callable[[], None] = lambda: None
        self.running: AttemptRef | None = None
        self.loading = False
        self.last_step_s = 0.0
        self.received = 0
        self.session = 0

    def stop(self) -> None:
        """End the thread and wait for it, so that the context can be closed."""
        self._quit.set()
        self._nudged.set()
        self.join()

    def nudge(self) -> None:
        """Something waits that the main thread may not come round to sending."""
        if not self._nudged.is_set():
            self._nudged.set()

    def run(self) -> None:
        socket: PeerSocket | None = None
        while not self._quit.is_set():
            try:
                if socket is None:
                    self._search()
                    if self.found is not None:
                        socket = PeerSocket(self._context, self.found.keys, b"hb:" + self._worker_id.encode())
                        socket.connect(self.found.address)
                elif self._moved() or not self._beat(socket):
                    log.warning("head of epoch %d is silent or replaced; looking for one", self._epoch)
                    socket.close()
                    socket = None
            except WrongVersion as error:
                self.refused = str(error)
                self.changed.set()
                break
            except WireError as error:
                log.info("%s", error)
                self._quit.wait(min(self._every_s, 0.5))
        if socket is not None:
            socket.close()

    @property
    def _epoch(self) -> int:
        return 0 if self.found is None else self.found.epoch

    def _moved(self) -> bool:
        """Whether head.json is another file than the one read: a new head says so before the old one's
        silence does."""
        try:
            status = self._paths.head_json.stat()
        except OSError:
            return False  # an orderly end removes it, and says so to every worker
        return (status.st_ino, status.st_mtime_ns) != self._read

    def _search(self) -> None:
        """Set `found`; raises WireError when nobody answers (then it is called again)."""
        try:
            status = self._paths.head_json.stat()
            self._read = status.st_ino, status.st_mtime_ns
            head = HeadAddress.decode(self._paths.head_json.read_bytes())
        except OSError as error:
            raise WireError(f"{self._paths.head_json}: {error.strerror}") from error
        if head.epoch < self._epoch:
            raise StaleEpoch(f"head.json names epoch {head.epoch}, epoch {self._epoch} was seen before")
        keys = CurveKeys(*self._client, head.server_public.encode())
        address = find_head(self._context, keys, head.addresses, head.epoch, timeout_s=2 * self._every_s)
        self.heard_s = time.monotonic()
        self.found = Found(address, head.epoch, keys)
        self.changed.set()

    def _beat(self, socket: PeerSocket) -> bool:
        """One heartbeat; False when the head has not answered for four of them."""
        now = time.monotonic()
        running = self.running
        age = -1.0 if running is None else now - self.last_step_s
        beat = Heartbeat(self._worker_id, age, running, self.received, self.session, self.loading)
        socket.send(encode(Up(self._epoch, (beat,))))
        end, answered = now + self._every_s, False
        while not self._quit.is_set() and (left := end - time.monotonic()) > 0:
            if answered:
                if self._nudged.wait(left):
                    self._nudged.clear()
                    self._quit.wait(STALE_S)
                    self.chore()
                continue
            frame = socket.receive(min(left, CHORE_S))
            self.chore()
            if frame is None:
                continue
            parcel = decode_down(frame)
            if parcel.epoch > self._epoch:
                return False  # another head answers here now: read its address
            if parcel.epoch == self._epoch:
                self.heard_s, answered = time.monotonic(), True
        return time.monotonic() - self.heard_s < 4 * self._every_s
