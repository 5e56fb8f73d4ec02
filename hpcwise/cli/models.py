"""`hpcwise models`: what can be run, where its files come from, whether they are whole, what it costs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import msgspec

from hpcwise.cli import completion
from hpcwise.cli.group import Group
from hpcwise.cli.modelaccept import accept_licence
from hpcwise.cli.modeladd import add_card
from hpcwise.cli.modelshow import lines, profile_views
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.specfile import relative
from hpcwise.cli.values import format_bytes
from hpcwise.core.catalogue import ModelInfo
from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.models.licences import is_accepted
from hpcwise.models.registry import Registry, no_card
from hpcwise.models.sources import ModelCard, missing, resolve
from hpcwise.models.whole import lacking


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a model. state: whole, missing or damaged."""

    name: str
    sha256: str
    state: str
    size_bytes: int


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """A model as this machine has it. state: ready, missing files, damaged files, needs a package, licence
    not accepted, or planned: in the catalogue for planning, without an adapter in this version."""

    name: str
    version: str
    family: str
    stages: tuple[str, ...]
    licence: str
    memory_gb: float
    load_s: float
    elo: float
    state: str
    problem: str
    folder: str
    files: tuple[FileState, ...]
    sources: tuple[str, ...]
    fallback: str = ""


def registry() -> Registry:
    """The cards of this configuration."""
    from hpcwise.head.settings import find_configs, find_models_dir

    return Registry.read(find_configs() / "models", find_models_dir())


def state_of(cards: Registry, card: ModelCard, *, hashes: bool) -> ModelState:
    """What this machine has of a model. hashes: read all files and compare, instead of looking at names."""
    if card.folder:
        return _checkpoint_state(cards, card, hashes=hashes)
    folder = cards.models_dir / card.name
    wrong = {file.name for file in missing(card.files, folder)} if hashes else set[str]()
    files = []
    for file in card.files:
        path = folder / file.name
        there = path.is_file()
        state = "missing" if not there else "damaged" if file.name in wrong else "whole"
        size = path.stat().st_size if there else 0
        files.append(FileState(name=file.name, sha256=file.sha256, state=state, size_bytes=size))
    problem = ""
    try:
        cards.adapter(card.name)
    except ModelMissing as error:
        problem = str(error)
    states = [file.state for file in files]
    state = (
        "needs a package" if problem
        else "missing files" if "missing" in states
        else "damaged files" if "damaged" in states
        else "ready"
    )  # fmt: skip
    return ModelState(
        name=card.name, version=card.version, family=card.family, stages=card.stages, licence=card.licence,
        memory_gb=card.memory_gb, load_s=card.load_s, elo=card.elo, state=state, problem=problem,
        folder=str(folder) if card.files else "", files=tuple(files),
        sources=tuple(type(source).__name__ for source in card.sources), fallback=card.fallback,
    )  # fmt: skip


def _checkpoint_state(cards: Registry, card: ModelCard, *, hashes: bool) -> ModelState:
    """Of a model that is a checkpoint's folder. Nothing is imported: torch alone takes seconds."""
    folder = cards.folder(card)
    state, problem = "ready", ""
    if card.family != "vllm-screenplay" and importlib.util.find_spec("diffusers") is None:
        state, problem = "needs a package", f"model {card.name}: install hpcwise[models]"
    elif not folder.is_dir():
        state, problem = "missing files", f"put its checkpoint into {folder}"
        if card.name.startswith("tiny-"):
            problem = "hpcwise models tiny"
    elif problem := lacking(card, folder):
        state = "missing files"
    elif hashes and (problem := lacking(card, folder, hashes=True)):
        state = "damaged files"
    if state == "ready" and not is_accepted(card):
        state, problem = "licence not accepted", f"hpcwise models accept {card.name}"
    return ModelState(
        name=card.name, version=card.version, family=card.family, stages=card.stages, licence=card.licence,
        memory_gb=card.memory_gb, load_s=card.load_s, elo=card.elo, state=state, problem=problem,
        folder=str(folder), files=(), sources=(), fallback=card.fallback,
    )  # fmt: skip


def planned() -> list[ModelState]:
    """The models that only planning knows."""
    from hpcwise.head.planning import CATALOGUE
    from hpcwise.head.settings import find_configs, read_models

    return [planned_state(info) for info in read_models(find_configs() / "models" / CATALOGUE).values()]


