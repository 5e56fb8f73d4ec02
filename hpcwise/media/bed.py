"""Quiet music under a film: a soft pad of our own, or a person's file. Its sound is a function of film time.

Nothing in it depends on what was published before, so that parts of a live film can be made one by one and
still join: what is played follows from the place in the film, how loud it is from the sound of the shot
alone. Shots begin and end with the music ducked, since nobody knows yet what comes next.

The pad is made as Paul Octavian Nasca's PADsynth makes sounds: partials as wide as a choir's, with phases
that look random, turned into one table by an inverse Fourier transform, which then loops without a seam.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import av
import av.error
import msgspec
import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import StoreError
from hpcwise.media.files import named_errors
from hpcwise.media.meter import loudness_of
from hpcwise.media.timeline import Bed
from hpcwise.media.video import open_input

RATE_HZ: Final = 48_000
#: What speech is levelled to; the music lies so many dB below.
SPEECH_LUFS: Final = -16.0
#: Where nobody speaks for a while the music comes up by so much, dB.
RAISED_DB: Final = 8.0
#: Pauses shorter than this stay ducked; it takes RAMP_S to come up and to go down again, seconds.
PAUSE_S: Final = 1.4
RAMP_S: Final = 0.5
FADE_IN_S: Final = 1.2
FADE_OUT_S: Final = 2.5
#: Sound below this is a pause (of full scale), looked at in steps of so many seconds.
_SILENT: Final = 10 ** (-50 / 20)
_STEP_S: Final = 0.02
#: Of a person's file so much is played, seconds; then it begins again, across so many seconds.
LONGEST_S: Final = 300.0
_SEAM_S: Final = 2.0

_TABLE: Final = 1 << 19
#: A chord sounds so long, of which it shares so much with the next one, seconds.
_CHORD_S: Final = 9.0
_SHARED_S: Final = 3.5
#: Semitones above the A of 110 Hz: C major 9, A minor 9, F major 9, G with the sixth and the fourth.
_CHORDS: Final = ((3, 10, 14, 17, 19), (0, 7, 10, 14, 15), (-4, 3, 7, 10, 12), (-2, 5, 8, 12, 15))
#: Loudness of the pad as it comes out of `_pad_tables`, measured over a whole round of its chords.
_PAD_LUFS: Final = -19.9

Samples = npt.NDArray[np.float32]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a shot lies: first sample of the film that belongs to it, and its samples, both at RATE_HZ.

    closes: it is the last of the film, with whose end the music is gone.
    """

    start: int
    length: int
    closes: bool = False


def music(bed: Bed, first: int, end: int) -> Samples:
    """Samples [first, end) of the film's music at its ducked level; 0 or later."""
    at = np.arange(first, end, dtype=np.int64)
    if bed.path:
        path = Path(bed.path)
        with named_errors(path):
            changed_ns = path.stat().st_mtime_ns
        loop, level = _file(bed.path, changed_ns)
        sound = loop[at % loop.size]
    else:
        sound, level = _pad(at), _PAD_LUFS
    return np.asarray(sound * 10 ** ((SPEECH_LUFS - bed.level_db - level) / 20), np.float32)


def gain(pcm: Samples, rate_hz: int, place: Place, first: int, end: int) -> Samples:
    """What the music is multiplied with in samples [first, end) of the film, all of them of the shot whose
    sound is `pcm`: 1 under speech, more in its long pauses, fading in and out with the film."""
    times_s = (np.arange(first, end) - place.start) / RATE_HZ
    out = np.ones(end - first)
    top = 10 ** (RAISED_DB / 20)
    for begin_s, stop_s in pauses(pcm, rate_hz, place.length / RATE_HZ):
        up = np.clip(np.minimum(times_s - begin_s, stop_s - times_s) / RAMP_S, 0.0, 1.0)
        out *= top ** (0.5 - 0.5 * np.cos(math.pi * up))
    if place.start == 0:
        out *= np.sin(0.5 * math.pi * np.clip(times_s / FADE_IN_S, 0.0, 1.0))
    if place.closes:
        length_s = place.length / RATE_HZ
        left = np.clip((length_s - times_s) / min(FADE_OUT_S, length_s), 0.0, 1.0)
        out *= np.sin(0.5 * math.pi * left)
    return np.asarray(out, np.float32)


