"""Simulator and head run the same engine: what decides is nowhere else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "hpcwise"
#: What the engine consists of; each must be reached by both drivers, and by the simulator alone.
DECIDING = (
    "engine", "scheduler", "quality", "scaling", "planner", "recovery", "film", "deadlines", "ready", "queue",
    "profiles", "fleet", "world", "policies",
)  # fmt: skip


def _loaded(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(n for n in sys.modules if n.startswith('hpcwise')))"
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(out.stdout.split())


def test_the_simulator_loads_the_whole_deciding_core_and_no_adapter() -> None:
    loaded = _loaded("import hpcwise.sim.simulation")
    assert {f"hpcwise.core.{name}" for name in DECIDING} <= loaded
    parts = {name.split(".")[1] for name in loaded if name.count(".") >= 1}
    assert parts == {"core", "sim"}


def test_head_and_simulator_share_all_of_core() -> None:
    head = {n for n in _loaded("import hpcwise.head.loop") if n.startswith("hpcwise.core")}
    sim = {n for n in _loaded("import hpcwise.sim.simulation") if n.startswith("hpcwise.core")}
    # Prices out of a site's billing weights are read with the configuration, before there is an engine.
    assert head - sim <= {"hpcwise.core.billing"}
    worker = {n for n in _loaded("import hpcwise.worker.loop") if n.startswith("hpcwise.core")}
    assert sim <= head | worker


def test_the_simulator_has_no_clock_no_randomness_and_no_files() -> None:
    banned = {
        "time",
        "random",
        "secrets",
        "os",
        "pathlib",
        "io",
        "socket",
        "subprocess",
        "threading",
        "asyncio",
    }
    for path in sorted((PACKAGE / "sim").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {n.split(".")[0] for n in names} & banned, path.name
            assert not (isinstance(node, ast.Name) and node.id == "open"), path.name
