"""What a worker is told of an attempt: the engine composes it, the wire carries it, the worker runs it."""

from __future__ import annotations

from typing import Any

import msgspec

from hpcwise.core.units import Key, ModelName, TaskId
from hpcwise.core.workflow import EdgeKind


class InputRef(msgspec.Struct, frozen=True, kw_only=True):
    """One input. n_chunks: chunks in the store now; done: there will be no more. inline_facts: the chunk
    facts of an artifact that has no files and therefore is not in the store. only: the one chunk that is
    wanted, -1 for all."""

    name: str
    kind: EdgeKind
    key: Key
    n_chunks: int
    done: bool
    inline_facts: tuple[dict[str, Any], ...] | None = None
    only: int = -1


class RunTask(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. deadline_s and expected_s are engine time and seconds, for the local queue."""

    task_id: TaskId
    attempt: int
    stage: str
    model: ModelName
    key: Key
    params: dict[str, Any] = {}
    features: dict[str, float] = {}
    seed: int = 0
    first_chunk: int = 0
    checkpoint: Key = ""
    deadline_s: float = 0.0
    expected_s: float = 0.0
    inputs: tuple[InputRef, ...] = ()
