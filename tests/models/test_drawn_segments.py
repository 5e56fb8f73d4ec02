"""Segments of drawn shots: exact frames, joinable streams, equal bytes, tiers, stops and wrong parameters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
import skia

from hpcwise.core.errors import BadOutput, Stopped, UsageError
from hpcwise.core.screenplay import Speech, Viseme, Word
from hpcwise.media.timeline import Segment, Timeline, shot_frames
from hpcwise.media.video import read_segment
from hpcwise.models.base import Call, Devices, Input, ModelSpec, Output
from hpcwise.models.drawn.adapter import DrawnSceneAdapter

CAST = [
    {"id": "maya", "name": "Maya", "role": "host", "voice": "af_heart", "look": "maya"},
    {"id": "dan", "name": "Daniel", "role": "expert", "voice": "am_michael", "look": "dan"},
]
LINES = [{"speaker": "maya", "text": "x"}, {"speaker": "dan", "text": "y"}]
KINDS = ("title", "two_shot", "close_up", "figure", "end")
SEGMENT = 24
#: 2.71 s at 24 frames a second are 65.04 frames: 66 of them, the last segment is short.
DURATION_S, FRAMES = 2.71, 66


def speech_of(duration_s: float) -> Speech:
    """Somebody talks for the first half, somebody else for the second."""
    half = duration_s / 2
    words, visemes = [], []
    for k, who in enumerate(("maya", "dan")):
        count = int(half / 0.3)
        for i in range(count):
            start = k * half + 0.1 + i * (half - 0.2) / count
            words.append(Word(f"{who}{i}{'.' if i == count - 1 else ''}", start, start + 0.25))
            visemes += [
                Viseme("!", start, 0.05, who),
                Viseme("D", start, 0.15, who),
                Viseme("A", start + 0.15, 0.1, who),
            ]
    spans = (("maya", 0.1, half - 0.1), ("dan", half + 0.1, duration_s - 0.1))
    return Speech(
        duration_s=duration_s, sample_rate_hz=24_000, words=tuple(words), visemes=tuple(visemes), spans=spans
    )


@pytest.fixture
def inputs(tmp_path: Path) -> Callable[..., dict[str, Iterator[Input]]]:
    """Inputs of an animate call, anew for each."""
    speech, document = tmp_path / "speech", tmp_path / "document"
    speech.mkdir()
    document.mkdir()
    surface = skia.Surface(300, 150)
    surface.getCanvas().clear(skia.Color(250, 250, 250))
    surface.getCanvas().drawRect(
        skia.Rect.MakeXYWH(3, 3, 294, 144), skia.Paint(Color=skia.Color(40, 90, 200))
    )
    surface.makeImageSnapshot().save(str(document / "fig-0.png"), skia.kPNG)
    figure = {"index": 0, "label": "Figure 1", "caption": "All of it.", "file": "fig-0.png", "page": 1}
    (document / "document.json").write_bytes(
        msgspec.json.encode({"title": "A paper", "authors": ["A. B."], "figures": [figure], "sections": []})
    )

    def make(
        duration_s: float = DURATION_S, edges: tuple[str, ...] = ("speech", "document")
    ) -> dict[str, Iterator[Input]]:
        (speech / "speech.json").write_bytes(msgspec.json.encode(speech_of(duration_s)))
        return {edge: iter([Input({"speech": speech, "document": document}[edge], {})]) for edge in edges}

    return make


Inputs = Callable[..., dict[str, Iterator[Input]]]


def params_of(kind: str = "two_shot", **change: Any) -> dict[str, Any]:
    shot = {"kind": kind, "lines": LINES, "heading": "A heading", "figure": 0 if kind == "figure" else None}
    return {"shot": shot, "cast": CAST, "width": 160, "height": 100, "segment_frames": SEGMENT, **change}


def animated(
    inputs: dict[str, Iterator[Input]], work: Path, first_chunk: int = 0, **params: Any
) -> list[Output]:
    work.mkdir(parents=True, exist_ok=True)
    adapter = DrawnSceneAdapter()
    adapter.load(ModelSpec("drawn-scene", "1", "drawn-scene"), Devices())
    call = Call("animate", params, 0, inputs, work, first_chunk)
    return list(adapter.run(call, lambda done, total, note: None, lambda: False))


def decoded(path: Path) -> list[Any]:
    with av.open(str(path)) as file:
        return list(file.decode(video=0))


def header(path: Path) -> bytes:
    with av.open(str(path)) as file:
        return bytes(file.streams.video[0].codec_context.extradata or b"")


def test_segments_join_to_exactly_the_frames_of_the_shot(inputs: Inputs, tmp_path: Path) -> None:
    out = animated(inputs(), tmp_path / "w", **params_of())
    assert [o.facts for o in out] == [
        {"frames": n, "width": 160, "height": 100, "first_frame": first, "render_fps": 24.0}
        for first, n in ((0, 24), (24, 24), (48, 18))
    ]
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        stream: Any = None
        at = 0
        for o in out:
            with av.open(str(o.files["video.mp4"])) as part:
                source: Any = part.streams.video[0]
                stream = stream or film.add_stream_from_template(source)
                tick = round(1 / (24 * source.time_base))
                for packet in part.demux(source):
                    if packet.dts is not None:
                        packet.pts = packet.dts = at * tick
                        packet.stream = stream
                        film.mux(packet)
                        at += 1
    frames = decoded(tmp_path / "film.mp4")
    assert (at, len(frames)) == (FRAMES, FRAMES)
    assert [round(f.time * 24) for f in frames] == list(range(FRAMES))


@pytest.mark.parametrize("fps", [12, 23.976, 29.97, 50, 60])
def test_segments_of_any_frame_rate_fit_the_timeline_of_a_film(
    inputs: Inputs, tmp_path: Path, fps: float
) -> None:
    for quality in ("high", "static"):
        work = tmp_path / quality
        params = params_of("two_shot", quality=quality, fps=fps, segment_frames=round(fps))
        made = animated(inputs(2.2), work, **params)
        frames = [o.facts["frames"] for o in made]
        assert sum(frames) == shot_frames(2.2, fps)
        segments = tuple(
            Segment(
                shot=0, index=i, video=str(o.files["video.mp4"]), frames=n, shot_first_frame=sum(frames[:i]),
                audio="",
            )
            for i, (o, n) in enumerate(zip(made, frames, strict=True))
        )  # fmt: skip
        timeline = Timeline(width=160, height=100, fps=fps, segments=segments)
        assert [len(read_segment(timeline, i).frames) for i in range(len(made))] == frames


def test_each_segment_begins_with_a_key_frame_has_no_b_frames_and_is_tagged_bt709(
    inputs: Inputs, tmp_path: Path
) -> None:
    for o in animated(inputs(), tmp_path / "w", **params_of("close_up")):
        frames = decoded(o.files["video.mp4"])
        assert [f.key_frame for f in frames] == [True] + [False] * (len(frames) - 1)
        assert {f.pict_type.name if hasattr(f.pict_type, "name") else f.pict_type for f in frames[1:]} <= {
            "P",
            2,
        }
        assert (frames[0].format.name, int(frames[0].colorspace), int(frames[0].color_range)) == (
            "yuv420p",
            1,
            1,
        )


def test_all_tiers_and_kinds_of_one_size_share_one_stream_header(inputs: Inputs, tmp_path: Path) -> None:
    headers = set()
    for kind in KINDS:
        for quality, small in (("high", 0), ("medium", 70), ("low", 70), ("static", 0)):
            params = params_of(kind, quality=quality, render_width=small * 8 // 5, render_height=small)
            (out,) = animated(inputs(0.8), tmp_path / f"{kind}-{quality}", **params)
            headers.add(header(out.files["video.mp4"]))
            assert decoded(out.files["video.mp4"])[0].width == 160
    assert len(headers) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", ["high", "low", "static"])
def test_a_chunk_is_the_same_bytes_whatever_chunk_was_first(
    inputs: Inputs, tmp_path: Path, kind: str, quality: str
) -> None:
    whole = animated(inputs(), tmp_path / "whole", **params_of(kind, quality=quality))
    rest = animated(inputs(), tmp_path / "rest", first_chunk=1, **params_of(kind, quality=quality))
    assert [o.facts for o in rest] == [o.facts for o in whole[1:]]
    for a, b in zip(whole[1:], rest, strict=True):
        assert {n: p.read_bytes() for n, p in a.files.items()} == {
            n: p.read_bytes() for n, p in b.files.items()
        }


def test_a_segment_length_that_is_odd_for_a_low_tier_still_repeats_whole_pictures(
    inputs: Inputs, tmp_path: Path
) -> None:
    whole = animated(inputs(), tmp_path / "w", **params_of(quality="low", segment_frames=7))
    assert sum(o.facts["frames"] for o in whole) == FRAMES
    again = animated(inputs(), tmp_path / "r", first_chunk=3, **params_of(quality="low", segment_frames=7))
    assert [o.files["video.mp4"].read_bytes() for o in whole[3:]] == [
        o.files["video.mp4"].read_bytes() for o in again
    ]


def test_a_static_shot_takes_less_than_a_fifth_of_the_time(inputs: Inputs, tmp_path: Path) -> None:
    def seconds(quality: str) -> float:
        size: dict[str, Any] = {"width": 640, "height": 400, "segment_frames": 84}
        before = time.process_time()
        animated(inputs(7.0), tmp_path / quality, **params_of(**size, quality=quality))
        return time.process_time() - before

    seconds("static")
    assert min(seconds("static") for _ in range(2)) * 5 < seconds("high")


def test_a_static_shot_changes_with_its_captions_only(inputs: Inputs, tmp_path: Path) -> None:
    out = animated(inputs(), tmp_path / "w", **params_of(quality="static", segment_frames=100))
    frames = [f.to_ndarray(format="gray").astype(int) for f in decoded(out[0].files["video.mp4"])]
    cuts = [i for i in range(1, len(frames)) if (np.abs(frames[i] - frames[i - 1]) > 40).sum() > 20]
    # One page of captions a speaker, there 0.08 s before its first word; the second replaces the first.
    first, second = (speech_of(DURATION_S).words[i].start_s - 0.08 for i in (0, 4))
    assert cuts == [math.ceil(first * 24), math.ceil(second * 24)]
    assert out[0].facts["render_fps"] == round(3 * 24 / FRAMES, 3)


def test_a_stop_between_frames_is_obeyed(inputs: Inputs, tmp_path: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > SEGMENT + 3

    adapter = DrawnSceneAdapter()
    call = Call("animate", params_of(), 0, inputs(), tmp_path, 0)
    outputs = adapter.run(call, lambda done, total, note: None, stop)
    assert next(outputs).facts["frames"] == SEGMENT
    with pytest.raises(Stopped, match="stopped at frame 27 of 66"):
        next(outputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 161}, "animate: width is 161; H.264 in 4:2:0 needs an even number"),
        ({"height": 20}, "animate: height is 20; give 64 to 4096 pixels"),
        ({"render_width": 9000}, "animate: render_width is 9000; give 64 to 4096 pixels"),
        ({"fps": 0}, "animate: fps is 0; give 1 to 120"),
        ({"segment_frames": 0}, "animate: segment_frames is 0; give 1 or more"),
        ({"quality": "best"}, "Invalid enum value 'best' - at `$.quality`"),
        ({"cast": []}, "animate: cast is empty; give at least one character"),
        (
            {"cast": [{**CAST[0], "look": "bob"}, CAST[1]]},
            "cast[0].look is 'bob'; use one of maya, dan, ada, ken",
        ),
        (
            {"shot": {"kind": "end", "lines": [{"speaker": "x", "text": ""}]}},
            "shot.lines[0].speaker is 'x'; the cast has",
        ),
        ({"tier": 3}, "unknown field `tier`"),
    ],
)
def test_wrong_parameters_are_named_before_anything_is_written(
    inputs: Inputs, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        animated(inputs(), tmp_path / "w", **{**params_of(), **change})
    assert message in str(caught.value)
    assert list((tmp_path / "w").iterdir()) == []


def test_missing_or_broken_inputs_are_named(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="input 'speech' is missing"):
        animated(inputs(edges=("document",)), tmp_path / "w", **params_of())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "speech.json").write_text("{")
    with pytest.raises(BadOutput, match=r"speech\.json cannot be read"):
        animated({"speech": iter([Input(broken, {})])}, tmp_path / "w", **params_of())
    with pytest.raises(UsageError, match="stage is 'speech'; it does image and animate"):
        list(DrawnSceneAdapter().run(Call("speech", {}, 0, {}, tmp_path), lambda *a: None, lambda: False))


def test_a_backdrop_is_a_picture_of_the_asked_size_and_the_same_every_time(tmp_path: Path) -> None:
    pictures = []
    for name, work in (("studio", "a"), ("studio", "b"), ("lecture", "c")):
        (tmp_path / work).mkdir()
        call = Call("image", {"set": name, "width": 90, "height": 160}, 0, {}, tmp_path / work)
        (out,) = DrawnSceneAdapter().run(call, lambda *a: None, lambda: False)
        mood = {"studio": "night", "lecture": "morning"}[name]
        assert out.facts == {"w": 90, "h": 160, "set": name, "mood": mood}
        pictures.append(out.files["backdrop.png"].read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
    image = skia.Image.open(str(tmp_path / "a" / "backdrop.png"))
    assert (image.width(), image.height()) == (90, 160)
    with pytest.raises(
        UsageError, match="image: set is 'beach'; use one of studio, lecture, street, newsroom"
    ):
        call = Call("image", {"set": "beach", "width": 90, "height": 160}, 0, {}, tmp_path)
        list(DrawnSceneAdapter().run(call, lambda *a: None, lambda: False))
