"""The catalogue that planning and simulation work from: all model cards, those that this version cannot run
included (configs/models/catalogue/), with one of the sets of profiles of configs/profiles/.

    catalogue = read_planning(find_configs(), profiles="fitted")
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from hpcwise.core.catalogue import Catalogue, ModelInfo
from hpcwise.core.errors import UsageError
from hpcwise.head.settings import (
    ProfileFile,
    priced,
    read_file,
    read_hardware,
    read_models,
    with_site_profiles,
)

#: Folder of configs/models/ with the cards that only planning reads.
CATALOGUE = "catalogue"


def read_planning(configs_dir: Path, profiles: str = "fitted") -> Catalogue:
    """Models, hardware at its prices and links. profiles: name of a set, empty for the cards' own.

    Raises UsageError that names the file and the field.
    """
    path = configs_dir / "hardware.yaml"
    hardware = read_hardware(path)
    return Catalogue(
        models=planning_models(configs_dir, profiles),
        hardware=priced(hardware, path, {}),
        links=hardware.links,
    )


def planning_models(configs_dir: Path, profiles: str = "fitted") -> dict[str, ModelInfo]:
    """All cards by name, with the profiles of a set."""
    models = read_models(configs_dir / "models")
    for name, info in read_models(configs_dir / "models" / CATALOGUE).items():
        if name in models:
            raise UsageError(f"{configs_dir / 'models' / CATALOGUE}: name: {name!r} is another card's too")
        models[name] = info
    if profiles:
        path = configs_dir / "profiles" / f"{profiles}.yaml"
        for name, by_hardware in read_file(path, ProfileFile).profiles.items():
            if name not in models:
                raise UsageError(f"{path}: profiles.{name}: has no card; add one to configs/models/catalogue")
            merged = {**models[name].profiles, **by_hardware}
            models[name] = msgspec.structs.replace(models[name], profiles=merged)
    return with_site_profiles(models, configs_dir)
