"""Quality that adapts: what is too late is lowered, and only that."""

from __future__ import annotations

from hpcwise.evaluation.adaptive import TIERS, adapt
from hpcwise.evaluation.fig13 import quality
from hpcwise.evaluation.run import pools_of
from tests.evaluation.test_reproduce import context


def test_a_film_starts_low_and_is_high_as_soon_as_playback_allows_it() -> None:
    pools = pools_of({"a100": 256, "h200": 64})
    works = {tier: quality(context(), tier) for tier in TIERS}
    plan, alone = context().checked(works["high"], pools)
    film = adapt(plan, works, pools, context().prices(), seed=1)
    assert len(film.tiers) == len(film.made_s) == works["high"].variants[0].stages[-1].units
    assert film.tiers[0] == "low" and film.first_s < alone.ttff_s / 2
    # Nothing comes after its turn, and most is high.
    assert film.start_s == film.first_s
    assert film.share("high") > 0.9
    high_s = film.since("high")
    assert high_s is not None and high_s <= 45
    assert film.since("low", "medium") is None
    assert sum(film.share(tier) for tier in TIERS) == 1
