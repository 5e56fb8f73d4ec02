"""Baselines of StreamWise's evaluation: what they allocate, and that none is worse than the published one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.options import Option, Station
from hpcwise.core.provisioner.provision import provision
from hpcwise.core.provisioner.shapes import WorkflowFile
from hpcwise.core.provisioner.types import Objective, Plan
from hpcwise.evaluation import comparison
from hpcwise.evaluation.baselines import ditonly, helix, hexgen, monolithic, naive, ways
from hpcwise.evaluation.baselines.maxima import maxima, provision_in_turn, stage_s
from hpcwise.evaluation.baselines.optimal import GAP, cheapest
from hpcwise.evaluation.published import read_published
from hpcwise.evaluation.run import Context, label, pools_of
from hpcwise.head.planning import read_planning
from hpcwise.head.settings import read_file

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FAIR = 1.15


@pytest.fixture(scope="module")
def context() -> Context:
    catalogue = read_planning(CONFIGS, "streamwise")
    flows = read_file(CONFIGS / "workflows.yaml", WorkflowFile).workflows
    return Context(catalogue, catalogue, flows, read_published(CONFIGS))


def of(plan: Plan) -> dict[str, list[tuple[str, int, int]]]:
    found: dict[str, list[tuple[str, int, int]]] = {}
    for row in plan.replicas:
        found.setdefault("+".join(row.stages), []).append((row.pool, row.devices, row.n))
    return found


def test_naive_gives_each_model_a_device_and_lip_sync_four(context: Context) -> None:
    work = ways.restricted(context, upscale=False, split=False)
    one = [("a100", 1, 1)]
    assert of(naive.plan(context, work, pools_of({"a100": 8}))) == {
        "screenplay": one, "speech": one, "image": one, "sketch": one, "sync": [("a100", 1, 4)],
    }  # fmt: skip


def test_a_second_kind_of_gpu_holds_video_models_only_under_naive(context: Context) -> None:
    work = ways.restricted(context, upscale=False, split=False)
    found = of(naive.plan(context, work, pools_of({"a100": 64, "h200": 16})))
    assert {stage for stage, rows in found.items() if any(pool == "h200" for pool, _, _ in rows)} == {
        "sketch", "sync",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("series", "upscale", "split", "plan", "worse", "better"),
    [
        ("naive", False, False, naive.plan, FAIR, 0.75),
        ("naive_hardware", False, False, naive.plan, FAIR, 0.75),
        ("naive_disag", False, True, ditonly.plan, FAIR, 0.85),
        ("naive_upscaler", True, False, naive.plan, FAIR, 0.85),
        ("llm-ddit", False, True, ditonly.plan, FAIR, 0.85),
        # Solved to the optimum, where the artifact's stop after a time; and two of its budgets are better.
        ("llm-helix", False, True, helix.plan, FAIR, 0.5),
        # A genetic search that goes on, where the artifact's port stops early.
        ("llm-hexgen", False, True, hexgen.plan, FAIR, 0.5),
    ],
)
def test_no_baseline_is_more_than_15_percent_dearer_than_published(
    context: Context, series: str, upscale: bool, split: bool, plan: Callable[..., Plan], worse: float,
    better: float,
) -> None:  # fmt: skip
    work = ways.restricted(context, upscale=upscale, split=split)
    ratios = {}
    for budget in comparison.ALL:
        theirs = context.budget(series, **budget)
        if theirs is None:
            continue
        pools = pools_of(budget, spot=False)
        made = plan(context, work, pools, prices="artifact")
        mine = maxima(context.problem(work, pools, prices="artifact"), made)
        ratios[label(budget)] = mine.cost_usd / theirs.cost_usd
    assert len(ratios) >= 3
    assert {name: ratio for name, ratio in ratios.items() if not better <= ratio <= worse} == {}


@settings(max_examples=12, deadline=None)
@given(st.integers(8, 96), st.sampled_from([0, 8, 24]), st.sampled_from(["naive", "ddit", "helix", "hexgen"]))
def test_baselines_sell_no_gpu_twice_and_leave_no_stage_out(n: int, fast: int, name: str) -> None:
    shared = _shared()
    plans = {"naive": naive.plan, "ddit": ditonly.plan, "helix": helix.plan, "hexgen": hexgen.plan}
    work = ways.restricted(shared, upscale=False, split=name != "naive")
    budget = {"a100": n} | ({"h100": fast} if fast else {})
    made = plans[name](shared, work, pools_of(budget))
    assert all(made.estimate.devices[pool] <= budget[pool] for pool in made.estimate.devices)
    stages = {stage.name for stage in work.variants[0].stages if stage.fixed_s is None}
    assert {stage for row in made.replicas for stage in row.stages} == stages


_CONTEXTS: list[Context] = []


def _shared() -> Context:
    """hypothesis takes no fixtures that are made anew; this one is only read."""
    if not _CONTEXTS:
        catalogue = read_planning(CONFIGS, "streamwise")
        flows = read_file(CONFIGS / "workflows.yaml", WorkflowFile).workflows
        _CONTEXTS.append(Context(catalogue, catalogue, flows))
    return _CONTEXTS[0]


@pytest.mark.parametrize("plan", [naive.plan, ditonly.plan, helix.plan, hexgen.plan])
def test_fewer_devices_than_models_are_refused_in_one_line(
    context: Context, plan: Callable[..., Plan]
) -> None:
    work = ways.restricted(context, upscale=False, split=True)
    with pytest.raises(UsageError, match="add devices") as error:
        plan(context, work, pools_of({"a100": 4}))
    assert "\n" not in str(error.value)


def test_hexgen_finds_the_same_plan_again(context: Context) -> None:
    work, pools = ways.restricted(context, upscale=False, split=True), pools_of({"a100": 24})
    assert hexgen.plan(context, work, pools) == hexgen.plan(context, work, pools)


def test_helix_lets_early_models_starve_the_late_ones(context: Context) -> None:
    work = ways.restricted(context, upscale=False, split=True)
    found = of(helix.plan(context, work, pools_of({"a100": 8})))
    assert found["sketch"] == [("a100", 1, 3)]
    assert found["sync"] == [("a100", 1, 1)]


def test_ddit_wants_dit_and_vae_apart(context: Context) -> None:
    with pytest.raises(UsageError, match="split"):
        ditonly.plan(context, ways.restricted(context, upscale=False, split=False), pools_of({"a100": 16}))


def test_one_model_is_all_there_is_of_the_monolith_and_on_one_kind_of_gpu(context: Context) -> None:
    work = monolithic.work(context)
    made = monolithic.plan(context, work, pools_of({"a100": 64}))
    assert of(made) == {"sync": [("a100", 1, 64)]}
    assert made.replicas[0].models == ("fantasytalking",)
    with pytest.raises(UsageError, match="one kind"):
        monolithic.plan(context, work, pools_of({"a100": 8, "h100": 8}))


def test_without_an_upscaler_four_times_the_pixels_are_drawn(context: Context) -> None:
    [small] = ways.restricted(context, upscale=True, split=True).variants
    [large] = ways.restricted(context, upscale=False, split=True).variants
    mpx = {
        variant.name: {s.name: s.features["frame_mpx"] * s.features["steps"] for s in variant.stages
                       if s.name in ("sketch", "decode", "sync")}
        for variant in (small, large)
    }  # fmt: skip
    for stage, before in mpx["upscaled, split"].items():
        assert mpx["direct, split"][stage] == pytest.approx(4 * before)


def option(unit_s: float, units: int) -> Option:
    return Option(
        pool=0, devices=1, nodes=1, first_s=(unit_s,), work_s=unit_s * (units - 1), usd_per_h=1.0, busy_w=0.0,
        idle_w=0.0, late_s=0.0, risk=0.0,
    )  # fmt: skip


def test_a_stage_takes_as_long_as_its_slowest_replica_with_whole_units() -> None:
    station = Station(
        stages=(0,), names=("sync",), models=("m",), serial=False, units=5,
        options=(option(10.0, 5), option(30.0, 5)),
    )  # fmt: skip
    # Shares of 3.75 and 1.25 units become 4 of 10 s and 2 of 30 s.
    assert stage_s(station, {0: 1, 1: 1}) == 60.0
    assert stage_s(station, {0: 1}) == 50.0
    assert stage_s(station, {0: 10}) == 10.0


def test_the_papers_estimate_adds_stages_and_bills_whole_nodes_for_all_of_it(context: Context) -> None:
    work, pools = ways.restricted(context, upscale=False, split=False), pools_of({"a100": 8})
    asked = context.problem(work, pools, prices="artifact")
    found = maxima(asked, naive.plan(context, work, pools, prices="artifact"))
    assert found.total_s == pytest.approx(sum(each_s for _, each_s in found.stages))
    assert found.ttff_s == pytest.approx(found.total_s - work.film_s)
    assert found.cost_usd == pytest.approx(8 * 1.07 * found.total_s / 3600)
    assert dict(found.stages)["document"] == 1.2


def test_more_ways_to_make_the_film_never_make_our_plan_dearer(context: Context) -> None:
    pools = pools_of({"a100": 24, "h100": 8})
    value = {}
    for split in (False, True):
        work = ways.ours(context, split=split)
        asked = context.problem(work, pools)
        value[split] = maxima(asked, provision_in_turn(asked)).cost_x_ttff
    assert value[True] <= value[False]


def test_the_optimum_lies_between_its_bound_and_the_greedy_plan(context: Context) -> None:
    work, pools = ways.restricted(context, upscale=True, split=True), pools_of({"a100": 24, "h100": 8})
    asked = context.problem(work, pools, fluid=True)
    limit_s = 600.0
    greedy = provision(asked, Objective(name="cost", ttff_s=limit_s))
    found = cheapest(asked, limit_s, greedy, most=25)
    assert not found.plan.misses
    assert found.bound_usd <= found.plan.estimate.cost_usd <= greedy.estimate.cost_usd
    assert found.bound_usd >= (1 - GAP) * found.plan.estimate.cost_usd or found.solves == 25


def test_spot_is_the_same_plan_for_less(context: Context) -> None:
    work = monolithic.work(context)
    system = comparison.system(context, "one model", work, "monolith", [{"a100": 256}], spot=False)
    cheaper = system.priced("spot", True)
    for judge in comparison.JUDGES:
        assert comparison.ratios(cheaper, system, judge, "start") == [1.0]
        assert comparison.ratios(cheaper, system, judge, "cost") == [pytest.approx(1.07 / 3.4)]
    table = comparison.table("t", context, [system, cheaper])
    assert [row[:3] for row in table.rows] == [
        ("one model", "256 A100", "reserved"), ("spot", "256 A100", "spot"),
    ]  # fmt: skip


def test_means_of_nothing_are_refused(context: Context) -> None:
    assert comparison.mean([2.0, 8.0]) == pytest.approx(4.0)
    assert math.isclose(comparison.mean([3.0]), 3.0)
    with pytest.raises(UsageError, match="no budget in common"):
        comparison.mean([])
    with pytest.raises(UsageError, match="enlarged"):
        flows = {"slide": msgspec.structs.replace(context.workflows["slide"], upscale=False)}
        ways.restricted(Context(context.catalogue, context.fitted, flows), "slide", upscale=True, split=True)
