"""A real Slurm for the tests of this folder: one for all of them, its name from the process."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwise.store.paths import RunPaths
from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape
from tests.slurm.sites import Make, SlurmSite
from tests.testbed.making import end_those_left, made_or_said


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Slurm 22.05 with a100-0, a100-1, h200-0 and h200-1 (4 GPUs each), partition spot over all of them.

    A test gives it back as it found it: no jobs, all cables in, all nodes idle.
    """
    end_those_left()
    with made_or_said(Shape(a100=2, h200=2, cpu=0, users=("nobody",))) as cluster:
        yield cluster


@pytest.fixture
def shared(testbed: Testbed) -> Iterator[Path]:
    """A run directory on the folder that the nodes share."""
    root = testbed.folder / "shared" / f"run-{secrets.token_hex(4)}"
    RunPaths(root).create()
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def make(testbed: Testbed) -> Iterator[Make]:
    """Makes sites on the real Slurm; they end with the test."""
    made: list[SlurmSite] = []

    def one(*pools: str, **options: object) -> SlurmSite:
        made.append(SlurmSite(testbed, pools, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for site in made:
        site.close()
