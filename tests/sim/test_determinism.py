"""Same seed, same bytes; another seed, another luck."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hpcwise.sim.arrivals import at_once
from hpcwise.sim.draws import Draws
from hpcwise.sim.simulation import simulate
from tests.sim.worlds import FOUR, config, item, podcast

REPOSITORY = Path(__file__).resolve().parents[2]


def _run(hash_seed: str) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.determinism_run"], cwd=REPOSITORY, env=environment,
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def test_equal_seeds_give_equal_bytes_under_every_hash_seed() -> None:
    first, second = _run("0"), _run("4711")
    assert len(first) > 100_000
    assert first == second


def test_another_seed_gives_other_noise_and_none_gives_none() -> None:
    def ready_s(seed: int, sigma: float) -> float | None:
        return (
            simulate(config(item(8), seed=seed, noise_sigma=sigma), at_once(podcast(56.0)), FOUR)
            .requests[0]
            .ready_s
        )

    assert ready_s(1, 0.3) != ready_s(2, 0.3)
    assert ready_s(1, 0.0) == ready_s(2, 0.0)


def test_the_luck_of_a_task_does_not_depend_on_what_runs_beside_it() -> None:
    draws = Draws(7)
    alone = draws.factor(0.5, "noise", "r/t")
    for name in ("a", "b", "c"):
        draws.uniform("noise", name)
    assert draws.factor(0.5, "noise", "r/t") == alone


def test_draws_have_the_moments_that_they_claim() -> None:
    draws = Draws(1)
    n = 4000
    factors = [draws.factor(0.4, "f", i) for i in range(n)]
    waits = [draws.exponential(0.5, "e", i) for i in range(n)]
    uniform = [draws.uniform("u", i) for i in range(n)]
    assert abs(sum(factors) / n - 1.0) < 0.02
    assert abs(sum(waits) / n - 2.0) < 0.1
    assert abs(sum(uniform) / n - 0.5) < 0.015
    assert min(uniform) > 0 and max(uniform) < 1
