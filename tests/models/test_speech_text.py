"""What is said for what is written, and which phonemes belong to which caption word."""

from __future__ import annotations

import numpy as np
import pytest

from hpcwise.models.kokoro.loudness import CEILING_DBTP, limited, loudness_lufs, true_peaks
from hpcwise.models.kokoro.phonemes import Pronouncer, chunked
from hpcwise.models.kokoro.spoken import spoken_words
from hpcwise.models.kokoro.visemes import Sound, mouth_shapes


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("12% lower", "12 percent lower"),
        ("in 3.5 ms.", "in 3.5 milliseconds."),
        ("1 GB, 2–3 GB/s", "1 gigabyte, 2 to 3 gigabytes per second"),
        ("p99 and H200", "p 99 and H 200"),
        ("GPT-4 beats state-of-the-art", "GPT 4 beats state-of-the-art"),
        ("e.g., this, i.e. that", "for example, this, that is that"),
        ("α-β pruning", "alpha beta pruning"),
        ("4×H200", "4 times H 200"),
        ("a 7B model", "a 7 billion model"),
        ("about $1,250 or $3M", "about 1,250 dollars or 3 million dollars"),
        ("~2x at ≥95% and 10^6", "about 2 times at at least 95 percent and 10 to the 6"),
        ("x² + y³", "x squared plus y cubed"),
        ("LLMs — yes", "LLMs, yes"),
        ("cost–benefit—or not", "cost benefit, or not"),
        ("shown before [12, 3].", "shown before."),
        ("see https://example.org/a/b now", "see example dot org now"),
        ("snake_case and/or I/O", "snake case and or I O"),
        ("the answer is no.", "the answer is no."),
        ("zero\u200bwidth\x07 bell", "zerowidth bell"),
        ("— ∅ —", ""),
        ("Smith et al. [3, 5] say so", "Smith et al say so"),
        ("on 2026-11-20, or 1990s", "on November 20th, 2026, or 1990s"),
        ("at 10:30, 9:00 and 5pm", "at 10 30, 9 o'clock and 5 P M"),
        ("a 12:1 ratio, 640x400 px", "a 12 to 1 ratio, 640 by 400 pixels"),
        ("1/2 of it, 2/3, 24/7 and 7/12", "one half of it, two thirds, 24 7 and 7 over 12"),
        ("p < 0.05, R² = 0.93", "p less than 0.05, R squared equals 0.93"),
        ("E = mc^2 and f(x) = x^3 + 1", "E equals m c squared and f of x equals x cubed plus 1"),
        ("in O(n²) or O(n log n) time", "in O of n squared or O of n log n time"),
        ("1e-5, 10^-3 or 3×10^8", "1 times 10 to the minus 5, 10 to the minus 3 or 3 times 10 to the 8"),
        ("10%–20% for $5–$10", "10 to 20 percent for 5 to 10 dollars"),
        ("Table II, Part IV; I am", "Table 2, Part 4; I am"),
        ("No. 5 is no. Yes.", "number 5 is no. Yes."),
        ("Δt in 100 Mbit/s, MB/s", "delta t in 100 megabits per second, megabytes per second"),
        ("C++, C# and node.js", "C plus plus, C sharp and node dot J S"),
        ("1080p as H.264", "1080 P as H 264"),
        ("ask me@uni-bonn.de", "ask me at uni-bonn dot D E"),
        ("`np.array` in __init__, config.yaml", "np dot array in init, config dot yaml"),
        ("8xH100, 8×A100 or Llama-3.1-8B", "8 times H 100, 8 times AY 100 or Llama 3.1 8B"),
        ("Eqs. (3)–(5) on pp. 2–3, p. 4", "equations (3 to 5) on pages 2 to 3, page 4"),
        ("On Nov. 20 at 5 µm, 3 mg/kg", "On November 20 at 5 micrometers, 3 milligrams per kilogram"),
        ("3.3 V, 300 K, 10K or 4K", "3.3 volts, 300 kelvin, 10 thousand or 4 K"),
        ("H₂O, Ca²⁺, θ_0, 𝑠𝑖𝑛𝑐(𝑥)", "H 2 O, Ca 2 plus, theta 0, sinc(x)"),
        ("Kolmogorov–Smirnov, 50/50, log2(n)", "Kolmogorov Smirnov, 50 50, log 2 of n"),
        ("<NA> at 5um, 1.8N of 6101-0200", "NA at 5 micrometers, 1.8 newtons of 6101 0200"),
        ("$\\alpha$ and run(), s.t. he/she", "alpha and run, such that he or she"),
        ("$O(n)$ of σ=1", "O of n of sigma equals 1"),
        ("α₂ of CO₂ in OCRmyPDF", "alpha 2 of CO 2 in OCR my PDF"),
        ("stable in version 1.17.0.", "stable in version 1 point 17 point 0."),
        ("Dex-Net 2.0: 3.0 GB, 10.0.", "Dex Net 2 point 0: 3 point 0 gigabytes, 10 point 0."),
        ("±0.3 and −5 °C", "plus or minus 0.3 and minus 5 degrees Celsius"),
    ],
)
def test_numbers_units_signs_and_abbreviations_are_said_as_words(written: str, said: str) -> None:
    assert " ".join(w.spoken for w in spoken_words(written)) == said


def test_caption_words_keep_every_visible_character_in_order() -> None:
    text = "— Latency (p99) fell 12 % — to 3.5 ms [4], e.g. on 4×H200 GPUs; α≥0.5 wins!"
    words = spoken_words(text)
    assert " ".join(w.written for w in words) == text
    assert [w.written for w in words if w.spoken.startswith("milli")] == ["ms [4],"]


