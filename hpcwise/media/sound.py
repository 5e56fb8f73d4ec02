"""The film's sound: shots laid on one sample line, and any part of it as AAC packets.

Why the parts join without a click: the encoder runs at constant quality, so that a packet depends on the
sound near it and on nothing older. An encoder that starts a while before a place therefore writes, from
that place on, the very packets of an encoder that started at the beginning of the film. (At a constant
bit rate it would not: the reservoir remembers.)
"""

from __future__ import annotations

import math
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import StoreError
from hpcwise.media.bed import Place, gain, music, shot_samples
from hpcwise.media.files import named_errors
from hpcwise.media.timeline import Span, Timeline

SAMPLE_RATE_HZ = 48_000
#: Samples in an AAC packet. Packet b of the film sounds from sample b * BLOCK on; -1 is the priming one.
BLOCK = 1024
#: Packets encoded and thrown away before the first one wanted; the encoder forgets in fewer than eight.
_PREROLL = 32
#: Blocks behind a packet's own that the encoder reads: the other half of its window, and its look-ahead.
_AHEAD = 2
#: Samples by which the resampler reads ahead, at most.
_GUARD = 192
_HALF_TAPS = 24
_CHUNK = 64

Samples = npt.NDArray[np.float32]


def blocks_known(timeline: Timeline, index: int) -> int:
    """Packets that the sound before segment `index` decides: more sound after it cannot change them."""
    end = timeline.sample(timeline.first_frame(index), SAMPLE_RATE_HZ)
    return max(0, (end - _GUARD) // BLOCK - _AHEAD)


def blocks_total(timeline: Timeline) -> int:
    """Packets of the whole film, the last one perhaps cut short."""
    return math.ceil(timeline.sample(timeline.frames, SAMPLE_RATE_HZ) / BLOCK)


def block_samples(timeline: Timeline, block: int) -> int:
    """Samples of packet `block` that belong to the film: BLOCK, or fewer in the last one."""
    return min(BLOCK, timeline.sample(timeline.frames, SAMPLE_RATE_HZ) - block * BLOCK)


def encoder() -> Any:
    """A fresh AAC-LC encoder, 48 kHz stereo at a constant quality of about 128 kb/s."""
    context = av.CodecContext.create("aac", "w")
    context.sample_rate = SAMPLE_RATE_HZ
    context.layout = "stereo"
    context.format = "fltp"
    context.time_base = Fraction(1, SAMPLE_RATE_HZ)
    # bitexact: without it every 256th packet of an encoder carries its name, and parts would differ.
    context.options = {"flags": "+qscale+bitexact", "global_quality": "118", "aac_pns": "0"}
    context.open()
    return context


def _taps(up: int, down: int) -> Samples:
    """Windowed-sinc filter for resampling by up/down: one row for each of the `up` phases."""
    half = math.ceil(_HALF_TAPS * max(1.0, down / up))
    cutoff = 0.94 * min(1.0, up / down)
    offsets = np.arange(1 - half, half + 1)[None, :] - (np.arange(up) / up)[:, None]
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, 1))) / np.i0(8.0)
    rows = np.sinc(cutoff * offsets) * window
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), dtype=np.float32)


