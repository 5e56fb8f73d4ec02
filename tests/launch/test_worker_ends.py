"""What a worker makes of the end that Slurm gives its job."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwise.wire.start import WorkerConfig
from hpcwise.worker.main import with_local_cache, with_real_end

CONFIG = WorkerConfig(
    run_dir="/r", worker_id="w", kind="k", hardware="cpu", configs_dir="/c", models_dir="/m", lifetime_s=600.0
)


@pytest.mark.parametrize(
    ("environment", "lifetime_s"),
    [
        ({"SLURM_JOB_END_TIME": "1500", "HPCWISE_END_S": "1400"}, 500.0),
        ({"HPCWISE_END_S": "1400"}, 400.0),
        ({"HPCWISE_END_S": ""}, 600.0),
        ({}, 600.0),
        ({"HPCWISE_END_S": "900"}, 600.0),  # over already: another clock
        ({"HPCWISE_END_S": "9000"}, 600.0),  # far beyond the walltime: another clock
    ],
)
def test_the_real_end_counts_unless_the_clocks_differ(environment: dict[str, str], lifetime_s: float) -> None:
    assert with_real_end(CONFIG, environment, 1000.0).lifetime_s == lifetime_s


def test_a_node_local_cache_is_used_where_there_is_one(tmp_path: Path) -> None:
    from msgspec.structs import replace

    config = replace(CONFIG, local_cache="${SCRATCH}/x")
    (tmp_path / "x").mkdir()
    assert with_local_cache(config, {"SCRATCH": str(tmp_path)}).local_cache == f"{tmp_path}/x"
    assert with_local_cache(config, {}).local_cache == ""
    assert with_local_cache(CONFIG, {}).local_cache == ""
