"""A screenplay as a file that a person reads and edits: YAML with the words in the open.

    scenes:
      - title: Opening
        shots:
          - shot: two_shot
            lines:
              - maya: >-
                  Dan, what is this paper about?
              - dan: >-
                  The authors present Fjord.
                source: >-
                  We present Fjord.
                page: 1

A line is `speaker: words`; `source` is the sentence of the document that it rests on. What is not edited
comes back exactly as it was, so that a film of an edited file makes again only what was edited.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

from msgspec import structs

from hpcwise.cli import specread as f
from hpcwise.cli.values import printable
from hpcwise.cli.yamlread import Value, read_yaml
from hpcwise.core.document import Document
from hpcwise.core.errors import SpecError
from hpcwise.core.faithful import departures
from hpcwise.core.screenplay import Character, Line, Scene, Screenplay, Shot, ShotKind
from hpcwise.models.screenplay.timing import AFTER_SHOT_S, lines_s, voices_of

#: What the quality ladder lowers last, by kind of shot.
PROMINENCE: Final[dict[str, float]] = {
    "title": 1.0, "figure": 0.8, "end": 0.7, "chapter": 0.6, "two_shot": 0.5, "split": 0.5, "close_up": 0.45,
    "over_shoulder": 0.45,
}  # fmt: skip
MOST_BYTES: Final = 4 << 20
_LONGEST_LINE: Final = 600
_TOP: Final = ("job", "document", "title", "figures", "scenes")
_SHOT: Final = ("shot", "heading", "subheading", "notes", "figure", "pause", "lines")
_OF_LINE: Final = ("source", "page", "span")


@dataclass(frozen=True, slots=True)
class Script:
    """A script file as it was read. job: spec or document that it is of. doubts: what a line says and its
    source does not, each with the file's line."""

    scenes: tuple[Scene, ...]
    job: str
    doubts: tuple[str, ...]


def write_script(play: Screenplay, document: Document, sha256: str, job: str, command: str) -> str:
    """The file's text. job: path to the spec or document, relative to the file; command: that films it."""
    shots = [shot for scene in play.scenes for shot in scene.shots]
    length_s = sum(shot.expected_s for shot in shots)
    out = [
        f"# Screenplay, about {length_s:.0f} s in {len(shots)} shots"
        + (f", written by {play.written_by}" if play.written_by else "")
        + ". Read it, change what you like, then film it:",
        f"#   {command}",
        "# A line is `speaker: words`. `source` is the sentence of the document that it rests on: numbers",
        "# and names of the line must stand in it. Leave `source` out for words of your own.",
        "# A shot plays without a cut; after an edit only the shots that changed are made again.",
        f"# Kinds of shot: {', '.join(get_args(ShotKind))}.",
        "# A figure shot names one of `figures`.",
        *(f"# note: {note}" for note in play.notes),
        *_field(0, "job", job),
        f"document: {sha256}",
        *_field(0, "title", play.title),
        "figures:" if document.figures else "figures: []",
    ]
    for figure in document.figures:
        out += [f"  - name: {_quoted(figure.label)}", *_field(4, "caption", figure.caption)]
    out.append("scenes:")
    for scene in play.scenes:
        out += [f"  - title: {_quoted(scene.title)}", "    shots:"]
        for shot in scene.shots:
            out += _shot_lines(shot, document)
    return "\n".join(out) + "\n"


def _shot_lines(shot: Shot, document: Document) -> list[str]:
    out = [f"      - shot: {shot.kind}"]
    if shot.figure is not None:
        out.append(f"        figure: {_quoted(document.figures[shot.figure].label)}")
    if shot.heading and shot.figure is None:
        out += _field(8, "heading", shot.heading)
    if shot.subheading:
        out += _field(8, "subheading", shot.subheading)
    if shot.notes:
        out += ["        notes:", *(f"          - {_quoted(note)}" for note in shot.notes)]
    if shot.pause_after_s != AFTER_SHOT_S:
        out.append(f"        pause: {shot.pause_after_s:g}")
    out.append("        lines:")
    for line in shot.lines:
        field = _field(12, line.speaker, line.text)
        out.append(f"          - {field[0].strip()}")
        out += field[1:]
        if line.source:
            out += _field(12, "source", line.source)
            out.append(f"            page: {line.page}")
            out.append(f"            span: [{line.span[0]}, {line.span[1]}]")
    return out


