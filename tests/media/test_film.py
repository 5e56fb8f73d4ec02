"""The film as one file: nothing encoded again, nothing lost, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from hpcwise.core.errors import NotOwner, StoreError, UsageError
from hpcwise.media.boxes import walk
from hpcwise.media.captions import Caption
from hpcwise.media.film import FilmFiles, make_film
from hpcwise.media.probe import Probe, probe

from .making import ENCODING, WIDTH_PX, decoded_sound, make_timeline, sine, tree, write_video

CAPTIONS = (Caption(start_s=0.1, end_s=1.0, text="Hello,\nworld"),)


def _pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("fps", [24, 25, 23.976])
def test_a_film_has_every_frame_of_its_segments_and_exact_sound(tmp_path: Path, fps: float) -> None:
    timeline = make_timeline(tmp_path, [[30, 24], [12], [36, 17]], fps=fps)
    files = make_film(tmp_path / "out", timeline, CAPTIONS, title="A film")
    found = probe(files.film)
    assert found == Probe(
        duration_s=found.duration_s,
        frames=119,
        width=64,
        height=48,
        fps=float(timeline.rate),
        video_codec="h264",
        audio_codec="aac",
        sample_rate_hz=48_000,
        channels=2,
    )
    assert found.duration_s == pytest.approx(timeline.duration_s, abs=1e-4)
    wanted = [picture for segment in timeline.segments for picture in _pictures(Path(segment.video))]
    assert _pictures(files.film) == wanted
    heard, pts = decoded_sound(files.film)
    tone = sine(timeline.duration_s, rate_hz=48_000)
    assert pts[0] == 0 and abs(len(heard) - len(tone)) <= 1024
    inner = slice(64, len(tone) - 1024)  # the priming packet makes the first sample as good as any
    assert np.abs(heard[: len(tone)] - tone)[inner].max() < 0.02


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[30, 24], [12]])
    for name in ("one", "two"):
        make_film(tmp_path / name, timeline, CAPTIONS, title="Twice", poster_segment=1)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert sorted(tree(tmp_path / "one")) == ["film.mp4", "film.srt", "film.vtt", "poster.png"]
    assert b"Lav" not in (tmp_path / "one/film.mp4").read_bytes().split(b"mdat")[0]


def test_a_film_can_start_playing_before_it_is_all_there(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[24]])
    files = make_film(tmp_path, timeline, title="Two\nlines\x00 and <more>")
    kinds = [kind for kind, _ in walk(files.film.read_bytes())]
    assert kinds.index(b"moov") < kinds.index(b"mdat")
    with av.open(str(files.film)) as container:
        assert container.metadata["title"] == "Two lines and <more>"
        assert "creation_time" not in container.metadata
    assert files == FilmFiles(
        film=tmp_path / "film.mp4",
        poster=tmp_path / "poster.png",
        srt=tmp_path / "film.srt",
        vtt=tmp_path / "film.vtt",
        frames=24,
        duration_s=1.0,
    )


def test_the_poster_is_the_richest_frame_of_its_segment(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[16], [16]])
    # The second segment is black, until half of the picture turns white.
    with av.open(timeline.segments[1].video, "w") as output:
        stream = output.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, 48, "yuv420p"
        stream.codec_context.options = ENCODING
        for place in range(16):
            picture = np.zeros((48, WIDTH_PX, 3), dtype=np.uint8)
            picture[:, WIDTH_PX // 2 :] = 255 if place >= 8 else 0
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    files = make_film(tmp_path / "out", timeline, poster_segment=1)
    with av.open(str(files.poster)) as container:
        poster = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert poster.shape == (48, WIDTH_PX, 3)
    assert poster[:, :28].max() < 16 and poster[:, 36:].min() > 239


def test_a_film_that_cannot_be_made_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[24], [24]])
    out = tmp_path / "out"
    make_film(out, timeline, CAPTIONS)
    before = tree(out)
    video = Path(timeline.segments[1].video)
    write_video(video, 24, options={"x264-params": "stitchable=1:cabac=0"})
    with pytest.raises(StoreError, match=r"segment 1: .*another SPS or PPS than segment 0"):
        make_film(out, timeline)
    video.unlink()
    with pytest.raises(StoreError, match=r"shot1-0\.mp4: No such file"):
        make_film(out, timeline)
    assert tree(out) == before


def test_misuse_of_film_making_is_refused_with_one_line(tmp_path: Path) -> None:
    timeline = make_timeline(tmp_path, [[24]])
    with pytest.raises(UsageError, match="poster_segment is 1: use 0 to 0"):
        make_film(tmp_path / "out", timeline, poster_segment=1)
    with pytest.raises(UsageError, match="no segments"):
        make_film(tmp_path / "out", msgspec.structs.replace(timeline, segments=()))
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        make_film(blocked / "out", timeline)
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = make_timeline(tmp_path, [[24]])

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)  # root may write anywhere: chmod would prove nothing
    with pytest.raises(NotOwner, match="cannot be written by this user"):
        make_film(tmp_path / "out", timeline)
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("content", [b"", b"text", b"\0\0\0\x20ftypisom" + b"\0" * 20])
def test_probing_what_is_no_media_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.mp4: "):
        probe(tmp_path / "x.mp4")
    with pytest.raises(StoreError, match=r"missing\.mp4: No such file"):
        probe(tmp_path / "missing.mp4")
