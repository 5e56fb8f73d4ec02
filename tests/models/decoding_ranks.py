"""What the ranks of test_parallel.py do with decoders, and with adapters as workers load them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from hpcwise.core.errors import HpcwiseError
from hpcwise.models.base import Devices, Input, ModelSpec
from hpcwise.models.diffusion import decode
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.diffusion.decode import load_vae
from hpcwise.models.frames import read_frames
from hpcwise.models.parallel import shared
from hpcwise.models.parallel.tiles import in_tiles
from hpcwise.models.parallel.usp import ParallelOptions
from hpcwise.models.sync.adapter import SyncAdapter
from hpcwise.worker.exchange import LatentFiles
from hpcwise.worker.gangnotes import Work
from tests.models import test_sync
from tests.models.ranks import follow
from tests.models.tinies import called, ran

PLAIN: dict[str, Any] = {"dtype": "float32"}
#: Checkpoint -> latents of a clip just large enough to be shared, one above the other or side by side.
LATENTS = {
    "tiny-wan2.1-t2v": (1, 16, 3, 40, 8), "tiny-wan2.2-ti2v": (1, 16, 3, 8, 28),
    "tiny-ltx-0.9.8": (1, 8, 3, 8, 56), "tiny-framepack": (1, 4, 5, 8, 40),
}  # fmt: skip


def decoded(devices: Devices, folder: Path, name: str) -> dict[str, Any]:
    """A decoder on all ranks against diffusers' tiled decode by one process, bit by bit."""
    vae = load_vae(folder / name, torch.float32, torch.device("cpu"))
    replica = shared.Replica({}, ParallelOptions(vae=True), devices, "m", vae=vae)
    if devices.rank:
        follow(devices, replica)
        return {}
    own: Any = replica.vae
    latents = torch.randn(LATENTS[name], generator=torch.Generator().manual_seed(3))
    told = (torch.tensor([0.05]),) if getattr(vae.config, "timestep_conditioning", False) else ()
    tiles: list[int] = []
    tile = own._tile

    def noted(inner: Any, number: int, *rest: Any, **named: Any) -> Any:
        tiles.append(number)
        return tile(inner, number, *rest, **named)

    own._tile = noted
    tiling = own.tiling(latents)
    with torch.no_grad(), in_tiles(vae, tiling):
        single = vae.decode(latents, *told, return_dict=False)[0]
    parts = dict(own.decoded(latents, told))
    # Left after the first latent frame, and asked again.
    next(own.decoded(latents, told))
    again = dict(own.decoded(latents, told))
    devices.mates.tell("m", b"")  # type: ignore[union-attr]
    made, repeated = (torch.cat(list(some.values()), dim=2) for some in (parts, again))
    return {
        "same": bool(torch.equal(made, single)), "again": bool(torch.equal(repeated, single)),
        "shape": list(single.shape), "tiles": 1 + max(tiles), "parts": list(parts),
        "tiled": vae.use_tiling, "small": own.tiling(latents[..., :8, :8]) is None,
    }  # fmt: skip


def dies(devices: Devices, folder: Path) -> dict[str, Any]:
    """All but rank 0 are killed in the middle of a clip that all decode."""
    name = "tiny-wan2.1-t2v"
    vae = load_vae(folder / name, torch.float32, torch.device("cpu"))
    replica = shared.Replica({}, ParallelOptions(vae=True), devices, "m", vae=vae)
    if devices.rank:
        mates: Any = devices.mates
        while not isinstance(note := mates.spoke.next(200.0), Work):
            pass
        replica.assist(note.payload)
        os.kill(os.getpid(), signal.SIGKILL)
    own: Any = replica.vae
    done, began_s = 0, time.monotonic()
    try:
        for done, _ in own.decoded(torch.randn(LATENTS[name]), ()):  # noqa: B007
            began_s = time.monotonic()
    except (RuntimeError, HpcwiseError):
        pass
    gang: Any = devices.mates
    return {"frames": done, "lost": gang.lost, "took_s": time.monotonic() - began_s, "tiled": vae.use_tiling}


