"""Discovery, learning and a contract's dry run on a real Slurm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpcwise.testbed.cluster import Testbed
from tests.cli.making import paper

ROOT = Path(__file__).resolve().parents[2]


def hpcwise(testbed: Testbed, configs: Path, *words: object) -> tuple[int, Any, str]:
    env = {**testbed.env, "HPCWISE_CONFIGS": str(configs), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "hpcwise", *map(str, words), "--json"], env=env, capture_output=True,
        text=True, timeout=90, cwd=configs, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


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
    testbed: Testbed, configs: Path, tmp_path: Path
) -> None:
    code, answer, err = hpcwise(
        testbed, configs, "cluster", "discover", "--name", "here", "--shared-dir", testbed.shared
    )
    assert (code, err) == (0, "")
    pools = {pool["pool"]: pool for pool in answer["cluster"]["pools"]}
    assert {name: (p["nodes"], p["gpus_per_node"], p["preempts"]) for name, p in pools.items()} == {
        "a100": (2, 4, "off"), "h200": (2, 4, "off"),
        "spot-a100": (2, 4, "requeue"), "spot-h200": (2, 4, "requeue"),
    }  # fmt: skip
    assert hpcwise(testbed, configs, "cluster", "check", "here")[:2] == (
        0, {"path": str(configs / "clusters" / "here.yaml"), "drift": []},
    )  # fmt: skip
    testbed.run(["sbatch", "--wait", "-p", "a100", "-t", "1", "-o", "/dev/null", "--wrap", "true"])
    code, learned, _ = hpcwise(testbed, configs, "cluster", "learn", "here", "--days", "1")
    assert code == 0 and learned["jobs"] >= 1
    words = ("submit", paper(tmp_path), "--in", "3h", "--cluster", "here", "--dry-run")
    code, made, err = hpcwise(testbed, configs, *words)
    assert (code, err) == (0, "")
    deal = made["contract"]
    assert deal["verdict"] == "sold" and deal["offers"][0]["partition"] == "spot"
    # Slurm was asked, and every node is idle.
    assert all(offer["start_s"] is not None and offer["start_s"] < 60 for offer in deal["offers"])
    assert testbed.run(["squeue", "-h"]).stdout == ""


def test_what_the_site_would_refuse_is_one_line_and_nothing_is_submitted(
    testbed: Testbed, configs: Path, tmp_path: Path
) -> None:
    hpcwise(testbed, configs, "cluster", "discover", "--name", "here", "--shared-dir", testbed.shared)
    path = configs / "clusters" / "here.yaml"
    path.write_text(path.read_text().replace('partition: "spot"', 'partition: "gone"'))
    films = tmp_path / "films"
    words = ("submit", paper(tmp_path), "--in", "3h", "--cluster", "here", "--run-dir", films)
    code, _, err = hpcwise(testbed, configs, *words)
    assert code == 2 and err.count("\n") == 1 and "hpcwise cluster check here" in err
    assert not films.exists() and testbed.run(["squeue", "-h"]).stdout == ""
    code, answer, _ = hpcwise(testbed, configs, "cluster", "check", "here")
    assert code == 1 and answer["drift"][0] == "pools.spot-a100: Slurm has no partition 'gone' any more"
