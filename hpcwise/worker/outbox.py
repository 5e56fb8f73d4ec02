"""Events on their way to the head: numbered, batched, kept until acknowledged."""

from __future__ import annotations

from collections import deque

from hpcwise.core.messages import TaskStarted
from hpcwise.wire.messages import WorkerEvent


class Outbox:
    """Events in order. `take_unsent` gives the next batch, `ack` forgets, `all_unacked` is for a Hello."""

    def __init__(self) -> None:
        self._events: deque[WorkerEvent] = deque()
        self._first = 0
        self._sent = 0

    def __len__(self) -> int:
        """Events that no head has acknowledged."""
        return len(self._events)

    @property
    def unsent(self) -> int:
        return len(self._events) - self._sent

    @property
    def first_seq(self) -> int:
        """Number of the oldest event that is not acknowledged."""
        return self._first

    def put(self, event: WorkerEvent) -> None:
        self._events.append(event)

    def drop_start(self, task_id: str) -> None:
        """Forget the start of a task that has ended before its start was sent: the end says it too."""
        if self.unsent:
            last = self._events[-1]
            if isinstance(last, TaskStarted) and last.task_id == task_id:
                self._events.pop()

    def take_unsent(self) -> tuple[int, tuple[WorkerEvent, ...]]:
        """(number of the first, events) not sent yet; they count as sent from now on."""
        first = self._first + self._sent
        if not self._sent:
            events = tuple(self._events)
        else:
            events = tuple(self._events[i] for i in range(self._sent, len(self._events)))
        self._sent = len(self._events)
        return first, events

    def untake(self, first_seq: int) -> None:
        """The batch that began with `first_seq` could not be handed over."""
        self._sent = max(0, first_seq - self._first)

    def all_unacked(self) -> tuple[int, tuple[WorkerEvent, ...]]:
        """(number of the first, events) without acknowledgement; they count as sent from now on."""
        self._sent = len(self._events)
        return self._first, tuple(self._events)

    def ack(self, next_seq: int) -> None:
        """The head has everything below `next_seq`."""
        while self._first < next_seq and self._events:
            self._events.popleft()
            self._first += 1
            self._sent = max(0, self._sent - 1)
