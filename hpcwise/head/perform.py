"""One handler for each decision that the head must act on, in a table.

Messages to workers may run ahead of the disk: they are reconciled when a worker joins again. Launches and
publishing wait for it: they have effects that outlive the machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.units import RequestId
from hpcwise.head.fleet import Fleet
from hpcwise.head.peers import Peers
from hpcwise.head.publisher import PublishJob
from hpcwise.head.publishing import Publishing, Wanted
from hpcwise.wire.messages import Run

log = logging.getLogger(__name__)


class Performer:
    """perform: at once, True if that was possible. perform_durable: the rest, once it is on disk.
    receipt: writes a request's receipt."""

    def __init__(
        self,
        engine: Engine,
        peers: Peers,
        fleet: Fleet,
        publishing: Publishing,
        run_dir: Path,
        results_dir: Path,
        receipt: Callable[[RequestId], None],
    ) -> None:
        self._engine = engine
        self._peers = peers
        self._fleet = fleet
        self._publishing = publishing
        self._run_dir = run_dir
        self._results_dir = results_dir
        self._receipt = receipt

    def perform(self, command: m.Command) -> bool:
        """Act on `command` if it need not wait for the disk; False where it must."""
        now = _NOW.get(type(command))
        if now is not None:
            now(self, command)
            return True
        return type(command) not in _DURABLE

    def perform_durable(self, command: m.Command) -> None:
        """Act on `command`, which is on disk now."""
        _DURABLE[type(command)](self, command)

    def end_film(self, request_id: RequestId) -> None:
        """The request is over: end its playlist if it has one, and write its receipt."""
        plan = self._engine.film_plan(request_id, live=True)
        if "hls" in plan.outputs and plan.segments:
            self._put(request_id, "end", None, live=True)
        self._receipt(request_id)

    # -- handlers ------------------------------------------------------------------------------------------

    def _dispatch(self, command: m.Dispatch) -> None:
        # Composed now: the state that it is made of changes with the next event.
        self._peers.put(command.worker_id, Run(self._engine.run_message(command)))

    def _forward(self, command: Any) -> None:
        self._peers.put(command.worker_id, command)

    def _launch(self, command: m.Launch) -> None:
        self._fleet.launch(command.kind, command.token)

    def _cancel_launch(self, command: m.CancelLaunch) -> None:
        self._fleet.cancel(command.token, command.reason)

    def _kill(self, command: m.Kill) -> None:
        self._peers.drop(command.worker_id)
        self._fleet.kill(command.worker_id, command.reason)

    def _publish(self, command: m.Publish) -> None:
        done = m.Published(command.request_id, command.index)
        self._put(command.request_id, "segment", done, live=True, index=command.index)

    def _make_film(self, command: m.MakeFilm) -> None:
        plan = self._engine.film_plan(command.request_id, live=True)
        if "hls" in plan.outputs and plan.segments:
            # All segments are published by now: the playlist can end before the film is stitched.
            self._put(command.request_id, "end", None, live=True)
        done = m.FilmMade(command.request_id, command.version)
        self._put(command.request_id, "film", done, live=False)

    def _ended(self, command: m.RequestEnded) -> None:
        request = self._engine.state.requests[command.request_id]
        log.info("request %s: %s %s", command.request_id, command.state, command.reason)
        if request.job.workflow != "graph":
            self.end_film(command.request_id)

    def _put(
        self, request_id: RequestId, what: Any, done: m.Event | None, *, live: bool, index: int = 0
    ) -> None:
        plan = self._engine.film_plan(request_id, live)
        if what == "segment" and index >= len(plan.segments):
            return  # taken back since it was decided
        job = PublishJob(
            what=what,
            run_dir=str(self._run_dir),
            out_dir=str(self._results_dir / request_id),
            plan=plan,
            index=index,
        )
        self._publishing.put(Wanted(request_id, job, done))


_NOW: Final[Mapping[type, Callable[[Performer, Any], None]]] = {
    m.Dispatch: Performer._dispatch,
    m.Drain: Performer._forward,
    m.LoadModel: Performer._forward,
    m.UnloadModel: Performer._forward,
    m.DeliverChunk: Performer._forward,
    m.Revoke: Performer._forward,
    m.Pause: Performer._forward,
    m.Cancel: Performer._forward,
}
_DURABLE: Final[Mapping[type, Callable[[Performer, Any], None]]] = {
    m.Launch: Performer._launch,
    m.CancelLaunch: Performer._cancel_launch,
    m.Kill: Performer._kill,
    m.Publish: Performer._publish,
    m.MakeFilm: Performer._make_film,
    m.RequestEnded: Performer._ended,
}
