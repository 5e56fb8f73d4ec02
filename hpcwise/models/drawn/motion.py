"""How everybody moves in a shot: curves over frames, made once from the speech, pure functions of it.

All arrays have one row a frame. Randomness is seeded by names, never by time or place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcwise.core.screenplay import Character, Speech
from hpcwise.models.drawn.gestures import Gesture, asked, gestures_of, plain

Curve = NDArray[np.float64]

#: Mouth by shape: opening, width, rounding, upper teeth, tongue (0 to about 1).
MOUTHS: dict[str, tuple[float, float, float, float, float]] = {
    "X": (0.0, 1.0, 0.0, 0.0, 0.0),
    "A": (0.0, 0.96, 0.05, 0.0, 0.0),
    "B": (0.24, 0.98, 0.0, 1.0, 0.0),
    "C": (0.5, 1.02, 0.0, 0.8, 0.3),
    "D": (0.95, 1.0, 0.05, 0.8, 0.6),
    "E": (0.62, 0.8, 0.5, 0.4, 0.3),
    "F": (0.3, 0.58, 1.0, 0.0, 0.0),
    "G": (0.14, 0.9, 0.0, 1.0, 0.0),
    "H": (0.42, 0.98, 0.0, 0.8, 1.0),
}
_SUB = 8
#: Words that lift the brows, that draw them together, and that make people smile.
_RAISES = frozenset(
    (
        "really",
        "wow",
        "new",
        "surprising",
        "surprise",
        "better",
        "best",
        "faster",
        "most",
        "all",
        "never",
        "every",
        "much",
        "double",
    )
)
_KNITS = frozenset(
    (
        "but",
        "however",
        "problem",
        "problems",
        "hard",
        "difficult",
        "fail",
        "fails",
        "not",
        "wrong",
        "limit",
        "limits",
        "cannot",
        "cost",
    )
)
_SMILES = frozenset(
    (
        "welcome",
        "thanks",
        "thank",
        "good",
        "great",
        "nice",
        "well",
        "right",
        "happy",
        "love",
        "works",
        "hello",
        "enjoy",
        "fun",
    )
)


@dataclass(frozen=True, slots=True)
class Acting:
    """One character's curves. gaze: -1 left to 1 right, 0 into the camera; stress and nod from 0 to 1; brows
    from -1 (drawn together) to 1 (raised)."""

    mouth: Curve
    stress: Curve
    blink: Curve
    gaze: Curve
    turn: Curve
    nod: Curve
    talking: Curve
    brows: Curve
    smile: Curve
    gestures: tuple[Gesture, ...]
    phase: float


def frame_count(duration_s: float, fps: float) -> int:
    """Frames of a shot: enough to cover its sound."""
    return max(1, int(np.ceil(duration_s * fps - 1e-6)))


def acting(
    speech: Speech, cast: Sequence[Character], sides: dict[str, float], fps: float
) -> dict[str, Acting]:
    """By character. `sides`: where each sits, -1 left to 1 right; those who are not in the shot sit at 0."""
    count = frame_count(speech.duration_s, fps)
    talking = {c.id: _talking(speech, c.id, count, fps) for c in cast}
    out = {}
    for i, character in enumerate(cast):
        who = character.id
        stresses = [v.start_s for v in speech.visemes if v.shape == "!" and v.speaker == who]
        gaze = _gaze(speech, who, sides, count, fps)
        others = sum((talking[c] for c in talking if c != who), np.zeros(count))
        out[who] = Acting(
            mouth=_mouth(speech, who, count, fps),
            stress=_stress(stresses, count, fps),
            blink=_blinks(who, speech.duration_s, count, fps),
            gaze=_smoothed(gaze, fps * 0.12),
            turn=_smoothed(gaze, fps * 0.42) * 0.72,
            nod=_nods(speech, who, count, fps) * np.clip(others, 0, 1),
            talking=_smoothed(talking[who], fps * 0.3),
            brows=_brows(speech, who, count, fps),
            smile=_smile(speech, who, count, fps),
            gestures=gestures_of(who, stresses, speech),
            phase=i * 2.1,
        )
    return out


def _mouth(speech: Speech, who: str, count: int, fps: float) -> Curve:
    """Per frame (opening, width, rounding, teeth, tongue), smoothed like a jaw's inertia."""
    fine = np.tile(np.array(MOUTHS["X"]), (count * _SUB, 1))
    for viseme in speech.visemes:
        if viseme.speaker == who and viseme.shape in MOUTHS:
            start = round(viseme.start_s * fps * _SUB)
            end = round((viseme.start_s + max(viseme.length_s, 0.045)) * fps * _SUB)
            fine[start:end] = MOUTHS[viseme.shape]
    reach = max(3, int(0.085 * fps * _SUB)) | 1
    kernel = np.hanning(reach + 2)[1:-1]
    kernel /= kernel.sum()
    columns = [
        np.convolve(np.pad(fine[:, c], reach // 2, mode="edge"), kernel, "valid")[::_SUB] for c in range(5)
    ]
    return np.stack(columns, axis=1)[:count]


def _talking(speech: Speech, who: str, count: int, fps: float) -> Curve:
    curve = np.zeros(count)
    for speaker, start_s, end_s in speech.spans:
        if speaker == who:
            curve[int(start_s * fps) : int(np.ceil(end_s * fps))] = 1.0
    return curve


def _stress(at: Sequence[float], count: int, fps: float) -> Curve:
    curve = np.zeros(count)
    for time in at:
        start = int(time * fps)
        curve[max(0, start - 1) : start + max(2, int(fps / 7))] += 0.55
    return np.minimum(_smoothed(np.minimum(curve, 1.0), fps * 0.12), 1.0)


def _blinks(who: str, duration_s: float, count: int, fps: float) -> Curve:
    chance = random.Random(f"blink {who} {duration_s:.3f}")
    curve = np.zeros(count)
    times = np.arange(count) / fps
    at = chance.uniform(0.4, 1.8)
    while at < duration_s:
        curve = np.maximum(curve, np.clip(1.35 - np.abs(times - at) / 0.085, 0.0, 1.0))
        # Now and then people blink twice.
        at += 0.32 if chance.random() < 0.12 else chance.uniform(2.0, 4.6)
    return curve


def _gaze(speech: Speech, who: str, sides: dict[str, float], count: int, fps: float) -> Curve:
    """A speaker moves between partner and camera, a listener watches the speaker."""
    chance = random.Random(f"gaze {who} {speech.duration_s:.3f}")
    here = sides.get(who, 0.0)
    partners = [side for other, side in sides.items() if other != who]
    toward = float(np.sign(partners[0] - here)) if partners else 0.0
    curve = np.zeros(count)
    at, looks_away = 0, chance.random() < 0.5
    while at < count:
        length = max(1, int(chance.uniform(1.1, 2.6) * fps))
        curve[at : at + length] = (
            (toward * 0.9 if toward else chance.choice((-0.35, 0.35))) if looks_away else 0.0
        )
        looks_away = not looks_away
        at += length
    for speaker, start_s, end_s in speech.spans:
        if speaker != who:
            curve[max(0, int((start_s - 0.1) * fps)) : int(np.ceil(end_s * fps))] = toward
    return curve


def _nods(speech: Speech, who: str, count: int, fps: float) -> Curve:
    """A listener nods where another's phrase ends: the words that carry a mark."""
    chance = random.Random(f"nod {who} {speech.duration_s:.3f}")
    times = np.arange(count) / fps
    curve = np.zeros(count)
    last_s = -9.0
    for word in speech.words:
        if word.text[-1:] in ".,;:?!—" and word.end_s - last_s > 1.6 and chance.random() < 0.75:
            last_s = word.end_s
            since = times - (word.end_s - 0.12)
            wave = np.sin(since * 9.5) * np.exp(-np.clip(since, 0, None) * 2.4)
            curve += np.where((since > 0) & (since < 1.3), wave, 0.0)
    return np.clip(curve, -1, 1)


def _brows(speech: Speech, who: str, count: int, fps: float) -> Curve:
    """Up when the speaker asks, together when something is difficult; a listener's go up a moment later."""
    curve = np.zeros(count)
    for speaker, from_s, to_s in speech.spans:
        said = [w for w in speech.words if from_s - 1e-3 <= w.start_s < to_s + 1e-3]
        for i, word in enumerate(said):
            text = plain(word.text)
            rise = 0.7 if text in _RAISES else -0.9 if text in _KNITS else 0.55 if asked(said, i) else 0.0
            if speaker != who:
                rise *= 0.7 if not asked(said, i) else 0.0
            late_s = 0.0 if speaker == who else 0.35
            start, end = int((word.start_s + late_s) * fps), int((word.end_s + late_s + 0.4) * fps) + 1
            if rise:
                curve[start:end] = rise
    return _smoothed(curve, fps * 0.16)


def _smile(speech: Speech, who: str, count: int, fps: float) -> Curve:
    """Friendly at rest, more so in the first second, where something is funny or well said."""
    curve = np.full(count, 0.72)
    for word in speech.words:
        if plain(word.text) in _SMILES:
            curve[int(word.start_s * fps) : int((word.end_s + 1.0) * fps)] = 1.0
        if plain(word.text) in _KNITS:
            curve[int(word.start_s * fps) : int((word.end_s + 0.6) * fps)] = 0.4
    return _smoothed(curve, fps * 0.3)


def _smoothed(curve: Curve, reach: float) -> Curve:
    """Moving average with soft ends; `reach` in frames."""
    half = max(1, round(reach))
    kernel = np.hanning(2 * half + 3)[1:-1]
    return np.convolve(np.pad(curve, half, mode="edge"), kernel / kernel.sum(), "valid")
