"""What the processes of one replica say to each other (gangwire.py carries it)."""

from __future__ import annotations

import msgspec


class Note(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of what ranks say to each other."""


class Join(Note, frozen=True):
    """A rank is there. reached: the address by which it reaches rank 0. unhealthy: what is wrong with its
    device, or its way to the store."""

    rank: int
    node: str
    devices: tuple[int, ...]
    reached: str
    unhealthy: str = ""


class Welcome(Note, frozen=True):
    """All are there. nodes: of each rank; hub: the host (IPv4) by which rank 0 is reached."""

    nodes: tuple[str, ...]
    hub: str


class Ping(Note, frozen=True):
    """Nothing; whether it can be sent is the question."""


class Load(Note, frozen=True):
    """Load a model, and say `Done`. number: of this attempt, repeated in what answers it."""

    model: str
    number: int


class Unload(Note, frozen=True):
    model: str


class Ready(Note, frozen=True):
    """Come as far as the others have to come before the first collective of load `number`."""

    number: int


class Go(Note, frozen=True):
    """All are ready (error empty), or load `number` is given up."""

    number: int
    error: str


class Done(Note, frozen=True):
    """Load `number` has ended; error: empty where it is in memory."""

    number: int
    error: str


class Work(Note, frozen=True):
    """Do your part; payload is the adapter's."""

    model: str
    payload: bytes


class Ask(Note, frozen=True):
    """How are your devices? Answered by `Told` with the same number. look: whether they are well, too."""

    number: int
    look: bool = False


class Told(Note, frozen=True):
    """Joules that they have taken so far, below 0 where they cannot be told. unwell: what is wrong with them,
    where that was asked."""

    number: int
    joules: float
    unwell: str = ""


class Broken(Note, frozen=True):
    """This rank cannot go on, and says why before it ends."""

    reason: str


class Leave(Note, frozen=True):
    reason: str


class Put(Note, frozen=True):
    """Set a value that all ranks may look up."""

    key: str
    value: bytes


class Get(Note, frozen=True):
    """Look a value up; answered by `Value` when it is set."""

    key: str


class Value(Note, frozen=True):
    key: str
    value: bytes


AnyNote = (
    Join
    | Welcome
    | Ping
    | Load
    | Unload
    | Ready
    | Go
    | Done
    | Work
    | Ask
    | Told
    | Broken
    | Leave
    | Put
    | Get
    | Value
)
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(AnyNote).decode
