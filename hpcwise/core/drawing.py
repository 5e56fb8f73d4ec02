"""What a model can draw: sides that its VAE and patches divide, clips of whole latent frames and no longer
than it was made for, tokens that the processes of a replica can share (StreamWise sections 3.4 and 4.5).

The planner asks here before it makes a task, so that no adapter has to refuse one. A model that is in no
catalogue is taken for one of the usual VAE (8) and patches (2), without a longest clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from hpcwise.core.catalogue import ModelInfo
from hpcwise.core.resources import FleetItem

#: What a side is divided by on its way into a transformer: eight by the VAE, two by its patches.
USUAL_SIDE_PX: Final = 16
#: A side may be this much longer or shorter than asked for, so that a replica can share the tokens.
_MOST_BENT: Final = 0.25


def side_px(model: ModelInfo | None) -> int:
    """What a picture's sides must be multiples of."""
    if model is None or model.vae is None:
        return USUAL_SIDE_PX
    return model.vae.spatial * model.vae.patch


def drawn_size(
    model: ModelInfo | None, size: tuple[float, float], shared_by: tuple[int, ...] = ()
) -> tuple[int, int]:
    """Width and height (pixels) nearest to `size` that the model can draw.

    shared_by: numbers of processes that must each be able to deal out the tokens of every latent frame
    evenly, so that any number of frames fits. Where no size near enough does that, the nearest one is the
    answer, and the scheduler keeps such tasks off such replicas.
    """
    if model is not None and model.resolutions:
        return min(model.resolutions, key=lambda known: (_bent(known, size), known))
    columns, rows = _grid(*size, side_px(model), shared_by)
    return columns * side_px(model), rows * side_px(model)


@lru_cache(maxsize=1024)
def _grid(width: float, height: float, side: int, shared_by: tuple[int, ...]) -> tuple[int, int]:
    """Columns and rows of tokens."""
    wanted = width / side, height / side
    nearest = max(1, round(wanted[0])), max(1, round(wanted[1]))
    each = math.lcm(*shared_by)
    if nearest[0] * nearest[1] % each == 0:
        return nearest
    near = [
        range(max(1, math.ceil(n * (1 - _MOST_BENT))), math.floor(n * (1 + _MOST_BENT)) + 1) for n in wanted
    ]
    fits = [(c, r) for c in near[0] for r in near[1] if c * r % each == 0]
    return min(fits, key=lambda grid: (_bent(grid, wanted), grid), default=nearest)


def _bent(size: tuple[float, float], wanted: tuple[float, float]) -> float:
    """How far a size is from the wanted one: in width, in height, and most in their ratio."""
    wide, tall = math.log(size[0] / wanted[0]), math.log(size[1] / wanted[1])
    return abs(wide) + abs(tall) + abs(wide - tall)


def longest_clip(model: ModelInfo | None) -> int:
    """Most frames of one clip, whole latent frames of them; 0 for no bound."""
    if model is None or not model.max_frames:
        return 0
    step = model.vae.temporal if model.vae else 1
    return (model.max_frames - 1) // step * step + 1


def clip_frames(model: ModelInfo, frames: float) -> int:
    """Frames that the model draws where `frames` are wanted: the first and then whole latent frames, two
    latent frames at least, no more than its longest clip."""
    step = model.vae.temporal if model.vae else 1
    drawn = max(step * math.ceil((frames - 1) / step - 1e-9), step) + 1
    return min(drawn, longest_clip(model) or drawn)


def shares_out(model: ModelInfo | None, size: tuple[int, int], n_devices: int) -> bool:
    """Whether a replica of `n_devices` can share the work on pictures of this width and height (pixels; 0
    where it is not known): ring x Ulysses of them divides the tokens of each latent frame."""
    if n_devices <= 1 or model is None or not deals_tokens(model):
        return True
    side = side_px(model)
    return (size[0] // side) * (size[1] // side) % n_devices == 0


def replicas_of(fleet: Iterable[FleetItem], model: ModelInfo | None) -> tuple[int, ...]:
    """Numbers of devices of the replicas in `fleet` that must share the model's tokens evenly."""
    if model is None or not deals_tokens(model):
        return ()
    sizes = {
        item.nodes * max(1, item.devices_per_node)
        for item in fleet
        if item.max_workers > 0 and model.name in item.models
    }
    return tuple(sorted(n for n in sizes if n > 1))


def deals_tokens(model: ModelInfo) -> bool:
    """Whether its replicas deal tokens out, and none are added to make them come out even."""
    return model.vae is not None and model.attention_heads > 0 and not model.pads
