"""A real Slurm for the tests of this folder: one for all of them, its name from the process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape
from tests.testbed.making import end_those_left, made_or_said


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Slurm 22.05 with a100-0, a100-1, h200-0 and h200-1 (4 GPUs each), partition spot over all of them.

    A test gives it back as it found it: no jobs, all cables in, all nodes idle.
    """
    end_those_left()
    with made_or_said(Shape(a100=2, h200=2, cpu=0, users=("nobody",))) as cluster:
        yield cluster
