"""Every error hpcwise raises on purpose, one reason per class.

HpcwiseError
├── UsageError          bad input by a person; the command line prints one line and exits with 2
│   ├── SpecError       a job spec: file, line, field, value and fix
│   └── DocumentError   an input document that cannot be read
├── CoreError           a rule of the engine was broken; always a bug
│   ├── IllegalTransition
│   └── InvariantBroken
├── StoreError
│   ├── TornArtifact    hash or size differs from the manifest; computed again (transient)
│   ├── DiskFull        named pause, nothing is lost (transient)
│   │   └── ReadOnly    the same, of a file system that can only be read for a while
│   └── NotOwner        run directory that another user owns, or that may not be written
├── WireError
│   ├── WrongVersion
│   └── StaleEpoch      a newer head exists
├── HeadError
│   └── HeadExists      somebody else holds the epoch
├── Unhealthy           a worker's device or node is not well: it leaves, and others do its work
└── ModelError
    ├── ModelMissing    weights or package not there; the message says where to put them
    ├── BadOutput       NaN, black or empty output of a model (transient: one new seed)
    ├── NoRoom          less memory is free than a model needs, whoever holds it (transient)
    ├── GangLost        a process of the replica is gone; the message names its rank and node (transient)
    ├── ParallelMismatch  a replica's parallel attention differs from that of one process
    └── Stopped         the task was cancelled or paused between two steps; not a failure
"""

from __future__ import annotations


class HpcwiseError(Exception):
    """Base of all errors raised on purpose; `transient` says whether trying again can help."""

    transient = False


class UsageError(HpcwiseError):
    """A person's input is wrong; the message is one line that names field, value and fix."""


class SpecError(UsageError):
    """A job spec is wrong."""


class DocumentError(UsageError):
    """An input document cannot be used."""


class CoreError(HpcwiseError):
    """A rule of the engine was broken."""


class IllegalTransition(CoreError):
    """A state machine was asked for a step that its table does not hold."""

    def __init__(self, machine: str, ident: str, state: str, event: str) -> None:
        super().__init__(f"{machine} {ident}: no transition from {state!r} on {event!r}")
        self.machine, self.ident, self.state, self.event = machine, ident, state, event


class InvariantBroken(CoreError):
    """`check()` found the state to be inconsistent."""


class StoreError(HpcwiseError):
    """An artifact could not be read or written."""


class TornArtifact(StoreError):
    """An artifact's bytes do not match its manifest."""

    transient = True


class DiskFull(StoreError):
    """No space, or no quota, is left under the run directory."""

    transient = True


class ReadOnly(DiskFull):
    """The file system can only be read, as shared ones are for a while when something is wrong with them."""


class NotOwner(StoreError):
    """The run directory belongs to another user, or may not be written by this one."""


class WireError(HpcwiseError):
    """A message could not be understood or must not be obeyed."""


class WrongVersion(WireError):
    """The peer speaks another version of the protocol."""


class StaleEpoch(WireError):
    """A newer head has claimed the run directory."""


class HeadError(HpcwiseError):
    """The head could not do its work."""


class HeadExists(HeadError):
    """Another live head holds the epoch."""


class Unhealthy(HpcwiseError):
    """A device computes wrongly, has counted errors or is silent, or the run directory cannot be used."""


class ModelError(HpcwiseError):
    """A model could not be loaded or run."""


class ModelMissing(ModelError):
    """Weights or a package are missing; the message says where to put them."""


class BadOutput(ModelError):
    """A model returned NaN, black, frozen or empty output."""

    transient = True


class NoRoom(ModelError):
    """A model was not loaded: less memory is free than it needs. The message says how much, and who holds it.
    free_gb: what is free."""

    transient = True

    def __init__(self, message: str, free_gb: float) -> None:
        super().__init__(message)
        self.free_gb = free_gb


class GangLost(ModelError):
    """A replica of several processes lost one, or they could not meet; the message says which and where."""

    transient = True


class ParallelMismatch(ModelError):
    """Parallel attention gives other numbers than a single process: the replica must not serve."""


class Stopped(ModelError):
    """The task was asked to stop between two steps; raised by `on_step`, never a failure."""
