"""docs/slurm.md: what it names is there, and each sbatch file in slurm/ runs on a real Slurm."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from hpcwise.cli.main import hpcwise
from hpcwise.testbed.cluster import Testbed
from tests.head.harness import REPOSITORY, graph, node, until
from tests.slurm.sites import SlurmSite

PAGE = (REPOSITORY / "docs" / "slurm.md").read_text("utf-8")
SLURM = REPOSITORY / "slurm"


@pytest.fixture
def site(testbed: Testbed) -> Iterator[SlurmSite]:
    made = SlurmSite(testbed, ["h200"])
    yield made
    made.close()


def given(line: str) -> list[str]:
    """Words of the page's command line that submits a file, up to the file."""
    [found] = [row for row in PAGE.splitlines() if row.startswith("sbatch") and line in row]
    words = shlex.split(found)
    return words[: words.index(line) + 1]


def test_it_names_every_sbatch_file_and_each_is_submitted_by_a_test() -> None:
    named = set(re.findall(r"slurm/[a-z-]+\.sbatch", PAGE))
    assert named == {f"slurm/{path.name}" for path in SLURM.glob("*.sbatch")}
    tests = {path: path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py")}
    for name in named:
        assert any(f'"{name}"' in text for text in tests.values()), f"no test submits {name}"


def test_its_commands_links_and_options_exist() -> None:
    for link in re.findall(r"\]\(([a-z]+\.md)\)", PAGE):
        assert (REPOSITORY / "docs" / link).is_file(), link
    for path in re.findall(r"`(?:scripts|slurm|tests|requirements)/[\w./-]+`", PAGE):
        assert (REPOSITORY / path.strip("`")).exists(), path
    lines = re.findall(r"^(?:sudo |\.venv/bin/)?(hpcwise [^#\n]+)", PAGE, re.M)
    assert len(lines) >= 7
    for line in lines:
        words = shlex.split(line)[1:]
        command: click.Command = hpcwise
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, line
            command, words = found, words[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_a_head_by_hand_serves(site: SlurmSite) -> None:
    partition, time_limit, export, script = given("slurm/head.sbatch")[1:]
    assert script == "slurm/head.sbatch"
    results = site.root / "results"
    environment = {
        **site.environment(), "HPCWISE_CONFIGS": str(site.configs), "HPCWISE_PYTHON": sys.executable,
        "HPCWISE_MODELS_DIR": str(site.models_dir), "HPCWISE_HEAD_ARGS": "--workers 1", "PWD": str(site.root),
    }  # fmt: skip
    assert partition == "--partition=cpu" and "HPCWISE_CLUSTER=mine" in export
    export = export.replace("=mine", "=here").replace("$PWD", str(site.root))
    words = ["sbatch", "--parsable", "--partition=h200", time_limit, export, "-o", str(site.root / "out")]
    done = subprocess.run(
        [*words, script], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    try:
        site.paths = type(site.paths)(results / ".hpcwise")
        site.inbox = type(site.inbox)(site.paths)
        until(lambda: site.paths.head_json.exists(), 40)
        site.submit(graph(node("n", seconds=0.5, steps=5, nbytes=100)), "one")
        assert site.ended("one").row.state == "done", (site.root / "out").read_text()
    finally:
        site.testbed.run(["scancel", job])
        until(lambda: site.testbed.job_state(job) in ("", "CANCELLED") and not site.jobs(), 40)


def test_an_environment_is_packed_and_measured_on_a_node(site: SlurmSite, tmp_path: Path) -> None:
    python = site.root / "small" / "bin" / "python"
    venv.create(site.root / "small", symlinks=True)
    [packages] = (site.root / "small").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    words = [
        w for w in given("slurm/env-pack.sbatch") if not w.startswith(("--account", "--partition", "--out"))
    ]
    assert words == ["sbatch", "slurm/env-pack.sbatch"]
    out = site.root / "env-pack.out"
    done = subprocess.run(
        ["sbatch", "--parsable", "--partition=h200", f"--output={out}", "slurm/env-pack.sbatch",
         str(site.root)],
        env={**site.environment(), "HPCWISE_PYTHON": str(python)}, cwd=REPOSITORY, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    ended = site.testbed.wait_job(done.stdout.strip(), "COMPLETED", "FAILED")
    said = out.read_text()
    assert ended == "COMPLETED", said
    [setup] = [line for line in said.splitlines() if line.startswith("setup: ")]
    [line] = yaml.safe_load(setup)["setup"]
    assert Path(line.removeprefix(". ")).parent == site.root
    assert re.search(r"from the local copy +\d+\.\d\d s", said)


def test_a_container_gets_gpu_folders_and_image_and_runs_its_python(tmp_path: Path) -> None:
    """Apptainer itself is a site's; one stands in for it that says what it was asked."""
    stand_in = tmp_path / "apptainer"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    wrapper = SLURM / "python-in-apptainer"
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    named = {"HPCWISE_IMAGE": "/s/hw.sif", "HPCWISE_BIND": "/s"}
    done = subprocess.run(
        [wrapper, "-m", "a b"], env={**path, **named}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "exec", "--nv", "--bind", "/s", "/s/hw.sif", "python3", "-m", "a b",
    ]  # fmt: skip
    assert all(name in PAGE for name in named)
    bare = subprocess.run([wrapper], env=path, capture_output=True, text=True, check=False)
    assert bare.returncode != 0 and "HPCWISE_BIND: name the shared folder" in bare.stderr
