"""The screenplay stage, extractive: every claim is a sentence of the document, only the host is invented."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from hpcwise.core.document import Document
from hpcwise.core.errors import ModelError, UsageError
from hpcwise.core.screenplay import Character, Screenplay
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.screenplay.embed import Embedder, WordStatistics, load_embedder
from hpcwise.models.screenplay.files import scene_output, write_json
from hpcwise.models.screenplay.writer import Writer

_LEAST_S, _MOST_S = 20.0, 4 * 3600.0


class ScreenplayParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """duration_s: wished length of the film; a document with less to say gives a shorter one.

    cast: two characters, roles "host" and "expert" (else the first asks and the second answers).
    """

    duration_s: float
    cast: tuple[Character, ...]


class ExtractiveScreenplayAdapter:
    """Streams scenes. Scene 0 does not wait for the document to be read for meaning."""

    def __init__(self) -> None:
        self._embed: Embedder | None = None

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Load sentence vectors; option `embedder: words` takes word statistics instead."""
        self._embed = WordStatistics() if spec.options.get("embedder") == "words" else load_embedder()

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """One output a scene: scene.json, and the scene itself in the fact `scene`, which the planner reads.

        Raises UsageError for a length or a cast that cannot be filmed.
        """
        try:
            params = msgspec.convert(dict(call.params), ScreenplayParams)
        except msgspec.ValidationError as error:
            raise UsageError(f"screenplay: {error}") from error
        document, writer = opened(call, params.duration_s, params.cast)
        on_step(0, 100, "open")
        opening = writer.opening()
        if call.first_chunk == 0:
            yield scene_output(call.work, 0, opening, None)
        if self._embed is None:
            self._embed = load_embedder()
        rest = writer.rest(self._embed, on_step)
        for index, scene in enumerate(rest, start=1):
            on_step(index, len(rest) + 1, f"scene {index}: {scene.title}")
            if index < call.first_chunk:
                continue
            play = None
            if scene.last:
                whole = Screenplay(title=document.title, scenes=(opening, *rest))
                play = write_json(call.work / "screenplay.json", whole)
            yield scene_output(call.work, index, scene, play)


def opened(call: Call, duration_s: float, cast: tuple[Character, ...]) -> tuple[Document, Writer]:
    """The document of the call's edge and a writer for it. Raises UsageError for an unusable length."""
    if not _LEAST_S <= duration_s <= _MOST_S:
        raise UsageError(
            f"duration_s: {duration_s:g} is out of range; give {_LEAST_S:g} to {_MOST_S:g} seconds"
        )
    source = next(iter(call.inputs["document"]), None)
    if source is None:
        raise ModelError("screenplay: the document edge holds no chunk")
    document = msgspec.json.decode((source.path / "document.json").read_bytes(), type=Document)
    return document, Writer(document, cast, duration_s, call.seed)
