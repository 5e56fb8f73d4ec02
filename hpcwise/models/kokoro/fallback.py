"""Voices for where Kokoro cannot be had, so that a film never lacks speech: family `fallback-voice`.

In order: hibari's own small model (it comes with the package that reads words for Kokoro), flite, espeak-ng.
None tells when it says what: words and mouths are aligned with the sound by pocketsphinx, and without that
laid over it by length and by loudness.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hpcwise.core.errors import BadOutput, ModelMissing, Stopped
from hpcwise.core.screenplay import Character, Word
from hpcwise.models.align import sphinx
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.kokoro.adapter import timed_words
from hpcwise.models.kokoro.assemble import SpokenLine, assembled, read_wav
from hpcwise.models.kokoro.loudness import Samples
from hpcwise.models.kokoro.params import RATE_HZ, speech_params
from hpcwise.models.kokoro.phonemes import Pronouncer
from hpcwise.models.kokoro.spoken import SpokenWord, spoken_words
from hpcwise.models.kokoro.visemes import Sound, mouth_shapes

log = logging.getLogger(__name__)

ENGINES = ("hibari", "flite", "espeak-ng")
#: Sound symbols of letters, coarse: enough for lips.
_LETTERS = {
    **{c: c for c in "bdfhklmnpstvwz"},
    "a": "a",
    "e": "ɛ",
    "i": "ɪ",
    "o": "ɔ",
    "u": "u",
    "y": "i",
    "c": "k",
    "g": "ɡ",
    "j": "ʤ",
    "q": "k",
    "r": "ɹ",
    "x": "s",
    # A digit takes about as long as three letters.
    **dict.fromkeys("0123456789", "sɛn"),
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How one member of the cast sounds: male voices, and how far the pitch is moved (1.0: not at all)."""

    male: bool
    pitch: float


class Engine(Protocol):
    """Turns plain text into samples at `RATE_HZ`."""

    def say(self, text: str, manner: Manner, pace: float) -> Samples:
        """The whole text, spoken."""


def present_engines() -> tuple[str, ...]:
    """The engines of `ENGINES` that this machine has, best first."""
    found = {
        "hibari": importlib.util.find_spec("hibari") is not None,
        "flite": shutil.which("flite") is not None,
        "espeak-ng": shutil.which("espeak-ng") is not None,
    }
    return tuple(name for name in ENGINES if found[name])


def manners(cast: Sequence[Character]) -> dict[str, Manner]:
    """A manner for each of the cast, so that no two of the same kind sound alike."""
    out: dict[str, Manner] = {}
    counts = {True: 0, False: 0}
    for character in cast:
        male = character.voice[1:3] == "m_"  # Kokoro's names: af_heart, am_michael, bm_george
        base = 0.8 if male else 1.0
        out[character.id] = Manner(male, base * (1.0, 0.93, 1.07)[counts[male] % 3])
        counts[male] += 1
    return out


class FallbackVoiceAdapter:
    """Speaks the lines of one shot with the best engine that is there."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Pick the engine: option `engine`, or the best one present; else raises `ModelMissing`."""
        present = present_engines()
        wanted = str(spec.options.get("engine", "")) or (present[0] if present else "")
        if wanted not in present:
            raise ModelMissing(
                f"model {spec.name}: no voice engine {wanted or 'at all'} on this machine; install "
                f"hibari-tts with pip, or the system's flite or espeak-ng"
            )
        self.engine_name = wanted
        self._pronouncer = Pronouncer() if sphinx.present() and importlib.util.find_spec("hibari") else None
        self._engine: Engine = _Hibari(devices.threads) if wanted == "hibari" else _Program(wanted)

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """One output, as Kokoro's: `audio.wav`, `speech.json`; facts duration_s and words."""
        params = speech_params(call.params)
        manner = manners(params.cast)
        spoken = []
        for i, line in enumerate(params.lines):
            on_step(i, len(params.lines), f"speaking: {line.speaker}")
            if should_stop():
                raise Stopped(f"stopped before line {i}")
            words = spoken_words(line.text, params.lexicon)
            text = " ".join(w.spoken for w in words)
            audio = (
                self._engine.say(text, manner[line.speaker], params.pace_of(line.speaker))
                if words
                else np.zeros(0, np.float32)
            )
            if words and (not np.isfinite(audio).all() or np.abs(audio).max(initial=0.0) < 1e-3):
                raise BadOutput(f"speech: {self.engine_name} said nothing for {text[:40]!r}")
            spoken.append(self._timed(words, audio))
        on_step(len(params.lines), len(params.lines), "spoken")
        yield assembled(params, spoken, call.work)

    def _timed(self, words: Sequence[SpokenWord], audio: Samples) -> SpokenLine:
        """The line with the times of its words and sounds."""
        if self._pronouncer is None or not words:
            return laid_over(words, audio)
        try:
            sounds = sphinx.align(audio, RATE_HZ, words, self._pronouncer)
        except BadOutput as error:
            log.warning("%s; times are guessed", error)
            return laid_over(words, audio)
        return SpokenLine(
            audio, timed_words(words, sounds, audio.size / RATE_HZ), tuple(mouth_shapes(sounds))
        )


