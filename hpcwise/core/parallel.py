"""How many devices a replica may have: unified sequence parallelism (USP) is Ulysses times ring.

Ulysses deals the attention heads out, so its degree divides their number; the tokens of the latent are
dealt out to all devices, so the product divides the sequence, unless the model's code pads it (StreamWise
section 3.4). A replica that leaves its node takes whole nodes: half a node's links would be shared.
"""

from __future__ import annotations

import msgspec

from hpcwise.core.catalogue import HardwareInfo, ModelInfo
from hpcwise.core.errors import UsageError

#: Largest replica that is looked at: ten nodes of eight, the most that the paper measures.
MOST_DEVICES = 80


def sequence_tokens(model: ModelInfo, resolution: tuple[int, int], frames: int = 0) -> int:
    """Tokens of the transformer for one clip of `frames` (the model's most when 0); 0 when the VAE cannot
    take this width and height."""
    if model.vae is None:
        return 0
    width, height = resolution
    side = model.vae.spatial
    if width % side or height % side or width <= 0 or height <= 0:
        return 0
    columns, rows = width // side // model.vae.patch, height // side // model.vae.patch
    n_frames = frames or model.max_frames or 1
    latent_frames = 1 + (n_frames - 1) // model.vae.temporal
    return columns * rows * latent_frames


def ulysses_ring(heads: int, n_devices: int) -> tuple[int, int]:
    """Degrees whose product is `n_devices`: the largest Ulysses that divides the heads, ring the rest."""
    for ulysses in range(min(heads, n_devices), 0, -1):
        if heads % ulysses == 0 and n_devices % ulysses == 0:
            return ulysses, n_devices // ulysses
    return 1, n_devices


def usp_degrees(
    model: ModelInfo, hardware: HardwareInfo, resolution: tuple[int, int], frames: int = 0
) -> tuple[int, ...]:
    """Numbers of devices that a replica of `model` may have; empty where it cannot run at all.

    resolution: width and height of what the model works at (pixels). A model without attention heads, or
    of which `hardware` is none of its own, is not split.
    """
    if model.memory_gb > hardware.memory_gb > 0:
        return ()
    if model.hardware and hardware.name not in model.hardware:
        return ()
    if model.resolutions and resolution not in model.resolutions:
        return ()
    if model.vae is not None and not (tokens := sequence_tokens(model, resolution, frames)):
        return ()
    if not model.attention_heads:
        return (1,)
    most = model.max_devices or MOST_DEVICES
    node = max(1, hardware.devices_per_node)
    valid = []
    for n in range(1, most + 1):
        fits_nodes = node % n == 0 if n <= node else n % node == 0
        whole = model.vae is None or model.pads or tokens % n == 0
        if fits_nodes and whole:
            valid.append(n)
    return tuple(valid)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How the ranks of a replica share a denoiser's work. Neighbours in number share Ulysses (one node), then
    the ring (between nodes); outermost the passes with and without guidance, which exchange least."""

    cfg: int = 1
    ring: int = 1
    ulysses: int = 1

    @property
    def sequence(self) -> int:
        """Parts that a sequence is cut into."""
        return self.ring * self.ulysses

    @property
    def world(self) -> int:
        return self.cfg * self.sequence


def gang_layout(
    heads: int, world: int, per_node: int, *, passes: int = 2, cfg: int = 1, ring: int = 0, ulysses: int = 0
) -> Layout:
    """Layout of `world` ranks, `per_node` on each node. A degree of 0 is chosen: the largest Ulysses that
    divides the heads and stays in the node, ring the rest. passes: that a step of this model has, at most.

    Raises UsageError for degrees that do not multiply to `world` or heads that cannot be dealt out.
    """
    if not 1 <= cfg <= passes:
        raise UsageError(f"parallel.cfg is {cfg}: a step has at most {passes} passes, use 1 to {passes}")
    if world % cfg:
        raise UsageError(f"parallel.cfg is {cfg}, which does not divide {world} processes")
    share = world // cfg
    if not ulysses:
        fits = share // ring if ring and share % ring == 0 else share
        near = [n for n in range(1, min(heads, fits) + 1) if fits % n == 0 and heads % n == 0]
        ulysses = max((n for n in near if per_node % n == 0), default=1)
    ring = ring or share // ulysses
    if ulysses * ring * cfg != world:
        raise UsageError(
            f"parallel: cfg {cfg} x ring {ring} x ulysses {ulysses} is not {world}, the replica's processes"
        )
    if heads % ulysses:
        raise UsageError(f"parallel.ulysses is {ulysses}, which does not divide {heads} attention heads")
    return Layout(cfg=cfg, ring=ring, ulysses=ulysses)
