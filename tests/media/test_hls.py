"""A live film: published segment by segment, by calls that know nothing of each other."""

from __future__ import annotations

import itertools
import shutil
import struct
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from hpcwise.core.errors import StoreError, UsageError
from hpcwise.media.boxes import walk
from hpcwise.media.captions import Caption
from hpcwise.media.hls import finish_live, publish_segment
from hpcwise.media.probe import Probe, probe
from hpcwise.media.sound import Soundtrack, blocks_total
from hpcwise.media.timeline import Timeline

from .making import decode_range, decoded_sound, make_timeline, sine, tree, write_video

SHOTS = [[30, 24], [12], [36, 36, 17]]


def publish_all(out: Path, timeline: Timeline) -> None:
    """Publish as a live head does: each call sees only the segments that exist by then."""
    for count in range(1, len(timeline.segments) + 1):
        known = msgspec.structs.replace(timeline, segments=timeline.segments[:count], complete=False)
        publish_segment(out, known, count - 1)
    finish_live(out, timeline)


def sound_packets(live: Path) -> list[bytes]:
    with av.open(str(live / "index.m3u8")) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.pts is not None]


@pytest.mark.parametrize("fps", [24, 25, 30, 23.976])
def test_a_published_film_has_every_frame_and_sample_of_its_timeline(tmp_path: Path, fps: float) -> None:
    timeline = make_timeline(tmp_path, SHOTS, fps=fps)
    publish_all(tmp_path / "out", timeline)
    playlist = tmp_path / "out/live/index.m3u8"
    found = probe(playlist)
    assert found == Probe(
        duration_s=found.duration_s,
        frames=155,
        width=64,
        height=48,
        fps=float(timeline.rate),
        video_codec="h264",
        audio_codec="aac",
        sample_rate_hz=48_000,
        channels=2,
    )
    assert found.duration_s == pytest.approx(timeline.duration_s, abs=1e-4)
    with av.open(str(playlist)) as container:
        for stream in (container.streams.video[0], container.streams.audio[0]):
            container.seek(0)
            times = [
                (packet.dts, packet.dts + (packet.duration or 0))
                for packet in container.demux(stream)
                if packet.dts is not None
            ]
            assert times[0][0] == 0
            for before, after in itertools.pairwise(times):
                assert after[0] == before[1], "gap or overlap at a seam"
    with av.open(str(playlist)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 155


@pytest.mark.parametrize("sound", ["sine", "noise"])
def test_sound_published_in_parts_is_byte_for_byte_one_continuous_encode(tmp_path: Path, sound: str) -> None:
    timeline = make_timeline(tmp_path, SHOTS, sound=sound)
    publish_all(tmp_path / "out", timeline)
    whole = list(Soundtrack(timeline).packets(0, blocks_total(timeline)))
    assert sound_packets(tmp_path / "out/live") == whole


def test_a_tone_through_all_seams_stays_a_tone(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, SHOTS)
    publish_all(tmp_path / "out", timeline)
    heard, pts = decoded_sound(tmp_path / "out/live/index.m3u8")
    assert pts == list(range(0, 1024 * len(pts), 1024))
    wanted = sine(timeline.duration_s, rate_hz=48_000)
    # Without its priming packet the first block fades in, and the film ends where the tone is cut off.
    inner = slice(1024, len(wanted) - 1024)
    error = np.abs(heard[: len(wanted)] - wanted)
    assert error[inner].max() < 0.02
    for index in range(1, 6):  # a seam is no worse than the coding noise anywhere else
        seam = timeline.sample(timeline.first_frame(index), 48_000)
        assert error[seam - 2048 : seam + 2048].max() <= 1.05 * error[2048:40_000].max()


def test_the_last_segment_of_a_complete_film_holds_all_of_its_sound(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[30], [20]], complete=True)
    out = tmp_path / "out"
    for index in range(2):
        publish_segment(out, timeline, index)
    finish_live(out, timeline)
    assert (out / "live/index.m3u8").read_text() == (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n"
        '#EXT-X-MAP:URI="init.mp4"\n#EXTINF:1.250000,\nseg-00000.m4s\n#EXTINF:0.833333,\nseg-00001.m4s\n'
        "#EXT-X-ENDLIST\n"
    )
    assert decode_range((out / "live/seg-00001.m4s").read_bytes(), 2)[1] == 100_000
    assert sound_packets(out / "live") == list(Soundtrack(timeline).packets(0, 98))


