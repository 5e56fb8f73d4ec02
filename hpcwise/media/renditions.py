"""Smaller renditions of a finished segment, for those whose network is slower than the film.

Each is decoded, scaled and encoded on its own: an IDR picture first and the same stream header in each, as
segments of the film itself have, so that players change between renditions at every segment.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.error
from av.video.reformatter import Interpolation

from hpcwise.core.errors import StoreError
from hpcwise.media.timeline import Timeline
from hpcwise.media.video import open_input

#: One header for all segments (stitchable, nothing that depends on content), no B-frames, no cut inside; one
#: thread and no macroblock tree, so that equal pictures give equal bytes.
_X264: Final = (
    "keyint=infinite:min-keyint=1:scenecut=0:open-gop=0:bframes=0:ref=2:weightp=0:stitchable=1:threads=1:"
    "lookahead-threads=1:sliced-threads=0:force-cfr=1:rc-lookahead=0:mbtree=0:subme=2:me=hex:trellis=0"
)
_CRF: Final = 23
_BITEXACT: Final = 0x00800000


def scaled(timeline: Timeline, index: int, size: tuple[int, int]) -> bytes:
    """Segment `index` as an MP4 file of `size` (px). StoreError where its video cannot be decoded."""
    path = Path(timeline.segments[index].video)
    held = io.BytesIO()
    tick = 1 / timeline.rate
    with (
        open_input(path) as source,
        av.open(held, "w", format="mp4", options={"fflags": "+bitexact"}) as output,
    ):
        stream = output.add_stream("libx264", rate=timeline.rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = tick
        context: Any = stream.codec_context
        context.time_base, context.thread_count = tick, 1
        context.flags |= _BITEXACT
        for tag in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(context, tag, getattr(source.streams.video[0].codec_context, tag))
        stream.options = {"preset": "veryfast", "crf": str(_CRF), "x264-params": _X264}
        for place, picture in enumerate(_pictures(source, path)):
            frame = picture.reformat(*size, format="yuv420p", interpolation=Interpolation.AREA)
            frame.pts, frame.time_base = place, Fraction(tick)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return held.getvalue()


def _pictures(source: Any, path: Path) -> Iterator[Any]:
    try:
        yield from source.decode(video=0)
    except av.error.FFmpegError as error:
        raise StoreError(f"{path}: torn: {error.strerror}: make it again") from error
