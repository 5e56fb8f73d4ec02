"""The head's provisioner in the simulator: asked at the same events, answering after `think_s`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from hpcwise.core import messages as m
from hpcwise.core.contracthead import Agreement, Contracted, ContractView
from hpcwise.core.provisioner.online import LOOKS, Online, OnlineSettings
from hpcwise.core.provisioner.standing import Offer, Place
from hpcwise.core.state import State
from hpcwise.sim.config import SimConfig

#: What the search takes in the head, from event to answer.
THINK_S: Final = 0.05


def online_of(config: SimConfig, settings: OnlineSettings | None = None) -> Online:
    """A provisioner that knows of the simulated sites what a head would: places, prices, usual waits."""
    return Online(config.engine.catalogue, offers_of(config), settings)


def contracted_of(
    config: SimConfig, agreement_of: Callable[[str], Agreement | None], per_node: dict[str, int],
    settings: OnlineSettings | None = None,
) -> Contracted:  # fmt: skip
    """The same with ready-by contracts."""
    catalogue, offers = config.engine.catalogue, offers_of(config)
    return Contracted(catalogue, offers, settings, agreement_of, per_node)


def offers_of(config: SimConfig) -> list[Offer]:
    """The kinds of the fleet with the places where they come from."""
    found = []
    for item in config.engine.fleet:
        site = config.site(item.kind)
        place = Place(
            region=site.region, zone=site.zone, spot=site.spot, queue_s=item.launch_s + site.queue_s,
            evictions_per_h=site.evictions_per_h, together=config.together if site.zone else 0.0,
        )  # fmt: skip
        found.append(Offer(item=item, place=place))
    return found


class Asking:
    """after: schedules an event so many seconds from now. plans: answers so far."""

    def __init__(self, online: Online, after: Callable[[float, Callable[[], m.Event | None]], None]) -> None:
        self._online, self._after = online, after
        self._again = False
        self._at_s = inf
        self.plans = 0

    def heard(self, state: State, event: m.Event, commands: Sequence[m.Command]) -> None:
        """After each event: ask if it is time; what came too soon after the last look is looked at later."""
        looks = type(event) in LOOKS or any(type(c) is m.RequestEnded for c in commands)
        if not looks and type(event) is not m.Tick:
            return
        wait_s = self._online.wait_s(state.now_s)
        if wait_s <= 0:
            self._look(state)
        elif looks and not self._again:
            self._again = True

            def again() -> None:
                self._again = False
                self._look(state)

            self._after(wait_s, again)

    def _contract(self, state: State) -> None:
        """A contract's time has come, however quiet it is."""
        self._at_s = inf
        self._look(state)

    def _look(self, state: State) -> None:
        view = self._online.view(state)
        why = self._online.due(view)
        if isinstance(view, ContractView) and view.look_s < self._at_s:
            self._at_s = view.look_s
            self._after(view.look_s - state.now_s, lambda: self._contract(state))
        if not why:
            return
        self._online.asked(view)
        answer = self._online.plan(view, why)
        self._online.asked(view, answer)

        def answered() -> m.Event:
            self.plans += 1
            return answer

        self._after(THINK_S, answered)
