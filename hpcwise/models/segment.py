"""The last stage's output: a segment of the film, as the publisher and the stitcher take it."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from hpcwise.core.errors import BadOutput
from hpcwise.core.units import SEGMENT_S
from hpcwise.models.base import Call, Output
from hpcwise.models.drawn.encode import SegmentWriter
from hpcwise.models.frames import Frame

_THUMB_WIDTH_PX: Final = 320
#: A frame more or less is no reason for another segment.
_ROUNDING: Final = 0.1


def write_segments(
    call: Call, frames: Iterable[Frame], total: int, width: int, height: int, fps: int, first_frame: int
) -> Iterator[Output]:
    """`video.mp4` and `thumb.jpg` of `total` pictures of any size; one output, or several equal ones where
    they play for longer than a segment may. first_frame: of the first picture in its shot.

    Raises BadOutput where there are none.
    """
    pieces = max(1, math.ceil(total / fps / SEGMENT_S - _ROUNDING))
    source = iter(frames)
    for piece in range(pieces):
        begin, end = (round(total * (piece + k) / pieces) for k in (0, 1))
        some = itertools.islice(source, end - begin)
        if piece >= call.first_chunk:
            yield _segment(call, some, piece, width, height, fps, first_frame + begin)
        else:
            deque(some, maxlen=0)


def _segment(
    call: Call, frames: Iterable[Frame], piece: int, width: int, height: int, fps: int, first_frame: int
) -> Output:
    from PIL import Image

    video, thumb = call.work / f"video-{piece}.mp4", call.work / f"thumb-{piece}.jpg"
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
    facts = {"first_frame": first_frame, "frames": count, "width": width, "height": height}
    return Output(files={"video.mp4": video, "thumb.jpg": thumb}, facts=facts)
