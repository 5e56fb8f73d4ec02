"""Family `vllm-screenplay`: a worker whose devices serve a language model.

`load` starts the server that the card names (`vllm serve`, or any that speaks the same protocol) on a port of
this node's loopback, with a key of its own, and waits until it is healthy. Its one client is the screenplay
adapter in this process. The server ends with the worker, whatever ends that.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

import msgspec

from hpcwise.core.errors import ModelError, ModelMissing, UsageError
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.llm.adapter import LlmScreenplayAdapter
from hpcwise.models.llm.client import Endpoint

_POLL_S: Final = 0.2
_END_S: Final = 10.0
#: Runs a command that ends when this process does, also by SIGKILL (Linux: PR_SET_PDEATHSIG is 1).
_BOUND: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a card. command: with {folder}, {port}, {key}, {name} and {devices} filled in. start_s: how long
    loading may take. health: path that answers 200 when it is ready."""

    command: tuple[str, ...]
    start_s: float = 600.0
    health: str = "/health"


class ServedScreenplayAdapter(LlmScreenplayAdapter):
    """Scenes worded by a server of this worker's own."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Start the server and wait for it. Raises ModelMissing for files or a program that lack, ModelError
        with the server's last line where it ends or does not come up, UsageError for a card that is wrong."""
        try:
            options = msgspec.convert(dict(spec.options), ServerOptions)
        except msgspec.ValidationError as error:
            raise UsageError(f"model {spec.name}: options: {error}") from error
        visible = _devices(spec, devices)
        if devices.rank:
            return
        super().load(spec, devices)
        if spec.path is None or not spec.path.is_dir():
            raise ModelMissing(f"model {spec.name}: put its checkpoint into {spec.path}")
        if not options.command or shutil.which(options.command[0]) is None:
            program = options.command[0] if options.command else "options.command"
            raise ModelMissing(f"model {spec.name}: {program} is not there; install it on the workers' nodes")
        key, port = secrets.token_hex(16), _free_port()
        filled = {
            "folder": spec.path, "port": port, "key": key, "name": spec.name, "devices": max(1, len(visible)),
        }  # fmt: skip
        command = [part.format(**filled) for part in options.command]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        environment = dict(os.environ)
        if visible:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(visible)
        self._server = subprocess.Popen(
            [sys.executable, "-c", _BOUND, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        # When the adapter is unloaded the devices are wanted back.
        self._end = weakref.finalize(self, _ended, self._server, self._log)
        self._served = Endpoint(f"http://127.0.0.1:{port}/v1", spec.name, key)
        try:
            self._wait(port, options, spec.name)
        except BaseException:
            self._end()
            raise

    def assist(self, payload: bytes) -> None:
        """Ranks other than 0 gave their devices to the server."""

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """As the endpoint's adapter. Raises ModelError where the server has ended."""
        if self._server.poll() is not None:
            raise ModelError(f"its server ended with {self._server.returncode}: {self._last_line()}")
        return super().run(call, on_step, should_stop)

    def _endpoint(self, params: Any) -> Endpoint:
        return self._served

    def _wait(self, port: int, options: ServerOptions, name: str) -> None:
        until_s = time.monotonic() + options.start_s
        while True:
            if self._server.poll() is not None:
                raise ModelError(
                    f"model {name}: its server ended with {self._server.returncode}: {self._last_line()}"
                )
            if _answers(port, options.health):
                return
            if time.monotonic() > until_s:
                last = self._last_line()
                raise ModelError(f"model {name}: its server was not ready in {options.start_s:g} s: {last}")
            time.sleep(_POLL_S)

    def _last_line(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4000))
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"


def _devices(spec: ModelSpec, devices: Devices) -> list[str]:
    """The devices of all processes of the replica, as the node counts them; they must be of one node."""
    own = os.environ.get("CUDA_VISIBLE_DEVICES", "") if devices.kind == "cuda" else ""
    if devices.world == 1 or devices.mates is None:
        return [part for part in own.split(",") if part]
    if len(set(devices.mates.nodes)) > 1:
        raise UsageError(f"model {spec.name}: its server runs on one node; give it a replica within one")
    devices.mates.publish(f"devices of {spec.name} {devices.rank}", own.encode())
    if devices.rank:
        return []
    found = [devices.mates.look_up(f"devices of {spec.name} {k}").decode() for k in range(devices.world)]
    return list(dict.fromkeys(part for text in found for part in text.split(",") if part))


def _ended(server: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Ask it to end, then make it."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(_END_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    log.close()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
