"""The screenplay stage as a whole: arc, length, cast, faithfulness, streaming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.core.document import Document, Figure, Section, Sentence
from hpcwise.core.errors import Stopped, UsageError
from hpcwise.core.screenplay import Line, Scene, Screenplay
from hpcwise.models.base import Call, Devices, Input, ModelSpec, OnStep, Output
from hpcwise.models.screenplay.adapter import ExtractiveScreenplayAdapter
from hpcwise.models.screenplay.speakable import check_line
from hpcwise.models.screenplay.timing import lines_s

CAST: list[dict[str, str]] = [
    {"id": "dan", "name": "Dan", "role": "expert", "voice": "v2", "look": "l2"},
    {"id": "maya", "name": "Maya", "role": "host", "voice": "v1", "look": "l1"},
]

TOPICS = {
    "Introduction": [
        "Ships burn a great deal of heavy fuel when they cross the ocean.",
        "Winches are heavy, and they are costly to maintain on long journeys.",
        "Large kites can pull ships, but they are difficult to steer in gusts of wind.",
        "Crews need months of training before they can fly a kite at night.",
        "However, trained crews are rare in most harbours.",
    ],
    "Controller Design": [
        "The controller measures the pull of the kite at three points of the line.",
        "As shown in Figure 1, the pull follows the wind with a delay of two minutes.",
        "A small motor turns the kite by shortening one of its two lines.",
        "The software predicts gusts from the change of the pull over ten seconds.",
        "Batteries store the energy that the motor gives back when lines are let out.",
        "Three sensors vote, so that a wet one cannot mislead the motor.",
    ],
    "Experiments": [
        "The kite stayed in the air for 96 hours without a landing.",
        "Energy for steering fell from 5.1 kWh to 2.9 kWh a day.",
        "The crew of the Bergen Star flew 14 kites over two summers.",
        "Compared with winches, the motor reacted twice as fast to a gust.",
        "Landings at night were successful in 31 of 33 trials.",
        "A second ship repeated the trials with similar results in the Baltic Sea.",
    ],
    "Limitations": [
        "The trials covered summer weather only, so ice on the lines remains a challenge.",
        "Very light winds below 3 metres a second cannot lift the kite.",
    ],
    "Conclusion": [
        "Small motors are enough to steer large kites on the open sea.",
        "Future work will bring the controller to fishing boats and ferries.",
    ],
}


def kite_paper(title: str = "Fjord: Steering Large Kites with Small Motors") -> Document:
    abstract = [
        "We present Fjord, a controller that steers large kites with small motors at sea.",
        "Fjord uses 43% less energy than winches do in trials on the open ocean.",
    ]
    sections = [
        Section(heading=heading, page=page, sentences=tuple(Sentence(text=t, page=page) for t in texts))
        for page, (heading, texts) in enumerate({"Abstract": abstract, **TOPICS}.items(), 1)
    ]
    figure = Figure(
        index=0,
        label="Figure 1",
        caption="Pull of the kite over one day. The dashed line is the speed of the wind in metres a second",
        file="fig-0.png",
        width_px=900,
        height_px=600,
        page=3,
    )
    return Document(
        title=title,
        authors=("Ada Lindqvist", "Bo Marsh", "Chen Wei"),
        sections=tuple(sections),
        figures=(figure,),
        n_pages=6,
    )


def outputs(
    folder: Path,
    document: Document,
    duration_s: float = 90.0,
    *,
    seed: int = 0,
    first_chunk: int = 0,
    embedder: str = "model",
    cast: list[dict[str, str]] | None = None,
    on_step: OnStep = lambda *_: None,
) -> list[Output]:
    """Run the stage as a worker does."""
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    (folder / "in" / "document.json").write_bytes(msgspec.json.encode(document))
    adapter = ExtractiveScreenplayAdapter()
    adapter.load(ModelSpec("s", "1", "screenplay", options={"embedder": embedder}), Devices())
    params: dict[str, Any] = {"duration_s": duration_s, "cast": CAST if cast is None else cast}
    edges = {"document": iter([Input(folder / "in", {})])}
    call = Call("screenplay", params, seed, edges, folder / "work", first_chunk)
    return list(adapter.run(call, on_step, lambda: False))


def scenes_of(found: list[Output]) -> list[Scene]:
    return [msgspec.convert(output.facts["scene"], Scene) for output in found]


def lines_of(scenes: list[Scene]) -> list[Line]:
    return [line for scene in scenes for shot in scene.shots for line in shot.lines]


@pytest.fixture(scope="module", params=["model", "words"])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    return scenes_of(outputs(tmp_path_factory.mktemp("film"), kite_paper(), 120.0, embedder=request.param))


def test_a_film_opens_with_its_title_and_closes_with_an_end(film: list[Scene]) -> None:
    first, last = film[0].shots[0], film[-1].shots[-1]
    assert (first.kind, first.heading, first.prominence) == (
        "title",
        "Fjord: Steering Large Kites with Small Motors",
        1.0,
    )
    assert first.subheading == "Ada Lindqvist, Bo Marsh, Chen Wei"
    assert [(x.speaker, x.text) for x in first.lines] == [
        (
            "maya",
            "Welcome. Today's paper is Fjord: Steering Large Kites with Small Motors, "
            "by Ada Lindqvist and colleagues.",
        )
    ]
    assert (last.kind, last.prominence, last.lines[0].speaker) == ("end", 0.7, "maya")
    assert [scene.last for scene in film] == [False] * (len(film) - 1) + [True]


def test_the_opening_says_what_the_work_is_in_its_own_words(film: list[Scene]) -> None:
    claim = film[0].shots[2].lines[0]
    assert (claim.speaker, claim.text, claim.page) == (
        "dan",
        "The authors present Fjord, a controller that steers large kites with small motors at sea.",
        1,
    )


def test_every_claim_rests_on_a_sentence_of_the_document(film: list[Scene]) -> None:
    printed = {s.text for x in kite_paper().sections for s in x.sentences}
    claims = [line for line in lines_of(film) if line.speaker == "dan"]
    assert len(claims) >= 10
    for claim in claims:
        assert claim.source in printed or claim.source.startswith("Figure 1: ")
        assert claim.page >= 1
        assert check_line(claim) == []
    assert all(line.source == "" for line in lines_of(film) if line.speaker == "maya")


def test_nothing_is_said_twice_and_sections_keep_their_order(film: list[Scene]) -> None:
    texts = [line.text for line in lines_of(film)]
    assert len(texts) == len(set(texts))
    order = [s.text for x in kite_paper().sections for s in x.sentences]
    for scene in film:
        places = [order.index(x.source) for x in lines_of([scene]) if x.source in order]
        assert places == sorted(places)


def test_a_sentence_that_points_back_follows_its_neighbour(film: list[Scene]) -> None:
    sources = [line.source for line in lines_of(film) if line.source]
    leaning = "However, trained crews are rare in most harbours."
    if leaning in sources:
        before = sources[sources.index(leaning) - 1]
        assert before == "Crews need months of training before they can fly a kite at night."


def test_the_arc_goes_from_problem_to_limits_and_shows_the_figure(film: list[Scene]) -> None:
    titles = [scene.title for scene in film]
    middle = [t for t in titles if t in ("Controller Design", "Experiments")]
    arc = [
        "Opening",
        "The problem",
        "The idea",
        "Controller Design",
        "Experiments",
        "Limits",
        "What it means",
        "Close",
    ]
    assert titles == [t for t in arc if t in titles]
    assert middle == ["Controller Design", "Experiments"]
    assert {"The problem", "Limits"} < set(titles)
    shown = [shot for scene in film for shot in scene.shots if shot.kind == "figure"]
    assert [(shot.figure, shot.heading, shot.prominence) for shot in shown] == [(0, "Figure 1", 0.8)] * len(
        shown
    )
    assert any(
        line.text == "Figure 1. Pull of the kite over one day." for shot in shown for line in shot.lines
    )


def test_shots_are_short_have_few_lines_and_state_their_length(film: list[Scene]) -> None:
    for scene in film:
        for shot in scene.shots:
            assert 1 <= len(shot.lines) <= 2
            assert shot.expected_s == round(lines_s(shot.lines, shot.pause_after_s), 2)
            assert 1.8 <= shot.expected_s <= 14.0
            if shot.kind == "close_up":
                assert {line.speaker for line in shot.lines} == {"dan"}


@pytest.mark.parametrize("duration_s", [45.0, 60.0, 90.0, 150.0])
def test_a_film_lasts_as_long_as_asked_while_there_is_something_to_say(
    tmp_path: Path, duration_s: float
) -> None:
    scenes = scenes_of(outputs(tmp_path, kite_paper(), duration_s))
    assert sum(s.expected_s for x in scenes for s in x.shots) == pytest.approx(duration_s, rel=0.1)


def test_a_short_document_gives_a_shorter_film_that_ends_well(tmp_path: Path) -> None:
    tiny = Section(
        heading="", page=1, sentences=(Sentence(text="Nine old boats lay at the pier all morning.", page=1),)
    )
    document = Document(title="", authors=(), sections=(tiny,), figures=(), n_pages=1)
    scenes = scenes_of(outputs(tmp_path, document, 300.0))
    assert [[shot.kind for shot in scene.shots] for scene in scenes] == [["title", "two_shot"], ["end"]]
    assert scenes[0].shots[0].heading == "A document, discussed"
    assert "untitled" not in lines_of(scenes)[0].text.lower()


def test_the_first_scene_does_not_wait_for_the_document_to_be_read(tmp_path: Path) -> None:
    notes: list[str] = []
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "document.json").write_bytes(msgspec.json.encode(kite_paper()))
    adapter = ExtractiveScreenplayAdapter()  # not even loaded
    edges = {"document": iter([Input(tmp_path / "in", {})])}
    call = Call("screenplay", {"duration_s": 60, "cast": CAST}, 0, edges, tmp_path)
    stream = adapter.run(call, lambda done, total, note: notes.append(note), lambda: False)
    assert msgspec.convert(next(stream).facts["scene"], Scene).title == "Opening"
    assert notes == ["open"]
    assert len(list(stream)) >= 3
    assert "read for meaning" in notes


def test_a_second_attempt_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    whole = outputs(tmp_path / "a", kite_paper(), seed=3)
    rest = outputs(tmp_path / "b", kite_paper(), seed=3, first_chunk=2)
    assert len(whole) > 4
    assert [x.files["scene.json"].read_bytes() for x in rest] == [
        x.files["scene.json"].read_bytes() for x in whole[2:]
    ]
    assert [json.dumps(x.facts) for x in rest] == [json.dumps(x.facts) for x in whole[2:]]
    other = outputs(tmp_path / "c", kite_paper(), seed=4)
    assert lines_of(scenes_of(other)) != lines_of(scenes_of(whole))


def test_the_last_chunk_carries_the_whole_screenplay(tmp_path: Path) -> None:
    found = outputs(tmp_path, kite_paper())
    assert [sorted(x.files) for x in found[:-1]] == [["scene.json"]] * (len(found) - 1)
    play = msgspec.json.decode(found[-1].files["screenplay.json"].read_bytes(), type=Screenplay)
    assert list(play.scenes) == scenes_of(found)
    assert play.title == "Fjord: Steering Large Kites with Small Motors"


def test_a_cast_of_one_and_an_absurd_length_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^cast: 1 given; name two characters, a host and an expert$"):
        outputs(tmp_path, kite_paper(), cast=CAST[:1])
    with pytest.raises(UsageError, match=r"^duration_s: 3 is out of range; give 20 to 14400 seconds$"):
        outputs(tmp_path, kite_paper(), 3.0)
    with pytest.raises(UsageError, match=r"^screenplay: .* field `role` - at `\$\.cast\[0\]`$"):
        outputs(tmp_path, kite_paper(), cast=[{"id": "a", "name": "A", "voice": "v", "look": "l"}])


def test_a_stop_while_reading_for_meaning_is_obeyed(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str) -> None:
        if note == "read for meaning":
            raise Stopped

    with pytest.raises(Stopped):
        outputs(tmp_path, kite_paper(), on_step=stop)
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["scene-0.json"]
