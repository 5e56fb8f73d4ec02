"""`hpcwise env pack`: one archive of a Python environment, unpacked and started elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small environment that finds this one's packages."""
    root = tmp_path_factory.mktemp("small") / "env"
    venv.create(root, symlinks=True)
    packages = next((root / "lib").glob("python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (packages / "heavy").mkdir()
    (packages / "heavy" / "weights.bin").write_bytes(b"x" * 100_000)
    return root / "bin" / "python"


def hpcwise(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-m", "hpcwise", "env", *arguments], cwd=REPOSITORY, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


def test_workers_start_from_a_copy_that_is_unpacked_once_a_node(python: Path, tmp_path: Path) -> None:
    shared, node = tmp_path / "shared", tmp_path / "node"
    shared.mkdir()
    node.mkdir()
    done = hpcwise(
        python, "pack", "--output", str(shared), "--node-local", str(node), "--without", "heavy", "--json"
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert Path(facts["archive"]).exists() and facts["files"] > 200
    script = (
        f'{facts["setup"]}; "$HPCWISE_PYTHON" -c "import hpcwise, submitit, sys; print(hpcwise.__file__)"'
    )
    starts = [
        subprocess.Popen(
            ["bash", "-c", script], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [start.communicate(timeout=60) for start in starts]
    [copy] = [path for path in node.iterdir() if path.is_dir()]
    assert {out for out, _ in said} == {
        f"{next(copy.glob('lib/python*'))}/site-packages/hpcwise/__init__.py\n"
    }, said
    assert copy.stat().st_mode & 0o777 == 0o700 and not list(copy.rglob("heavy"))

    measured = json.loads(hpcwise(python, "measure", facts["script"], "--json").stdout)
    assert set(measured) == {"installed_s", "unpack_s", "local_s"} and min(measured.values()) > 0
    print(measured, sys.version_info[:2])


def test_a_folder_that_is_none_and_a_package_that_is_not_there_are_named(
    python: Path, tmp_path: Path
) -> None:
    done = hpcwise(python, "pack", "--output", str(tmp_path / "none"))
    assert done.returncode == 2 and "is no folder; name one that the nodes see" in done.stderr
    done = hpcwise(python, "pack", "--output", str(tmp_path), "--without", "nosuch")
    assert done.returncode == 2 and "--without: 'nosuch' is not in" in done.stderr
    assert list(tmp_path.iterdir()) == []
