"""Coded video of finished segments: read and checked, never decoded or encoded again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from hpcwise.core.errors import StoreError
from hpcwise.media.boxes import Sample
from hpcwise.media.files import named_errors
from hpcwise.media.timeline import Timeline

_IDR = 5


@dataclass(frozen=True, slots=True)
class Coded:
    """A segment's frames in playing order; `avcc` is the decoder configuration (SPS and PPS)."""

    avcc: bytes
    frames: Sequence[Sample]


def timescale(rate: Fraction) -> tuple[int, int]:
    """(ticks a second, ticks a frame) of the video track at `rate` frames a second: both exact."""
    factor = 1 if rate.numerator >= 10_000 else 1000
    return rate.numerator * factor, rate.denominator * factor


def codec_name(avcc: bytes) -> str:
    """The RFC 6381 name of an H.264 configuration: `avc1.64001f`."""
    return "avc1." + avcc[1:4].hex()


def open_input(path: Path, what: str = "") -> Any:
    """Open `path` with PyAV for reading; StoreError, after `what`, when it is missing or is no media."""
    with named_errors(path):
        path.stat()
        try:
            return av.open(str(path), "r")
        except av.error.FFmpegError as error:
            raise StoreError(f"{path}: not a media file: {error.strerror}") from error


def _has_idr(data: bytes) -> bool:
    """Whether a frame in MP4 form (four-byte lengths before each unit) is an instantaneous refresh."""
    at = 0
    while at + 4 < len(data):
        if data[at + 4] & 0x1F == _IDR:
            return True
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return False


def read_segment(timeline: Timeline, index: int) -> Coded:
    """The frames of segment `index`; StoreError names what does not fit the timeline, and the fix."""
    path = Path(timeline.segments[index].video)
    with open_input(path) as container:
        return coded_of(container, timeline, index, (timeline.width, timeline.height), str(path))


def coded_of(container: Any, timeline: Timeline, index: int, size: tuple[int, int], name: str) -> Coded:
    """As `read_segment`, of an open MP4 of `size` that is called `name`."""
    where = f"segment {index}: {name}"
    frames = timeline.segments[index].frames
    if not container.streams.video:
        raise StoreError(f"{where}: holds no video: make it again")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context.name != "h264" or (context.extradata or b"\0")[:1] != b"\1":
        raise StoreError(f"{where}: video is {context.name}: use H.264 in MP4")
    if (context.width, context.height) != size:
        raise StoreError(
            f"{where}: {context.width}x{context.height} px, the film has "
            f"{size[0]}x{size[1]}: render all segments at one size"
        )
    avcc = bytes(context.extradata)
    try:
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
    except av.error.FFmpegError as error:
        raise StoreError(f"{where}: torn: {error.strerror}: make it again") from error
    unit = stream.time_base
    if len(packets) != frames:
        raise StoreError(f"{where}: {len(packets)} frames, the timeline says {frames}: make it again")
    first = packets[0]
    for place, packet in enumerate(packets):
        if packet.pts - first.pts != packet.dts - first.dts:
            raise StoreError(f"{where}: has B-frames: encode with bf=0")
        # A time base that cannot express the rate may round each time stamp, by less than one unit.
        if abs((packet.pts - first.pts) * unit - place / timeline.rate) >= unit:
            raise StoreError(f"{where}: frame {place} is not at {float(timeline.rate):g} fps: make it again")
    ticks = timescale(timeline.rate)[1]
    samples = [Sample(bytes(packet), ticks, packet.is_keyframe) for packet in packets]
    if not _has_idr(samples[0].data):
        raise StoreError(f"{where}: does not start with an IDR frame: encode each segment on its own")
    return Coded(avcc, samples)
