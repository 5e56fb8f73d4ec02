"""One denoiser computed by two and by four processes, by each package, against one process."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.core.parallel import Layout, gang_layout
from hpcwise.models.diffusion import tiny
from hpcwise.models.parallel.tiles import Tiling, tiling_for
from tests.models import decoding_ranks, on_ranks, ranks

pytestmark = pytest.mark.timeout(400)
NEAR = 1e-5


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in {*on_ranks.SHAPES, *decoding_ranks.LATENTS, "tiny-fantasytalking", "tiny-ltx-i2v"}:
        tiny.build(name, folder / name)
    return folder


def ran(
    function: str, checkpoints: Path, folder: Path, world: int, *, killed: tuple[int, ...] = ()
) -> dict[str, Any]:
    """What rank 0 found; all processes ended well but for those that were to be killed."""
    (folder / "checkpoints").symlink_to(checkpoints)
    processes = ranks.start(f"tests.models.on_ranks:{function}", folder, world)
    end_s = time.monotonic() + 300.0
    try:
        for process in processes:
            process.join(max(1.0, end_s - time.monotonic()))
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = "\n".join((folder / f"log-{rank}").read_text()[-3000:] for rank in range(world))
    assert codes == [-9 if rank in killed else 0 for rank in range(world)], said
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_four_processes_compute_what_one_computes(checkpoints: Path, tmp_path: Path) -> None:
    found = ran("of_four", checkpoints, tmp_path, 4)
    assert set(found["off"]) == {
        f"{name} {layout}"
        for name in ("tiny-wan2.1-i2v", "tiny-flux")
        for layout in ("1x4x1", "1x2x2", "2x2x1")
    } | {"tiny-wan2.1-i2v 1x1x4", "tiny-wan2.1-i2v 2x1x2", "tiny-fantasytalking 1x2x2"}
    assert {key: off for key, off in found["off"].items() if not off <= NEAR} == {}
    # Guidance: the second pass of every step but the first one was computed beside the first.
    assert found["runs"] == {"calls": 6, "computed": 4}
    # With sound and without, side by side on two ranks each.
    assert found["heard"]["off"] <= NEAR and found["heard"]["runs"] == [2, 1] * 3
    assert_decoded(found["decoded"], ranks=4)


def assert_decoded(found: dict[str, Any], ranks: int) -> None:
    """Pictures of decoders on all ranks: diffusers' own tiled decode, bit by bit."""
    shapes = {
        "tiny-wan2.1-t2v": [1, 3, 9, 320, 64], "tiny-wan2.2-ti2v": [1, 3, 9, 128, 448],
        "tiny-ltx-0.9.8": [1, 3, 9, 32, 224], "tiny-framepack": [1, 3, 17, 64, 320],
    }  # fmt: skip
    for name, of in found.items():
        parts = [1, 2, 3] if "wan" in name else [decoding_ranks.LATENTS[name][2]]
        windows = 2 if name == "tiny-framepack" else 1
        assert of == {
            "same": True, "again": True, "shape": shapes[name], "tiles": ranks * windows, "parts": parts,
            "tiled": False, "small": True,
        }, name  # fmt: skip


def test_three_processes_compute_the_three_passes_of_a_step_and_a_killed_one_is_named_in_seconds(
    checkpoints: Path, tmp_path: Path
) -> None:
    found = ran("of_three", checkpoints, tmp_path, 3, killed=(1, 2))
    assert found["steps"]["off"] <= NEAR and found["steps"]["calls"] == 6
    # The first step does not know yet what is without words; then one call of the ranks is a whole step.
    assert found["steps"]["runs"] == [2, 1, 3, 3]
    assert "parallel.cfg is 3: a step has at most 2 passes, use 1 to 2" in found["two"]
    # Killed in the middle of a clip that all decode.
    dies = found["dies"]
    assert dies["frames"] == 1 and dies["tiled"] is False and dies["took_s"] < 10.0
    node = re.escape(os.uname().nodename)
    assert re.fullmatch(f"rank [12] on {node} was lost: its connection closed", dies["lost"])


