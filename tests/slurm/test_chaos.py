"""`scripts/chaos` in short: faults on a real Slurm while tasks flow, and a verdict that can be bad."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import msgspec

from hpcwise.cli.run import Run
from hpcwise.core import messages as m
from hpcwise.store.journal import JournalHeader, JournalWriter
from hpcwise.testbed.cluster import Testbed
from scripts import chaosfigures as figures
from scripts.chaosfaults import KINDS, Fault, deal
from scripts.chaosrun import ChaosRun
from scripts.chaossite import ChaosSite
from scripts.chaosverdict import figures_of

SHORT = ("worker_kill", "scancel", "head_kill")


def test_every_kind_of_fault_is_dealt_five_times_among_a_hundred_and_a_seed_repeats_itself() -> None:
    dealt = deal(list(KINDS), 100, random.Random(3))
    assert len(dealt) == 100 and min(dealt.count(kind) for kind in KINDS) >= 5
    assert dealt == deal(list(KINDS), 100, random.Random(3)) != deal(list(KINDS), 100, random.Random(4))


def test_a_few_faults_lose_and_double_and_leave_nothing(testbed: Testbed, tmp_path: Path) -> None:
    site = ChaosSite(testbed, f"chaos-{secrets.token_hex(3)}", 1)
    said: list[str] = []
    log = tmp_path / "faults.jsonl"
    run = ChaosRun(site, 5, said.append, log, abreast=3, every_s=0.5, live=2)
    try:
        run.run(SHORT, len(SHORT))
        found = figures_of(run, said.append)
    finally:
        site.close()
    assert {kind: found[f"faults.{kind}"] for kind in SHORT} == dict.fromkeys(SHORT, 1), said
    assert found["asked"] >= 2 and found["failed"] == 0, said
    expected = {"completed_fraction": 1, "lost": 0, "doubled": 0, "orphans": 0, "hangs": 0, "skipped": 0}
    assert {name: found[name] for name in expected} == expected, said
    faults = [msgspec.json.decode(line, type=Fault) for line in log.read_bytes().splitlines()]
    assert sorted(fault.kind for fault in faults) == sorted(SHORT)
    assert all(0 < fault.at_s <= fault.mended_s for fault in faults)


def test_a_key_that_two_attempts_finished_and_one_that_is_gone_are_seen(tmp_path: Path) -> None:
    run = Run.at(str(tmp_path))
    run.create()
    header = JournalHeader(
        epoch=1, version="0", code_hash="", config_hash="", profiles_hash="", created_s=0.0
    )
    writer = JournalWriter(run.paths.journal_file(1), header)
    key = "ab" * 20

    def told(wall_s: float, event: m.Event, *commands: m.Command) -> None:
        writer.append(msgspec.msgpack.encode((wall_s, wall_s, event, list(commands))))

    for attempt in (1, 2):
        dispatch = m.Dispatch("r/t", attempt, "w", 0, key, 0.0, 0.0)
        told(10.0 * attempt, m.Tick(), dispatch)
        for _ in range(2):  # said again, as a worker does to a new head: that is no second commit
            told(10.0 * attempt + 5, m.TaskFinished("r/t", attempt))
    told(30.0, m.Published("r", 0))
    told(31.0, m.Published("r", 0))
    writer.flush()
    writer.close()
    found = figures.Told(run)
    assert found.doubled == [f"r/t attempt 2: {key}", "r segment 0"]
    assert figures.damaged(run, found) == [key]
    hit = Fault(number=0, kind="scancel", at_s=12.0, hits=("r/t",))
    assert found.recovery_s(hit) == 3.0
    assert found.recovery_s(Fault(number=1, kind="scancel", at_s=26.0, hits=("r/t",))) is None
