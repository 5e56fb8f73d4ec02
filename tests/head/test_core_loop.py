"""What is recorded before what leaves; and what waits when the disk is full."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hpcwise.core import messages as m
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.errors import DiskFull, IllegalTransition
from hpcwise.core.resources import WorkerInfo
from hpcwise.core.spec import GraphTask, JobSpec
from hpcwise.head.clock import EngineClock
from hpcwise.head.core_loop import Core
from hpcwise.head.ledger import Ledger, read_records
from hpcwise.store.journal import JournalHeader, JournalWriter

HEADER = JournalHeader(epoch=1, version="0", code_hash="c", config_hash="g", profiles_hash="p", created_s=0.0)
INFO = WorkerInfo(worker_id="w1", kind="cpu", hardware="cpu", models=("emulated",))
JOB = JobSpec(workflow="graph", graph=(GraphTask(name="a", stage="emulated", model="emulated"),))


class FullDisk(JournalWriter):
    """A journal whose disk has no space while `full`."""

    full = False

    def flush(self) -> None:
        if self.full:
            raise DiskFull("no space")
        super().flush()


class Bench:
    """A core whose effects are a list: what was performed, when it was sent, what was durable."""

    def __init__(self, path: Path) -> None:
        self.writer = FullDisk(path, HEADER)
        self.effects: list[str] = []
        self.engine = Engine(EngineConfig())
        self.core = Core(
            self.engine, EngineClock(0.0), Ledger(self.writer), self.perform,
            lambda c: self.effects.append(f"durable {type(c).__name__} {self.writer.synced_count}"),
            lambda: self.effects.append(f"send {self.writer.count} {self.writer.pending_bytes}"),
            lambda error: self.effects.append(f"failed {error}"),
        )  # fmt: skip

    def perform(self, command: m.Command) -> bool:
        if isinstance(command, m.RequestEnded):
            return False
        self.effects.append(type(command).__name__)
        return True

    def close(self) -> None:
        self.core.close()
        self.core.ledger.close()


def finish() -> m.TaskFinished:
    return m.TaskFinished("r/a", 1, inline=True)


def test_records_are_with_the_kernel_before_messages_leave_and_on_disk_before_outside_effects(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path / "j")
        bench.core.take(m.WorkerJoined(INFO))
        bench.core.take(m.RequestArrived("r", JOB, 5.0))
        bench.core.commit()
        assert bench.effects == ["AddTasks", "LoadModel", "Dispatch", "send 2 0"]
        bench.effects.clear()
        bench.core.take(finish())
        assert bench.effects == []
        bench.core.commit()
        await bench.core.ledger.durable()
        await asyncio.sleep(0)
        assert bench.effects == ["send 3 0", "durable RequestEnded 3"]
        bench.close()
        records = list(read_records(tmp_path / "j"))
        assert [type(record.event) for record in records] == [
            m.WorkerJoined,
            m.RequestArrived,
            m.TaskFinished,
        ]
        assert [type(c) for c in records[1].commands] == [m.AddTasks, m.LoadModel, m.Dispatch]

    asyncio.run(scenario())


def test_a_batch_that_nobody_commits_is_committed_when_the_loop_turns(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path / "j")
        bench.core.take(m.WorkerJoined(INFO))
        await asyncio.sleep(0)
        assert bench.effects == ["send 1 0"]
        bench.close()

    asyncio.run(scenario())


def test_a_full_disk_is_a_pause_in_which_nothing_leaves_and_nothing_is_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path / "j")
        bench.writer.full = True
        bench.core.take(m.WorkerJoined(INFO))
        bench.core.take(m.RequestArrived("r", JOB, 5.0))
        bench.core.commit()
        bench.core.take(finish())
        assert bench.core.paused == "no space"
        assert bench.effects == ["AddTasks", "LoadModel", "Dispatch"]  # queued, not sent
        bench.writer.full = False
        while bench.core.paused:
            await asyncio.sleep(0.01)
        await bench.core.ledger.durable()
        await asyncio.sleep(0)
        assert bench.effects[3:] == ["send 3 0", "durable RequestEnded 3"]
        bench.close()
        assert len(list(read_records(tmp_path / "j"))) == 3

    asyncio.run(scenario())


def test_recovery_applies_what_the_journal_holds(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        bench = Bench(tmp_path / "j")
        for event in (m.HeadStarted(1), m.WorkerJoined(INFO), m.RequestArrived("r", JOB, 5.0), finish()):
            bench.core.take(event)
        bench.close()
        return bench.engine.snapshot()

    expected = asyncio.run(scenario())
    engine = Engine(EngineConfig())
    for record in read_records(tmp_path / "j"):
        engine.apply_recorded(record.event, record.commands, record.now_s)
    assert engine.snapshot() == expected


def test_a_broken_rule_ends_the_head_and_is_not_in_the_journal(tmp_path: Path) -> None:
    class Broken(Engine):
        def handle(self, event: m.Event, now_s: float) -> list[m.Command]:
            if isinstance(event, m.Tick):
                raise IllegalTransition("task", "r/a", "waiting", "finish")
            return super().handle(event, now_s)

    async def scenario() -> None:
        bench = Bench(tmp_path / "j")
        bench.core.engine = Broken(EngineConfig())
        bench.core.take(m.WorkerJoined(INFO))
        with pytest.raises(IllegalTransition):
            bench.core.take(m.Tick())
        assert bench.effects == ["failed task r/a: no transition from 'waiting' on 'finish'"]
        bench.close()
        assert [type(record.event) for record in read_records(tmp_path / "j")] == [m.WorkerJoined]

    asyncio.run(scenario())
