"""Where a model of torch computes."""

from __future__ import annotations

import torch

from hpcwise.models.base import Devices


def device_of(devices: Devices) -> torch.device:
    """The replica's own device; computing on the CPU takes as many threads as the replica was given."""
    torch.set_num_threads(max(1, devices.threads))
    return torch.device(devices.kind, devices.indices[0]) if devices.kind == "cuda" else torch.device("cpu")
