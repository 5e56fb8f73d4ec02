"""Equal bytes in any process, and a journal that can be applied instead of decided again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import encode

from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.spec import Live
from tests.core.driver import Driver, podcast

PROGRAM = """
from tests.core.test_determinism_and_recovery import disturbed
print(disturbed().engine.snapshot().hex())
"""


def disturbed(kill_at_s: float = 7.0, live: bool = True) -> Driver:
    """Two films, one worker killed, one request cancelled."""
    driver = Driver()
    driver.at(kill_at_s, lambda: driver.kill(sorted(driver.workers)[0]))
    driver.at(kill_at_s + 3.0, lambda: (driver.send(m.RequestCancelled("b")), None)[1])
    slo = {"slo": Live(ttff_s=4.0)} if live else {}
    driver.send(m.RequestArrived("a", podcast(**slo), wall_s=5.0))
    driver.send(m.RequestArrived("b", podcast(seed=3), wall_s=5.0))
    driver.run()
    return driver


def test_two_processes_with_different_hash_seeds_reach_equal_bytes() -> None:
    outputs = []
    for seed in ("1", "4242"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
        )
        outputs.append(hashlib.sha256(bytes.fromhex(done.stdout.strip())).hexdigest())
    assert outputs[0] == outputs[1]


@settings(max_examples=10, deadline=None)
@given(kill_at_s=st.floats(0.7, 30.0), cut=st.floats(0.0, 1.0), live=st.booleans())
def test_applying_recorded_decisions_reaches_the_state_that_deciding_reached(
    kill_at_s: float, cut: float, live: bool
) -> None:
    driver = disturbed(kill_at_s, live)
    middle = int(cut * len(driver.log))
    again = Engine(driver.config)
    for now_s, event, commands in driver.log[:middle]:
        again.apply_recorded(event, commands, now_s)
    resumed = Engine.restore(driver.config, again.snapshot())
    for now_s, event, commands in driver.log[middle:]:
        resumed.apply_recorded(event, commands, now_s)
    resumed.check()
    assert resumed.snapshot() == driver.engine.snapshot()


def test_deciding_again_from_a_snapshot_gives_the_same_commands() -> None:
    driver = disturbed()
    middle = len(driver.log) // 2
    engine = Engine(driver.config)
    for now_s, event, commands in driver.log[:middle]:
        engine.apply_recorded(event, commands, now_s)
    engine = Engine.restore(driver.config, engine.snapshot())
    for now_s, event, commands in driver.log[middle:]:
        assert encode(engine.handle(event, now_s)) == encode(commands)
