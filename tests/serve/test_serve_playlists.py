"""A growing playlist is handed out when it has what the player lacks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.serving import Served

_HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n"
_CONTROL = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n"
_LIVE = "/films/film-1/live/index.m3u8"


def segments(count: int) -> str:
    return "".join(f"#EXTINF:3.5,\nseg-{i:05d}.m4s\n" for i in range(count))


def write(site: Served, text: str) -> None:
    path = site.results / "film-1" / "live" / "index.m3u8"
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("playlists")
    (folder / "results" / "film-1" / "live").mkdir(parents=True)
    with Served(folder / "results") as served:
        yield served


def test_the_next_segment_is_waited_for_and_nothing_else_is(site: Served) -> None:
    write(site, _HEAD + segments(2))
    shown = (_HEAD + segments(2)).replace("#EXT-X-MEDIA", f"{_CONTROL}#EXT-X-MEDIA", 1)
    assert site.ask(_LIVE)[2].decode() == site.ask(f"{_LIVE}?_HLS_msn=1")[2].decode() == shown
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(site.ask(f"{_LIVE}?_HLS_msn=2")[2]))
    asking.start()
    asking.join(0.3)
    assert asking.is_alive() and answers == []
    write(site, _HEAD + segments(3))
    asking.join(10)
    assert [a.count(b"#EXTINF") for a in answers] == [3]


def test_the_end_of_the_film_ends_the_waiting_and_is_handed_out_as_it_stands(site: Served) -> None:
    write(site, _HEAD + segments(2))
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(site.ask(f"{_LIVE}?_HLS_msn=2")[2]))
    asking.start()
    ended = _HEAD + segments(2) + "#EXT-X-ENDLIST\n"
    write(site, ended)
    asking.join(10)
    assert [a.decode() for a in answers] == [ended]
    assert site.ask(f"{_LIVE}?_HLS_msn=9")[2].decode() == ended


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("soon", "_HLS_msn: 'soon' is no number of a segment"),
        ("-1", "_HLS_msn: '-1' is no number of a segment"),
        ("4", "_HLS_msn: 4 is too far ahead; there are 2 segments"),
    ],
)
def test_what_no_player_asks_for_is_refused(site: Served, number: str, said: str) -> None:
    write(site, _HEAD + segments(2))
    assert site.json(f"{_LIVE}?_HLS_msn={number}") == (400, {"error": said})
