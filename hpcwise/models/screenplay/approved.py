"""The screenplay stage of a film whose screenplay a person approved: its scenes pass through."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from hpcwise.core.document import Document
from hpcwise.core.errors import ModelError, UsageError
from hpcwise.core.screenplay import Scene, Screenplay
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.screenplay.files import scene_output, write_json

_BY = "a person"


class ApprovedParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """scenes: the screenplay, as the job holds it."""

    scenes: tuple[Scene, ...]


class ApprovedScreenplayAdapter:
    """Needs no weights."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Nothing to load."""

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """One output a scene; raises UsageError where a shot shows a figure that the document lacks."""
        try:
            params = msgspec.convert(dict(call.params), ApprovedParams)
        except msgspec.ValidationError as error:
            raise UsageError(f"script: {error}") from error
        source = next(iter(call.inputs["document"]), None)
        if source is None:
            raise ModelError("script: the document edge holds no chunk")
        document = msgspec.json.decode((source.path / "document.json").read_bytes(), type=Document)
        for scene in params.scenes:
            for shot in scene.shots:
                if shot.figure is not None and shot.figure >= len(document.figures):
                    raise UsageError(
                        f"script: {shot.heading or shot.figure} of scene {scene.title!r}: the document has "
                        f"{len(document.figures)} figures; write the script again with `hpcwise script`"
                    )
        for index, scene in enumerate(params.scenes):
            on_step(index, len(params.scenes), scene.title)
            if index < call.first_chunk:
                continue
            play = None
            if scene.last:
                whole = Screenplay(title=document.title, scenes=params.scenes, written_by=_BY)
                play = write_json(call.work / "screenplay.json", whole)
            yield scene_output(call.work, index, scene, play, {"written_by": _BY})
