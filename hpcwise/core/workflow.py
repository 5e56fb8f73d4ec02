"""What is to be computed: tasks, their edges, and the alternatives in which a task can be made."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from hpcwise.core.units import ModelName, RequestId, TaskId

EdgeKind = Literal["finish", "stream"]


class Edge(msgspec.Struct, frozen=True, array_like=True):
    """An input of a task.

    name: how the stage calls it ("speech", "latents"). kind: a `finish` edge waits for the whole
    artifact of `source`; a `stream` edge lets the consumer start at the first chunk. chunk: a stream edge
    with a chunk of 0 or more brings that chunk alone, as soon as it is there.
    """

    name: str
    source: TaskId
    kind: EdgeKind = "finish"
    chunk: int = -1


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of an alternative that is made by several tasks (DiT then VAE; low resolution then
    upscaling). The engine replaces the task by the chain of its parts when the alternative is used."""

    stage: str
    model: str
    params: dict[str, Any] = {}
    features: dict[str, float] = {}
    input_name: str = ""
    kind: EdgeKind = "stream"


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """One way to make a task's artifact; a task lists them from best to last resort.

    tier: rung of the quality ladder ("high", "medium", "low", "static"). params: recipe overrides of
    this rung (resolution, steps). features: what the model's linear profile multiplies (frames, pixels,
    steps). elo: quality of the model on its public leaderboard, 0 when it has none. parts: empty when one
    task makes it (fused, direct); otherwise the chain (split, upscaled), the last part being this task.
    """

    tier: str
    model: str
    params: dict[str, Any] = {}
    features: dict[str, float] = {}
    elo: float = 0.0
    parts: tuple[Part, ...] = ()


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the workflow.

    order: place among tasks of the same stage of its request (film order). shot: index of the shot that
    it belongs to, -1 for tasks of the whole film. expand: the planner's rule that turns its chunks into
    successors, empty for none. publishes: its chunks are segments of the film. deadline_s: seconds after
    the request's arrival, for workflows that state deadlines themselves. fold: alternatives are lowered
    together with nothing else; tasks whose `remake_of` is set replace a degraded one later.
    """

    task_id: TaskId
    request_id: RequestId
    stage: str
    params: dict[str, Any] = {}
    inputs: tuple[Edge, ...] = ()
    alternatives: tuple[Alternative, ...]
    order: float = 0.0
    shot: int = -1
    expand: str = ""
    publishes: bool = False
    times_shot: bool = False
    prominence: float = 0.5
    deadline_s: float | None = None
    remake_of: TaskId = ""

    @property
    def models(self) -> set[ModelName]:
        """All that may have a hand in it."""
        made = {way.model for way in self.alternatives}
        for way in self.alternatives:
            if way.parts:
                made.update(part.model for part in way.parts)
        return made

    seed: int = 0
    local: dict[str, Any] = {}
