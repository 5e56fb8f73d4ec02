"""torch.distributed among the ranks of a replica, and the mesh of its degrees."""

from __future__ import annotations

import datetime
from typing import Any, Final

import torch
import torch.distributed as dist

from hpcwise.core.parallel import Layout
from hpcwise.models.base import Devices, Mates

#: A collective that takes longer has lost a rank that nobody saw go, seconds.
COLLECTIVE_S: Final = 120.0
DIMS: Final = ("cfg", "ring", "ulysses")


class MatesStore(dist.Store):  # type: ignore[misc]  # torch is not read by mypy
    """torch's rendezvous over the connections that the ranks already have, which know who is who; its own
    TCPStore would obey whoever reaches its port."""

    def __init__(self, mates: Mates) -> None:
        super().__init__()
        self._mates = mates

    def set(self, key: str, value: bytes | str) -> None:
        self._mates.publish(key, value.encode() if isinstance(value, str) else bytes(value))

    def get(self, key: str) -> bytes:
        return self._mates.look_up(key)

    def wait(self, keys: list[str], timeout: Any = None) -> None:
        for key in keys:
            self._mates.look_up(key)

    def set_timeout(self, timeout: Any) -> None:
        """That of `Mates` counts."""


def join_group(devices: Devices) -> None:
    """Make this process's group, once: gloo for the CPU, NCCL for GPUs."""
    if dist.is_initialized():
        return
    assert devices.mates is not None
    cuda = devices.kind == "cuda"
    if cuda:
        torch.cuda.set_device(devices.indices[0])
    store = MatesStore(devices.mates)
    # torch itself does not keep the Python object alive.
    devices.mates.kept.append(store)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=store,
        rank=devices.rank,
        world_size=devices.world,
        timeout=datetime.timedelta(seconds=COLLECTIVE_S),
    )


def mesh_of(layout: Layout, kind: str) -> Any:
    """Ranks by guidance, ring and Ulysses; neighbours in number share Ulysses."""
    sizes = tuple(getattr(layout, name) for name in DIMS)
    return dist.device_mesh.init_device_mesh(kind, sizes, mesh_dim_names=DIMS)
