"""YAML with the line of every value, for errors that name it. Small on purpose: no aliases, no tags of
other languages, no deep nesting, so that a hostile file costs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcwise.core.errors import SpecError

MAX_BYTES = 256 << 10
MAX_DEPTH = 12
MAX_VALUES = 20_000
#: YAML 1.2 core numbers: what YAML 1.1 makes of `10:30` (630) or `012` (10) surprises people.
_INT = re.compile(r"[-+]?[0-9]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_TAGS = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Value:
    """A value and its line (from 1). data: str, int, float, bool, None, list[Value] or dict[str, Value];
    text: a scalar as it was written."""

    data: Any
    line: int
    text: str = ""

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.data, dict):
            return {name: value.plain() for name, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.plain() for value in self.data]
        return self.data

    def walk(self, path: str = "") -> Iterator[tuple[str, Value]]:
        """This value and all below it, with their paths (`cast[0].name`)."""
        yield path, self
        if isinstance(self.data, dict):
            for name, value in self.data.items():
                yield from value.walk(f"{path}.{name}" if path else name)
        elif isinstance(self.data, list):
            for i, value in enumerate(self.data):
                yield from value.walk(f"{path}[{i}]")


def read_yaml(path: Path, shown: str, most_bytes: int = MAX_BYTES) -> Value:
    """The file's one document. Raises SpecError, one line that starts with `shown` (the name to use)."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise SpecError(f"{shown}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise SpecError(f"{shown}: is not a usable path; choose another") from error
    return parse_yaml(data, shown, most_bytes)


def parse_yaml(data: bytes, shown: str, most_bytes: int = MAX_BYTES) -> Value:
    """As read_yaml, of bytes."""
    if len(data) > most_bytes:
        raise SpecError(f"{shown}: is larger than {most_bytes >> 10} KiB; a job spec is a short file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SpecError(f"{shown}:{line}: is not UTF-8 text; save it as UTF-8") from error
    import yaml

    try:
        _refuse_tricks(text, shown)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = " ".join(str(error.problem or error.context or "is not YAML").split())
        raise SpecError(f"{shown}:{line}: is not YAML ({problem}); check indentation and quotes") from error
    except yaml.YAMLError as error:
        where = getattr(error, "position", 0)
        line = text[: where if isinstance(where, int) else 0].count("\n") + 1
        raise SpecError(f"{shown}:{line}: holds a control character; remove it") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{shown}: is not usable YAML; write plain fields") from error
    if node is None:
        raise SpecError(f"{shown}:1: is empty; write at least `input: paper.pdf`")
    return _value(node, shown)


def _refuse_tricks(text: str, shown: str) -> None:
    """Aliases (small files that unfold to gigabytes), nesting, several documents."""
    import yaml

    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, yaml.AliasEvent):
            raise SpecError(f"{shown}:{line}: aliases (*name) are not usable; write the value out")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if documents > 1:
            raise SpecError(f"{shown}:{line}: a second document starts here; one job a file")
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise SpecError(f"{shown}:{line}: is nested too deeply or too long; a job spec is a short file")


def _value(node: Any, shown: str) -> Value:
    import yaml

    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Value] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise SpecError(f"{shown}:{at}: a field's name must be plain text; write `name: value`")
            name = str(key.value)
            if name in found:
                raise SpecError(
                    f"{shown}:{at}: {_shown(name)} is given twice; keep one (line {found[name].line})"
                )
            found[name] = _value(value, shown)
        return Value(found, line)
    if isinstance(node, yaml.SequenceNode):
        return Value([_value(item, shown) for item in node.value], line)
    return Value(_scalar(node, shown, line), line, str(node.value))


def _scalar(node: Any, shown: str, line: int) -> Any:
    text, kind = str(node.value), str(node.tag).removeprefix(_TAGS)
    if kind not in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge"):
        raise SpecError(f"{shown}:{line}: the tag {_shown(node.tag)} is not usable; write plain values")
    if node.style is not None or kind in ("timestamp", "value", "merge"):
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in repr(text))[:60]
