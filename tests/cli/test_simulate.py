"""`hpcwise simulate`: what it says, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcwise.cli import main, simcluster
from hpcwise.core.catalogue import Catalogue, LinearProfile, ModelInfo
from tests.cli.making import PAPER

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "jobs" / "clusters" / "streamwise-320.yaml"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper.md").write_text(PAPER)
    path = tmp_path / "job.yaml"
    path.write_text(
        "workflow: streamwise-podcast\ninput: paper.md\nduration: 1m\nresolution: 1280x800\n"
        "fps: 23\nquality: [high]\nslo: {live: {ttff: 30s}}\n"
    )
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = main.run(["simulate", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_the_papers_cluster_makes_a_minute_and_says_what_it_costs(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(spec.parent.iterdir())
    code, out, err = run(capsys, spec, "--cluster", CLUSTER, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    [request] = said["result"]["requests"]
    assert request["state"] == "done"
    assert 20 < request["ttff_s"] <= request["ttff_stall_free_s"]
    assert 0 < said["result"]["busy_usd"] < said["result"]["held_usd"]
    assert said["unmeasured"] == ["yolo on cpu"]
    assert said["prices"] == "reserved"
    assert sorted(spec.parent.iterdir()) == before


def test_the_same_seed_says_the_same_and_noise_another_thing(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = (spec, "--fleet", "a100=12", "--set", "noise_sigma=0.2", "--json")
    first, second = (run(capsys, *noisy)[1] for _ in range(2))
    results = [json.loads(text)["result"] for text in (first, second)]
    assert results[0]["requests"][0]["ready_s"] == pytest.approx(results[1]["requests"][0]["ready_s"])
    other = json.loads(run(capsys, *noisy, "--sim-seed", "1")[1])["result"]
    assert other["requests"][0]["ready_s"] != results[0]["requests"][0]["ready_s"]


def test_a_document_is_simulated_on_this_machines_own_workers(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = spec.parent / "plan.png"
    code, out, err = run(capsys, spec.parent / "paper.md", "--duration", "20s", "--gantt", picture)
    assert (code, err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    labels = [line.split()[0] for line in out.splitlines() if line]
    assert labels[:3] == ["asked", "ready", "first"]
    assert "utilisation" in labels and "energy" in labels


def test_many_requests_are_listed_and_summed_up(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, spec, "--fleet", "h100=32", "--requests", "3", "--per-hour", "60")
    assert code == 0
    assert "3 of 3 done" in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--fleet", "a100=-1"), "--fleet a100: -1 is not usable; choose 0 to 4096"),
        (("--fleet", "a100"), "--fleet: 'a100' is not HARDWARE=NUMBER; write such as a100=8,h200=4"),
        (("--fleet", "a100=0"), "--fleet: has no workers; write such as a100=8,h200=4"),
        (("--fleet", "a100=1,a100=2"), "--fleet a100: is named twice; add the numbers up"),
        (
            ("--fleet", "a100=8", "--set", "noise_sigma=x"),
            "--set: 'noise_sigma=x' is not NAME=NUMBER or NAME=yes|no",
        ),
        (
            ("--fleet", "a100=8", "--set", "failure_rate=2"),
            "simulation.failure_rate: 2.0 is not a share; give 0 to 1",
        ),
        (
            ("--fleet", "a100=8", "--cluster", "x"),
            "simulate: --cluster and --fleet are both given; choose one",
        ),
        (
            ("--fleet", "a100=8", "--requests", "3"),
            "simulate: --requests and --per-hour belong together; give both or neither",
        ),
        (
            ("--fleet", "a100=8", "--requests", "3", "--per-hour", "-1"),
            "arrivals: 3 requests at -1.0 an hour are not possible; give more than 0",
        ),
    ],
)
def test_each_mistake_is_one_line(
    spec: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], line: str
) -> None:
    assert run(capsys, spec, *words) == (2, "", f"hpcwise: {line}\n")


def test_an_unknown_kind_of_hardware_is_named_with_those_that_are_known(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, spec, "--fleet", "b9=1")
    assert code == 2
    assert err.startswith("hpcwise: --fleet: hardware 'b9' is not in hardware.yaml; known are cpu, ")


def test_mistakes_in_a_cluster_file_name_the_entry(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec.parent / "cluster.yaml"
    path.write_text("workers: []\n")
    assert run(capsys, spec, "--cluster", path)[2] == (
        "hpcwise: cluster: has no workers; give at least one kind and a number of 1 or more\n"
    )
    path.write_text("workers: [{kind: a, hardware: a100, models: [no-such-model]}]\n")
    code, _, err = run(capsys, spec, "--cluster", path)
    assert code == 2 and err.startswith("hpcwise: model: 'no-such-model' is not in the catalogue; known are ")
    path.write_text("workers: [{kind: a, hardware: a100, models: [flux], gpus: 3, nodes: 2}]\n")
    assert run(capsys, spec, "--cluster", path)[2] == (
        f"hpcwise: {path}: workers[0] a.gpus: 3 are not spread evenly over 2 nodes\n"
    )
    path.write_text("workers: [{kind: a, hardware: a100, models: [flux], wokers: 2}]\n")
    code, _, err = run(capsys, spec, "--cluster", path)
    assert code == 2 and "wokers" in err and err.count("\n") == 1


def test_a_cluster_that_cannot_host_a_stage_ends_with_the_reason_and_one(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec.parent / "cluster.yaml"
    path.write_text("workers: [{kind: a, hardware: a100, models: [flux]}]\nsimulation: {warm: true}\n")
    code, _, err = run(capsys, spec, "--cluster", path)
    assert code == 1
    assert err == "hpcwise: job: stuck: job/document: no kind of worker in this fleet can host pdf-document\n"


def test_the_workflow_that_can_only_be_planned_is_not_handed_in(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("submit", "generate"):
        assert main.run([command, str(spec), "--run-dir", str(spec.parent / "run")]) == 2
        assert "can only be planned" in capsys.readouterr().err
    assert not (spec.parent / "run").exists()


def _models(**light: bool) -> Catalogue:
    profiles = {"gpu": LinearProfile(base_s=1.0)}
    return Catalogue(
        models={
            n: ModelInfo(name=n, family="x", light=is_light, profiles=profiles)
            for n, is_light in light.items()
        }
    )


def test_devices_are_shared_out_by_work_and_each_model_gets_one() -> None:
    known = _models(big=False, small=False, tiny=False, voice=True)
    work_s = {"big": 900.0, "small": 90.0, "tiny": 0.1, "voice": 5.0}
    found = dict(simcluster.share_out(work_s, 16, known, "gpu"))
    assert sum(found.values()) == 16
    assert found == {("voice",): 1, ("big",): 13, ("small",): 1, ("tiny",): 1}
    assert simcluster.share_out(work_s, 3, known, "gpu") == [(("big", "small", "tiny", "voice"), 3)]


def test_with_the_provisioner_a_film_with_time_is_made_by_fewer_workers_for_less(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = tmp_path / "cluster.yaml"
    models = "[flux, framepack-dit, framepack-vae, fantasytalking, real-esrgan, gemma-3-27b, kokoro-82m]"
    cluster.write_text(
        "workers:\n"
        "  - {kind: big, hardware: a100, gpus: 8, workers: 8, min_workers: 0, launch_s: 60, models: "
        f"{models}}}\n"
        f"  - {{kind: small, hardware: a100, workers: 32, min_workers: 0, launch_s: 60, models: {models}}}\n"
        "  - {kind: cores, hardware: cpu, workers: 2, models: [pdf-document, yolo]}\n"
    )
    spec.write_text(spec.read_text().replace("30s", "20m"))
    asked = (spec, "--cluster", cluster, "--json")
    said = {
        how: json.loads(run(capsys, *asked, how)[1])["result"] for how in ("--provision", "--no-provision")
    }
    plans, demand = said["--provision"], said["--no-provision"]
    assert plans["requests"][0]["state"] == demand["requests"][0]["state"] == "done"
    assert plans["requests"][0]["ttff_stall_free_s"] < 20 * 60
    assert plans["plans"] > 1 and demand["plans"] == 0
    assert plans["held_usd"] < 0.5 * demand["held_usd"]
    code, out, err = run(capsys, spec, "--fleet", "a100=8", "--provision")
    assert (code, out) == (2, "")
    assert "name workers to choose from, --cluster" in err
