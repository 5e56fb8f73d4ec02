"""From a file that a person wrote to a JobSpec: every mistake one line with file, line, field, value and fix.

jobs/x.yaml:12: fps: 0 is not usable; choose 1 to 60
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec

from hpcwise.cli import specread as f
from hpcwise.cli import values
from hpcwise.cli.specfields import FIELDS
from hpcwise.cli.specgraph import read_graph
from hpcwise.cli.yamlread import Value, read_yaml
from hpcwise.core.errors import SpecError, UsageError
from hpcwise.core.spec import Batch, By, JobSpec, Live, problems

#: As much of a document as is looked at; the document stage refuses more.
MAX_INPUT_BYTES: Final = 1 << 30
DOCUMENT_SUFFIXES: Final = (".pdf", ".md", ".markdown", ".txt", ".text")
SPEC_SUFFIXES: Final = (".yaml", ".yml")
#: Mistakes listed at once.
_MOST_LINES: Final = 20
#: Field of the spec that a field of the JobSpec was made from, where the names differ.
_TARGETS: Final[Mapping[str, str]] = {
    "input": "input_path",
    "set": "set_name",
    "duration": "duration_s",
    "quality": "ladder",
    "budget": "budget_usd",
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the file; None for nothing. Text as it was typed."""

    live: bool = False
    ttff: str | None = None
    by: str | None = None
    zone: str | None = None
    within: str | None = None
    batch: bool = False
    duration: str | None = None
    resolution: str | None = None
    fps: int | None = None
    seed: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job and what it was asked as: `asked` tells two askings apart, but not two days of `by 08:00`."""

    job: JobSpec
    asked: str

    @property
    def digest(self) -> str:
        """Hex digest of the job with its document, wherever either lies."""
        job = msgspec.structs.replace(self.job, input_path="", slo=Batch())
        return hashlib.sha256(
            msgspec.json.encode([msgspec.to_builtins(job), self.asked], order="sorted")
        ).hexdigest()


@dataclass(slots=True)
class _Complaints:
    shown: str
    root: Value
    lines: list[tuple[int, str]]

    def add(self, field: str, value: Value | None, fix: str, line: int | None = None) -> None:
        at = line if line is not None else value.line if value is not None else self.root.line
        if value is None:
            self.lines.append((at, f"{self.shown}:{at}: {field}: {fix}"))
            return
        written = value.text if value.text and not isinstance(value.data, str) else repr(value.plain())
        text = values.printable(written, 60)
        said = fix if fix.startswith("there is no such field") else f"{text} is not usable; {fix}"
        self.lines.append((at, f"{self.shown}:{at}: {values.printable(field)}: {said}"))

    def part(self, field: str, error: f.Part, whole: Value) -> None:
        self.add(field + error.path, error.value, error.fix, None if error.value is not None else whole.line)

    def check(self) -> None:
        if self.lines:
            ordered = [text for _, text in sorted(self.lines, key=lambda entry: entry[0])]
            more = len(ordered) - _MOST_LINES
            shown = ordered[:_MOST_LINES] + ([f"{self.shown}: and {more} more mistakes"] if more > 0 else [])
            raise SpecError("\n".join(shown))


def load_spec(path: Path, now_s: float, overrides: Overrides = Overrides()) -> JobSpec:
    """The job of a spec file. now_s: Unix time, for `by`. Raises SpecError, one line a mistake."""
    return load_job(path, now_s, overrides).job


def load_job(path: Path, now_s: float, overrides: Overrides = Overrides()) -> Loaded:
    """As load_spec, with what identifies the asking."""
    shown = values.printable(path, 200)
    root = read_yaml(path, shown)
    return _load(root, shown, path.parent, now_s, overrides)


def load_document(path: Path, now_s: float, overrides: Overrides = Overrides()) -> Loaded:
    """The job that films a document with all defaults: watched live unless said otherwise."""
    shown = values.printable(path, 200)
    try:
        check_input(str(path), Path())
    except ValueError as error:
        raise UsageError(f"{shown}: {error}") from None
    root = Value({"input": Value(str(path.absolute()), 1, str(path))}, 1)
    if not overrides.by and not overrides.within and not overrides.batch:
        overrides = _with_live(overrides)
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


def check_input(text: str, folder: Path) -> tuple[Path, str]:
    """The document's absolute path and sha256; raises ValueError with the fix."""
    if not text.isprintable() or not text.strip():
        raise ValueError("write a path without control characters")
    if text.startswith("~") and not text.startswith("~/"):
        raise ValueError("write the path in full; only ~/ is understood")
    path = Path(text).expanduser() if text.startswith("~/") else folder / text
    if path.suffix.lower() not in DOCUMENT_SUFFIXES:
        raise ValueError(f"name a file of type {', '.join(DOCUMENT_SUFFIXES)}")
    try:
        if path.is_dir():
            raise ValueError("it is a folder; name a file in it")
        if not path.is_file():
            raise ValueError("there is no such file; check the path")
        size = path.stat().st_size
        if size == 0:
            raise ValueError("the file is empty; name one with text")
        if size > MAX_INPUT_BYTES:
            raise ValueError("the file is larger than 1 GiB; name a smaller one")
        with path.open("rb") as file:
            start = file.read(4096)
            _check_kind(path, start)
            file.seek(0)
            return path.resolve(), hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror}); check its permissions") from error


