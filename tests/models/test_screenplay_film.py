"""The screenplay stage as a whole: arc, length, cast, faithfulness, streaming."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.core.document import Document, Figure, Section, Sentence, split_sentences
from hpcwise.core.errors import Stopped, UsageError
from hpcwise.core.screenplay import Line, Scene, Screenplay
from hpcwise.models.base import Call, Devices, Input, ModelSpec, OnStep, Output
from hpcwise.models.screenplay.adapter import ExtractiveScreenplayAdapter
from hpcwise.models.screenplay.direction import labelled, runs
from hpcwise.models.screenplay.pictures import pictures_of
from hpcwise.models.screenplay.speakable import check_line
from hpcwise.models.screenplay.timing import lines_s
from tests.models.kites import CAST, kite_paper


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


def test_a_film_opens_with_a_welcome_and_its_title_and_closes_with_an_end(film: list[Scene]) -> None:
    welcome, title = film[0].shots[:2]
    last = film[-1].shots[-1]
    # The title takes long to say: the first sound is a short welcome.
    assert (welcome.kind, [(x.speaker, x.text) for x in welcome.lines]) == (
        "close_up",
        [("maya", "Welcome. I am Maya.")],
    )
    assert welcome.expected_s < 2.5
    assert (title.kind, title.heading, title.subheading, title.prominence) == (
        "title",
        "Fjord: Steering Large Kites with Small Motors",
        "Ada Lindqvist, Bo Marsh, Chen Wei",
        1.0,
    )
    assert [(x.speaker, x.text) for x in title.lines] == [
        (
            "maya",
            "Today's paper is Fjord: Steering Large Kites with Small Motors, "
            "by Ada Lindqvist and colleagues.",
        )
    ]
    assert (last.kind, last.prominence, last.lines[0].speaker) == ("end", 0.7, "maya")
    assert [scene.last for scene in film] == [False] * (len(film) - 1) + [True]


def test_a_short_title_is_said_at_once(tmp_path: Path) -> None:
    document = msgspec.structs.replace(kite_paper("Kites at Sea"), authors=())
    first = scenes_of(outputs(tmp_path, document))[0].shots[0]
    assert (first.kind, first.lines[0].text) == ("title", "Welcome. Today's paper is Kites at Sea.")
    assert first.expected_s < 4.0


@pytest.mark.parametrize(
    ("title", "heading", "first", "last"),
    [
        ("Duck", "Wings", "Welcome. Today's topic is Duck.", "That was Duck."),
        ("Do kites pay?", "Wings", "Welcome. Today's document is Do kites pay?", "That was Do kites pay?"),
        ("Boats", "Threats, Outlook.com and Windows", "Welcome. Today's topic is Boats.", "That was Boats."),
    ],
)
def test_a_page_is_introduced_by_its_title_and_asked_only_what_it_answers(
    tmp_path: Path, title: str, heading: str, first: str, last: str
) -> None:
    said = "Old boats lie at the pier. Nets are mended by hand in the sun. Nine people live on the ship."
    parts = [Section(heading=h, page=1, sentences=()) for h in ("One", "Two", "Three", "Four")]
    told = tuple(Sentence(text=t, page=1) for t in split_sentences(said))
    sections = (*parts, Section(heading=heading, page=1, sentences=told))
    document = Document(title=title, authors=(), sections=sections, figures=(), n_pages=1)
    lines = [line.text for line in lines_of(scenes_of(outputs(tmp_path, document, 90.0)))]
    assert lines[0] == first
    assert lines[-1].startswith(f"{last} There is more")
    # What is asked first is answered, though four headings stand before all prose; nothing here is a limit.
    assert lines[1].endswith("what is this document about?")
    assert lines[2] in split_sentences(said)
    assert "What should I be careful about?" not in lines


def test_the_opening_says_what_the_work_is_in_its_own_words_and_gives_a_number(film: list[Scene]) -> None:
    said = [(line.speaker, line.text) for shot in film[0].shots[2:] for line in shot.lines]
    assert said == [
        ("maya", "Dan is with me and has read it. What is this paper about?"),
        ("dan", "The authors present Fjord, a controller that steers large kites with small motors at sea."),
        ("maya", "Give me one number that stuck with you."),
        ("dan", "Fjord uses 43 percent less energy than winches do in trials on the open ocean."),
    ]


def test_every_claim_rests_on_a_sentence_of_the_document(film: list[Scene]) -> None:
    printed = {s.text for x in kite_paper().sections for s in x.sentences}
    claims = [line for line in lines_of(film) if line.speaker == "dan"]
    assert len(claims) >= 10
    for claim in claims:
        caption = f"Figure 1: {kite_paper().figures[0].caption}"
        assert claim.source in printed or claim.source in caption
        assert claim.page >= 1
        assert kite_paper().text[claim.span[0] : claim.span[1]] == claim.source
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
            assert 1 <= len(shot.lines) <= (4 if shot.kind == "figure" else 2)
            voices = {"maya": "v1", "dan": "v2"}
            assert shot.expected_s == round(lines_s(shot.lines, shot.pause_after_s, voices), 2)
            assert 1.3 <= shot.expected_s <= 14.0
            if shot.kind == "close_up" and shot is not film[0].shots[0]:
                assert {line.speaker for line in shot.lines} == {"dan"}


@pytest.mark.parametrize("duration_s", [30.0, 45.0, 60.0, 90.0, 150.0])
def test_a_film_lasts_as_long_as_asked_while_there_is_something_to_say(
    tmp_path: Path, duration_s: float
) -> None:
    scenes = scenes_of(outputs(tmp_path, kite_paper(), duration_s))
    assert sum(s.expected_s for x in scenes for s in x.shots) == pytest.approx(duration_s, rel=0.03)


def test_with_half_a_minute_a_long_title_is_said_by_its_first_part(tmp_path: Path) -> None:
    long = (
        "Fjord 2.0: Steering Large Kites with Small Motors through Gusts of Wind at Sea by Night and by Day"
    )
    paper = msgspec.structs.replace(kite_paper(), title=long)
    scenes = scenes_of(outputs(tmp_path, paper, 30.0))
    assert scenes[0].shots[0].heading == long
    assert scenes[0].shots[0].lines[0].text == "Welcome. Today's paper is Fjord 2.0."
    assert sum(s.expected_s for x in scenes for s in x.shots) == pytest.approx(30.0, rel=0.05)


def test_everybody_is_heard_in_a_text_without_evidence_or_limits(tmp_path: Path) -> None:
    cast = [
        *CAST,
        {"id": "ada", "name": "Ada", "role": "sceptic", "voice": "v3", "look": "l3"},
        {"id": "ken", "name": "Ken", "role": "guest", "voice": "v4", "look": "l4"},
    ]
    heads = ("The harbour", "The crew", "The ship")
    said = (
        "Old boats lie at the pier all morning. Nets are mended by hand in the sun.",
        "Nine people live on the ship for a month. The cook rises before all of them.",
        "Steel plates cover the bow of the ship. Two engines drive a single screw.",
    )
    sections = tuple(
        Section(heading=h, page=1, sentences=tuple(Sentence(text=t, page=1) for t in split_sentences(text)))
        for h, text in zip(heads, said, strict=True)
    )
    document = Document(title="Boats", authors=(), sections=sections, figures=(), n_pages=1)
    lines = lines_of(scenes_of(outputs(tmp_path, document, 60.0, cast=cast)))
    assert lines[1].text.startswith("I am Maya, and with me are Dan, Ken and Ada. Dan, ")
    assert {line.speaker for line in lines} == {"maya", "dan", "ada", "ken"}


def test_a_short_document_gives_a_shorter_film_that_ends_well(tmp_path: Path) -> None:
    tiny = Section(
        heading="", page=1, sentences=(Sentence(text="Nine old boats lay at the pier all morning.", page=1),)
    )
    document = Document(title="", authors=(), sections=(tiny,), figures=(), n_pages=1)
    scenes = scenes_of(outputs(tmp_path, document, 300.0))
    assert [[shot.kind for shot in scene.shots] for scene in scenes] == [["title", "two_shot"], ["end"]]
    assert scenes[0].shots[0].heading == "A document, discussed"
    silent = msgspec.structs.replace(tiny, sentences=())
    mute = scenes_of(outputs(tmp_path / "mute", msgspec.structs.replace(document, sections=(silent,)), 60.0))
    assert lines_of(mute)[1].text == "I am Maya, and Dan has read it. Dan, let's see what is in it."
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


def test_four_speakers_have_four_roles(tmp_path: Path) -> None:
    cast = [
        *CAST,
        {"id": "ada", "name": "Ada", "role": "sceptic", "voice": "v3", "look": "l3"},
        {"id": "ken", "name": "Ken", "role": "guest", "voice": "v4", "look": "l4"},
    ]
    scenes = scenes_of(outputs(tmp_path, kite_paper(), 150.0, cast=cast))
    lines = lines_of(scenes)
    assert lines[2].text.startswith("With me are Dan, Ken and Ada. Dan, ")
    assert {line.speaker for line in lines if line.source} == {"dan", "ken"}
    asked = {scene.title: scene.shots[0].lines[0].speaker for scene in scenes if scene.title != "Opening"}
    assert (asked["Experiments"], asked["Limits"], asked["The problem"]) == ("ada", "ada", "maya")
    shown = [
        line.speaker for s in scenes for x in s.shots if x.kind == "figure" for line in x.lines if line.source
    ]
    assert set(shown) == {"ken"}


def test_a_long_film_has_chapters(tmp_path: Path) -> None:
    scenes = scenes_of(outputs(tmp_path, kite_paper(), 240.0))
    chapters = [(x.heading, x.subheading) for scene in scenes for x in scene.shots if x.kind == "chapter"]
    assert len(chapters) >= 3
    assert [part for _, part in chapters] == [f"Part {i}" for i in range(1, len(chapters) + 1)]
    assert [heading for heading, _ in chapters] == [scene.title for scene in scenes[1:-1]]


def test_a_persons_own_picture_is_shown_with_its_caption(tmp_path: Path) -> None:
    own = Figure(
        index=1,
        label="Picture 1",
        caption="The harbour on the morning of the first flight",
        file="fig-1.png",
        width_px=800,
        height_px=500,
        page=0,
    )
    document = kite_paper()
    document = msgspec.structs.replace(document, figures=(*document.figures, own))
    shots = [shot for scene in scenes_of(outputs(tmp_path, document, 60.0)) for shot in scene.shots]
    shown = [(shot.figure, shot.lines[-1].text) for shot in shots if shot.kind == "figure"]
    assert (1, "The harbour on the morning of the first flight.") in shown


def test_people_are_seen_from_several_sides_and_close_the_first_time_they_speak_at_length(
    film: list[Scene],
) -> None:
    shots = [shot for scene in film for shot in scene.shots]
    kinds = [shot.kind for shot in shots]
    assert {"two_shot", "close_up", "over_shoulder", "split"} <= set(kinds)
    answers = [s for s in shots if s.lines[0].speaker == "dan" and s.kind in ("close_up", "over_shoulder")]
    assert answers[0].kind == "close_up"
    for scene in film:
        assert [shot.kind for shot in scene.shots].count("split") <= 1
        for one, other in itertools.pairwise(scene.shots):
            assert not one.kind == other.kind == "over_shoulder"
    # A split screen is a question across the table.
    assert all(s.lines[0].speaker == "maya" for s in shots if s.kind == "split")


def test_the_end_card_says_who_wrote_it_and_where_in_it_the_claims_stand(film: list[Scene]) -> None:
    end = film[-1].shots[-1]
    pages = sorted({line.page for line in lines_of(film) if line.source})
    assert end.subheading == "Fjord: Steering Large Kites with Small Motors"
    by, where = end.notes
    assert by == "Ada Lindqvist, Bo Marsh, Chen Wei"
    assert where == f"Said and shown here: pages {runs(pages)} of 6, Figure 1"


def test_pages_are_written_as_runs_and_a_long_list_by_its_ends() -> None:
    assert runs([1, 2, 3, 7, 9]) == "1–3, 7 and 9"
    assert runs([4]) == "4"
    assert runs([1, 3, 5, 7, 9, 11, 13]) == "1 to 13"
    assert labelled(["Figure 2", "Table 1", "Figure 5", "Slide 3"]) == ["Figures 2 and 5", "Table 1"]


def test_a_short_film_keeps_one_picture_and_shows_it_in_one_shot(tmp_path: Path) -> None:
    shots = [s for scene in scenes_of(outputs(tmp_path, kite_paper(), 55.0)) for s in scene.shots]
    (shown,) = (s for s in shots if s.kind == "figure")
    said = next(line.text for line in shown.lines if line.source)
    assert said == "Figure 1. Pull of the kite over one day."


def test_a_caption_of_panels_is_walked_through_panel_by_panel(tmp_path: Path) -> None:
    paper = kite_paper()
    caption = "(a) Pull in the morning wind. (b) Drift over the open sea."
    figures = (msgspec.structs.replace(paper.figures[0], caption=caption),)
    (shown, *_) = pictures_of(msgspec.structs.replace(paper, figures=figures))
    assert shown.texts[0] == (
        "Panel a: Pull in the morning wind. Panel b: Drift over the open sea.", f"Figure 1: {caption}", 3
    )  # fmt: skip
    assert check_line(Line(speaker="dan", text=shown.texts[0][0], source=shown.texts[0][1])) == []
