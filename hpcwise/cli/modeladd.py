"""`hpcwise models add`: a new card is checked before it is put where the others are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from hpcwise.core.catalogue import HardwareInfo, LinearProfile, ModelInfo
from hpcwise.core.errors import UsageError
from hpcwise.core.parallel import usp_degrees

#: Fields that must not be left out or empty: without them nothing can be planned, or it is not allowed.
_NEEDED = ("name", "version", "family", "stages", "licence")
#: Tried where a card names no resolutions: 16:10 and 16:9 (StreamWise section 3.2).
_TRIED_PX = ((640, 400), (1280, 800), (512, 320), (1280, 720), (1024, 576))


def check_card(path: Path, hardware: dict[str, HardwareInfo], known: dict[str, ModelInfo]) -> ModelInfo:
    """The card of a file. Raises UsageError with one line: file, field, value, fix."""
    import yaml

    from hpcwise.head.settings import read_file
    from hpcwise.models.sources import ModelCard

    info = read_file(path, ModelInfo)
    try:
        data: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        fields = {*ModelInfo.__struct_fields__, *ModelCard.__struct_fields__}
        for name in data:
            if name not in fields:
                raise UsageError(f"{name}: is not a field of a card; take it out")
        for name in _NEEDED:
            if not data.get(name):
                raise UsageError(f"{name}: is missing; every card says it")
        if info.name in known:
            raise UsageError(f"name: {info.name!r} is another card's too; give it its own")
        _check_numbers(info)
        _check_profiles(info, hardware)
        for name in (*info.split, *([info.part_of] if info.part_of else [])):
            if name not in known:
                raise UsageError(f"split, part_of: {name!r} has no card; add that one first")
        _check_fits(info, hardware)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return info


def _check_numbers(info: ModelInfo) -> None:
    for name in msgspec.structs.fields(ModelInfo):
        value = getattr(info, name.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value < math.inf:
            raise UsageError(f"{name.name}: {value} is not usable; give 0 or more")
    for width, height in info.resolutions:
        side = info.vae.spatial if info.vae else 1
        if min(width, height) <= 0 or width % side or height % side:
            raise UsageError(f"resolutions: {width}x{height} does not divide by the VAE's {side}; correct it")
    if info.vae is not None and min(info.vae.spatial, info.vae.temporal, info.vae.patch) < 1:
        raise UsageError("vae: spatial, temporal and patch must be 1 or more")


def _check_profiles(info: ModelInfo, hardware: dict[str, HardwareInfo]) -> None:
    for name, profile in info.profiles.items():
        if name not in hardware:
            raise UsageError(f"profiles.{name}: is not in hardware.yaml; use {', '.join(hardware)}")
        for term, value in _numbers(profile):
            if not 0 <= value < math.inf:
                raise UsageError(f"profiles.{name}.{term}: {value} cannot be measured; measure again")
        for n in {*profile.speedup, *profile.sizes, *profile.power_w}:
            if n < 1:
                raise UsageError(f"profiles.{name}: a replica of {n} devices cannot be; give 1 or more")
        for n, gain in profile.speedup.items():
            if gain == 0:
                raise UsageError(f"profiles.{name}.speedup.{n}: 0 cannot be measured; give more than 0")


def _numbers(profile: LinearProfile) -> list[tuple[str, float]]:
    found = [("base_s", profile.base_s), ("serial_s", profile.serial_s)]
    found += [(f"per.{term}", value) for term, value in {**profile.per, **profile.serial}.items()]
    found += [(f"speedup.{n}", value) for n, value in profile.speedup.items()]
    found += [(f"power_w.{n}", value) for n, value in profile.power_w.items()]
    for n, size in profile.sizes.items():
        found += [(f"sizes.{n}.base_s", size.base_s)]
        found += [(f"sizes.{n}.per.{term}", value) for term, value in size.per.items()]
    return found


def _check_fits(info: ModelInfo, hardware: dict[str, HardwareInfo]) -> None:
    """Some hardware must take the model, and at some width and height a replica of some size."""
    for name in info.hardware:
        if name not in hardware:
            raise UsageError(f"hardware: {name!r} is not in hardware.yaml; use {', '.join(hardware)}")
    allowed = [hardware[name] for name in info.hardware] or list(hardware.values())
    # A host's memory is not known here: 0, and whatever it is said to need may fit.
    most_gb = max(h.memory_gb or math.inf for h in allowed)
    if info.memory_gb > most_gb:
        names = ", ".join(h.name for h in allowed)
        raise UsageError(f"memory_gb: {info.memory_gb:g} fits none of {names}; at most {most_gb:g}")
    sizes = info.resolutions or _TRIED_PX
    if not any(usp_degrees(info, h, size) for h in allowed for size in sizes):
        text = f"at {', '.join(f'{w}x{h}' for w, h in sizes)}"
        raise UsageError(f"attention_heads, vae: no replica of any size can work {text}; correct them")


def add_card(file: Path, *, check: bool) -> tuple[ModelInfo, bool, Path | None]:
    """Check a card and put it with the others: the model, whether this version runs it, where it is now.

    check: copy nothing. Raises UsageError with one line; nothing is written then.
    """
    from hpcwise.head.planning import CATALOGUE, read_planning
    from hpcwise.head.settings import find_configs
    from hpcwise.models.registry import FAMILIES
    from hpcwise.models.sources import read_card

    configs = find_configs()
    catalogue = read_planning(configs)
    info = check_card(file, catalogue.hardware, catalogue.models)
    runs = info.family in FAMILIES
    if runs:
        read_card(file)
    folder = configs / "models" if runs else configs / "models" / CATALOGUE
    target = folder / f"{info.name}.yaml"
    if target.parent.resolve() != folder.resolve() or info.name.startswith("."):
        raise UsageError(f"{file}: name: {info.name!r} is no name for a file; use letters and digits")
    if check:
        return info, runs, None
    if target.exists():
        raise UsageError(f"{target}: is there already; remove it first")
    beside = target.with_name(target.name + ".new")
    beside.write_bytes(file.read_bytes())
    beside.replace(target)
    return info, runs, target