def test_a_growing_playlist_only_ever_gains_lines(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, SHOTS)
    seen = ""
    for count in range(1, 7):
        known = msgspec.structs.replace(timeline, segments=timeline.segments[:count])
        files = publish_segment(tmp_path, known, count - 1)
        now = files.playlist.read_text()
        assert now.startswith(seen) and files.listed == count and "ENDLIST" not in now
        seen = now
    ended = finish_live(tmp_path, timeline).playlist.read_text()
    assert ended.startswith(seen)
    assert ended[len(seen) :] == "#EXT-X-ENDLIST\n"


def test_a_film_whose_end_came_as_a_surprise_ends_in_the_same_files(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, SHOTS)
    publish_all(tmp_path / "surprised", timeline)
    complete = msgspec.structs.replace(timeline, complete=True)
    for index in range(6):
        publish_segment(tmp_path / "knowing", complete, index)
    before = (tmp_path / "knowing/live/seg-00005.m4s").read_bytes()
    finish_live(tmp_path / "knowing", timeline)
    assert (tmp_path / "knowing/live/seg-00005.m4s").read_bytes() == before
    ours, theirs = tree(tmp_path / "surprised"), tree(tmp_path / "knowing")
    assert ours == theirs


def test_publishing_again_after_a_crash_leaves_the_same_bytes(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, SHOTS)
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    captions = [Caption(start_s=0.5, end_s=2.5, text="over a seam")]
    for index in range(6):
        publish_segment(calm, timeline, index, captions)
    # Another head, killed after writing a segment and before the playlist, then repeated out of order.
    for index in (0, 1, 2):
        publish_segment(shaken, timeline, index, captions)
    shutil.copy(calm / "live/seg-00003.m4s", shaken / "live")
    for index in (1, 3, 2, 5, 4, 5):
        publish_segment(shaken, timeline, index, captions)
    assert tree(shaken) == tree(calm)
    finish_live(calm, timeline)
    ended = tree(calm)
    finish_live(calm, timeline)
    assert publish_segment(calm, timeline, 2, captions).listed == 6
    assert tree(calm) == ended


def test_a_segment_ahead_of_a_gap_is_listed_once_the_gap_is_filled(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[24], [24], [24]])
    assert [publish_segment(tmp_path, timeline, index).listed for index in (2, 0, 1)] == [0, 1, 3]


def test_segments_carry_absolute_times_and_start_with_a_key_frame(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[30], [20]])
    publish_segment(tmp_path, timeline, 0)
    publish_segment(tmp_path, timeline, 1)
    first, second = ((tmp_path / f"live/seg-0000{index}.m4s").read_bytes() for index in range(2))
    assert (decode_range(first, 1), decode_range(second, 1)) == ((0, 30_000), (30_000, 50_000))
    sound_end = decode_range(first, 2)[1]
    assert sound_end % 1024 == 0 and 0 < 60_000 - sound_end < 5 * 1024
    assert decode_range(second, 2)[0] == sound_end
    kinds = [kind for kind, _ in walk(second)]
    moof = dict(walk(dict(walk(second))[b"moof"]))
    trun = dict(walk(moof[b"traf"]))  # the last traf wins: the sound
    assert kinds == [b"moof", b"mdat"]
    assert struct.unpack_from(">I", trun[b"tfhd"], 4) == (2,)
    assert struct.unpack_from(">I", moof[b"mfhd"], 4) == (2,)


