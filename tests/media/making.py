"""Small segments and sounds for the media tests, made with the same encoder settings as the renderer's."""

from __future__ import annotations

import struct
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from hpcwise.media.boxes import walk
from hpcwise.media.timeline import Segment, Timeline

WIDTH_PX, HEIGHT_PX, RATE_HZ = 64, 48, 24_000
#: Every segment starts with an IDR frame, has no B-frames, and all have the same SPS and PPS.
ENCODING = {
    "preset": "veryfast",
    "crf": "23",
    "bf": "0",
    "x264-params": "stitchable=1:keyint=1000",
    "threads": "1",
}


def sine(duration_s: float, *, hz: float = 440.0, start_s: float = 0.0, rate_hz: int = RATE_HZ) -> Any:
    """A tone at half amplitude whose phase is that of film time `start_s`."""
    return 0.5 * np.sin(2 * np.pi * hz * (start_s + np.arange(round(duration_s * rate_hz)) / rate_hz))


def write_wav(path: Path, samples: npt.NDArray[Any], *, rate_hz: int = RATE_HZ) -> str:
    """Write mono 16 bit PCM; returns the name."""
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return str(path)


def write_video(
    path: Path,
    frames: int,
    *,
    fps: float = 24,
    first: int = 0,
    size: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
    options: dict[str, str] | None = None,
) -> str:
    """A moving gradient; the brightness of a block tells the frame number. Returns the name."""
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.options = ENCODING | (options or {})
        across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        for place in range(first, first + frames):
            picture = np.zeros((size[1], size[0], 3), dtype=np.uint8)
            picture[..., 0] = (4 * across + 3 * place) % 256
            picture[..., 1] = (4 * down) % 256
            picture[:16, :16] = place % 16 * 16
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return str(path)


def make_timeline(
    folder: Path,
    shots: list[list[int]],
    *,
    fps: float = 24,
    sound: str = "sine",
    **fields: Any,
) -> Timeline:
    """A film of `shots`, each a list of frames a segment; its sound one tone, in phase over all shots."""
    segments: list[Segment] = []
    first = 0
    rate = Timeline(fps=fps, width=WIDTH_PX, height=HEIGHT_PX, segments=()).rate
    for shot, lengths in enumerate(shots):
        frames = sum(lengths)
        start = round(first * RATE_HZ / rate)
        count = round((first + frames) * RATE_HZ / rate) - start
        if sound == "sine":
            pcm = sine(count / RATE_HZ, start_s=start / RATE_HZ)
        else:
            noise = np.random.default_rng(shot)
            pcm = 0.1 * noise.standard_normal(count) * (1 + np.sin(np.arange(count) / 700))
            pcm[:: max(1, count // 9)] = 0.9  # clicks: the encoder switches to its short windows
            pcm = np.clip(pcm, -1, 1)
        audio = write_wav(folder / f"shot{shot}.wav", pcm)
        done = 0
        for index, length in enumerate(lengths):
            name = folder / f"shot{shot}-{index}.mp4"
            segments.append(
                Segment(
                    shot=shot,
                    index=index,
                    video=write_video(name, length, fps=fps, first=first + done),
                    frames=length,
                    shot_first_frame=done,
                    audio=audio,
                )
            )
            done += length
        first += frames
    fields = {"width": WIDTH_PX, "height": HEIGHT_PX} | fields
    return Timeline(fps=fps, segments=tuple(segments), **fields)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under `folder` with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def decoded_sound(path: Path) -> tuple[npt.NDArray[Any], list[int]]:
    """(samples of the first channel, pts of each frame) of all the sound in `path`."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames: list[Any] = list(container.decode(stream))
    pts = [round(frame.pts * frame.time_base * frame.sample_rate) for frame in frames]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), pts


def decode_range(segment: bytes, track: int) -> tuple[int, int]:
    """[first, end) decode ticks of `track` in a segment written by `fragment`; (0, 0) if it has none."""
    first = end = 0
    for kind, moof in walk(segment):
        if kind != b"moof":
            continue
        for inner, traf in walk(moof):
            parts = dict(walk(traf)) if inner == b"traf" else {}
            if not parts or struct.unpack_from(">I", parts[b"tfhd"], 4)[0] != track:
                continue
            (first,) = struct.unpack_from(">Q", parts[b"tfdt"], 4)
            (count,) = struct.unpack_from(">I", parts[b"trun"], 4)
            rows = struct.iter_unpack(">III", parts[b"trun"][12 : 12 + 12 * count])
            end = first + sum(ticks for ticks, _size, _flags in rows)
    return first, end
