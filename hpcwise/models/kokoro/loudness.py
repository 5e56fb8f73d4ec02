"""Loudness as heard (EBU R128, ITU-R BS.1770) and a limiter that keeps true peaks under the ceiling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

#: Of speech, and with it of the film: what Apple asks of podcasts and AES TD1008 of streams of speech. (EBU
#: R128 itself says -23 for broadcast; platforms bring what is louder than -14 down, and leave -16 alone.)
TARGET_LUFS = -16.0
#: Of a shot's sound. AAC adds half a dB to single peaks; the film must stay under -1.
CEILING_DBTP = -2.0
#: The film plays one voice on two channels, whose powers the standard adds up.
CHANNELS = 2


def loudness_lufs(audio: Samples, rate_hz: int) -> float:
    """Gated loudness of mono sound that both channels play; -inf for silence. Exact up to the circular ends
    of the filter."""
    if audio.size < rate_hz // 10:
        audio = np.pad(audio, (0, rate_hz // 10 - audio.size))
    weighted = np.fft.irfft(np.fft.rfft(audio) * _k_weighting(audio.size, rate_hz), audio.size)
    block, hop = min(audio.size, int(0.4 * rate_hz)), int(0.1 * rate_hz)
    sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, audio.size - block + 1, hop)
    power = CHANNELS * (sums[starts + block] - sums[starts]) / block
    power = power[power > 10 ** ((-70 + 0.691) / 10)]
    if power.size == 0:
        return float("-inf")
    power = power[power > power.mean() * 0.1]  # the relative gate: 10 LU under the mean
    return float(-0.691 + 10 * np.log10(power.mean()))


def limited(audio: Samples, gain: float) -> Samples:
    """`audio` times `gain`, with peaks between samples kept under the ceiling by a smooth 5 ms gain dip."""
    louder = audio.astype(np.float64) * gain
    ceiling = 10 ** (CEILING_DBTP / 20)
    peaks = true_peaks(louder)
    if peaks.size == 0 or peaks.max() <= ceiling:
        return louder.astype(np.float32)
    half = 120
    need = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    held = np.lib.stride_tricks.sliding_window_view(
        np.pad(need, half, constant_values=1.0), 2 * half + 1
    ).min(axis=1)
    window = np.hanning(2 * half + 3)[1:-1]
    smooth = np.convolve(np.pad(held, half, mode="edge"), window / window.sum(), "valid")
    return np.asarray(louder * np.minimum(smooth, need), dtype=np.float32)


def true_peaks(audio: NDArray[np.floating]) -> NDArray[np.float64]:
    """The largest magnitude around each sample, seen at four times the rate."""
    if audio.size == 0:
        return np.zeros(0)
    size = 1 << int(audio.size + 64 - 1).bit_length()  # padding also keeps the ends from meeting
    spectrum = np.fft.rfft(audio, size)
    fine = np.fft.irfft(np.pad(spectrum, (0, size * 2 + 1 - spectrum.size)), size * 4) * 4
    return np.asarray(np.abs(fine[: audio.size * 4]).reshape(-1, 4).max(axis=1))


def _k_weighting(size: int, rate_hz: int) -> NDArray[np.complex128]:
    """Frequency response of the standard's shelf and high-pass, re-derived for this rate."""
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    k = np.tan(np.pi * 1681.974450955533 / rate_hz)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = (
        (high + band * k / q + k * k) + 2 * (k * k - high) * z + (high - band * k / q + k * k) * z**2
    ) / ((1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2)
    k = np.tan(np.pi * 38.13547087602444 / rate_hz)
    q = 0.5003270373238773
    high_pass = (1 - 2 * z + z**2) / (
        1 + 2 * (k * k - 1) / (1 + k / q + k * k) * z + (1 - k / q + k * k) / (1 + k / q + k * k) * z**2
    )
    return np.asarray(shelf * high_pass)
