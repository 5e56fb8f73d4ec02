"""What cannot work is said in one line before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcwise.cli.main import run
from hpcwise.core.cluster import Cluster
from hpcwise.core.errors import UsageError
from hpcwise.launch import preflight
from hpcwise.testbed.cluster import Testbed
from tests.slurm.sites import SlurmSite


@pytest.fixture
def site(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmSite]:
    made = SlurmSite(testbed, ["a100"])
    for name, value in testbed.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HPCWISE_CONFIGS", str(made.configs))
    monkeypatch.setenv("HPCWISE_MODELS_DIR", str(made.models_dir))
    yield made
    made.close()


def edited(site: SlurmSite, pool: dict[str, Any], **fields: Any) -> None:
    content = yaml.safe_load(site.cluster_file.read_text())
    content["pools"][0].update(pool)
    site.cluster_file.write_text(yaml.safe_dump({**content, **fields}))


CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"partition": "gone"}, {}, "pool a100: partition 'gone' is not here (there are: a100, h200, spot); run"),
    ({}, {"account": "closed"}, "pool a100: sbatch: Invalid account or account/partition combination"),
    ({"max_min": 99_999}, {}, "max_min: 99999 is over the limit of partition a100, 2880 minutes; lower it"),
    ({"gpu": "v100"}, {}, "pool a100: sbatch: Requested node configuration is not available; ask for less"),
    ({}, {"cluster": "elsewhere"}, "cluster: 'elsewhere', but this is"),
    ({"hardware": "abacus"}, {}, "pools[0] (a100).hardware: 'abacus' is not in hardware.yaml; use cpu"),
    ({"nodes": 0}, {}, "pools[0] (a100).nodes: 0 is not usable; give more than 0"),
    ({"use": False}, {}, "pools: none is in use; give one of them `use: yes`"),
    ({"nodez": 3}, {}, "unknown field `nodez`"),
    ({}, {"shared_dir": "/scratch"}, "not in the shared_dir of the cluster file; use a folder in /scratch"),
    ({}, {"submits_from_nodes": False}, "a head in a job could not submit workers; set `mode: steps`, or"),
]  # fmt: skip


@pytest.mark.parametrize(("pool", "fields", "said"), CASES)
def test_a_cluster_file_that_cannot_work_is_one_line_and_nothing_is_submitted(
    site: SlurmSite,
    capsys: pytest.CaptureFixture[str],
    pool: dict[str, Any],
    fields: dict[str, Any],
    said: str,
) -> None:
    edited(site, pool, **fields)
    before = _jobs(site)
    code = run(["head", "start", "--cluster", "here", "--run-dir", str(site.results)])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and len(lines) == 1 and said in lines[0], lines
    assert _jobs(site) <= before  # Slurm forgets those that ended some minutes ago
    assert not site.results.exists()


def _jobs(site: SlurmSite) -> set[str]:
    return set(site.testbed.run(["squeue", "-h", "-t", "all", "-o", "%i"]).stdout.split())


def test_a_run_directory_in_tmp_is_refused(site: SlurmSite, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["head", "start", "--cluster", "here", "--run-dir", "/tmp/results"])
    said = capsys.readouterr().err
    assert code == 2 and "nodes do not share /tmp; use a folder in" in said


def test_a_cluster_without_a_file_is_named(site: SlurmSite, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["head", "start", "--cluster", "nowhere", "--run-dir", str(site.results)])
    said = capsys.readouterr().err
    assert code == 2 and "(there: here, testbed); `hpcwise cluster discover` writes it" in said


def test_a_host_without_slurm_is_told_to_load_it(
    site: SlurmSite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as bare:
        bare.setenv("PATH", "/nowhere")
        code = run(["head", "start", "--cluster", "here", "--run-dir", str(site.results)])
    assert code == 2
    assert "sbatch: is not on PATH here; load the site's Slurm module" in capsys.readouterr().err


def test_another_clock_and_accounting_that_is_off_are_told(
    site: SlurmSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = site.testbed.run(["scontrol", "show", "config"]).stdout
    skew_s = preflight.clock_skew_s(config, 0.0)
    assert skew_s is not None
    cluster = Cluster(cluster=site.testbed.name, slurm="22.05", pools=())
    preflight.check_site(cluster, "file", now_wall_s=-skew_s + 20.0)
    with pytest.raises(
        UsageError, match=r"clock: this host's differs from slurmctld's by \+(?:99|100) s; have it set"
    ):
        preflight.check_site(cluster, "file", now_wall_s=-skew_s + 100.0)
    fake = tmp_path / "scontrol"
    text = config.replace("accounting_storage/slurmdbd", "accounting_storage/none")
    (tmp_path / "config").write_text(text)
    fake.write_text(f"#!/bin/sh\ncat {tmp_path}/config\n")
    fake.chmod(0o755)
    with monkeypatch.context() as faked:
        faked.setenv("PATH", f"{tmp_path}:{site.testbed.variables['PATH']}")
        with pytest.raises(UsageError, match="accounting: is off at this site; set `accounting: no`"):
            preflight.check_site(cluster, "file", now_wall_s=-skew_s)
