"""Frames to H.264: one closed file a segment, all segments of a film with the same stream header.

Every segment starts with an IDR picture, has no B-frames and refers to nothing outside of itself, so that
segments of different tiers and shots join without decoding. Headers stay equal because everything that
x264 writes into them is the same in every tier; what differs between tiers (search effort) is not in them.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from hpcwise.core.units import exact_fps

Pixels = NDArray[np.uint8]

#: Parts that shape the stream header: equal in every tier. With `stitchable` content has no say in it.
_HEADER = (
    "keyint=infinite:min-keyint=1:scenecut=0:open-gop=0:bframes=0:ref=2:weightp=0:cabac=1:8x8dct=1:"
    "stitchable=1:threads=1:lookahead-threads=1:sliced-threads=0:force-cfr=1"
)
#: No macroblock tree: x264's, with assembly, gives other bytes for the same pictures now and then.
_MOVING = "rc-lookahead=0:mbtree=0:subme=2:me=hex:trellis=0"
#: For pictures that stand still: next to no search.
_STILL = "rc-lookahead=0:mbtree=0:subme=0:me=dia:trellis=0:aq-mode=0:partitions=none"
CRF = 20


class SegmentWriter:
    """Writes one segment. Frames are RGBA at any size; they are scaled to the segment's."""

    def __init__(self, path: Path, width: int, height: int, fps: float, still: bool) -> None:
        self._size = (width, height)
        rate = exact_fps(fps)
        self._tick = 1 / rate
        self._file: Any = av.open(
            str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}
        )
        self._stream: Any = self._file.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = self._tick
        context = self._stream.codec_context
        context.time_base = self._tick
        context.thread_count = 1
        context.flags |= 0x00800000  # AV_CODEC_FLAG_BITEXACT: no build string in the stream
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        self._stream.options = {
            "preset": "veryfast",
            "crf": str(CRF),
            "x264-params": f"{_HEADER}:{_STILL if still else _MOVING}",
        }
        self._frames = 0
        self._last: Any = None

    def add(self, pixels: Pixels) -> None:
        """Encode a picture as the next frame."""
        frame = av.VideoFrame.from_numpy_buffer(pixels, format="rgba")
        frame.color_range, frame.colorspace = 2, 1
        smooth = frame.width != self._size[0] or frame.height != self._size[1]
        self._last = frame.reformat(
            *self._size,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=1,
            interpolation=Interpolation.LANCZOS if smooth else Interpolation.FAST_BILINEAR,
        )
        self._encode(self._last)

    def repeat(self) -> None:
        """Encode the last picture once more."""
        self._encode(self._last)

    def _encode(self, frame: Any) -> None:
        # Not the stream's time base: the muxer replaces that by its own once the header is written.
        frame.pts, frame.time_base = self._frames, self._tick
        self._frames += 1
        for packet in self._stream.encode(frame):
            self._file.mux(packet)

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for packet in self._stream.encode(None):
                self._file.mux(packet)
        self._file.close()