def pauses(pcm: Samples, rate_hz: int, length_s: float) -> list[tuple[float, float]]:
    """Stretches of PAUSE_S or more in which a shot's sound is silent, (start, end) in seconds of the shot."""
    step = max(1, round(_STEP_S * rate_hz))
    padded = np.pad(pcm, (0, -pcm.size % step)).reshape(-1, step)
    loud = np.flatnonzero(np.abs(padded).max(axis=1, initial=0.0) > _SILENT) * _STEP_S
    edges = [0.0, *(t for at in loud for t in (float(at), float(at) + _STEP_S)), max(length_s, 0.0)]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= PAUSE_S]


def _pad(at: npt.NDArray[np.int64]) -> Samples:
    tables = _pad_tables()
    out = np.zeros(at.size)
    chord = int(_CHORD_S * RATE_HZ)
    for i, table in enumerate(tables):
        # Seconds since the chord began, within a round of all chords; it starts _SHARED_S before its turn.
        since_s = ((at - i * chord + int(_SHARED_S * RATE_HZ)) % (chord * len(tables))) / RATE_HZ
        share = np.clip(np.minimum(since_s, _CHORD_S + _SHARED_S - since_s) / _SHARED_S, 0.0, 1.0)
        heard = share > 0
        if heard.any():
            out[heard] += np.sin(0.5 * math.pi * share[heard]) * table[at[heard] % _TABLE]
    breath = 1.0 + 0.12 * np.sin(2 * math.pi * at / (RATE_HZ * 7.3))
    return np.asarray(out * breath, np.float32)


def warm_pad() -> None:
    """Make the pad's tables, which takes a quarter of a second, before a film waits for them."""
    _pad_tables()


@lru_cache(maxsize=1)
def _pad_tables() -> tuple[Samples, ...]:
    """One looping table a chord, of equal power."""
    frequencies = np.arange(_TABLE // 2 + 1) * (RATE_HZ / _TABLE)
    places = np.arange(frequencies.size, dtype=np.float64)
    phases = np.exp(2j * math.pi * np.modf(places * places * 0.6180339887498949)[0])
    tables = []
    for chord in _CHORDS:
        strength = np.zeros(frequencies.size)
        for voice, semitones in enumerate(chord):
            base_hz = 110.0 * 2 ** (semitones / 12)
            for partial in range(1, 9):
                middle_hz = base_hz * partial
                width_hz = middle_hz * (2 ** (14 / 1200) - 1)  # 14 cents: as wide as a few players
                loud = partial**-1.9 * math.exp(-middle_hz / 1400) * 0.92**voice / width_hz
                near = np.abs(frequencies - middle_hz) < 4 * width_hz
                strength[near] += loud * np.exp(-(((frequencies[near] - middle_hz) / width_hz) ** 2))
        table = np.fft.irfft(strength * phases, _TABLE)
        tables.append(np.asarray(table * (0.08 / math.sqrt(float((table**2).mean()))), np.float32))
    return tuple(tables)


@lru_cache(maxsize=2)
def _file(path: str, _changed_ns: int) -> tuple[Samples, float]:
    """A person's music as one loop, its end laid over its beginning, and its loudness in LUFS."""
    sound = _decoded(Path(path))
    level = loudness_of(sound, RATE_HZ)
    if level < -60:
        raise StoreError(f"{path}: is silent: name another file as music")
    seam = min(int(_SEAM_S * RATE_HZ), sound.size // 4)
    loop = sound[: sound.size - seam].copy()
    share = np.sin(0.5 * math.pi * np.arange(seam) / max(1, seam)).astype(np.float32)
    loop[:seam] = loop[:seam] * share + sound[sound.size - seam :] * share[::-1]
    return loop, level


def _decoded(path: Path) -> Samples:
    """Mono at RATE_HZ, at most LONGEST_S of it."""
    pieces: list[Any] = []
    have, most = 0, int(LONGEST_S * RATE_HZ)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    with open_input(path) as container:
        try:
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    pieces.append(piece.to_ndarray()[0])
                    have += pieces[-1].size
                if have >= most:
                    break
        except av.error.FFmpegError as error:
            raise StoreError(f"{path}: torn: {error.strerror}: name another file as music") from error
    return np.asarray(np.concatenate(pieces)[:most], np.float32)


def shot_samples(pcm: Samples, rate_hz: int, rate: Fraction) -> int:
    """Samples at RATE_HZ of a shot whose sound is `pcm`, in a film of `rate` frames a second."""
    frames = max(1, math.ceil(pcm.size / rate_hz * rate - 1e-6))
    return round(frames * RATE_HZ / rate)
