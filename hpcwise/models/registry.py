"""Models by name: a card in `configs/models/` says which family loads it, from which files.

    registry = Registry.read(configs / "models", models_dir)
    adapter = registry.adapter("kokoro-82m"); adapter.load(registry.spec("kokoro-82m"), devices)

Families are imported when one is asked for: most pull in libraries that take seconds to import.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.models.base import Adapter, ModelSpec
from hpcwise.models.licences import require
from hpcwise.models.sources import ModelCard, read_card, resolve

#: Family -> module and class of its adapter.
FAMILIES: Final[Mapping[str, tuple[str, str]]] = {
    "document": ("hpcwise.models.document.adapter", "DocumentAdapter"),
    "screenplay": ("hpcwise.models.screenplay.adapter", "ExtractiveScreenplayAdapter"),
    "llm-screenplay": ("hpcwise.models.llm.adapter", "LlmScreenplayAdapter"),
    "vllm-screenplay": ("hpcwise.models.llm.server", "ServedScreenplayAdapter"),
    "transformers-screenplay": ("hpcwise.models.hf_llm.adapter", "LocalScreenplayAdapter"),
    "approved-script": ("hpcwise.models.screenplay.approved", "ApprovedScreenplayAdapter"),
    "kokoro": ("hpcwise.models.kokoro.adapter", "KokoroAdapter"),
    "fallback-voice": ("hpcwise.models.kokoro.fallback", "FallbackVoiceAdapter"),
    "drawn-scene": ("hpcwise.models.drawn.adapter", "DrawnSceneAdapter"),
    "diffusers": ("hpcwise.models.diffusion.adapter", "DiffusersAdapter"),
    "framepack": ("hpcwise.models.framepack.adapter", "FramePackAdapter"),
    "sync": ("hpcwise.models.sync.adapter", "SyncAdapter"),
    "upscale": ("hpcwise.models.upscale.adapter", "UpscaleAdapter"),
    "upscale-ncnn": ("hpcwise.models.upscale_ncnn.adapter", "UpscaleNcnnAdapter"),
    "detect": ("hpcwise.models.detect.adapter", "DetectAdapter"),
    "emulated": ("hpcwise.models.emulated", "EmulatedAdapter"),
}


def no_card(name: str, known: Collection[str]) -> ModelMissing:
    """What is said of a model that nobody knows."""
    close = difflib.get_close_matches(name, known, n=1)
    others = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
    return ModelMissing(f"model {name!r}: no card in configs/models; {others}")


@dataclass(frozen=True, slots=True)
class Registry:
    """The cards of one configuration, by model name. models_dir: where files of models are kept."""

    cards: Mapping[str, ModelCard]
    models_dir: Path

    @classmethod
    def read(cls, folder: Path, models_dir: Path) -> Registry:
        """All cards in `folder`. Raises UsageError for a card that is wrong or a name given twice."""
        cards: dict[str, ModelCard] = {}
        for path in sorted(folder.glob("*.yaml")):
            card = read_card(path)
            if card.name in cards:
                raise UsageError(f"{path}: name: {card.name!r} is another card's too; give each its own")
            if card.family not in FAMILIES:
                raise UsageError(f"{path}: family: {card.family!r} is unknown; use {', '.join(FAMILIES)}")
            cards[card.name] = card
        if not cards:
            raise UsageError(f"{folder}: no model cards (*.yaml) there; name the folder configs/models")
        return cls(cards, models_dir)

    def card(self, name: str) -> ModelCard:
        """Raises ModelMissing when no card has that name."""
        try:
            return self.cards[name]
        except KeyError:
            raise no_card(name, self.cards) from None

    def spec(self, name: str) -> ModelSpec:
        """What the family's adapter loads; files are verified, and fetched where a source has them.

        Raises ModelMissing with the place to put them, or how to accept a licence that was not.
        """
        card = self.card(name)
        require(card)
        folder = resolve(card.name, card.files, card.sources, self.models_dir) if card.files else None
        if card.folder:
            folder = self.folder(card)
        return ModelSpec(card.name, card.version, card.family, folder, card.options)

    def folder(self, card: ModelCard) -> Path:
        """Where the checkpoint of a card lies that names a folder."""
        return self.models_dir / Path(os.path.expandvars(card.folder)).expanduser()

    def adapter(self, name: str) -> Adapter:
        """A new adapter of the model's family, not loaded. Raises ModelMissing when a package lacks."""
        module, cls = FAMILIES[self.card(name).family]
        try:
            return cast(Adapter, getattr(importlib.import_module(module), cls)())
        except ImportError as error:
            extra = "models" if self.card(name).folder else "film"
            raise ModelMissing(f"model {name}: {error}; install hpcwise[{extra}]") from error
