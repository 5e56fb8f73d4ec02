"""Which model speaks: Kokoro where its files can be had, else the fallback that its card names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcwise.core.errors import ModelMissing
from hpcwise.models.sources import ModelCard, resolve


@dataclass(frozen=True, slots=True)
class Chosen:
    """The card to load, the folder of its files (None: it has none) and why it is not the first choice."""

    card: ModelCard
    folder: Path | None
    reason: str = ""


def choose_speech(first: ModelCard, others: dict[str, ModelCard], models_dir: Path) -> Chosen:
    """`first` if all of its files resolve, else the card among `others` that its `fallback` names.

    Raises `ModelMissing` where neither can be had.
    """
    try:
        return Chosen(
            first, resolve(first.name, first.files, first.sources, models_dir) if first.files else None
        )
    except ModelMissing as missing:
        card = others.get(first.fallback)
        if card is None:
            raise
        return Chosen(
            card,
            resolve(card.name, card.files, card.sources, models_dir) if card.files else None,
            str(missing),
        )
