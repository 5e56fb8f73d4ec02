"""Where a model of torch computes."""

from __future__ import annotations

import torch

from hpcwise.models.base import Devices


def device_of(devices: Devices) -> torch.device:
    """The replica's own device; computing on the CPU takes as many threads as the replica was given, and of a
    GPU that others use too no more than this worker's share of its memory."""
    torch.set_num_threads(max(1, devices.threads))
    if devices.kind != "cuda":
        return torch.device("cpu")
    device = torch.device(devices.kind, devices.indices[0])
    if devices.share < 1.0:
        torch.cuda.set_per_process_memory_fraction(devices.share, device)
    return device
