"""What a run under faults was, from its journals, its store and what it left."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from hpcwise.cli.replay import records_of
from hpcwise.cli.run import Run
from hpcwise.core import messages as m
from scripts.chaosfaults import Fault
from scripts.e2efigures import artifacts


class Told:
    """The journals, read once. finished: (Unix time, task) of each finished task, in order."""

    def __init__(self, run: Run) -> None:
        self.finished: list[tuple[float, str]] = []
        self.ended: dict[str, float] = {}
        self.arrived: set[str] = set()
        self.doubled: list[str] = []
        held: dict[str, tuple[int, str]] = {}
        whole: set[str] = set()
        published: set[tuple[str, int]] = set()
        for _, record in records_of(run):
            event = record.event
            if isinstance(event, m.TaskFinished):
                attempt, key = held.get(event.task_id, (-1, ""))
                if attempt != event.attempt:
                    continue  # said again, or by a worker that had been given up: it changes nothing
                del held[event.task_id]
                if key in whole:
                    self.doubled.append(f"{event.task_id} attempt {event.attempt}: {key}")
                whole.add(key)
                self.finished.append((record.wall_s, event.task_id))
            elif isinstance(event, m.RequestArrived):
                self.arrived.add(event.request_id)
            elif isinstance(event, m.ArtifactTorn):
                whole.discard(event.key)
            elif isinstance(event, m.Published):
                if (event.request_id, event.index) in published:
                    self.doubled.append(f"{event.request_id} segment {event.index}")
                published.add((event.request_id, event.index))
            for command in record.commands:
                if isinstance(command, m.Dispatch):
                    held[command.task_id] = (command.attempt, command.key)
                elif isinstance(command, m.Requeue):
                    held.pop(command.task_id, None)
                elif isinstance(command, m.RequestEnded):
                    self.ended[command.request_id] = record.wall_s
        self.whole = whole

    def recovery_s(self, fault: Fault) -> float | None:
        """From the fault until a task that it hit was finished, or its request ended; the next task at all
        where it hit none. None where that did not happen."""
        if fault.recovered_s is not None:
            return fault.recovered_s
        hits = set(fault.hits)
        times = [at for at, task in self.finished if at > fault.at_s and (not hits or task in hits)]
        for task in hits:
            ended = self.ended.get(task.partition("/")[0])
            times += [ended] if ended is not None and ended > fault.at_s else []
        return min(times) - fault.at_s if times else None


def damaged(run: Run, told: Told) -> list[str]:
    """Keys that were said to be finished and cannot be read."""
    there = artifacts(run)
    return [key for key in told.whole if not there.get(key) or there[key][0].startswith("torn")]


def percentile(values: Iterable[float], share: float) -> float:
    """By nearest rank; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else 0.0


def by_kind(faults: Sequence[Fault]) -> dict[str, int]:
    return dict(sorted(Counter(fault.kind for fault in faults).items()))


def median(values: Sequence[float]) -> float:
    """0 of none."""
    return statistics.median(values) if values else 0.0
