"""Each family apart and together: text, denoiser and decoder give the bits of the pipeline that has all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.models.base import Devices, Input, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.diffusion.checkpoint import SUMS, check, sums
from hpcwise.models.frames import read_frames
from tests.models.tinies import Kept, Left, called, never_called, picture, ran

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLIP = {"prompt": "A host speaks.", "negative_prompt": "blurred", "steps": 4, "render_width": 64,
        "render_height": 64, "frames": 9, "fps": 16}  # fmt: skip
#: Checkpoint -> arguments of every call.
VIDEO: dict[str, dict[str, Any]] = {
    "tiny-wan2.1-i2v": {"guidance_scale": 5.0},
    "tiny-wan2.2-i2v": {"guidance_scale": 4.0, "guidance_scale_2": 3.0},
    "tiny-wan2.2-ti2v": {"guidance_scale": 5.0},
    "tiny-ltx-i2v": {"guidance_scale": 3.0},
    "tiny-ltx-0.9.8": {"guidance_scale": 3.0, "decode_timestep": 0.05, "decode_noise_scale": 0.025},
}
FLUX = {"guidance_scale": 3.5, "max_sequence_length": 48}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in (*VIDEO, "tiny-flux", "tiny-flux-kontext"):
        tiny.build(name, folder / name)
    return folder


def _loaded(folder: Path, **options: Any) -> DiffusersAdapter:
    adapter = DiffusersAdapter()
    chosen = {"dtype": "float32", **options}
    adapter.load(ModelSpec(folder.name, "1", "diffusers", folder, chosen), Devices())
    return adapter


def _one(adapter: DiffusersAdapter, stage: str, place: Path, params: Any, inputs: Any, **more: Any) -> Input:
    place.mkdir()
    ((_, made),) = ran(adapter, called(stage, place / "work", params, inputs, **more), place)
    return made


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


@pytest.mark.parametrize("name", VIDEO)
def test_text_denoiser_and_decoder_apart_give_the_bits_of_the_whole(
    name: str, checkpoints: Path, tmp_path: Path
) -> None:
    folder, call = checkpoints / name, VIDEO[name]
    start = picture(tmp_path)
    encoder = _loaded(folder, parts="encode", call=call)
    assert encoder._pipe.transformer is None and encoder._pipe.vae is None
    text = _one(encoder, "encode", tmp_path / "e", CLIP, {})
    denoiser = _loaded(folder, parts="denoise", text=False, from_image=True, call=call)
    assert denoiser._pipe.text_encoder is None
    given = {"image": [start], "prompt": [text]}
    latents = _one(denoiser, "denoise", tmp_path / "d", CLIP, given)
    decoder = _loaded(folder, parts="decode")
    shown = _one(decoder, "decode", tmp_path / "v", {}, {"latents": [latents]})
    assert dict(shown.facts) == {"frames": 9, "fps": 16, "w": 64, "h": 64}
    frames = np.stack(list(read_frames(shown.path / "frames.mkv")))

    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    rate = {"frame_rate": 16} if "ltx" in name else {}
    whole = pipe(
        image=_opened(tmp_path / "picture.png"), prompt=CLIP["prompt"], negative_prompt="blurred",
        width=64, height=64, num_frames=9, num_inference_steps=4, generator=generator,
        output_type="np", **call, **rate,
    ).frames[0]  # fmt: skip
    assert np.array_equal(frames, (whole * 255).round().astype(np.uint8))
    # All in one replica, and the same bits.
    fused = _one(
        _loaded(folder, from_image=True, call=call), "animate", tmp_path / "f", CLIP, {"image": [start]}
    )
    assert (fused.path / "frames.mkv").read_bytes() == (shown.path / "frames.mkv").read_bytes()
    # Killed while that one decodes: another decodes what is durable, and denoises nothing again.
    kept = Kept(stop_at=4)
    again = _loaded(folder, from_image=True, call=call)
    with pytest.raises(Left):
        _one(again, "animate", tmp_path / "k", CLIP, {"image": [start]}, checkpoints=kept)
    kept.stop_at = -1
    never_called(again)
    rest = _one(again, "animate", tmp_path / "r", CLIP, {"image": [start]}, checkpoints=kept)
    assert (rest.path / "frames.mkv").read_bytes() == (shown.path / "frames.mkv").read_bytes()


@pytest.mark.parametrize("name", ["tiny-wan2.2-i2v", "tiny-wan2.2-ti2v", "tiny-ltx-0.9.8"])
def test_a_loop_left_on_either_side_of_the_experts_boundary_ends_in_the_same_bits(
    name: str, checkpoints: Path, tmp_path: Path
) -> None:
    options = {"parts": "denoise", "from_image": True, "call": VIDEO[name]}
    start = picture(tmp_path)
    adapter = _loaded(checkpoints / name, **options)
    whole = _one(adapter, "sketch", tmp_path / "whole", CLIP, {"image": [start]})
    if name == "tiny-wan2.2-i2v":
        # At four steps the second expert takes over in the middle.
        early = [float(t) >= 0.9 * 1000 for t in adapter._pipe.scheduler.__dict__["_whole"]]
        assert early == [True, True, False, False]
    files = sorted(path.name for path in whole.path.iterdir())
    for stop in (1, 2, 3):
        kept = Kept(stop_at=stop)
        with pytest.raises(Left):
            _one(adapter, "sketch", tmp_path / f"a{stop}", CLIP, {"image": [start]}, checkpoints=kept)
        kept.stop_at = -1
        rest = _one(adapter, "sketch", tmp_path / f"b{stop}", CLIP, {"image": [start]}, checkpoints=kept)
        assert [(rest.path / f).read_bytes() for f in files] == [(whole.path / f).read_bytes() for f in files]


def test_kontext_edits_a_picture_and_takes_its_prompt_from_elsewhere(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = checkpoints / "tiny-flux-kontext"
    params = {"prompt": "Make it night", "steps": 2, "width": 64, "height": 48}
    call = {**FLUX, "_auto_resize": False}
    start = picture(tmp_path)
    fused = _loaded(folder, video=False, from_image=True, call=call)
    made = _one(fused, "edit", tmp_path / "a", params, {"image": [start]})
    assert dict(made.facts) == {"w": 64, "h": 48}
    text = _one(_loaded(folder, parts="encode", call=FLUX), "encode", tmp_path / "e", params, {})
    apart = _loaded(folder, video=False, from_image=True, text=False, call=call)
    other = _one(apart, "edit", tmp_path / "b", params, {"image": [start], "prompt": [text]})
    assert (other.path / "picture.png").read_bytes() == (made.path / "picture.png").read_bytes()
    with pytest.raises(UsageError, match=r"no text encoder \(options.text\); give it an input `prompt`"):
        _one(apart, "edit", tmp_path / "c", params, {"image": [start]})


@pytest.mark.parametrize("name", ["tiny-flux", "tiny-flux-kontext"])
def test_a_picture_is_that_of_diffusers_own_pipeline_also_where_its_loop_was_left(
    name: str, checkpoints: Path, tmp_path: Path
) -> None:
    edits = name == "tiny-flux-kontext"
    call = {**FLUX, **({"_auto_resize": False} if edits else {})}
    params = {"prompt": "A studio at night", "steps": 3, "width": 64, "height": 48}
    given = {"image": [picture(tmp_path)]} if edits else {}
    adapter = _loaded(checkpoints / name, video=False, from_image=edits, call=call)
    stage = "edit" if edits else "image"
    made = _one(adapter, stage, tmp_path / "a", params, given)
    for stop in (2, 3):
        kept = Kept(stop_at=stop)
        with pytest.raises(Left):
            _one(adapter, stage, tmp_path / f"b{stop}", params, given, checkpoints=kept)
        kept.stop_at = -1
        if stop == 3:
            never_called(adapter)
        rest = _one(adapter, stage, tmp_path / f"c{stop}", params, given, checkpoints=kept)
        assert (rest.path / "picture.png").read_bytes() == (made.path / "picture.png").read_bytes()

    pipe = diffusers.DiffusionPipeline.from_pretrained(checkpoints / name)
    pipe.set_progress_bar_config(disable=True)
    # Kontext draws another size than it is asked for, unless it is told the area too.
    more = {"image": _opened(tmp_path / "picture.png"), "max_area": 64 * 48} if edits else {}
    whole = pipe(
        prompt=params["prompt"], width=64, height=48, num_inference_steps=3,
        generator=torch.Generator().manual_seed(3), **call, **more,
    ).images[0]  # fmt: skip
    assert np.array_equal(np.asarray(_opened(made.path / "picture.png")), np.asarray(whole))


@pytest.mark.parametrize("name", ["tiny-wan2.1-i2v", "tiny-ltx-i2v"])
def test_a_decoder_out_of_memory_tries_tiles_and_nothing_is_denoised_again(
    name: str, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = picture(tmp_path)
    adapter = _loaded(checkpoints / name, from_image=True, call=VIDEO[name])
    whole = _one(adapter, "animate", tmp_path / "a", CLIP, {"image": [start]})
    vae, steps = adapter._pipe.vae, []
    inner = vae.decoder.forward
    failures: list[int] = []

    def decoder(*given: Any, **named: Any) -> Any:
        if len(failures) == 0 and (name != "tiny-wan2.1-i2v" or not named["first_chunk"]):
            failures.append(vae.use_tiling)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(*given, **named)

    forward = adapter._pipe.transformer.forward

    def denoiser(*given: Any, **named: Any) -> Any:
        steps.append(1)
        return forward(*given, **named)

    monkeypatch.setattr(vae.decoder, "forward", decoder)
    monkeypatch.setattr(adapter._pipe.transformer, "forward", denoiser)
    again = _one(adapter, "animate", tmp_path / "b", CLIP, {"image": [start]})
    assert failures == [False] and vae.use_tiling is False
    assert len(steps) == (8 if "wan" in name else 4)
    # A clip this small is one tile: nothing differs, and no picture is missing or there twice.
    assert (again.path / "frames.mkv").read_bytes() == (whole.path / "frames.mkv").read_bytes()


def test_a_decoder_of_a_picture_that_runs_out_of_memory_tries_once_more_in_tiles(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = _loaded(checkpoints / "tiny-flux", video=False, call=FLUX)
    params = {"prompt": "A studio", "steps": 2, "width": 64, "height": 48}
    vae, denoiser, tiled, steps = adapter._pipe.vae, adapter._pipe.transformer, [], []
    vae.enable_tiling()
    in_tiles = _one(adapter, "image", tmp_path / "a", params, {})
    vae.disable_tiling()
    inner, forward = vae.decoder.forward, denoiser.forward

    def decoded(*given: Any, **named: Any) -> Any:
        tiled.append(vae.use_tiling)
        if len(tiled) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(*given, **named)

    def denoised(*given: Any, **named: Any) -> Any:
        steps.append(1)
        return forward(*given, **named)

    monkeypatch.setattr(vae.decoder, "forward", decoded)
    monkeypatch.setattr(denoiser, "forward", denoised)
    again = _one(adapter, "image", tmp_path / "b", params, {})
    assert tiled == [False, *[True] * 6] and vae.use_tiling is False and len(steps) == 2
    assert (again.path / "picture.png").read_bytes() == (in_tiles.path / "picture.png").read_bytes()


def test_what_a_model_cannot_draw_is_one_line_before_anything_is_computed(
    checkpoints: Path, tmp_path: Path
) -> None:
    wan = _loaded(checkpoints / "tiny-wan2.1-i2v", from_image=True, most_frames=81)
    ltx = _loaded(checkpoints / "tiny-ltx-i2v", from_image=True)
    start = picture(tmp_path)
    wrong: list[tuple[DiffusersAdapter, dict[str, Any], str]] = [
        (wan, {"render_width": 641}, "width: 641 cannot be drawn, .* multiples of 16; use 640"),
        (wan, {"render_height": 0, "height": 0}, "height: 0 cannot be drawn, .* multiples of 16; use 16"),
        (ltx, {"render_width": 80}, "width: 80 cannot be drawn, .* multiples of 32; use 64"),
        (wan, {"frames": 85}, "frames: 85 are more than the 81 that it makes in one clip; give fewer"),
        (wan, {"steps": 0}, "steps: 0 denoise nothing; give 1 or more"),
        (wan, {"chunks": 0}, "chunks, frames, seconds: a clip of nothing"),
        (wan, {"steps": "ten"}, r"sketch: Expected `int`, got `str` - at `\$.steps`"),
    ]
    for index, (adapter, change, said) in enumerate(wrong):
        with pytest.raises(UsageError, match=said):
            _one(adapter, "sketch", tmp_path / str(index), {**CLIP, **change}, {"image": [start]})
        assert not list((tmp_path / str(index)).rglob("*.h5"))
    # What is no multiple of four in time is made a little longer, and no longer than the model can.
    made = _one(wan, "sketch", tmp_path / "t", {**CLIP, "frames": 6, "steps": 1}, {"image": [start]})
    assert made.facts["latent_frames"] == 3
    with pytest.raises(UsageError, match=r"options: Invalid enum value 'int3' - at `\$.dtype`"):
        _loaded(checkpoints / "tiny-ltx-i2v", dtype="int3")


def test_latents_of_another_model_or_type_are_one_line(checkpoints: Path, tmp_path: Path) -> None:
    from hpcwise.worker.exchange import LatentFiles

    decoder = _loaded(checkpoints / "tiny-ltx-i2v", parts="decode")
    said = {
        "float32": r"latents of shape \[16, 3, 4, 4\]; it decodes \[8, frames, height, width\]: these are",
        "int64": "latents of type int64; it decodes bfloat16, float16, float32",
    }
    for kind, text in said.items():
        folder = tmp_path / kind
        folder.mkdir()
        array = np.zeros((16, 3, 4, 4), kind)
        LatentFiles("x").write(folder / "latents.h5", array, dtype=kind, scale=1.0, sampler="", step=0)
        with pytest.raises(UsageError, match=text):
            _one(decoder, "decode", tmp_path / f"d{kind}", {}, {"latents": [Input(folder, {})]})


def test_a_prompt_that_is_too_long_is_cut_after_a_sentence_and_the_facts_say_so(
    checkpoints: Path, tmp_path: Path
) -> None:
    adapter = _loaded(checkpoints / "tiny-flux", video=False, call=FLUX)
    params = {"steps": 1, "width": 64, "height": 48}
    long = {**params, "prompt": "A bright studio with a big table. Two people sit there."}
    made = _one(adapter, "image", tmp_path / "a", long, {})
    left_out = "Two people sit there."
    assert dict(made.facts) == {"w": 64, "h": 48, "prompt_left_out": left_out}
    short = _one(
        adapter, "image", tmp_path / "b", {**params, "prompt": "A bright studio with a big table."}, {}
    )
    assert (short.path / "picture.png").read_bytes() == (made.path / "picture.png").read_bytes()
    words = {**params, "prompt": "light " * 20}
    assert (
        _one(adapter, "image", tmp_path / "c", words, {}).facts["prompt_left_out"].startswith("light light")
    )
    with pytest.raises(UsageError, match="prompt: its first word has more than the 48 tokens that are read"):
        _one(adapter, "image", tmp_path / "d", {**params, "prompt": "a" * 100}, {})


def test_a_shard_that_lacks_is_named(checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(checkpoints / "tiny-flux", folder)
    part = folder / "transformer"
    transformer = diffusers.FluxTransformer2DModel.from_pretrained(part)
    shutil.rmtree(part)
    transformer.save_pretrained(part, max_shard_size="20KB")
    (folder / SUMS).write_text(sums(folder))
    check(folder, "flux")
    shards = sorted(part.glob("*-of-*.safetensors"))
    assert len(shards) > 2
    shards[1].unlink()
    with pytest.raises(ModelMissing, match=rf"model flux: transformer/{shards[1].name} is missing in"):
        check(folder, "flux")
    # Who loads text encoders alone does not need it.
    assert check(folder, "flux", frozenset({"transformer"}))["_class_name"] == "FluxPipeline"