def _check_kind(path: Path, start: bytes) -> None:
    """What can be told of a document at once; what is in it is for the document stage."""
    if path.suffix.lower() != ".pdf":
        if b"%PDF-" not in start[:1024] and b"\0" in start:
            raise ValueError("it holds binary data, no text; name a PDF, Markdown or text file")
        return
    if b"%PDF-" not in start[:1024]:
        raise ValueError("it is named .pdf but is no PDF; export it again as PDF")
    try:
        import pypdfium2
    except ImportError:
        return  # a machine that only hands jobs in need not be able to read them
    try:
        pypdfium2.PdfDocument(path).close()
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise ValueError("it is encrypted; save it without a password") from error
        raise ValueError("it is not a readable PDF (damaged or cut off); export it again") from error


def _with_live(overrides: Overrides) -> Overrides:
    return (
        overrides
        if overrides.live
        else Overrides(
            live=True,
            ttff=overrides.ttff,
            duration=overrides.duration,
            resolution=overrides.resolution,
            fps=overrides.fps,
            seed=overrides.seed,
            name=overrides.name,
        )
    )


def _load(root: Value, shown: str, folder: Path, now_s: float, overrides: Overrides) -> Loaded:
    complaints = _Complaints(shown, root, [])
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
    asked = _deadline(given, root.data, overrides, now_s, complaints)
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
    complaints.check()
    job = JobSpec(**{_TARGETS.get(name, name): value for name, value in given.items()})
    for problem in problems(job):
        field = _spec_field(problem.field)
        complaints.add(problem.field, _find(root, field), problem.fix)
    complaints.check()
    return Loaded(job, asked)


