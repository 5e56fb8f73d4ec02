"""What the other processes of a gang do: load what rank 0 loads, and do their part when it says so."""

from __future__ import annotations

import logging
import time
from typing import Final

from hpcwise.models.base import Assistant, Devices
from hpcwise.models.registry import Registry
from hpcwise.worker.gang import EXIT_BROKEN, Follower, flush_and_exit, line_of
from hpcwise.worker.gangnotes import Broken, Done, Go, Leave, Load, Unload, Work
from hpcwise.worker.room import Room, free_memory

log = logging.getLogger(__name__)

#: From an error of a rank's own until it is told, seconds: less than rank 0 waits for a cause (gang.BLAME_S).
BLAME_FIRST_S: Final = 1.0


def assist(gang: Follower, cards: Registry, devices: Devices, room: Room) -> str:
    """Until rank 0 sends us home; returns why. A rank that cannot do its part says so and ends: the others
    wait for it inside a collective."""
    helpers: dict[str, Assistant] = {}
    while True:
        note = gang.spoke.next()
        match note:
            case Load(model=model, number=number):
                gang.number = number
                try:
                    adapter = cards.adapter(model)
                    # Other families run on rank 0 alone.
                    if isinstance(adapter, Assistant):
                        room.check(model, cards.card(model).memory_gb)
                        adapter.load(cards.spec(model), devices)
                        helpers[model] = adapter
                    error = ""
                except Exception as problem:  # a model may raise anything; rank 0 is told
                    log.exception("model %s", model)
                    error = line_of(problem)
                gang.spoke.say(Done(number, error))
            case Unload(model=model):
                helpers.pop(model, None)
                free_memory()
            case Work(model=model, payload=payload):
                try:
                    helpers[model].assist(payload)
                except Exception as problem:
                    log.exception("model %s: this rank cannot go on", model)
                    # What broke it may be another rank that was lost: that one is to be named, by then it is.
                    time.sleep(BLAME_FIRST_S)
                    gang.spoke.say(Broken(line_of(problem)))
                    gang.close()
                    flush_and_exit(EXIT_BROKEN)
            case Leave(reason=reason):
                return reason
            case Go():
                pass  # of a load that this rank has given up already
            case _:
                log.warning("ignored %s", type(note).__name__)
