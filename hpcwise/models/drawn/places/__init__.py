"""Places that scenes are played in: studio, lecture hall, street and newsroom, a file each.

A place is drawn in units (the short side of the picture is 400) in three layers that a camera moves past each
other: what is far, what lives (clouds, cars, a ticker: drawn anew in every frame) and what is near. Moods are
its times of day and weathers; a film's seed chooses one.
"""

from __future__ import annotations

from hpcwise.models.drawn.places.base import Place
from hpcwise.models.drawn.places.lecture import LECTURE
from hpcwise.models.drawn.places.newsroom import NEWSROOM
from hpcwise.models.drawn.places.street import STREET
from hpcwise.models.drawn.places.studio import STUDIO

PLACES: dict[str, Place] = {
    "studio": STUDIO,
    "lecture": LECTURE,
    "street": STREET,
    "newsroom": NEWSROOM,
}
