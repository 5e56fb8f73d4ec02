"""Who moves how, where shots are cut, what a pointer points at: decisions of a shot, before any picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import skia

from hpcwise.core.document import FigureWord
from hpcwise.core.screenplay import Character, Speech, Viseme, Word
from hpcwise.models.drawn.body import GESTURES, draw_arms
from hpcwise.models.drawn.coverage import SHORTEST_S, cut_points, takes_of
from hpcwise.models.drawn.gestures import Gesture, gestures_of, lift
from hpcwise.models.drawn.layout import Box
from hpcwise.models.drawn.looks import LOOKS
from hpcwise.models.drawn.motion import acting
from hpcwise.models.drawn.regions import cues_of, panels_of


def said(text: str, *others: str, word_s: float = 0.3) -> Speech:
    """The text by "a", then each of `others` by "b", "a", ...; words of equal length, pauses after marks."""
    words, spans, at = [], [], 0.2
    for i, part in enumerate((text, *others)):
        start = at
        for word in part.split():
            words.append(Word(word, at, at + word_s))
            at += word_s + (0.25 if word[-1] in ".?!,;:" else 0.0)
        spans.append(("ab"[i % 2], start, at))
        at += 0.2
    return Speech(duration_s=at, sample_rate_hz=24_000, words=tuple(words), visemes=(), spans=tuple(spans))


def people(*looks: str) -> tuple[Character, ...]:
    return tuple(
        Character(id=who, name=who, role="host", voice="v", look=look)
        for who, look in zip("abcd", looks, strict=False)
    )


@pytest.mark.parametrize(
    ("text", "word", "kind", "fingers"),
    [
        ("There are several parts and the second of them is odd enough.", "second", "count", 2),
        ("It was said that three of these parts are simply odd.", "three", "count", 3),
        ("And so we ask of it why it should be so odd?", "why", "shrug", 0),
        ("Nobody said so and it is never so odd as that.", "never", "stop", 0),
        ("A part of it was odd and the figure has it drawn.", "figure", "point", 0),
        ("The odd part grew and it was then the largest of them.", "largest", "wide", 0),
    ],
)
def test_hands_say_what_the_words_say_and_at_the_word(text: str, word: str, kind: str, fingers: int) -> None:
    speech = said(text)
    at_s = next(w.start_s for w in speech.words if w.text.strip(".,?") == word)
    made = gestures_of("a", (), speech)
    (gesture,) = [g for g in made if g.kind == kind and abs(g.peak_s - at_s) < 0.15]
    assert gesture.fingers == fingers
    assert lift(gesture, gesture.peak_s) == 1.0
    assert lift(gesture, gesture.start_s) == lift(gesture, gesture.end_s) == 0.0
    assert all(one.end_s < next_.start_s for one, next_ in itertools.pairwise(made))
    assert gestures_of("b", (1.0, 2.0), speech) == ()


def test_words_without_a_gesture_of_their_own_let_stressed_ones_beat_time() -> None:
    speech = said("It goes on and on like that till it ends there at last")
    assert gestures_of("a", (), speech) == ()
    (beat,) = gestures_of("a", (1.2, 1.5), speech)
    assert beat.peak_s == 1.2


def test_brows_rise_with_a_question_and_draw_together_over_a_problem() -> None:
    speech = said("Is it so that this is so?", "The problem is hard and it fails.")
    moves = acting(speech, people("maya", "dan"), {"a": -1, "b": 1}, 24)
    asked, answered = (slice(int(s * 24) + 6, int(e * 24) - 6) for _, s, e in speech.spans)
    assert moves["a"].brows[asked].mean() > 0.35
    assert moves["b"].brows[answered].min() < -0.5
    assert moves["b"].brows[asked].max() < 0.2  # they are asked, they do not ask


@pytest.mark.parametrize("look", sorted(LOOKS))
def test_each_gesture_shows_hands_and_with_tucked_arms_stays_beside_the_body(look: str) -> None:
    person = LOOKS[look]
    skin = np.array([int(person.skin[i : i + 2], 16) for i in (1, 3, 5)])
    pixels = np.zeros((420, 640, 4), np.uint8)
    surface = skia.Surface(pixels, colorType=skia.kRGBA_8888_ColorType)
    canvas = surface.getCanvas()
    canvas.translate(320, 160)
    for i, kind in enumerate(GESTURES):
        canvas.clear(skia.ColorTRANSPARENT)
        draw_arms(canvas, person, (Gesture(kind, 0.0, 0.4, 2.0, 2.5, 1 + i % 5),), 1.0, 0.0, 1, tuck=1.0)
        used = np.flatnonzero((pixels[..., 3] > 0).any(axis=0))
        assert abs(used[[0, -1]] - 320).max() <= person.shoulders + 52, kind
        hands = np.abs(pixels[..., :3].astype(int) - skin).max(axis=2) < 6
        # Both hands, and the leading one well above the table where it rests.
        assert hands[:, :320].sum() > 150 and hands[:, 320:].sum() > 150, kind
        assert np.flatnonzero(hands.any(axis=1))[0] < 160 + 120, kind


def test_a_long_shot_is_cut_between_words_only_and_no_take_is_short() -> None:
    text = (
        "A long tale is told here, and it goes on for quite a while. Then it goes on, as tales do, and on. "
    )
    speech = said(text * 2, "What then? " * 4)
    takes = takes_of("two_shot", speech, "a", several=True)
    assert len(takes) >= 3
    assert [t.start_s for t in takes] == [0.0, *(t.end_s for t in takes[:-1])]
    assert takes[-1].end_s == speech.duration_s
    assert min(t.end_s - t.start_s for t in takes) >= SHORTEST_S
    for take in takes[1:]:
        assert not any(w.start_s < take.start_s < w.end_s for w in speech.words)
    assert takes[-1].speaker == "b" and takes[0].speaker == "a"
    assert all(a.kind != b.kind for a, b in itertools.pairwise(takes))
    points = cut_points(speech)
    assert max(points, key=lambda p: p[1])[0] == pytest.approx(speech.spans[1][1], abs=0.3)


def test_short_shots_figures_and_lonely_speakers_are_left_in_one_piece() -> None:
    short, long = said("One two three."), said("One two three, four five six. " * 6)
    assert len(takes_of("two_shot", short, "a", several=True)) == 1
    assert len(takes_of("figure", long, "a", several=True)) == 1
    assert len(takes_of("close_up", long, "a", several=False)) == 1
    assert len(takes_of("close_up", long, "a", several=True)) > 1


def grid(rows: int, columns: int, size: int = 600) -> np.ndarray:
    """A picture of panels on white."""
    pixels = np.full((size, size, 3), 255, np.uint8)
    high, wide = size // rows, size // columns
    for r in range(rows):
        for c in range(columns):
            pixels[r * high + 15 : (r + 1) * high - 15, c * wide + 15 : (c + 1) * wide - 15] = 90
    return pixels


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (2, 3)])
def test_panels_are_found_by_the_white_between_them_in_reading_order(rows: int, columns: int) -> None:
    panels = panels_of(grid(rows, columns))
    assert len(panels) == rows * columns
    middles = [
        (round((p.y + p.height / 2) * rows - 0.5), round((p.x + p.width / 2) * columns - 0.5)) for p in panels
    ]
    assert middles == [(r, c) for r in range(rows) for c in range(columns)]


@pytest.mark.parametrize(
    ("text", "panel"),
    [
        ("As can be seen in panel b, it falls.", 1),
        ("The third panel tells it all at once.", 2),
        ("Look at the top right panel of it now.", 1),
        ("At the bottom left it falls again, as said.", 2),
    ],
)
def test_the_pointer_goes_to_the_panel_that_the_words_name_in_their_time(text: str, panel: int) -> None:
    panels = panels_of(grid(2, 2))
    speech = said(text + " And that is all that there is to say of it.")
    (cue,) = cues_of(speech, panels, ())
    assert cue.area == panels[panel]
    named = next(w for w in speech.words if w.text.strip(",.") in ("b", "third", "right", "left"))
    assert named.start_s - 0.25 <= cue.start_s <= named.end_s
    assert cue.end_s - cue.start_s >= 1.0 and cue.end_s <= speech.duration_s


def test_words_that_only_sound_like_places_move_no_pointer() -> None:
    panels = panels_of(grid(2, 2))
    for text in (
        "All right, that is what is left of it.",
        "A part of the upper limit, or b, is right.",
        "They do it right and the top performers know it.",
    ):
        assert cues_of(said(text), panels, ()) == ()


def test_a_label_in_the_figure_is_lit_when_it_is_said_unless_it_stands_there_twice() -> None:
    words = (
        FigureWord("Layout", 0.1, 0.4, 0.2, 0.45),
        FigureWord("Detection", 0.21, 0.4, 0.35, 0.45),
        FigureWord("Storage", 0.6, 0.8, 0.7, 0.85),
        FigureWord("Storage", 0.6, 0.1, 0.7, 0.15),
    )
    whole = (Box(0, 0, 1, 1),)
    (cue,) = cues_of(said("Here a detection of such things is done."), whole, words)
    assert cue.area.x == pytest.approx(0.085) and cue.area.right == pytest.approx(0.365)
    assert cues_of(said("Here a storage of such things is made."), whole, words) == ()
    many = tuple(FigureWord(f"word{i}", 0.0, 0.0, 0.1, 0.1) for i in range(80))
    assert cues_of(said("Here is word7 of them."), whole, many) == ()


def test_eight_hosts_differ_in_hair_or_clothes_and_colours() -> None:
    assert len(LOOKS) == 8
    assert len({(look.hair, look.hair_colour, look.top, look.top_colour) for look in LOOKS.values()}) == 8
    assert len({look.hair for look in LOOKS.values()}) == 8
    assert len({look.top_colour for look in LOOKS.values()}) == 8


def test_a_mouth_is_shut_when_only_somebody_else_speaks() -> None:
    speech = Speech(
        duration_s=2.0,
        sample_rate_hz=24_000,
        words=(),
        visemes=(Viseme("D", 0.5, 0.8, "a"),),
        spans=(("a", 0.4, 1.4),),
    )
    moves = acting(speech, people("lin", "sol"), {"a": -1, "b": 1}, 30)
    assert moves["a"].mouth[24, 0] > 0.8 and not moves["b"].mouth[:, 0].any()