class Soundtrack:
    """The sound of a timeline, read where it is asked for. Outside the film it is silent."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._spans = tuple(timeline.spans())
        self._loaded: dict[str, tuple[int, Samples]] = {}
        self._filters: dict[Fraction, Samples] = {}

    def _load(self, span: Span) -> tuple[int, Samples]:
        """(rate in Hz, mono samples) of a shot; StoreError where the file is not 16 bit PCM."""
        if span.audio not in self._loaded:
            path = Path(span.audio)
            try:
                with named_errors(path), wave.open(str(path), "rb") as reader:
                    found, raw = reader.getparams(), reader.readframes(reader.getnframes())
            except (wave.Error, EOFError) as error:
                raise StoreError(f"shot {span.shot}: {path}: not a WAV file: {error}") from error
            rate_hz, channels, width = found.framerate, found.nchannels, found.sampwidth
            if width != 2 or not 8_000 <= rate_hz <= 192_000:
                raise StoreError(
                    f"shot {span.shot}: {path}: {8 * width} bit at {rate_hz} Hz: use 16 bit, 8 to 192 kHz"
                )
            whole = len(raw) // (2 * channels) * 2 * channels
            pcm = np.frombuffer(raw[:whole], dtype="<i2").reshape(-1, channels).mean(axis=1) / 32768
            while len(self._loaded) >= 4:  # readers go forwards: the oldest shot is not needed again
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[span.audio] = (rate_hz, pcm.astype(np.float32))
        return self._loaded[span.audio]

    def _line(self, rate_hz: int, first: int, end: int) -> Samples:
        """Samples [first, end) of all shots that were recorded at `rate_hz`, silence elsewhere."""
        out = np.zeros(end - first, dtype=np.float32)
        for span in self._spans:
            start = self._timeline.sample(span.first_frame, rate_hz)
            low, high = max(first, start), min(end, self._timeline.sample(span.end_frame, rate_hz))
            if low < high:
                found_hz, pcm = self._load(span)
                if found_hz == rate_hz:
                    piece = pcm[low - start : high - start]
                    out[low - first : low - first + len(piece)] = piece
        return out

    def samples(self, first: int, end: int) -> Samples:
        """Film samples [first, end) at 48 kHz, mono, with the film's music under them.

        Shots of one rate are joined before they are resampled: the filter sees no edge between them.
        """
        out = np.zeros(end - first, dtype=np.float32)
        for span in self._spans:
            low = max(first, self._timeline.sample(span.first_frame, SAMPLE_RATE_HZ))
            high = min(end, self._timeline.sample(span.end_frame, SAMPLE_RATE_HZ))
            if low < high:
                part = self._resampled(self._load(span)[0], low, high)
                if self._timeline.bed is not None:
                    part += self._music(span, low, high)
                out[low - first : high - first] = part
        return out

    def _music(self, span: Span, low: int, high: int) -> Samples:
        """The music in film samples [low, high), all of which lie in the shot."""
        timeline = self._timeline
        assert timeline.bed is not None
        rate_hz, pcm = self._load(span)
        place = Place(
            start=timeline.sample(span.first_frame, SAMPLE_RATE_HZ),
            length=shot_samples(pcm, rate_hz, timeline.rate),
            closes=span.shot == timeline.last_shot,
        )
        return music(timeline.bed, low, high) * gain(pcm, rate_hz, place, low, high)

    def _resampled(self, rate_hz: int, low: int, high: int) -> Samples:
        ratio = Fraction(SAMPLE_RATE_HZ, rate_hz)
        up, down = ratio.numerator, ratio.denominator
        if up == down:
            return self._line(rate_hz, low, high)
        if ratio not in self._filters:
            self._filters[ratio] = _taps(up, down)
        taps = self._filters[ratio]
        half = taps.shape[1] // 2
        places = np.arange(low, high, dtype=np.int64) * down
        whole, phase = places // up, places % up
        start = int(whole[0]) + 1 - half
        source = self._line(rate_hz, start, int(whole[-1]) + half + 1)
        windows = np.lib.stride_tricks.sliding_window_view(source, 2 * half)[whole - whole[0]]
        return np.asarray(np.einsum("ij,ij->i", windows, taps[phase]), dtype=np.float32)

    def packets(self, first: int, stop: int) -> Iterator[bytes]:
        """AAC packets [first, stop) of the film; `first` may be -1, the priming packet."""
        start = first - _PREROLL  # before the film there is silence: its first packet is like any other
        context, block = encoder(), start - 1
        for chunk in range(start, stop + _AHEAD, _CHUNK):
            count = min(_CHUNK, stop + _AHEAD - chunk)
            mono = self.samples(chunk * BLOCK, (chunk + count) * BLOCK)
            for place in range(count):
                planes = np.tile(mono[place * BLOCK : (place + 1) * BLOCK], (2, 1))
                frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
                frame.sample_rate = SAMPLE_RATE_HZ
                frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
                frame.pts = (chunk + place) * BLOCK
                for packet in context.encode(frame):
                    if first <= block < stop:
                        yield bytes(packet)
                    block += 1
