"""Readers of a job spec's fields: from a `Value` to what the JobSpec holds, or ValueError with the fix.

Readers of fields with parts raise `Part` to name the part, which may lie on another line.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

from hpcwise.cli import values
from hpcwise.cli.yamlread import Value
from hpcwise.core.screenplay import Character
from hpcwise.core.spec import Batch, Live, Output

#: Shorter films leave no room for a question and its answer; the screenplay stage refuses them.
LEAST_S: Final = 20.0
#: Sets that the drawn scenes know, voices and looks that come with the default models.
SETS: Final = ("studio", "lecture", "street", "newsroom")
VOICES: Final = ("af_heart", "am_michael", "bf_emma", "bm_george")
LOOKS: Final = ("maya", "dan", "ada", "ken", "lin", "noor", "leo", "sol")
ROLES: Final = ("host", "expert", "sceptic", "guest")
MOST_SPEAKERS: Final = 4
#: Slower or faster than this nobody speaks, by the voice's own pace.
PACES: Final = (0.7, 1.4)
_SPEAKER: Final = ("id", "name", "role", "voice", "look", "pace")
OUTPUTS: Final[tuple[str, ...]] = get_args(Output)
SUBTITLES: Final = ("srt", "vtt")
STAGES: Final = (
    "document", "screenplay", "speech", "image", "animate", "detect", "encode", "sketch", "decode", "sync",
    "upscale",
)  # fmt: skip
_NEXT_SPEAKERS: Final = (
    Character(id="ada", name="Ada", role="sceptic", voice="bf_emma", look="ada"),
    Character(id="ken", name="Ken", role="guest", voice="bm_george", look="ken"),
)
DEFAULT_CAST: Final = (
    Character(id="maya", name="Maya", role="host", voice="af_heart", look="maya"),
    Character(id="dan", name="Dan", role="expert", voice="am_michael", look="dan"),
)

#: Names that people try, which no comparison of letters would find.
_MEANT: Final[Mapping[str, str]] = {
    "framerate": "fps",
    "frame_rate": "fps",
    "frames_per_second": "fps",
    "length": "duration",
    "size": "resolution",
    "width": "resolution",
    "height": "resolution",
    "title": "name",
    "document": "input",
    "paper": "input",
    "file": "input",
    "path": "input",
    "speakers": "cast",
    "voices": "cast",
    "characters": "cast",
    "deadline": "slo",
    "by": "slo",
    "live": "slo",
    "batch": "slo",
    "ladder": "quality",
    "tiers": "quality",
    "cost": "budget",
    "captions": "subtitles",
    "aspect_ratio": "aspect",
    "tasks": "graph",
    "scene": "set",
    "model": "models",
    "screenplay": "script",
    "images": "pictures",
    "figures": "pictures",
    "font": "fonts",
    "endpoint": "llm",
    "pronunciation": "lexicon",
}


class Part(ValueError):
    """A part of a field is wrong: its path below the field, its value (None: missing) and the fix."""

    def __init__(self, path: str, value: Value | None, fix: str) -> None:
        super().__init__(fix)
        self.path, self.value, self.fix = path, value, fix


def nearest(wrong: object, known: Sequence[str], verb: str = "choose from") -> str:
    """`did you mean X?` where something is near, else all that is known."""
    close = difflib.get_close_matches(str(wrong).lower(), known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"{verb} {', '.join(known)}"


def unknown(name: str, known: Sequence[str]) -> str:
    """What is said of a field that does not exist."""
    meant = _MEANT.get(name.lower().replace("-", "_"), name)
    return "there is no such field; " + (
        f"did you mean {meant}?" if meant in known else nearest(meant, known)
    )


def scalar_text(value: Value) -> str:
    """The scalar as it was written, for values with units; raises ValueError for lists and maps."""
    if isinstance(value.data, list | dict | bool) or value.data is None:
        raise ValueError("write one plain value")
    return value.text


def text(most: int) -> Callable[[Value], str]:
    """One line of text of at most `most` characters."""

    def read(value: Value) -> str:
        found = scalar_text(value).strip()
        if not found or len(found) > most or not found.isprintable():
            raise ValueError(f"write one line of 1 to {most} printable characters")
        return found

    return read


def token(value: Value) -> str:
    """A short name that can be part of an identifier."""
    found = value.data
    plain = isinstance(found, str) and 0 < len(found) <= 40 and found.isascii() and found[0].isalpha()
    if not plain or not all(c.isalnum() or c in "_-" for c in found):
        raise ValueError("write up to 40 letters, digits, - or _, a letter first")
    return str(found)


def one_of(known: Sequence[str]) -> Callable[[Value], str]:
    """One of a few words."""

    def read(value: Value) -> str:
        if value.data not in known or isinstance(value.data, bool):
            raise ValueError(nearest(value.data, known))
        return str(value.data)

    return read


def some_of(
    known: Sequence[str], *, none_is: tuple[str, ...] | None = None
) -> Callable[[Value], tuple[str, ...]]:
    """A list of words, each once. none_is: what `false` and `[]` mean, where they are usable."""

    def read(value: Value) -> tuple[str, ...]:
        if none_is is not None and (value.data is False or value.data == [] or value.data is None):
            return none_is
        items = value.data if isinstance(value.data, list) else [value]
        if not items:
            raise ValueError(f"choose from {', '.join(known)}")
        found: list[str] = []
        for i, item in enumerate(items):
            if not isinstance(item.data, str) or item.data not in known:
                raise Part(f"[{i}]", item, nearest(item.data, known))
            if item.data in found:
                raise Part(f"[{i}]", item, "name it once")
            found.append(item.data)
        return tuple(found)

    return read


def sizes(value: Value) -> tuple[tuple[int, int], ...]:
    """A list of sizes, `[480x300, 320x200]`."""
    found = []
    for i, item in enumerate(value.data if isinstance(value.data, list) else [value]):
        try:
            found.append(values.parse_size(scalar_text(item)))
        except ValueError as error:
            raise Part(f"[{i}]", item, str(error)) from None
    return tuple(found)


def whole(low: int, high: int) -> Callable[[Value], int]:
    """A whole number."""

    def read(value: Value) -> int:
        if isinstance(value.data, bool) or not isinstance(value.data, int) or not low <= value.data <= high:
            raise ValueError(f"choose {low} to {high}")
        return value.data

    return read


def rate(low: int, high: int) -> Callable[[Value], int | float]:
    """Frames a second: a whole number where it is one, so that equal jobs are written alike."""

    def read(value: Value) -> int | float:
        found = value.data
        if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
            raise ValueError(f"choose {low} to {high}")
        return int(found) if found == int(found) else found

    return read


def yes_no(value: Value) -> bool:
    if not isinstance(value.data, bool):
        raise ValueError("write true or false")
    return value.data


def duration(low_s: float, high_s: float) -> Callable[[Value], float]:
    """A length of time."""

    def read(value: Value) -> float:
        seconds = values.parse_duration_s(scalar_text(value))
        if not low_s <= seconds <= high_s:
            raise ValueError(f"choose {_short(low_s)} to {_short(high_s)}")
        return seconds

    return read


def mapping(value: Value, known: Sequence[str], needed: Sequence[str] = ()) -> dict[str, Value]:
    """The fields of a map; raises Part for one that is unknown or missing."""
    if not isinstance(value.data, dict):
        raise ValueError(f"write fields: {', '.join(known)}")
    for name, item in value.data.items():
        if name not in known:
            raise Part(f".{values.printable(name, 40)}", item, unknown(name, known))
    for name in needed:
        if name not in value.data:
            raise Part(f".{name}", None, "is missing; add it")
    return value.data


def part(path: str, value: Value, read: Callable[[Value], Any]) -> Any:
    """`read` of a part of a field; raises Part with its path."""
    try:
        return read(value)
    except Part as error:
        raise Part(path + error.path, error.value, error.fix) from None
    except ValueError as error:
        raise Part(path, value, str(error)) from None


def cast(value: Value) -> tuple[Character, ...]:
    """Two to four speakers; role, voice and look have defaults by their place."""
    if not isinstance(value.data, list):
        raise ValueError("write a list of speakers, each with id and name")
    if not 2 <= len(value.data) <= MOST_SPEAKERS:
        raise ValueError(f"name two to {MOST_SPEAKERS} speakers, a host and an expert first")
    found: list[Character] = []
    for i, item in enumerate(value.data):
        at = f"[{i}]"
        fields = part(at, item, lambda v: mapping(v, _SPEAKER, ("id",)))
        readers: Mapping[str, Callable[[Value], Any]] = {
            "id": token,
            "name": text(40),
            "role": one_of(ROLES),
            "voice": one_of(VOICES),
            "look": one_of(LOOKS),
            "pace": pace,
        }
        given = {name: part(f"{at}.{name}", v, readers[name]) for name, v in fields.items()}
        base = (*DEFAULT_CAST, *_NEXT_SPEAKERS)[i]
        found.append(
            Character(
                id=given["id"],
                name=given.get("name", given["id"].replace("_", " ").title()),
                role=given.get("role", base.role),
                voice=given.get("voice", base.voice),
                look=given.get("look", base.look),
                pace=given.get("pace", base.pace),
            )
        )
        if found[i].id in [c.id for c in found[:i]]:
            raise Part(f"{at}.id", fields["id"], "give every speaker an id of their own")
    roles = [c.role for c in found]
    for role in ("host", "expert"):
        if roles.count(role) != 1:
            raise Part("[1]", value.data[1], "one speaker is the host, one the expert")
    return tuple(found)


def pace(value: Value) -> float:
    """How fast somebody speaks, by the voice's own pace."""
    found = value.data
    if isinstance(found, bool) or not isinstance(found, int | float) or not PACES[0] <= found <= PACES[1]:
        raise ValueError(f"choose {PACES[0]:g} (slow) to {PACES[1]:g} (fast)")
    return float(found)


