"""Whether the models that a spec names are there, and made for the stage that they are named for."""

from __future__ import annotations

from pathlib import Path

from hpcwise.cli import specread as f
from hpcwise.cli.specerrors import Complaints
from hpcwise.cli.yamlread import Value, read_yaml
from hpcwise.core.errors import SpecError, UsageError
from hpcwise.head.settings import find_configs

#: The cards' own names of stages, where a job has two names for one.
_ALSO = {"sketch": "denoise", "denoise": "sketch"}


def check_models(models: Value, complaints: Complaints) -> None:
    """Complain of each model without a card (configs/models, with the catalogue of what can only be planned),
    and of each that runs here and does not make what it is named for. The catalogue has names of its own for
    some stages. Without configurations nothing is said here."""
    try:
        folder = find_configs() / "models"
    except UsageError:
        return
    cards = {path.stem: path for path in (*folder.glob("catalogue/*.yaml"), *folder.glob("*.yaml"))}
    for stage, value in models.data.items():
        path = cards.get(str(value.data))
        if path is None:
            complaints.add(f"models.{stage}", value, f.nearest(value.data, sorted(cards), "there are"))
            continue
        made = _stages(path) if path.parent == folder else []
        if made and stage not in made and _ALSO.get(stage) not in made:
            complaints.add(f"models.{stage}", value, f"it makes {', '.join(made)}, not {stage}")


def _stages(card: Path) -> list[str]:
    """What a card says that it makes; nothing where it cannot be read, which is told where it is used."""
    try:
        root = read_yaml(card, str(card))
    except SpecError:
        return []
    stages = root.data.get("stages") if isinstance(root.data, dict) else None
    return [str(stage.data) for stage in stages.data] if stages and isinstance(stages.data, list) else []
