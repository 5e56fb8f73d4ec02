"""What every screenplay stage leaves: a file a scene, and the whole film with its last one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hpcwise.core.screenplay import Scene
from hpcwise.models.base import Output


def scene_output(
    work: Path, index: int, scene: Scene, play: Path | None, facts: Mapping[str, Any] | None = None
) -> Output:
    """scene.json and the scene itself in the fact `scene`, which the planner reads. play: the whole film,
    in the last output."""
    files = {"scene.json": write_json(work / f"scene-{index}.json", scene)}
    if play is not None:
        files["screenplay.json"] = play
    return Output(files=files, facts={"scene": msgspec.to_builtins(scene), **(facts or {})})


def write_json(path: Path, value: msgspec.Struct) -> Path:
    """Indented JSON, written beside and renamed."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
    return beside.replace(path)
