"""Discovery, learning and a contract's dry run on a real Slurm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcwise.testbed.cluster import Testbed
from tests.cli.making import call, paper

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def hpcwise(
    testbed: Testbed, configs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """A command of a login node's user: exit code, what --json says, standard error."""
    for name, value in {**testbed.env, "HPCWISE_CONFIGS": str(configs)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HPCWISE_CLUSTER", raising=False)

    def done(*words: object) -> tuple[int, Any, str]:
        code, out, err = call(capsys, *words, "--json")
        return code, json.loads(out) if out else None, err

    return done


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """The project's configurations without its cluster files, to write into."""
    folder = tmp_path / "configs"
    folder.mkdir()
    for path in (ROOT / "configs").iterdir():
        if path.name != "clusters":
            (folder / path.name).symlink_to(path)
    return folder


def test_a_real_site_is_discovered_learned_and_promised_on(
    testbed: Testbed, configs: Path, hpcwise: Call, tmp_path: Path
) -> None:
    code, answer, err = hpcwise("cluster", "discover", "--name", "here", "--shared-dir", testbed.shared)
    assert (code, err) == (0, "")
    pools = {pool["pool"]: pool for pool in answer["cluster"]["pools"]}
    assert {name: (p["nodes"], p["gpus_per_node"], p["preempts"]) for name, p in pools.items()} == {
        "a100": (2, 4, "off"), "h200": (2, 4, "off"),
        "spot-a100": (2, 4, "requeue"), "spot-h200": (2, 4, "requeue"),
    }  # fmt: skip
    assert hpcwise("cluster", "check", "here")[:2] == (
        0, {"path": str(configs / "clusters" / "here.yaml"), "drift": []},
    )  # fmt: skip
    testbed.run(["sbatch", "--wait", "-p", "a100", "-t", "1", "-o", "/dev/null", "--wrap", "true"])
    code, learned, _ = hpcwise("cluster", "learn", "here", "--days", "1")
    assert code == 0 and learned["jobs"] >= 1
    words = ("submit", paper(tmp_path), "--in", "3h", "--cluster", "here", "--dry-run")
    code, made, err = hpcwise(*words)
    assert (code, err) == (0, "")
    deal = made["contract"]
    assert deal["verdict"] == "sold" and deal["offers"][0]["partition"] == "spot"
    # Slurm was asked, and every node is idle.
    assert all(offer["start_s"] is not None and offer["start_s"] < 60 for offer in deal["offers"])
    assert testbed.run(["squeue", "-h"]).stdout == ""


def test_what_the_site_would_refuse_is_one_line_and_nothing_is_submitted(
    testbed: Testbed, configs: Path, hpcwise: Call, tmp_path: Path
) -> None:
    hpcwise("cluster", "discover", "--name", "here", "--shared-dir", testbed.shared)
    path = configs / "clusters" / "here.yaml"
    path.write_text(path.read_text().replace('partition: "spot"', 'partition: "gone"'))
    films = tmp_path / "films"
    words = ("submit", paper(tmp_path), "--in", "3h", "--cluster", "here", "--run-dir", films)
    code, _, err = hpcwise(*words)
    assert code == 2 and err.count("\n") == 1 and "hpcwise cluster check here" in err
    assert not films.exists() and testbed.run(["squeue", "-h"]).stdout == ""
    code, answer, _ = hpcwise("cluster", "check", "here")
    assert code == 1 and answer["drift"][0] == "pools.spot-a100: Slurm has no partition 'gone' any more"
