"""The last stage's output: a segment of the film, as the publisher and the stitcher take it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from hpcwise.core.errors import BadOutput
from hpcwise.models.base import Call, Output
from hpcwise.models.drawn.encode import SegmentWriter
from hpcwise.models.frames import Frame

_THUMB_WIDTH_PX: Final = 320


def write_segment(
    call: Call, frames: Iterable[Frame], width: int, height: int, fps: int, facts: dict[str, Any]
) -> Output:
    """`video.mp4` and `thumb.jpg` of pictures of any size. Raises BadOutput where there are none."""
    from PIL import Image

    video, thumb = call.work / "video.mp4", call.work / "thumb.jpg"
    count = 0
    middle: Frame | None = None
    with SegmentWriter(video, width, height, fps, still=False) as out:
        for count, frame in enumerate(frames, 1):
            opaque = np.full((*frame.shape[:2], 1), 255, np.uint8)
            out.add(np.ascontiguousarray(np.concatenate([frame, opaque], axis=2)))
            middle = frame if middle is None or count % fps == 0 else middle
    if middle is None:
        raise BadOutput(f"{call.stage}: a segment without frames")
    shown = Image.fromarray(middle)
    shown.resize((_THUMB_WIDTH_PX, round(_THUMB_WIDTH_PX * height / width))).save(thumb, "JPEG", quality=80)
    made = {**facts, "frames": count, "width": width, "height": height}
    return Output(files={"video.mp4": video, "thumb.jpg": thumb}, facts=made)
