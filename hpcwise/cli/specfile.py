"""From a file that a person wrote to a JobSpec: every mistake one line with file, line, field, value and fix.

jobs/x.yaml:12: fps: 0 is not usable; choose 1 to 60
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hpcwise.cli import specown, values
from hpcwise.cli import specread as f
from hpcwise.cli.specerrors import Complaints
from hpcwise.cli.specfields import FIELDS
from hpcwise.cli.specgraph import read_graph
from hpcwise.cli.specinput import DOCUMENT_SUFFIXES as DOCUMENT_SUFFIXES
from hpcwise.cli.specinput import check_asset, check_input
from hpcwise.cli.specmodels import check_models
from hpcwise.cli.specslo import Overrides as Overrides
from hpcwise.cli.specslo import deadline_of
from hpcwise.cli.yamlread import Value, read_yaml
from hpcwise.core.errors import SpecError, UsageError
from hpcwise.core.spec import Asset, Batch, JobSpec, problems

if TYPE_CHECKING:
    from hpcwise.cli.scriptfile import Script

SPEC_SUFFIXES: Final = (".yaml", ".yml")
_NOTHING: Final = Overrides()
#: Field of the spec that a field of the JobSpec was made from, where the names differ.
_TARGETS: Final[Mapping[str, str]] = {
    "input": "input_path",
    "set": "set_name",
    "duration": "duration_s",
    "quality": "ladder",
    "budget": "budget_usd",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job and what it was asked as: `asked` tells two askings apart, but not two days of `by 08:00`.

    notes: what a person should know of it, though it is usable.
    """

    job: JobSpec
    asked: str
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Hex digest of the job with its document, wherever either lies."""
        job = with_paths(msgspec.structs.replace(self.job, input_path="", slo=Batch()), lambda _: "")
        return hashlib.sha256(
            msgspec.json.encode([msgspec.to_builtins(job), self.asked], order="sorted")
        ).hexdigest()


def with_paths(job: JobSpec, path_of: Callable[[Asset], str]) -> JobSpec:
    """The job with other paths for the files of the person's own."""

    def moved(asset: Asset) -> Asset:
        return Asset(path=path_of(asset), sha256=asset.sha256)

    swap = msgspec.structs.replace
    return swap(
        job,
        logo=moved(job.logo) if job.logo else None,
        fonts={name: moved(font) for name, font in job.fonts.items()},
        pictures=tuple(swap(picture, file=moved(picture.file)) for picture in job.pictures),
        music=swap(job.music, file=moved(job.music.file)) if job.music and job.music.file else job.music,
    )


def load_spec(path: Path, now_s: float, overrides: Overrides = _NOTHING) -> JobSpec:
    """The job of a spec file. now_s: Unix time, for `by`. Raises SpecError, one line a mistake."""
    return load_job(path, now_s, overrides).job


def load_job(path: Path, now_s: float, overrides: Overrides = _NOTHING) -> Loaded:
    """As load_spec, with what identifies the asking."""
    shown = values.printable(path, 200)
    root = read_yaml(path, shown)
    return _load(root, shown, path.parent, now_s, overrides)


def load_document(path: Path, now_s: float, overrides: Overrides = _NOTHING) -> Loaded:
    """The job that films a document with all defaults: watched live unless said otherwise."""
    shown = values.printable(path, 200)
    try:
        check_input(str(path), Path())
    except ValueError as error:
        raise UsageError(f"{shown}: {error}") from None
    root = Value({"input": Value(str(path.absolute()), 1, str(path))}, 1)
    if not overrides.by and not overrides.within and not overrides.batch:
        overrides = replace(overrides, live=True)
    return _load(root, shown, Path(), now_s, overrides)


def looks_like_spec(path: Path) -> bool:
    """Whether a path names a job spec; raises UsageError where it is neither that nor a document."""
    suffix = path.suffix.lower()
    if suffix in SPEC_SUFFIXES:
        return True
    if suffix in DOCUMENT_SUFFIXES:
        return False
    known = ", ".join(SPEC_SUFFIXES + DOCUMENT_SUFFIXES)
    raise UsageError(
        f"{values.printable(path)}: is neither a job spec nor a document by its name; give {known}"
    )


