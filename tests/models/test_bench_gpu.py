"""scripts/bench/gpu, every line of it on a CPU: what it prints, and the file that profiles are made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.making import call, call_json

REPOSITORY = Path(__file__).resolve().parents[2]
#: Importing diffusers takes seconds on a quiet machine, and many on a busy one.
pytestmark = pytest.mark.timeout(300)
#: What the issue names, and the figures that say it: measured, or missing with a reason.
LINES = {
    "load and warm-up": ("load_s", "warmup_s", "parameters_b"),
    "memory": ("memory_gb",),
    "power by NVML": ("power_w",),
    "a step": ("step_s",),
    "fit error of the linear profile": ("fit_r2", "fit_error_mean", "fit_error_max", "fit_points"),
    "attention backends": ("attention_native_vs_plain", "attention_native_math_vs_plain"),
    "torch.compile": ("compile_vs_plain",),
    "fp8 weights": ("fp8_weights_vs_plain",),
    "int8 weights": ("int8_weights_vs_plain",),
    "first-block cache": ("first_block_cache_vs_plain",),
    "plain diffusers on the same call": ("diffusers_loop_s", "loop_overhead_fraction"),
}
POINTS = [f"{width}x32x{frames}" for width in (32, 48, 64, 80) for frames in (5, 9, 13)]
VARIED = {
    "frames and pixels": tuple(f"step_s.{point}" for point in POINTS),
    "steps": tuple(f"loop_s.48x32x9x{steps}" for steps in (2, 3, 6)),
    "decoder": tuple(f"decode_s.{point}" for point in POINTS),
}


def test_every_line_is_measured_or_missing_for_a_reason_and_the_file_makes_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, "scripts/bench/gpu", "--tiny", "--json", "--out", str(tmp_path / "gpu")]
    ran = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    printed = json.loads(ran.stdout)
    assert set(printed) == {
        "name", "figures", "goals", "met", "machine", "device", "measured_on", "missing",
    }  # fmt: skip
    assert (printed["name"], printed["device"], printed["goals"]) == ("gpu", "cpu", {})
    figures, missing = printed["figures"], printed["missing"]
    assert not set(figures) & set(missing)
    assert set(figures) | set(missing) == {f for names in {**LINES, **VARIED}.values() for f in names}
    # Without a GPU there are no watts and no memory of one, and nobody makes any up.
    assert {"power_w", "memory_gb", "compile_vs_plain"} <= set(missing) <= {
        "power_w", "memory_gb", "compile_vs_plain", "int8_weights_vs_plain",
    }  # fmt: skip
    assert all(reason.strip() for reason in missing.values())
    assert "power_w: not here: " in ran.stderr
    unjudged = {"fit_r2", "loop_overhead_fraction"}
    assert {name for name, value in figures.items() if value <= 0} <= unjudged

    (file,) = (tmp_path / "gpu").iterdir()
    assert file.name == f"cpu-{printed['measured_on']}.json"
    assert json.loads(file.read_text()) == printed
    said = call_json(capsys, "profile", "wan-2.1", "--from", file)
    assert len(said["measurements"]) == len(POINTS) + 3 and list(said["profiles"]) == ["cpu"]
    # The artifact knows no such machine: its H200 stands beside it.
    assert said["beside_hardware"] == "h200" and len(said["beside"]) == len(POINTS)
    assert all(row["profile_s"] > row["seconds"] > 0 for row in said["beside"])
    code, _, err = call(capsys, "profile", "wan-2.1", "--from", file, "--write")
    assert code == 2 and "measure with scripts/bench/gpu on a GPU, without --tiny" in err


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    ran = subprocess.run(
        [sys.executable, "scripts/bench/gpu", "--json", "--out", str(tmp_path / "gpu")], cwd=REPOSITORY,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].startswith("gpu: cannot run: no CUDA device here; ")
    assert not (tmp_path / "gpu").exists()
