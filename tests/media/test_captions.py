"""Captions: readable, never two at once, in files that every player takes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Word
from hpcwise.media.captions import Caption, cues, joined, srt, vtt


def spoken(text: str, word_s: float = 0.3, start_s: float = 0.0) -> list[Word]:
    return [
        Word(word, start_s + place * word_s, start_s + (place + 1) * word_s)
        for place, word in enumerate(text.split())
    ]


def test_a_sentence_ends_its_cue_and_lines_are_even() -> None:
    text = "A film is only as good as the words that people can read while it plays. Short one follows."
    found = cues(spoken(text), offset_s=10.0)
    assert [(cue.text, round(cue.start_s, 3), round(cue.end_s, 3)) for cue in found] == [
        ("A film is only as good as the words\nthat people can read while it plays.", 10.0, 14.8),
        ("Short one follows.", 14.8, 16.0),
    ]


def test_a_pause_ends_a_cue_and_it_lingers_a_little() -> None:
    found = cues([*spoken("one two three", 0.4), *spoken("four five", 0.5, start_s=3.0)])
    assert [(cue.text, round(cue.start_s, 3), round(cue.end_s, 3)) for cue in found] == [
        ("one two three", 0.0, 1.5),
        ("four five", 3.0, 4.3),
    ]


def test_cues_that_would_flash_join_a_neighbour() -> None:
    found = cues(spoken("Yes. No. Perhaps we should.", 0.2))
    assert [cue.text for cue in found] == ["Yes. No. Perhaps we should."]


def test_a_word_longer_than_a_line_is_cut() -> None:
    found = cues([Word("x" * 100, 0.0, 5.0)])
    assert [cue.text for cue in found] == ["x" * 42 + "\n" + "x" * 42, "x" * 16]


_WORDS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), max_size=60),
        st.floats(0, 2),
        st.floats(0, 2),
    ),
    max_size=60,
)


@given(_WORDS)
def test_any_words_give_cues_within_the_limits_and_lose_no_letter(
    raw: list[tuple[str, float, float]],
) -> None:
    words, now_s = [], 0.0
    for text, gap_s, length_s in raw:
        words.append(Word(text, now_s + gap_s, now_s + gap_s + length_s))
        now_s += gap_s + length_s
    found = cues(words)
    for cue in found:
        lines = cue.text.split("\n")
        assert len(lines) <= 2 and all(0 < len(line) <= 42 for line in lines)
        assert cue.end_s - cue.start_s >= 0.7 - 1e-9
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(found))
    said = "".join(c for word in words for c in word.text if c.isprintable() and not c.isspace())
    assert "".join(c for cue in found for c in cue.text if not c.isspace()) == said


def test_times_that_run_backwards_are_refused() -> None:
    with pytest.raises(UsageError, match=r"word 'hi' runs from 2\.0 to 1\.0 s"):
        cues([Word("hi", 2.0, 1.0)])
    with pytest.raises(UsageError, match="runs from nan"):
        cues([Word("hi", float("nan"), 1.0)])


def test_captions_of_shots_are_cut_where_the_next_begins_and_at_the_end() -> None:
    first = [Caption(start_s=0.0, end_s=2.5, text="a"), Caption(start_s=2.5, end_s=4.2, text="b")]
    second = [Caption(start_s=4.0, end_s=6.3, text="c")]
    assert joined([first, second], end_s=6.0) == (
        Caption(start_s=0.0, end_s=2.5, text="a"),
        Caption(start_s=2.5, end_s=4.0, text="b"),
        Caption(start_s=4.0, end_s=6.0, text="c"),
    )


def test_subtitle_files_are_written_as_players_read_them() -> None:
    captions = [
        Caption(start_s=0.0, end_s=1.0006, text="Tom & <b>Jerry</b>\n\n--> two\x07"),
        Caption(start_s=3725.25, end_s=3726.9999, text="later"),
    ]
    assert srt(captions) == (
        "1\n00:00:00,000 --> 00:00:01,001\nTom & <b>Jerry</b>\n→ two\n\n"
        "2\n01:02:05,250 --> 01:02:07,000\nlater\n\n"
    )
    assert vtt(captions) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.001\nTom &amp; &lt;b&gt;Jerry&lt;/b&gt;\n→ two\n\n"
        "01:02:05.250 --> 01:02:07.000\nlater\n\n"
    )
    assert (srt([]), vtt([])) == ("", "WEBVTT\n\n")
