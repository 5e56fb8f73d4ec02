"""`hpcwise watch --json`: one JSON object a line for each thing that has changed. Views in, events out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec.structs import replace

from hpcwise.core.report import RequestView, ShotRow
from hpcwise.core.shotwork import ShotWork

#: Path of the picture of what runs, empty where there is none.
Pictured = Callable[[ShotWork], str]


class WatchEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change. at_s: seconds after the request came in. What does not belong to the event is left out.

    event: `state` (state, reason, slo, title), `play` (ttff_s, play: the playlist that can be opened), `work`
    (shot, stage, model, worker, and in a loop step, steps, saved: 0 to 1, preview: path of a JPEG, replaced
    as steps go and gone with the loop), `shot` (shot, tier, model, worker, seconds, slack_s: it is ready).
    """

    event: Literal["state", "play", "work", "shot"]
    at_s: float
    request_id: str
    state: str = ""
    reason: str = ""
    slo: str = ""
    title: str = ""
    ttff_s: float | None = None
    play: str = ""
    shot: int | None = None
    stage: str = ""
    model: str = ""
    worker: str = ""
    step: int = 0
    steps: int = 0
    saved: float = 0.0
    preview: str = ""
    tier: str = ""
    seconds: float | None = None
    slack_s: float | None = None


class Changes:
    """Remembers what was told."""

    def __init__(self, play: str, pictured: Pictured) -> None:
        self._play = play
        self._pictured = pictured
        self._state: tuple[str, str] = ("", "")
        self._plays = False
        self._works: dict[int, tuple[ShotWork, str]] = {}
        self._shots: set[int] = set()

    def of(self, view: RequestView) -> list[WatchEvent]:
        """What is new in `view`, in the order in which it is told."""
        row = view.row
        base = WatchEvent(event="state", at_s=round(row.age_s, 3), request_id=row.request_id)
        found: list[WatchEvent] = []
        if (row.state, view.title) != self._state:
            self._state = (row.state, view.title)
            found.append(replace(base, state=row.state, reason=row.reason, slo=row.slo, title=view.title))
        if view.play is not None and not self._plays:
            self._plays = True
            found.append(replace(base, event="play", ttff_s=view.play.ttff_s, play=self._play))
        for shot in view.shots:
            event = self._made(shot, base) if shot.state == "finished" else self._work(shot, base)
            if event is not None:
                found.append(event)
        return found

    def _made(self, shot: ShotRow, base: WatchEvent) -> WatchEvent | None:
        self._works.pop(shot.shot, None)
        if shot.shot in self._shots:
            return None
        self._shots.add(shot.shot)
        return replace(
            base, event="shot", shot=shot.shot, stage=shot.stage, tier=shot.tier, model=shot.model,
            worker=shot.worker, seconds=shot.seconds, slack_s=shot.slack_s,
        )  # fmt: skip

    def _work(self, shot: ShotRow, base: WatchEvent) -> WatchEvent | None:
        self._shots.discard(shot.shot)  # what was torn is made again
        work = shot.work
        if work is None:
            self._works.pop(shot.shot, None)
            return None
        now = (work, self._pictured(work))
        if self._works.get(shot.shot) == now:
            return None
        self._works[shot.shot] = now
        return replace(
            base, event="work", shot=shot.shot, stage=work.stage, model=work.model, worker=work.worker,
            step=work.step, steps=work.steps, saved=round(work.saved, 4), preview=now[1],
        )  # fmt: skip
