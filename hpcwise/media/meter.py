"""Loudness of a file by FFmpeg's meter (EBU R128): another's arithmetic than that which sets the levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.filter
import msgspec
import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import StoreError
from hpcwise.media.video import open_input


class Loudness(msgspec.Struct, frozen=True, kw_only=True):
    """integrated_lufs: gated, over the whole file. true_peak_dbtp: of the louder channel. range_lu: LRA.
    short_lufs: (end in seconds, loudness of the 3 s before), ten a second."""

    integrated_lufs: float
    true_peak_dbtp: float
    range_lu: float
    short_lufs: tuple[tuple[float, float], ...]


def loudness(path: Path) -> Loudness:
    """Measure the sound of `path`; StoreError where it has none or is torn."""
    with open_input(path) as container:
        if not container.streams.audio:
            raise StoreError(f"{path}: holds no sound")
        stream = container.streams.audio[0]
        try:
            found = _measured(container.decode(stream))
        except av.error.FFmpegError as error:
            raise StoreError(f"{path}: torn: {error.strerror}") from error
    if found is None:
        raise StoreError(f"{path}: too short to be measured: 0.4 s at least")
    return found


def loudness_of(mono: npt.NDArray[np.float32], rate_hz: int) -> float:
    """Integrated loudness of samples that both channels play, LUFS; -70 for silence."""

    def frames() -> Iterator[Any]:
        for at in range(0, mono.size, rate_hz):
            planes = np.tile(np.asarray(mono[at : at + rate_hz], np.float32), (2, 1))
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, at, Fraction(1, rate_hz)
            yield frame

    found = _measured(frames())
    return found.integrated_lufs if found is not None else -70.0


def _measured(frames: Iterable[Any]) -> Loudness | None:
    """None where there is less than the meter needs."""
    graph: Any = None
    found: dict[str, str] = {}
    short: list[tuple[float, float]] = []
    for frame in frames:
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format,
                layout=frame.layout,
                time_base=frame.time_base,
            )
            meter, sink = graph.add("ebur128", "peak=true:metadata=1"), graph.add("abuffersink")
            source.link_to(meter)
            meter.link_to(sink)
            graph.configure()
        graph.push(frame)
        _drain(graph, found, short)
    if graph is not None:
        graph.push(None)
        _drain(graph, found, short)
    if "lavfi.r128.I" not in found:
        return None
    return Loudness(
        integrated_lufs=float(found["lavfi.r128.I"]),
        true_peak_dbtp=20 * math.log10(max(1e-6, float(found["lavfi.r128.true_peak"]))),
        range_lu=float(found["lavfi.r128.LRA"]),
        short_lufs=tuple(short),
    )


def _drain(graph: Any, found: dict[str, str], short: list[tuple[float, float]]) -> None:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        values = dict(frame.metadata)
        if "lavfi.r128.S" in values:
            found.update(values)
            short.append((float(frame.pts * frame.time_base), float(values["lavfi.r128.S"])))
