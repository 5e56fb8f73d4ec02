"""Pictures between stages: a lossless video file, exact to the last bit, and the film's own segments.

RGB of 8 bits goes through FFV1 (`frames.mkv`): a quarter to a half of the raw size, and any player shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import BadOutput

Frame = npt.NDArray[np.uint8]

#: A picture whose brightest and darkest value differ by less than this shows nothing (of 255).
_FLAT = 3
#: Neighbours that differ by less than this on the mean are the same picture.
_STILL = 1e-6


def write_frames(path: Path, frames: Iterable[Frame], fps: int) -> int:
    """Write pictures of [height, width, 3] as they come; returns how many there were."""
    import av

    count = 0
    with av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"}) as file:
        stream: Any = None
        for count, frame in enumerate(frames, 1):
            if stream is None:
                stream = file.add_stream("ffv1", rate=fps)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "bgr0"
                stream.options = {"level": "3", "g": "1", "slicecrc": "1"}
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                format="bgr0"
            )
            picture.pts, picture.time_base = count - 1, Fraction(1, fps)
            file.mux(stream.encode(picture))
        if stream is not None:
            file.mux(stream.encode(None))
    return count


def read_frames(path: Path) -> Iterator[Frame]:
    """The pictures of `path` one by one. Raises BadOutput where it is none of ours."""
    import av

    try:
        with av.open(str(path)) as file:
            for frame in file.decode(video=0):
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except av.FFmpegError as error:
        raise BadOutput(f"{path.name}: cannot be read as video: {error}") from error


def checked(frames: Iterable[Frame], what: str) -> Iterator[Frame]:
    """The same pictures. Raises BadOutput at the end where all of them are flat, or all are the same: a model
    that came out of step shows black, or one picture for the whole clip."""
    flat, still, count = 0, 0, 0
    before: Frame | None = None
    for frame in frames:
        count += 1
        flat += int(frame.max()) - int(frame.min()) < _FLAT
        if before is not None:
            still += float(np.abs(frame.astype(np.int16) - before).mean()) < _STILL
        before = frame
        yield frame
    if count and flat == count:
        raise BadOutput(f"{what}: {count} frames of one colour")
    if count > 2 and still == count - 1:
        raise BadOutput(f"{what}: {count} frames without any movement")


def stretched(frames: list[Frame], wanted: int) -> Iterator[Frame]:
    """`wanted` frames that show the clip at an even pace, by repeating or leaving out single ones."""
    if not frames:
        raise BadOutput("a clip without frames")
    for index in range(wanted):
        yield frames[min(len(frames) - 1, (2 * index + 1) * len(frames) // (2 * wanted))]