def spoiled(devices: Devices, folder: Path) -> list[str]:
    """What each rank says where the decoder of one has other weights."""
    vae = load_vae(folder / "checkpoints" / "tiny-wan2.1-t2v", torch.float32, torch.device("cpu"))
    if devices.rank == 1:
        with torch.no_grad():
            vae.decoder.conv_out.bias += 0.01
    said = "served"
    try:
        shared.Replica({}, ParallelOptions(vae=True), devices, "m", vae=vae)
    except HpcwiseError as error:
        said = f"{type(error).__name__}: {error}"
    (folder / f"spoiled-{devices.rank}").write_text(said)
    dist.barrier()
    return [(folder / f"spoiled-{rank}").read_text() for rank in range(devices.world)]


def by_adapters(devices: Devices, folder: Path) -> dict[str, Any]:
    """What a worker does: a film's shot by two ranks that share denoiser and decoder, and a speaker whose
    passes they share, against one process with the same cards."""
    wan = {**PLAIN, "call": {"guidance_scale": 5.0}}
    apart = {**PLAIN, "parts": "decode", "parallel": {"vae": True}}
    hears = {**PLAIN, "from_image": True, "call": {"guidance_scale": 5.0}}
    found: dict[str, Any] = {}
    name = "tiny-wan2.1-t2v"
    params = {
        "prompt": "A host", "steps": 2, "render_width": 320, "render_height": 64, "frames": 9, "fps": 16,
    }  # fmt: skip
    place = folder.parent / "adapters"
    both = adapter_of(DiffusersAdapter(), devices, folder / name, {**wan, "parallel": {"vae": True}})
    if devices.rank:
        follow(devices, both)
    else:
        place.mkdir()
        alone = adapter_of(DiffusersAdapter(), Devices(), folder / name, wan)
        shot = ran_alone(both, called("animate", place / "a", params, {}), place / "both")
        sketch = ran_alone(alone, called("sketch", place / "b", params, {}), place / "alone")
        latents, _ = LatentFiles("x").read(Input(sketch, {}), "latents.h5")
        own = both._replica.vae
        of_one = decode.unscaled(alone._vae, torch.from_numpy(latents)[None])
        with torch.no_grad(), in_tiles(alone._vae, own.tiling(of_one)):
            wanted = list(decode._eight_bits(alone._vae.decode(of_one, return_dict=False)[0]))
        made = list(read_frames(shot / "frames.mkv"))
        found["shot"] = len(made) == 9 and all(map(np.array_equal, made, wanted))
        devices.mates.tell("m", b"")  # type: ignore[union-attr]
    decoder = adapter_of(DiffusersAdapter(), devices, folder / name, apart)
    if devices.rank:
        follow(devices, decoder)
    else:
        call = called("decode", place / "c", {}, {"latents": [Input(sketch, {"fps": 16})]})
        again = ran_alone(decoder, call, place / "decoder")
        found["decoder"] = (again / "frames.mkv").read_bytes() == (shot / "frames.mkv").read_bytes()
        devices.mates.tell("m", b"")  # type: ignore[union-attr]
    speaker = folder / "tiny-fantasytalking"
    heard = adapter_of(SyncAdapter(), devices, speaker, {**hears, "parallel": {"cfg": 2}})
    if devices.rank:
        follow(devices, heard)
    else:
        alone = adapter_of(SyncAdapter(), Devices(), speaker, hears)
        said = []
        for one, adapter in (("s2", heard), ("s1", alone)):
            call = test_sync._call(
                place / one, {"steps": 3}, test_sync._spoken(place / "speech", 0.3),
                test_sync._clip(place / "clip"),
            )  # fmt: skip
            said.append(np.stack(list(read_frames(ran_alone(adapter, call, place / one) / "frames.mkv"))))
        found["speaker"] = int(np.abs(said[0].astype(int) - said[1]).max())
        devices.mates.tell("m", b"")  # type: ignore[union-attr]
    try:
        options = {**PLAIN, "video": False, "parallel": {"vae": True, "ring": 2}}
        adapter_of(DiffusersAdapter(), devices, folder / "tiny-flux", options)
    except HpcwiseError as error:
        found["flux"] = str(error)
    return found


def adapter_of(adapter: Any, devices: Devices, folder: Path, options: dict[str, Any]) -> Any:
    adapter.load(ModelSpec("m", "1", "x", folder, options), devices)
    return adapter


def ran_alone(adapter: Any, call: Any, place: Path) -> Path:
    """Where the only chunk of a call lies."""
    place.mkdir(exist_ok=True)
    ((_, made),) = ran(adapter, call, place)
    return made.path
