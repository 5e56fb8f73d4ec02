"""Runs to ask about without a head: an engine decides on events, and both are journalled as a head does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.cli import main
from hpcwise.cli.run import Run
from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.resources import WorkerInfo
from hpcwise.core.spec import GraphTask, JobSpec, Live
from hpcwise.core.workflow import Edge
from hpcwise.head.config import code_digest, digest
from hpcwise.head.settings import find_configs, find_models_dir, read_settings
from hpcwise.store.epoch import OwnerInfo, claim
from hpcwise.store.journal import JournalHeader, JournalWriter

WALL_S = 1_795_000_000.0
WORKER = WorkerInfo(worker_id="w1", kind="cpu", hardware="cpu", models=("emulated",), launch="e1-cpu-1")
#: A text that is long enough to be filmed for 20 s, by nobody in particular.
PAPER = """# Tide mills of the western estuary

Tide mills store the sea behind a gate and let it out over a wheel at low water.
The oldest mill of the estuary was built in the year 1170 beside a monastery.
Its pond covers four hectares and holds water for five hours of milling in every tide.
A miller worked at night as often as by day, because the tide moves by fifty minutes each day.
We measured the height of the water in the pond for eleven weeks with a floating gauge.
The wheel turned at seven revolutions in a minute under a fall of two metres.
Each revolution ground about one kilogram of wheat between stones of French quartz.
Silt reduced the volume of the pond by one third within a century.
Owners fought silt by opening the gate at the end of each tide, which flushed the channel.
The results show that a mill of this kind gave work to two families without interruption.
In conclusion, tide mills were a dependable source of power, since tides never fail.
"""


def graph_job(**changes: Any) -> JobSpec:
    """Two emulated tasks, one after the other."""
    tasks = (
        GraphTask(name="first", stage="emulated", model="emulated", features={"seconds": 1.0}),
        GraphTask(name="second", stage="emulated", model="emulated", inputs=(Edge("a", "first"),)),
    )
    return JobSpec(workflow="graph", name="pair", slo=Live(ttff_s=5), graph=tasks, **changes)


def journal(run: Run, events: Sequence[tuple[float, m.Event]]) -> Engine:
    """Make the run directory and journal what this version decides on `events` (engine time, event)."""
    run.create()
    epoch = claim(run.paths, OwnerInfo(host="nowhere", pid=1, started_s=WALL_S, nonce="n")).number
    config = read_settings(find_configs(), find_models_dir()).engine
    engine = Engine(config)
    header = JournalHeader(
        epoch=epoch,
        version="test",
        code_hash=code_digest(),
        config_hash=digest(msgspec.structs.replace(config, catalogue=type(config.catalogue)())),
        profiles_hash=digest(config.catalogue),
        created_s=WALL_S,
    )
    writer = JournalWriter(run.paths.journal_file(epoch), header)
    for now_s, event in events:
        commands = engine.handle(event, now_s)
        writer.append(msgspec.msgpack.encode((now_s, WALL_S + now_s, event, commands)))
    writer.close()
    return engine


def half_done(request_id: str = "pair-1") -> list[tuple[float, m.Event]]:
    """The first of two tasks is finished, the second runs."""
    return [
        (0.0, m.HeadStarted(1)),
        (1.0, m.RequestArrived(request_id, graph_job(), WALL_S + 1)),
        (2.0, m.WorkerJoined(WORKER)),
        (2.1, m.ModelLoaded("w1", "emulated", 0.1)),
        (2.2, m.TaskStarted(f"{request_id}/first", 1)),
        (3.2, m.ChunkReady(f"{request_id}/first", 1, 0)),
        (3.3, m.TaskFinished(f"{request_id}/first", 1, seconds=1.0)),
        (3.4, m.TaskStarted(f"{request_id}/second", 2)),
    ]


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    capsys.readouterr()
    code = main.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def call_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a successful command prints with --json."""
    code, out, err = call(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def paper(folder: Path) -> Path:
    """A document to film."""
    path = folder / "mills.md"
    path.write_text(PAPER, "utf-8")
    return path
