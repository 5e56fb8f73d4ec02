"""Ears of scripts/bench/film: loudness of a film, of its speakers, and lips against sound."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import BadOutput
from hpcwise.core.screenplay import Character, Speech
from hpcwise.media.meter import loudness, loudness_of
from hpcwise.media.timeline import shot_frames
from hpcwise.models.align import sphinx
from hpcwise.models.drawn.motion import acting
from hpcwise.models.kokoro.phonemes import Pronouncer
from hpcwise.models.kokoro.spoken import spoken_words
from hpcwise.store.artifacts import Store
from hpcwise.store.paths import RunPaths

#: Mouths and sound are compared in steps of so many a second, over shifts of at most so many seconds.
STEPS_S, REACH_S = 200, 0.2
RATE_HZ = 48_000

Curve = npt.NDArray[np.float64]


def heard(folder: Path, request: str, receipt: dict[str, Any], fps: int) -> dict[str, float]:
    """`av_offset_ms`, `loudness_lufs`, `true_peak_dbtp`, `speaker_jump_lu` of a film that is done."""
    film = folder / request / "film.mp4"
    sound = sound_of(film)
    shots = speeches(folder, receipt, fps)
    level = loudness(film)
    voices: dict[str, list[npt.NDArray[np.float32]]] = {}
    for start_s, speech in shots:
        for who, from_s, to_s in speech.spans:
            piece = sound[int((start_s + from_s) * RATE_HZ) : int((start_s + to_s) * RATE_HZ)]
            voices.setdefault(who, []).append(piece)
    levels = [loudness_of(np.concatenate(pieces), RATE_HZ) for pieces in voices.values()]
    return {
        "av_offset_ms": 1000 * offset_s(sound, shots),
        "loudness_lufs": level.integrated_lufs,
        "true_peak_dbtp": level.true_peak_dbtp,
        "speaker_jump_lu": max(levels) - min(levels),
    }


def speeches(folder: Path, receipt: dict[str, Any], fps: int) -> list[tuple[float, Speech]]:
    """(start in the film in seconds, what is known of its speech) of every shot."""
    store = Store(RunPaths(folder / ".hpcwise"))
    found: list[tuple[float, Speech]] = []
    at_s = 0.0
    for shot in receipt["shots"]:
        artifact = store.read(shot["speech_key"], 0)
        found.append((at_s, msgspec.json.decode((artifact.path / "speech.json").read_bytes(), type=Speech)))
        at_s += shot_frames(found[-1][1].duration_s, fps) / fps
    return found


def captions_off_s(
    sound: npt.NDArray[np.float32], shots: Sequence[tuple[float, str]], cues: Iterable[tuple[float, str]]
) -> list[float]:
    """Of each cue: when its first word is heard minus when it is shown, in seconds.

    sound: of the film, at RATE_HZ. shots: (seconds, what is said in it) in order; cues: (start in seconds,
    text). Heard by forced alignment of each shot's sound with its words, which knows nothing of the times
    that the voice gave. A shot that cannot be aligned is left out.
    """
    words: list[tuple[str, float | None]] = []
    pronouncer, at_s = Pronouncer(), 0.0
    for length_s, text in shots:
        spoken = spoken_words(text)
        piece = sound[int(at_s * RATE_HZ) : int((at_s + length_s) * RATE_HZ)]
        first: dict[int, float] = {}
        try:
            for heard_ in sphinx.align(piece, RATE_HZ, spoken, pronouncer) if spoken else []:
                first.setdefault(heard_.word, at_s + heard_.start_s)
        except BadOutput as error:
            print(f"  {error}: {text[:60]!r}", file=sys.stderr, flush=True)
        words += [(word.written, first.get(i)) for i, word in enumerate(spoken)]
        at_s += length_s
    off: list[float] = []
    at = 0
    for start_s, text in cues:
        written = text.split()
        shown, heard_s = words[at]
        if shown != written[0]:
            raise ValueError(
                f"the cue at {start_s:.2f} s begins with {written[0]!r}, the script with {shown!r}"
            )
        if heard_s is not None:
            off.append(heard_s - start_s)
        at += len(written)
    return off


def sound_of(film: Path) -> npt.NDArray[np.float32]:
    """The film's sound at RATE_HZ, laid where its time stamps say, from film time 0."""
    out: list[tuple[int, npt.NDArray[np.float32]]] = []
    with av.open(str(film)) as container:
        out.extend(
            (round((frame.time or 0.0) * RATE_HZ), frame.to_ndarray().mean(axis=0))
            for frame in container.decode(audio=0)
        )
    whole = np.zeros(max(at + piece.size for at, piece in out), np.float32)
    for at, piece in out:
        first = max(0, -at)
        whole[at + first : at + piece.size] = piece[first:]
    return whole


def offset_s(sound: npt.NDArray[np.float32], shots: list[tuple[float, Speech]]) -> float:
    """Seconds by which the sound's envelope has to be moved earlier to fit the mouths' opening."""
    mouths = np.zeros(sound.size * STEPS_S // RATE_HZ + 1)
    for start_s, speech in shots:
        cast = [
            Character(id=who, name=who, role="", voice="", look="") for who in {w for w, _, _ in speech.spans}
        ]
        acted = acting(speech, cast, {c.id: 1.0 for c in cast}, STEPS_S)
        for who in acted.values():
            at = round(start_s * STEPS_S)
            opening = who.mouth[: max(0, mouths.size - at), 0]
            mouths[at : at + opening.size] += opening
    hop = RATE_HZ // STEPS_S
    power = (sound[: mouths.size * hop // hop * hop - hop].astype(np.float64) ** 2)[: (mouths.size - 1) * hop]
    envelope = np.sqrt(smoothed(power.reshape(-1, hop).mean(axis=1)))
    mouths = mouths[: envelope.size]
    reach = round(REACH_S * STEPS_S)
    fit = [float(np.corrcoef(np.roll(envelope, -lag), mouths)[0, 1]) for lag in range(-reach, reach + 1)]
    return (int(np.argmax(fit)) - reach) / STEPS_S


def smoothed(power: Curve) -> Curve:
    """Over 40 ms, about a syllable's rise."""
    width = round(0.04 * STEPS_S)
    return np.convolve(power, np.ones(width) / width, "same")
