"""A run as it was: who worked on what and when, what was published, what was decided. Plain values."""

from __future__ import annotations

import msgspec


class Slice(msgspec.Struct, kw_only=True):
    """One attempt on one worker. Times are engine time in seconds; outcome `running` where it has no end.

    queued_s: when it was dispatched. remake: of a shot that had been degraded. chunks: when each came.
    """

    worker: str
    task_id: str
    request_id: str
    attempt: int
    stage: str
    model: str
    tier: str
    shot: int
    queued_s: float
    start_s: float
    end_s: float
    outcome: str
    deadline_s: float
    expected_s: float
    reason: str
    key: str
    remake: bool = False
    chunks: list[float] = []


class Loading(msgspec.Struct, kw_only=True):
    """A model being loaded."""

    worker: str
    model: str
    start_s: float
    end_s: float
    ok: bool = True


class Life(msgspec.Struct, kw_only=True):
    """A worker from joining to leaving; ended_s None while it lives."""

    worker: str
    kind: str
    node: str
    joined_s: float
    ended_s: float | None = None
    reason: str = ""


class Segment(msgspec.Struct, kw_only=True):
    """A published segment. film_s: where it starts in the film."""

    index: int
    shot: int
    at_s: float
    frames: int
    film_s: float


class Note(msgspec.Struct, kw_only=True):
    """A moment of a request: arrived, lowered, raised, film, failed attempt, quarantine, end."""

    at_s: float
    kind: str
    text: str


class Track(msgspec.Struct, kw_only=True):
    """What belongs to one request."""

    request_id: str
    name: str
    slo: str
    fps: float
    arrived_s: float
    ended_s: float | None = None
    state: str = "running"
    ttff_goal_s: float | None = None
    segments: list[Segment] = []
    notes: list[Note] = []


class Timeline(msgspec.Struct, kw_only=True):
    """All of it, from start_s to end_s; wall_s: Unix time of start_s."""

    start_s: float
    end_s: float
    wall_s: float
    epochs: list[float]
    slices: list[Slice]
    loadings: list[Loading]
    workers: list[Life]
    requests: list[Track]

    def of(self, request_id: str) -> Timeline:
        """The part that concerns one request: its work, and the workers that did it."""
        tracks = [track for track in self.requests if track.request_id == request_id]
        slices = [item for item in self.slices if item.request_id == request_id]
        names = {item.worker for item in slices}
        begin_s = min((track.arrived_s for track in tracks), default=self.start_s)
        last_s = max(
            [item.end_s for item in slices] + [t.ended_s or self.end_s for t in tracks], default=begin_s
        )
        return Timeline(
            start_s=begin_s,
            end_s=last_s,
            wall_s=self.wall_s + begin_s - self.start_s,
            epochs=[at_s for at_s in self.epochs if begin_s <= at_s <= last_s],
            slices=slices,
            loadings=[
                x for x in self.loadings if x.worker in names and begin_s <= x.end_s and x.start_s <= last_s
            ],
            workers=[life for life in self.workers if life.worker in names],
            requests=tracks,
        )


def short_name(item: Slice) -> str:
    """What an attempt is called in pictures."""
    return f"{item.stage} of shot {item.shot}" if item.shot >= 0 else item.stage
