"""The film as one file, with its poster and subtitles. Equal inputs give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np

from hpcwise.core.errors import StoreError, UsageError
from hpcwise.media.captions import Caption, srt, vtt
from hpcwise.media.files import beside, write_whole
from hpcwise.media.sound import BLOCK, SAMPLE_RATE_HZ, Soundtrack, block_samples, blocks_total, encoder
from hpcwise.media.timeline import Timeline
from hpcwise.media.video import open_input, read_segment, timescale

#: Frames of the poster's segment that are compared.
_CANDIDATES = 8


class FilmFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where a film lies, and how long it is."""

    film: Path
    poster: Path
    srt: Path
    vtt: Path
    frames: int
    duration_s: float


def make_film(
    out_dir: Path,
    timeline: Timeline,
    captions: Sequence[Caption] = (),
    *,
    title: str = "",
    poster_segment: int = 0,
) -> FilmFiles:
    """Write film.mp4 (H.264 as it is, AAC, index in front), poster.png, film.srt and film.vtt.

    title: metadata of the file; control characters are dropped. poster_segment: whose richest frame
    becomes the poster. Each file appears whole; film.mp4 comes last, so that it means all are there.
    Raises UsageError for an empty timeline or a bad index, StoreError for files that do not fit.
    """
    if not timeline.segments:
        raise UsageError("film: the timeline has no segments")
    if not 0 <= poster_segment < len(timeline.segments):
        raise UsageError(f"film: poster_segment is {poster_segment}: use 0 to {len(timeline.segments) - 1}")
    files = FilmFiles(
        film=out_dir / "film.mp4",
        poster=out_dir / "poster.png",
        srt=out_dir / "film.srt",
        vtt=out_dir / "film.vtt",
        frames=timeline.frames,
        duration_s=timeline.duration_s,
    )
    with beside(files.film) as temporary:
        _mux(temporary, timeline, title)
        write_whole(files.srt, srt(captions).encode())
        write_whole(files.vtt, vtt(captions).encode())
        write_whole(files.poster, _poster(Path(timeline.segments[poster_segment].video)))
    return files


def _mux(path: Path, timeline: Timeline, title: str) -> None:
    ticks_s, ticks_frame = timescale(timeline.rate)
    options = {
        "movflags": "+faststart",
        "fflags": "+bitexact",  # no name of the muxer, no time of day
        "video_track_timescale": str(ticks_s),
    }
    with (
        open_input(Path(timeline.segments[0].video)) as source,
        av.open(str(path), "w", format="mp4", options=options) as output,
    ):
        video = output.add_stream_from_template(source.streams.video[0])
        video.time_base = Fraction(1, ticks_s)
        audio = output.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="stereo")
        audio.codec_context.options = dict(encoder().options)
        name = " ".join("".join(c if c.isprintable() else " " for c in title).split())
        if name:
            output.metadata["title"] = name
        output.start_encoding()
        total = blocks_total(timeline)
        packets = Soundtrack(timeline).packets(-1, total)
        avcc, frame, block = b"", 0, -1
        for index in range(len(timeline.segments)):
            coded = read_segment(timeline, index)
            avcc = avcc or coded.avcc
            if coded.avcc != avcc:
                raise StoreError(
                    f"segment {index}: {timeline.segments[index].video}: another SPS or PPS than segment 0: "
                    "use one size, preset and crf (or x264's stitchable=1) for the whole film"
                )
            for sample in coded.frames:
                ticks = Fraction(1, ticks_s)
                _put(output, video, sample.data, frame * ticks_frame, ticks_frame, ticks, sample.sync)
                frame += 1
            end = timeline.sample(frame, SAMPLE_RATE_HZ)
            while block < total and block * BLOCK < end:
                length = BLOCK if block < 0 else block_samples(timeline, block)
                _put(output, audio, next(packets), block * BLOCK, length, Fraction(1, SAMPLE_RATE_HZ), True)
                block += 1


def _put(
    output: Any, stream: Any, data: bytes, at: int, duration: int, time_base: Fraction, sync: bool
) -> None:
    packet = av.Packet(data)
    packet.stream = stream
    packet.time_base = time_base
    packet.pts = packet.dts = at
    packet.duration = duration
    packet.is_keyframe = sync
    output.mux(packet)


def _poster(video: Path) -> bytes:
    """A PNG of the segment's frame with the richest picture (widest spread of brightness)."""
    with open_input(video) as container:
        frames = list(container.decode(video=0))
    if not frames:
        raise StoreError(f"{video}: no frame can be decoded: make it again")
    picked = frames[:: max(1, len(frames) // _CANDIDATES)]
    # max keeps the first of equals: the same frame every time.
    best = max(picked, key=lambda frame: float(np.std(frame.to_ndarray(format="gray"))))
    picture = best.reformat(format="rgb24")
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = picture.width, picture.height, "rgb24"
    context.time_base = Fraction(1, 25)
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])
