"""The film as a row of segments: which frames, from which files, at which place.

All positions are whole frames. Times and audio samples are rounded from the absolute frame number, so
that rounding never adds up: sample of frame f = round(f * rate / fps).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.core.units import exact_fps


def shot_frames(duration_s: float, fps: float) -> int:
    """How many frames cover a shot of `duration_s`: rounded up, at least one."""
    # 1e-6: 3.5 s * 24 fps must not become 85 because a float came out as 84.00000000000001.
    return max(1, math.ceil(duration_s * exact_fps(fps) - 1e-6))


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A finished piece of a shot.

    shot, index: number of the shot in the film, and of the segment in its shot, both from 0.
    video: H.264 in MP4, `frames` frames, first one IDR, no B-frames.
    shot_first_frame: its first frame, counted from the start of the shot.
    audio: a WAV file (16 bit) with the sound of the *whole* shot.
    """

    shot: int
    index: int
    video: str
    frames: int
    shot_first_frame: int
    audio: str

    @property
    def shot_end_frame(self) -> int:
        """The frame of the shot after its last one."""
        return self.shot_first_frame + self.frames


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A shot, or what is known of it: its sound and frames [first_frame, end_frame) of the film."""

    shot: int
    audio: str
    first_frame: int
    end_frame: int


class Bed(msgspec.Struct, frozen=True, kw_only=True):
    """Music under a film. path: of a person's own file, "" for the pad of `bed.py`. level_db: below
    the speech, dB."""

    path: str = ""
    level_db: float = 22.0


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A film, or its beginning: segments in playing order without gaps.

    fps: frames a second; 23.976 and 29.97 are taken as their NTSC fractions.
    complete: no segment will follow. A live film's last segment then holds all of its sound.
    longest_segment_s: bound on every segment; a live playlist has to promise it at its start.
    renditions: width and height of smaller ones that a live film is also offered in, largest first.
    bed: music under the film. last_shot: number of the film's last shot, which must be known when its first
    segment is; -1 before. The music ends with it.
    Raises UsageError when made of segments that do not fit.
    """

    fps: float
    width: int
    height: int
    segments: tuple[Segment, ...]
    complete: bool = False
    longest_segment_s: float = 4.0
    bed: Bed | None = None
    last_shot: int = -1
    renditions: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.fps <= 240:
            raise UsageError(f"timeline: fps is {self.fps}: use 1 to 240")
        smaller = [(f"renditions[{i}]", side) for i, size in enumerate(self.renditions) for side in size]
        for name, size in (("width", self.width), ("height", self.height), *smaller):
            if not 16 <= size <= 8192 or size % 2:
                raise UsageError(f"timeline: {name} is {size} px: use an even number from 16 to 8192")
        if not 0 < self.longest_segment_s <= 60:
            raise UsageError(f"timeline: longest_segment_s is {self.longest_segment_s}: use up to 60")
        before: Segment | None = None
        for place, segment in enumerate(self.segments):
            self._check(place, segment, before)
            before = segment

    def _check(self, place: int, segment: Segment, before: Segment | None) -> None:
        where = f"segment {place} (shot {segment.shot}, index {segment.index})"
        if segment.frames < 1:
            raise UsageError(f"{where}: frames is {segment.frames}: use 1 or more")
        if segment.frames / self.rate > self.longest_segment_s:
            raise UsageError(
                f"{where}: {segment.frames} frames last {float(segment.frames / self.rate):.3f} s, over "
                f"longest_segment_s {self.longest_segment_s}: cut it, or raise that"
            )
        if before is not None and before.shot == segment.shot:
            expected = (before.index + 1, before.shot_end_frame)
            if segment.audio != before.audio:
                raise UsageError(f"{where}: audio differs within the shot: give one file for the whole shot")
        elif before is not None and segment.shot < before.shot:
            raise UsageError(f"{where}: comes after shot {before.shot}: put segments in playing order")
        else:
            expected = (0, 0)
        if (segment.index, segment.shot_first_frame) != expected:
            raise UsageError(
                f"{where}: index, shot_first_frame are {segment.index}, {segment.shot_first_frame}: "
                f"expected {expected[0]}, {expected[1]}: a segment is missing or repeated"
            )

    @property
    def rate(self) -> Fraction:
        """Exact frames a second."""
        return exact_fps(self.fps)

    @property
    def frames(self) -> int:
        """Frames of all segments."""
        return sum(segment.frames for segment in self.segments)

    @property
    def duration_s(self) -> float:
        """Seconds of all segments."""
        return float(self.frames / self.rate)

    def first_frame(self, index: int) -> int:
        """Film frame at which segment `index` starts; with `len(segments)`, the end of the film."""
        return sum(segment.frames for segment in self.segments[:index])

    def start_s(self, index: int) -> float:
        """Film time at which segment `index` starts."""
        return float(self.first_frame(index) / self.rate)

    def sample(self, frame: int, rate_hz: int) -> int:
        """Audio sample, at `rate_hz`, at which film frame `frame` starts."""
        return round(frame * rate_hz / self.rate)

    def spans(self) -> Iterator[Span]:
        """The shots in order; the last one reaches as far as its segments do."""
        start = end = 0
        for place, segment in enumerate(self.segments):
            end += segment.frames
            after = self.segments[place + 1 : place + 2]
            if not after or after[0].shot != segment.shot:
                yield Span(shot=segment.shot, audio=segment.audio, first_frame=start, end_frame=end)
                start = end

    def shot_start_s(self, shot: int) -> float:
        """Film time at which `shot` starts; UsageError when no segment belongs to it."""
        for span in self.spans():
            if span.shot == shot:
                return float(span.first_frame / self.rate)
        raise UsageError(f"timeline: no shot {shot}")