def _field(indent: int, name: str, text: str) -> list[str]:
    """A field in a folded block: whatever stands in the text needs no quotes there."""
    pad = " " * indent
    if not text:
        return [f'{pad}{name}: ""']
    wrapped = textwrap.wrap(text, 100 - indent, break_long_words=False, break_on_hyphens=False)
    return [f"{pad}{name}: >-", *(f"{pad}  {part}" for part in wrapped)]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_script(path: Path, shown: str, cast: Sequence[Character], sha256: str = "") -> Script:
    """The file, checked. cast: who may speak; sha256: of the document that is filmed, "" for any.

    Raises SpecError, one line for the first mistake: file, line, field, value, fix.
    """
    root = read_yaml(path, shown, MOST_BYTES)
    try:
        read = _read(root, [c.id for c in cast], sha256, shown)
    except f.Part as error:
        line = error.value.line if error.value is not None else root.line
        value = error.value
        said = error.fix
        if value is not None and value.data is not None and not said.startswith("there is no such field"):
            said = f"{printable(repr(value.text or value.plain()), 60)} is not usable; {said}"
        raise SpecError(f"{shown}:{line}: {error.path.lstrip('.')}: {said}") from None
    except ValueError as error:
        raise SpecError(f"{shown}:{root.line}: {error}") from None
    return replace(read, scenes=tuple(_timed(scene, cast) for scene in read.scenes))


def _timed(scene: Scene, cast: Sequence[Character]) -> Scene:
    """The scene with the lengths that its shots are expected to have, in these voices at this pace."""
    voices, paces = voices_of(cast), {c.id: c.pace for c in cast}
    lengths = (lines_s(shot.lines, shot.pause_after_s, voices, paces) for shot in scene.shots)
    shots = (structs.replace(s, expected_s=round(n, 2)) for s, n in zip(scene.shots, lengths, strict=True))
    return structs.replace(scene, shots=tuple(shots))


def job_of(path: Path, shown: str) -> Path:
    """The spec or document that a script file is of, where it lies now. Raises SpecError."""
    root = read_yaml(path, shown, MOST_BYTES)
    field = root.data.get("job") if isinstance(root.data, dict) else None
    if field is None or not isinstance(field.data, str) or not field.data.strip():
        raise SpecError(f"{shown}:{root.line}: job: is missing; name the spec or document that it is of")
    return path.parent / field.data


def _read(root: Value, cast: Sequence[str], sha256: str, shown: str) -> Script:
    top = f.mapping(root, _TOP, ("job", "scenes"))
    document = top.get("document")
    if sha256 and document is not None and document.data != sha256:
        raise f.Part("document", document, "the document has changed since; write the script again")
    figures = _figures(top["figures"]) if "figures" in top else []
    if not isinstance(top["scenes"].data, list) or not top["scenes"].data:
        raise f.Part("scenes", top["scenes"], "list at least one scene")
    doubts: list[str] = []
    scenes = []
    count = len(top["scenes"].data)
    for i, item in enumerate(top["scenes"].data):
        at = f"scenes[{i}]"
        fields = _at(at, item, lambda v: f.mapping(v, ("title", "shots"), ("title", "shots")))
        if not isinstance(fields["shots"].data, list) or not fields["shots"].data:
            raise f.Part(f"{at}.shots", fields["shots"], "list at least one shot, or remove the scene")
        shots = tuple(
            _at(f"{at}.shots[{k}]", shot, lambda v: _shot(v, cast, figures, shown, doubts))
            for k, shot in enumerate(fields["shots"].data)
        )
        title = f.part(f"{at}.title", fields["title"], f.text(200))
        scenes.append(Scene(title=title, shots=shots, last=i == count - 1))
    return Script(tuple(scenes), str(top["job"].data), tuple(doubts))


def _at(path: str, value: Value, read: Callable[[Value], Any]) -> Any:
    """As specread.part; a part that is missing is told at the line of what it is missing from."""
    try:
        return f.part(path, value, read)
    except f.Part as error:
        if error.value is not None:
            raise
        raise f.Part(error.path, Value(None, value.line), error.fix) from None


