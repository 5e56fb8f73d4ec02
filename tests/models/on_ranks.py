"""What the ranks of test_parallel.py do. Each function runs in every process of a gang (ranks.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hpcwise.models.base import Devices
from hpcwise.models.diffusion.adapter import DENOISERS
from hpcwise.models.parallel import shared
from hpcwise.models.parallel.usp import ParallelOptions
from hpcwise.worker.gangnotes import Leave, Work

#: As a pipeline calls it: sixteen tokens of three latent frames, words, and a picture's features.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny-wan2.1-t2v": {"hidden_states": (1, 16, 3, 8, 8), "encoder_hidden_states": (1, 24, 32)},
    "tiny-wan2.1-i2v": {
        "hidden_states": (1, 36, 3, 8, 8), "encoder_hidden_states": (1, 512, 32),
        "encoder_hidden_states_image": (1, 17, 4),
    },
    "tiny-flux": {
        "hidden_states": (1, 32, 16), "encoder_hidden_states": (1, 24, 32), "pooled_projections": (1, 32),
        "img_ids": (32, 3), "txt_ids": (24, 3),
    },
}  # fmt: skip


def inputs(name: str, seed: int = 1) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    made = {key: torch.randn(shape, generator=draw) for key, shape in SHAPES[name].items()}
    return {**made, "timestep": torch.tensor([500])}


def model(folder: Path, name: str) -> Any:
    import diffusers

    cls = diffusers.FluxTransformer2DModel if "flux" in name else diffusers.WanTransformer3DModel
    return cls.from_pretrained(folder / name / "transformer").eval()


class Led:
    """A model on all ranks. On rank 0 `call` is its forward; the others follow until it has left."""

    def __init__(self, devices: Devices, model: Any, options: ParallelOptions) -> None:
        self.devices, self.model = devices, model
        self.replica = shared.Replica({DENOISERS[0]: model}, options, devices, "m")

    def call(self, **named: Any) -> Any:
        with torch.no_grad():
            return self.model(**named, return_dict=False)[0]

    def follow(self, calls: int) -> None:
        for _ in range(calls):
            note = self.devices.mates.spoke.next(60.0)  # type: ignore[union-attr]
            while not isinstance(note, Work | Leave):
                note = self.devices.mates.spoke.next(60.0)  # type: ignore[union-attr]
            if isinstance(note, Work):
                self.replica.assist(note.payload)
