"""Slurm 24.11 beside this machine's own: fetched once, then as quick as the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape
from tests.testbed.making import made_or_said


@pytest.fixture(scope="module")
def newer() -> Iterator[Testbed]:
    with made_or_said(Shape(a100=1, h200=1, slurm="24.11", users=("nobody",)), "n") as made:
        yield made


def test_its_own_programs_answer(newer: Testbed) -> None:
    assert newer.run(["sinfo", "--version"]).stdout.split()[1].startswith("24.11.")
    assert "sinfo" in newer.run(["sinfo", "--json"]).stdout
    assert newer.status().services == dict.fromkeys(["munged", "mariadbd", "slurmdbd", "slurmctld"], True)


def test_jobs_run_on_this_machines_files_with_gpus_and_accounting(newer: Testbed) -> None:
    said = 'echo "$(hostname) $(id -un) $CUDA_VISIBLE_DEVICES $(which python3)"'
    done = newer.run(["srun", "-p", "h200", "--gres=gpu:h200:2", "sh", "-c", said], user="nobody")
    words = done.stdout.split()
    assert words[:3] == ["h200-0", "nobody", "0,1"]
    batch = newer.run(["sbatch", "--wait", "--parsable", "-o", "/dev/null", "--wrap", "srun -n1 hostname"])
    shown = newer.run(["scontrol", "show", "job", batch.stdout.strip()]).stdout
    assert "JobState=COMPLETED" in shown


def test_it_starts_mpi_ranks_through_its_own_pmix(newer: Testbed) -> None:
    said = 'echo "$PMIX_RANK of $SLURM_NTASKS"'
    done = newer.run(["srun", "-p", "a100,h200", "-n2", "--mpi=pmix", "sh", "-c", said])
    assert sorted(done.stdout.splitlines()) == ["0 of 2", "1 of 2"]
