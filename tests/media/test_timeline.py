"""Places in the film: exact, and refused when segments do not fit."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hpcwise.core.errors import StoreError, UsageError
from hpcwise.core.units import exact_fps
from hpcwise.media.sound import Soundtrack, block_samples, blocks_known, blocks_total
from hpcwise.media.timeline import Segment, Span, Timeline, shot_frames

from .making import sine, write_wav


def segment(shot: int, index: int, frames: int, first: int, audio: str = "") -> Segment:
    return Segment(
        shot=shot,
        index=index,
        video=f"{shot}-{index}.mp4",
        frames=frames,
        shot_first_frame=first,
        audio=audio or f"{shot}.wav",
    )


def timeline(*segments: Segment, **fields: Any) -> Timeline:
    return Timeline(**({"fps": 24, "width": 64, "height": 48} | fields), segments=segments)


def test_positions_add_up_over_shots() -> None:
    film = timeline(segment(0, 0, 84, 0), segment(0, 1, 10, 84), segment(3, 0, 50, 0))
    assert [film.first_frame(index) for index in range(4)] == [0, 84, 94, 144]
    assert (film.frames, film.duration_s, film.start_s(1)) == (144, 6.0, 3.5)
    assert film.shot_start_s(3) == 94 / 24
    assert list(film.spans()) == [
        Span(shot=0, audio="0.wav", first_frame=0, end_frame=94),
        Span(shot=3, audio="3.wav", first_frame=94, end_frame=144),
    ]
    with pytest.raises(UsageError, match="no shot 1"):
        film.shot_start_s(1)


def test_a_timeline_survives_json() -> None:
    film = timeline(segment(0, 0, 84, 0), fps=23.976, complete=True)
    assert msgspec.json.decode(msgspec.json.encode(film), type=Timeline) == film


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (24, Fraction(24)),
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
    ],
)
def test_frame_rates_mean_their_exact_fraction(fps: float, exact: Fraction) -> None:
    assert exact_fps(fps) == exact


def test_sample_positions_never_drift() -> None:
    film = timeline(fps=29.97)
    # Ten hours in, a frame is still within half a sample of its exact place.
    frame = 10 * 3600 * 30
    assert abs(film.sample(frame, 48_000) - frame * 48_000 * 1001 / 30_000) <= 0.5
    assert [film.sample(frame, 48_000) for frame in range(4)] == [0, 1602, 3203, 4805]


@pytest.mark.parametrize(
    ("duration_s", "fps", "frames"),
    [(3.5, 24, 84), (3.5000001, 24, 85), (0.0, 24, 1), (0.1 + 0.2, 10, 3), (1.001, 23.976, 24)],
)
def test_a_shot_has_frames_enough_for_its_sound(duration_s: float, fps: float, frames: int) -> None:
    assert shot_frames(duration_s, fps) == frames


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fps": 0}, "fps is 0: use 1 to 240"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"width": 65}, "width is 65 px: use an even number"),
        ({"height": 0}, "height is 0 px"),
        ({"longest_segment_s": 0}, "longest_segment_s is 0"),
    ],
)
def test_absurd_film_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        timeline(**fields)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([segment(0, 0, 0, 0)], "frames is 0: use 1 or more"),
        ([segment(0, 0, 97, 0)], "97 frames last 4.042 s, over longest_segment_s 4.0"),
        ([segment(0, 1, 9, 0)], "index, shot_first_frame are 1, 0: expected 0, 0"),
        ([segment(0, 0, 9, 0), segment(0, 2, 9, 9)], "are 2, 9: expected 1, 9"),
        ([segment(0, 0, 9, 0), segment(0, 1, 9, 8)], "are 1, 8: expected 1, 9"),
        ([segment(0, 0, 9, 0), segment(0, 1, 9, 9, "other.wav")], "audio differs within the shot"),
        ([segment(1, 0, 9, 0), segment(0, 0, 9, 0)], "comes after shot 1"),
        ([segment(0, 0, 9, 0), segment(1, 0, 9, 9)], "segment 1 .shot 1, index 0.: .*expected 0, 0"),
    ],
)
def test_segments_that_do_not_fit_are_refused(segments: list[Segment], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        timeline(*segments)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
def test_sound_of_any_rate_is_resampled_in_place(tmp_path: Path, rate_hz: int) -> None:
    first = write_wav(tmp_path / "0.wav", sine(2.0, rate_hz=rate_hz), rate_hz=rate_hz)
    second = write_wav(tmp_path / "1.wav", sine(2.0, start_s=2.0, rate_hz=rate_hz), rate_hz=rate_hz)
    film = timeline(segment(0, 0, 48, 0, first), segment(1, 0, 48, 0, second))
    heard = Soundtrack(film).samples(0, 192_000)
    # No edge at 2 s, where one shot's file ends and the other's begins.
    assert np.abs(heard - sine(4.0, rate_hz=48_000))[200:-200].max() < 1e-3


def test_short_sound_is_followed_by_silence_and_long_sound_is_cut(tmp_path: Path) -> None:
    short = write_wav(tmp_path / "0.wav", np.full(1000, 0.5), rate_hz=48_000)
    long = write_wav(tmp_path / "1.wav", np.full(9000, 0.25), rate_hz=48_000)
    last = write_wav(tmp_path / "2.wav", np.full(500, 0.75), rate_hz=48_000)
    film = timeline(*(segment(shot, 0, 1, 0, name) for shot, name in enumerate((short, long, last))))
    expected = np.concatenate([np.full(1000, 0.5), np.zeros(1000), np.full(2000, 0.25), np.full(500, 0.75)])
    heard = Soundtrack(film).samples(-10, 6010)
    np.testing.assert_allclose(heard[10:4510], expected, atol=1e-4)
    assert not heard[:10].any() and not heard[4510:].any()


def test_a_sound_file_that_is_no_16_bit_pcm_is_named(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "0.wav"), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(8000)
        writer.writeframes(bytes(100))
    film = timeline(segment(0, 0, 9, 0, str(tmp_path / "0.wav")))
    with pytest.raises(StoreError, match=r"shot 0: .*0\.wav: 8 bit at 8000 Hz: use 16 bit"):
        Soundtrack(film).samples(0, 100)


def test_packets_are_dealt_to_segments_without_gap_or_repeat() -> None:
    film = timeline(segment(0, 0, 1, 0), segment(0, 1, 2, 1), segment(0, 2, 84, 3), segment(0, 3, 1, 87))
    starts = [blocks_known(film, index) for index in range(5)]
    assert starts == [0, 0, 3, 167, 169]
    assert blocks_total(film) == 172 and block_samples(film, 171) == 176_000 - 171 * 1024
    # A packet given to a segment reads no sample beyond that segment's end.
    for index, start in enumerate(starts[1:], 1):
        assert start == 0 or (start + 2) * 1024 <= film.sample(film.first_frame(index), 48_000)
