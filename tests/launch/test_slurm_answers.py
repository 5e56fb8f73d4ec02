"""Slurm's answers as recorded from a real 22.05, and the launcher on stand-ins of its commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hpcwise.launch import slurm
from hpcwise.launch.avoid import Avoid
from hpcwise.launch.base import Entry, Handle, LaunchError, LaunchProfile, NoAnswer, Unreachable
from hpcwise.launch.jobs import SlurmLauncher
from hpcwise.launch.rpc import RpcBudget
from hpcwise.launch.steps import Allocation, Component, allocation, in_allocation
from hpcwise.launch.submission import slurm_parameters, step_command
from hpcwise.launch.walltime import shaped_min

RECORDED = Path(__file__).parent / "recorded-22.05"
GPU = LaunchProfile(partition="a100", gres="gpu:a100:1", account="research", cpus_per_task=8, timeout_min=480)


def test_squeue_of_22_05_is_read_line_by_line_and_noise_is_skipped() -> None:
    jobs = slurm.parse_squeue((RECORDED / "squeue.txt").read_text() + "slurm_load_jobs error: noise\n")
    assert [(job.job_id, job.state, job.meaning) for job in jobs] == [
        ("13", "CANCELLED", "gone"), ("12", "FAILED", "gone"), ("15", "PENDING", "pending"),
        ("14_0", "RUNNING", "running"), ("14_1", "RUNNING", "running"),
    ]  # fmt: skip
    assert [job.words for job in jobs][1:4] == [
        "job 12 FAILED on a100-0 (NonZeroExitCode)", "job 15 PENDING (Resources)",
        "job 14_0 RUNNING on a100-0",
    ]  # fmt: skip


def test_the_longest_living_of_several_jobs_is_the_one() -> None:
    jobs = [slurm.Job("9", "FAILED", "w"), slurm.Job("7", "PENDING", "w"), slurm.Job("8", "CANCELLED", "w")]
    assert slurm.longest_living(jobs) == jobs[1]
    assert slurm.longest_living(jobs[::2]) == jobs[0]
    assert slurm.longest_living([]) is None


@pytest.mark.parametrize(
    ("state", "meaning"),
    [("CANCELLED by 1000", "gone"), ("COMPLETING", "running"), ("PREEMPTED", "gone"), ("", "gone"),
     ("REQUEUED", "pending"), ("NODE_FAIL", "gone"), ("OUT_OF_MEMORY", "gone")],
)  # fmt: skip
def test_every_state_of_slurm_means_pending_running_or_gone(state: str, meaning: str) -> None:
    assert slurm.job_state(state) == meaning


def test_sacct_names_the_state_and_the_exit_code() -> None:
    text = "7|CANCELLED by 0|hw-1-w|n1|Unknown|0:15\n8|COMPLETED|hw-1-x|None assigned|Unknown|0:0\n\n"
    assert [job.words for job in slurm.parse_sacct(text)] == [
        "job 7 CANCELLED by 0 on n1 (exit 0:15)", "job 8 COMPLETED",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDED.glob("refused-*.txt")))
def test_what_22_05_refuses_says_what_to_do(name: str) -> None:
    wanted = {
        "refused-partition.txt": "Invalid partition name specified; no such partition here; run",
        "refused-account.txt": "Invalid account or account/partition combination specified; this account",
        "refused-qos.txt": "Invalid qos specification; this QoS is not yours",
        "refused-gres.txt": "Requested node configuration is not available; ask for less",
    }
    said = slurm.complaint("sbatch", (RECORDED / name).read_text())
    assert wanted[name] in said and "\n" not in said


def test_the_start_that_a_test_run_predicts_is_read() -> None:
    text = (RECORDED / "test-only.txt").read_text()
    assert slurm.parse_test_only(text) == "2026-11-20T10:12:24"
    with pytest.raises(LaunchError, match="no such partition here"):
        slurm.parse_test_only((RECORDED / "refused-partition.txt").read_text())


def test_node_lists_and_arrays_are_written_in_slurms_own_way() -> None:
    assert slurm.expand_nodes("a[1-3,07],m1,x[09-10]-ib") == [
        "a1", "a2", "a3", "a07", "m1", "x09-ib", "x10-ib",
    ]  # fmt: skip
    assert slurm.expand_nodes("(null)") == []
    assert slurm.ids_for_scancel(["7_2", "9", "7_0"]) == ["7_[0,2]", "9"]


def test_nothing_of_our_own_job_goes_into_what_is_submitted() -> None:
    given = {
        "SLURM_CONF": "/etc/slurm.conf", "SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "4096",
        "SLURMD_NODENAME": "n", "SBATCH_PARTITION": "a", "PMIX_RANK": "0", "PMI_FD": "3", "SRUN_DEBUG": "1",
        "SUBMITIT_EXECUTOR": "slurm",
        "HPCWISE_END_S": "1", "HOME": "/home/me", "PATH": "/bin", "PYTHONPATH": ".:/opt/x",
    }  # fmt: skip
    assert slurm.scrubbed(given) == {
        "SLURM_CONF": "/etc/slurm.conf", "HOME": "/home/me", "PATH": "/bin",
        "PYTHONPATH": f"{Path.cwd()}{os.pathsep}/opt/x",
    }  # fmt: skip


def test_a_profile_becomes_the_parameters_that_it_states_and_no_other() -> None:
    assert slurm_parameters("hw-1-w", GPU, 60, ["n3"], members=4) == {
        "job_name": "hw-1-w", "comment": "hw-1-w", "nodes": 1, "ntasks_per_node": 1, "time": 60,
        "gres": "gpu:a100:1", "cpus_per_task": 8, "partition": "a100", "account": "research", "exclude": "n3",
        "signal_delay_s": 60, "map_count": 4, "additional_parameters": {"no-requeue": True},
    }  # fmt: skip


def test_a_step_takes_its_share_of_one_component_and_knows_the_end() -> None:
    profile = LaunchProfile(gres="gpu:a100:1", cpus_per_task=8, memory_gb=2.5, het_group=1)
    command = step_command(profile, "77", "hw-w", 1234.0)
    assert command.startswith(
        "srun --jobid=77 --exact --unbuffered --kill-on-bad-exit=1 --job-name=hw-w --nodes=1 "
        "--ntasks-per-node=1 --export=ALL,HPCWISE_END_S=1234 --het-group=1 --cpus-per-task=8 "
        "--gres=gpu:a100:1 --mem=2500M bash -c "
    )


def test_an_allocation_is_read_from_the_environment() -> None:
    plain = {"SLURM_JOB_ID": "5", "SLURM_JOB_PARTITION": "a100", "SLURM_JOB_NUM_NODES": "3",
             "HPCWISE_END_S": "99"}  # fmt: skip
    assert allocation(plain) == Allocation(
        job_id="5", components=(Component(partition="a100", nodes=3),), ends_s=99.0
    )
    assert allocation({}) is None
    het = {"SLURM_JOB_ID": "8", "SLURM_HET_SIZE": "2", "SLURM_JOB_ID_HET_GROUP_0": "8",
           "SLURM_JOB_PARTITION_HET_GROUP_0": "a100", "SLURM_JOB_NUM_NODES_HET_GROUP_0": "2",
           "SLURM_JOB_PARTITION_HET_GROUP_1": "h200", "SLURM_JOB_NUM_NODES_HET_GROUP_1": "1"}  # fmt: skip
    where = allocation(het)
    assert where is not None
    found = in_allocation(
        {"a": GPU, "h": LaunchProfile(partition="h200"), "s": LaunchProfile(partition="spot")}, where
    )
    assert {kind: profile.het_group for kind, profile in found.items()} == {"a": 0, "h": 1}


def test_no_more_than_six_questions_in_any_minute_and_none_while_slurm_is_down_or_slow() -> None:
    budget = RpcBudget(6, 0.0)
    for second in range(5):
        budget.spent("squeue", float(second))
    assert budget.may(5.0) and not budget.may(5.0, keep=2)
    budget.spent("sbatch", 5.0)
    assert not budget.may(59.9) and budget.may(60.1)
    budget.failed(100.0, "squeue: no answer")
    assert not budget.may(104.0) and budget.may(105.0)
    budget.failed(105.0, "squeue: no answer")
    assert not budget.may(114.0) and budget.may(115.0) and "asked again in 10 s" in budget.trouble
    budget.answered(116.0, took_s=4.0)
    assert not budget.may(155.0) and budget.may(156.0)
    budget.answered(160.0, took_s=0.1)
    assert budget.may(160.0) and budget.trouble == ""
    assert (budget.calls.total(), budget.per_minute(180.0)) == (6, 2.0)


def test_a_node_that_failed_twice_is_avoided_for_an_hour() -> None:
    avoid = Avoid()
    avoid.note(["n1", "n2"], 0.0)
    assert avoid.nodes(10.0) == ()
    avoid.note(["n1"], 100.0)
    assert avoid.nodes(200.0) == ("n1",)
    assert avoid.nodes(3650.0) == ()


@pytest.mark.parametrize(
    ("work_s", "limit_min", "minutes"),
    [
        (60.0, 480, 10),
        (600.0, 480, 20),
        (600.0, 12, 12),
        (7200.0, 480, 240),
        (None, 480, 480),
        (90_000.0, 9999, 2880),
    ],
)
def test_walltimes_are_as_long_as_the_work_that_is_left(
    work_s: float | None, limit_min: int, minutes: int
) -> None:
    assert shaped_min(work_s, limit_min) == minutes


class Commands:
    """Stand-ins that answer what lies in files, and note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sbatch", "squeue", "scancel", "sacct", "srun"):
            path = folder / name
            path.write_text(
                f'#!/bin/sh\necho {name} "$@" >> {folder}/calls\n'
                f"[ -e {folder}/{name}.err ] && {{ cat {folder}/{name}.err >&2; exit 1; }}\n"
                f"[ -e {folder}/{name}.hang ] && sleep 60\n"
                f"cat {folder}/{name}.out 2>/dev/null\nexit 0\n"
            )
            path.chmod(0o755)

    def says(self, name: str, text: str) -> None:
        (self.folder / f"{name}.out").write_text(text)

    def fails(self, name: str, text: str) -> None:
        (self.folder / f"{name}.err").write_text(text)

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Commands(folder)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def launcher(tmp_path: Path, clock: Clock, timeout_s: float = 30.0) -> SlurmLauncher:
    return SlurmLauncher(tmp_path / "workers", {"gpu": GPU}, clock=clock, timeout_s=timeout_s)


