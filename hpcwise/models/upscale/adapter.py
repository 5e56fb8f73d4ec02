"""Family `upscale`: Real-ESRGAN's networks in torch, picture by picture, in tiles where memory is small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import torch

from hpcwise.core.errors import BadOutput, ModelMissing, Stopped, UsageError
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.device import device_of
from hpcwise.models.diffusion.options import DTYPES, converted
from hpcwise.models.frames import Frame, checked, read_frames, write_frames
from hpcwise.models.segment import write_segments
from hpcwise.models.upscale.nets import Compact, Residual
from hpcwise.models.weights import UNREADABLE, why

#: Pixels of overlap of two tiles: more than the small network looks around a pixel.
_OVERLAP_PX: Final = 20


class UpscaleOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a card. file: the weights in the model's folder, .safetensors or the released .pth. features and
    blocks: of the network. batch: pictures at once. tile_px: side of a tile, 0 for whole pictures."""

    file: str
    net: Literal["compact", "residual"] = "compact"
    features: int = 64
    blocks: int = 16
    scale: Literal[1, 2, 4] = 2
    dtype: Literal["bfloat16", "float16", "float32"] = "float16"
    batch: int = 4
    tile_px: int = 0


class UpscaleParams(msgspec.Struct, frozen=True, kw_only=True):
    """film_width, film_height: set where this is the last stage, which writes a segment of the film."""

    film_width: int = 0
    film_height: int = 0
    first_frame: int = 0


class UpscaleAdapter:
    """One network in memory."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Raises ModelMissing where the weights lack or are another network's."""
        options = converted(spec.options, UpscaleOptions, f"model {spec.name}: options")
        assert spec.path is not None, "the registry names the folder"
        self._device = device_of(devices)
        self._options, self._name = options, spec.name
        self._dtype = DTYPES[options.dtype]
        net = (Compact if options.net == "compact" else Residual)(
            options.features, options.blocks, options.scale
        )
        try:
            net.load_state_dict(_weights(spec.path / options.file))
        except UNREADABLE as error:
            raise ModelMissing(f"model {spec.name}: {spec.path / options.file}: {why(error)}") from error
        self._net = net.to(self._device, self._dtype).eval()

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """A segment of the film, or frames.mkv for a stage that follows."""
        params = converted(call.params, UpscaleParams, call.stage)
        if call.stage != "upscale":
            raise UsageError(f"model {self._name}: stage is {call.stage!r}; it does upscale")
        source = next(iter(call.inputs["video"]))
        fps, total = int(source.facts["fps"]), int(source.facts["frames"])
        pictures = self._larger(read_frames(source.path / "frames.mkv"), on_step, should_stop, total)
        whole = checked(pictures, self._name)
        first = int(source.facts.get("first_frame", params.first_frame))
        if params.film_width:
            yield from write_segments(call, whole, total, params.film_width, params.film_height, fps, first)
            return
        path = call.work / "frames.mkv"
        count = write_frames(path, whole, fps)
        yield Output(files={"frames.mkv": path}, facts={"frames": count, "fps": fps, "first_frame": first})

    def _larger(
        self, frames: Iterator[Frame], on_step: OnStep, should_stop: Callable[[], bool], total: int
    ) -> Iterator[Frame]:
        done = 0
        batch: list[Frame] = []
        for frame in frames:
            batch.append(frame)
            if len(batch) == self._options.batch:
                yield from self._enlarged(batch)
                done += len(batch)
                batch = []
                on_step(done, total, f"frame {done} of {total}")
                if should_stop():
                    raise Stopped(f"stopped at frame {done} of {total}")
        if batch:
            yield from self._enlarged(batch)
        on_step(total, total, "enlarged")

    def _enlarged(self, batch: list[Frame]) -> Iterator[Frame]:
        stacked = torch.from_numpy(np.stack(batch)).to(self._device).permute(0, 3, 1, 2)
        with torch.no_grad():
            made = self._tiled(stacked.to(self._dtype) / 255)
        if not bool(torch.isfinite(made).all()):
            raise BadOutput(f"{self._name}: pictures that are no numbers")
        bytes_ = (made.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        yield from bytes_.cpu().numpy()

    def _tiled(self, pictures: Any) -> Any:
        """The network on whole pictures, or on tiles whose overlaps are thrown away."""
        side, scale = self._options.tile_px, self._options.scale
        height, width = pictures.shape[-2:]
        if not side or (height <= side and width <= side):
            return self._net(pictures)
        out = pictures.new_empty(*pictures.shape[:2], height * scale, width * scale)
        for top in range(0, height, side):
            for left in range(0, width, side):
                bottom, right = min(height, top + side), min(width, left + side)
                from_y, from_x = max(0, top - _OVERLAP_PX), max(0, left - _OVERLAP_PX)
                part = pictures[..., from_y : bottom + _OVERLAP_PX, from_x : right + _OVERLAP_PX]
                made = self._net(part)
                y, x = (top - from_y) * scale, (left - from_x) * scale
                tall, wide = (bottom - top) * scale, (right - left) * scale
                out[..., top * scale : bottom * scale, left * scale : right * scale] = made[
                    ..., y : y + tall, x : x + wide
                ]
        return out


def _weights(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    held = torch.load(path, map_location="cpu", weights_only=True)
    return held.get("params_ema", held.get("params", held))
