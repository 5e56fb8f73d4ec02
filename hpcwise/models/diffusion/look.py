"""What latents look like on the way: colours by a linear factor that is fitted to the model's own encoder.

A latent's channels say mostly which colour its cell has on average, nearly linearly; details need the
decoder, which takes as long as many steps. The factor is found once, when a model is loaded: a card of smooth
colours is encoded, and the colours are explained by the channels in the sense of least squares.
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import torch

from hpcwise.models.diffusion.decode import spatial, unscaled

#: The card has so many cells along a side, each with a colour of its own between those of its neighbours.
_CELLS: Final = 24
_PATCHES: Final = 8
#: Of the channels' own variance; keeps those that say nothing out of it.
_RIDGE: Final = 1e-3
#: Share of the values at either end that may be cut off.
_OUTSIDE: Final = 0.02
#: Along a side, of the picture's pixels.
_PREVIEW_SIDE: Final = 0.5


def factor_of(vae: Any, *, video: bool = True) -> torch.Tensor:
    """[channels + 1, 3]: of a cell's channels and a one, its colour from 0 to 1. video: whether `vae` is of
    clips, or of pictures."""
    side = _CELLS * spatial(vae)
    card = _card(side)
    parameter = next(vae.parameters())
    pixels = (2 * card - 1)[None].to(parameter.device, parameter.dtype)
    with torch.no_grad():
        cells = vae.encode(pixels[:, :, None] if video else pixels).latent_dist.mode()
    channels = cells[0].flatten(1).double().cpu()
    given = torch.cat([channels, torch.ones(1, channels.shape[1], dtype=torch.float64)]).T
    wanted = torch.nn.functional.adaptive_avg_pool2d(card, cells.shape[-1]).flatten(1).T.double()
    square = given.T @ given
    calm = torch.diag(_RIDGE * square.diagonal())
    calm[-1, -1] = 0.0
    return torch.linalg.solve(square + calm, given.T @ wanted).float()


def preview_jpeg(latents: torch.Tensor, vae: Any, factor: torch.Tensor) -> bytes:
    """A picture half as wide and high, of latents as a pipeline has them, of a clip's middle frame. The
    noise of early steps reaches far beyond colours that there are: then all are brought in, less from step to
    step."""
    from PIL import Image

    if latents.ndim == 5:
        middle = latents.shape[2] // 2
        latents = latents[:, :, middle : middle + 1]
    cells = unscaled(vae, latents)[0].float().cpu()
    cells = cells.reshape(cells.shape[0], *cells.shape[-2:])
    colours = (torch.einsum("chw,cr->hwr", cells, factor[:-1]) + factor[-1]).nan_to_num()
    low = colours.quantile(_OUTSIDE).clamp_max(0.0)
    high = colours.quantile(1 - _OUTSIDE).clamp_min(1.0)
    shown = ((colours - low) / (high - low)).clamp(0, 1)
    picture = Image.fromarray((255 * shown).round().to(torch.uint8).numpy())
    held = io.BytesIO()
    enlarged = round(spatial(vae) * _PREVIEW_SIDE)
    size = (picture.width * enlarged, picture.height * enlarged)
    picture.resize(size, Image.Resampling.BICUBIC).save(held, "JPEG", quality=80)
    return held.getvalue()


def _card(side: int) -> torch.Tensor:
    """[3, side, side], colours from 0 to 1."""
    seeds = torch.from_numpy(np.random.RandomState(0).rand(1, 3, _PATCHES, _PATCHES)).float()
    return torch.nn.functional.interpolate(seeds, (side, side), mode="bicubic")[0].clamp(0, 1)
