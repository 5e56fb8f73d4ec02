"""Sets of models by name, and whether a job's models can run here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.core.spec import JobSpec
from hpcwise.core.streamcast import ENCODE, FUSED, MORE_STAGES, STAGE_MODELS
from hpcwise.head.settings import find_configs, find_models_dir, read_file, read_models


class ModelSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of configs/model-sets/: the workflow that the models belong to, and one for each stage named.
    build: checkpoints of random weights, written here where they lack."""

    workflow: Literal["podcast", "streamwise-podcast"]
    models: dict[str, str]
    build: bool = False


def read_set(name: str) -> ModelSet:
    """The set `name`. Raises UsageError that names those there are."""
    folder = find_configs() / "model-sets"
    path = folder / f"{name}.yaml"
    if Path(name).name != name or not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise UsageError(f"--models: {name!r} is no set of models; known are {known}")
    return read_file(path, ModelSet)


def build_missing(models: Iterable[str], models_dir: Path, say: Callable[[str], object]) -> list[Path]:
    """Write the checkpoints of those models that are made of random weights and lack, lack a file, or were
    written by another version; those written.

    say: is told what takes long. Raises ModelMissing where torch or diffusers is not installed.
    """
    from hpcwise.models.diffusion import tiny
    from hpcwise.models.registry import Registry

    cards = Registry.read(find_configs() / "models", models_dir)
    wanted = dict.fromkeys(cards.card(name).folder for name in models)
    made = []
    for name in wanted:
        if name in tiny.BUILDERS and not tiny.stands(name, models_dir / name):
            say(f"writing {name} to {models_dir}")
            try:
                tiny.build(name, models_dir / name)
            except ImportError as error:
                raise ModelMissing(f"tiny checkpoints: {error}; install hpcwise[models]") from error
            made.append(models_dir / name)
    return made


def check_runnable(job: JobSpec, where: Path) -> None:
    """Raises UsageError for a stage of the StreamWise podcast whose model has no adapter, whose checkpoint is
    not here or lacks a file, or whose licence nobody accepted."""
    if job.workflow != "streamwise-podcast":
        return
    from hpcwise.models.licences import require
    from hpcwise.models.registry import Registry
    from hpcwise.models.whole import lacking

    cards = read_models(find_configs() / "models")
    registry = Registry.read(find_configs() / "models", find_models_dir())
    asked = dict(STAGE_MODELS)
    asked |= {stage: job.models[stage] for stage in MORE_STAGES if stage in job.models}
    if FUSED in asked:
        del asked["sketch"], asked["decode"]
    for stage, usual in asked.items():
        model = job.models.get(stage, usual)
        if (stage == "upscale" and not job.upscale) or (stage == "screenplay" and job.script):
            continue
        if model not in cards:
            raise UsageError(
                f"{where}: models.{stage}: {model!r} can only be planned: no card in configs/models runs it; "
                "name one that does, give --models SET, or use hpcwise simulate"
            )
        card = registry.card(model)
        if stage in ("sketch", FUSED) and card.options.get("text") is False and ENCODE not in job.models:
            raise UsageError(
                f"{where}: models.{ENCODE}: nothing, but {model!r} has no text encoder (options.text); "
                "name a model that encodes its prompts"
            )
        if card.folder and not registry.folder(card).is_dir():
            source = f" ({cards[model].source})" if cards[model].source else ""
            raise UsageError(
                f"{where}: models.{stage}: {model!r} can only be planned here: put its checkpoint{source} "
                f"into {registry.folder(card)}, give --models SET, or use hpcwise simulate"
            )
        try:
            require(card)
        except ModelMissing as error:
            raise UsageError(f"{where}: models.{stage}: {error}") from None
        if card.folder and (lacks := lacking(card, registry.folder(card))):
            raise UsageError(f"{where}: models.{stage}: {lacks}; `hpcwise models check {model}` looks again")
