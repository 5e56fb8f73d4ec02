"""A simulated worker and what it runs, and what both ask of the simulation around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from hpcwise.core import messages as m
from hpcwise.core.queue import LocalQueue, QueueEntry
from hpcwise.core.resources import AttemptRef, WorkerInfo
from hpcwise.core.state import TaskRecord
from hpcwise.core.units import ModelName
from hpcwise.sim.config import Site

#: What a scheduled moment brings: an event for the engine, or nothing.
Action = Callable[..., m.Event | None]


class Host(Protocol):
    """The simulation, as its replicas see it."""

    now_s: float

    def after(self, delay_s: float, action: Action, *arguments: Any) -> None:
        """Call `action(*arguments)` so many seconds from now; the event that it returns is taken in."""

    def task(self, task_id: str) -> TaskRecord:
        """The engine's record."""

    def chunk_facts(self, task: TaskRecord) -> list[dict[str, Any]]:
        """Facts of each chunk that the task makes."""

    def input_chunks(self, task: TaskRecord) -> dict[str, tuple[int, bool]]:
        """Chunks of each stream input that is not whole yet, by its name."""

    def transfer_s(self, task: TaskRecord, replica: Replica) -> float:
        """Seconds until the task's inputs are where the replica is."""

    def nbytes(self, task: TaskRecord) -> int:
        """Size of the task's artifact."""


@dataclass(slots=True)
class Attempt:
    """What runs. chunk_s: seconds of work of each chunk, of which `done` are there; fed: chunks that its
    stream inputs have, and whether that is all; fails_at: the chunk during which it fails, -1 for none."""

    ref: AttemptRef
    facts: list[dict[str, Any]]
    chunk_s: list[float]
    done: int
    fed: dict[str, tuple[int, bool]]
    nbytes: int
    fails_at: int
    begun_s: float = 0.0
    chunk_begun_s: float = 0.0
    blocked: bool = False


@dataclass(slots=True)
class Replica:
    """A worker. held: attempts that run together (a batch); loading: a model that occupies it."""

    info: WorkerInfo
    site: Site
    joined_s: float
    nth: int
    queue: LocalQueue = field(default_factory=LocalQueue)
    loaded: dict[ModelName, None] = field(default_factory=dict)
    chores: list[m.LoadModel | m.UnloadModel] = field(default_factory=list)
    running: dict[str, Attempt] = field(default_factory=dict)
    delivered: dict[str, dict[str, tuple[int, bool]]] = field(default_factory=dict)
    batch: list[QueueEntry] = field(default_factory=list)
    busy: bool = False
    leaving: str = ""
    ended_s: float = -1.0
