"""Plans: properties of every plan, what more hardware, limits, regions and evictions change, and errors."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcwise.core.catalogue import Catalogue, Link
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.check import provision_checked
from hpcwise.core.provisioner.fleet import fleet_of, present_of, wanted
from hpcwise.core.provisioner.pareto import frontier
from hpcwise.core.provisioner.provision import problem, provision
from hpcwise.core.provisioner.shapes import work_of_job
from hpcwise.core.provisioner.types import OBJECTIVES, Objective, Plan, Pool, Work
from hpcwise.core.resources import Rank, WorkerInfo
from hpcwise.core.units import HOUR_S
from hpcwise.sim.planrun import Executed, execute
from hpcwise.sim.workload import paper_job
from tests.core.provisioner.cases import clusters, film, made_up, paper, pools, workflow

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def planned(pools: tuple[Pool, ...], goal: Objective | None = None, work: Work | None = None) -> Plan:
    return provision(problem(work or film(), pools, made_up()), goal)


def value(plan: Plan) -> float:
    return plan.estimate.cost_usd * plan.estimate.ttff_eff_s


def devices(plan: Plan) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in plan.replicas:
        found[row.pool] = found.get(row.pool, 0) + row.n * row.devices
    return found


@FEW
@given(pools=clusters(), name=st.sampled_from(OBJECTIVES))
def test_no_gpu_is_sold_twice_and_no_replica_is_over_memory(pools: tuple[Pool, ...], name: str) -> None:
    catalogue = made_up()
    plan = provision(problem(film(), pools, catalogue), Objective(name=name))  # type: ignore[arg-type]
    used = devices(plan)
    assert used == plan.estimate.devices
    assert all(used.get(pool.name, 0) <= pool.devices for pool in pools)
    hardware = {pool.name: catalogue.hardware[pool.hardware] for pool in pools}
    for row in plan.replicas:
        held_gb = sum(catalogue.models[model].memory_gb for model in row.models)
        assert held_gb <= hardware[row.pool].memory_gb
        assert row.devices in (1, 2, 4, 8) and row.nodes == 1 and row.n >= 1
    assert {stage for row in plan.replicas for stage in row.stages} == {"write", "draw", "move"}


@FEW
@given(pools=clusters())
def test_the_cost_is_the_sum_of_its_replicas(pools: tuple[Pool, ...]) -> None:
    catalogue = made_up()
    plan = provision(problem(film(), pools, catalogue))
    by_name = {pool.name: pool for pool in pools}
    usd_per_h = 0.0
    for row in plan.replicas:
        pool = by_name[row.pool]
        info = catalogue.hardware[pool.hardware]
        usd_per_h += row.n * row.devices * (info.spot_usd_per_h if pool.spot else info.usd_per_h)
    e = plan.estimate
    assert e.usd_per_h == pytest.approx(usd_per_h)
    assert e.cost_usd == pytest.approx(usd_per_h * e.ready_s / HOUR_S)
    assert e.ttff_eff_s >= e.ttff_s and e.ready_s >= e.ttff_s


@FEW
@given(pools=clusters(), name=st.sampled_from(OBJECTIVES))
def test_equal_questions_get_equal_plans_within_their_steps(pools: tuple[Pool, ...], name: str) -> None:
    asked = problem(film(), pools, made_up())
    goal = Objective(name=name)  # type: ignore[arg-type]
    one, two = provision(asked, goal), provision(problem(film(), pools, made_up()), goal)
    assert msgspec.json.encode(one) == msgspec.json.encode(two)
    assert provision(asked, goal, iterations=50).steps <= 50


@FEW
@given(pools=clusters(), more=st.integers(1, 24), which=st.integers(0, 2))
def test_more_hardware_never_makes_the_plan_worse(pools: tuple[Pool, ...], more: int, which: int) -> None:
    before = planned(pools)
    grown = list(pools)
    i = which % len(grown)
    grown[i] = msgspec.structs.replace(grown[i], devices=grown[i].devices + more)
    after = provision(problem(film(), grown, made_up()), warm_starts=(before,))
    # Evictions are less alike in a larger zone's share, so only the plan's own judgement can be compared.
    if not any(pool.together for pool in pools):
        assert value(after) <= value(before) * (1 + 1e-9)


@FEW
@given(pools=clusters())
def test_no_point_of_the_frontier_is_dominated(pools: tuple[Pool, ...]) -> None:
    points = frontier(problem(film(), pools, made_up()), 400, limits=2)
    keys = [(p.cost_usd, p.ttff_eff_s, p.energy_kwh) for p in points]
    assert keys == sorted(keys)
    for a in keys:
        assert not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in keys)
    assert all(point.why for point in points)


def test_each_limit_is_kept_and_the_cheapest_plan_that_keeps_it_costs_no_more_than_a_stricter_one() -> None:
    free = planned(pools(slow=32, fast=16))
    fast = planned(pools(slow=32, fast=16), Objective(name="ttff"))
    assert fast.estimate.ttff_eff_s <= free.estimate.ttff_eff_s
    costs = []
    for factor in (1.2, 2.0, 4.0):
        limit_s = fast.estimate.ttff_eff_s * factor
        plan = planned(pools(slow=32, fast=16), Objective(name="cost", ttff_s=limit_s))
        assert plan.misses == () and plan.estimate.ttff_eff_s <= limit_s
        costs.append(plan.estimate.cost_usd)
    assert costs == sorted(costs, reverse=True)
    budget = planned(pools(slow=32, fast=16), Objective(name="ttff", budget_usd=costs[1]))
    assert budget.misses == () and budget.estimate.cost_usd <= costs[1]
    power_w = free.estimate.peak_w / 2
    capped = planned(pools(slow=32, fast=16), Objective(power_w=power_w))
    assert capped.misses == () and capped.estimate.peak_w <= power_w
    ready = planned(pools(slow=32, fast=16), Objective(name="cost", ready_s=free.estimate.ready_s))
    assert ready.misses == () and ready.estimate.cost_usd <= free.estimate.cost_usd + 1e-9


def test_a_limit_that_nothing_keeps_gives_the_closest_plan_and_says_so() -> None:
    plan = planned(pools(slow=8), Objective(name="cost", ttff_s=1.0))
    fastest = planned(pools(slow=8), Objective(name="ttff"))
    assert plan.estimate.ttff_eff_s == pytest.approx(fastest.estimate.ttff_eff_s, rel=0.02)
    [miss] = plan.misses
    assert miss.startswith("first frame without a stall: ") and "at most 1 s is asked for" in miss


def test_a_lower_tier_is_planned_only_where_a_higher_one_misses_the_limit() -> None:
    job = paper_job(ladder=("high", "medium", "low"), fixed_ladder=False)
    asked = problem(work_of_job(job), pools(a100=64), paper())
    assert provision(asked, Objective(name="cost", ttff_s=1000.0)).tier == "high"
    strict = provision(asked, Objective(name="cost", ttff_s=30.0))
    assert (strict.tier, strict.misses) == ("low", ())


def test_replicas_that_stand_already_are_kept_where_new_ones_would_first_load() -> None:
    cold = (Pool(name="slow", hardware="slow", devices=8, queue_s=600.0, warm=False),)
    anew = planned(cold)
    assert anew.estimate.ttff_s > 620
    kept = provision(problem(film(), cold, made_up(), present=anew))
    assert kept.estimate.ttff_s < 60
    assert value(kept) < value(anew)
    # Two pools more that take an hour to come: the present plan goes on.
    late = (*cold, Pool(name="fast", hardware="fast", devices=64, queue_s=36000.0, warm=False))
    assert devices(provision(problem(film(), late, made_up(), present=kept))).get("fast", 0) == 0


def test_evictions_are_insured_against_by_more_replicas_and_zones_of_their_own_need_fewer() -> None:
    def cost(**fields: float) -> tuple[float, float]:
        pool = Pool(name="a", hardware="slow", devices=64, spot=True, queue_s=300.0, **fields)  # type: ignore[arg-type]
        e = planned((pool,), Objective(name="cost", ready_s=120.0)).estimate
        return e.cost_usd, e.risk_usd

    calm, risky, alike = cost(), cost(evictions_per_h=1.0), cost(evictions_per_h=1.0, together=1.0)
    assert calm[1] == 0 < risky[1] < alike[1]
    assert calm[0] < risky[0] < alike[0]


def test_stages_that_belong_together_stay_in_one_region_and_a_slow_link_is_paid_for() -> None:
    two = (
        Pool(name="west", hardware="slow", devices=16, region="west"),
        Pool(name="east", hardware="fast", devices=16, region="east"),
    )

    def plan(gb_per_s: float, near: str) -> Plan:
        link = Link(a="west", b="east", gb_per_s=gb_per_s, latency_s=0.05)
        return provision(problem(film(near=near), two, made_up(links=(link,))), Objective(name="ttff"))

    together = plan(10.0, "pair")
    at = {stage: {r.pool for r in together.replicas if stage in r.stages} for stage in ("draw", "move")}
    assert at["draw"] == at["move"] and len(at["draw"]) == 1
    free, slow = plan(10.0, ""), plan(1e-4, "")
    assert slow.estimate.ttff_eff_s >= free.estimate.ttff_eff_s
    regions = {r.pool for r in slow.replicas if r.stages != ("write",)}
    assert len(regions) == 1


@pytest.mark.parametrize(
    ("clusters", "catalogue", "line"),
    [
        ((), made_up(), "cluster: has no devices; give at least one pool and a number of 1 or more"),
        (pools(slow=0), made_up(),
         "cluster: has no devices; give at least one pool and a number of 1 or more"),
        (pools(slow=2), made_up(),
         "cluster: 2 devices are too few for 'film', which needs 3 replicas; add devices"),
        (pools(other=8), made_up(),
         "cluster.other: hardware 'other' is not in hardware.yaml; known are slow, fast"),
        (pools(slow=8), made_up(big_gb=81),
         "model: 'draw' (81 GB, at 640x400) fits none of slow (80 GB); "
         "add hardware with more memory, or choose another model or size"),
        ((Pool(name="a", hardware="slow", devices=8, region="x"),
          Pool(name="b", hardware="slow", devices=8, region="y")), made_up(),
         "cluster.region: 'x' and 'y' have no link; add one to links in hardware.yaml"),
        ((Pool(name="a", hardware="slow", devices=8, queue_s=float("nan")),), made_up(),
         "cluster.a.queue_s: nan is not usable; give 0 or more"),
    ],
)  # fmt: skip
def test_what_can_not_be_planned_is_one_line(
    clusters: tuple[Pool, ...], catalogue: Catalogue, line: str
) -> None:
    with pytest.raises(UsageError) as error:
        provision(problem(film(), clusters, catalogue))
    assert str(error.value) == line


def test_a_plan_tells_the_engine_how_many_of_each_kind_it_wants() -> None:
    given_pools = pools(slow=32, fast=16)
    plan = planned(given_pools)
    fleet = fleet_of(plan, given_pools, made_up())
    assert wanted(plan, fleet, given_pools) == {item.kind: item.max_workers for item in fleet}
    smaller = msgspec.structs.replace(fleet[0], max_workers=1, kind="half")
    other = msgspec.structs.replace(fleet[0], hardware="none", kind="other")
    assert wanted(plan, (smaller, other), given_pools) == {"half": 1, "other": 0}


def test_workers_that_joined_are_the_present_plan() -> None:
    rank = Rank("n", tuple(range(2)))
    workers = [
        WorkerInfo(worker_id=f"w{i}", kind="k", hardware="slow", ranks=(rank,), loaded=("draw",), spot=True)
        for i in range(3)
    ]
    [row] = present_of(workers, pools(slow=16)).replicas
    assert (row.models, row.pool, row.devices, row.n) == (("draw",), "slow", 2, 3)


@pytest.mark.parametrize(("name", "budget"), [("podcast", {"a100": 48, "h200": 16}), ("slide", {"a100": 16})])
def test_the_engine_makes_what_the_estimate_says(name: str, budget: dict[str, int]) -> None:
    plan = provision(problem(workflow(name), pools(**budget), paper()))
    done = execute(plan, workflow(name), pools(**budget), paper())
    assert done.ttff_s == pytest.approx(plan.estimate.ttff_s, rel=0.01)
    assert done.ready_s == pytest.approx(plan.estimate.ready_s, rel=0.15)
    assert done.cost_usd == pytest.approx(plan.estimate.cost_usd, rel=0.15)


def test_the_engine_has_the_last_word_on_which_plan_is_taken() -> None:
    work, budget = workflow("chat"), pools(a100=8)
    asked = problem(work, budget, paper())
    tried: list[float] = []

    def carry_out(plan: Plan) -> Executed:
        done = execute(plan, work, budget, paper())
        tried.append(done.cost_x_ttff)
        return done

    plan, done = provision_checked(asked, carry_out)
    assert len(tried) == 2 and tried[1] < tried[0]
    assert done.cost_x_ttff == tried[1] == execute(plan, work, budget, paper()).cost_x_ttff
    strict, made = provision_checked(asked, carry_out, Objective(name="cost", ttff_s=done.ttff_eff_s / 10))
    assert strict.misses == (
        f"first frame without a stall: {made.ttff_eff_s:.4g} s where at most "
        f"{done.ttff_eff_s / 10:g} s is asked for",
    )


def test_counting_whole_units_beats_the_fluid_when_the_engine_carries_both_out() -> None:
    budget = pools(a100=96, h200=32)
    work = workflow("podcast")

    def carried_out(fluid: bool) -> float:
        plan = provision(problem(work, budget, paper(), fluid=fluid))
        return execute(plan, work, budget, paper()).cost_x_ttff

    assert carried_out(fluid=False) < 0.7 * carried_out(fluid=True)


def test_a_limit_that_the_engine_misses_is_kept_by_a_plan_for_a_stricter_one() -> None:
    work, budget = workflow("podcast"), pools(a100=256, h200=64)
    asked = problem(work, budget, paper())
    goal = Objective(name="cost", ttff_s=30.0)
    hopeful = provision(asked, goal)
    assert hopeful.misses == () and execute(hopeful, work, budget, paper()).ttff_eff_s > 30.0
    plan, done = provision_checked(asked, lambda plan: execute(plan, work, budget, paper()), goal)
    assert (plan.misses, plan.objective) == ((), goal) and done.ttff_eff_s <= 30.0


def test_a_power_cap_is_kept_by_lower_clocks_where_fewer_devices_would_be_worse() -> None:
    work, budget = workflow("podcast"), pools(a100=16)
    asked = problem(work, budget, paper())
    free = provision(asked, Objective(name="ready"), iterations=3000)
    cap_w = 0.6 * free.estimate.peak_w
    capped = provision(asked, Objective(name="ready", power_w=cap_w), iterations=3000)
    assert capped.misses == () and capped.estimate.peak_w <= cap_w
    assert any(row.mhz for row in capped.replicas)
    # The same cap by fewer devices alone: devices whose clocks were never measured.
    hardware = {
        name: msgspec.structs.replace(info, frequencies=()) for name, info in paper().hardware.items()
    }
    fixed = problem(work, budget, msgspec.structs.replace(paper(), hardware=hardware))
    fewer = provision(fixed, Objective(name="ready", power_w=cap_w), iterations=3000)
    assert not any(row.mhz for row in fewer.replicas)
    assert capped.estimate.ready_s < fewer.estimate.ready_s
    # The engine agrees about what slower devices cost in time.
    done = execute(capped, work, budget, paper())
    assert done.ready_s == pytest.approx(capped.estimate.ready_s, rel=0.15)
