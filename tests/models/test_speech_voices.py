"""Kokoro itself, and the voices that stand in for it: words, lips, loudness, equality, errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hpcwise.core.errors import ModelMissing, Stopped, UsageError
from hpcwise.core.screenplay import Speech
from hpcwise.models.base import Adapter, Call, Devices, ModelSpec, Output
from hpcwise.models.drawn.motion import acting
from hpcwise.models.kokoro.adapter import MODEL_FILE, KokoroAdapter
from hpcwise.models.kokoro.assemble import read_wav
from hpcwise.models.kokoro.fallback import FallbackVoiceAdapter, manners, present_engines
from hpcwise.models.kokoro.loudness import loudness_lufs, true_peaks
from hpcwise.models.kokoro.params import RATE_HZ, speech_params
from hpcwise.models.sources import read_card, resolve

CARD = Path(__file__).parents[2] / "configs" / "models" / "kokoro-82m.yaml"
CAST = [
    {"id": "maya", "name": "Maya", "role": "host", "voice": "af_heart", "look": "maya"},
    {"id": "dan", "name": "Dan", "role": "expert", "voice": "am_michael", "look": "dan"},
]
LINES = [
    {"speaker": "maya", "text": "Welcome! The p99 fell 12% — on 4×H200 GPUs."},
    {"speaker": "dan", "text": "It has two halves: a crawler, and a selector."},
]
#: Caption words: as written, with a lone dash kept beside the word before it.
WRITTEN = (
    ["Welcome!", "The", "p99", "fell", "12% —", "on", "4×H200", "GPUs."],
    ["It", "has", "two", "halves:", "a", "crawler,", "and", "a", "selector."],
)


@pytest.fixture(scope="module")
def folder() -> Path:
    """Kokoro's files, from the packages that quickstart installs (kept in the user's cache)."""
    card = read_card(CARD)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return resolve(card.name, card.files, card.sources, cache / "hpcwise" / "models")


@pytest.fixture(scope="module")
def kokoro(folder: Path) -> KokoroAdapter:
    """Loaded once."""
    adapter = KokoroAdapter()
    adapter.load(ModelSpec("kokoro-82m", "1", "kokoro", folder), Devices(threads=1))
    return adapter


def spoken(adapter: Adapter, work: Path, **params: Any) -> tuple[Output, Speech]:
    work.mkdir(parents=True, exist_ok=True)
    call = Call("speech", {"lines": LINES, "cast": CAST, **params}, 0, {}, work)
    (out,) = adapter.run(call, lambda done, total, note: None, lambda: False)
    return out, msgspec.json.decode(out.files["speech.json"].read_bytes(), type=Speech)


@pytest.fixture(scope="module")
def shot(kokoro: KokoroAdapter, tmp_path_factory: pytest.TempPathFactory) -> tuple[Output, Speech]:
    """Two lines, spoken once for several tests."""
    return spoken(kokoro, tmp_path_factory.mktemp("shot"))


def check_times(out: Output, speech: Speech) -> None:
    audio = read_wav(out.files["audio.wav"])
    assert speech.duration_s == pytest.approx(audio.size / RATE_HZ, abs=1e-4)
    assert out.facts == {"duration_s": speech.duration_s, "words": len(speech.words)}
    assert [w.text for w in speech.words] == [*WRITTEN[0], *WRITTEN[1]]
    starts = [w.start_s for w in speech.words]
    assert starts == sorted(starts)
    assert all(w.start_s < w.end_s <= speech.duration_s for w in speech.words)
    assert all(a.end_s <= b.start_s + 1e-3 for a, b in zip(speech.words, speech.words[1:], strict=False))
    assert [who for who, _, _ in speech.spans] == ["maya", "dan"]
    (_, first_start, first_end), (_, second_start, second_end) = speech.spans
    assert 0.15 <= first_start < first_end < second_start < second_end <= speech.duration_s - 0.2
    for viseme in speech.visemes:
        span = speech.spans[0 if viseme.speaker == "maya" else 1]
        assert span[1] - 0.01 <= viseme.start_s <= viseme.start_s + viseme.length_s <= span[2] + 0.3


def test_words_keep_their_spelling_and_their_times_are_in_order_inside_the_shot(
    shot: tuple[Output, Speech],
) -> None:
    check_times(*shot)


def test_each_of_the_cast_speaks_at_a_pace_of_their_own(
    shot: tuple[Output, Speech], kokoro: KokoroAdapter, tmp_path: Path
) -> None:
    paced = [CAST[0], {**CAST[1], "pace": 0.75}]
    _, slow = spoken(kokoro, tmp_path, cast=paced)
    usual = [end - start for _, start, end in shot[1].spans]
    (first, second) = [end - start for _, start, end in slow.spans]
    assert first == usual[0]
    assert 1.2 < second / usual[1] < 1.45
    with pytest.raises(UsageError, match=r"^speech: pace of dan is 9\.0; give a number from 0\.5 to 2$"):
        spoken(kokoro, tmp_path / "b", cast=[CAST[0], {**CAST[1], "pace": 9}])


def test_lips_open_with_the_sound(shot: tuple[Output, Speech]) -> None:
    out, speech = shot
    audio = read_wav(out.files["audio.wav"]).astype(np.float64)
    cast = speech_params({"lines": LINES, "cast": CAST}).cast
    mouths = acting(speech, cast, {"maya": -1.0, "dan": 1.0}, fps=100)
    opening = mouths["maya"].mouth[:, 0] + mouths["dan"].mouth[:, 0]
    hop = RATE_HZ // 100
    padded = np.pad(audio, (0, opening.size * hop - audio.size)) if opening.size * hop > audio.size else audio
    power = (padded[: opening.size * hop].reshape(-1, hop) ** 2).mean(axis=1)
    envelope = np.sqrt(np.convolve(power, np.ones(5) / 5, "same"))
    found = {lag: np.corrcoef(np.roll(opening, lag), envelope)[0, 1] for lag in range(-20, 21)}
    best = max(found, key=lambda lag: found[lag])
    assert abs(best) <= 4, f"lips are {best * 10} ms off"
    assert found[best] > 0.3
    # Mouths are shut in the pauses: before the first word and after the last.
    assert opening[:10].max() < 0.02
    assert opening[-10:].max() < 0.02


def test_the_same_call_gives_the_same_bytes(
    kokoro: KokoroAdapter, shot: tuple[Output, Speech], tmp_path: Path
) -> None:
    again, _ = spoken(kokoro, tmp_path / "again")
    for name, path in shot[0].files.items():
        assert again.files[name].read_bytes() == path.read_bytes(), name


def test_every_voice_is_equally_loud_and_never_clips(shot: tuple[Output, Speech]) -> None:
    out, speech = shot
    audio = read_wav(out.files["audio.wav"])
    assert 20 * np.log10(true_peaks(audio).max()) < -1.0
    for who, start_s, end_s in speech.spans:
        level = loudness_lufs(audio[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)], RATE_HZ)
        assert level == pytest.approx(-16.0, abs=1.0), who


def test_a_shot_without_lines_is_silence_long_enough_to_see(kokoro: KokoroAdapter, tmp_path: Path) -> None:
    out, speech = spoken(kokoro, tmp_path, lines=[])
    assert (speech.words, speech.spans, speech.duration_s) == ((), (), 1.5)
    assert not read_wav(out.files["audio.wav"]).any()


def test_a_torn_copy_of_the_edited_graph_is_made_again(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if not path.name.startswith((".", f"{MODEL_FILE}.")):
            (tmp_path / path.name).symlink_to(path)
    edited = tmp_path / f"{MODEL_FILE}.durations-v1"
    edited.write_bytes(b"torn")
    adapter = KokoroAdapter()
    adapter.load(ModelSpec("kokoro-82m", "1", "kokoro", tmp_path), Devices())
    assert edited.stat().st_size > 90_000_000
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_folder_without_weights_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ModelMissing, match=r"^model kokoro-82m: kokoro-v1.0.int8.onnx missing; fetch it with `hpcwise"
    ):
        KokoroAdapter().load(ModelSpec("kokoro-82m", "1", "kokoro", tmp_path), Devices())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pace": 9.0}, "pace is 9.0; give a number from 0.5 to 2"),
        ({"gap_s": -1}, "gap_s is -1.0; give seconds from 0 to 30"),
        ({"speed": 1}, "unknown field `speed`"),
        ({"lines": [{"speaker": "bob", "text": "x"}]}, "lines[0].speaker is 'bob'; the cast has maya, dan"),
        ({"lines": [{"speaker": "dan"}]}, "missing required field `text` - at `$.lines[0]`"),
        (
            {"cast": [{**CAST[0], "voice": "xx"}, CAST[1]]},
            "voice 'xx' of 'maya' is not there; use one of af_heart,",
        ),
    ],
)
def test_wrong_parameters_are_named(
    kokoro: KokoroAdapter, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        spoken(kokoro, tmp_path, **change)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_comes_between_lines_and_leaves_nothing(kokoro: KokoroAdapter, tmp_path: Path) -> None:
    call = Call("speech", {"lines": LINES, "cast": CAST}, 0, {}, tmp_path)
    with pytest.raises(Stopped):
        list(kokoro.run(call, lambda done, total, note: None, lambda: True))
    assert list(tmp_path.iterdir()) == []


def test_the_fallback_speaks_every_word_with_two_different_voices(tmp_path: Path) -> None:
    adapter = FallbackVoiceAdapter()
    adapter.load(ModelSpec("fallback-voice", "1", "fallback-voice"), Devices())
    assert adapter.engine_name == present_engines()[0]
    out, speech = spoken(adapter, tmp_path / "a")
    check_times(out, speech)
    again, _ = spoken(adapter, tmp_path / "b")
    assert again.files["audio.wav"].read_bytes() == out.files["audio.wav"].read_bytes()
    manner = manners(speech_params({"lines": LINES, "cast": CAST}).cast)
    assert manner["dan"].male and not manner["maya"].male
    assert manner["dan"].pitch < manner["maya"].pitch


def test_without_any_engine_the_fallback_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    absent: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", absent)
    with pytest.raises(ModelMissing, match="install hibari-tts with pip, or the system's flite or espeak-ng"):
        FallbackVoiceAdapter().load(ModelSpec("fallback-voice", "1", "fallback-voice"), Devices())


def test_a_line_with_nothing_to_say_and_a_word_without_sound_still_have_times(
    kokoro: KokoroAdapter, tmp_path: Path
) -> None:
    lines = [{"speaker": "dan", "text": "— [3]"}, {"speaker": "maya", "text": "Yes 漢字 now."}]
    _, speech = spoken(kokoro, tmp_path, lines=lines)
    assert [w.text for w in speech.words] == ["Yes", "漢字", "now."]
    assert (
        speech.words[0].end_s <= speech.words[1].start_s <= speech.words[1].end_s <= speech.words[2].start_s
    )
    assert [(who, start < end) for who, start, end in speech.spans] == [("dan", False), ("maya", True)]
