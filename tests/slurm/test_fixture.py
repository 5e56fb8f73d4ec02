"""The Slurm that the other tests of this folder get."""

from __future__ import annotations

from hpcwise.testbed.cluster import Testbed


def test_all_nodes_are_idle_and_spot_lies_over_them(testbed: Testbed) -> None:
    assert testbed.states() == dict.fromkeys(["a100-0", "a100-1", "h200-0", "h200-1"], "idle")
    said = testbed.run(["sinfo", "-h", "-p", "spot", "-o", "%D %G"]).stdout.split("\n")
    assert sorted(said) == ["", "2 gpu:a100:4", "2 gpu:h200:4"]


def test_another_unix_user_runs_jobs(testbed: Testbed) -> None:
    done = testbed.run(["srun", "-p", "h200", "--gpus=1", "id", "-un"], user="nobody")
    assert done.stdout == "nobody\n"
