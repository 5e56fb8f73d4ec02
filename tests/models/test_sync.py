"""Speech-driven clips: what hears what, how it is guided, and where long stretches are cut."""

from __future__ import annotations

import itertools
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import diffusers
import msgspec
import numpy as np
import pytest
import torch

from hpcwise.core.errors import BadOutput, ModelMissing, UsageError
from hpcwise.core.screenplay import Speech, Word
from hpcwise.core.units import SEGMENT_S
from hpcwise.models.base import Call, Devices, Input, ModelSpec, Output
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.frames import read_frames, write_frames
from hpcwise.models.sync.adapter import MOST_S, SyncAdapter, cuts
from hpcwise.models.sync.attention import MARGIN, AudioCondition, Conductor, windows
from hpcwise.models.sync.sound import RATE_HZ, stretch_of
from tests.models.tinies import Kept, Left, called, ran

RATE = 24_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sync") / "tiny-fantasytalking"
    tiny.build(folder.name, folder)
    return folder


@pytest.fixture(scope="module")
def adapter(checkpoint: Path) -> SyncAdapter:
    made = SyncAdapter()
    options = {"dtype": "float32", "from_image": True, "call": {"guidance_scale": 5.0}}
    made.load(ModelSpec("tiny-fantasytalking", "1", "sync", checkpoint, options), Devices())
    return made


def _spoken(folder: Path, seconds: float, words: tuple[Word, ...] = (), loud: float = 0.3) -> Input:
    folder.mkdir(exist_ok=True)
    tone = (
        loud
        * np.sin(np.arange(round(seconds * RATE)) * 0.05)
        * (np.arange(round(seconds * RATE)) % 5000 > 2000)
    )
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((tone * 32767).astype("<i2").tobytes())
    speech = Speech(duration_s=seconds, sample_rate_hz=RATE, words=words, visemes=(), spans=())
    (folder / "speech.json").write_bytes(msgspec.json.encode(speech))
    return Input(folder, {})


def _clip(folder: Path, frames: int = 6) -> Input:
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(1)
    write_frames(
        folder / "frames.mkv", [draw.integers(0, 255, (32, 48, 3), np.uint8) for _ in range(frames)], 30
    )
    return Input(folder, {})


def _near(frame: np.ndarray, target: np.ndarray) -> bool:
    """Mostly the target's picture: the end of a dissolve."""
    return bool(np.corrcoef(frame.ravel(), target.ravel())[0, 1] > 0.9)


def _call(place: Path, params: dict[str, Any], speech: Input, clip: Input, **more: Any) -> Call:
    place.mkdir(exist_ok=True)
    usual = {"prompt": "A host speaks.", "steps": 2, "render_width": 48, "render_height": 32, "fps": 23}
    return called("sync", place / "work", {**usual, **params}, {"speech": [speech], "video": [clip]}, **more)


def _made(adapter: SyncAdapter, call: Call, place: Path) -> tuple[Output, Input]:
    (only,) = ran(adapter, call, place)
    return only


def test_tokens_of_a_frame_hear_its_own_stretch_of_sound_and_a_little_around_it() -> None:
    allowed = windows(latent_frames=3, per_frame=2, sound_tokens=90, temporal=4)
    assert allowed.shape == (6, 90)
    # Nine pictures share ninety tokens: the first latent frame is one picture, the others four.
    spans = [(int(row.nonzero().min()), int(row.nonzero().max()) + 1) for row in allowed]
    # Its own are 10..49 and 50..89, about a middle that is rounded down.
    expected = [(0, 10 + MARGIN), (9 - MARGIN, 50 + MARGIN), (49 - MARGIN, 90)]
    assert spans == [span for span in expected for _ in range(2)]


