"""What models of pictures are asked for, in words: the set, who is in it, and what a shot shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hpcwise.core.screenplay import Character, Shot

#: What is never wanted; models with guidance are led away from it.
NEGATIVE: Final = (
    "blurred, distorted face, extra fingers, extra limbs, text, subtitles, watermark, static frame"
)
_SETS: Final = {
    "studio": "a calm podcast studio with a wooden table, two microphones and soft warm light",
    "lecture": "a lecture hall with a large green board and daylight from the left",
    "street": "a quiet street in a European town, afternoon light, houses out of focus behind",
    "newsroom": "a modern newsroom with a glass desk and dim screens behind",
}
_FRAMES: Final = {
    "title": "wide shot",
    "two_shot": "medium wide shot of both",
    "close_up": "close-up",
    "over_shoulder": "over-the-shoulder shot",
    "split_screen": "medium close-up",
    "figure": "medium shot",
    "chapter": "wide shot",
    "end": "wide shot",
}


def picture_prompt(set_name: str, cast: Sequence[Character]) -> str:
    """The one picture that all shots are cut from."""
    people = " and ".join(f"{c.name}, the {c.role}," for c in cast) or "nobody"
    place = _SETS.get(set_name, set_name)
    return f"Photograph of {people} in {place}; natural faces, sharp eyes, shallow depth of field."


def shot_prompt(set_name: str, cast: Sequence[Character], shot: Shot) -> str:
    """How a shot moves. Who speaks is named; what is said is the sync model's matter."""
    names = {c.id: f"{c.name}, the {c.role}," for c in cast}
    speaking = list(dict.fromkeys(names[line.speaker] for line in shot.lines if line.speaker in names))
    who = " and then ".join(speaking) if speaking else "Nobody"
    frame = _FRAMES.get(shot.kind, "medium shot")
    place = _SETS.get(set_name, set_name)
    return f"{frame.capitalize()} in {place}. {who} speaks with calm gestures; camera still."
