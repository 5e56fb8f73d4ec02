"""kill -9 of the head and of workers at random instants: the film equals that of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import random
import signal

import pytest

from hpcwise.media.probe import probe
from tests.e2e.films import FilmSite
from tests.head.harness import until


def sha256(site: FilmSite, request: str) -> str:
    return hashlib.sha256(site.film_file(request).read_bytes()).hexdigest()


def test_a_document_becomes_a_film_that_plays(undisturbed: FilmSite) -> None:
    film = probe(undisturbed.film_file("quiet"))
    assert (film.width, film.height, film.fps, film.video_codec) == (320, 200, 12.0, "h264")
    assert film.audio_codec == "aac"
    assert 12.0 <= film.duration_s <= 26.0
    live = probe(undisturbed.results / "quiet" / "live" / "index.m3u8")
    assert live.frames == film.frames
    names = {p.name for p in (undisturbed.results / "quiet").iterdir()}
    assert {"film.mp4", "poster.png", "film.srt", "film.vtt", "receipt.json", "live"} <= names


@pytest.mark.parametrize("seed", [1])
def test_kills_at_random_instants_change_no_artifact_and_no_frame(
    site: FilmSite, undisturbed: FilmSite, seed: int
) -> None:
    dice = random.Random(seed)
    head = site.start()
    site.submit(site.film(), "film")
    n_all = len(undisturbed.digests())
    marks = sorted(dice.sample(range(3, n_all - 2), 3))
    victims = dice.sample(["head", "worker", "head"], 3)
    for mark, victim in zip(marks, victims, strict=True):
        until(lambda mark=mark: len(site.digests()) >= mark, 90.0)  # type: ignore[misc]
        if victim == "head":
            head.kill()
            head.wait()
            head = site.start()
        else:
            pids = dice.choice(sorted(until(site.worker_pids).values()))
            os.kill(pids[-1], signal.SIGKILL)
    view = site.ended("film", 120.0)
    assert view.row.state == "done", (view.row.reason, site.log())
    assert site.digests() == undisturbed.digests()
    assert sha256(site, "film") == sha256(undisturbed, "quiet")


def test_a_second_request_for_the_same_film_makes_nothing_again(undisturbed: FilmSite) -> None:
    before = undisturbed.digests()
    undisturbed.submit(undisturbed.film(name="once more"), "again")
    view = undisturbed.ended("again")
    assert view.row.state == "done"
    assert all(shot.cache_hit for shot in view.shots)
    assert undisturbed.digests() == before
