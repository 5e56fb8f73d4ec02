"""Results of the GPU benchmark: fitted, compared with the artifact's, and used by planning."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hpcwise.cli.profilegpu import hardware_of
from hpcwise.core.errors import UsageError
from hpcwise.core.profiles import profile_s
from hpcwise.head.planning import read_planning
from tests.cli.making import call, call_json

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIDES = ((512, 320), (640, 400), (720, 544), (784, 496), (832, 480))
FRAMES = (17, 49, 81)


def _step_s(width: int, height: int, frames: int) -> float:
    """As a GPU would take that is a tenth faster than the artifact's."""
    mpx = width * height / 1e6
    return 0.9 * (0.1 + 2.0 * mpx + 0.31 * mpx * mpx * frames + 0.0034 * (mpx * frames) ** 2)


def _decode_s(width: int, height: int, frames: int) -> float:
    return 0.1 * width * height / 1e6 * frames


def _result(**changes: Any) -> dict[str, Any]:
    """A file of results/gpu as scripts/bench/gpu writes it."""
    points = [(w, h, f) for w, h in SIDES for f in FRAMES]
    figures = {"parameters_b": 14.3, "power_w": 655.0, "memory_gb": 41.0}
    for point in points:
        name = "x".join(map(str, point))
        figures |= {f"step_s.{name}": _step_s(*point), f"decode_s.{name}": _decode_s(*point)}
    figures |= {f"loop_s.640x400x81x{n}": n * _step_s(640, 400, 81) for n in (4, 10, 20)}
    machine = {"system": "Linux", "processor": "x", "cpus": 16, "memory_gb": 128.0, "python": "3.11"}
    return {
        "name": "gpu", "figures": figures, "goals": {}, "met": True, "machine": machine,
        "device": "nvidia-h200", "measured_on": "2026-11-20", "missing": {}, **changes,
    }  # fmt: skip


def _file(folder: Path, made: Any) -> Path:
    path = folder / "result.json"
    path.write_text(made if isinstance(made, str) else json.dumps(made))
    return path


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "configs"
    shutil.copytree(CONFIGS, folder, ignore=shutil.ignore_patterns("site.yaml"))
    monkeypatch.setenv("HPCWISE_CONFIGS", str(folder))
    return folder


def test_a_result_becomes_a_profile_that_planning_uses_and_stands_beside_the_artifacts_numbers(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    file = _file(tmp_path, _result())
    said = call_json(capsys, "profile", "wan-2.1", "--from", file, "--write")
    assert said["beside_hardware"] == "h200" and list(said["profiles"]) == ["h200"]
    assert said["verdicts"]["h200"]["points"] == 15 + 3 and said["verdicts"]["h200"]["r2"] > 0.999
    # The artifact's own runs on one H200, with their settings; the rest at the usual ten steps.
    theirs = {(r["width"], r["height"], r["frames"], r["steps"]): r for r in said["beside"]}
    measured = {key: row["artifact_s"] for key, row in theirs.items() if row["artifact_s"]}
    assert measured == {
        (720, 544, 81, 10): 84.774, (720, 544, 81, 50): 410.82, (784, 496, 81, 10): 84.57,
    }  # fmt: skip
    assert len(theirs) == 16 and {key[3] for key in theirs} == {10, 50}
    here = theirs[720, 544, 81, 50]["seconds"]
    assert here == pytest.approx(50 * _step_s(720, 544, 81) + _decode_s(720, 544, 81))
    # A loop that was run counts as it was.
    assert theirs[640, 400, 81, 10]["seconds"] == pytest.approx(10 * _step_s(640, 400, 81) + 2.0736, rel=1e-6)

    assert said["written"] == str(configs / "profiles" / "site.yaml")
    before = read_planning(CONFIGS, "fitted").models["wan-2.1"].profiles["h200"]
    now = read_planning(configs, "fitted").models["wan-2.1"].profiles["h200"]
    features = {"steps": 10.0, "frames": 81.0, "frame_mpx": 0.256}
    assert profile_s(now, features) == pytest.approx(theirs[640, 400, 81, 10]["seconds"], rel=0.02)
    # Replicas of eight keep the shape that was measured of eight, at this GPU's level; power is its own.
    ratio = profile_s(now, features, 8) / profile_s(before, features, 8)
    assert set(now.sizes) == set(before.sizes) and 0.5 < ratio < 1.0
    assert now.power_w[1] == 655.0
    assert now.fit is not None and now.fit.measured_on == "2026-11-20"
    assert now.fit.source == f"scripts/bench/gpu; of several devices as published, times {ratio:.3g}"

    code, out, _ = call(capsys, "profile", "wan-2.1-vae", "--from", file)
    assert code == 0 and "ARTIFACT (h200) S" in out and "wan-2.1-vae on h200:" in out


@pytest.mark.parametrize(
    ("made", "asked", "says"),
    [
        ("{", (), "is no result of scripts/bench/gpu"),
        ({"name": "film", "figures": {}}, (), "is no result of scripts/bench/gpu"),
        (_result(name="worker", figures={"overhead_fraction": 0.01}), (), "holds figures of 'worker'; give"),
        (_result(figures={"step_s.640x400x81": 0.0}), (), "step_s.640x400x81: 0 cannot be measured; measure"),
        (_result(device="radeon"), (), "device 'radeon' is none of cpu, v100, a100, "),
        (_result(), ("--hardware", "h300"), "--hardware: 'h300' is none of cpu, "),
        (_result(figures={**_result()["figures"], "parameters_b": 3e-5}), ("--write",),
         "--write: of 3e-05 billion parameters, wan-2.1 has 14; measure with scripts/bench/gpu on a GPU"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_result_of_such_a_gpu_is_one_line(
    made: Any, asked: tuple[str, ...], says: str, configs: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("sklearn")
    code, out, err = call(capsys, "profile", "wan-2.1", "--from", _file(tmp_path, made), *asked)
    assert (code, out) == (2, "") and err.count("\n") == 1 and says in err
    assert not (configs / "profiles" / "site.yaml").exists()


def test_other_models_and_options_that_say_nothing_are_one_line(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    code, _, err = call(capsys, "profile", "flux", "--from", _file(tmp_path, _result()))
    assert code == 2 and "model flux: --from has the shape of wan-2.1, wan-2.1-dit, wan-2.1-vae" in err
    code, _, err = call(capsys, "profile", "wan-2.1", "--from", tmp_path / "none.json")
    assert code == 2 and "none.json: cannot be read: No such file" in err
    code, _, err = call(capsys, "profile", "wan-2.1", "--hardware", "h200")
    assert code == 2 and "--hardware: says what --from was measured on" in err


def test_a_device_is_the_hardware_with_most_of_its_words() -> None:
    known = read_planning(CONFIGS, "fitted").hardware
    names = {
        "nvidia-h200": "h200", "nvidia-a100-sxm4-80gb": "a100", "nvidia-a100-pcie-40gb": "a100-pcie",
        "nvidia-h100-80gb-hbm3": "h100", "tesla-v100-sxm2-16gb": "v100", "cpu": "cpu",
    }  # fmt: skip
    assert {device: hardware_of(device, known) for device in names} == names
    with pytest.raises(UsageError, match="give the one that it is as --hardware"):
        hardware_of("nvidia-l4", known)
