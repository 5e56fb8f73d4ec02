"""Forced alignment by pocketsphinx (BSD) with the acoustic model inside its wheel: 16 kHz, steps of 10 ms.

Its dictionary is not used. Every caption word is put in with the phonemes that our own pronouncer gives, so
that numbers, names and a person's lexicon are aligned as they were spoken, and each sound knows its word.
"""

from __future__ import annotations

import importlib.util
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import BadOutput, ModelMissing
from hpcwise.models.kokoro.phonemes import Pronouncer
from hpcwise.models.kokoro.spoken import NO_LEXICON, SpokenWord, spoken_words
from hpcwise.models.kokoro.visemes import Sound

RATE_HZ: Final = 16_000
#: Seconds of a frame of the aligner.
FRAME_S: Final = 0.01
#: Silence put before and after the sound, seconds.
_PADDING_S: Final = 0.3
#: Misaki's phonemes as those of the acoustic model (CMU's); two for what it has no single one for.
PHONES: Final[Mapping[str, str]] = {
    "b": "B", "d": "D", "f": "F", "h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M", "n": "N", "p": "P",
    "s": "S", "t": "T", "v": "V", "w": "W", "z": "Z", "ɡ": "G", "ŋ": "NG", "ɹ": "R", "ʃ": "SH", "ʒ": "ZH",
    "ð": "DH", "θ": "TH", "ʤ": "JH", "ʧ": "CH", "ə": "AH", "ᵊ": "AH", "i": "IY", "u": "UW", "ɑ": "AA",
    "ɔ": "AO", "ɛ": "EH", "ɜ": "ER", "ɪ": "IH", "ʊ": "UH", "ʌ": "AH", "æ": "AE", "a": "AE", "ɐ": "AH",
    "ɒ": "AO", "ᵻ": "IH", "ɾ": "D", "T": "D", "A": "EY", "I": "AY", "O": "OW", "Q": "OW", "W": "AW",
    "Y": "OY", "ɚ": "ER", "x": "K", "r": "R", "g": "G", "e": "EH", "o": "OW",
}  # fmt: skip

Samples = npt.NDArray[np.float32]


def present() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("pocketsphinx") is not None


def align(
    audio: Samples, rate_hz: int, words: Sequence[SpokenWord], pronouncer: Pronouncer | None = None
) -> list[Sound]:
    """Every sound of `words` with its time in `audio` (mono), and the pauses between them (symbol ",").

    Raises ModelMissing without pocketsphinx, BadOutput where the words are not what is heard.
    """
    spoken = _by_word((pronouncer or Pronouncer()).pronounce(words), len(words))
    said = [i for i, sounds in enumerate(spoken) if sounds]
    if not said or audio.size == 0:
        return []
    decoder = _decoder()
    for i in said:
        decoder.add_word(f"w{i}", " ".join(PHONES[s] for s in spoken[i]), i == said[-1])
    quiet = np.zeros(int(_PADDING_S * RATE_HZ), np.float32)  # it wants to hear that the last word is over
    padded = np.concatenate([quiet, resampled(audio, rate_hz), quiet])
    pcm = (np.clip(padded, -1, 1) * 32767).astype("<i2").tobytes()
    decoder.set_align_text(" ".join(f"w{i}" for i in said))
    try:
        _heard(decoder, pcm)
        decoder.set_alignment()  # the second pass: from words to sounds
        _heard(decoder, pcm)
        alignment = decoder.get_alignment()
    except RuntimeError as error:
        raise BadOutput(f"align: the sound is not of these words: {error}") from error
    if alignment is None:
        raise BadOutput("align: the sound is not of these words")
    found = _sounds(alignment, spoken)
    if {s.word for s in found if s.word >= 0} != set(said):
        raise BadOutput("align: the sound ends before the words do")
    length_s = audio.size / rate_hz
    return [_within(s, length_s) for s in found]


def align_text(wav: Path, text: str, lexicon: Mapping[str, str] = NO_LEXICON) -> list[Sound]:
    """`align` of a mono 16-bit wave file that somebody speaks `text` in."""
    with wave.open(str(wav), "rb") as file:
        rate_hz, pcm = file.getframerate(), file.readframes(file.getnframes())
    audio = np.asarray(np.frombuffer(pcm, "<i2") / 32768, np.float32)
    return align(audio, rate_hz, spoken_words(text, lexicon))


def _within(sound: Sound, length_s: float) -> Sound:
    """Without the padding."""
    start_s = min(max(0.0, sound.start_s - _PADDING_S), length_s)
    end_s = min(max(start_s, sound.start_s + sound.length_s - _PADDING_S), length_s)
    return Sound(sound.symbol, sound.word, start_s, end_s - start_s)


def _decoder() -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise ModelMissing(f"align: {error}; install hpcwise[film]") from error
    # Wide beams: a line is short, and a wrong path must not be the only one left. bestpath may leave out the
    # last word.
    return Decoder(lm=None, dict=None, loglevel="FATAL", bestpath=False, beam=1e-80, wbeam=1e-60, pbeam=1e-80)


def _heard(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _by_word(marked: Sequence[tuple[str, int]], count: int) -> list[list[str]]:
    """The symbols of each word that have a sound."""
    out: list[list[str]] = [[] for _ in range(count)]
    for symbol, word in marked:
        if word >= 0 and symbol in PHONES:
            out[word].append(symbol)
    return out


def _sounds(alignment: Any, spoken: Sequence[Sequence[str]]) -> list[Sound]:
    found: list[Sound] = []
    for word in alignment:
        if not word.name.startswith("w"):
            found.append(Sound(",", -1, word.start * FRAME_S, word.duration * FRAME_S))
            continue
        index = int(word.name[1:].partition("(")[0])
        for symbol, phone in zip(spoken[index], word, strict=True):
            found.append(Sound(symbol, index, phone.start * FRAME_S, phone.duration * FRAME_S))
    return found


def resampled(audio: Samples, rate_hz: int) -> Samples:
    """At RATE_HZ, through the spectrum."""
    if rate_hz == RATE_HZ:
        return audio
    size = round(audio.size * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(audio)[: size // 2 + 1]
    return np.asarray(np.fft.irfft(spectrum, size) * (size / audio.size), np.float32)
