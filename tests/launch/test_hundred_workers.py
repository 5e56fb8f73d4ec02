"""A hundred workers on stand-ins of Slurm's commands: how often they are called, and how soon it is known."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from hpcwise.core import messages as m
from hpcwise.head.config import HeadConfig
from hpcwise.head.fleet import Fleet
from hpcwise.head.settings import read_settings
from hpcwise.launch.base import Entry, Handle, JobState, LaunchProfile
from hpcwise.launch.jobs import SlurmLauncher
from tests.launch.test_slurm_answers import Clock, Commands, commands, entries

__all__ = ["commands"]
KINDS = ("a100", "h200", "spot", "cpu")
EACH = 25
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


class Cluster:
    """What the stand-ins answer: jobs by id, in states that the test says."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        self.jobs: dict[str, tuple[str, str]] = {}
        self._next = 100

    def takes_next(self) -> None:
        self._next += 1
        self.commands.says("sbatch", f"{self._next}\n")

    def shows(self) -> None:
        lines = (f"{job}|{state}|{name}|n1|x|None\n" for job, (state, name) in self.jobs.items())
        self.commands.says("squeue", "".join(lines))


def test_a_hundred_workers_that_come_and_go_take_six_calls_a_minute_and_losses_are_seen_within_one(
    commands: Commands, tmp_path: Path
) -> None:
    clock = Clock()
    profiles = {kind: LaunchProfile(partition=kind, timeout_min=60) for kind in KINDS}
    one = SlurmLauncher(tmp_path / "workers", profiles, clock=clock)
    cluster = Cluster(commands)
    asked = {kind: [f"{kind}-{i}" for i in range(EACH)] for kind in KINDS}
    handles: dict[str, Handle] = {}
    lost_s: dict[str, float] = {}
    seen_after_s: list[float] = []
    unwanted: list[Handle] = []
    calls_s: list[float] = []
    for second in range(600):
        clock.now_s += 1.0
        if second > 60 and second % 30 == 0:  # a worker is silent from now on
            victim = min(set(handles) - set(lost_s))
            job = handles[victim].job_id
            cluster.jobs[job] = ("FAILED", cluster.jobs[job][1])
            lost_s[victim] = clock.now_s
        if second > 60 and second % 60 == 0:  # what one launch asked for is not wanted any more
            newest = max(handles.values(), key=lambda handle: int(handle.job_id.partition("_")[0])).group
            there = [handle for handle in handles.values() if handle.group == newest]
            unwanted += [handles.pop(handle.token) for handle in there if handle.token not in lost_s]
        cluster.shows()
        if any(clock.now_s - at > 4 for at in lost_s.values()):
            one.hurry(urgent=True)
        states = one.states(handles.values())
        for token in [t for t in lost_s if states.get(t) == "gone"]:
            seen_after_s.append(clock.now_s - lost_s.pop(token))
            kind = token.partition("-")[0]
            del handles[token]
            asked[kind].append(f"{kind}-again-{second}")
        if unwanted and one.may_launch():
            one.kill_many(unwanted)
            for handle in unwanted:
                kind = handle.token.partition("-")[0]
                asked[kind].append(f"{kind}-anew-{second}-{handle.token.rpartition('-')[2]}")
            unwanted = []
        for kind in KINDS:
            if asked[kind] and one.may_launch():
                cluster.takes_next()
                made = one.launch_many(kind, entries(*asked[kind]))
                asked[kind] = []
                handles.update(made)
                for handle in made.values():
                    cluster.jobs[handle.job_id] = ("RUNNING", handle.name)
        calls_s += [clock.now_s] * (len(commands.calls()) - len(calls_s))
    most = max(sum(at <= other < at + 60 for other in calls_s) for at in calls_s)
    assert most <= 6
    assert len(handles) + sum(map(len, asked.values())) + len(unwanted) == 4 * EACH
    assert len(seen_after_s) >= 16 and max(seen_after_s) <= 60.0
    assert sorted(seen_after_s)[len(seen_after_s) // 2] <= 25.0


def test_after_a_burst_of_launches_a_silent_worker_is_looked_at_at_once(
    commands: Commands, tmp_path: Path
) -> None:
    clock = Clock()
    one = SlurmLauncher(tmp_path / "workers", {"gpu": LaunchProfile()}, clock=clock)
    handles: list[Handle] = []
    while one.may_launch():
        commands.says("sbatch", f"{len(handles) + 7}\n")
        handles += one.launch_many("gpu", entries(f"w{len(handles)}")).values()
    clock.now_s += 4
    commands.says("squeue", f"7|OUT_OF_MEMORY|{handles[0].name}|n1|x|OutOfMemory\n")
    one.hurry()
    assert one.states(handles) == {}, "merely of use: it waits for the budget"
    one.hurry(urgent=True)
    assert one.states(handles)["w0"] == "gone"
    clock.now_s += 4
    one.hurry(urgent=True)
    assert one.states(handles) == {} and len(commands.calls()) == 6, "six a minute hold for it too"


def test_jobs_that_nobody_knows_for_sure_are_looked_up_within_the_budget_and_ended_after_one_look(
    commands: Commands, tmp_path: Path
) -> None:
    clock = Clock()
    one = SlurmLauncher(tmp_path / "workers", {"gpu": LaunchProfile()}, clock=clock, timeout_s=0.2)
    (commands.folder / "sbatch.hang").touch()
    unsure = [one.launch("gpu", f"w{i}", Entry("builtins:exec", b"")) for i in range(3)]
    commands.says("squeue", "".join(f"{i + 50}|PENDING|{h.name}||x|None\n" for i, h in enumerate(unsure)))
    again = SlurmLauncher(tmp_path / "workers", {"gpu": LaunchProfile()}, clock=clock, rpcs_per_minute=0)
    for handle in unsure:
        note = tmp_path / "workers" / handle.token / "launch.json"
        os.utime(note, (0, 0))
        assert again.find(handle.token) == handle, "a sweep will tell; it is not given up meanwhile"
    before = len(commands.calls())
    again.kill_many(unsure)
    assert commands.calls()[before:] == ["squeue", "scancel"]
    assert (commands.folder / "calls").read_text().endswith("scancel --quiet 50 51 52\n")


class Counting:
    """A launcher that has all jobs pending, and notes how it is asked to end them."""

    at_once = 256

    def __init__(self) -> None:
        self.ended: list[list[str]] = []
        self.free = True

    def may_launch(self) -> bool:
        return self.free

    def launch_many(
        self, kind: str, entries: Mapping[str, Entry], minutes: int | None = None
    ) -> Mapping[str, Handle]:
        return {token: Handle(token=token, job_id=token) for token in entries}

    def launch(self, kind: str, token: str, entry: Entry) -> Handle:
        return self.launch_many(kind, {token: entry})[token]

    def find(self, token: str) -> Handle | None:
        return None

    def avoid(self, nodes: Iterable[str]) -> None:
        raise AssertionError(f"nobody is unwell: {nodes}")

    def states(self, handles: Iterable[Handle]) -> Mapping[str, JobState]:
        return {}

    def hurry(self, urgent: bool = False) -> None: ...

    def words(self, token: str) -> str:
        return ""

    def kill(self, handle: Handle) -> None:
        self.kill_many([handle])

    def kill_many(self, handles: Iterable[Handle]) -> None:
        self.ended.append([handle.token for handle in handles])

    def log_path(self, token: str) -> Path:
        return Path(token)

    def use(self) -> None:
        return None


def test_a_hundred_launches_that_are_taken_back_end_in_one_call_when_there_is_room_for_it(
    tmp_path: Path,
) -> None:
    launcher = Counting()
    config = HeadConfig(
        run_dir=str(tmp_path), results_dir=str(tmp_path), settings=read_settings(CONFIGS, tmp_path)
    )
    tokens = [f"w{i}" for i in range(100)]

    async def taken_back() -> None:
        said: list[m.Event] = []
        fleet = Fleet(config, launcher, said.append, lambda _worker: False, "test")
        for token in tokens:
            fleet.launch("cpu", token)
        await settled(fleet)
        launcher.free = False
        for token in tokens:
            fleet.cancel(token, "no longer wanted")
        await settled(fleet)
        fleet.sweep()
        await settled(fleet)
        assert launcher.ended == []
        launcher.free = True
        fleet.sweep()
        await settled(fleet)
        assert launcher.ended == [tokens] and said == [] and fleet.launching == ()
        fleet.launch("cpu", "last")
        await settled(fleet)
        fleet.cancel("last", "no longer wanted")
        await settled(fleet)
        await fleet.end(5.0)
        assert launcher.ended == [tokens, ["last"]], "a head that stops leaves none"
        fleet.close()

    asyncio.run(taken_back())


async def settled(fleet: Fleet) -> None:
    """Until nothing that was asked for is under way."""
    await asyncio.sleep(0)
    while fleet._tasks:
        await asyncio.gather(*fleet._tasks)
