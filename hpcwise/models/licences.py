"""Licences that a person accepts once, before a model is used: kept in the user's own configuration.

An acceptance is of one licence text for one model; a card that names another licence asks again.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from hpcwise.core.errors import ModelMissing
from hpcwise.models.sources import ModelCard


def accepted_path() -> Path:
    """$XDG_CONFIG_HOME/hpcwise/licences.json, by default under ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "hpcwise" / "licences.json"


def accepted() -> dict[str, dict[str, str]]:
    """Model -> {licence, when}; nothing where the file lacks or is torn."""
    with contextlib.suppress(OSError, ValueError):
        held = json.loads(accepted_path().read_text("utf-8"))
        if isinstance(held, dict):
            return {str(k): v for k, v in held.items() if isinstance(v, dict)}
    return {}


def is_accepted(card: ModelCard) -> bool:
    """Whether the model may be used: nothing to accept, or accepted as it stands."""
    return not card.accept or accepted().get(card.name, {}).get("licence") == card.licence


def accept(card: ModelCard, when: str) -> Path:
    """Note the acceptance, beside and renamed; returns the file."""
    path = accepted_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    noted = {**accepted(), card.name: {"licence": card.licence, "when": when}}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n", "utf-8")
    beside.replace(path)
    return path


def require(card: ModelCard) -> None:
    """Raises ModelMissing, one line, where the licence was not accepted."""
    if not is_accepted(card):
        raise ModelMissing(
            f"model {card.name}: its licence ({card.licence}) was not accepted; read it, then "
            f"`hpcwise models accept {card.name}`"
        )
