"""Mouth shapes (Preston Blair's A to H, X at rest) of phonemes in misaki's alphabet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: A closed lips · B teeth together · C open · D wide · E rounded · F puckered · G lip under teeth · H tongue
SHAPES: dict[str, str] = {
    **dict.fromkeys("mbp", "A"),
    **dict.fromkeys("fv", "G"),
    **dict.fromkeys("ɑaæ", "D"),
    **dict.fromkeys("ɛʌɐəᵊe", "C"),
    **dict.fromkeys("ɔɒɜo", "E"),
    **dict.fromkeys("uʊwɹɚr", "F"),
    **dict.fromkeys("sztdnkɡɡgɪijʃʒʧʤŋhθðɾTᵻʔx", "B"),
    "l": "H",
}
#: A diphthong moves: its two shapes, the first takes 60 %.
GLIDES: dict[str, tuple[str, str]] = {
    "A": ("C", "B"),
    "I": ("D", "B"),
    "O": ("E", "F"),
    "Q": ("E", "F"),
    "W": ("D", "F"),
    "Y": ("E", "B"),
}
REST = "X"
STRESS = "!"
#: A mouth does not close for a pause shorter than this, seconds.
SHORT_PAUSE_S = 0.09


@dataclass(frozen=True, slots=True)
class Sound:
    """One phoneme (or mark) of a spoken line: seconds from the line's start; `word` -1 between words."""

    symbol: str
    word: int
    start_s: float
    length_s: float


def mouth_shapes(sounds: Iterable[Sound]) -> list[tuple[str, float, float]]:
    """(shape, start_s, length_s) in order of time; `!` marks a stressed vowel and overlaps the shapes.

    Marks and gaps between words have durations of their own but no shape: the shape after a stress mark
    begins with the mark (lips lead the sound), the shape before a short gap is held through it.
    """
    shapes: list[tuple[str, float, float]] = []
    lead_s = 0.0
    for sound in sounds:
        start, length = sound.start_s - lead_s, sound.length_s + lead_s
        if sound.symbol in "ˈˌ":
            lead_s += sound.length_s
            if sound.symbol == "ˈ":
                shapes.append((STRESS, sound.start_s, sound.length_s))
            continue
        if sound.symbol == "ː" or (sound.word < 0 and sound.length_s <= SHORT_PAUSE_S):
            _hold(shapes, sound.length_s)
            continue
        lead_s = 0.0
        if sound.symbol in GLIDES:
            first, second = GLIDES[sound.symbol]
            shapes += [(first, start, length * 0.6), (second, start + length * 0.6, length * 0.4)]
        else:
            shapes.append((SHAPES.get(sound.symbol, REST), start, length))
    return shapes


def _hold(shapes: list[tuple[str, float, float]], length_s: float) -> None:
    for i in range(len(shapes) - 1, -1, -1):
        shape, start, length = shapes[i]
        if shape != STRESS:
            shapes[i] = (shape, start, length + length_s)
            return