def planned_state(info: ModelInfo) -> ModelState:
    """A model of the catalogue that nothing here can run."""
    return ModelState(
        name=info.name, version=info.version, family=info.family, stages=info.stages, licence=info.licence,
        memory_gb=info.memory_gb, load_s=info.load_s, elo=info.elo, state="planned",
        problem="no adapter in this version", folder="", files=(),
        sources=(info.source,) if info.source else (),
    )  # fmt: skip


@click.group("models", cls=Group)
def models_command() -> None:
    """Models by name; cards are in configs/models/, files in HPCWISE_MODELS_DIR (or your cache)."""


@models_command.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only check; copy nothing.")
@json_option
def add(file: Path, check: bool, as_json: bool) -> None:
    """Check the card FILE and put it with the others.

    A model of a family that this version can run goes to configs/models/, any other to
    configs/models/catalogue/, where planning and simulation see it.
    """
    info, runs, target = add_card(file, check=check)
    if as_json:
        print_json({"model": info.name, "runs": runs, "path": str(target) if target else None})
        return
    what = "this version can run it" if runs else "for planning only: no adapter in this version"
    click.echo(f"{info.name}: {f'added as {target}' if target else 'would be added'}; {what}")


@models_command.command("accept")
@click.argument("name", shell_complete=completion.models)
@click.option("--yes", is_flag=True, help="Accept without being asked.")
@json_option
def accept(name: str, yes: bool, as_json: bool) -> None:
    """Accept the licence of model NAME, once; kept in your configuration and named in receipts."""
    noted = accept_licence(registry().card(name), yes=yes)
    if as_json:
        print_json(noted)
    else:
        click.echo(f"{name}: {noted['licence']}, accepted {noted['when']}")


@models_command.command("ls")
@json_option
def ls(as_json: bool) -> None:
    """All models and whether they could run here. Looks at names of files; `check` compares hashes."""
    cards = registry()
    states = [state_of(cards, card, hashes=False) for card in cards.cards.values()] + planned()
    if as_json:
        print_json(states)
        return
    _table(states)


@models_command.command("show")
@click.argument("name", shell_complete=completion.planned_models)
@click.option("--profiles", "chosen", default="fitted", show_default=True, help="Set of configs/profiles/.")
@run_dir_option
@json_option
def show(name: str, chosen: str, run: Run, as_json: bool) -> None:
    """One model: its card, its files, its profiles, how sure they are and how real runs drift from them."""
    from hpcwise.cli.offline import engine_of
    from hpcwise.head.planning import read_planning
    from hpcwise.head.settings import find_configs

    cards = registry()
    catalogue = read_planning(find_configs(), chosen)
    info = catalogue.models.get(name)
    if info is None:
        raise no_card(name, catalogue.models)
    state = state_of(cards, cards.card(name), hashes=True) if name in cards.cards else planned_state(info)
    ratios = engine_of(run).state.ratios if run.exists else {}
    views = profile_views(info, catalogue, ratios)
    if as_json:
        print_json({"model": state, "card": info, "profiles": info.profiles, "views": views})
        return
    out = console()
    for label, text in _facts(state, info):
        out.print(f"{label:9} {text}", markup=False)
    for view in views:
        for line in lines(view):
            out.print(f"{'profile':9} {line}", markup=False)
    if state.files:
        rows = [(f.name, f.state, format_bytes(f.size_bytes), f.sha256[:16]) for f in state.files]
        out.print(table(("FILE", "STATE", "SIZE", "SHA256"), rows, right=("SIZE",)))


def _facts(state: ModelState, info: ModelInfo) -> list[tuple[str, str]]:
    warmup = f", first request {info.warmup_s:g} s more" if info.warmup_s else ""
    limits = [f"{info.fps:g} frames/s"] if info.fps else []
    limits += [f"at most {info.max_frames} frames"] if info.max_frames else []
    limits += [f"{info.attention_heads} attention heads"] if info.attention_heads else []
    if info.vae is not None:
        limits.append(f"VAE {info.vae.spatial}x in space, {info.vae.temporal}x in time")
    kind = [part for part in (info.model_class, info.architecture) if part]
    kind += [f"{info.size_b:g} billion parameters"] if info.size_b else []
    parts = f"of {info.part_of}" if info.part_of else f"splits into {', '.join(info.split)}"
    facts = [
        ("model", f"{state.name} {state.version}, family {state.family}"),
        ("stages", ", ".join(state.stages)),
        ("kind", ", ".join(kind)),
        ("licence", state.licence),
        ("memory", f"{state.memory_gb:g} GB, loads in {state.load_s:g} s{warmup}"),
        ("limits", ", ".join(limits)),
        ("parts", parts if info.split or info.part_of else ""),
        ("Elo", f"{state.elo:g} {info.elo_source}".strip() if state.elo else "none known"),
        ("fallback", state.fallback or "-"),
        ("state", f"{state.state}: {state.problem}" if state.problem else state.state),
        ("folder", state.folder or ("-" if state.state == "planned" else "no files needed")),
    ]
    return [(label, text) for label, text in facts if text]


