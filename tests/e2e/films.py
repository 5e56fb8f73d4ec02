"""Short films from a short document, small enough that a whole one takes seconds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from hpcwise.core.screenplay import Character
from hpcwise.core.spec import Batch, JobSpec
from hpcwise.head.settings import find_models_dir
from tests.head.harness import Site

CAST = (
    Character(id="maya", name="Maya", role="host", voice="af_heart", look="maya"),
    Character(id="dan", name="Daniel", role="expert", voice="am_michael", look="dan"),
)
TEXT = """# Kites that pull ships

## Abstract

Large kites can pull cargo ships across an ocean with little fuel. A kite that flies in loops pulls with
the force of a small engine. The crew needs no sail and no mast for it.

## How it works

A computer on deck steers the kite through two short lines. The kite flies two hundred metres above the
water, where the wind is steady. A winch pulls the kite back in when the wind drops below five knots.

## Results

The trial ship saved nineteen percent of its fuel on the route from Hamburg to Halifax. The kite flew on
twelve of the fifteen days at sea.

## Limitations

The kite cannot fly in a thunderstorm. Harbours do not allow it within three miles of the coast.

## Conclusion

A kite is the cheapest engine that a ship can add today.
"""


class FilmSite(Site):
    """A site whose films are 320x200 at 12 frames a second; the models are those of the user's cache."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.models_dir = find_models_dir()

    def film(self, **changes: Any) -> JobSpec:
        """A film of 20 s with a fixed ladder, so that nothing depends on how busy the machine is."""
        document = self.paths.root.parent / "kites.md"
        document.parent.mkdir(parents=True, exist_ok=True)
        document.write_text(TEXT)
        fields: dict[str, Any] = {
            "input_path": str(document),
            "input_sha256": hashlib.sha256(TEXT.encode()).hexdigest(),
            "cast": CAST,
            "duration_s": 20.0,
            "width": 320,
            "height": 200,
            "fps": 12,
            "slo": Batch(),
            "fixed_ladder": True,
        }
        return JobSpec(**{**fields, **changes})

    def film_file(self, request: str) -> Path:
        return self.results / request / "film.mp4"
