"""From spoken words to phonemes of misaki's alphabet, each knowing the caption word that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hpcwise.models.kokoro.spoken import SpokenWord

#: Names that the dictionary lacks or spells letter by letter, as misaki phonemes.
NAMES = {
    "CUDA": "kˈudə",
    "NCCL": "nˈɪkᵊl",
    "JSON": "ʤˈAsᵊn",
    "YAML": "jˈæmᵊl",
    "SOTA": "sˈOtə",
    "LoRA": "lˈɔɹə",
    "LoRAs": "lˈɔɹəz",
    "BERT": "bˈɜɹt",
    "ReLU": "ɹˈɛlu",
    "NumPy": "nˈʌmpˌI",
    "SciPy": "sˈIpˌI",
    "RAG": "ɹˈæɡ",
    "hpcwise": "ˌAʧpˌisˈiwˌIz",
    "HPCwise": "ˌAʧpˌisˈiwˌIz",
    "PyTorch": "pˈItˌɔɹʧ",
    "Slurm": "slˈɜɹm",
    "LaTeX": "lˈAtˌɛk",
    "PaSa": "pˈɑsə",
    "Qwen": "kwˈɛn",
    "LLaMA": "lˈɑmə",
    "Llama": "lˈɑmə",
    "ViT": "vˈɪt",
    "GAN": "ɡˈæn",
    "GANs": "ɡˈænz",
    "RAM": "ɹˈæm",
    "ASIC": "ˈAsɪk",
    "FLOPs": "flˈɑps",
    "OCR": "ˌOsˌiˈɑɹ",
    "DAG": "dˈæɡ",
    "DAGs": "dˈæɡz",
    "Kokoro": "kˈOkəɹO",
    "StreamWise": "stɹˈimwˌIz",
    "arXiv": "ˈɑɹkIv",
    "SLOs": "ˌɛsˌɛlˈOz",
    "DiT": "dˌiˌItˈi",
    "Wan": "wˈɑn",
    "vLLM": "vˌiˌɛlˌɛlˈɛm",
    "BLEU": "blˈu",
    "NeurIPS": "nˈʊɹˌɪps",
    "QoS": "kjˌuˌOˈɛs",
    "PCIe": "pˌisˌiˌIˈi",
    "IPv": "ˌIpˌivˈi",
    "MoE": "ˌɛmˌOˈi",
    "MoEs": "ˌɛmˌOˈiz",
    "WER": "dˌʌbᵊljˌuˌiˈɑɹ",
    "mAP": "ˌɛmˈæp",
    "ViTs": "vˈɪts",
    "ResNet": "ɹˈɛznˌɛt",
    "Noor": "nˈʊɹ",
    "CO": "sˌiˈO",
    "AY": "ˈA",
    "Kubernetes": "kˌubəɹnˈɛtiz",
    "NUMA": "nˈumə",
    "RoCE": "ɹˈɑki",
    "IEEE": "ˌItɹˌɪpəlˈi",
    "EPYC": "ˈɛpɪk",
    "JAX": "ʤˈæks",
    "CRAN": "kɹˈæn",
    "dplyr": "dˈiplˌIəɹ",
    "Jupyter": "ʤˈupɪTəɹ",
    "BibTeX": "bˈɪbtˌɛk",
    "Colab": "kˈOlæb",
    "BLAS": "blˈæs",
    "ARIMA": "əɹˈimə",
    "ANOVA": "ənˈOvə",
    "logit": "lˈOʤɪt",
    "probit": "pɹˈObɪt",
    "hyperparameter": "hˌIpəɹpəɹˈæmɪTəɹ",
    "hyperparameters": "hˌIpəɹpəɹˈæmɪTəɹz",
    "Euler": "ˈYləɹ",
    "Fourier": "fˈʊɹiˌA",
    "Poincaré": "pwˌæŋkɑɹˈA",
    "Erdős": "ˈɛɹdˌOʃ",
    "Rényi": "ɹˈAnji",
    "Grothendieck": "ɡɹˈOtəndˌik",
}

#: Letters that people say as a word ("FOOTSWITCH"): the dictionary spells what it does not know.
_LONG_CAPITALS = re.compile(r"\b(?=(?:[A-Z]*[AEIOU]){2})[A-Z]{6,}\b")
_VOWELS = "AIOQWYaeiouɑɐɒæɔəɛɜɪʊʌᵻ"

Marked = tuple[str, int]


class Pronouncer:
    """English words to phonemes; American and British readings are loaded when first needed."""

    def __init__(self) -> None:
        self._readings: dict[bool, Any] = {}

    def pronounce(self, words: Sequence[SpokenWord], british: bool = False) -> list[Marked]:
        """(symbol, index of the caption word) for a whole line; blanks and marks between words have -1."""
        reading = self._readings.get(british)
        if reading is None:
            from hibari.g2p import G2P

            reading = self._readings[british] = G2P(british=british)
        text, owner = "", []
        for i, word in enumerate(words):
            blank = " " if text else ""
            text += blank + _LONG_CAPITALS.sub(lambda m: m[0].lower(), word.spoken)
            owner += [-1] * len(blank) + [i] * len(word.spoken)
        tokens = reading.tokenize(text)
        for token in tokens:
            if token.text in NAMES:
                token.phonemes = NAMES[token.text]
        out: list[Marked] = []
        at = 0
        for token in reading.phonemize_tokens(tokens):
            place = text.find(token.text, at)
            at = place if place >= 0 else at
            index = owner[at] if at < len(owner) else len(words) - 1
            at += len(token.text)
            said = token.phonemes or ""
            if 0 <= index < len(words) and words[index].stressed:
                said = _stressed(said)
            out += [(s, index if s.isalpha() or s in "ˈˌː" else -1) for s in said]
            if token.whitespace:
                out.append((" ", -1))
        return out


def _stressed(phonemes: str) -> str:
    """With a full stress and a drawn-out vowel where the word had a lesser stress or none."""
    if not any(s in _VOWELS for s in phonemes):
        return phonemes  # a mark
    if "ˈ" not in phonemes:
        place = phonemes.find("ˌ")
        vowel = next((i for i, s in enumerate(phonemes) if s in _VOWELS), 0)
        phonemes = phonemes.replace("ˌ", "ˈ", 1) if place >= 0 else f"{phonemes[:vowel]}ˈ{phonemes[vowel:]}"
    vowel = next((i for i, s in enumerate(phonemes) if s in _VOWELS and i > phonemes.index("ˈ")), -1)
    return f"{phonemes[: vowel + 1]}ː{phonemes[vowel + 1 :]}" if vowel >= 0 else phonemes


def chunked(marked: Sequence[Marked], limit: int) -> list[list[Marked]]:
    """`marked` cut into pieces of at most `limit` symbols: after a sentence, else a clause, else a word."""
    pieces: list[list[Marked]] = []
    rest = list(marked)
    while len(rest) > limit:
        cut = 0
        for marks in (".!?…", ",;:—)", " "):
            cut = next((i + 1 for i in range(limit - 1, limit // 3, -1) if rest[i][0] in marks), 0)
            if cut:
                break
        pieces.append(rest[: cut or limit])
        rest = rest[cut or limit :]
    pieces.append(rest)
    return [trimmed for piece in pieces if (trimmed := _strip(piece))]


def _strip(piece: list[Marked]) -> list[Marked]:
    start, end = 0, len(piece)
    while start < end and piece[start][0] == " ":
        start += 1
    while end > start and piece[end - 1][0] == " ":
        end -= 1
    return piece[start:end]
