"""The recursion of deadlines over a part of the workflow that is being added.

A task's tail is the expected time from its end to the moment when its segment can be played: over the
consumers, the longest of their runtime (to the first chunk, if they stream) and their own tail.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpcwise.core.planner import sketch_tail_s
from hpcwise.core.state import RequestRecord
from hpcwise.core.units import SEGMENT_S, TaskId
from hpcwise.core.workflow import TaskSpec
from hpcwise.core.world import World

#: Expected time from the last chunk of a segment to its line in the playlist.
PUBLISH_S = 0.15


def first_output_s(world: World, spec: TaskSpec, streamed: bool = False) -> float:
    """Expected seconds from the start of `spec` to what its consumers (all by stream where
    `streamed`), or viewers, can use."""
    whole_s = world.typical_s(spec.alternatives[0])
    film_s = spec.alternatives[0].features.get("film_s", 0.0)
    if spec.publishes and film_s > SEGMENT_S:
        return whole_s * SEGMENT_S / film_s
    chunks = spec.params.get("chunks", 1)
    if streamed and isinstance(chunks, int) and chunks > 1:
        return whole_s / chunks
    return whole_s


def tails_of(world: World, request: RequestRecord, specs: Sequence[TaskSpec]) -> dict[TaskId, float]:
    """Tail in seconds of each task of a batch in which sources come before their consumers."""
    tails: dict[TaskId, float] = {}
    before: dict[TaskId, float] = {}
    readers: dict[TaskId, set[str]] = {}
    for spec in reversed(specs):
        tail = tails.get(spec.task_id, 0.0)
        if spec.publishes:
            tail = max(tail, PUBLISH_S)
        if spec.expand:
            tail = max(tail, sketch_tail_s(request.job, world.typical_s, world.config))
        tails[spec.task_id] = tail
        own_s = first_output_s(world, spec, readers.get(spec.task_id) == {"stream"})
        for edge in spec.inputs:
            readers.setdefault(edge.source, set()).add(edge.kind)
            needs = tail + own_s
            if needs > tails.get(edge.source, 0.0):
                tails[edge.source] = needs
                if edge.source in world.state.tasks:
                    before[edge.source] = needs
    for task_id, tail in before.items():
        task = world.state.tasks[task_id]
        task.tail_s = max(task.tail_s, tail)
    return tails
