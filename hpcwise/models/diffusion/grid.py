"""What a model can draw at all: sides that its VAE and patches divide, clips of 4n + 1 frames, no longer than
it was trained for. Asked for something else, diffusers rounds silently, or fails deep inside."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.models.diffusion.options import DiffuseParams, DiffusersOptions

_SPATIAL: Final = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_scale_factor")
_TEMPORAL: Final = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio")
#: LTX asks for it whatever its VAE does.
_LTX_SIDE_PX: Final = 32


@dataclass(frozen=True, slots=True)
class Grid:
    """side_px: what divides a picture's sides. temporal: frames for each latent frame after the first."""

    side_px: int
    temporal: int


def grid_of(pipe: Any) -> Grid:
    """Of a pipeline of diffusers."""
    spatial = next((int(v) for name in _SPATIAL if (v := getattr(pipe, name, None))), 8)
    temporal = next((int(v) for name in _TEMPORAL if (v := getattr(pipe, name, None))), 1)
    patch = getattr(getattr(pipe.transformer, "config", None), "patch_size", 1)
    patch = int(patch[-1]) if isinstance(patch, list | tuple) else int(patch or 1)
    kind = type(pipe).__name__
    if kind.startswith("Flux"):
        patch = 2  # the pipeline itself makes tokens of two by two
    side = spatial * patch
    return Grid(math.lcm(side, _LTX_SIDE_PX) if kind.startswith("LTX") else side, temporal)


def fitted(params: DiffuseParams, options: DiffusersOptions, grid: Grid, name: str) -> DiffuseParams:
    """The recipe with the model's rate and a number of frames that its VAE can make.

    Raises UsageError, one line, for a picture or a clip that the model cannot draw.
    """
    for field, side in zip(("width", "height"), params.size, strict=True):
        if side < grid.side_px or side % grid.side_px:
            near = max(1, round(side / grid.side_px)) * grid.side_px
            raise UsageError(
                f"model {name}: {field}: {side} cannot be drawn, its VAE and patches take multiples of "
                f"{grid.side_px}; use {near}"
            )
    if params.steps < 1:
        raise UsageError(f"model {name}: steps: {params.steps} denoise nothing; give 1 or more")
    if not options.video:
        return params
    if params.frames > options.most_frames:
        raise UsageError(
            f"model {name}: frames: {params.frames} are more than the {options.most_frames} that it makes in "
            "one clip; give fewer, and chunks for what follows"
        )
    if params.chunks < 1 or params.frames < 0 or not 0 <= params.seconds < math.inf:
        raise UsageError(f"model {name}: chunks, frames, seconds: a clip of nothing; give 1 or more")
    fps = options.fps or params.fps
    # A segment that goes on gives its first picture away.
    wanted = params.frames or math.ceil(params.seconds * fps) + (params.chunks > 1)
    step = grid.temporal
    most = (options.most_frames - 1) // step * step + 1
    frames = min(step * math.ceil((wanted - 1) / step) + 1, most)
    return msgspec.structs.replace(params, fps=fps, frames=max(step + 1, frames))


def named_for(pipe: Any, params: DiffuseParams, options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that only some pipelines have."""
    known = inspect.signature(type(pipe).__call__).parameters
    found: dict[str, Any] = {}
    width, height = params.size
    if "frame_rate" in known and "frame_rate" not in options:
        found["frame_rate"] = params.fps
    if "max_area" in known:  # else it draws another size than it is asked for
        found["max_area"] = width * height
    return found
