"""Latents to pictures, one latent frame at a time.

The decoders of Wan are causal: what a frame becomes depends on earlier ones through caches inside the
convolutions. Feeding them frame by frame gives the bits of a decode of the whole clip, in the memory of one
frame. Decoders that look both ways decode the clip at once, in tiles where it does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.models.diffusion.options import DTYPES
from hpcwise.models.frames import Frame
from hpcwise.models.parallel.tiles import SharedDecoder


@dataclass(frozen=True, slots=True)
class Noise:
    """What a decoder mixes in that was trained to end the denoising itself (LTX). Drawn right after the loop,
    from the loop's own numbers, so that a decoder elsewhere mixes in the same."""

    drawn: Any
    timestep: float
    scale: float

    @property
    def facts(self) -> dict[str, float]:
        return {"decode_timestep": self.timestep, "decode_noise_scale": self.scale}


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


def unpacked(pipe: Any, latents: torch.Tensor, frames: int, width: int, height: int) -> torch.Tensor:
    """[1, channels, frames, h, w] of what a pipeline of clips calls latents, [1, channels, h, w] of pictures;
    LTX and Flux leave them as a row of tokens."""
    if latents.ndim != 3:
        return latents
    if not hasattr(pipe, "vae_temporal_compression_ratio"):
        flat: torch.Tensor = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
        return flat
    sizes = (
        (frames - 1) // pipe.vae_temporal_compression_ratio + 1,
        height // pipe.vae_spatial_compression_ratio,
        width // pipe.vae_spatial_compression_ratio,
    )
    patches = pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size
    grid: torch.Tensor = pipe._unpack_latents(latents, *sizes, *patches)
    return grid


def noise_for(pipe: Any, latents: torch.Tensor, generator: Any, options: Mapping[str, Any]) -> Noise | None:
    """As the pipeline would draw it now; None for the many decoders that take none."""
    if not getattr(pipe.vae.config, "timestep_conditioning", False):
        return None
    drawn = torch.randn(
        latents.shape, generator=generator, device=latents.device, dtype=pipe.transformer.dtype
    )
    timestep = float(options.get("decode_timestep", 0.0))
    scale = options.get("decode_noise_scale")
    return Noise(drawn, timestep, timestep if scale is None else float(scale))


def check_latents(vae: Any, shape: tuple[int, ...], kind: str, name: str) -> None:
    """Raises UsageError for an array that is none of this decoder's latents."""
    config = vae.config
    channels = getattr(config, "z_dim", None) or getattr(config, "latent_channels", None)
    if kind not in DTYPES:
        raise UsageError(f"model {name}: latents of type {kind}; it decodes {', '.join(DTYPES)}")
    if len(shape) != 4 or (channels is not None and shape[0] != channels):
        wanted = f"[{channels}, frames, height, width]: these are another model's"
        raise UsageError(f"model {name}: latents of shape {list(shape)}; it decodes {wanted}")


def pictures(
    vae: Any, latents: torch.Tensor, on_frame: Callable[[int], object], noise: Noise | None = None,
    shared: SharedDecoder | None = None,
) -> Iterator[Frame]:  # fmt: skip
    """Pictures [height, width, 3] of 8 bits from a pipeline's latents [1, channels, frames, h, w].

    on_frame: is told how many latent frames are done. shared: the replica's processes decode together, where
    a picture is large enough for that. Where the device's memory is too small the same latents
    are decoded once more, in tiles; pictures that are out already are not made twice. Raises BadOutput for
    values that are no numbers.
    """
    scaled = unscaled(vae, latents)
    told: tuple[Any, ...] = ()
    if noise is not None:
        scaled = (1 - noise.scale) * scaled + noise.scale * noise.drawn.to(scaled)
        told = (torch.tensor([noise.timestep], device=scaled.device, dtype=scaled.dtype),)
    if shared is not None and shared.tiling(scaled) is not None:
        for done, values in shared.decoded(scaled, told):
            yield from _eight_bits(values)
            on_frame(done)
        return
    first = _causal if type(vae).__name__ == "AutoencoderKLWan" else _whole
    shown = 0
    for way in (first, _tiled):
        try:
            for index, frame in enumerate(way(vae, scaled, told, on_frame)):
                if index >= shown:
                    yield frame
                    shown += 1
            return
        except torch.OutOfMemoryError:
            if way is _tiled:
                raise
            torch.cuda.empty_cache()


def patiently(vae: Any) -> None:
    """Have `vae.decode`, which a pipeline of pictures calls itself, try once more in tiles where the device's
    memory is too small: what was denoised is not lost. And raise BadOutput for values that are no numbers,
    which become black pixels behind it."""
    plain = vae.decode

    def decode(*given: Any, **named: Any) -> Any:
        try:
            return found(plain(*given, **named))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        vae.enable_tiling()
        try:
            return found(plain(*given, **named))
        finally:
            vae.disable_tiling()

    def found(made: Any) -> Any:
        if not bool(torch.isfinite(made[0]).all()):
            raise BadOutput("decoded values that are no numbers")
        return made

    vae.decode = decode


def _causal(
    vae: Any, latents: torch.Tensor, _told: tuple[Any, ...], on_frame: Callable[[int], object]
) -> Iterator[Frame]:
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


def _whole(
    vae: Any, latents: torch.Tensor, told: tuple[Any, ...], on_frame: Callable[[int], object]
) -> Iterator[Frame]:
    """All frames at once."""
    with torch.no_grad():
        made = vae.decode(latents, *told, return_dict=False)[0]
    on_frame(int(latents.shape[2]))
    yield from _eight_bits(made)


def _tiled(
    vae: Any, latents: torch.Tensor, told: tuple[Any, ...], on_frame: Callable[[int], object]
) -> Iterator[Frame]:
    """In tiles whose edges are blended."""
    vae.enable_tiling()
    try:
        yield from _whole(vae, latents, told, on_frame)
    finally:
        vae.disable_tiling()


def unscaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """What the decoder was trained on, in its type: a pipeline normalises latents by channel, or by one
    factor."""
    config = vae.config
    if type(vae).__name__ == "AutoencoderKLLTXVideo":  # keeps them as buffers, and changes type last
        mean, std = (t.view(1, -1, 1, 1, 1).to(latents) for t in (vae.latents_mean, vae.latents_std))
        return (latents * std / config.scaling_factor + mean).to(vae.dtype)
    latents = latents.to(vae.dtype)
    if getattr(config, "latents_mean", None):
        shape = (1, -1, 1, 1, 1)
        mean = torch.tensor(config.latents_mean).view(shape).to(latents.device, latents.dtype)
        inverse = 1.0 / torch.tensor(config.latents_std).view(shape).to(latents.device, latents.dtype)
        return latents / inverse + mean
    shift = getattr(config, "shift_factor", None) or 0.0
    return latents / config.scaling_factor + shift


def _eight_bits(frames: torch.Tensor) -> Iterator[Frame]:
    """As diffusers' video processor makes them: from -1..1, rounded to 8 bits."""
    if not bool(torch.isfinite(frames).all()):
        raise BadOutput("decoded values that are no numbers")
    shown = (frames[0] * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).float().cpu().numpy()
    yield from (shown * 255).round().astype("uint8")