def _figures(value: Value) -> list[str]:
    if not isinstance(value.data, list):
        raise f.Part("figures", value, "keep the list as it was written")
    labels = []
    for i, item in enumerate(value.data):
        at = f"figures[{i}]"
        fields = f.part(at, item, lambda v: f.mapping(v, ("name", "caption"), ("name",)))
        labels.append(f.part(f"{at}.name", fields["name"], f.text(80)))
    return labels


def _shot(value: Value, cast: Sequence[str], figures: list[str], shown: str, doubts: list[str]) -> Shot:
    fields = f.mapping(value, _SHOT, ("shot", "lines"))
    kind: ShotKind = f.part(".shot", fields["shot"], f.one_of(get_args(ShotKind)))
    figure: int | None = None
    if kind == "figure":
        if "figure" not in fields:
            raise f.Part(".figure", None, "is missing; name one of " + (", ".join(figures) or "no figures"))
        figure = figures.index(f.part(".figure", fields["figure"], f.one_of(figures)))
    elif "figure" in fields:
        raise f.Part(".figure", fields["figure"], "it belongs to a shot of kind figure; remove it")
    pause_s = AFTER_SHOT_S
    if "pause" in fields:
        pause_s = f.part(".pause", fields["pause"], _pause)
    if not isinstance(fields["lines"].data, list) or not fields["lines"].data:
        raise f.Part(".lines", fields["lines"], "write at least one line, or remove the shot")
    lines = tuple(
        _at(f".lines[{i}]", item, lambda v: _line(v, cast, shown, doubts))
        for i, item in enumerate(fields["lines"].data)
    )
    heading = f.part(".heading", fields["heading"], _any_text) if "heading" in fields else ""
    if figure is not None and not heading:
        heading = figures[figure]
    return Shot(
        kind=kind,
        lines=lines,
        heading=heading,
        subheading=f.part(".subheading", fields["subheading"], _any_text) if "subheading" in fields else "",
        figure=figure,
        notes=f.part(".notes", fields["notes"], _notes) if "notes" in fields else (),
        prominence=PROMINENCE[kind],
        pause_after_s=pause_s,
    )


def _line(value: Value, cast: Sequence[str], shown: str, doubts: list[str]) -> Line:
    if not isinstance(value.data, dict):
        raise ValueError(f"write `{cast[0]}: words`")
    speakers = [name for name in value.data if name not in _OF_LINE]
    if len(speakers) != 1:
        raise ValueError("write one speaker and their words in a line")
    speaker, said = speakers[0], value.data[speakers[0]]
    if speaker not in cast:
        raise f.Part(f".{speaker}", Value(speaker, said.line), f.nearest(speaker, cast))
    words = f.part(f".{speaker}", said, f.text(_LONGEST_LINE))
    source = f.part(".source", value.data["source"], _any_text) if "source" in value.data else ""
    line = Line(
        speaker=speaker,
        text=" ".join(words.split()),
        source=source,
        page=f.part(".page", value.data["page"], f.whole(0, 100_000)) if "page" in value.data else 0,
        span=f.part(".span", value.data["span"], _span) if "span" in value.data else (0, 0),
    )
    doubts += [f"{shown}:{said.line}: {speaker}: {text}" for text in departures(line.text, line.source)]
    return line


def _any_text(value: Value) -> str:
    found = f.scalar_text(value).strip()
    if not found.isprintable() or len(found) > 4000:
        raise ValueError("write one line of printable characters")
    return found


def _notes(value: Value) -> tuple[str, ...]:
    if not isinstance(value.data, list):
        raise ValueError("write a list of lines, each after a dash")
    return tuple(f.part(f"[{i}]", item, _any_text) for i, item in enumerate(value.data))


def _pause(value: Value) -> float:
    seconds = value.data
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 30:
        raise ValueError("write seconds from 0 to 30")
    return float(seconds)


def _span(value: Value) -> tuple[int, int]:
    items = value.data if isinstance(value.data, list) else []
    if len(items) != 2 or not all(isinstance(item.data, int) for item in items):
        raise ValueError("write [first, last] as it was")
    return items[0].data, items[1].data
