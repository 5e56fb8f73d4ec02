"""Replicas over two hosts of a real Slurm: they meet by MPI or by Slurm's environment, and add up."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwise.store.paths import RunPaths
from hpcwise.testbed.cluster import Testbed
from tests.head.harness import REPOSITORY

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def shared(testbed: Testbed) -> Iterator[Path]:
    """A run directory on the folder that the nodes share."""
    root = testbed.folder / "shared" / f"gang-{secrets.token_hex(4)}"
    RunPaths(root).create()
    yield root
    shutil.rmtree(root, ignore_errors=True)


def step(
    testbed: Testbed, run_dir: Path, name: str, *more: str, options: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What rank 0 of a step over a100-0 and a100-1 said."""
    (run_dir / "workers" / name).mkdir(mode=0o700)
    done = testbed.run(
        ["srun", "-p", "a100", "-N", "2", "--ntasks-per-node=1", "--kill-on-bad-exit=0", *options,
         "env", f"PYTHONPATH={REPOSITORY}", "OMP_NUM_THREADS=1",
         sys.executable, "-m", "tests.slurm.gang_rank", str(run_dir), name, "2", *more],
        check=False, cwd=REPOSITORY,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, (done.stdout, done.stderr)
    said: dict[str, Any] = json.loads(lines[0])
    return said


@pytest.mark.parametrize(("options", "by"), [(("--mpi=pmix",), "mpi"), (("--mpi=none",), "slurm")])
def test_ranks_on_two_hosts_meet_and_add_up(
    testbed: Testbed, shared: Path, options: tuple[str, ...], by: str
) -> None:
    said = step(testbed, shared, by, options=options)
    assert said.pop("seconds") < 1.0 and said.pop("interface") not in ("", "lo")
    assert said == {"by": by, "nodes": ["a100-0", "a100-1"], "total": 3.0, "lost": "", "key_left": False}


def test_a_killed_rank_is_named_with_its_host_in_seconds(testbed: Testbed, shared: Path) -> None:
    said = step(testbed, shared, "lost", "lose", options=("--mpi=none",))
    assert said["lost"] == "rank 1 on a100-1 was lost: its connection closed"
    assert said["seconds"] < 5.0
