"""What the bench of faithfulness counts as heard wrongly, and what as only written otherwise."""

from __future__ import annotations

import pytest

from scripts.bench.faithfultext import align, words


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("It saves 43% of 1,250 kg.", "it saves forty-three percent of 1250 kilograms", 0),
        ("The 2.0mm gap, analysed.", "The two millimeter gap analyzed", 0),
        ("LayoutParser runs DL models.", "Layout parser runs D.L. models", 0),
        ("state-of-the-art behaviour", "state of the art behavior", 0),
        ("It flew for 96 hours.", "It flew for 69 hours.", 1),
        ("Ada Marsh flew it.", "Ada March flew.", 2),
        ("", "thank you", 2),
    ],
)
def test_only_what_sounds_otherwise_is_an_error(said: str, heard: str, errors: int) -> None:
    assert align(words(said), words(heard)).errors == errors


def test_the_places_of_equal_words_are_known() -> None:
    found = align(words("the LayoutParser reads pages"), words("the layout parser read pages"))
    assert found.pairs == ((0, 0), (1, 1), (3, 4))
    assert found.wrong == (("reads", "read"),)
