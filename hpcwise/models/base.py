"""The one protocol behind which every model family lives.

An adapter turns one `Call` into outputs. It knows nothing of scheduling, sockets or the store: it reads
the input files that it is given and writes its own into `call.work`. The worker moves them to the store.

Outputs are yielded one by one: a stage that streams (video segments, scenes of a screenplay, latents)
yields one `Output` a chunk, any other exactly one. The worker commits a chunk before it asks for the
next, so that a consumer on another node can start on it and a crash loses at most one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

#: on_step(done, total, note): reports progress; raises `Stopped` when the task is to stop.
OnStep = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Input:
    """One chunk of one input artifact, already on this node: a folder of files and its small facts."""

    path: Path
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoopState:
    """A loop between two steps: what it needs to go on from there in another process, to the same bytes.

    arrays: numpy arrays by name; bfloat16 ones as uint16 and named in `bfloat16`. facts: JSON-able.
    """

    arrays: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    bfloat16: tuple[str, ...] = ()


class Checkpoints(Protocol):
    """Where a loop of many steps keeps its state while it runs; rank 0's business in a gang."""

    def latest(self, chunk: int) -> tuple[int, LoopState] | None:
        """Steps done and state of the newest checkpoint of that chunk, whoever made it."""

    def offer(
        self, chunk: int, step: int, share: float, state: Callable[[], LoopState], *, now: bool = False
    ) -> None:
        """Call it between two steps, before `on_step`. Calls `state` when a checkpoint is due or the task is
        to stop; the arrays must not change afterwards. share: of the whole task's work that is done, 0 to 1.
        now: one is due, and is durable when this returns.
        """


class Latents(Protocol):
    """Arrays between stages: hashed, with shape, type and origin; the worker knows the file format."""

    def write(self, path: Path, array: Any, *, dtype: str, scale: float, sampler: str, step: int) -> None:
        """A new file under `call.work`, to be named in an Output. dtype `bfloat16`: array is uint16."""

    def read(self, source: Input, name: str) -> tuple[Any, str]:
        """The array (its own memory) and its dtype; raises TornArtifact where bytes and hashes differ."""


@dataclass(frozen=True, slots=True)
class Call:
    """What an adapter is asked to do.

    params: the recipe of the chosen alternative; adapters convert it to a type of their own with
        `msgspec.convert(params, TheirParams)`, so that a wrong field is a named error.
    inputs: by edge name, the chunks in order. For a `stream` edge the iterator blocks until the next
        chunk exists; for a `finish` edge all chunks are there.
    work: an empty private folder; files that outputs name lie in it.
    first_chunk: chunks below it are committed already (an earlier attempt made them): start there.
        Chunk k must hold the same bytes whatever `first_chunk` was.
    checkpoints: for loops inside a chunk; None where nobody keeps them (tests that call an adapter).
    latents: how arrays are written and read; None likewise.
    own: chunk k of this very artifact, committed earlier (by this attempt or one before it).
    preview: takes a function that makes a small JPEG of what is being made, for people who watch, and calls
        it when it is time for one; may be called often.
    """

    stage: str
    params: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, Iterator[Input]]
    work: Path
    first_chunk: int = 0
    checkpoints: Checkpoints | None = None
    latents: Latents | None = None
    own: Callable[[int], Input] | None = None
    preview: Callable[[Callable[[], bytes]], None] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One chunk: files (name in the artifact -> file under `call.work`) and small JSON-able facts."""

    files: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An entry of the model registry: which family loads it, from which folder, with which options."""

    name: str
    version: str
    family: str
    path: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Mates(Protocol):
    """The processes of a replica, as an adapter sees them. Only rank 0 is called with tasks; the others help
    when it says so. What goes through here is authenticated and never unpickled. kept: objects that must
    live as long as the process does."""

    kept: list[object]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Host of each rank, in order of ranks; those of one host stand together."""

    def tell(self, model: str, payload: bytes) -> None:
        """Rank 0: have the others call `assist(payload)` of their adapter of that model."""

    def agree(self) -> None:
        """All ranks, while they load: wait until every one has come so far. Raises ModelError where one has
        failed. Before the first collective: nobody waits in it for a rank whose files are missing."""

    def out_of_step(self, error: Exception) -> None:
        """Rank 0: what it told the others has failed here, in the middle; this replica cannot go on."""

    def publish(self, key: str, value: bytes) -> None:
        """Set a value for all ranks."""

    def look_up(self, key: str) -> bytes:
        """The value of `key`, waiting until some rank has set it."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What a replica runs on: `kind` is cpu or cuda; rank and world for gangs of several processes.

    indices: as this process counts its visible devices. mates: None for a replica of one process. On ranks
    other than 0 the adapter is loaded and then only asked to `assist` (see `Assistant`). share: of each
    device's memory that is this worker's; below 1 where others compute on it too.
    """

    kind: str = "cpu"
    indices: tuple[int, ...] = ()
    threads: int = 1
    rank: int = 0
    world: int = 1
    mates: Mates | None = None
    share: float = 1.0


class Adapter(Protocol):
    """One model in memory. Loaded once, run many times, always from the same thread."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Bring weights into memory and warm up; raises `ModelMissing` with the place to put them."""

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """Yield the outputs in chunk order; calls `on_step` at least twice a second where it can."""


@runtime_checkable
class Batched(Protocol):
    """An adapter that computes several calls of one stage together. A batch may round otherwise than its
    calls do one by one: as equal recipes are to give equal bytes, `batch` is 1 unless a card says more."""

    @property
    def batch(self) -> int:
        """The most calls at once; 1 for none."""

    def run_batch(
        self, calls: Sequence[Call], on_step: OnStep, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output]]:
        """Outputs of each call by its index. All inputs of all of them are whole. Whatever is raised ends the
        batch: its calls are then run one by one."""


@runtime_checkable
class Assistant(Protocol):
    """An adapter whose model several processes compute together."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """As an adapter's; on ranks other than 0 only what this rank computes with."""

    def assist(self, payload: bytes) -> None:
        """Ranks other than 0: do this rank's part of what rank 0 told. Anything raised ends the replica."""
