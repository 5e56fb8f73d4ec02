"""FramePack in forward order: sections as diffusers makes them, streamed, left and gone on with; no seams."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from hpcwise.core.errors import UsageError
from hpcwise.models.base import Devices, Input, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.framepack.adapter import FramePackAdapter
from hpcwise.models.frames import Frame, read_frames
from tests.models.tinies import Kept, Left, called, picture, ran

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

#: Sections of three latent frames: twelve pictures each. Two of them in each of two segments.
CALL = {
    "guidance_scale": 4.5, "latent_window_size": 3, "max_sequence_length": 64,
    "prompt_template": {"template": "{}", "crop_start": 0},
}  # fmt: skip
FILM = {"prompt": "A host speaks.", "steps": 3, "render_width": 32, "render_height": 32, "frames": 24,
        "chunks": 2, "fps": 30}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-framepack"
    tiny.build("tiny-framepack", folder)
    return folder


def _loaded(folder: Path, **options: Any) -> FramePackAdapter:
    adapter = FramePackAdapter()
    chosen = {"dtype": "float32", "from_image": True, "call": CALL, **options}
    adapter.load(ModelSpec("tiny-framepack", "1", "framepack", folder, chosen), Devices())
    return adapter


def _sketch(adapter: FramePackAdapter, place: Path, **more: Any) -> list[Input]:
    place.mkdir(exist_ok=True)

    def own(chunk: int) -> Input:
        return Input(place / f"chunk-{chunk}", {})

    given = {"image": [picture(place, 32, 32)], **more.pop("inputs", {})}
    call = called("sketch", place / "work", FILM, given, own=own, **more)
    return [made for _, made in ran(adapter, call, place)]


def _frames(decoder: FramePackAdapter, made: Input, place: Path, overlap: int | None = None) -> list[Frame]:
    place.mkdir()
    facts = made.facts if overlap is None else {**made.facts, "overlap": overlap}
    call = called("decode", place / "work", {}, {"latents": [Input(made.path, facts)]})
    ((_, shown),) = ran(decoder, call, place)
    return list(read_frames(shown.path / "frames.mkv"))


def _latents(made: Input) -> Any:
    from hpcwise.worker.exchange import LatentFiles

    return LatentFiles("test").read(made, "latents.h5")[0]


def test_sections_come_in_film_order_with_the_bits_of_diffusers_own_forward_run(
    checkpoint: Path, tmp_path: Path
) -> None:
    made = _sketch(_loaded(checkpoint, parts="denoise"), tmp_path / "film")
    assert [dict(m.facts) for m in made] == [
        {"latent_frames": 7, "overlap": 0, "fps": 30, "model": "tiny-framepack"},
        {"latent_frames": 10, "overlap": 13, "fps": 30, "model": "tiny-framepack"},
    ]
    pipe = diffusers.HunyuanVideoFramepackPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    with Image.open(tmp_path / "film" / "picture.png") as opened:
        start = opened.convert("RGB")
    whole = pipe(
        image=start, prompt=FILM["prompt"], width=32, height=32, num_frames=36, num_inference_steps=3,
        generator=torch.Generator().manual_seed(3), sampling_type="vanilla", output_type="latent", **CALL,
    ).frames[-1][0].numpy()  # fmt: skip
    first, second = (_latents(m) for m in made)
    # One picture, and four sections of three; the second chunk repeats the section before it.
    assert np.array_equal(np.concatenate([first, second[:, 4:]], axis=1), whole)
    assert np.array_equal(first[:, -4:], second[:, :4])


@pytest.mark.parametrize("stop", [(0, 2), (0, 3), (0, 5), (1, 4)])
def test_a_film_left_in_any_section_goes_on_to_the_same_bits(
    stop: tuple[int, int], checkpoint: Path, tmp_path: Path
) -> None:
    adapter = _loaded(checkpoint, parts="denoise")
    whole = _sketch(adapter, tmp_path / "whole")
    chunk, step = stop

    class Once(Kept):
        def offer(self, at: int, done: int, share: float, state: Any, *, now: bool = False) -> None:
            if at == chunk:
                super().offer(at, done, share, state, now=now)

    kept = Once(stop_at=step)
    with pytest.raises(Left):
        _sketch(adapter, tmp_path / "parted", checkpoints=kept)
    assert sorted(p.name for p in (tmp_path / "parted").glob("chunk-*")) == ["chunk-0"][:chunk]
    kept.stop_at = -1
    rest = _sketch_rest(_loaded(checkpoint, parts="denoise"), tmp_path / "parted", kept, chunk)
    for mine, its in zip(whole[chunk:], rest, strict=True):
        assert (mine.path / "latents.h5").read_bytes() == (its.path / "latents.h5").read_bytes()


def _sketch_rest(adapter: FramePackAdapter, place: Path, kept: Kept, first: int) -> list[Input]:
    for left in (place / "work").glob("*"):
        left.unlink()
    return _sketch(adapter, place, checkpoints=kept, first_chunk=first)


def test_pictures_of_a_section_decoded_alone_go_on_where_the_ones_before_ended(
    checkpoint: Path, tmp_path: Path
) -> None:
    made = _sketch(_loaded(checkpoint, parts="denoise"), tmp_path / "film")
    decoder = _loaded(checkpoint, parts="decode")
    clips = [_frames(decoder, m, tmp_path / f"d{i}") for i, m in enumerate(made)]
    # Two sections and the picture; then two sections: nothing is shown twice and nothing is missing.
    assert [len(clip) for clip in clips] == [25, 24]
    uncut = _frames(decoder, made[1], tmp_path / "uncut", overlap=0)
    assert all(np.array_equal(a, b) for a, b in zip(uncut[13:], clips[1], strict=True))
    # What both decoded, near the cut, is nearly the same picture: the step over the cut is one like others.
    seams = [_apart(a, b) for a, b in zip(uncut[9:13], clips[0][-4:], strict=True)]
    moves = [_apart(a, b) for a, b in itertools.pairwise(uncut[13:])]
    assert max(seams) < max(moves), (seams, moves)
    assert _apart(clips[0][-1], clips[1][0]) < 1.5 * max(moves)


def _apart(one: Frame, other: Frame) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def test_a_decoder_out_of_memory_tries_the_same_latents_in_tiles(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _sketch(_loaded(checkpoint, parts="denoise"), tmp_path / "film")[0]
    decoder = _loaded(checkpoint, parts="decode")
    whole = _frames(decoder, made, tmp_path / "whole")
    vae, tiled = decoder._vae, []
    inner = vae.decoder.forward

    def once(*given: Any, **named: Any) -> Any:
        tiled.append(vae.use_tiling)
        if len(tiled) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(*given, **named)

    monkeypatch.setattr(vae.decoder, "forward", once)
    again = _frames(decoder, made, tmp_path / "again")
    assert tiled[0] is False and all(tiled[1:]) and vae.use_tiling is False
    # A picture this small is one tile.
    assert len(again) == len(whole) and all(map(np.array_equal, again, whole))


def test_its_text_may_be_encoded_elsewhere_and_a_fused_replica_shows_the_same(
    checkpoint: Path, tmp_path: Path
) -> None:
    place = tmp_path / "text"
    place.mkdir()
    encoder = _loaded(checkpoint, parts="encode")
    ((_, text),) = ran(encoder, called("encode", place / "work", FILM, {}), place)
    apart = _sketch(
        _loaded(checkpoint, parts="denoise", text=False), tmp_path / "apart", inputs={"prompt": [text]}
    )
    fused_at = tmp_path / "fused"
    fused_at.mkdir()
    call = called(
        "animate", fused_at / "work", FILM, {"image": [picture(fused_at, 32, 32)]},
        own=lambda chunk: Input(fused_at / f"chunk-{chunk}", {}),
    )  # fmt: skip
    whole = _loaded(checkpoint)
    # Left behind the last step of its first two sections, which are decoded then.
    kept = Kept(stop_at=6)
    with pytest.raises(Left):
        list(ran(whole, replace(call, checkpoints=kept), fused_at))
    kept.stop_at = -1
    call = replace(call, inputs={"image": iter([picture(fused_at, 32, 32)])}, checkpoints=kept)
    fused = [made for _, made in ran(whole, call, fused_at)]
    decoder = _loaded(checkpoint, parts="decode")
    for index, (mine, its) in enumerate(zip(apart, fused, strict=True)):
        assert (mine.path / "latents.h5").read_bytes() == (its.path / "latents.h5").read_bytes()
        shown = _frames(decoder, mine, tmp_path / f"s{index}")
        assert all(
            np.array_equal(a, b) for a, b in zip(read_frames(its.path / "frames.mkv"), shown, strict=True)
        )


def test_an_argument_that_sections_do_not_know_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    adapter = _loaded(checkpoint, call={**CALL, "true_cfg_scale": 4.0})
    with pytest.raises(
        UsageError, match=r"options.call.true_cfg_scale: sections take guidance_scale, latent"
    ):
        _sketch(adapter, tmp_path / "film")
