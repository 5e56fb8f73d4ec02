"""A decoder's pictures computed by all ranks: each decodes a tile of every latent frame, rank 0 joins them.

The tiles, and how their edges are blended, are diffusers' own: every rank runs the VAE's tiled decode, in
which it computes its own tiles alone, and rank 0 gets the others from those who made them. So the pictures
are, bit for bit, those of diffusers' tiled decode with tiles of this size by one process. They are not those
of a decode in one piece: the middle of the decoder attends to the whole picture.

Wan's decoder is causal: it is asked for one latent frame at a time, and each tile keeps its own past.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.distributed as dist

from hpcwise.core.errors import ParallelMismatch, UsageError
from hpcwise.models.base import Devices
from hpcwise.models.parallel.calls import Header, receive, send
from hpcwise.models.parallel.usp import TOLERANCE

PART: Final = "vae"
_CAUSAL: Final = "AutoencoderKLWan"
KINDS: Final = (_CAUSAL, "AutoencoderKLLTXVideo", "AutoencoderKLHunyuanVideo")
_SIZES: Final = tuple(
    f"tile_sample_{what}_{side}" for what in ("min", "stride") for side in ("height", "width")
)


@dataclass(frozen=True, slots=True)
class Tiling:
    """Size and distance of tiles, in latents: height, width."""

    size: tuple[int, int]
    stride: tuple[int, int]


def tiling_for(height: int, width: int, ranks: int, overlap: int) -> Tiling | None:
    """At most one tile a rank, the largest of which is as small as can be; None where one is best. overlap:
    of neighbours, in latents."""
    best: tuple[int, Tiling] | None = None
    for rows in range(1, ranks + 1):
        for columns in range(1, ranks // rows + 1):
            stride = -(-height // rows), -(-width // columns)
            size = tuple(min(s + overlap, whole) for s, whole in zip(stride, (height, width), strict=True))
            # A tile that reaches the far side makes those behind it superfluous, and one edge is blended
            # with one neighbour's.
            sides = [(stride[0], size[0] == height, rows), (stride[1], size[1] == width, columns)]
            if any(reaches != (n == 1) or (n > 1 and step < overlap) for step, reaches, n in sides):
                continue
            if best is None or size[0] * size[1] < best[0]:
                best = size[0] * size[1], Tiling((size[0], size[1]), stride)
    return best[1] if best is not None and best[0] < height * width else None


class SharedDecoder:
    """The decoder of a replica's model."""

    def __init__(self, vae: Any, devices: Devices, name: str) -> None:
        """Raises UsageError for a VAE whose tiles are not known."""
        kind = type(vae).__name__
        if kind not in KINDS:
            raise UsageError(
                f"model {name}: parallel.vae: {kind} is decoded by one process; leave it out "
                f"({', '.join(KINDS)} can be shared)"
            )
        self._vae, self._devices, self._name = vae, devices, name
        self._causal = kind == _CAUSAL
        #: Of each own tile of a causal decoder: its caches.
        self._past: dict[int, list[Any]] = {}

    def verify(self) -> None:
        """All ranks, when their group is made: a small random picture together and by rank 0 alone. Raises
        ParallelMismatch on all of them."""
        vae, ranks = self._vae, self._devices.world
        weights = next(vae.parameters())
        channels = getattr(vae.config, "z_dim", None) or vae.config.latent_channels
        draw = torch.Generator().manual_seed(11)
        latents = torch.randn((1, channels, 1, 8, 2 * ranks * self._overlap()), generator=draw)
        latents = latents.to(weights.device, weights.dtype)
        told: tuple[Any, ...] = ()
        if getattr(vae.config, "timestep_conditioning", False):
            told = (torch.zeros(1, device=weights.device, dtype=weights.dtype),)
        made, off = self._decode(latents, told, first=True, last=True), torch.zeros(1, device=weights.device)
        tiling = self.tiling(latents)
        assert tiling is not None
        if self._devices.rank == 0:
            with torch.no_grad(), in_tiles(vae, tiling):
                single = vae.decode(latents, *told, return_dict=False)[0]
            off[0] = (made - single).abs().max().float().nan_to_num(torch.inf)
        dist.broadcast(off, src=0)
        if float(off) > TOLERANCE[weights.dtype]:
            raise ParallelMismatch(
                f"model {self._name}: its decoder on {ranks} processes is off by {float(off):.3g} from that "
                "of one process; leave parallel.vae out of its card"
            )

    def _overlap(self) -> int:
        """Of two tiles, in latents: as much as diffusers' own have."""
        pixels = self._vae.tile_sample_min_height - self._vae.tile_sample_stride_height
        return max(1, int(pixels) // int(self._vae.spatial_compression_ratio))

    def tiling(self, latents: Any) -> Tiling | None:
        """How this picture is shared; None for one too small to be."""
        height, width = (int(length) for length in latents.shape[-2:])
        return tiling_for(height, width, self._devices.world, self._overlap())

    def decoded(self, latents: Any, told: tuple[Any, ...]) -> Iterator[tuple[int, Any]]:
        """Rank 0: latent frames done, and values [1, 3, frames, height, width] from -1 to 1."""
        total = int(latents.shape[2])
        if not self._causal:
            yield total, self._led(latents, told, first=True, last=True)
            return
        for index in range(total):
            own = latents[:, :, index : index + 1]
            yield index + 1, self._led(own, told, first=index == 0, last=index == total - 1)

    def _led(self, latents: Any, told: tuple[Any, ...], *, first: bool, last: bool) -> Any:
        mates = self._devices.mates
        assert mates is not None
        values = {"latents": latents, "first": first, "last": last}
        values |= {f"told.{index}": value for index, value in enumerate(told)}
        send(mates, self._name, PART, 1, values, latents.device)
        try:
            return self._decode(latents, told, first=first, last=last)
        except Exception as error:
            mates.out_of_step(error)
            raise

    def follow(self, header: Header) -> None:
        """Other ranks: their tiles of one call."""
        values = receive(header, next(self._vae.parameters()).device)
        told = tuple(values[key] for key in sorted(values) if key.startswith("told."))
        self._decode(values["latents"], told, first=values["first"], last=values["last"])

    def _decode(self, latents: Any, told: tuple[Any, ...], *, first: bool, last: bool) -> Any:
        tiling = self.tiling(latents)
        assert tiling is not None, "asked for by rank 0"
        if first:
            self._past.clear()
        vae = self._vae
        with torch.no_grad(), in_tiles(vae, tiling), self._dealt(first=first):
            made = vae.tiled_decode(latents) if self._causal else vae.decode(latents, *told)
        if last:
            self._past.clear()
        return made.sample

    @contextmanager
    def _dealt(self, *, first: bool) -> Iterator[None]:
        """Within: the decoder computes this rank's tiles alone."""
        decoder = self._vae.decoder
        inner, numbers = decoder.forward, itertools.count()
        decoder.forward = lambda tile, *rest, **named: self._tile(
            inner, next(numbers), tile, *rest, first=first, **named
        )
        try:
            yield
        finally:
            del decoder.forward

    def _tile(
        self, inner: Callable[..., Any], number: int, tile: Any, *rest: Any, first: bool, **named: Any
    ) -> Any:
        """One tile: computed here, or by another rank; a stand-in where neither is this rank's business."""
        rank, owner = self._devices.rank, number % self._devices.world
        if owner != rank:
            return self._from(owner, tile) if rank == 0 else self._stand_in(tile)
        if self._causal:
            past = self._past.setdefault(number, [None] * len(self._vae._feat_map))
            named |= {"feat_cache": past, "feat_idx": [0], "first_chunk": first}
        made = inner(tile, *rest, **named)
        if rank == 0:
            return made
        dist.send(torch.tensor(made.shape, device=made.device), dst=0)
        dist.send(made.contiguous(), dst=0)
        return self._stand_in(tile)

    def _from(self, rank: int, tile: Any) -> Any:
        shape = torch.empty(tile.ndim, dtype=torch.int64, device=tile.device)
        dist.recv(shape, src=rank)
        made = torch.empty(shape.tolist(), dtype=tile.dtype, device=tile.device)
        dist.recv(made, src=rank)
        return made

    def _stand_in(self, tile: Any) -> Any:
        """What the blending of ranks other than 0 gets, of which nobody looks at the result."""
        return tile.new_zeros((1, getattr(self._vae.config, "out_channels", 3), 1, 1, 1))


@contextmanager
def in_tiles(vae: Any, tiling: Tiling) -> Iterator[None]:
    """Within: `vae` decodes in tiles of this size; it is as it was behind."""
    side = int(vae.spatial_compression_ratio)
    before = {name: getattr(vae, name) for name in _SIZES}
    pixels = [side * length for length in (*tiling.size, *tiling.stride)]
    vae.enable_tiling(**dict(zip(_SIZES, pixels, strict=True)))
    try:
        yield
    finally:
        vae.disable_tiling()
        for name, value in before.items():
            setattr(vae, name, value)