def test_guidance_by_sound_and_by_words_adds_up_as_in_three_passes(checkpoint: Path) -> None:
    model = diffusers.WanTransformer3DModel.from_pretrained(checkpoint / "transformer").eval()
    plain = diffusers.WanTransformer3DModel.from_pretrained(checkpoint / "transformer").eval()
    condition = AudioCondition.read(checkpoint / "audio_condition", "m").eval()
    draw = torch.Generator().manual_seed(0)
    named = {
        "hidden_states": torch.randn(1, 36, 3, 4, 4, generator=draw),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.randn(1, 512, 32, generator=draw),
        "encoder_hidden_states_image": torch.randn(1, 17, 4, generator=draw),
        "return_dict": False,
    }
    sound = torch.randn(1, 30, 16, generator=draw)
    conductor = Conductor(model, condition)
    with torch.no_grad(), conductor.conducting(sound, guidance=5.0, sound_guidance=2.5):
        with model.cache_context("uncond"):
            nothing = model(**named)[0]
        with model.cache_context("cond"):
            mixed = model(**named)[0]
        model_forward = model.forward
    with torch.no_grad():
        words = plain(**named)[0]
        # Without sound it is Wan itself, before, between and after.
        assert torch.equal(nothing, words) and torch.equal(model(**named)[0], words)
        with conductor.conducting(sound, guidance=1.0, sound_guidance=1.0), model.cache_context("cond"):
            both = model(**named)[0]
        # Words need no guidance for the sound to have its own.
        with conductor.conducting(sound, guidance=1.0, sound_guidance=2.5), model.cache_context("cond"):
            louder = model(**named)[0]
    assert model.forward != model_forward
    assert not torch.allclose(both, words, atol=1e-5)
    assert torch.allclose(mixed, words + 0.5 * (both - words), atol=1e-6)
    assert torch.allclose(louder, words + 2.5 * (both - words), atol=1e-5)


def test_long_stretches_are_cut_in_pauses_and_never_longer_than_the_model_takes() -> None:
    assert cuts(0.0, 3.4, 3.5, []) == [(0.0, 3.4)]
    assert cuts(0.0, 6.0, 3.5, []) == [(0.0, 3.0), (3.0, 6.0)]
    assert cuts(0.0, 6.0, 3.5, [(1.0, 1.2), (2.6, 2.8), (3.3, 3.5)]) == [(0.0, 2.7), (2.7, 6.0)]
    # A pause that would leave too much for the rest is none to cut in.
    assert cuts(0.0, 6.9, 3.5, [(1.0, 1.2)])[0] == (0.0, 3.45)
    parts = cuts(1.0, 30.0, 3.5, [(k * 0.9, k * 0.9 + 0.1) for k in range(40)])
    assert parts[0][0] == 1.0 and parts[-1][1] == 30.0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))
    assert max(b - a for a, b in parts) <= 3.5 and len(parts) == 9
    # A segment of the film is one clip, of no more than 81 frames at 23 a second.
    assert cuts(3.5, 3.5 + SEGMENT_S, MOST_S, [(5.0, 5.4)]) == [(3.5, 7.0)]
    assert round(SEGMENT_S * 23) <= 81 < round((MOST_S + 0.03) * 23)


def test_a_stretch_of_speech_is_cut_and_resampled_and_silence_stands_for_what_is_not_there() -> None:
    samples = np.linspace(-1, 1, RATE, dtype=np.float32)
    half = stretch_of(samples, RATE, 0.25, 0.75)
    assert half.size == RATE_HZ // 2
    assert np.abs(half[100:-100] - np.linspace(-0.5, 0.5, half.size)[100:-100]).max() < 0.01
    beyond = stretch_of(samples, RATE, 0.9, 1.4)
    assert beyond.size == RATE_HZ // 2 and np.abs(beyond[RATE_HZ // 8 :]).max() < 1e-3


def test_the_segments_of_a_shot_share_its_real_length_and_start_and_end_in_the_clip(
    adapter: SyncAdapter, tmp_path: Path
) -> None:
    speech, clip = _spoken(tmp_path / "speech", 1.0), _clip(tmp_path / "clip")
    facts = []
    for segment in range(2):
        call = _call(tmp_path / f"s{segment}", {"segment": segment, "segments": 2}, speech, clip)
        output, made = _made(adapter, call, tmp_path / f"s{segment}")
        frames = list(read_frames(made.path / "frames.mkv"))
        assert len(frames) == output.facts["frames"]
        assert _near(frames[-1], list(read_frames(clip.path / "frames.mkv"))[-1])
        facts.append((output.facts["first_frame"], output.facts["frames"]))
    assert facts == [(0, 12), (12, 11)]  # 23 frames, shared out


