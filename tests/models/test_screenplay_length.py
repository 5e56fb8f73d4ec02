"""How long a film is, and what comes in where a document has little to say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from hpcwise.core.document import Document, Figure, Section, Sentence
from hpcwise.core.screenplay import Character
from hpcwise.models.document.text import read_text
from hpcwise.models.screenplay.arc import Arc
from hpcwise.models.screenplay.embed import WordStatistics
from hpcwise.models.screenplay.material import Claim, Material, echoes_of
from hpcwise.models.screenplay.pictures import Picture
from hpcwise.models.screenplay.writer import Writer
from tests.models.kites import CAST, kite_paper


@pytest.fixture(scope="module")
def manual() -> Document:
    """This project's own documentation: enough to talk about for twenty minutes."""
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return read_text("\n\n".join(page.read_text("utf-8") for page in pages), True, 200)


@pytest.mark.parametrize("duration_s", [30.0, 300.0, 1200.0])
def test_any_length_from_half_a_minute_to_twenty_is_kept_within_a_twentieth(
    manual: Document, duration_s: float
) -> None:
    cast = msgspec.convert(CAST, list[Character])
    writer = Writer(manual, cast, duration_s, 1)
    scenes = [writer.opening(), *writer.rest(WordStatistics(), lambda *_: None)]
    assert sum(s.expected_s for x in scenes for s in x.shots) == pytest.approx(duration_s, rel=0.05)


def test_what_ends_just_before_the_film_is_told_with_more_ease_and_what_ends_long_before_stays_brisk() -> (
    None
):
    cast = msgspec.convert(CAST, list[Character])

    def told(duration_s: float) -> tuple[float, float]:
        writer = Writer(kite_paper(), cast, duration_s, 1)
        shots = [
            s for x in [writer.opening(), *writer.rest(WordStatistics(), lambda *_: None)] for s in x.shots
        ]
        return sum(s.expected_s for s in shots), max(s.pause_after_s for s in shots if s.kind != "end")

    most_s, pause_s = told(1200.0)
    assert pause_s <= 0.8
    at_ease_s, pause_s = told(1.07 * most_s)
    assert at_ease_s == pytest.approx(1.07 * most_s, rel=0.05)
    assert 0.8 < pause_s <= 1.8
    assert list(told(1.3 * most_s)) == pytest.approx([most_s, 0.8])


def test_what_is_said_in_other_words_and_pictures_without_a_place_come_last() -> None:
    texts = ("Large kites pull ships.", "Ships are pulled by large kites.", "A winch takes the line in.")
    claims = tuple(Claim(i, 0, "body", text, text, 1, False, 0.5) for i, text in enumerate(texts))
    vectors = np.array([[1, 0, 0], [0.83, 0.5577, 0], [0, 0, 1]], np.float32)
    shown = Figure(index=0, label="Figure 1", caption="A kite.", file="f", width_px=9, height_px=9, page=1)
    behind = msgspec.structs.replace(shown, index=1, label="Figure 2", page=2)
    pictures = tuple(Picture(f, 0, 1, (("A kite.", "A kite.", 1),)) for f in (shown, behind))
    arc = Arc(Material(claims, vectors, pictures, 0.78), ["Kites"], 15.0, [], "")
    while arc.grow(60.0):
        pass
    assert [plot.claims for plot in arc.plots] == [[0, 2]]
    assert (arc.relax(), arc.grow(60.0), arc.relax()) == (True, [1], False)
    assert [arc.show(), arc.show()] == [0, None]  # the other one is printed behind the last sentence
    arc.hide(0)
    assert (arc.show(), [plot.pictures for plot in arc.plots]) == (None, [[]])


def test_what_is_said_over_a_picture_is_said_by_nobody_else() -> None:
    texts = ("The kite system consists of two winches, Fore and Aft.", "A winch takes the line in.")
    claims = tuple(Claim(i, 0, "body", text, text, 1, False, 0.5) for i, text in enumerate(texts))
    figure = Figure(index=0, label="Figure 1", caption="A kite.", file="f", width_px=9, height_px=9, page=1)
    over = "The system consists of two winches, Fore and Aft."
    pictures = (Picture(figure, 0, 1, ((over, over, 1),)),)
    echoes = echoes_of(claims, pictures)
    assert echoes == {0: frozenset({0})}
    material = Material(claims, np.eye(2, dtype=np.float32), pictures, 0.78, echoes)
    arc = Arc(material, ["Kites"], 60.0, [], "")
    while arc.grow(60.0):
        pass
    assert [(plot.claims, plot.pictures) for plot in arc.plots] == [([1], [0])]


def test_what_the_paper_presents_is_said_once_while_there_is_something_else_to_say() -> None:
    texts = ("This paper presents a kite.", "In this paper a kite is shown.", "A winch takes the line in.")
    claims = tuple(Claim(i, 0, "body", text, text, 1, False, 0.5 - 0.1 * i) for i, text in enumerate(texts))
    arc = Arc(Material(claims, np.eye(3, dtype=np.float32), (), 0.78), ["Kites"], 15.0, [], "")
    assert [plot.claims for plot in arc.plots] == [[0]]
    assert [arc.grow(60.0), arc.grow(60.0)] == [[2], [1]]


def test_the_hook_of_half_a_minute_is_a_short_one_even_of_a_long_sentence() -> None:
    long = (
        "Large kites are difficult to steer at sea because of gusts of wind, which come from all sides "
        "of the "
        "ship and change their direction within a second."
    )
    section = Section(heading="Introduction", page=1, sentences=(Sentence(text=long, page=1),))
    document = Document(title="Kites", authors=(), sections=(section,), figures=(), n_pages=1)
    cast = msgspec.convert(CAST, list[Character])
    said = {d: Writer(document, cast, d, 1).opening().shots[-1].lines[-1].text for d in (30.0, 60.0)}
    assert said == {30.0: "Large kites are difficult to steer at sea because of gusts of wind.", 60.0: long}