def test_every_phoneme_belongs_to_the_word_that_it_is_said_for() -> None:
    words = spoken_words("CUDA costs $1,250 in 2024, see Fig. 3.")
    marked = Pronouncer().pronounce(words)
    by_word = ["".join(symbol for symbol, owner in marked if owner == i) for i in range(len(words))]
    assert [w.written for w in words] == ["CUDA", "costs", "$1,250", "in", "2024,", "see", "Fig.", "3."]
    assert by_word[0] == "kˈudə"
    assert by_word[2].startswith("wˈʌnθˈWzᵊnd") and by_word[2].endswith("dˈɑləɹz")
    assert by_word[4].startswith("twˈɛnti")
    assert by_word[6:] == ["fˈɪɡjəɹ", "θɹˈi"]


def test_emphasised_words_are_stressed_and_shown_without_their_asterisks() -> None:
    words = spoken_words("It is *not* a *very big* (*deal*), 2 * 3.")
    shown = "It is not a very big (deal), 2 * 3."
    assert " ".join(w.written for w in words) == shown
    assert [w.written for w in words if w.stressed] == ["not", "very", "big", "(deal),"]
    plain = "".join(symbol for symbol, _ in Pronouncer().pronounce(spoken_words(shown)))
    stressed = "".join(symbol for symbol, _ in Pronouncer().pronounce(words))
    assert (
        "nˌɑt" in plain
        and stressed.replace("ː", "").replace("nˈɑt", "nˌɑt") == plain
        and stressed.count("ː") == 4
    )


def test_acronyms_are_words_where_people_say_them_as_words() -> None:
    said = {"NASA": "nˈæsə", "LSTM": "ˌɛlˌɛstˌiˈɛm", "BLEU": "blˈu", "PCIe": "pˌisˌiˌIˈi", "QoS": "kjˌuˌOˈɛs"}
    said |= {"A100": "ˈA wˈʌn hˈʌndɹəd", "ANOVA": "ənˈOvə", "Kubernetes": "kˌubəɹnˈɛtiz"}
    said |= {"FOOTSWITCH": "fˈʊtswɪʧ", "CHANGES": "ʧˈAnʤᵻz", "HTTPS": "ˌAʧtˌitˌipˌiˈɛs"}
    found = {w: "".join(s for s, _ in Pronouncer().pronounce(spoken_words(w))) for w in said}
    assert found == said


def test_british_voices_read_british() -> None:
    words = spoken_words("My partner can't park the car.")
    american, british = (
        "".join(symbol for symbol, _ in Pronouncer().pronounce(words, british)) for british in (False, True)
    )
    assert "ɹ" in american.split(" ")[1]
    assert "ɹ" not in british.split(" ")[1]


def test_long_lines_are_cut_after_sentences_then_clauses_then_words_and_lose_nothing() -> None:
    marked = [(c, 0) for c in "aaaa bbb. cccc, dddd eeeeeee ffffffffffffffff"]
    pieces = ["".join(c for c, _ in piece) for piece in chunked(marked, 12)]
    assert pieces == ["aaaa bbb.", "cccc,", "dddd", "eeeeeee", "ffffffffffff", "ffff"]


def test_lips_lead_stress_marks_and_hold_through_short_gaps_only() -> None:
    sounds = [
        Sound("b", 0, 0.0, 0.1),
        Sound("ˈ", 0, 0.1, 0.05),
        Sound("a", 0, 0.15, 0.1),
        Sound(" ", -1, 0.25, 0.05),
        Sound("l", 1, 0.3, 0.1),
        Sound(".", -1, 0.4, 0.4),
    ]
    shapes = [(s, round(t, 3), round(length, 3)) for s, t, length in mouth_shapes(sounds)]
    assert shapes == [("A", 0.0, 0.1), ("!", 0.1, 0.05), ("D", 0.1, 0.2), ("H", 0.3, 0.1), ("X", 0.4, 0.4)]


def test_loudness_agrees_with_the_standards_reference_tone() -> None:
    # BS.1770: a 997 Hz sine at full scale in one channel measures -3.01 LKFS; in two, 3.01 more.
    tone = np.sin(2 * np.pi * 997 * np.arange(24_000 * 3) / 24_000).astype(np.float32)
    assert loudness_lufs(tone, 24_000) == pytest.approx(0.0, abs=0.1)
    assert loudness_lufs(tone * 0.1, 24_000) == pytest.approx(-20.0, abs=0.1)
    assert loudness_lufs(tone * 0, 24_000) == float("-inf")


def test_the_limiter_keeps_peaks_between_samples_under_the_ceiling() -> None:
    rng = np.random.default_rng(3)
    audio = (rng.standard_normal(24_000) * np.linspace(0.01, 0.9, 24_000)).astype(np.float32)
    peak_db = 20 * np.log10(true_peaks(limited(audio, 2.0)).max())
    assert CEILING_DBTP - 3 < peak_db < -1.0
    quiet = audio * 0.01
    assert np.array_equal(limited(quiet, 2.0), quiet * np.float32(2.0))


def test_a_lexicon_says_how_its_words_are_said() -> None:
    lexicon = {"USP": "U S P", "ar5iv": "archive five", "hpcwise": "H P C wise"}
    said = {
        "USP, in hpcwise.": "U S P, in H P C wise.",
        "USPs and ar5iv's": "U S Ps and archive five's",
        "a USP-like thing": "a U S P like thing",
        "12% usp": "12 percent usp",
    }
    assert {text: " ".join(w.spoken for w in spoken_words(text, lexicon)) for text in said} == said
    assert [w.written for w in spoken_words("USP, in hpcwise.", lexicon)] == ["USP,", "in", "hpcwise."]