def entries(*tokens: str) -> dict[str, Entry]:
    return {token: Entry("builtins:exec", token.encode()) for token in tokens}


def test_equal_workers_are_one_array_and_one_sweep_sees_all_of_them(
    commands: Commands, tmp_path: Path
) -> None:
    clock = Clock()
    one = launcher(tmp_path, clock)
    commands.says("sbatch", "41\n")
    handles = one.launch_many("gpu", entries("w1", "w2"), minutes=60)
    assert [h.job_id for h in handles.values()] == ["41_0", "41_1"]
    script = (tmp_path / "workers" / "w1" / "submitit" / "submission.sh").read_text()
    assert "#SBATCH --array=0-1%2\n" in script and "#SBATCH --no-requeue\n" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert one.states(handles.values()) == {}, "it was submitted just now"
    clock.now_s += 31
    name = handles["w1"].name
    commands.says("squeue", f"41_0|RUNNING|{name}|n1|x|None\n41_1|OUT_OF_MEMORY|{name}|n2|x|OutOfMemory\n")
    assert one.states(handles.values()) == {"w1": "running", "w2": "gone"}
    assert one.words("w2") == "job 41_1 OUT_OF_MEMORY on n2 (OutOfMemory)"
    again = launcher(tmp_path, clock)
    assert again.find("w2") == handles["w2"] and again.find("w3") is None, "notes say all, Slurm is not asked"
    one.kill_many(handles.values())
    assert commands.calls() == ["sbatch", "squeue", "scancel"]
    assert (commands.folder / "calls").read_text().endswith("scancel --quiet 41_[0,1]\n")


