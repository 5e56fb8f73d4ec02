"""Colours of a preview: a linear factor, fitted to the encoder of the model itself."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hpcwise.models.base import Devices, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.diffusion.look import factor_of, preview_jpeg
from hpcwise.models.framepack.adapter import FramePackAdapter
from hpcwise.models.sync.adapter import SyncAdapter
from hpcwise.worker.exchange import LatentFiles
from tests.models import test_sync
from tests.models.tinies import called, picture, ran


class _Encoder(torch.nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """An encoder as trained ones are at first glance: three of its channels mix a cell's mean colour, one is
    its contrast, and one is about nothing. Random weights, as of the tiny checkpoints, see hardly any."""

    spatial_compression_ratio = 8
    dtype = torch.float32
    config = SimpleNamespace(latents_mean=[0.3, -0.2, 0.1, 0.5, 0.0], latents_std=[2.0, 0.5, 1.5, 1.0, 3.0])

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Parameter(torch.tensor([[0.9, 0.4, -0.3], [-0.5, 0.8, 0.6], [0.2, -0.7, 1.1]]))

    def encode(self, pixels: torch.Tensor) -> Any:
        assert pixels.shape[2] == 1 and float(pixels.min()) >= -1.0 and float(pixels.max()) <= 1.0
        mean = torch.nn.functional.avg_pool2d(pixels[:, :, 0], 8)
        square = torch.nn.functional.avg_pool2d(pixels[:, :, 0] ** 2, 8)
        contrast = (square - mean**2).sum(1, keepdim=True)
        nothing = torch.from_numpy(np.random.RandomState(1).randn(*contrast.shape)).float()
        found = torch.cat([torch.einsum("kc,bchw->bkhw", self.mix, mean) + 0.25, contrast, nothing], 1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: found.unsqueeze(2)))


def _drawn() -> Image.Image:
    """Three fields of plain colours, and one that fades."""
    fields = np.zeros((160, 160, 3), np.uint8)
    fields[:80, :80], fields[:80, 80:], fields[80:, :80] = (220, 40, 30), (40, 60, 200), (30, 180, 60)
    fields[80:, 80:] = np.linspace(20, 240, 80, dtype=np.uint8)[None, :, None]
    return Image.fromarray(fields)


def test_a_preview_has_the_colours_of_the_picture_at_their_places() -> None:
    vae = _Encoder()
    pixels = torch.from_numpy(np.asarray(_drawn()).copy()).permute(2, 0, 1)[None, :, None].float() / 127.5 - 1
    with torch.no_grad():
        raw = vae.encode(pixels).latent_dist.mode()
    mean, std = (
        torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std)
    )
    latents = ((raw - mean) / std).repeat(1, 1, 3, 1, 1)  # as a pipeline has them, three frames of them
    seen = Image.open(io.BytesIO(preview_jpeg(latents, vae, factor_of(vae))))
    assert seen.size == (80, 80)
    wanted = np.asarray(_drawn().resize((20, 20), Image.Resampling.BOX), float)
    found = np.asarray(seen.resize((20, 20), Image.Resampling.BOX), float)
    assert float(np.median(np.abs(found - wanted))) < 6


_SIZE = {"render_width": 96, "render_height": 64, "steps": 2}
_CLIP = {"from_image": True, "parts": "denoise"}
_PICTURE = {"video": False, "call": {"guidance_scale": 2.0, "max_sequence_length": 16}}
#: Every checkpoint that has a loop -> options of its card, and stage.
_LOOPS: dict[str, tuple[dict[str, Any], str]] = {
    "tiny-wan2.1-t2v": ({"parts": "denoise"}, "sketch"),
    "tiny-wan2.1-i2v": (_CLIP, "sketch"),
    "tiny-wan2.2-i2v": (_CLIP, "sketch"),
    "tiny-wan2.2-ti2v": (_CLIP, "sketch"),
    "tiny-ltx-i2v": (_CLIP, "sketch"),
    "tiny-ltx-0.9.8": (_CLIP, "sketch"),
    "tiny-framepack": ({**_CLIP, "call": {"prompt_template": {"template": "{}", "crop_start": 0}}}, "sketch"),
    "tiny-flux": (_PICTURE, "image"),
    "tiny-flux-kontext": ({**_PICTURE, "from_image": True}, "edit"),
    "tiny-fantasytalking": ({"from_image": True}, "sync"),
}


def test_every_checkpoint_with_a_loop_is_looked_at() -> None:
    assert set(tiny.BUILDERS) - set(_LOOPS) == {"tiny-llama", "tiny-esrgan", "tiny-yolos"}


@pytest.mark.parametrize("name", _LOOPS)
def test_a_loop_shows_a_picture_of_the_shots_aspect_after_each_step(name: str, tmp_path: Path) -> None:
    tiny.build(name, tmp_path / name)
    options, stage = _LOOPS[name]
    adapter = {"tiny-framepack": FramePackAdapter, "tiny-fantasytalking": SyncAdapter}.get(
        name, DiffusersAdapter
    )()
    spec = ModelSpec("m", "1", "x", tmp_path / name, {"dtype": "float32", **options})
    adapter.load(spec, Devices())
    vae, factor = adapter._vae, adapter._factor
    state = torch.random.get_rng_state()
    assert torch.equal(factor, factor_of(vae, video=stage in ("sketch", "sync")))
    assert torch.equal(torch.random.get_rng_state(), state)  # films with and without it are the same
    made: list[bytes] = []
    if stage == "sync":
        speech, clip = test_sync._spoken(tmp_path / "speech", 0.3), test_sync._clip(tmp_path / "clip")
        call = test_sync._call(tmp_path / "w", _SIZE, speech, clip)
        call = replace(call, preview=lambda make: made.append(make()))
    else:
        call = called(
            stage, tmp_path / "w", {"prompt": "A host.", "frames": 9, "fps": 16, **_SIZE},
            {"image": [picture(tmp_path)]}, preview=lambda make: made.append(make()),
        )  # fmt: skip
    ((_, kept),) = ran(adapter, call, tmp_path)
    assert [Image.open(io.BytesIO(jpeg)).size for jpeg in made] == [(48, 32)] * 2 and made[0] != made[1]
    if stage == "sketch" and name != "tiny-framepack":  # whose chunk is more than its last section
        latents, _ = LatentFiles("x").read(kept, "latents.h5")
        assert made[-1] == preview_jpeg(torch.from_numpy(latents)[None], vae, factor)


def test_a_preview_of_numbers_that_are_none_is_black() -> None:
    vae = _Encoder()
    lost = torch.full((1, 5, 3, 6, 8), float("nan"))
    seen = np.asarray(Image.open(io.BytesIO(preview_jpeg(lost, vae, factor_of(vae)))))
    assert seen.shape == (24, 32, 3) and seen.max() == 0
