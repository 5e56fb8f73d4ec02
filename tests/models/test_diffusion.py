"""diffusers' pipelines behind the adapter: split, chained, left and gone on with, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from hpcwise.core.errors import BadOutput, ModelMissing, UsageError
from hpcwise.models.base import Devices, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.diffusion.checkpoint import check
from hpcwise.models.frames import checked, read_frames, stretched, write_frames
from tests.models.tinies import Kept, Left, called, picture, ran

# How diffusers converts a list of tensors; not ours to change.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

#: Of segments: 9 frames are three latent ones.
SKETCH = {"prompt": "A host speaks.", "negative_prompt": "blurred", "steps": 4, "render_width": 64,
          "render_height": 48, "frames": 9, "fps": 16}  # fmt: skip
CALL = {"guidance_scale": 5.0}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("tiny-wan2.1-t2v", "tiny-wan2.1-i2v", "tiny-flux"):
        tiny.build(name, folder / name)
    return folder


def _loaded(folder: Path, **options: Any) -> DiffusersAdapter:
    adapter = DiffusersAdapter()
    chosen = {"dtype": "float32", "call": CALL, **options}
    adapter.load(ModelSpec(folder.name, "1", "diffusers", folder, chosen), Devices())
    return adapter


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def test_denoiser_and_decoder_apart_give_the_bits_of_the_whole_pipeline(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = checkpoints / "tiny-wan2.1-i2v"
    start = picture(tmp_path)
    denoiser = _loaded(folder, parts="denoise", from_image=True)
    (made,) = ran(denoiser, called("sketch", tmp_path / "w", SKETCH, {"image": [start]}), tmp_path)
    decoder = _loaded(folder, parts="decode")
    ((output, shown),) = ran(
        decoder, called("decode", tmp_path / "v", {}, {"latents": [made[1]]}), tmp_path / "v"
    )
    assert dict(output.facts) == {"frames": 9, "fps": 16, "w": 64, "h": 48}
    frames = np.stack(list(read_frames(shown.path / "frames.mkv")))
    pipe = diffusers.WanImageToVideoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    whole = pipe(
        image=_opened(tmp_path / "picture.png"), prompt=SKETCH["prompt"], negative_prompt="blurred",
        width=64, height=48, num_frames=9, num_inference_steps=4, generator=generator,
        output_type="np", **CALL,
    ).frames[0]  # fmt: skip
    assert np.array_equal(frames, (whole * 255).round().astype(np.uint8))


def test_a_long_shot_goes_on_from_its_own_last_picture_wherever_it_was_left(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = checkpoints / "tiny-wan2.1-i2v"
    adapter = _loaded(folder, parts="denoise", from_image=True)
    params = {**SKETCH, "chunks": 2}
    places = [tmp_path / name for name in ("whole", "parted")]
    for place in places:
        place.mkdir()
        picture(place)

    def own(place: Path) -> Any:
        from hpcwise.models.base import Input

        return lambda chunk: Input(place / f"chunk-{chunk}", {})

    def call(place: Path, **more: Any) -> Any:
        return called("sketch", place / "work", params, {"image": [picture(place)]}, own=own(place), **more)

    whole = list(ran(adapter, call(places[0]), places[0]))
    kept = Kept(stop_at=2)
    parted = []
    with pytest.raises(Left):
        parted += list(ran(adapter, call(places[1], checkpoints=kept), places[1]))
    assert list(kept.states) == [(0, 2)]
    kept.stop_at = -1
    again = _loaded(folder, parts="denoise", from_image=True)
    first = next(iter(ran(again, call(places[1], checkpoints=kept), places[1])))
    rest = list(ran(again, call(places[1], first_chunk=1), places[1]))
    for (_, mine), (_, its) in zip(whole, [first, *rest], strict=True):
        assert (mine.path / "latents.h5").read_bytes() == (its.path / "latents.h5").read_bytes()
    decoder = _loaded(folder, parts="decode")
    clips = []
    for index, (_, made) in enumerate(whole):
        work = tmp_path / f"decode-{index}"
        work.mkdir()
        ((_, shown),) = ran(decoder, called("decode", work / "w", {}, {"latents": [made]}), work)
        clips.append(list(read_frames(shown.path / "frames.mkv")))
    # The first picture of the second segment is the last of the first: it is shown once.
    assert [len(clip) for clip in clips] == [9, 8]
    last = adapter._end_of(call(places[0]), 0)
    assert np.array_equal(np.asarray(last), clips[0][-1])


def test_a_picture_of_the_size_that_was_asked_for(checkpoints: Path, tmp_path: Path) -> None:
    adapter = _loaded(checkpoints / "tiny-flux", video=False, call={"max_sequence_length": 32})
    params = {"prompt": "A studio", "steps": 2, "width": 64, "height": 48}
    ((output, made),) = ran(adapter, called("image", tmp_path / "w", params, {}), tmp_path)
    assert dict(output.facts) == {"w": 64, "h": 48}
    assert _opened(made.path / "picture.png").size == (64, 48)


def test_a_checkpoint_that_is_not_whole_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-flux"
    with pytest.raises(ModelMissing, match=r"no model_index.json in .*tiny-flux; put the checkpoint there"):
        check(folder, "flux")
    tiny.build("tiny-flux", folder)
    check(folder, "flux")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelMissing, match=r"vae/diffusion_pytorch_model.safetensors has another sha256"):
        check(folder, "flux")
    weights.unlink()
    with pytest.raises(ModelMissing, match=r"vae/diffusion_pytorch_model.safetensors is missing in"):
        check(folder, "flux")
    with pytest.raises(UsageError, match=r"tiny checkpoint 'tiny-sora' is unknown; use tiny-wan2.1-t2v"):
        tiny.build("tiny-sora", tmp_path / "x")


def test_latents_that_are_no_numbers_are_a_bad_output_and_nothing_is_written(
    checkpoints: Path, tmp_path: Path
) -> None:
    adapter = _loaded(checkpoints / "tiny-wan2.1-i2v", parts="denoise", from_image=True)
    with torch.no_grad():
        adapter._pipe.transformer.proj_out.weight[0, 0] = float("nan")
    call = called("sketch", tmp_path / "w", SKETCH, {"image": [picture(tmp_path)]})
    with pytest.raises(BadOutput, match="latents that are no numbers"):
        list(ran(adapter, call, tmp_path))
    assert not list(tmp_path.glob("chunk-*"))


def test_black_and_frozen_clips_are_found_and_good_ones_come_back_bit_by_bit(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    clip = [draw.integers(0, 255, (10, 14, 3), np.uint8) for _ in range(5)]
    assert write_frames(tmp_path / "a.mkv", checked(clip, "clip"), 23) == 5
    assert all(np.array_equal(a, b) for a, b in zip(read_frames(tmp_path / "a.mkv"), clip, strict=True))
    with pytest.raises(BadOutput, match="5 frames of one colour"):
        list(checked([np.zeros((4, 4, 3), np.uint8)] * 5, "clip"))
    with pytest.raises(BadOutput, match="5 frames without any movement"):
        list(checked([clip[0]] * 5, "clip"))
    assert [f.tobytes() for f in stretched(clip, 10)] == [clip[i // 2].tobytes() for i in range(10)]
    assert [f.tobytes() for f in stretched(clip, 2)] == [clip[1].tobytes(), clip[3].tobytes()]
    (tmp_path / "b.mkv").write_bytes(b"no video")
    with pytest.raises(BadOutput, match=r"b.mkv: cannot be read as video"):
        list(read_frames(tmp_path / "b.mkv"))
