"""A live film in several sizes: the same cuts, frames, times and sound in each."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from hpcwise.core.errors import StoreError, UsageError
from hpcwise.media.boxes import walk
from hpcwise.media.hls import finish_live, publish_segment
from hpcwise.media.probe import probe
from hpcwise.media.renditions import scaled
from hpcwise.media.timeline import Timeline
from tests.media.making import make_timeline

_SIZES = ((48, 36), (32, 24))
_MARKS = ("", "-48x36", "-32x24")


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    (tmp_path / "made").mkdir()
    return make_timeline(tmp_path / "made", [[24, 20], [24]], longest_segment_s=1.0, renditions=_SIZES)


def publish(timeline: Timeline, out: Path) -> Path:
    for index in range(len(timeline.segments)):
        known = msgspec.structs.replace(timeline, segments=timeline.segments[: index + 1])
        publish_segment(out, known, index)
    finish_live(out, timeline)
    return out / "live"


def files(live: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(live.iterdir())}


def pictures(video: Any) -> list[Any]:
    """Brightness of each frame."""
    with av.open(video) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray()[: frame.height].astype(float) for frame in frames]


def tracks(segment: bytes) -> list[tuple[bytes, bytes]]:
    """(tfdt, trun without sizes and data offset) of the tracks of a segment, and what is sound."""
    [moof] = [data for kind, data in walk(segment) if kind == b"moof"]
    found = []
    for kind, data in walk(moof):
        if kind == b"traf":
            parts = dict(walk(data))
            rows = parts[b"trun"][12:]
            timing = b"".join(rows[i : i + 4] + rows[i + 8 : i + 12] for i in range(0, len(rows), 12))
            found.append((parts[b"tfdt"], timing))
    return found


def test_every_size_has_the_same_cuts_times_key_frames_and_sound(timeline: Timeline, tmp_path: Path) -> None:
    live = publish(timeline, tmp_path / "out")
    own = (live / "index.m3u8").read_text()
    assert own.endswith("#EXT-X-ENDLIST\n") and own.count("#EXTINF") == 3
    for mark, (width, height) in zip(_MARKS, ((64, 48), *_SIZES), strict=True):
        text = (live / f"index{mark}.m3u8").read_text()
        assert text.replace(f"seg{mark}-", "seg-").replace(f"init{mark}.", "init.") == own
        for index in range(3):
            here, first = (tracks((live / f"seg{m}-0000{index}.m4s").read_bytes()) for m in (mark, ""))
            assert here == first  # decode times, durations and which frames are key frames
        # The sound's bytes stand at the end of each segment.
        sounds = [_sound(live, m) for m in (mark, "")]
        assert sounds[0] == sounds[1] != b""
        found = probe(live / f"index{mark}.m3u8")
        assert (found.frames, found.width, found.height) == (timeline.frames, width, height)


def _sound(live: Path, mark: str) -> bytes:
    whole = (live / f"init{mark}.mp4").read_bytes()
    whole += b"".join((live / f"seg{mark}-0000{i}.m4s").read_bytes() for i in range(3))
    with av.open(io.BytesIO(whole), "r") as container:
        return b"".join(bytes(packet) for packet in container.demux(container.streams.audio[0]))


def test_the_master_playlist_offers_each_size_with_its_own_figures(
    timeline: Timeline, tmp_path: Path
) -> None:
    live = publish(timeline, tmp_path / "out")
    found = re.findall(
        r"#EXT-X-STREAM-INF:BANDWIDTH=(\d+),AVERAGE-BANDWIDTH=(\d+),"
        r'CODECS="(avc1\.[0-9a-f]{6}),mp4a\.40\.2",RESOLUTION=(\d+x\d+),FRAME-RATE=24\.000\n(\S+)',
        (live / "master.m3u8").read_text(),
    )
    assert [(size, name) for *_, size, name in found] == [
        ("64x48", "index.m3u8"), ("48x36", "index-48x36.m3u8"), ("32x24", "index-32x24.m3u8"),
    ]  # fmt: skip
    lengths_s = [segment.frames / 24 for segment in timeline.segments]
    for mark, (peak, mean, codec, _, _) in zip(_MARKS, found, strict=True):
        bits = [8 * (live / f"seg{mark}-0000{i}.m4s").stat().st_size for i in range(3)]
        assert int(peak) == max(round(b / s) for b, s in zip(bits, lengths_s, strict=True))
        assert int(mean) == round(sum(bits) / sum(lengths_s))
        assert bytes.fromhex(codec[5:]) in (live / f"init{mark}.mp4").read_bytes()


def test_a_smaller_size_shows_the_film_scaled_down(timeline: Timeline) -> None:
    for index, segment in enumerate(timeline.segments):
        small = pictures(io.BytesIO(scaled(timeline, index, (32, 24))))
        large = pictures(segment.video)
        assert len(small) == len(large) == segment.frames
        for one, other in zip(small, large, strict=True):
            halved = other.reshape(24, 2, 32, 2).mean(axis=(1, 3))
            assert float(np.abs(one - halved).mean()) < 6.0


def test_publishing_again_after_a_crash_leaves_the_same_bytes(timeline: Timeline, tmp_path: Path) -> None:
    undisturbed = files(publish(timeline, tmp_path / "one"))
    live = tmp_path / "other" / "live"
    before = b""
    for index in range(3):
        known = msgspec.structs.replace(timeline, segments=timeline.segments[: index + 1])
        publish_segment(tmp_path / "other", known, index)
        if index == 1:  # killed between the sizes, and before the playlists were written
            (live / "seg-32x24-00001.m4s").unlink()
            (live / "index.m3u8").write_bytes(before)
            publish_segment(tmp_path / "other", known, index)
        before = (live / "index.m3u8").read_bytes()
    finish_live(tmp_path / "other", timeline)
    assert files(live) == undisturbed
    (live / "index.m3u8").write_bytes(before)  # killed before the film's own playlist was ended
    finish_live(tmp_path / "other", timeline)
    assert files(live) == undisturbed


def test_a_segment_is_listed_when_all_sizes_have_it(timeline: Timeline, tmp_path: Path) -> None:
    for index in range(3):
        publish_segment(tmp_path, timeline, index)
    (tmp_path / "live/seg-48x36-00001.m4s").unlink()
    assert publish_segment(tmp_path, timeline, 0).listed == 1
    with pytest.raises(StoreError, match="segment 1 is not published: publish it before the end"):
        finish_live(tmp_path, timeline)
    assert publish_segment(tmp_path, timeline, 1).listed == 3


def test_a_size_that_no_video_has_is_refused(timeline: Timeline) -> None:
    with pytest.raises(UsageError, match=r"renditions\[0\] is 33 px: use an even number"):
        msgspec.structs.replace(timeline, renditions=((33, 24),))