def test_the_master_playlist_declares_what_the_stream_is(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[24], [24]], fps=24)
    captions = [Caption(start_s=0.9, end_s=1.2, text="a < b & c")]
    for index in range(2):
        files = publish_segment(tmp_path, timeline, index, captions)
    sizes = [8 * (tmp_path / f"live/seg-0000{index}.m4s").stat().st_size for index in range(2)]
    assert files.master.read_text() == (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",LANGUAGE="en",DEFAULT=NO,AUTOSELECT=YES,'
        'FORCED=NO,URI="subs.m3u8"\n'
        f"#EXT-X-STREAM-INF:BANDWIDTH={max(sizes)},AVERAGE-BANDWIDTH={round(sum(sizes) / 2)},"
        'CODECS="avc1.64000a,mp4a.40.2",RESOLUTION=64x48,FRAME-RATE=24.000,SUBTITLES="subs"\nindex.m3u8\n'
    )
    for index in range(2):  # the cue crosses the seam: it is in both
        assert (tmp_path / f"live/subs-0000{index}.vtt").read_text() == (
            "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n"
            "00:00:00.900 --> 00:00:01.200\na &lt; b &amp; c\n\n"
        )
    assert finish_live(tmp_path, timeline).subtitles == tmp_path / "live/subs.m3u8"
    assert (
        (tmp_path / "live/subs.m3u8")
        .read_text()
        .endswith("#EXTINF:1.000000,\nsubs-00000.vtt\n#EXTINF:1.000000,\nsubs-00001.vtt\n#EXT-X-ENDLIST\n")
    )
    # A player that takes the master finds the whole film behind it.
    assert probe(files.master).frames == 48


def test_files_that_do_not_fit_are_named_and_publish_nothing(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[24], [24]])
    publish_segment(tmp_path, timeline, 0)
    before = tree(tmp_path / "live")
    video = Path(timeline.segments[1].video)

    def refused() -> str:
        with pytest.raises(StoreError) as caught:
            publish_segment(tmp_path, timeline, 1)
        assert "\n" not in str(caught.value) and tree(tmp_path / "live") == before
        return str(caught.value)

    write_video(video, 23)
    assert "segment 1:" in refused() and "23 frames, the timeline says 24" in refused()
    write_video(video, 24, fps=25)
    assert "frame 1 is not at 24 fps" in refused()
    write_video(video, 24, size=(80, 48))
    assert "80x48 px, the film has 64x48" in refused()
    write_video(video, 24, options={"bf": "2", "preset": "medium", "x264-params": "b-adapt=0"})
    assert "has B-frames: encode with bf=0" in refused()
    write_video(video, 24, options={"x264-params": "stitchable=1:cabac=0"})
    assert "another SPS or PPS" in refused()
    write_video(video, 24)
    video.write_bytes(video.read_bytes()[:-300])
    assert "shot1-0.mp4: not a media file" in refused()
    video.write_bytes(b"no video at all")
    assert "not a media file" in refused()
    video.unlink()
    assert "No such file" in refused()
    write_video(video, 24)
    Path(timeline.segments[1].audio).write_bytes(b"RIFFnothing")
    assert "shot 1:" in refused() and "not a WAV file" in refused()
    Path(timeline.segments[1].audio).unlink()
    assert "shot1.wav: No such file" in refused()


def test_misuse_of_publishing_is_refused_with_one_line(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[24], [24]])
    with pytest.raises(UsageError, match="index is 2: the timeline has 2 segments"):
        publish_segment(tmp_path, timeline, 2)
    publish_segment(tmp_path, timeline, 0)
    with pytest.raises(StoreError, match="segment 1 is not published"):
        finish_live(tmp_path, timeline)
    finish_live(tmp_path, msgspec.structs.replace(timeline, segments=timeline.segments[:1]))
    with pytest.raises(StoreError, match="the film ended after 1 segments"):
        publish_segment(tmp_path, timeline, 1)
    with pytest.raises(UsageError, match="no segments"):
        finish_live(tmp_path, msgspec.structs.replace(timeline, segments=()))
