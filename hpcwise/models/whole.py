"""Whether a checkpoint's folder has the files that its family loads: by their names, before anything starts.

No library is imported and no weights are opened: torch alone takes seconds, and the disk may be a slow one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hpcwise.core.errors import ModelMissing
from hpcwise.models.diffusion.checkpoint import check, listed, network, not_loaded, present, verify
from hpcwise.models.sources import ModelCard

_PIPELINES: Final = ("diffusers", "framepack", "sync")
#: Files that hold weights, of whatever library.
_WEIGHTS: Final = ("*.safetensors", "*.bin", "*.pth", "*.gguf")


def lacking(card: ModelCard, folder: Path, *, hashes: bool = False) -> str:
    """One line with the first file that a card's checkpoint lacks in `folder`; "" where all are there.

    hashes: compare those with SHA256SUMS too, where there is one.
    """
    try:
        _look(card, folder, hashes=hashes)
    except ModelMissing as error:
        return str(error)
    return ""


def _look(card: ModelCard, folder: Path, *, hashes: bool) -> None:
    """Raises ModelMissing."""
    if card.family in _PIPELINES:
        spared = not_loaded(str(card.options.get("parts", "all")), bool(card.options.get("text", True)))
        (check if hashes else listed)(folder, card.name, spared)
        if card.family == "sync":
            present(folder, card.name, network(folder / "audio_condition", transformers=False))
            present(folder, card.name, network(folder / "audio_encoder", transformers=True))
        return
    if card.family == "upscale":
        present(folder, card.name, [folder / str(card.options.get("file", ""))])
    elif card.family == "detect":
        present(folder, card.name, [*network(folder, transformers=True), folder / "preprocessor_config.json"])
    elif card.family == "transformers-screenplay":
        present(folder, card.name, [*network(folder, transformers=True), folder / "tokenizer_config.json"])
    elif not any(next(folder.glob(kind), None) for kind in _WEIGHTS):
        # What serves it reads several layouts.
        raise ModelMissing(f"model {card.name}: there are no weights in {folder}")
    if hashes:
        verify(folder, card.name)
