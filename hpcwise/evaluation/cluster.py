"""Budgets and allocations of the paper's evaluation (section 5.1, Table 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hpcwise.core.provisioner.types import Replicas

#: The variant that the paper runs: sketch, lip sync at half the size, enlarged; DiT and VAE apart.
SPLIT: Final = "upscaled, split"
SMALL: Final[dict[str, int]] = {"a100": 8}
LARGE: Final[dict[str, int]] = {"a100": 256, "h200": 64}

#: Budgets of the sweeps by the set of GPU types, as far as a server of eight (GB200: four) goes; the paper's
#: 10 configurations have 8 to 320 GPUs.
SINGLE: Final[dict[str, tuple[int, ...]]] = {
    "a100": (8, 16, 32, 48, 64, 96, 128, 192, 256),
    "h100": (8, 16, 32, 48, 64, 96, 128, 192, 256),
    "h200": (8, 16, 32, 48, 64, 96, 128, 192, 256),
    "gb200": (8, 16, 32, 48, 64, 96, 128, 192, 256),
}
#: Pairs as multiples of the first: A100 with a few of something faster.
MIXED: Final[tuple[dict[str, int], ...]] = tuple(
    {"a100": n, fast: m}
    for fast in ("h100", "h200", "gb200")
    for n, m in (
        (16, 8), (32, 8), (32, 16), (48, 16), (64, 8), (64, 16), (96, 16), (96, 32), (128, 32), (192, 32),
        (192, 64), (256, 16), (256, 64),
    )
)  # fmt: skip


def singles(kind: str) -> list[dict[str, int]]:
    """Budgets of one GPU type, from the smallest."""
    return [{kind: n} for n in SINGLE[kind]]


def mixes(fast: str) -> list[dict[str, int]]:
    """Budgets of A100 with a few of a faster type."""
    return [budget for budget in MIXED if fast in budget]


Allocation = Mapping[tuple[str, str], Mapping[int, int]]

#: Table 4, left half: (model, GPU type) -> replicas of so many GPUs.
LOW_COST: Final[Allocation] = {
    ("gemma-3-27b", "a100"): {1: 1}, ("kokoro-82m", "a100"): {1: 1}, ("flux", "a100"): {1: 1},
    ("framepack-dit", "a100"): {1: 1}, ("framepack-vae", "a100"): {1: 1}, ("fantasytalking", "a100"): {2: 1},
    ("real-esrgan", "a100"): {1: 1},
}  # fmt: skip
#: "Two servers with 8 A100" (section 5.2) as far as it is told: lip sync in one replica of eight.
SIXTEEN: Final[Allocation] = {
    **LOW_COST, ("framepack-dit", "a100"): {1: 2}, ("fantasytalking", "a100"): {8: 1},
    ("real-esrgan", "a100"): {1: 2},
}  # fmt: skip
#: Right half: the GPUs of each model are the paper's, the sizes of replicas ours: one large for the first
#: segment, single ones for the rest, which is what its perfectly split work needs.
COST_EFFICIENT: Final[Allocation] = {
    ("gemma-3-27b", "a100"): {8: 1}, ("kokoro-82m", "a100"): {1: 1}, ("flux", "a100"): {16: 1},
    ("framepack-dit", "a100"): {1: 41}, ("framepack-dit", "h200"): {1: 8},
    ("framepack-vae", "a100"): {1: 20}, ("framepack-vae", "h200"): {1: 4},
    ("fantasytalking", "a100"): {1: 96}, ("fantasytalking", "h200"): {24: 1, 1: 26},
    ("real-esrgan", "a100"): {8: 9, 2: 1}, ("real-esrgan", "h200"): {2: 1},
}  # fmt: skip
#: The same with one FramePack replica of eight H200, which its first segment in 0.9 s needs.
COST_EFFICIENT_FIRST: Final[Allocation] = {**COST_EFFICIENT, ("framepack-dit", "h200"): {8: 1}}


def replicas(allocation: Allocation) -> tuple[Replicas, ...]:
    """An allocation as the provisioner's replicas, one pool for each GPU type."""
    return tuple(
        Replicas(stages=(), models=(model,), pool=pool, devices=size, n=n)
        for (model, pool), by_size in allocation.items()
        for size, n in by_size.items()
    )
