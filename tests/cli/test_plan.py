"""`hpcwise plan`: what it prints, its frontier and picture, and one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcwise.cli import main

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "jobs" / "streamwise.yaml"


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = main.run(["plan", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_plan_is_printed_beside_what_the_engine_makes_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, SPEC, "--fleet", "a100=64", "--objective", "cost*ttff")
    assert (code, err) == (0, "")
    lines = dict(
        line.split(None, 1) for line in out.splitlines() if line.startswith(("cost", "ready", "made"))
    )
    assert lines["made"].startswith("high tier, upscaled")
    assert "the engine: $" in lines["cost"] and "(spot prices, all devices held until" in lines["cost"]
    assert "fantasytalking" in out


def test_json_holds_the_plan_its_frontier_and_where_the_picture_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "out.png"
    code, out, err = run(
        capsys, SPEC, "--fleet", "a100=16", "--objective", "cost", "--pareto", "--plot", picture, "--json"
    )
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert picture.read_bytes().startswith(b"\x89PNG") and answer["plot"] == str(picture)
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]
    costs = [point["cost_usd"] for point in answer["frontier"]]
    assert costs == sorted(costs) and all(point["why"] for point in answer["frontier"])
    used = sum(row["n"] * row["devices"] for row in answer["plan"]["replicas"])
    assert used == sum(answer["plan"]["estimate"]["devices"].values()) <= 16
    assert answer["executed"]["ready_s"] == pytest.approx(answer["plan"]["estimate"]["ready_s"], rel=0.1)
    # The same plan each time; what a check in virtual time and a picture add is not made twice here.
    again = run(capsys, SPEC, "--fleet", "a100=16", "--objective", "cost", "--pareto", "--no-check", "--json")
    same = {name: answer[name] for name in ("plan", "frontier")}
    assert same == {name: value for name, value in json.loads(again[1]).items() if name in same}


def test_a_deadline_that_cannot_be_kept_shows_the_closest_plan_and_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, SPEC, "--fleet", "a100=16", "--start-within", "10s", "--no-check")
    assert code == 1
    assert out.splitlines()[0].startswith("misses        first frame without a stall: ")
    assert out.splitlines()[0].endswith("this is the closest plan")


def test_a_job_is_planned_for_this_machines_own_workers(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, ROOT / "jobs" / "batch.yaml", "--json")
    assert (code, err) == (0, "")
    [row] = json.loads(out)["plan"]["replicas"]
    assert row["stages"] == ["document", "screenplay", "image", "speech", "animate"]


def test_pools_of_a_file_have_regions_and_prices(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cluster = tmp_path / "pools.yaml"
    cluster.write_text(
        "pools:\n"
        "  - {name: west, hardware: a100, devices: 32, region: west, spot: true, evictions_per_h: 0.1}\n"
        "  - {name: east, hardware: h200, devices: 16, region: east}\n"
        "links: [{a: west, b: east, gb_per_s: 1.0, latency_s: 0.06}]\n"
    )
    code, out, err = run(capsys, SPEC, "--cluster", cluster, "--objective", "ttff", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["prices"] == "reserved and spot"
    assert {row["pool"] for row in answer["plan"]["replicas"]} <= {"west", "east"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--fleet", "v100=16"],
         "model: 'gemma-3-27b' has no profile on v100; measure it (hpcwise profile) or add hardware of "
         "a100, gb200, h100, h200"),
        (["--fleet", "a100=0"], "--fleet: has no workers; write such as a100=8,h200=4"),
        (["--fleet", "a100=3"],
         "cluster: 3 devices are too few for 'streamwise-podcast', which needs 5 replicas; add devices"),
        (["--fleet", "x9=8"], "cluster.x9: hardware 'x9' is not in hardware.yaml; known are cpu, v100, a100, "
         "a100-pcie, h100, h200, gb200"),
        (["--fleet", "a100=8", "--cluster", "x.yaml"],
         "plan: --cluster and --fleet are both given; choose one"),
        (["--fleet", "a100=8", "--ready-by", "soon"],
         "--ready-by: 'soon' is not usable; write 90s, 10m or 1h30m"),
        (["--fleet", "a100=8", "--power-w", "0"], "--power-w: 0.0 is not usable; give more than 0"),
        (["--fleet", "a100=8", "--plot", "/no/such/out.png"],
         "--plot: /no/such/out.png cannot be written; name a file in a folder that exists"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    assert run(capsys, SPEC, *words) == (2, "", f"hpcwise: {line}\n")


def test_a_region_without_a_link_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cluster = tmp_path / "pools.yaml"
    cluster.write_text(
        "pools:\n"
        "  - {name: a, hardware: a100, devices: 32, region: west}\n"
        "  - {name: b, hardware: h200, devices: 16, region: east}\n"
    )
    line = "cluster.region: 'east' and 'west' have no link; add one to links in hardware.yaml"
    assert run(capsys, SPEC, "--cluster", cluster) == (2, "", f"hpcwise: {line}\n")
