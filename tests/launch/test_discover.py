"""Discovery: what Slurm 22.05 and 24.11 answered on a real site of three nodes, read into one cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from hpcwise.core.cluster import Cluster
from hpcwise.launch.base import LaunchError
from hpcwise.launch.discover import (
    Answers,
    cluster_of,
    drift,
    hardware_of,
    merged,
    pairs,
    parse_minutes,
    parse_sinfo,
    parse_sinfo_json,
)
from hpcwise.launch.slurmquery import evictions, parse_past

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "slurm"
VERSIONS = ("22.05", "24.11")
HARDWARE = ("cpu", "v100", "a100", "a100-pcie", "h100", "h200", "gb200")


def answers(version: str) -> Answers:
    def text(name: str) -> str:
        return (FIXTURES / version / name).read_text()

    return Answers(
        config=text("config.txt"), partitions=text("partitions.txt"), sinfo_json=text("sinfo.json"),
        sinfo=text("sinfo.txt"), qos=text("qos.txt"), assoc=text("assoc.txt"), user=text("user.txt"),
    )  # fmt: skip


def found(version: str) -> Cluster:
    return cluster_of(answers(version), HARDWARE, "/scratch", "site")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_site_is_read_whole(version: str) -> None:
    site = found(version)
    assert (site.slurm, site.account, site.qos, site.accounting) == (version, "research", "normal", True)
    assert (site.jobs_max, site.kill_wait_s, site.shared_dir) == (200, 5.0, "/scratch")
    assert site.accounts == ("research", "root", "teaching")
    rows = [
        (p.pool, p.partition, p.nodes, p.hardware, p.gpus_per_node, p.max_min, p.preempts, p.grace_s)
        for p in site.pools
    ]
    assert rows == [
        ("a100", "a100", 2, "a100", 4, 2880, "off", 0.0),
        ("h200", "h200", 1, "h200", 4, 1440, "off", 0.0),
        ("spot-a100", "spot", 2, "a100", 4, 480, "requeue", 20.0),
        ("spot-h200", "spot", 1, "h200", 4, 480, "requeue", 20.0),
    ]
    h200 = site.pools[1]
    assert h200.features == ("h200", "ib") and h200.infiniband and h200.use
    assert h200.billing_weights == "CPU=0.25,Mem=0.03G,GRES/gpu=36.0"
    assert (h200.cpus_per_node, h200.memory_gb_per_node, h200.default_min) == (32, 250.0, 30)
    assert h200.qos == ("high", "normal", "short")


def test_both_slurms_say_the_same_of_the_same_site() -> None:
    assert replace(found("22.05"), slurm="") == replace(found("24.11"), slurm="")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fixed_format_says_what_json_says(version: str) -> None:
    given = answers(version)
    assert sorted(parse_sinfo(given.sinfo), key=str) == sorted(parse_sinfo_json(given.sinfo_json), key=str)
    old = cluster_of(replace(given, sinfo_json=""), HARDWARE, "/scratch", "site")
    assert old == found(version)


def test_with_preemption_by_qos_the_qos_that_jobs_use_decides_who_gives_way() -> None:
    plain = answers("24.11")
    config = plain.config.replace("preempt/partition_prio", "preempt/qos")
    qos = (
        "normal|100||200||cluster|00:00:00|\n"
        "high|1000||||cluster|00:00:00|\n"
        "urgent|5000|||normal,short|cluster|00:00:00|\n"
        "short|500|00:30:00|20|||00:02:00|DenyOnLimit\n"
    )
    made = replace(plain, config=config, qos=qos)

    def notice(qos: str) -> set[tuple[str, float]]:
        pools = cluster_of(made, HARDWARE, qos=qos).pools
        return {(pool.preempts, pool.grace_s) for pool in pools if not pool.pool.startswith("spot")}

    # By default normal; nobody preempts high; short has two minutes' notice.
    assert notice("") == {("requeue", 0.0)}
    assert notice("high") == {("off", 0.0)}
    assert notice("short") == {("requeue", 120.0)}
    cancelled = replace(made, qos=qos.replace("200||cluster", "200||cancel"))
    assert {p.preempts for p in cluster_of(cancelled, HARDWARE).pools} == {"cancel"}


def test_without_accounting_there_are_no_accounts_and_the_rest_is_there() -> None:
    given = answers("24.11")
    config = given.config.replace("accounting_storage/slurmdbd", "(null)")
    site = cluster_of(replace(given, config=config, qos="", assoc="", user=""), HARDWARE)
    assert (site.accounting, site.account, site.accounts, site.jobs_max) == (False, "", (), None)
    assert len(site.pools) == 4


def test_a_gpu_that_nobody_knows_is_not_used() -> None:
    site = cluster_of(answers("24.11"), ("cpu", "a100"))
    assert {p.pool: (p.hardware, p.use) for p in site.pools}["h200"] == ("cpu", False)


@pytest.mark.parametrize(
    ("gpu", "hardware"),
    [("a100", "a100"), ("nvidia_a100-sxm4-80gb", "a100"), ("nvidia_a100-pcie-40gb", "a100-pcie"),
     ("h200", "h200"), ("gb200", "gb200"), ("mi300x", ""), ("", "cpu")],
)  # fmt: skip
def test_gres_types_are_mapped_to_hardware(gpu: str, hardware: str) -> None:
    assert hardware_of(gpu, HARDWARE) == hardware


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("2-00:00:00", 2880), ("08:00:00", 480), ("30:00", 30), ("00:00:30", 1), ("15", 15), ("1-12", 2160),
     ("UNLIMITED", None), ("", None)],
)  # fmt: skip
def test_slurms_times_become_minutes(text: str, minutes: int | None) -> None:
    assert parse_minutes(text) == minutes


def test_values_with_blanks_and_equal_signs_stay_whole() -> None:
    line = "PartitionName=a QoS=N/A TRES=cpu=64,mem=500G Comment=two words State=UP"
    assert pairs(line) == {
        "PartitionName": "a", "QoS": "N/A", "TRES": "cpu=64,mem=500G", "Comment": "two words", "State": "UP",
    }  # fmt: skip


def test_what_changed_since_is_named_field_by_field() -> None:
    ours = found("22.05")
    first = replace(ours.pools[0], nodes=9, usd_per_gpu_h=1.5, use=False)
    gone = replace(ours.pools[1], pool="old", partition="old")
    changed = replace(ours, pools=(first, gone, *ours.pools[2:]), jobs_max=5)
    assert drift(changed, ours) == [
        "jobs_max: the file has 5, Slurm 200",
        "pools.a100.nodes: the file has 9, Slurm 2",
        "pools.old: Slurm has no partition 'old' any more",
        "pools: Slurm has 'h200' too, which the file lacks",
    ]
    assert drift(ours, ours) == []


def test_taking_over_slurms_facts_keeps_what_people_chose() -> None:
    now = found("22.05")
    pool = replace(now.pools[0], nodes=9, usd_per_gpu_h=1.5, use=False)
    ours = replace(
        now, pools=(pool, *now.pools[1:]), account="teaching", setup=("module load x",), mode="steps"
    )
    made = merged(ours, now)
    assert made.pools[0] == replace(now.pools[0], usd_per_gpu_h=1.5, use=False)
    assert (made.account, made.setup, made.mode) == ("teaching", ("module load x",), "steps")


def test_an_answer_that_is_none_is_refused() -> None:
    with pytest.raises(LaunchError, match="is of an unknown form"):
        parse_sinfo_json('{"sinfo": [{}]}')
    with pytest.raises(LaunchError, match="no nodes or no partitions"):
        cluster_of(Answers(config="", partitions=""), HARDWARE)


@pytest.mark.parametrize("version", VERSIONS)
def test_accountings_jobs_become_waits(version: str) -> None:
    samples, first, last = parse_past((FIXTURES / version / "sacct.txt").read_text())
    assert [(s.partition, s.nodes, s.walltime_s, s.wait_s, s.started) for s in samples] == [
        ("a100", 1, 1800.0, 0.0, True),
        ("spot", 2, 3600.0, 0.0, True),
        ("h200", 1, 600.0, 0.0, True),
        ("h200", 1, 6000.0, 3.0, False),  # cancelled while it waited
    ]
    assert 0 < first <= last


def test_evictions_are_counted_over_the_hours_of_preemptible_jobs() -> None:
    text = (
        "1|spot|1|2026-11-01T00:00:00|2026-11-01T01:00:00|2026-11-01T03:00:00|60|PREEMPTED|x\n"
        "2|spot|1|2026-11-01T00:00:00|2026-11-01T01:00:00|2026-11-01T02:00:00|60|COMPLETED|x\n"
        "3|a100|1|2026-11-01T00:00:00|2026-11-01T01:00:00|2026-11-01T02:00:00|60|PREEMPTED|x\n"
    )
    assert evictions(text, frozenset({"spot"})) == (1, 3.0)
