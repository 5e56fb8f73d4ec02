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
        self.session = 0
        self.number = 0
        self.hellos: list[w.Hello] = []
        self.events: list[Any] = []
        self.goodbyes: list[str] = []
        self.unwell: list[tuple[str, ...]] = []
        self.parcels: list[w.Up] = []
        self._next = 0
        self._nonce = ""
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
        self.number = self.number + 1 if number is None else number
        frame = encode(Down(self.epoch, self.session, self.number, notes))
        assert self.server.send(worker_id.encode(), frame)

    def run(self, worker_id: str, *tasks: RunTask) -> None:
        self.say(worker_id, *(w.Run(t) for t in tasks))

    def listen(self) -> None:
        """Take what waits."""
        for peer, frame in self.server.receive(1000):
            parcel = decode_up(frame)
            self.parcels.append(parcel)
            for note in parcel.messages:
                self._note(peer, note)

    def until(self, condition: Callable[[], T], within_s: float = 20.0) -> T:
        """Listen until `condition` gives something true; that."""
        end = time.monotonic() + within_s
        while True:
            self.listen()
            if found := condition():
                return found
            assert time.monotonic() < end, f"did not happen; events: {self.events}"
            time.sleep(0.002)

    def event(self, kind: type[T], task_id: str = "", within_s: float = 20.0) -> T:
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
        """What was heard so far; another worker counts its events from 0 again."""
        self.events.clear()
        self._next = 0

    def welcome(self, worker_id: str, *notes: w.FromHead) -> None:
        self.session += 1
        self.number = 0
        self.say(worker_id, w.Welcome(self.session), *notes)

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
                if note.nonce != self._nonce:
                    # Another process counts its events from 0 again.
                    self._nonce, self._next = note.nonce, 0
                self._take(note.first_seq, note.unacked)
                if self.answers:
                    self.welcome(note.worker.worker_id, w.Ack(note.first_seq + len(note.unacked)))
            case w.Events():
                self._take(note.first_seq, note.events)
                if self.answers:
                    self.number += 1
                    ack = w.Ack(note.first_seq + len(note.events))
                    # Who leaves in a hurry does not wait for it.
                    self.server.send(peer, encode(Down(self.epoch, self.session, self.number, (ack,))))
            case w.Goodbye():
                self.goodbyes.append(note.reason)
                self.unwell.append(note.unwell)

    def _take(self, first_seq: int, events: tuple[Any, ...]) -> None:
        fresh = events[max(0, self._next - first_seq) :]
        self._next = max(self._next, first_seq + len(events))
        self.events += fresh

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
