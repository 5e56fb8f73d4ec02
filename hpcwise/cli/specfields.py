"""The fields of a job spec: one table that both reads them and describes them in the JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hpcwise.cli import specown as own
from hpcwise.cli import specread as read
from hpcwise.cli import values
from hpcwise.cli.yamlread import Value
from hpcwise.core.spec import MOST_RENDITIONS, TIERS

_DURATION_PATTERN: Final = r"^\s*(\d+(\.\d+)?d)?\s*(\d+(\.\d+)?h)?\s*(\d+(\.\d+)?m)?\s*(\d+(\.\d+)?s)?\s*$"
_MONEY_PATTERN: Final = r"^\s*\$?\s*\d+(\.\d+)?\s*([Uu][Ss][Dd]|[Dd]ollars?|\$)?\s*$"
_SIZE_PATTERN: Final = r"^\s*\d{1,5}\s*[xX×]\s*\d{1,5}\s*$"
_TOKEN_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """read: see the module docstring. schema: what the published JSON Schema says of it."""

    read: Callable[[Value], Any]
    schema: Schema = field(default_factory=dict)


def _duration_schema(low_s: float, high_s: float) -> Schema:
    number = {"type": "number", "minimum": low_s, "maximum": high_s}
    return {"anyOf": [number, {"type": "string", "pattern": _DURATION_PATTERN, "minLength": 1}]}


def _list_schema(known: Sequence[str]) -> Schema:
    return {"type": "array", "items": {"enum": list(known)}, "uniqueItems": True, "minItems": 1}


def _text_schema(most: int) -> Schema:
    return {"type": ["string", "number"], "minLength": 1, "maxLength": most}


def _file_schema(suffixes: Sequence[str]) -> Schema:
    either = "|".join(suffix.lstrip(".") for suffix in suffixes)
    return {"type": "string", "pattern": rf"\.(?:{either})$"}


_SLO_SCHEMA: Final[Schema] = {
    "anyOf": [
        {"enum": ["live", "batch"]},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["live"],
            "properties": {
                "live": {
                    "anyOf": [
                        {"type": ["null", "boolean"]},
                        {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {"ttff": _duration_schema(0.1, 3600)},
                        },
                    ]
                }
            },
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["by"],
            "properties": {
                "by": {"type": "string", "description": '"08:00", or an ISO date and time'},
                "zone": {"type": "string", "description": "IANA name, such as Europe/Madrid"},
                "date": {"type": "string", "description": "2026-11-21; without it the next occurrence"},
            },
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["batch"],
            "properties": {
                "batch": {
                    "anyOf": [
                        {"type": ["null", "boolean"]},
                        {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {"max_age": _duration_schema(60, 30 * 86400)},
                        },
                    ]
                }
            },
        },
    ],
}
_SPEAKER_SCHEMA: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "pattern": _TOKEN_PATTERN},
        "name": _text_schema(40),
        "role": {"enum": list(read.ROLES)},
        "voice": {"enum": list(read.VOICES)},
        "look": {"enum": list(read.LOOKS)},
        "pace": {"type": "number", "minimum": read.PACES[0], "maximum": read.PACES[1]},
    },
}
_GRAPH_SCHEMA: Final[Schema] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "stage", "model"],
        "properties": {
            "name": {"type": "string", "pattern": _TOKEN_PATTERN},
            "stage": {"type": "string"},
            "model": {"type": "string"},
            "params": {"type": "object"},
            "features": {"type": "object", "additionalProperties": {"type": "number"}},
            "inputs": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["source"],
                            "properties": {
                                "name": {"type": "string"},
                                "source": {"type": "string"},
                                "kind": {"enum": ["finish", "stream"]},
                            },
                        },
                    ]
                },
            },
            "deadline": _duration_schema(0, 30 * 86400),
            "seed": {"type": "integer", "minimum": 0},
        },
    },
}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


#: In the order in which they are documented.
FIELDS: Final[Mapping[str, Field]] = {
    "workflow": Field(
        read.one_of(("podcast", "streamwise-podcast", "graph")),
        _described(
            {"enum": ["podcast", "streamwise-podcast", "graph"]},
            "podcast: a document becomes a film; graph: any DAG of tasks; streamwise-podcast: the StreamWise "
            "paper's stages, for hpcwise simulate and generate --models",
        ),
    ),
    "name": Field(
        read.text(120), _described(_text_schema(120), "title of the film; default: the document's")
    ),
    "input": Field(
        read.text(4096),
        _described(
            {"type": "string", "minLength": 1}, "the document: PDF, PPTX, Markdown, HTML, EPUB or text"
        ),
    ),
    "cast": Field(
        read.cast,
        _described({"type": "array", "minItems": 2, "maxItems": 4, "items": _SPEAKER_SCHEMA}, "who speaks"),
    ),
    "set": Field(read.one_of(read.SETS), _described({"enum": list(read.SETS)}, "where they sit")),
    "show": Field(read.text(60), _described(_text_schema(60), "name of the show, on the title card")),
    "duration": Field(
        read.duration(read.LEAST_S, 3600),
        _described(
            _duration_schema(read.LEAST_S, 3600),
            "wished length: 90, 90s, 10m; a short document gives a shorter film",
        ),
    ),
    "aspect": Field(
        lambda v: values.parse_aspect(read.scalar_text(v)),
        _described(
            {"type": "string", "pattern": r"^\s*\d{1,3}\s*:\s*\d{1,3}\s*$"},
            "16:10; alone it chooses the size",
        ),
    ),
    "resolution": Field(
        lambda v: values.parse_size(read.scalar_text(v)),
        _described(
            {"type": "string", "pattern": _SIZE_PATTERN},
            "640x400: even width and height",
        ),
    ),
    "renditions": Field(
        read.sizes,
        _described(
            {
                "type": "array",
                "maxItems": MOST_RENDITIONS,
                "items": {"type": "string", "pattern": _SIZE_PATTERN},
                "uniqueItems": True,
            },
            "smaller sizes that the live film is also offered in, largest first: [480x300, 320x200]",
        ),
    ),
    "fps": Field(
        read.rate(1, 60),
        _described({"type": "number", "minimum": 1, "maximum": 60}, "frames a second: 24, 23.976, 59.94"),
    ),
    "quality": Field(
        read.some_of(TIERS), _described(_list_schema(TIERS), "rungs that a shot may be made in, best first")
    ),
    "fixed_ladder": Field(
        read.yes_no,
        _described({"type": "boolean"}, "true: every shot in the best rung, whatever the deadline"),
    ),
    "elo_floor": Field(
        read.whole(0, 4000),
        _described(
            {"type": "integer", "minimum": 0, "maximum": 4000},
            "no model whose Elo is below it is used to save time; static content stays",
        ),
    ),
    "slo": Field(read.slo, _described(_SLO_SCHEMA, "when it must be ready: exactly one of live, by, batch")),
    "budget": Field(
        lambda v: values.parse_usd(read.scalar_text(v)),
        _described(
            {
                "anyOf": [
                    {"type": "number", "exclusiveMinimum": 0},
                    {"type": "string", "pattern": _MONEY_PATTERN},
                ]
            },
            "most that may be spent: 5 usd",
        ),
    ),
    "seed": Field(
        read.whole(0, 2**63 - 1),
        _described({"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "equal seeds give equal films"),
    ),
    "outputs": Field(read.some_of(read.OUTPUTS), _described(_list_schema(read.OUTPUTS), "what to write")),
    "subtitles": Field(
        read.some_of(read.SUBTITLES, none_is=()),
        _described(
            {
                "anyOf": [
                    {"const": False},
                    {"type": "null"},
                    {"type": "array", "maxItems": 0},
                    _list_schema(read.SUBTITLES),
                ]
            },
            "formats of subtitles; false for none",
        ),
    ),
    "models": Field(
        read.models,
        _described(
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {s: {"type": "string"} for s in read.STAGES},
            },
            "another model for a stage",
        ),
    ),
    "script": Field(
        read.text(4096),
        _described(
            {"type": "string", "minLength": 1},
            "a screenplay of `hpcwise script`, edited or not: it is filmed as it stands",
        ),
    ),
    "lexicon": Field(
        own.lexicon,
        _described(
            {
                "anyOf": [
                    {"type": "object", "additionalProperties": _text_schema(200)},
                    {"type": "string", "pattern": r"\.ya?ml$"},
                ]
            },
            "how words are said: {USP: U S P}, or a YAML file with such lines",
        ),
    ),
    "llm": Field(
        own.llm,
        _described(
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["url", "model"],
                "properties": {
                    "url": {"type": "string", "pattern": "^https?://"},
                    "model": {"type": "string", "minLength": 1},
                },
            },
            "an OpenAI-compatible endpoint that writes the screenplay",
        ),
    ),
    "logo": Field(
        own.named(own.PICTURES), _described(_file_schema(own.PICTURES), "shown on title and end card")
    ),
    "fonts": Field(
        own.fonts,
        _described(
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["regular"],
                "properties": {"regular": _file_schema(own.FONTS), "bold": _file_schema(own.FONTS)},
            },
            "of titles and captions",
        ),
    ),
    "pictures": Field(
        own.pictures,
        _described(
            {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["file", "caption"],
                    "properties": {"file": _file_schema(own.PICTURES), "caption": _text_schema(400)},
                },
            },
            "pictures of your own, shown like figures of the document",
        ),
    ),
    "music": Field(
        own.music,
        _described(
            {
                "anyOf": [
                    {"type": "boolean"},
                    _file_schema(own.MUSIC),
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "file": _file_schema(own.MUSIC),
                            "level": {
                                "type": "integer",
                                "minimum": own.LEVEL_DB[0],
                                "maximum": own.LEVEL_DB[1],
                            },
                        },
                    },
                ]
            },
            "music under the film, a soft pad where no file is named; level: dB below the speech; "
            "false: none",
        ),
    ),
    "graph": Field(read.graph, _described(_GRAPH_SCHEMA, "tasks of the graph workflow")),
}


def json_schema() -> Schema:
    """The published schema of a job spec."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "hpcwise-job.schema.json",
        "title": "hpcwise job",
        "description": "What a person asks hpcwise for. Made by `hpcwise spec schema`; do not edit.",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: entry.schema for name, entry in FIELDS.items()},
        "if": {"required": ["workflow"], "properties": {"workflow": {"const": "graph"}}},
        "then": {"required": ["graph"]},
        "else": {"required": ["input"]},
    }