def test_other_words_move_other_lips_and_equal_calls_give_equal_bytes(
    adapter: SyncAdapter, tmp_path: Path
) -> None:
    clip = _clip(tmp_path / "clip")
    made = []
    for name, loud in (("a", 0.3), ("b", 0.3), ("c", 0.0)):
        speech = _spoken(tmp_path / f"speech-{name}", 0.4, loud=loud)
        made.append(_made(adapter, _call(tmp_path / name, {}, speech, clip), tmp_path / name)[1])
    one, same, other = (np.stack(list(read_frames(m.path / "frames.mkv"))) for m in made)
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_the_last_stage_writes_a_segment_of_the_film_at_the_films_size_and_rate(
    adapter: SyncAdapter, tmp_path: Path
) -> None:
    speech, clip = _spoken(tmp_path / "speech", 0.5), _clip(tmp_path / "clip")
    params = {"fps": 25, "film_width": 96, "film_height": 64}
    output, made = _made(adapter, _call(tmp_path / "s", params, speech, clip), tmp_path / "s")
    assert dict(output.facts) == {"first_frame": 0, "frames": 13, "width": 96, "height": 64}
    with av.open(str(made.path / "video.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate, stream.frames) == (96, 64, Fraction(25), 13)
    assert (made.path / "thumb.jpg").stat().st_size > 500


def test_a_run_left_in_the_middle_or_behind_its_last_step_goes_on_to_the_same_bytes(
    adapter: SyncAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech, clip = _spoken(tmp_path / "speech", 0.4), _clip(tmp_path / "clip")
    params = {"steps": 4}
    whole = _made(adapter, _call(tmp_path / "a", params, speech, clip), tmp_path / "a")[1]
    for stop in (2, 4):
        kept, place = Kept(stop_at=stop), tmp_path / f"b{stop}"
        with pytest.raises(Left):
            list(ran(adapter, _call(place, params, speech, clip, checkpoints=kept), place))
        kept.stop_at = -1
        with monkeypatch.context() as patch:
            if stop == 4:  # what is left is to decode it
                patch.setattr(adapter._pipe.transformer, "forward", None)
            rest = _made(adapter, _call(place, params, speech, clip, checkpoints=kept), place)[1]
        assert (whole.path / "frames.mkv").read_bytes() == (rest.path / "frames.mkv").read_bytes()


def test_a_prompt_is_cut_where_the_encoder_ends_or_comes_from_elsewhere_to_the_same_bytes(
    checkpoint: Path, adapter: SyncAdapter, tmp_path: Path
) -> None:
    clip, speech = _clip(tmp_path / "clip"), _spoken(tmp_path / "speech", 0.3)
    short = "A host speaks to the camera."
    long = {"prompt": " ".join([short] * 20)}
    output, made = _made(adapter, _call(tmp_path / "long", long, speech, clip), tmp_path / "long")
    left_out = output.facts["prompt_left_out"]
    kept = long["prompt"].removesuffix(left_out).rstrip()
    assert left_out.startswith("A host speaks") and kept.endswith("camera.")

    encoder = DiffusersAdapter()
    options = {"dtype": "float32", "parts": "encode"}
    encoder.load(ModelSpec("e", "1", "diffusers", checkpoint, options), Devices())
    place = tmp_path / "text"
    place.mkdir()
    ((_, text),) = ran(encoder, called("encode", place / "work", {"prompt": kept}, {}), place)
    silent = SyncAdapter()
    apart = {"dtype": "float32", "from_image": True, "text": False, "call": {"guidance_scale": 5.0}}
    silent.load(ModelSpec("tiny-fantasytalking", "1", "sync", checkpoint, apart), Devices())
    inputs = {"speech": [speech], "video": [clip], "prompt": [text]}
    params = {"steps": 2, "render_width": 48, "render_height": 32, "fps": 23}
    (tmp_path / "apart").mkdir()
    call = called("sync", tmp_path / "apart" / "work", params, inputs)
    _, other = _made(silent, call, tmp_path / "apart")
    assert (other.path / "frames.mkv").read_bytes() == (made.path / "frames.mkv").read_bytes()


def test_a_size_that_it_cannot_draw_is_one_line_before_anything_is_computed(
    adapter: SyncAdapter, tmp_path: Path
) -> None:
    call = _call(tmp_path / "x", {"render_width": 50}, Input(tmp_path, {}), Input(tmp_path, {}))
    with pytest.raises(UsageError, match=r"width: 50 cannot be drawn, .* multiples of 16; use 48"):
        list(adapter.run(call, lambda *_: None, lambda: False))


def test_a_decoder_out_of_memory_costs_a_tiled_retry_and_no_second_denoise(
    adapter: SyncAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech, clip = _spoken(tmp_path / "speech", 0.3), _clip(tmp_path / "clip")
    whole = _made(adapter, _call(tmp_path / "a", {}, speech, clip), tmp_path / "a")[1]
    decoder, inner = adapter._vae.decoder, adapter._vae.decoder.forward
    failed: list[int] = []

    def once(*given: Any, **named: Any) -> Any:
        if not failed and not named["first_chunk"]:
            failed.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(*given, **named)

    monkeypatch.setattr(decoder, "forward", once)
    steps: list[str] = []
    call = _call(tmp_path / "b", {}, speech, clip)
    (output,) = adapter.run(call, lambda done, total, note: steps.append(note), lambda: False)
    assert failed and [note for note in steps if note.startswith("step")] == ["step 1 of 2", "step 2 of 2"]
    assert output.files["frames.mkv"].read_bytes() == (whole.path / "frames.mkv").read_bytes()


def test_speech_that_is_longer_than_the_clip_stretches_the_clip_over_all_of_it(
    adapter: SyncAdapter, tmp_path: Path
) -> None:
    """And a clip that is longer than the speech is run through in its time."""
    for seconds, frames in ((1.2, 3), (0.4, 40)):
        place = tmp_path / f"{frames}"
        speech, clip = _spoken(tmp_path / f"s{frames}", seconds), _clip(tmp_path / f"c{frames}", frames)
        output, made = _made(adapter, _call(place, {}, speech, clip), place)
        shown, given = (list(read_frames(one.path / "frames.mkv")) for one in (made, clip))
        assert len(shown) == output.facts["frames"] == round(seconds * 23 + 0.49)
        # It ends in the clip's own last picture, whatever their lengths.
        assert _near(shown[-1], given[-1])


def test_sound_that_ends_before_its_speech_does_is_followed_by_silence(
    adapter: SyncAdapter, tmp_path: Path
) -> None:
    clip = _clip(tmp_path / "clip")
    made = []
    for name, rest in (("short", b""), ("silent", bytes(2 * RATE // 5))):
        speech = _spoken(tmp_path / name, 0.4)
        with wave.open(str(speech.path / "audio.wav"), "rb") as file:
            raw = file.readframes(RATE // 5)
        with wave.open(str(speech.path / "audio.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(raw + rest)
        made.append(_made(adapter, _call(tmp_path / f"m{name}", {}, speech, clip), tmp_path / f"m{name}")[1])
    one, two = ((m.path / "frames.mkv").read_bytes() for m in made)
    assert one == two


def test_what_lacks_or_cannot_be_read_is_one_line(
    adapter: SyncAdapter, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelMissing, match=r"model m: .*audio_condition holds no audio condition"):
        AudioCondition.read(tmp_path / "audio_condition", "m")
    speech, clip = _spoken(tmp_path / "speech", 0.4), _clip(tmp_path / "clip")
    (speech.path / "speech.json").write_text("{}")
    with pytest.raises(BadOutput, match=r"speech.json cannot be read"):
        list(ran(adapter, _call(tmp_path / "x", {}, speech, clip), tmp_path / "x"))