def _override(given: dict[str, Any], overrides: Overrides) -> None:
    readers: tuple[tuple[str, str | int | None, Callable[[Value], Any]], ...] = (
        ("duration", overrides.duration, FIELDS["duration"].read),
        ("resolution", overrides.resolution, FIELDS["resolution"].read),
        ("fps", overrides.fps, FIELDS["fps"].read),
        ("seed", overrides.seed, FIELDS["seed"].read),
        ("name", overrides.name, FIELDS["name"].read),
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


def _deadline(
    given: dict[str, Any],
    fields: Mapping[str, Value],
    overrides: Overrides,
    now_s: float,
    complaints: _Complaints,
) -> str:
    """Settle the SLO; returns how it was asked for."""
    chosen = [
        flag
        for flag, on in (
            ("--live", overrides.live),
            ("--by", overrides.by),
            ("--in", overrides.within),
            ("--batch", overrides.batch),
        )
        if on
    ]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)}: choose one of them")
    if overrides.ttff is not None and chosen not in ([], ["--live"]):
        raise UsageError(f"--ttff: belongs to --live, not to {chosen[0]}; leave it out")
    if chosen or overrides.ttff is not None:
        given["slo"], asked = _asked_slo(overrides, given.get("slo"), now_s)
        return asked
    slo = given.get("slo", Batch())
    if isinstance(slo, dict):
        text, zone, day = (_text(slo.get(name)) for name in ("by", "zone", "date"))
        try:
            values.zone_of(zone)
        except ValueError as error:
            complaints.add("slo.zone", slo["zone"], str(error))
            given.pop("slo")
            return ""
        try:
            if not isinstance(slo["by"].data, str):
                raise ValueError('write "08:00" in quotes, or an ISO date and time')
            deadline = values.parse_by(text, zone, day, now_s)
        except ValueError as error:
            complaints.add("slo.by", slo["by"], str(error))
            given.pop("slo")
            return ""
        given["slo"] = By(wall_s=deadline.wall_s, text=deadline.text, zone=deadline.zone)
        return f"by {text} {day} {zone}"
    given["slo"] = slo
    return repr(slo)


def _asked_slo(overrides: Overrides, slo: Any, now_s: float) -> tuple[Live | By | Batch, str]:
    def usage(flag: str, value: str, error: ValueError) -> UsageError:
        return UsageError(f"{flag}: {values.printable(repr(value))} is not usable; {error}")

    if overrides.by:
        zone = overrides.zone or ""
        try:
            deadline = values.parse_by(overrides.by, zone, "", now_s)
        except ValueError as error:
            raise usage("--by", overrides.by, error) from None
        by = By(wall_s=deadline.wall_s, text=deadline.text, zone=deadline.zone)
        return by, f"by {overrides.by}  {zone}"
    if overrides.within:
        try:
            deadline = values.deadline_in(values.parse_duration_s(overrides.within), now_s)
        except ValueError as error:
            raise usage("--in", overrides.within, error) from None
        by = By(wall_s=deadline.wall_s, text=deadline.text, zone=deadline.zone)
        return by, f"in {overrides.within}"
    if overrides.batch:
        return Batch(), repr(Batch())
    live = slo if isinstance(slo, Live) else Live()
    if overrides.ttff is not None:
        try:
            live = Live(ttff_s=f.duration(0.1, 3600)(Value(overrides.ttff, 1, overrides.ttff)))
        except ValueError as error:
            raise usage("--ttff", overrides.ttff, error) from None
    return live, repr(live)


def _size(given: dict[str, Any], fields: Mapping[str, Value], complaints: _Complaints) -> None:
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


def _workflow(given: dict[str, Any], fields: Mapping[str, Value], complaints: _Complaints) -> None:
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
        complaints.add("input", None, "is missing; name a PDF, Markdown or text file")
    given.setdefault("cast", f.DEFAULT_CAST)


def _spec_field(problem: str) -> str:
    names = {target: name for name, target in _TARGETS.items()}
    return names.get(problem, problem)


def _find(root: Value, field: str) -> Value | None:
    """The value of a field, or of the nearest one above it."""
    found: Value | None = None
    value = root
    for name in re.split(r"[.\[]", field):
        if not isinstance(value.data, dict) or name not in value.data:
            break
        value = found = value.data[name]
    return found


def _text(value: Value | None) -> str:
    return "" if value is None or value.data is None else value.text or str(value.data)


def relative(path: Path) -> str:
    """A path as people like to read it: relative where that is shorter."""
    try:
        near = os.path.relpath(path)
    except ValueError:
        return str(path)
    return near if len(near) < len(str(path)) else str(path)
