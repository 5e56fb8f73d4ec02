"""One rough simulation, as bytes on standard output; run under different hash seeds by the test."""

from __future__ import annotations

import sys

import msgspec

from hpcwise.core import messages as m
from hpcwise.sim.arrivals import SloClass, poisson
from hpcwise.sim.simulation import Simulation
from hpcwise.sim.workload import Workload
from tests.sim.test_faults_and_conservation import ROUGH
from tests.sim.worlds import config, item, podcast


def main() -> None:
    out = bytearray()

    def watch(now_s: float, event: m.Event, commands: list[m.Command]) -> None:
        out.extend(msgspec.msgpack.encode((now_s, event, commands)))

    classes = (SloClass(share=1, live_s=30), SloClass(share=1, by_s=600), SloClass(share=1))
    arrivals = poisson(podcast(40.0), 4, 300.0, 5, classes=classes, by_hour=[1.0] * 12 + [0.5] * 12)
    simulation = Simulation(
        config(item(8), seed=11, **ROUGH), arrivals, Workload(speech_sigma=0.2), watch=watch
    )
    result = simulation.run()
    sys.stdout.buffer.write(out + simulation.engine.snapshot() + msgspec.json.encode(result))


if __name__ == "__main__":
    main()
