"""What travels between head, workers and clients.

A frame is `HPW`, one byte of protocol version, and a msgpack parcel; the version is looked at before
anything else is understood, so that two installations that differ say so instead of guessing.

One frame carries many messages: at thousands of tasks a second the cost of a frame (encryption, a system
call, a wake-up on each side) is larger than that of its content.

Delivery. Worker to head: at least once; events are numbered by the worker and kept until acknowledged.
Head to worker: numbered parcels of a session; a worker that misses one says `Hello` again with what it
holds, and the head's engine queues the rest again. A parcel of an older session is not obeyed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.calls import RunTask
from hpcwise.core.errors import WireError, WrongVersion
from hpcwise.core.resources import AttemptRef, WorkerInfo
from hpcwise.core.units import RequestId, WorkerId

PROTOCOL: Final = 1
_MAGIC: Final = b"HPW"
_HEADER: Final = _MAGIC + bytes([PROTOCOL])
#: Longest frame that is looked at, bytes. Artifacts never travel here, only their facts.
MAX_FRAME: Final = 64 << 20

#: What a worker reports; a subset of the engine's events.
WorkerEvent = (
    m.TaskStarted | m.TaskProgress | m.ChunkReady | m.TaskFinished | m.TaskFailed | m.TaskPaused
    | m.TaskCancelled | m.Revoked | m.TooLate | m.ModelLoaded | m.ModelUnloaded | m.ModelLoadFailed
    | m.WorkerDraining | m.ArtifactTorn | m.StoreFull | m.StoreAvailable
)  # fmt: skip


class Note(msgspec.Struct, frozen=True, tag=True):
    """Base of the messages that are not the engine's."""


# --- worker to head ---------------------------------------------------------------------------------


class Probe(Note, frozen=True):
    """Who is there? Answered by `Here`; changes nothing. Sent to every candidate address at once."""


class Hello(Note, frozen=True, kw_only=True):
    """A worker joins or joins again. nonce: of this process; seqs count from 0 within it.

    running: attempts that it holds, queued ones included. unacked: events since `first_seq` that no head
    acknowledged; they are older than this Hello and are taken in first.
    """

    worker: WorkerInfo
    nonce: str
    running: tuple[AttemptRef, ...] = ()
    first_seq: int = 0
    unacked: tuple[WorkerEvent, ...] = ()


class Events(Note, frozen=True):
    """Events numbered first_seq, first_seq + 1, ... of the worker process `nonce`."""

    nonce: str
    first_seq: int
    events: tuple[WorkerEvent, ...]


class Heartbeat(Note, frozen=True):
    """Sent by a thread of its own, so that it lives while a model computes.

    step_age_s: seconds since the running attempt last made a step, -1 when none runs. received: number
    of the last parcel obeyed, so that the head sees what got lost. loading: a model is being loaded, which
    may take minutes in which no parcel is read.
    """

    worker_id: WorkerId
    step_age_s: float = -1.0
    running: AttemptRef | None = None
    received: int = 0
    session: int = 0
    loading: bool = False


class Goodbye(Note, frozen=True):
    """The worker leaves by itself (drained, idle, stopped); everything it held was reported before.
    unwell: nodes that made it leave, because of their device or their way to the run directory."""

    worker_id: WorkerId
    reason: str
    unwell: tuple[str, ...] = ()


# --- client to head ---------------------------------------------------------------------------------


class Query(Note, frozen=True):
    """Base of what a client asks; each is answered by one `Answer` with the same `ident`."""

    ident: int


class AskStatus(Query, frozen=True):
    """Head and fleet: answered by `hpcwise.head.answers.HeadStatus`."""


class AskList(Query, frozen=True):
    """All requests (core.report.list_requests)."""


class AskShow(Query, frozen=True):
    """One request (core.report.show_request)."""

    request_id: RequestId


class AskExplain(Query, frozen=True):
    """Why a request, or one shot of it, waits or runs where it does (core.report.explain)."""

    request_id: RequestId
    shot: int | None = None


