"""Recipe keys: an artifact is named by what it was made from, not by its bytes.

A key is a Merkle hash: the recipe of a task holds the keys of its inputs, so that equal keys mean equal
ancestry, on every machine, also where floating point differs (StreamWise section 4.5, Caching).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from hpcwise.core.units import Key
from hpcwise.core.workflow import Alternative, TaskSpec

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")


def recipe_key(
    spec: TaskSpec, alternative: Alternative, model_version: str, inputs: Iterable[tuple[str, Key]]
) -> Key:
    """Hex key of `spec` made by `alternative` from inputs of these (edge name, key) pairs."""
    recipe = (
        spec.stage,
        alternative.model,
        model_version,
        spec.params,
        alternative.params,
        spec.seed,
        tuple(inputs),
    )
    return sha256(_ENCODER.encode(recipe)).hexdigest()[:40]