def models(value: Value) -> dict[str, str]:
    """Model of a stage, by stage."""
    return {name: part(f".{name}", item, model_name) for name, item in mapping(value, STAGES).items()}


def model_name(value: Value) -> str:
    found = value.data
    if not isinstance(found, str) or not 0 < len(found) <= 80 or not found.isprintable() or "/" in found:
        raise ValueError("name a model of `hpcwise models ls`")
    return found


def slo(value: Value) -> Live | Batch | dict[str, Value]:
    """`live`, `batch`, a map with exactly one of them, or the fields of `by` (resolved with the clock)."""
    kinds = ("live", "by", "batch")
    if isinstance(value.data, str):
        if value.data in ("live", "batch"):
            return Live() if value.data == "live" else Batch()
        raise ValueError('write live, batch, or by: "08:00"')
    fields = mapping(value, (*kinds, "zone", "date"))
    chosen = [kind for kind in kinds if kind in fields]
    if len(chosen) > 1:
        raise ValueError(f"has {' and '.join(chosen)}; keep one")
    if not chosen:
        raise ValueError("state live, by or batch")
    kind = chosen[0]
    if kind != "by":
        for extra in ("zone", "date"):
            if extra in fields:
                raise Part(f".{extra}", fields[extra], f"belongs to `by`, not to {kind}; remove it")
    if kind == "live":
        inner = _inner(fields["live"], "live", "ttff")
        return Live(ttff_s=part(".live.ttff", inner, duration(0.1, 3600))) if inner is not None else Live()
    if kind == "batch":
        inner = _inner(fields["batch"], "batch", "max_age")
        return Batch(max_age_s=part(".batch.max_age", inner, duration(60, 30 * 86400))) if inner else Batch()
    return fields


def _inner(value: Value, name: str, only: str) -> Value | None:
    if value.data is None or value.data is True or value.data == {}:
        return None
    fields: dict[str, Value] = part(f".{name}", value, lambda v: mapping(v, (only,), (only,)))
    return fields[only]


def _short(seconds: float) -> str:
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit_s and seconds % unit_s == 0 and seconds != 60:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}s"


def graph(value: Value) -> list[Value]:
    """Tasks of the graph workflow; their own fields are read by cli/specgraph.py."""
    if not isinstance(value.data, list) or not value.data:
        raise ValueError("list at least one task")
    return value.data