class AskReceipt(Query, frozen=True):
    """What was made and at what cost (core.report.receipt)."""

    request_id: RequestId


class AskWatch(Query, frozen=True):
    """Show the request again whenever the state may have changed after `after_version`, or in 10 s."""

    request_id: RequestId
    after_version: int = -1


class CancelRequest(Query, frozen=True):
    """Stop the request; answered once the engine has taken it in."""

    request_id: RequestId


class StopHead(Query, frozen=True):
    """Orderly end. keep_workers: leave them alive for the next head."""

    keep_workers: bool = False


# --- head to worker and client ----------------------------------------------------------------------


class Here(Note, frozen=True):
    """Answer to Probe."""


class Welcome(Note, frozen=True):
    """The worker belongs to the fleet; parcels of `session` follow."""

    session: int


class Ack(Note, frozen=True):
    """All events below `next_seq` are in the journal."""

    next_seq: int


class Run(Note, frozen=True):
    task: RunTask


class SayHello(Note, frozen=True):
    """The head does not know this worker, or has noticed that parcels got lost: say Hello."""


class Stop(Note, frozen=True):
    """Leave now: what runs is given up between two steps. `reason` is for the log."""

    reason: str


class Refused(Note, frozen=True):
    """The peer is not served; `reason` is one line for people."""

    reason: str
    ident: int = -1


class Answer(Note, frozen=True):
    """`body` is the msgpack of what the query's docstring names; `state_version` is the engine's."""

    ident: int
    body: msgspec.Raw
    state_version: int = 0


AnyQuery = AskStatus | AskList | AskShow | AskExplain | AskReceipt | AskWatch | CancelRequest | StopHead
ToHead = Probe | Hello | Events | Heartbeat | Goodbye | AnyQuery
FromHead = (
    Here | Welcome | Ack | Run | SayHello | Stop | Refused | Answer
    | m.LoadModel | m.UnloadModel | m.Revoke | m.Cancel | m.Pause | m.DeliverChunk | m.Drain
)  # fmt: skip


class Up(msgspec.Struct, frozen=True, array_like=True):
    """Parcel to the head. epoch: the newest that the sender knows of, so that a stale head learns it."""

    epoch: int
    messages: tuple[ToHead, ...]


class Down(msgspec.Struct, frozen=True, array_like=True):
    """Parcel from the head of `epoch`. number counts from 1 in a session; 0 outside any."""

    epoch: int
    session: int
    number: int
    messages: tuple[FromHead, ...]


_encoder: Final = msgspec.msgpack.Encoder()
_up: Final = msgspec.msgpack.Decoder(Up)
_down: Final = msgspec.msgpack.Decoder(Down)


def encode(parcel: Up | Down) -> bytes:
    """The frame of a parcel."""
    return _HEADER + _encoder.encode(parcel)


def raw(value: object) -> msgspec.Raw:
    """Body of an Answer."""
    return msgspec.Raw(_encoder.encode(value))


def decode_up(frame: bytes) -> Up:
    """Parcel that the head received. Raises WrongVersion, or WireError for what is no parcel."""
    try:
        return _up.decode(_body(frame))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"no parcel: {error}") from error


def decode_down(frame: bytes) -> Down:
    """Parcel that a worker or client received. Raises WrongVersion or WireError."""
    try:
        return _down.decode(_body(frame))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"no parcel: {error}") from error


def _body(frame: bytes) -> memoryview:
    if len(frame) > MAX_FRAME:
        raise WireError(f"frame of {len(frame)} bytes; at most {MAX_FRAME} are read")
    if frame[:3] != _MAGIC or len(frame) < 4:
        raise WireError(f"frame does not begin with {_MAGIC!r}")
    if frame[3] != PROTOCOL:
        raise WrongVersion(
            f"the peer speaks protocol {frame[3]}, this hpcwise speaks {PROTOCOL}; "
            "install the same hpcwise on head and workers"
        )
    return memoryview(frame)[4:]