def laid_over(words: Sequence[SpokenWord], audio: Samples) -> SpokenLine:
    """Words and mouth shapes over sound whose timing is not known: a word gets its share of the loud time."""
    sounds = [
        (symbol, i) for i, w in enumerate(words) for c in w.spoken.lower() for symbol in _LETTERS.get(c, "")
    ]
    if not sounds or audio.size == 0:
        return SpokenLine(audio, tuple(Word(w.written, 0.0, 0.0) for w in words), ())
    hop = RATE_HZ // 100
    padded = np.pad(audio, (0, -audio.size % hop)).reshape(-1, hop).astype(np.float64)
    energy = np.sqrt((padded**2).mean(axis=1))
    loud = (energy > 0.06 * energy.max()).astype(np.float64) + 1e-6
    passed = np.concatenate([[0.0], np.cumsum(loud)]) / loud.sum()
    times = np.arange(passed.size) * hop / RATE_HZ
    edges = np.interp(np.arange(len(sounds) + 1) / len(sounds), passed, times)
    timed = [
        Sound(symbol, word, float(a), float(b - a))
        for (symbol, word), a, b in zip(sounds, edges[:-1], edges[1:], strict=True)
    ]
    first = {s.word: s.start_s for s in reversed(timed)}
    last = {s.word: s.start_s + s.length_s for s in timed}
    out: list[Word] = []
    at = 0.0
    for i, word in enumerate(words):
        start = max(at, first.get(i, at))
        at = max(start, last.get(i, start))
        out.append(Word(word.written, start, at))
    # Lips rest where the sound does, whatever the letters say.
    voiced = [
        s
        if loud[min(loud.size - 1, int((s.start_s + s.length_s / 2) * 100))] > 0.5
        else Sound(",", -1, s.start_s, s.length_s)
        for s in timed
    ]
    return SpokenLine(audio, tuple(out), tuple(mouth_shapes(voiced)))


def pitched(audio: Samples, factor: float) -> Samples:
    """Pitch and pace times `factor`, by resampling: the caller corrects the pace beforehand."""
    if abs(factor - 1.0) < 1e-3 or audio.size == 0:
        return audio
    at = np.arange(int(audio.size / factor)) * factor
    return np.asarray(np.interp(at, np.arange(audio.size), audio), np.float32)


class _Hibari:
    """The bundled voice; others are made of it by pitch."""

    def __init__(self, threads: int) -> None:
        from hibari import Hibari

        self._voice: Any = Hibari(threads=max(1, threads))

    def say(self, text: str, manner: Manner, pace: float) -> Samples:
        """Spoken faster by as much as a lower pitch will slow it down again. Seeded: equal every time."""
        audio = np.asarray(self._voice(text, speed=pace / manner.pitch, seed=0), np.float32)
        return pitched(audio, manner.pitch)


class _Program:
    """flite or espeak-ng, run once a line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def say(self, text: str, manner: Manner, pace: float) -> Samples:
        """Text by way of a file, so that no text can become an option."""
        with tempfile.TemporaryDirectory() as folder:
            words, sound = Path(folder) / "text", Path(folder) / "sound.wav"
            words.write_text(text + "\n", "utf-8")
            if self._name == "flite":
                command = [
                    "flite",
                    "-voice",
                    "rms" if manner.male else "slt",
                    "--setf",
                    f"duration_stretch={1 / pace:.3f}",
                    "-f",
                    str(words),
                    "-o",
                    str(sound),
                ]
            else:
                shade = round(50 * manner.pitch)
                command = [
                    "espeak-ng",
                    "-v",
                    "en-us+m3" if manner.male else "en-us+f3",
                    "-p",
                    str(shade),
                    "-s",
                    str(round(165 * pace)),
                    "-f",
                    str(words),
                    "-w",
                    str(sound),
                ]
            try:
                subprocess.run(
                    command, check=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise BadOutput(f"speech: {self._name} failed: {error}") from error
            return read_wav(sound)
