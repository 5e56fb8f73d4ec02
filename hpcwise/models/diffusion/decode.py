"""Latents to pictures, one latent frame at a time.

The decoders of Wan are causal: what a frame becomes depends on earlier ones through caches inside the
convolutions. Feeding them frame by frame gives the bits of a decode of the whole clip, in the memory of one
frame. Decoders that look both ways decode the clip at once, in tiles where it does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from hpcwise.core.errors import BadOutput
from hpcwise.models.frames import Frame


def load_vae(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """The decoder of a checkpoint, alone. The class is the one that its model_index.json names."""
    import diffusers

    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    cls = getattr(diffusers, index["vae"][1])
    return cls.from_pretrained(folder / "vae", dtype=dtype, local_files_only=True).to(device).eval()


def spatial(vae: Any) -> int:
    """Pixels along a side for each of a latent."""
    factor = getattr(vae, "spatial_compression_ratio", None) or getattr(
        vae.config, "scale_factor_spatial", None
    )
    return int(factor or 2 ** (len(vae.config.block_out_channels) - 1))


def pictures(vae: Any, latents: torch.Tensor, on_frame: Callable[[int], object]) -> Iterator[Frame]:
    """Pictures [height, width, 3] of 8 bits from a pipeline's latents [1, channels, frames, h, w].

    on_frame: is told how many latent frames are done. Raises BadOutput for values that are no numbers.
    """
    scaled = _unscaled(vae, latents.to(vae.dtype))
    if type(vae).__name__ == "AutoencoderKLWan":
        yield from _causal(vae, scaled, on_frame)
        return
    with torch.no_grad():
        whole = _whole(vae, scaled)
    yield from _eight_bits(whole)
    on_frame(int(latents.shape[2]))


def _causal(vae: Any, latents: torch.Tensor, on_frame: Callable[[int], object]) -> Iterator[Frame]:
    vae.clear_cache()
    try:
        for index in range(latents.shape[2]):
            vae._conv_idx = [0]
            with torch.no_grad():
                some = vae.post_quant_conv(latents[:, :, index : index + 1])
                some = vae.decoder(
                    some, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=index == 0
                )
            if vae.config.patch_size is not None:
                from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

                some = unpatchify(some, patch_size=vae.config.patch_size)
            yield from _eight_bits(torch.clamp(some, min=-1.0, max=1.0))
            on_frame(index + 1)
    finally:
        vae.clear_cache()


def _whole(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """All frames at once; where the device's memory is too small, once more in tiles, of the same latents."""
    try:
        made: torch.Tensor = vae.decode(latents, return_dict=False)[0]
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        vae.enable_tiling()
        try:
            made = vae.decode(latents, return_dict=False)[0]
        finally:
            vae.disable_tiling()
    return made


def _unscaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """What the decoder was trained on: a pipeline normalises latents by channel, or by one factor."""
    config = vae.config
    if getattr(config, "latents_mean", None):
        shape = (1, -1, 1, 1, 1)
        mean = torch.tensor(config.latents_mean).view(shape).to(latents.device, latents.dtype)
        inverse = 1.0 / torch.tensor(config.latents_std).view(shape).to(latents.device, latents.dtype)
        return latents / inverse + mean
    if isinstance(getattr(vae, "latents_mean", None), torch.Tensor):  # LTX keeps them as buffers
        mean, std = (t.view(1, -1, 1, 1, 1).to(latents) for t in (vae.latents_mean, vae.latents_std))
        return latents * std / config.scaling_factor + mean
    shift = getattr(config, "shift_factor", None) or 0.0
    return latents / config.scaling_factor + shift


def _eight_bits(frames: torch.Tensor) -> Iterator[Frame]:
    """As diffusers' video processor makes them: from -1..1, rounded to 8 bits."""
    if not bool(torch.isfinite(frames).all()):
        raise BadOutput("decoded values that are no numbers")
    shown = (frames[0] * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).float().cpu().numpy()
    yield from (shown * 255).round().astype("uint8")
