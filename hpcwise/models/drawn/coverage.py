"""Where a long shot of people is cut into takes: at ends of sentences and phrases, never within a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hpcwise.core.screenplay import Speech

#: A shot of people is left in one piece below this length; no take is shorter than SHORTEST_S, seconds.
ONE_PIECE_S = 7.6
SHORTEST_S = 3.0
#: Takes are about this long, seconds.
USUAL_S = 5.2
#: A new phrase begins with these: in a long sentence without a comma, that will do for a cut.
_PHRASES = frozenset(
    ["and", "but", "which", "that", "because", "while", "where", "when", "so", "with", "for"]
)
#: What follows what, while one person speaks.
_NEXT = {
    "two_shot": "close_up",
    "close_up": "over_shoulder",
    "over_shoulder": "two_shot",
    "split": "close_up",
}


@dataclass(frozen=True, slots=True)
class Take:
    """A part of a shot from one side: kind of shot, whose face it is about, from when to when."""

    kind: str
    speaker: str
    start_s: float
    end_s: float


def cut_points(speech: Speech) -> list[tuple[float, float]]:
    """(instant, how well it suits) between words, in order; a change of speaker suits best."""
    points: list[tuple[float, float]] = []
    words = speech.words
    changes = [start_s for _, start_s, _ in speech.spans[1:]]
    for before, after in pairwise(words):
        if after.start_s < before.end_s:
            continue
        gap = (before.end_s, after.start_s)
        middle = (gap[0] + gap[1]) / 2
        if any(gap[0] - 0.02 <= change <= gap[1] + 0.02 for change in changes):
            points.append((middle, 3.0))
        elif before.text[-1:] in ".?!":
            points.append((middle, 2.0))
        elif before.text[-1:] in ",;:—":
            points.append((middle, 1.0))
        elif after.text.lower() in _PHRASES:
            points.append((middle, 0.0))
    return points


def takes_of(kind: str, speech: Speech, main: str, several: bool) -> tuple[Take, ...]:
    """The takes of a shot that begins as `kind`; one where it is short, not of people or of one person."""
    whole = (Take(kind, main, 0.0, speech.duration_s),)
    if kind not in _NEXT or not several or speech.duration_s < ONE_PIECE_S:
        return whole
    takes: list[Take] = []
    start_s, at = 0.0, kind
    for end_s in (*_chosen(speech), speech.duration_s):
        speaker = _speaking(speech, start_s, end_s, main)
        takes.append(Take(at, speaker, start_s, end_s))
        start_s, at = end_s, _NEXT[at]
    return tuple(takes) if len(takes) > 1 else whole


def _chosen(speech: Speech) -> Sequence[float]:
    """Cuts about USUAL_S apart: each time the best of the points in reach."""
    points, cuts, last_s = cut_points(speech), [], 0.0
    while speech.duration_s - last_s >= 2 * SHORTEST_S:
        reach = [
            (value - abs(at - last_s - USUAL_S) * 0.45, at)
            for at, value in points
            if SHORTEST_S <= at - last_s <= USUAL_S + 4.0 and speech.duration_s - at >= SHORTEST_S
        ]
        if not reach:
            break
        last_s = max(reach)[1]
        cuts.append(last_s)
    return cuts


def _speaking(speech: Speech, from_s: float, to_s: float, main: str) -> str:
    """Who speaks longest between two instants."""
    shares: dict[str, float] = {}
    for who, start_s, end_s in speech.spans:
        shares[who] = shares.get(who, 0.0) + max(0.0, min(end_s, to_s) - max(start_s, from_s))
    best = max(shares, key=lambda who: shares[who], default=main)
    return best if shares.get(best) else main