def _load(root: Value, shown: str, folder: Path, now_s: float, overrides: Overrides) -> Loaded:
    complaints = Complaints(shown, root, [])
    if not isinstance(root.data, dict):
        raise SpecError(f"{shown}:{root.line}: is no map of fields; write `input: paper.pdf`")
    given: dict[str, Any] = {}
    for name, value in root.data.items():
        entry = FIELDS.get(name)
        if entry is None:
            complaints.add(name, value, f.unknown(name, list(FIELDS)))
            continue
        try:
            given[name] = entry.read(value)
        except f.Part as error:
            complaints.part(name, error, value)
        except ValueError as error:
            complaints.add(name, value, str(error))
    _override(given, overrides)
    asked = deadline_of(given, root.data, overrides, now_s, complaints)
    _size(given, root.data, complaints)
    if "graph" in given:
        try:
            given["graph"] = read_graph(given["graph"])
        except f.Part as error:
            complaints.part("graph", error, root.data["graph"])
    _workflow(given, root.data, complaints)
    if isinstance(given.get("input"), str):
        try:
            path, sha256 = check_input(given["input"], folder)
            given["input"], given["input_sha256"] = str(path), sha256
        except ValueError as error:
            complaints.add("input", root.data["input"], str(error))
    notes: tuple[str, ...] = ()
    specown.settle(given, root.data, folder, complaints)
    if "models" in root.data and "models" in given:
        check_models(root.data["models"], complaints)
    if "script" in given:
        script = _script(given, root.data, folder, complaints)
        given["script"], notes = (script.scenes, script.doubts) if script else ((), ())
    complaints.check()
    job = JobSpec(**{_TARGETS.get(name, name): value for name, value in given.items()})
    for problem in problems(job):
        field = _spec_field(problem.field)
        if (typed := overrides.typed(field)) is not None:
            raise UsageError(f"--{field}: {values.printable(repr(typed))} is not usable; {problem.fix}")
        if field == "resolution" and field not in root.data and "aspect" in root.data:
            fix = f"it makes {job.width}x{job.height}: {problem.fix}, or give a resolution"
            complaints.add("aspect", root.data["aspect"], fix)
            continue
        complaints.add(problem.field, _find(root, field), problem.fix)
    complaints.check()
    return Loaded(job, asked, notes)


def _script(
    given: dict[str, Any], fields: Mapping[str, Value], folder: Path, complaints: Complaints
) -> Script | None:
    from hpcwise.cli.scriptfile import read_script

    cast = given.get("cast", f.DEFAULT_CAST)
    try:
        path, _ = check_asset(given["script"], folder, SPEC_SUFFIXES)
    except ValueError as error:
        if "script" not in fields:
            raise UsageError(f"--script: {values.printable(given['script'])}: {error}") from None
        complaints.add("script", fields["script"], str(error))
        return None
    return read_script(path, relative(path), cast, given.get("input_sha256", ""))


def _override(given: dict[str, Any], overrides: Overrides) -> None:
    readers: tuple[tuple[str, str | float | None, Callable[[Value], Any]], ...] = (
        ("duration", overrides.duration, FIELDS["duration"].read),
        ("resolution", overrides.resolution, FIELDS["resolution"].read),
        ("fps", overrides.fps, FIELDS["fps"].read),
        ("seed", overrides.seed, FIELDS["seed"].read),
        ("name", overrides.name, FIELDS["name"].read),
        ("script", overrides.script, FIELDS["script"].read),
    )
    for name, value, read in readers:
        if value is None:
            continue
        try:
            given[name] = read(Value(value, 1, str(value)))
        except ValueError as error:
            raise UsageError(f"--{name}: {values.printable(repr(value))} is not usable; {error}") from None
        if name == "resolution":
            given.pop("aspect", None)
    if overrides.models is not None:
        from hpcwise.cli.modelset import read_set

        chosen = read_set(overrides.models)
        given["workflow"] = chosen.workflow
        given["models"] = {**given.get("models", {}), **chosen.models}


def _size(given: dict[str, Any], fields: Mapping[str, Value], complaints: Complaints) -> None:
    aspect: Fraction | None = given.pop("aspect", None)
    size: tuple[int, int] | None = given.pop("resolution", None)
    if size is None and aspect is not None:
        size = values.size_of(aspect)
    elif size is not None and aspect is not None and not values.fits(size, aspect):
        width, height = values.size_of(aspect)
        fix = f"its aspect is not {aspect.numerator}:{aspect.denominator}; choose {width}x{height}"
        complaints.add("resolution", fields["resolution"], fix)
    if size is not None:
        given["width"], given["height"] = size


def _workflow(given: dict[str, Any], fields: Mapping[str, Value], complaints: Complaints) -> None:
    workflow = given.get("workflow", "podcast")
    if workflow == "graph":
        only = {"workflow", "name", "slo", "budget", "seed", "graph"}
        for name, value in fields.items():
            if name in FIELDS and name not in only:
                complaints.add(name, value, "it belongs to the podcast workflow; remove it")
        if "graph" not in fields:
            complaints.add("graph", None, "is missing; list at least one task")
        return
    if "graph" in fields:
        complaints.add("graph", fields["graph"], "it belongs to workflow: graph; remove it")
    if "input" not in fields:
        complaints.add("input", None, "is missing; name a document")
    given.setdefault("cast", f.DEFAULT_CAST)
    given.setdefault("music", specown.OWN_MUSIC)


def _spec_field(problem: str) -> str:
    names = {target: name for name, target in _TARGETS.items()}
    return names.get(problem, problem)


def _find(root: Value, field: str) -> Value | None:
    """The value of a field, or of the nearest one above it."""
    found: Value | None = None
    value = root
    for name in re.split(r"[.\[]", field):
        place = int(name[:-1]) if re.fullmatch(r"\d+]", name) else -1
        if isinstance(value.data, dict) and name in value.data:
            value = found = value.data[name]
        elif isinstance(value.data, list) and 0 <= place < len(value.data):
            value = found = value.data[place]
        else:
            break
    return found


def relative(path: Path) -> str:
    """A path as people like to read it: relative where that is shorter."""
    try:
        near = os.path.relpath(path)
    except ValueError:
        return str(path)
    return near if len(near) < len(str(path)) else str(path)
