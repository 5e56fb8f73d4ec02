"""One call of rank 0's, as all ranks get it: what to do through the gang's own connections, the tensors by
one broadcast of bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import torch
import torch.distributed as dist

from hpcwise.models.base import Mates

_ALIGN: Final = 16


class _Tensor(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: str
    shape: tuple[int, ...]


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Which part of a model, how many passes side by side, and what is no tensor."""

    part: str
    passes: int
    tensors: tuple[_Tensor, ...]
    plain: dict[str, Any]


def send(mates: Mates, name: str, part: str, passes: int, values: Mapping[str, Any], device: Any) -> None:
    """Rank 0: tell the others of model `name`, and broadcast."""
    tensors = {key: value for key, value in values.items() if isinstance(value, torch.Tensor)}
    header = Header(
        part, passes,
        tuple(_Tensor(key, _kind(value), tuple(value.shape)) for key, value in tensors.items()),
        {key: value for key, value in values.items() if key not in tensors},
    )  # fmt: skip
    payload, held = msgspec.msgpack.encode(header), _packed(list(tensors.values()), device)
    mates.tell(name, payload)
    try:
        dist.broadcast(held, src=0)
    except Exception as error:
        mates.out_of_step(error)
        raise


def receive(header: Header, device: Any) -> dict[str, Any]:
    """The other ranks: what was sent."""
    sizes = [_bytes_of(item) for item in header.tensors]
    held = torch.empty(sum(map(_aligned, sizes)), dtype=torch.uint8, device=device)
    dist.broadcast(held, src=0)
    values: dict[str, Any] = dict(header.plain)
    start = 0
    for item, size in zip(header.tensors, sizes, strict=True):
        flat = held[start : start + size].view(getattr(torch, item.dtype))
        values[item.name] = flat.reshape(item.shape)
        start += _aligned(size)
    return values


def _kind(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bytes_of(item: _Tensor) -> int:
    return math.prod(item.shape) * int(getattr(torch, item.dtype).itemsize)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _packed(tensors: list[Any], device: Any) -> Any:
    """All of them as bytes, each at a place that its type can be read from."""
    held = torch.zeros(
        sum(_aligned(t.numel() * t.element_size()) for t in tensors), dtype=torch.uint8, device=device
    )
    start = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        # Copied by its own type: an expanded tensor cannot be looked at as bytes.
        held[start : start + size].view(tensor.dtype).copy_(tensor.detach().reshape(-1))
        start += _aligned(size)
    return held
