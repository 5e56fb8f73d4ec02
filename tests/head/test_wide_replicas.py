"""Replicas of several processes in a cluster file: kinds of workers, and how Slurm is asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcwise.core.errors import UsageError
from hpcwise.head.main import within_allocation
from hpcwise.head.settings import Settings, read_settings
from hpcwise.launch.submission import slurm_parameters
from tests.head.harness import Site

POOL: dict[str, Any] = {
    "pool": "h200", "partition": "gpu", "hardware": "h200", "gpu": "h200", "nodes": 5, "gpus_per_node": 8,
    "cpus_per_node": 64, "memory_gb_per_node": 800, "max_min": 600,
}  # fmt: skip
WIDE = {"nodes": 2, "tasks_per_node": 8, "models": ["wan-2.1-dit"], "mpi": "pmix"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def settings(site: Site, mode: str = "jobs", **pool: Any) -> Settings:
    path = site.configs / "clusters" / "here.yaml"
    path.write_text(
        yaml.safe_dump({"cluster": "here", "slurm": "24.11", "mode": mode, "pools": [{**POOL, **pool}]})
    )
    return read_settings(site.configs, site.models_dir, None, "here")


def test_a_replica_of_two_nodes_is_a_kind_beside_its_pools_own_and_alone_holds_its_models(site: Site) -> None:
    found = settings(site, replicas=[WIDE], losses_per_h=0.25)
    own, wide = found.engine.fleet
    assert (own.kind, own.nodes, own.devices_per_node, own.max_workers) == ("h200", 1, 1, 40)
    assert (wide.kind, wide.nodes, wide.devices_per_node, wide.max_workers) == ("h200-2x8", 2, 8, 2)
    assert wide.models == ("wan-2.1-dit",) and "wan-2.1-dit" not in own.models and "flux" in own.models
    assert wide.memory_gb == own.memory_gb == 100  # of one of its processes
    assert found.losses_per_h == {"h200": 0.25, "h200-2x8": 0.25}
    asked = slurm_parameters("n", found.launch["h200-2x8"], 60)
    wanted = {
        "nodes": 2, "ntasks_per_node": 8, "gres": "gpu:h200:8", "cpus_per_task": 8, "mem": "760000M",
    }  # fmt: skip
    assert {name: asked.get(name) for name in wanted} == wanted
    assert asked["srun_args"] == ["--kill-on-bad-exit=0", "--mpi=pmix"]
    assert slurm_parameters("n", found.launch["h200"], 60)["gres"] == "gpu:h200:1"


def test_steps_of_one_allocation_hold_as_many_replicas_as_its_nodes_and_say_where_they_hold_none(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(site, "steps", replicas=[WIDE])
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_PARTITION", "gpu")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "4")
    assert [item.max_workers for item in within_allocation(found).engine.fleet] == [32, 2]
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    with pytest.raises(UsageError, match="a replica h200-2x8 takes 2 nodes, this allocation has 1; start"):
        within_allocation(found)


@pytest.mark.parametrize(
    ("replicas", "says"),
    [
        (
            [{**WIDE, "nodes": 6}],
            "pools[0] (h200).replicas[0].nodes: 6 is not usable; this pool allows 1 to 5",
        ),
        (
            [{**WIDE, "tasks_per_node": 9}],
            "replicas[0].tasks_per_node: 9 is not usable; this pool allows 1 to 8",
        ),
        ([{"models": ["flux"]}], "replicas[0]: one process is what every worker is; give more nodes or"),
        (
            [{**WIDE, "models": []}],
            "replicas[0].models: is empty; name the models that such a replica is for",
        ),
        (
            [{**WIDE, "models": ["emu"]}],
            "pools.h200.replicas: 'emu' has no card that runs on h200; known are",
        ),
        ([WIDE, {**WIDE, "nodes": 1}], "replicas[1]: 'wan-2.1-dit' is named twice; name each shape once"),
        (
            [WIDE, {**WIDE, "models": ["flux"]}],
            "replicas[1]: another one has the same shape; name each shape",
        ),
        ([{**WIDE, "ntasks": 2}], "Object contains unknown field `ntasks` - at `$.pools[0].replicas[0]`"),
    ],
)
def test_a_replica_that_cannot_be_is_one_line_with_its_field(
    site: Site, replicas: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(UsageError) as refused:
        settings(site, replicas=replicas)
    assert says in str(refused.value) and "here.yaml: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_local_fleets_gang_is_counted_by_its_processes(site: Site) -> None:
    site.configure(launch={"tasks_per_node": 2}, losses_per_h=4.0)
    found = read_settings(site.configs, site.models_dir, 1)
    [item] = found.engine.fleet
    assert (item.nodes, item.devices_per_node, found.losses_per_h) == (1, 2, {"cpu": 4.0})
    site.configure(losses_per_h=-1)
    with pytest.raises(UsageError, match=r"head.yaml: fleet.cpu.losses_per_h: -1.0 is not usable; give 0 or"):
        read_settings(site.configs, site.models_dir, 1)
