"""Publishing from the store: real segments and sounds, small."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hpcwise.core import messages as m
from hpcwise.core.film import FilmPlan
from hpcwise.core.screenplay import Scene, Screenplay, Speech, Word
from hpcwise.core.spec import Asset, Music
from hpcwise.core.state import FilmSegment
from hpcwise.head import publisher
from hpcwise.head.publisher import SUMS, PublishJob, PublishResult, publish
from hpcwise.head.publishing import Publishing, Wanted
from hpcwise.store.artifacts import Store
from hpcwise.store.paths import RunPaths
from tests.media.making import HEIGHT_PX, WIDTH_PX, decoded_sound, sine, write_video, write_wav

VIDEO = ["a" * 40, "b" * 40]
SPEECH = ["c" * 40, "d" * 40]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def commit(store: Store, key: str, chunk: int, make: Any) -> None:
    scratch = store.begin(key, chunk)
    make(scratch)
    store.commit(key, chunk, scratch, {})


def speech_files(folder: Path, text: str) -> None:
    write_wav(folder / "audio.wav", sine(2.0))
    words = tuple(Word(word, 0.2 + i * 0.5, 0.6 + i * 0.5) for i, word in enumerate(text.split()))
    speech = Speech(duration_s=2.0, sample_rate_hz=24_000, words=words, visemes=(), spans=())
    (folder / "speech.json").write_bytes(msgspec.json.encode(speech))


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """Two shots of two segments of one second each."""
    made = RunPaths(tmp_path / "run")
    made.create()
    store = Store(made, durable=False)
    for shot in range(2):
        commit(store, SPEECH[shot], 0, lambda folder, s=shot: speech_files(folder, f"Shot {s} speaks."))
        for chunk in range(2):
            commit(
                store, VIDEO[shot], chunk,
                lambda folder, at=48 * shot + 24 * chunk: write_video(folder / "segment.mp4", 24, first=at),
            )  # fmt: skip
    return made


def plan(**fields: Any) -> FilmPlan:
    segments = tuple(
        FilmSegment(shot=s, key=VIDEO[s], chunk=k, frames=24, first_frame=24 * k, speech_key=SPEECH[s])
        for s in range(2)
        for k in range(2)
    )
    return FilmPlan(
        **{
            "request_id": "r", "width": WIDTH_PX, "height": HEIGHT_PX, "fps": 24, "title": "A film",
            "segments": segments, "poster_segment": 2, "outputs": ("mp4", "hls", "poster"),
            "subtitles": ("srt",), **fields,
        }
    )  # fmt: skip


def do(paths: RunPaths, what: Any, index: int = 0, **fields: Any) -> PublishResult:
    job = PublishJob(
        what=what,
        run_dir=str(paths.root),
        out_dir=str(paths.root.parent / "out"),
        plan=plan(**fields),
        index=index,
    )
    return msgspec.msgpack.decode(publish(msgspec.msgpack.encode(job)), type=PublishResult)


def test_segments_then_the_end_then_the_film(paths: RunPaths, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for index in range(4):
        assert do(paths, "segment", index) == PublishResult()
        assert (out / "live" / "index.m3u8").read_text().count("seg-") == index + 1
    assert do(paths, "end") == PublishResult()
    assert (out / "live" / "index.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")
    film = do(paths, "film")
    beside = ("film.mp4", "film.srt", "live/SHA256SUMS", "poster.png")
    assert film == PublishResult(hashes={name: sha256(out / name) for name in beside})
    assert sorted(p.name for p in out.iterdir()) == ["film.mp4", "film.srt", "live", "poster.png"]
    sums = dict(line.split("  ")[::-1] for line in (out / "live" / SUMS).read_text().splitlines())
    assert sums == {p.name: sha256(p) for p in (out / "live").iterdir() if p.name != SUMS}
    assert "Shot 1" in (out / "film.srt").read_text()
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert (do(paths, "segment", 2), do(paths, "end"), do(paths, "film")) == (
        PublishResult(),
        PublishResult(),
        film,
    )
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_the_music_that_a_job_names_is_heard_live_and_in_the_film_and_fades_with_its_last_shot(
    paths: RunPaths, tmp_path: Path
) -> None:
    song = write_wav(tmp_path / "song.wav", sine(3.0, hz=220))
    music: dict[str, Any] = {"music": Music(file=Asset(path=song, sha256="x"), level_db=12.0)}
    for index in range(4):
        # The second shot is known to be the last one when its first segment is published.
        assert do(paths, "segment", index, **music, last_shot=1 if index > 1 else -1) == PublishResult()
    assert do(paths, "end", **music, last_shot=1).error == do(paths, "film", **music, last_shot=1).error == ""
    with_music, _ = decoded_sound(tmp_path / "out" / "film.mp4")
    (tmp_path / "out").rename(tmp_path / "music")
    assert do(paths, "film").error == ""
    without, _ = decoded_sound(tmp_path / "out" / "film.mp4")
    added = with_music - without
    loud = [
        float(np.sqrt((added[at : at + 4800] ** 2).mean())) for at in (48_000, 120_000, added.size - 5000)
    ]
    assert loud[0] > 0.01 and loud[1] > 0.01 and loud[2] < 0.3 * loud[0]
    missing: dict[str, Any] = {"music": Music(file=Asset(path=str(tmp_path / "gone.wav"), sha256="x"))}
    assert do(paths, "film", **missing).error == f"{tmp_path / 'gone.wav'}: No such file or directory"


def test_a_film_has_its_screenplay_beside_it_and_its_text_or_names_the_document_that_is_gone(
    paths: RunPaths, tmp_path: Path
) -> None:
    play = Screenplay(title="A film", scenes=(Scene(title="One", shots=(), last=True),), written_by="us")
    store, document = Store(paths, durable=False), "e" * 40
    commit(store, document, 0, lambda folder: (folder / "document.txt").write_text("What it rests on."))
    told: dict[str, Any] = {"screenplay": play, "document_key": document}
    hashes = do(paths, "film", **told).hashes
    out = tmp_path / "out"
    assert msgspec.json.decode((out / "screenplay.json").read_bytes(), type=Screenplay) == play
    assert (out / "document.txt").read_text() == "What it rests on."
    assert {"screenplay.json": sha256(out / "screenplay.json"), **hashes} == hashes
    store.remove(document)
    assert do(paths, "film", **told).torn == document


def test_outputs_that_nobody_asked_for_are_not_left_behind(paths: RunPaths, tmp_path: Path) -> None:
    assert do(paths, "film", outputs=("mp4",), subtitles=()).error == ""
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["film.mp4"]


def test_a_torn_segment_or_sound_is_named_by_its_key(paths: RunPaths) -> None:
    store = Store(paths)
    video = next(store.read(VIDEO[1], 0).path.glob("*.mp4"))
    video.write_bytes(video.read_bytes()[:-1] + b"\0")
    publisher._store.cache_clear()
    result = do(paths, "segment", 2)
    assert result.torn == VIDEO[1] and "does not match its manifest" in result.error and not result.full
    # What does not need it can still be published.
    assert do(paths, "segment", 0) == PublishResult()


def test_a_full_disk_is_said_to_be_one(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "mkdir", full)
    result = do(paths, "film")
    assert result.full and "No space left on device; free space" in result.error


def test_results_become_events_in_order_and_a_failure_drops_what_stood_behind_it(paths: RunPaths) -> None:
    async def scenario() -> list[m.Event]:
        events: list[m.Event] = []
        publishing = Publishing(events.append)
        for index in range(3):
            torn = index == 1
            fields: dict[str, Any] = {}
            if torn:
                missing = msgspec.structs.replace(plan().segments[1], key="e" * 40)
                segments = (plan().segments[0], missing, *plan().segments[2:])
                fields = {"segments": segments}
            job = PublishJob(
                what="segment", run_dir=str(paths.root), out_dir=str(paths.root.parent / "out"),
                plan=plan(**fields), index=index,
            )  # fmt: skip
            publishing.put(Wanted("r", job, m.Published("r", index)))
        await publishing.drained()
        publishing.close()
        return events

    first, failed = asyncio.run(scenario())
    assert first == m.Published("r", 0)
    assert isinstance(failed, m.PublishFailed)
    assert (failed.request_id, failed.key, failed.index) == ("r", "e" * 40, 1)
