"""A head as a process with real workers, and a client to talk to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
import zmq

from hpcwise.core.explain import Explanation
from hpcwise.core.report import RequestView
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.core.workflow import Edge
from hpcwise.head.answers import HeadStatus
from hpcwise.launch.processes import by_folder, kill_all
from hpcwise.store.artifacts import Store
from hpcwise.store.inbox import Inbox
from hpcwise.store.keys import load_keys
from hpcwise.store.paths import RunPaths
from hpcwise.wire import messages as w
from hpcwise.wire.messages import Up, decode_down, encode
from hpcwise.wire.sockets import CurveKeys, PeerSocket
from hpcwise.wire.start import HeadAddress, SubmissionAnswer

REPOSITORY = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def until(condition: Callable[[], T], within_s: float = 30.0) -> T:
    """The first true value of `condition`, looked at ever less often: to ask a head takes work of both."""
    end = time.monotonic() + within_s
    pause_s = 0.01
    while True:
        if found := condition():
            return found
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(pause_s)
        pause_s = min(0.1, 1.2 * pause_s)


def graph(*tasks: GraphTask, name: str = "test") -> JobSpec:
    return JobSpec(workflow="graph", name=name, graph=tasks)


def node(name: str, *sources: str, kind: Any = "finish", **params: Any) -> GraphTask:
    """An emulated task that reads what `sources` made."""
    edges = tuple(Edge(source, source, kind) for source in sources)
    return GraphTask(name=name, stage="emulated", model="emulated", params=params, inputs=edges)


class Site:
    """A run directory with configurations of its own; starts heads, and ends all that they started."""

    def __init__(self, root: Path, workers: int = 2) -> None:
        self.paths = RunPaths(root / "run")
        self.results = root / "results"
        self.models_dir = root / "run" / "models"
        self.configs = root / "configs"
        shutil.copytree(REPOSITORY / "configs", self.configs)
        self.workers = workers
        self.heads: list[subprocess.Popen[bytes]] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._ident = 0
        self.inbox = Inbox(self.paths)

    def configure(self, **fields: Any) -> None:
        """Change fields of the only fleet entry."""
        path = self.configs / "head.yaml"
        config = yaml.safe_load(path.read_text())
        config["fleet"][0].update(fields)
        path.write_text(yaml.safe_dump(config))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A head, once it serves."""
        head = self.begin(*arguments)

        def serves() -> bool:
            assert head.poll() is None, self.log()
            return self.paths.head_json.exists() and self.address().pid == head.pid

        until(serves)
        return head

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A head process, not waited for."""
        root = self.paths.root
        command = [
            sys.executable, "-m", "hpcwise.head", "--run-dir", str(root), "--results-dir", str(self.results),
            "--configs", str(self.configs), "--models-dir", str(self.models_dir),
            "--workers", str(self.workers), "--log", str(root.parent / "head.log"), *arguments,
        ]  # fmt: skip
        head = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.heads.append(head)
        return head

    def address(self) -> HeadAddress:
        return HeadAddress.decode(self.paths.head_json.read_bytes())

    def log(self) -> str:
        path = self.paths.root.parent / "head.log"
        return path.read_text() if path.exists() else ""

    def drop(self, job: JobSpec | bytes, token: str) -> None:
        """Submit, without waiting for the answer."""
        self.inbox.drop(job if isinstance(job, bytes) else msgspec.json.encode(job), token)

    def submit(self, job: JobSpec | bytes, token: str) -> SubmissionAnswer:
        """Submit, and the head's answer."""
        self.drop(job, token)
        answer = until(lambda: self.inbox.answer(token) or b"")
        return msgspec.json.decode(answer, type=SubmissionAnswer)

    def client(self) -> PeerSocket:
        keys = load_keys(self.paths)
        pair = CurveKeys(
            keys.client.public.encode(), keys.client.secret.encode(), keys.server.public.encode()
        )
        socket = PeerSocket(self._context, pair)
        socket.connect(self.address().addresses[0])
        return socket

    def ask(self, query: type[w.Query], *arguments: Any) -> w.Answer | w.Refused:
        """One query and what comes of it."""
        self._ident += 1
        socket = self.client()
        try:
            socket.send(encode(Up(self.address().epoch, (query(self._ident, *arguments),))))  # type: ignore[arg-type]
            frame = socket.receive(20.0)
            assert frame is not None, f"no answer; {self.log()}"
            [note] = decode_down(frame).messages
            assert isinstance(note, w.Answer | w.Refused) and note.ident == self._ident
            return note
        finally:
            socket.close()

    def get(self, kind: type[T], query: type[w.Query], *arguments: Any) -> T:
        note = self.ask(query, *arguments)
        assert isinstance(note, w.Answer), note
        return msgspec.msgpack.decode(note.body, type=kind)

    def view(self, request: str) -> RequestView:
        return self.get(RequestView, w.AskShow, request)

    def status(self) -> HeadStatus:
        return self.get(HeadStatus, w.AskStatus)

    def ended(self, request: str, within_s: float = 60.0) -> RequestView:
        """The request's view once it is over."""

        until(lambda: self.view(request).row.state in ("done", "failed", "cancelled"), within_s)
        return self.view(request)

    def runs(self, request: str) -> int:
        """How many tasks of the request have begun on a worker and not ended."""
        answer = self.get(Explanation, w.AskExplain, request)
        return sum(reason.code == "runs" for reason in answer.reasons)

    def worker_pids(self) -> dict[str, list[int]]:
        """Processes of each worker, controllers first."""
        folders = {p.name: p / "submitit" for p in self.paths.workers.iterdir()}
        found = by_folder(folders.values())
        return {name: found[folder] for name, folder in folders.items() if found[folder]}

    def digests(self) -> dict[str, tuple[str, ...]]:
        """What the store holds: the hashes of all files by key."""
        store = Store(self.paths)
        return {
            known.key: tuple(
                str(entry.digest)
                for k in range(known.n_chunks)
                for entry in store.read(known.key, k).manifest.files
            )
            for known in store.scan()
        }

    def close(self) -> None:
        for head in self.heads:
            if head.poll() is None:
                os.kill(head.pid, signal.SIGKILL)
            head.wait()
            if head.stderr:
                head.stderr.close()
        if self.paths.workers.is_dir():
            for folder in self.paths.workers.iterdir():
                kill_all(folder / "submitit")
        self._context.destroy(linger=0)