def test_a_late_answer_is_no_second_job(commands: Commands, tmp_path: Path) -> None:
    clock = Clock()
    one = launcher(tmp_path, clock, timeout_s=0.3)
    (commands.folder / "sbatch.hang").touch()
    [handle] = one.launch_many("gpu", entries("w1")).values()
    assert handle.job_id == ""
    clock.now_s += 10
    commands.says("squeue", f"55|PENDING|{handle.name}||x|(Priority)\n54|FAILED|other|n1|x|None\n")
    assert one.states([handle]) == {"w1": "pending"}
    assert launcher(tmp_path, clock).find("w1") == Handle(
        token="w1", job_id="55", name=handle.name, group="w1"
    )
    assert commands.calls() == ["sbatch", "squeue"]


def test_a_slurm_that_is_down_refuses_nothing(commands: Commands, tmp_path: Path) -> None:
    clock = Clock()
    one = launcher(tmp_path, clock)
    commands.fails("sbatch", "sbatch: error: Unable to contact slurm controller (connect failure)\n")
    with pytest.raises(Unreachable):
        one.launch_many("gpu", entries("w1"))
    assert not one.may_launch() and one.find("w1") is None
    commands.fails("squeue", "slurm_load_jobs error: Socket timed out on send/recv operation\n")
    clock.now_s += 100
    assert one.states([Handle(token="w0", job_id="1")]) == {"w0": "unknown"}
    with pytest.raises(NoAnswer):
        slurm.ask(["squeue"])


def test_a_refusal_is_one_line_and_leaves_no_note(commands: Commands, tmp_path: Path) -> None:
    one = launcher(tmp_path, Clock())
    commands.fails("sbatch", (RECORDED / "refused-partition.txt").read_text())
    with pytest.raises(
        LaunchError, match="no such partition here; run `hpcwise cluster discover` again"
    ) as said:
        one.launch_many("gpu", entries("w1"))
    assert not isinstance(said.value, Unreachable)
    assert one.find("w1") is None


def test_a_host_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="sbatch: is not on PATH here; load the site's Slurm module"):
        slurm.ask(["sbatch"])