@models_command.command("fetch")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.models)
@json_option
def fetch(names: tuple[str, ...], as_json: bool) -> None:
    """Get the files of NAMEs (all models without any) from their sources and verify them."""
    cards = registry()
    chosen = [cards.card(name) for name in names] if names else list(cards.cards.values())
    done = []
    for card in chosen:
        if not card.files:
            continue
        if not as_json:
            click.echo(f"{card.name}: {len(card.files)} files …", err=True)
        folder = resolve(card.name, card.files, card.sources, cards.models_dir)
        done.append(state_of(cards, card, hashes=False))
        if not as_json:
            click.echo(f"{card.name}: whole, in {relative(Path(folder))}")
    if as_json:
        print_json(done)


@models_command.command("convert")
@click.argument("name", shell_complete=completion.models)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="Folder to write, in place of the model's own.")
@json_option
def convert(name: str, file: Path, to: Path | None, as_json: bool) -> None:
    """Write the released FILE of model NAME as the folder that this program reads.

    For FantasyTalking's weights, which become `audio_condition` beside Wan's; other models' files are read
    as they were released.
    """
    cards = registry()
    card = cards.card(name)
    if card.family != "sync":
        raise UsageError(f"model {name}: of family {card.family}, whose files are read as they are; use them")
    try:
        from hpcwise.models.sync.released import convert as written
    except ImportError as error:
        raise ModelMissing(f"model {name}: {error}; install hpcwise[models]") from error
    folder = to or cards.folder(card) / "audio_condition"
    sizes = written(file, folder)
    if as_json:
        print_json({"model": name, "path": str(folder), **sizes})
    else:
        click.echo(f"{name}: {sizes['layers']} layers, written to {relative(folder)}")


@models_command.command("tiny")
@json_option
def tiny(as_json: bool) -> None:
    """Write checkpoints of the big models' architectures with random weights, a megabyte each."""
    from hpcwise.cli.modelset import build_missing

    cards = registry()
    names = [card.name for card in cards.cards.values() if card.folder]
    made = build_missing(names, cards.models_dir, lambda text: click.echo(text, err=True))
    if as_json:
        print_json([str(path) for path in made])
    elif not made:
        click.echo(f"all there, in {relative(cards.models_dir)}")


@models_command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.models)
@json_option
def check(names: tuple[str, ...], as_json: bool) -> int:
    """Compare files with their hashes; exit code 1 where something is missing or damaged."""
    cards = registry()
    # Without names: what this machine has or should have; a checkpoint that nobody put there is no fault.
    usual = [c for c in cards.cards.values() if not c.folder or cards.folder(c).is_dir()]
    chosen = [cards.card(name) for name in names] if names else usual
    states = [state_of(cards, card, hashes=True) for card in chosen]
    if as_json:
        print_json(states)
    else:
        _table(states)
    return 0 if all(state.state == "ready" for state in states) else 1


def _table(states: list[ModelState]) -> None:
    from rich.text import Text

    rows = []
    for state in states:
        bad = [file.name for file in state.files if file.state != "whole"]
        fix = state.problem or (f"hpcwise models fetch {state.name}" if bad else "")
        style = "green" if state.state == "ready" else "yellow"
        size = format_bytes(sum(file.size_bytes for file in state.files)) if state.files else "-"
        rows.append((
            state.name, state.version, ",".join(state.stages), state.licence, f"{state.memory_gb:g} GB", size,
            Text(state.state, style=style), fix,
        ))  # fmt: skip
    columns = ("MODEL", "VERSION", "STAGES", "LICENCE", "MEMORY", "FILES", "STATE", "FIX")
    console().print(
        table(columns, rows, ("MEMORY", "FILES"), drop=("VERSION", "FILES", "LICENCE", "MEMORY", "STAGES"))
    )
