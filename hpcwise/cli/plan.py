"""`hpcwise plan`: which replicas on which hardware make a film best, and what more money would buy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hpcwise.cli.completion import profile_sets
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import given, json_option, picture_file
from hpcwise.cli.specfile import relative
from hpcwise.cli.submit import job_options, load
from hpcwise.cli.values import format_s, parse_by, parse_duration_s, parse_usd
from hpcwise.core.catalogue import Catalogue, Link
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.check import provision_checked
from hpcwise.core.provisioner.explain import explain
from hpcwise.core.provisioner.pareto import Point, frontier
from hpcwise.core.provisioner.provision import ITERATIONS, problem, provision
from hpcwise.core.provisioner.shapes import work_of_job
from hpcwise.core.provisioner.types import OBJECTIVES, Objective, ObjectiveName, Plan, Pool, Work
from hpcwise.core.spec import By, JobSpec, Live
from hpcwise.sim.planrun import Executed

#: The closest plan was found, but it does not keep the limits.
_EXIT_MISSED: Final = 1


class PoolsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `--cluster` reads: pools of devices, and the links between their regions. profiles: a set of
    configs/profiles/, empty for the cards' own."""

    pools: tuple[Pool, ...]
    links: tuple[Link, ...] = ()
    profiles: str = "streamwise"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. executed: by the engine in the simulator, None with --no-check."""

    plan: Plan
    why: tuple[str, ...]
    executed: Executed | None
    frontier: tuple[Point, ...]
    prices: str
    plot: str | None


@click.command("plan")
@click.argument("spec", metavar="DOCUMENT|SPEC", type=click.Path(path_type=Path))
@job_options
@click.option(
    "--cluster", type=click.Path(path_type=Path), metavar="NAME|FILE",
    help="A Slurm site (configs/clusters/NAME.yaml): cost and time of each shape; or pools and links (YAML).",
)  # fmt: skip
@click.option("--fleet", metavar="a100=256,h200=64", help="Devices that there are, as one pool a kind.")
@click.option(
    "--profiles", default="streamwise", metavar="SET", show_default=True, shell_complete=profile_sets,
    help="With --fleet: profiles of configs/profiles/.",
)  # fmt: skip
@click.option("--spot/--reserved", default=True, show_default=True, help="With --fleet: which price.")
@click.option(
    "--objective", type=click.Choice(OBJECTIVES), default=None, metavar="NAME",
    help=f"What is minimised: {', '.join(OBJECTIVES)}. Default: cost with a deadline, else cost*ttff.",
)  # fmt: skip
@click.option("--start-within", metavar="TIME", help="Playback starts, never to stall, within so long.")
@click.option("--ready-by", metavar="TIME", help="The whole film is there in so long (2h), or by 08:00.")
@click.option("--budget-usd", metavar="USD", help="It costs no more.")
@click.option("--power-w", type=float, metavar="W", help="No more power, all devices at work.")
@click.option("--pareto", is_flag=True, help="The frontier of cost, first frame and energy too.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the frontier (PNG).")
@click.option(
    "--check/--no-check",
    default=True,
    help="Let the engine carry plans out in the simulator, and take the best.",
)
@click.option("--iterations", type=click.IntRange(1), default=ITERATIONS, show_default=True, metavar="N")
@json_option
def plan_command(
    spec: Path, cluster: Path | None, fleet: str | None, profiles: str, spot: bool,
    objective: ObjectiveName | None, start_within: str | None, ready_by: str | None, budget_usd: str | None,
    power_w: float | None, pareto: bool, plot: Path | None, check: bool, iterations: int, as_json: bool,
    **options: Any,
) -> int:  # fmt: skip
    """Plan replicas for the job of SPEC: models, sizes, hardware, cost and time, before anything is started.

    Without --cluster or --fleet: for the workers of head.yaml. Exit code 1 where no plan keeps the limits;
    the closest one is shown.
    """
    if cluster is not None and fleet is not None:
        raise UsageError("plan: --cluster and --fleet are both given; choose one")
    for option in ("profiles", "spot"):
        if fleet is None and given(option):
            flag = "--spot, --reserved" if option == "spot" else "--profiles"
            raise UsageError(f"{flag}: belongs to --fleet; add --fleet, or leave it out")
    picture_file("--plot", plot)
    now_s = time.time()
    job = load(spec, options, to_plan=True).job
    if cluster is not None and not cluster.suffix and len(cluster.parts) == 1 and not cluster.exists():
        from hpcwise.cli.contractplan import plan_shapes

        return plan_shapes(job, str(cluster), now_s, plot, as_json)
    pools, catalogue = _cluster(cluster, fleet, profiles, spot)
    work = work_of_job(job, EngineConfig(catalogue=catalogue))
    goal = _goal(job, objective, start_within, ready_by, budget_usd, power_w, now_s)
    asked = problem(work, pools, catalogue)
    executed: Executed | None = None
    if check:
        plan, executed = provision_checked(
            asked, lambda plan: _execute(plan, work, pools, catalogue), goal, iterations=iterations
        )
    else:
        plan = provision(asked, goal, iterations=iterations)
    points = frontier(asked, iterations) if pareto or plot is not None else ()
    if plot is not None:
        from hpcwise.cli.planplot import draw

        draw(points, plan, plot, work.name)
    paid = {pool.spot for pool in pools if pool.devices}
    prices = "reserved and spot" if len(paid) == 2 else "spot" if True in paid else "reserved"
    answer = Answer(
        plan=plan, why=explain(plan), executed=executed, frontier=points, prices=prices,
        plot=str(plot) if plot else None,
    )  # fmt: skip
    if as_json:
        print_json(answer)
    else:
        _print(answer, plot)
    return _EXIT_MISSED if plan.misses else 0


def _cluster(
    cluster: Path | None, fleet: str | None, profiles: str, spot: bool
) -> tuple[tuple[Pool, ...], Catalogue]:
    from hpcwise.cli.simcluster import devices_of
    from hpcwise.head.planning import read_planning
    from hpcwise.head.settings import find_configs, find_models_dir, read_file, read_settings

    if cluster is not None:
        made = read_file(cluster, PoolsFile)
        catalogue = read_planning(find_configs(), made.profiles)
        links = (*made.links, *catalogue.links)
        return made.pools, msgspec.structs.replace(catalogue, links=links)
    if fleet is not None:
        catalogue = read_planning(find_configs(), profiles)
        counts = devices_of(fleet)
        return tuple(Pool(name=k, hardware=k, devices=n, spot=spot) for k, n in counts.items()), catalogue
    settings = read_settings(find_configs(), find_models_dir()).engine
    found = tuple(
        Pool(
            name=item.kind, hardware=item.hardware, queue_s=item.launch_s, warm=False,
            devices=item.max_workers * max(1, item.nodes) * max(1, item.devices_per_node),
        )
        for item in settings.fleet
    )  # fmt: skip
    return found, settings.catalogue


def _goal(
    job: JobSpec, name: ObjectiveName | None, start_within: str | None, ready_by: str | None,
    budget_usd: str | None, power_w: float | None, now_s: float,
) -> Objective:  # fmt: skip
    """What the command line says, else what the job says."""
    ttff_s = _parsed("start-within", parse_duration_s, start_within)
    if ready_by and ":" in ready_by:
        ready_s = _parsed("ready-by", lambda text: parse_by(text, "", "", now_s).wall_s - now_s, ready_by)
    else:
        ready_s = _parsed("ready-by", parse_duration_s, ready_by)
    if ttff_s is None and ready_s is None and name is None:
        if isinstance(job.slo, Live):
            ttff_s = job.slo.ttff_s
        elif isinstance(job.slo, By):
            ready_s = job.slo.wall_s - now_s
    budget = _parsed("budget-usd", parse_usd, budget_usd) or job.budget_usd
    if power_w is not None and not 0 < power_w < float("inf"):
        raise UsageError(f"--power-w: {power_w} is not usable; give more than 0")
    for name_of, value in (("start-within", ttff_s), ("ready-by", ready_s)):
        if value is not None and value <= 0:
            raise UsageError(f"--{name_of}: {value:g} s is not usable; give more than 0")
    limited = ttff_s is not None or ready_s is not None
    return Objective(
        name=name or ("cost" if limited else "cost*ttff"), ttff_s=ttff_s, ready_s=ready_s, budget_usd=budget,
        power_w=power_w,
    )  # fmt: skip


def _parsed(name: str, parse: Callable[[str], float], text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"--{name}: {text!r} is not usable; {error}") from None


def _execute(plan: Plan, work: Work, pools: tuple[Pool, ...], catalogue: Catalogue) -> Executed:
    from hpcwise.sim.planrun import execute

    return execute(plan, work, pools, catalogue)


def _print(answer: Answer, plot: Path | None) -> None:
    out = console()
    plan, done = answer.plan, answer.executed
    e = plan.estimate

    def line(name: str, text: str) -> None:
        out.print(f"{name:<14}{text}", markup=False)

    for miss in plan.misses:
        line("misses", f"{miss}; this is the closest plan")
    line("made", f"{plan.tier} tier, {plan.variant}")
    line("first frame", _both(e.ttff_s, done.ttff_s if done else None))
    line("stall-free", _both(e.ttff_eff_s, done.ttff_eff_s if done else None))
    line("ready", _both(e.ready_s, done.ready_s if done else None))
    paid = f"${e.cost_usd:.2f}" + (f"; the engine: ${done.cost_usd:.2f}" if done else "")
    line("cost", f"{paid} ({answer.prices} prices, all devices held until it is ready)")
    line("energy", f"{e.energy_kwh:.2f} kWh; at most {e.peak_w / 1e3:.1f} kW")
    for each in answer.why:
        line("why", each)
    out.print()
    columns: tuple[str, ...] = ("models", "pool", "replicas", "devices each", "nodes each")
    rows: list[tuple[object, ...]] = [
        (" + ".join(r.models), r.pool, r.n, r.devices, r.nodes) for r in plan.replicas
    ]
    if any(r.mhz for r in plan.replicas):
        columns = (*columns, "clock")
        clocks = (f"{r.mhz} MHz" if r.mhz else "full" for r in plan.replicas)
        rows = [(*row, clock) for row, clock in zip(rows, clocks, strict=True)]
    out.print(table(columns, rows, right=columns[2:]))
    if answer.frontier:
        out.print()
        names = ("cost", "stall-free", "energy", "why")
        of_points = [
            (f"${p.cost_usd:.2f}", format_s(p.ttff_eff_s), f"{p.energy_kwh:.2f} kWh", "; ".join(p.why))
            for p in answer.frontier
        ]
        out.print(table(names, of_points, right=names[:3]))
    if plot is not None:
        line("plot", relative(plot))


def _both(expected_s: float, done_s: float | None) -> str:
    return format_s(expected_s) + (f"; the engine: {format_s(done_s)}" if done_s is not None else "")
