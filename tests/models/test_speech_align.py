"""Forced alignment against Kokoro's own durations, and the lips of a voice that tells no times."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from hpcwise.core.errors import BadOutput
from hpcwise.models.align.sphinx import PHONES, RATE_HZ, align, align_text, resampled
from hpcwise.models.base import Devices, ModelSpec
from hpcwise.models.kokoro import assemble
from hpcwise.models.kokoro.adapter import KokoroAdapter
from hpcwise.models.kokoro.fallback import FallbackVoiceAdapter, laid_over
from hpcwise.models.kokoro.phonemes import Pronouncer
from hpcwise.models.kokoro.spoken import spoken_words
from hpcwise.models.kokoro.visemes import Sound, mouth_shapes
from scripts.bench.filmsound import captions_off_s
from tests.models.test_speech_voices import CAST, LINES, check_times, folder, kokoro, spoken

__all__ = ["folder", "kokoro"]
TEXT = "The paper compares 4 schedulers on 2,000 tasks; the p99 fell 12 % to 3.5 ms. What about the crew?"


@pytest.fixture(scope="module")
def said(kokoro: KokoroAdapter) -> dict[str, tuple[np.ndarray, list[Sound], list[Sound]]]:
    """By voice: audio, sounds by Kokoro's own durations, and as aligned."""
    words = spoken_words(TEXT)
    out = {}
    for voice in ("af_heart", "bm_george"):
        marked = Pronouncer().pronounce(words, british=voice.startswith("b"))
        known = [m for m in marked if m[0] in kokoro._tokens]
        audio, own = kokoro._infer(known, kokoro._voices[voice], 1.05)
        out[voice] = (audio, own, align(audio, 24_000, words))
    return out


@pytest.mark.parametrize("voice", ["af_heart", "bm_george"])
def test_aligned_sounds_and_words_start_when_the_voice_says_that_they_do(
    said: dict[str, tuple[np.ndarray, list[Sound], list[Sound]]], voice: str
) -> None:
    _, own, found = said[voice]
    words = spoken_words(TEXT)

    def starts(sounds: list[Sound]) -> np.ndarray:
        first: dict[int, float] = {}
        for sound in sounds:
            if sound.word >= 0:
                first.setdefault(sound.word, sound.start_s)
        assert sorted(first) == list(range(len(words)))
        return np.array([first[i] for i in range(len(words))])

    off_s = starts(found) - starts(own)
    assert abs(np.median(off_s)) <= 0.04 and np.quantile(np.abs(off_s), 0.8) <= 0.06
    assert all(a.start_s + a.length_s <= b.start_s + 1e-6 for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("voice", ["af_heart", "bm_george"])
def test_mouths_of_aligned_sound_move_with_those_of_the_voices_own_times(
    said: dict[str, tuple[np.ndarray, list[Sound], list[Sound]]], voice: str
) -> None:
    audio, own, found = said[voice]
    open_of = {"A": 0.0, "B": 0.25, "C": 0.6, "D": 1.0, "E": 0.7, "F": 0.4, "G": 0.2, "H": 0.5, "X": 0.0}

    def opening(sounds: list[Sound]) -> np.ndarray:
        curve = np.zeros(audio.size // 240 + 1)
        for shape, start_s, length_s in mouth_shapes(sounds):
            if shape in open_of:
                curve[round(start_s * 100) : round((start_s + length_s) * 100)] = open_of[shape]
        return np.convolve(curve, np.ones(7) / 7, "same")

    mine, theirs = opening(found), opening(own)
    fit = {lag: float(np.corrcoef(np.roll(mine, lag), theirs)[0, 1]) for lag in range(-20, 21)}
    best = max(fit, key=lambda lag: fit[lag])
    assert abs(best) <= 4, f"{best * 10} ms apart"
    assert fit[best] > 0.7


def test_sound_of_other_words_is_refused_and_no_words_are_no_sounds() -> None:
    silence = np.zeros(2400, np.float32)
    with pytest.raises(BadOutput, match="align: the sound"):
        align(silence, 24_000, spoken_words("Many more words than a tenth of a second can hold, by far."))
    assert align(silence, 24_000, []) == []


def test_a_file_is_aligned_with_its_text_and_a_lexicon(
    said: dict[str, tuple[np.ndarray, list[Sound], list[Sound]]], tmp_path: Path
) -> None:
    audio, _, found = said["af_heart"]
    assemble.write_wav(tmp_path / "a.wav", audio)
    again = align_text(tmp_path / "a.wav", TEXT, {"p99": "p ninety nine"})
    assert [s.word for s in again if s.word >= 0] == [s.word for s in found if s.word >= 0]


def test_every_phoneme_of_the_pronouncer_has_one_of_the_acoustic_model() -> None:
    text = (
        "The measure of joy: a vision, though thin, of cheap young boys' ugly poor oil hours; better church?"
    )
    for british in (False, True):
        marked = Pronouncer().pronounce(spoken_words(text), british)
        assert {s for s, word in marked if word >= 0 and s not in "ˈˌː"} <= set(PHONES)


def test_resampling_keeps_a_tone() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000).astype(np.float32)
    want = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert np.abs(resampled(tone, 24_000) - want).max() < 1e-3


def test_the_fallback_voice_moves_its_lips_with_what_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = FallbackVoiceAdapter()
    adapter.load(ModelSpec("fallback-voice", "2", "fallback-voice"), Devices())
    out, speech = spoken(adapter, tmp_path / "aligned")
    check_times(out, speech)
    monkeypatch.setattr("hpcwise.models.align.sphinx.present", lambda: False)
    plain = FallbackVoiceAdapter()
    plain.load(ModelSpec("fallback-voice", "2", "fallback-voice"), Devices())
    guessed, laid = spoken(plain, tmp_path / "guessed")
    assert guessed.files["audio.wav"].read_bytes() == out.files["audio.wav"].read_bytes()
    assert [w.text for w in laid.words] == [w.text for w in speech.words]
    assert laid.words != speech.words and laid_over([], np.zeros(0, np.float32)).words == ()
    assert len(LINES) == len(CAST) == 2


def test_captions_are_measured_against_what_is_heard(
    said: dict[str, tuple[np.ndarray, list[Sound], list[Sound]]],
) -> None:
    audio, own, _ = said["af_heart"]
    at = np.arange(audio.size * 2) / 2
    sound = np.concatenate([np.zeros(24_000), np.interp(at, np.arange(audio.size), audio)]).astype(np.float32)
    second = spoken_words(TEXT.split("What")[0])
    times = (own[0].start_s + 0.5, next(s.start_s for s in own if s.word == len(second)) + 0.5)
    cues = [(times[0], TEXT.split(" What")[0]), (times[1] - 0.4, "What about the crew?")]
    first_off, second_off = captions_off_s(sound, [(sound.size / 48_000, TEXT)], cues)
    assert abs(first_off) < 0.06 and abs(second_off - 0.4) < 0.06
    with pytest.raises(ValueError, match="begins with 'Why'"):
        captions_off_s(sound, [(sound.size / 48_000, TEXT)], [(0.0, "Why not?")])
