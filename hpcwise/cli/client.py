"""Questions to a head over its socket, or, where none runs, to what its journal says."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import msgspec

from hpcwise.cli.run import Run
from hpcwise.core.errors import StoreError, UsageError, WireError
from hpcwise.wire import messages as w
from hpcwise.wire.start import HeadAddress

T = TypeVar("T")
#: How long a head may take to answer before it counts as gone, seconds.
ANSWER_S: Final = 5.0
FIND_S: Final = 2.0
_LOOK_S: Final = 0.5


class HeadClient:
    """A connection to the head of one run; a context manager. Not for several threads."""

    def __init__(self, run: Run, address: HeadAddress) -> None:
        """Raises WireError where no head answers, StoreError where keys are missing or foreign."""
        import zmq

        from hpcwise.store.keys import load_keys
        from hpcwise.wire.sockets import CurveKeys, PeerSocket, find_head

        keys = load_keys(run.paths)
        pair = CurveKeys(
            keys.client.public.encode(), keys.client.secret.encode(), address.server_public.encode()
        )
        self.address = address
        self._context = zmq.Context()
        try:
            where = find_head(self._context, pair, address.addresses, address.epoch, FIND_S)
            self._socket = PeerSocket(self._context, pair)
            self._socket.connect(where)
        except BaseException:
            self._context.term()
            raise
        self._ident = 0

    def __enter__(self) -> HeadClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()
        self._context.term()

    def ask(
        self,
        query: Callable[[int], w.Query],
        kind: type[T],
        timeout_s: float = ANSWER_S,
        changed: Callable[[], object] = lambda: None,
    ) -> tuple[T, int]:
        """The answer to `query(ident)` and the state version it was given at.

        changed: called now and then while waiting; true where there is no use in waiting for this head.
        Raises UsageError with the head's words where it refuses, WireError where it does not answer.
        """
        self._ident += 1
        asked: Any = query(self._ident)
        if not self._socket.send(w.encode(w.Up(self.address.epoch, (asked,)))):
            raise WireError("the head does not read its messages")
        import time

        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            frame = self._socket.receive(min(left_s, _LOOK_S))
            if frame is None:
                if changed():
                    raise WireError("the head has gone")
                continue
            for note in w.decode_down(frame).messages:
                if isinstance(note, w.Refused) and note.ident in (-1, self._ident):
                    raise UsageError(note.reason)
                if isinstance(note, w.Answer) and note.ident == self._ident:
                    try:
                        return msgspec.msgpack.decode(note.body, type=kind), note.state_version
                    except msgspec.ValidationError as error:
                        raise WireError(
                            f"the head's answer is of another version ({error}); restart the head"
                        ) from error
        raise WireError(f"the head did not answer within {timeout_s:g} s")


def head_address(run: Run) -> HeadAddress | None:
    """Where the head says that it is; None where none runs, as far as can be told from here."""
    try:
        address = HeadAddress.decode(run.paths.head_json.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(
            f"{run.paths.head_json}: {error.strerror}; use a run directory of your own"
        ) from error
    if address.host == socket.gethostname() and not is_head(address.pid):
        return None
    return address


def connect(run: Run) -> HeadClient | None:
    """The head of this run; None where none runs. A head that does not answer counts as none."""
    address = head_address(run)
    if address is None:
        return None
    try:
        return HeadClient(run, address)
    except WireError:
        return None


def need_head(run: Run) -> HeadClient:
    """The head, or a UsageError that says how to start one."""
    client = connect(run)
    if client is None:
        raise UsageError(f"no head runs for {run.results}; start one with `hpcwise head start`")
    return client


def ask(run: Run, query: Callable[[int], w.Query], kind: type[T]) -> tuple[T, bool]:
    """The answer of the head, else of the journal; True where a head gave it."""
    client = connect(run)
    if client is not None:
        with client:
            return client.ask(query, kind)[0], True
    from hpcwise.cli.offline import answer

    found: T = answer(run, query(0))
    return found, False


def is_head(pid: int) -> bool:
    """Whether that process of this host is a head (numbers of dead processes are given to others)."""
    try:
        os.kill(pid, 0)
        return b"hpcwise" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except PermissionError:
        return True
    except OSError:
        return False
