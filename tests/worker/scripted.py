"""A head whose every word the test says, and worker processes that join it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hpcwise.core.calls import InputRef, RunTask
from hpcwise.store.artifacts import Store
from hpcwise.store.keys import ensure_keys
from hpcwise.store.paths import RunPaths
from hpcwise.wire import messages as w
from hpcwise.wire.messages import Down, decode_up, encode
from hpcwise.wire.sockets import CurveKeys, ServerSocket
from hpcwise.wire.start import HeadAddress, WorkerConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
T = TypeVar("T")
#: What a worker does at once is seen within seconds; on a machine that is busy with much else, within this.
WITHIN_S = 60.0


def task(task_id: str, key: str, inputs: tuple[InputRef, ...] = (), **fields: Any) -> RunTask:
    """An attempt at an emulated task. fields: of RunTask, everything else is a parameter."""
    known = {f: fields.pop(f) for f in list(fields) if f in RunTask.__struct_fields__}
    return RunTask(
        **{"attempt": 1, "stage": "emulated", "model": "emulated", "seed": 1, **known},
        task_id=task_id, key=key, params=fields, inputs=inputs,
    )  # fmt: skip


class ScriptedHead:
    """Listens in `run_dir`. Every worker event is collected in `events`; `until` reads until something
    is there. answers: whether heartbeats are answered and events acknowledged."""

    def __init__(
        self,
        run_dir: Path,
        epoch: int = 1,
        advertise: tuple[str, ...] | None = None,
        interface: str = "127.0.0.1",
    ) -> None:
        self.paths = RunPaths(run_dir)
        self.paths.create()
        self.keys = ensure_keys(self.paths)
        self.epoch = epoch
        server, client = self.keys.server, self.keys.client
        self.server = ServerSocket(
            CurveKeys(server.public.encode(), server.secret.encode(), client.public.encode()), interface
        )
        self.store = Store(self.paths, durable=False)
        self.answers = True
        #: Of each worker: its session, and the number of the last parcel to it.
        self.sessions: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.hellos: list[w.Hello] = []
        self.events: list[Any] = []
        self.goodbyes: list[str] = []
        self.unwell: list[tuple[str, ...]] = []
        self.parcels: list[w.Up] = []
        self._welcomed = 0
        #: Of each process: the number of its next event.
        self._next: dict[str, int] = {}
        self.advertise(advertise if advertise is not None else self.server.addresses)

    def advertise(self, addresses: tuple[str, ...]) -> None:
        address = HeadAddress(
            epoch=self.epoch,
            addresses=addresses,
            server_public=self.keys.server.public,
            pid=os.getpid(),
            host="h",
        )
        beside = self.paths.head_json.with_suffix(".new")
        beside.write_bytes(address.encode())
        beside.replace(self.paths.head_json)

    def say(self, worker_id: str, *notes: w.FromHead, number: int | None = None) -> None:
        """One parcel of the present session."""
        assert self._say(worker_id, notes, number)

    def run(self, worker_id: str, *tasks: RunTask) -> None:
        self.say(worker_id, *(w.Run(t) for t in tasks))

    def listen(self) -> None:
        """Take what waits."""
        for peer, frame in self.server.receive(1000):
            parcel = decode_up(frame)
            self.parcels.append(parcel)
            for note in parcel.messages:
                self._note(peer, note)

    def until(self, condition: Callable[[], T], within_s: float = WITHIN_S) -> T:
        """Listen until `condition` gives something true; that."""
        end = time.monotonic() + within_s
        while True:
            self.listen()
            if found := condition():
                return found
            assert time.monotonic() < end, f"did not happen; events: {self.events}"
            time.sleep(0.002)

    def event(self, kind: type[T], task_id: str = "", within_s: float = WITHIN_S) -> T:
        """The first event of `kind` (about `task_id`); waits for it."""

        def found() -> T | None:
            for event in self.events:
                if isinstance(event, kind) and (not task_id or getattr(event, "task_id", "") == task_id):
                    return event
            return None

        result = self.until(found, within_s)
        assert result is not None
        return result

    def forget(self) -> None:
        """The events that were heard so far."""
        self.events.clear()

    def welcome(self, worker_id: str, *notes: w.FromHead) -> None:
        self._welcomed += 1
        self.sessions[worker_id], self.numbers[worker_id] = self._welcomed, 0
        self.say(worker_id, w.Welcome(self._welcomed), *notes)

    def close(self) -> None:
        self.server.close()

    def _note(self, peer: bytes, note: w.ToHead) -> None:
        match note:
            case w.Probe():
                self._send(peer, w.Here())
            case w.Heartbeat() if self.answers:
                self._send(peer, w.Here())
            case w.Hello():
                self.hellos.append(note)
                self._take(note.nonce, note.first_seq, note.unacked)
                if self.answers:
                    self.welcome(note.worker.worker_id, w.Ack(note.first_seq + len(note.unacked)))
            case w.Events():
                self._take(note.nonce, note.first_seq, note.events)
                if self.answers:
                    # Who leaves in a hurry does not wait for it.
                    self._say(peer.decode(), (w.Ack(note.first_seq + len(note.events)),))
            case w.Goodbye():
                self.goodbyes.append(note.reason)
                self.unwell.append(note.unwell)

    def _take(self, nonce: str, first_seq: int, events: tuple[Any, ...]) -> None:
        known = self._next.get(nonce, 0)
        self._next[nonce] = max(known, first_seq + len(events))
        self.events += events[max(0, known - first_seq) :]

    def _say(self, worker_id: str, notes: tuple[w.FromHead, ...], number: int | None = None) -> bool:
        number = self.numbers.get(worker_id, 0) + 1 if number is None else number
        self.numbers[worker_id] = number
        frame = encode(Down(self.epoch, self.sessions.get(worker_id, 0), number, notes))
        return self.server.send(worker_id.encode(), frame)

    def _send(self, peer: bytes, note: w.FromHead) -> None:
        self.server.send(peer, encode(Down(self.epoch, 0, 0, (note,))))


def config_of(run_dir: Path, worker_id: str = "w1", **fields: Any) -> bytes:
    """What a worker is started with. fields: of WorkerConfig."""
    usual = {
        "kind": "cpu", "hardware": "cpu", "heartbeat_s": 0.2, "durable": False, "models": ("emulated",),
        "configs_dir": str(CONFIGS), "models_dir": str(run_dir / "models"),
    }  # fmt: skip
    return msgspec.json.encode(WorkerConfig(**{**usual, **fields}, run_dir=str(run_dir), worker_id=worker_id))


def start_worker(run_dir: Path, worker_id: str = "w1", **fields: Any) -> subprocess.Popen[bytes]:
    """A worker process. fields: of WorkerConfig."""
    code = "import sys; from hpcwise.worker.main import run_worker; print(run_worker(sys.argv[1].encode()))"
    return subprocess.Popen(
        [sys.executable, "-c", code, config_of(run_dir, worker_id, **fields).decode()],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=CONFIGS.parent,
    )  # fmt: skip
