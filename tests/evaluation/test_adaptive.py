"""An adaptive film by the engine's own ladder, on the provisioner's plan for a film that rises."""

from __future__ import annotations

from hpcwise.core.provisioner.types import Objective
from hpcwise.evaluation.adaptive import TIERS, adapt, rising_work
from hpcwise.evaluation.run import pools_of
from tests.evaluation.test_reproduce import context


def test_a_film_starts_low_and_is_high_as_soon_as_playback_allows_it() -> None:
    pools = pools_of({"a100": 256, "h200": 64})
    goal = Objective(name="ttff", budget_usd=49.25, rises_s=17.0)
    film = adapt(context().plan(rising_work(), pools, goal), pools, context().prices(), seed=1)
    assert len(film.tiers) == len(film.made_s) == 172
    # As the plan says, and nothing comes after its turn.
    assert film.tiers[0] == "low" and film.start_s == film.first_s
    assert abs(film.first_s / film.plan.estimate.ttff_s - 1) < 0.05
    assert film.cost_usd < 50
    medium_s, high_s = film.since("medium", "high"), film.since("high")
    assert medium_s is not None and medium_s <= 20
    assert high_s is not None and high_s <= 45
    assert film.share("high") > 0.9
    assert sum(film.share(tier) for tier in TIERS) == 1
