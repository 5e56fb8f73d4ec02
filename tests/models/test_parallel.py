"""One denoiser computed by two and by four processes, by each package, against one process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.core.parallel import Layout, gang_layout
from hpcwise.models.diffusion import tiny
from tests.models import on_ranks, ranks

pytestmark = pytest.mark.timeout(400)
NEAR = 1e-5


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in (*on_ranks.SHAPES, "tiny-fantasytalking", "tiny-ltx-i2v"):
        tiny.build(name, folder / name)
    return folder


def ran(function: str, checkpoints: Path, folder: Path, world: int) -> dict[str, Any]:
    """What rank 0 found; all processes ended well."""
    (folder / "checkpoints").symlink_to(checkpoints)
    processes = ranks.start(f"tests.models.on_ranks:{function}", folder, world)
    end_s = time.monotonic() + 300.0
    try:
        codes = [process.wait(max(1.0, end_s - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = "\n".join((folder / f"log-{rank}").read_text()[-3000:] for rank in range(world))
    assert codes == [0] * world, said
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


def test_two_processes_compute_what_one_computes_by_every_package(checkpoints: Path, tmp_path: Path) -> None:
    found = ran("of_two", checkpoints, tmp_path, 2)
    assert set(found["off"]) == {
        "diffusers ulysses", "diffusers ring", "xfuser ulysses", "xfuser ring", "deepspeed ulysses",
        "deepspeed hears",
    }  # fmt: skip
    assert {key: off for key, off in found["off"].items() if not off <= NEAR} == {}
    assert "parallel.by deepspeed has no ring" in found["deepspeed ring"]
    assert "diffusers cannot cut LTXVideoTransformer3DModel" in found["ltx"]
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
        ({"heads": 4, "world": 4, "per_node": 4, "cfg": 3}, "a step has at most two passes"),
        ({"heads": 4, "world": 4, "per_node": 4, "ring": 3}, "is not 4, the replica's processes"),
        ({"heads": 2, "world": 4, "per_node": 4, "ulysses": 4, "ring": 1}, "does not divide 2 attention"),
    ],
)
def test_degrees_that_do_not_fit_are_named(asked: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        gang_layout(**asked)