@pytest.mark.parametrize(
    ("height", "width", "ranks", "size", "stride"),
    [
        # The paper's 640x400, in latents: bands, and for many ranks a chequerboard.
        (50, 80, 2, (50, 48), (50, 40)),
        (50, 80, 8, (50, 18), (50, 10)),
        (50, 80, 16, (21, 28), (13, 20)),
        (160, 90, 8, (28, 90), (20, 90)),
    ],
)
def test_each_rank_has_one_tile_and_the_largest_is_as_small_as_can_be(
    height: int, width: int, ranks: int, size: tuple[int, int], stride: tuple[int, int]
) -> None:
    assert tiling_for(height, width, ranks, 8) == Tiling(size, stride)
    assert tiling_for(8, 12, ranks, 8) is None and tiling_for(height, width, 1, 8) is None


def test_two_processes_compute_what_one_computes_by_every_package(checkpoints: Path, tmp_path: Path) -> None:
    found = ran("of_two", checkpoints, tmp_path, 2)
    assert set(found["off"]) == {
        "diffusers ulysses", "diffusers ring", "xfuser ulysses", "xfuser ring", "deepspeed ulysses",
        "deepspeed hears",
    }  # fmt: skip
    assert {key: off for key, off in found["off"].items() if not off <= NEAR} == {}
    assert "parallel.by deepspeed has no ring" in found["deepspeed ring"]
    assert "diffusers cannot cut LTXVideoTransformer3DModel" in found["ltx"]
    # With sound and without at once; without anything, alone.
    assert found["heard"]["off"] <= NEAR and found["heard"]["runs"] == [2, 1] * 3
    assert set(found["decoded"]) == set(decoding_ranks.LATENTS)
    assert_decoded(found["decoded"], ranks=2)
    # By the adapters, as workers load them: a whole shot, its decoder alone, and a speaker.
    adapters = found["adapters"]
    assert (adapters["shot"], adapters["decoder"]) == (True, True) and adapters["speaker"] <= 1
    assert adapters["flux"].startswith(
        "model m: parallel.vae: AutoencoderKL is decoded by one process; leave"
    )
    # A decoder that is wrong on one rank is refused by both.
    says = "ParallelMismatch: model m: its decoder on 2 processes is off by 0.01"
    assert all(said.startswith(says) for said in found["spoiled"])
    # Attention that is wrong on one rank alone is refused by all, before anything is served.
    says = "ParallelMismatch: model m: attention over ring 1 x ulysses 2 is off by"
    assert found["wrong"][0].startswith(says)
    assert found["wrong"][0] == found["wrong"][1]


@pytest.mark.parametrize(
    ("asked", "layout"),
    [
        ({"heads": 40, "world": 8, "per_node": 8}, Layout(ulysses=8)),
        ({"heads": 40, "world": 16, "per_node": 8}, Layout(ring=2, ulysses=8)),
        ({"heads": 12, "world": 8, "per_node": 8}, Layout(ring=2, ulysses=4)),
        ({"heads": 40, "world": 16, "per_node": 8, "cfg": 2}, Layout(cfg=2, ulysses=8)),
        ({"heads": 40, "world": 4, "per_node": 2, "ring": 4}, Layout(ring=4)),
        ({"heads": 24, "world": 2, "per_node": 1}, Layout(ring=2)),
    ],
)
def test_ulysses_stays_in_the_node_and_the_ring_joins_nodes(asked: dict[str, int], layout: Layout) -> None:
    assert gang_layout(**asked) == layout


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"heads": 4, "world": 3, "per_node": 3, "cfg": 2}, "parallel.cfg is 2, which does not divide 3"),
        ({"heads": 4, "world": 4, "per_node": 4, "cfg": 3}, "a step has at most 2 passes"),
        ({"heads": 4, "world": 4, "per_node": 4, "ring": 3}, "is not 4, the replica's processes"),
        ({"heads": 2, "world": 4, "per_node": 4, "ulysses": 4, "ring": 1}, "does not divide 2 attention"),
    ],
)
def test_degrees_that_do_not_fit_are_named(asked: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        gang_layout(**asked)
