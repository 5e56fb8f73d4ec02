"""Which words move the hands, and how: counting, pointing, weighing, denying, asking.

A gesture rises before its word, so that its peak is on the word (McNeill's stroke), holds and falls back to
rest. Where no word asks for one, stressed words beat time with an open hand, now and then.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcwise.core.screenplay import Speech, Word

#: Between the end of a gesture and the start of the next, seconds.
REST_S = 0.25
#: Of strokes without a word of their own: this long after the last gesture, seconds.
BEAT_AFTER_S = 1.5
RISE_S, FALL_S = 0.34, 0.46


@dataclass(frozen=True, slots=True)
class Gesture:
    """A movement of the hands: rises to `peak_s`, holds, and is back at rest at `end_s`. fingers: counted."""

    kind: str
    start_s: float
    peak_s: float
    hold_s: float
    end_s: float
    fingers: int = 0


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COUNTS = {
    **dict.fromkeys(("first", "firstly", "one", "1"), 1),
    **dict.fromkeys(("second", "secondly", "two", "twice", "2"), 2),
    **dict.fromkeys(("third", "thirdly", "three", "3"), 3),
    **dict.fromkeys(("fourth", "four", "4"), 4),
    **dict.fromkeys(("fifth", "five", "5"), 5),
}
#: Kind by word, most telling first.
_KINDS: tuple[tuple[str, frozenset[str]], ...] = (
    (
        "point",
        _words("figure table plot chart graph diagram here board panel curve axis shown this look see"),
    ),
    ("stop", _words("not never no cannot without none nothing stop stops neither nor isn't don't can't")),
    ("weigh", _words("but however while versus compared either both between instead whereas rather than or")),
    (
        "wide",
        _words(
            "all every whole large larger largest huge big bigger many more most grow grows "
            "increase increases across entire everything thousands millions long longer wide "
            "full world high higher faster"
        ),
    ),
    (
        "pinch",
        _words(
            "small smaller smallest few fewer less least little tiny short shorter low lower only just "
            "exactly precisely single detail key point exact important idea answer trick called"
        ),
    ),
    ("offer", _words("you your give gives take here's welcome thanks thank show shows read today's today")),
    ("chest", _words("i my me we our us myself i'm we'll we've")),
)
_ASKS = _words("what why how who where when which")
#: Gestures that would be missed; the others give way to them.
_TELLING = frozenset(["count", "point", "stop", "shrug"])
#: Strokes that carry no meaning but rhythm.
BEATS = ("open", "both", "chop", "pinch")


def asked(words: Sequence[Word], index: int) -> bool:
    """Whether the sentence of word `index` ends in a question mark."""
    rest = next((w.text for w in words[index:] if w.text[-1:] in ".?!"), "")
    return rest.endswith("?")


def plain(text: str) -> str:
    """A word without marks, in small letters."""
    return re.sub(r"[^\w'-]+", "", text).lower().strip("'-")


def kind_of(words: Sequence[Word], index: int) -> tuple[str, int]:
    """The gesture that a word asks for ("" for none) and the fingers that it counts."""
    word = plain(words[index].text)
    if word in _COUNTS:
        return "count", _COUNTS[word]
    if word in _ASKS and asked(words, index):
        return "shrug", 0
    return next((kind for kind, known in _KINDS if word in known), ""), 0


def gestures_of(who: str, stresses: Sequence[float], speech: Speech) -> tuple[Gesture, ...]:
    """One character's gestures in a shot, in order and apart."""
    chance = random.Random(f"hands {who} {speech.duration_s:.3f}")
    out: list[Gesture] = []
    for speaker, from_s, to_s in speech.spans:
        if speaker != who:
            continue
        said = [w for w in speech.words if from_s - 1e-3 <= w.start_s < to_s + 1e-3]
        wishes = [(w.start_s + 0.08, *kind_of(said, i)) for i, w in enumerate(said)]
        asks = [wish for wish in wishes if wish[1]]
        beats = [(at, "", 0) for at in stresses if from_s <= at <= to_s]
        asks.sort(key=lambda wish: (wish[1] not in _TELLING, wish[0]))
        # Words that mean something come first; strokes fill what lies between.
        for at, kind, fingers in asks + sorted(beats):
            gap = REST_S if kind else BEAT_AFTER_S
            hold = at + (chance.uniform(0.45, 0.9) if kind else chance.uniform(0.3, 0.8))
            made = Gesture(
                kind or chance.choice(BEATS),
                at - RISE_S,
                at,
                hold,
                min(hold + FALL_S, speech.duration_s),
                fingers,
            )
            if made.start_s < 0 or to_s - at < 0.35 or made.end_s - at < 0.5:
                continue
            if all(made.end_s + gap <= g.start_s or g.end_s + gap <= made.start_s for g in out):
                out.append(made)
    return tuple(sorted(out, key=lambda g: g.start_s))


def lift(gesture: Gesture, time_s: float) -> float:
    """How far a gesture is from rest, 0 to 1; a little over on the way up, like a real arm."""
    if time_s <= gesture.start_s or time_s >= gesture.end_s:
        return 0.0
    if time_s < gesture.peak_s:
        x = (time_s - gesture.start_s) / max(1e-6, gesture.peak_s - gesture.start_s)
        return x * x * (3 - 2 * x) * (1 + 0.25 * x * (1 - x))
    if time_s < gesture.hold_s:
        return 1.0
    x = (time_s - gesture.hold_s) / max(1e-6, gesture.end_s - gesture.hold_s)
    return 1 - x * x * (3 - 2 * x)
