"""Slurm's answers, as text and through stand-ins of its commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwise.launch.base import Handle, LaunchError, LaunchProfile
from hpcwise.launch.launcher import SubmititLauncher, parameters
from hpcwise.launch.slurm import job_state, parse_sacct, parse_squeue, run

SQUEUE = """\
101|RUNNING|w-1|None
102|PENDING|w-2|(Resources)
103|CANCELLED|w-3|None
104|FAILED|w-1|NonZeroExitCode
slurm_load_jobs error: noise
"""


def test_squeue_is_read_by_name_and_the_living_job_of_a_name_wins() -> None:
    assert parse_squeue(SQUEUE) == {
        "w-1": ("101", "running", "None"),
        "w-2": ("102", "pending", "(Resources)"),
        "w-3": ("103", "gone", "None"),
    }


@pytest.mark.parametrize(
    ("state", "meaning"),
    [("CANCELLED by 1000", "gone"), ("COMPLETING", "running"), ("PREEMPTED", "gone"), ("", "gone"),
     ("REQUEUED", "pending"), ("NODE_FAIL", "gone")],
)  # fmt: skip
def test_every_state_of_slurm_means_pending_running_or_gone(state: str, meaning: str) -> None:
    assert job_state(state) == meaning


def test_sacct_gives_the_latest_job_of_a_name() -> None:
    assert parse_sacct("7|w-1\n9|w-1\n8|other\n\n") == {"w-1": "9", "other": "8"}


def test_a_profile_becomes_the_parameters_that_it_states_and_no_other() -> None:
    profile = LaunchProfile(partition="gpu", gpus_per_node=2, timeout_min=60, extra={"signal": "B:USR2@30"})
    assert parameters("slurm", "w-1", profile) == {
        "name": "w-1", "nodes": 1, "tasks_per_node": 1, "timeout_min": 60, "gpus_per_node": 2,
        "slurm_partition": "gpu",
        "slurm_additional_parameters": {"comment": "w-1", "signal": "B:USR2@30"},
    }  # fmt: skip
    assert parameters("local", "w-1", profile) == {
        "name": "w-1", "nodes": 1, "tasks_per_node": 1, "timeout_min": 60, "gpus_per_node": 2,
    }  # fmt: skip


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins that answer as Slurm does and note how they were called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in {
        "squeue": f"cat <<'END'\n{SQUEUE}END\n",
        "sacct": "echo '90|w-9'",
        "scancel": "exit 0",
    }.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\necho {name} \"$@\" >> {tmp_path}/calls\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return tmp_path / "calls"


def test_jobs_are_found_by_name_and_swept_with_one_squeue(commands: Path, tmp_path: Path) -> None:
    launcher = SubmititLauncher("slurm", tmp_path / "workers", {})
    assert launcher.find("w-2") == Handle(token="w-2", job_id="102")
    assert launcher.find("w-9") == Handle(token="w-9", job_id="90")
    commands.unlink()
    handles = [Handle(token=f"w-{i}", job_id=str(100 + i)) for i in range(1, 5)]
    assert launcher.states(handles) == {"w-1": "running", "w-2": "pending", "w-3": "gone", "w-4": "gone"}
    assert len(commands.read_text().splitlines()) == 1
    launcher.kill(handles[0])
    assert commands.read_text().splitlines()[-1] == "scancel 101"


def test_a_slurm_that_does_not_answer_leaves_states_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    launcher = SubmititLauncher("slurm", tmp_path, {})
    assert launcher.states([Handle(token="w-1", job_id="1")]) == {"w-1": "unknown"}
    with pytest.raises(LaunchError, match="squeue: "):
        run(["squeue"])
