"""scripts/reproduce: the fast figures as people run it, and what its parts give."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.shapes import WorkflowFile
from hpcwise.evaluation.cluster import LARGE
from hpcwise.evaluation.published import read_published
from hpcwise.evaluation.report import Summary
from hpcwise.evaluation.run import FIGURES, Context, label, pools_of, reproduce
from hpcwise.evaluation.serving import sets
from hpcwise.evaluation.table4 import PUBLISHED
from hpcwise.head.planning import read_planning
from hpcwise.head.settings import read_file

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


@cache
def context() -> Context:
    paper = read_planning(CONFIGS, "streamwise")
    flows = read_file(CONFIGS / "workflows.yaml", WorkflowFile).workflows
    return Context(paper, read_planning(CONFIGS, "fitted"), flows, read_published(CONFIGS))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "reproduce"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})


def test_fast_figures_are_printed_as_one_json_object_and_written_as_csv_and_png(tmp_path: Path) -> None:
    done = run("fig4", "fig5", "--json", "--out", str(tmp_path))
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    found = msgspec.json.decode(done.stdout, type=Summary)
    assert {row.figure for row in found.rows} == {"fig4", "fig5"}
    by_what = {row.what: row for row in found.rows}
    cost = by_what["H100 over A100: cost of the same clip"]
    assert cost.paper == 1.6 and cost.error is not None and abs(cost.error) < 0.1
    assert (cost.kind, cost.price, cost.window) == ("regression", "reserved", "the clip's time")
    assert found.goals[0] == sum(row.kept is True and row.kind != "ordering" for row in found.rows)
    names = {"fig4.csv", "fig4-points.csv", "fig4.png", "fig5.csv", "fig5-points.csv", "fig5.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "fig4.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((tmp_path / "fig5.csv").read_text().splitlines()))
    assert [row["what"] for row in rows] == [row.what for row in found.rows if row.figure == "fig5"]


def test_an_unknown_figure_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    done = run("fig99", "--out", str(tmp_path / "out"))
    expected = f"reproduce: 'fig99' is not known; choose all or one of {', '.join(FIGURES)}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="fig99"):
        reproduce("fig99", context())


def test_every_figure_of_the_list_is_there() -> None:
    for name in FIGURES:
        assert (ROOT / "hpcwise" / "evaluation" / f"{name}.py").is_file(), name


def test_the_artifacts_320_gpus_stand_beside_ours() -> None:
    theirs = context().budget("streamwise_disag", **LARGE)
    assert theirs is not None and label(theirs.devices) == "256 A100 + 64 H200"
    assert (theirs.ttff_s, theirs.total_s, theirs.cost_usd) == (21.38, 301.88, 45.62)
    assert context().budget("streamwise_disag", a100=7) is None
    assert context().points("streamwise_disag", "h100")


def test_equal_questions_are_planned_and_carried_out_once() -> None:
    work, pools = context().work(), pools_of({"a100": 16})
    plan, done = context().checked(work, pools)
    again, done_again = context().checked(context().work(), pools_of({"a100": 16}))
    assert again is plan and done_again is done
    assert done.cost_usd < 25 and done.ready_s < 2 * 3600


def test_prices_of_the_artifact_change_its_reserved_a100_and_not_the_times() -> None:
    work, pools = context().work(), pools_of({"a100": 16}, spot=False)
    ours, theirs = (context().plan(work, pools, prices=prices).estimate for prices in ("paper", "artifact"))
    assert theirs.ready_s == ours.ready_s
    assert theirs.cost_usd / ours.cost_usd == pytest.approx(3.40 / (14.42 / 8))


def test_the_papers_rule_gives_its_numbers() -> None:
    times = {stage: numbers[3] for stage, (_, *numbers) in PUBLISHED.items()}
    assert sets(times, 1)["speech"] == 1 and sets(times, 100)["speech"] == 43
    assert sets(times, 1)["sync"] == 3
    assert sets({"image": 0.0}, 5) == {"image": 1}


def test_an_unreadable_row_of_published_results_is_named(tmp_path: Path) -> None:
    head = "series,a100,h100,h200,gb200,ttff_s,total_s,cost_usd,energy_kwh\n"
    (tmp_path / "published.csv").write_text(head + "naive,8,0,0,0,1,2,3,4\nnaive,8,0,0,0,soon,2,3,4\n")
    with pytest.raises(UsageError, match=r"row 2 is not readable: .*soon.*; make it anew by"):
        read_published(tmp_path)
