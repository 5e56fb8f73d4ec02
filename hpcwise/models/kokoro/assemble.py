"""Spoken lines to the audio and the timings of a shot: the one place where both are laid out in time."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hpcwise.core.screenplay import Line, Speech, Viseme, Word
from hpcwise.models.base import Output
from hpcwise.models.kokoro.loudness import TARGET_LUFS, Samples, limited, loudness_lufs
from hpcwise.models.kokoro.params import RATE_HZ, SpeechParams

#: A shot without a line still needs time to be seen, seconds.
SILENT_SHOT_S = 1.5


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """One line's audio at `RATE_HZ` with its words and mouth shapes, seconds from the line's first sample."""

    audio: Samples
    words: tuple[Word, ...]
    shapes: tuple[tuple[str, float, float], ...]


def assembled(params: SpeechParams, lines: Sequence[SpokenLine], work: Path) -> Output:
    """Write `audio.wav` and `speech.json` of the shot into `work`; each voice at the same loudness."""
    gains = _gains(params, lines)
    pieces: list[Samples] = [np.zeros(round(params.lead_s * RATE_HZ), np.float32)]
    at = pieces[0].size
    words: list[Word] = []
    shapes: list[Viseme] = []
    spans: list[tuple[str, float, float]] = []
    for i, (line, spoken) in enumerate(zip(params.lines, lines, strict=True)):
        if i:
            gap_s = params.gap_s * _gap(params.lines[i - 1], line)
            pieces.append(np.zeros(round(gap_s * RATE_HZ), np.float32))
            at += pieces[-1].size
        start_s = at / RATE_HZ
        words += [Word(w.text, _ms(start_s + w.start_s), _ms(start_s + w.end_s)) for w in spoken.words]
        shapes += [Viseme(s, _ms(start_s + t), _ms(length), line.speaker) for s, t, length in spoken.shapes]
        pieces.append(limited(spoken.audio, gains[line.speaker]))
        at += spoken.audio.size
        spans.append((line.speaker, _ms(start_s), _ms(at / RATE_HZ)))
    tail_s = params.pause_after_s if lines else max(SILENT_SHOT_S - params.lead_s, params.pause_after_s)
    pieces.append(np.zeros(round(tail_s * RATE_HZ), np.float32))
    audio = np.concatenate(pieces)
    speech = Speech(
        duration_s=audio.size / RATE_HZ,
        sample_rate_hz=RATE_HZ,
        words=tuple(words),
        visemes=tuple(shapes),
        spans=tuple(spans),
    )
    write_wav(work / "audio.wav", audio)
    (work / "speech.json").write_bytes(msgspec.json.encode(speech))
    return Output(
        files={"audio.wav": work / "audio.wav", "speech.json": work / "speech.json"},
        facts={"duration_s": speech.duration_s, "words": len(words)},
    )


def _gap(before: Line, line: Line) -> float:
    """Share of the usual gap: an answer comes sooner than a new thought, and so does one's next sentence."""
    if before.speaker == line.speaker:
        return 0.8
    return 0.8 if before.text.rstrip("\"'”’ ").endswith("?") else 1.1


def write_wav(path: Path, audio: Samples) -> None:
    """16-bit mono at `RATE_HZ`."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(audio, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes())


def read_wav(path: Path) -> Samples:
    """A mono 16-bit wave file at any rate, as floats at `RATE_HZ`."""
    with wave.open(str(path), "rb") as file:
        rate, frames = file.getframerate(), file.readframes(file.getnframes())
    audio: Samples = np.asarray(np.frombuffer(frames, "<i2") / 32768, np.float32)
    if rate == RATE_HZ or audio.size == 0:
        return audio
    at = np.arange(int(audio.size * RATE_HZ / rate)) * (rate / RATE_HZ)
    return np.asarray(np.interp(at, np.arange(audio.size), audio), np.float32)


def _gains(params: SpeechParams, lines: Sequence[SpokenLine]) -> dict[str, float]:
    """One gain a speaker over all of the shot's lines, so that a short "Yes!" is not blown up."""
    heard: dict[str, list[Samples]] = {}
    for line, spoken in zip(params.lines, lines, strict=True):
        heard.setdefault(line.speaker, []).append(spoken.audio)
    return {speaker: _gain(np.concatenate(audio)) for speaker, audio in heard.items()}


def _gain(audio: Samples) -> float:
    """The gain that brings a voice to the target, limiter included: that takes some of it back."""
    level = loudness_lufs(audio, RATE_HZ)
    if level < -70:
        return 1.0
    gain = float(10 ** ((TARGET_LUFS - level) / 20))
    for _ in range(3):
        short = TARGET_LUFS - loudness_lufs(limited(audio, gain), RATE_HZ)
        gain *= float(10 ** (min(short, 3.0) / 20))
    return gain


def _ms(seconds: float) -> float:
    return round(max(0.0, float(seconds)), 4)
