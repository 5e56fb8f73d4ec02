"""Colours of a preview: a linear factor, fitted to the encoder of the model itself."""

from __future__ import annotations

import io
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
from hpcwise.models.diffusion.decode import load_vae
from hpcwise.models.diffusion.look import factor_of, preview_jpeg
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


@pytest.mark.parametrize("name", ["tiny-wan2.1-i2v", "tiny-wan2.2-ti2v", "tiny-framepack"])
def test_a_factor_is_found_for_every_video_model_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    tiny.build(name, tmp_path / name)
    vae = load_vae(tmp_path / name, torch.float32, torch.device("cpu"))
    state = torch.random.get_rng_state()
    factor = factor_of(vae)
    assert torch.equal(torch.random.get_rng_state(), state)  # films with and without it are the same
    channels = getattr(vae.config, "z_dim", None) or vae.config.latent_channels
    assert factor.shape == (channels + 1, 3) and bool(torch.isfinite(factor).all())
    assert torch.equal(factor, factor_of(vae))
    lost = torch.full((1, channels, 3, 6, 8), float("nan"))
    seen = np.asarray(Image.open(io.BytesIO(preview_jpeg(lost, vae, factor))))
    assert seen.shape == (24, 32, 3) and seen.max() == 0


def test_a_denoising_loop_offers_a_preview_after_each_step(tmp_path: Path) -> None:
    tiny.build("tiny-wan2.1-i2v", tmp_path / "tiny-wan2.1-i2v")
    adapter = DiffusersAdapter()
    spec = ModelSpec("m", "1", "diffusers", tmp_path / "tiny-wan2.1-i2v", {
        "parts": "denoise", "dtype": "float32", "from_image": True, "fps": 16,
        "call": {"guidance_scale": 1.0},
    })  # fmt: skip
    adapter.load(spec, Devices())
    made: list[bytes] = []
    params = {
        "prompt": "A host speaks.", "steps": 3, "frames": 5, "fps": 16, "render_width": 64,
        "render_height": 48,
    }  # fmt: skip
    call = called(
        "sketch", tmp_path / "w", params, {"image": [picture(tmp_path)]},
        preview=lambda make: made.append(make()),
    )  # fmt: skip
    list(ran(adapter, call, tmp_path))
    assert [Image.open(io.BytesIO(jpeg)).size for jpeg in made] == [(32, 24)] * 3 and len(set(made)) == 3
