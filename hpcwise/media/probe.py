"""What a media file holds, by reading all of it."""

from __future__ import annotations

from pathlib import Path

import av.error
import msgspec

from hpcwise.core.errors import StoreError
from hpcwise.media.video import open_input


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of a media file. Codec names are empty and numbers 0 for a stream that it lacks.

    duration_s: of the longest stream. frames: video packets counted, not what a header claims.
    """

    duration_s: float
    frames: int
    width: int
    height: int
    fps: float
    video_codec: str
    audio_codec: str
    sample_rate_hz: int
    channels: int


def probe(path: Path) -> Probe:
    """Read `path` (MP4, an HLS playlist, WAV, ...); StoreError when it is missing, torn or no media."""
    with open_input(path) as container:
        video = container.streams.video[0] if container.streams.video else None
        audio = container.streams.audio[0] if container.streams.audio else None
        frames, end_s = 0, 0.0
        try:
            for packet in container.demux(*filter(None, (video, audio))):
                if packet.pts is None:
                    continue
                frames += packet.stream is video
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except av.error.FFmpegError as error:
            raise StoreError(f"{path}: torn: {error.strerror}") from error
        return Probe(
            duration_s=end_s,
            frames=frames,
            width=video.codec_context.width if video else 0,
            height=video.codec_context.height if video else 0,
            fps=float(video.average_rate or 0) if video else 0.0,
            video_codec=video.codec_context.name if video else "",
            audio_codec=audio.codec_context.name if audio else "",
            sample_rate_hz=audio.codec_context.sample_rate if audio else 0,
            channels=audio.codec_context.channels if audio else 0,
        )
