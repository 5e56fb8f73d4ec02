"""Nodes that workers found unwell: no job and no step goes there for an hour."""

from __future__ import annotations

from pathlib import Path

from hpcwise.launch.avoid import MEMORY_S, Avoid
from hpcwise.launch.base import LaunchProfile
from hpcwise.launch.jobs import SlurmLauncher
from hpcwise.launch.launcher import SubmititLauncher
from hpcwise.launch.steps import Allocation, Component, StepsLauncher

PROFILES = {"gpu": LaunchProfile(partition="a100")}


def test_a_node_is_left_alone_after_two_failures_or_after_one_look_of_its_own_worker() -> None:
    avoid = Avoid()
    avoid.note(["n1"], 0.0)
    assert avoid.nodes(1.0) == ()
    avoid.shun(["n2"], 1.0)
    assert avoid.nodes(2.0) == ("n2",)
    avoid.note(["n1"], 3.0)
    assert avoid.nodes(4.0) == ("n1", "n2")
    assert avoid.nodes(MEMORY_S + 2.0) == ()


def test_steps_and_jobs_exclude_what_was_found_unwell_and_a_host_of_its_own_has_no_choice(
    tmp_path: Path,
) -> None:
    where = Allocation(job_id="7", components=(Component(partition="a100", nodes=3),))
    steps = StepsLauncher(tmp_path / "steps", PROFILES, where)
    assert "--exclude" not in str(steps._python("w1", PROFILES["gpu"]))
    steps.avoid(["n2", "n1"])
    assert " --exclude=n1,n2 " in str(steps._python("w1", PROFILES["gpu"]))
    assert steps.use().avoided == ("n1", "n2")
    jobs = SlurmLauncher(tmp_path / "jobs", PROFILES)
    jobs.avoid(["n1"])
    assert jobs.use().avoided == ("n1",)
    SubmititLauncher(tmp_path / "here", PROFILES).avoid(["localhost"])
