"""`hpcwise simulate`: when a job would be ready, and what it would cost, before anything is submitted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hpcwise.cli.completion import profile_sets
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import given, json_option, picture_file
from hpcwise.cli.specfile import relative
from hpcwise.cli.submit import job_options, load
from hpcwise.cli.values import format_s, printable
from hpcwise.core import messages as m
from hpcwise.core.errors import UsageError
from hpcwise.sim.results import SimResult

_MOST_ROWS: Final = 20
_EXIT_FAILED: Final = 1


@click.command("simulate")
@click.argument("spec", metavar="DOCUMENT|SPEC", type=click.Path(path_type=Path))
@job_options
@click.option(
    "--cluster",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Workers, their queues and faults (YAML).",
)
@click.option("--fleet", metavar="a100=8,h200=4", help="Devices; the models are shared out by their work.")
@click.option(
    "--profiles", default="streamwise", metavar="SET", show_default=True, shell_complete=profile_sets,
    help="With --fleet: profiles of configs/profiles/.",
)  # fmt: skip
@click.option("--sim-seed", type=click.IntRange(0), default=0, metavar="N", help="Seed of noise and faults.")
@click.option(
    "--requests", type=click.IntRange(1, 100_000), default=1, metavar="N", help="So many such jobs."
)
@click.option("--per-hour", type=float, metavar="RATE", help="With --requests: they arrive at this rate.")
@click.option(
    "--set", "knobs", multiple=True, metavar="NAME=VALUE",
    help="A field of the simulation, such as noise_sigma=0.1, warm=no or failure_rate=0.01.",
)  # fmt: skip
@click.option(
    "--gantt", type=click.Path(path_type=Path), metavar="FILE", help="Write the picture (PNG) here."
)
@click.option(
    "--provision/--no-provision", default=False,
    help="Let the provisioner say how many workers there are and what they hold, as on a cluster.",
)  # fmt: skip
@json_option
def simulate_command(
    spec: Path,
    cluster: Path | None,
    fleet: str | None,
    profiles: str,
    sim_seed: int,
    requests: int,
    per_hour: float | None,
    knobs: tuple[str, ...],
    gantt: Path | None,
    provision: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Say when the film of DOCUMENT or SPEC would be ready, and what it would cost; nothing is submitted.

    The engine that the head runs decides everything; only time is imagined, by the models' profiles.
    Without --cluster or --fleet: the workers of head.yaml, which `hpcwise generate` would start here.
    Exit code 1 where a request would not end with a film.
    """
    if cluster is not None and fleet is not None:
        raise UsageError("simulate: --cluster and --fleet are both given; choose one")
    if (per_hour is None) != (requests == 1):
        raise UsageError("simulate: --requests and --per-hour belong together; give both or neither")
    if fleet is None and given("profiles"):
        raise UsageError("--profiles: belongs to --fleet; add --fleet, or leave it out")
    picture_file("--gantt", gantt)
    if provision and fleet is not None:
        raise UsageError(
            "simulate: --fleet gives each device its model; name workers to choose from, --cluster"
        )
    loaded = load(spec, options, to_plan=True)
    from hpcwise.cli import simcluster
    from hpcwise.sim.arrivals import at_once, poisson
    from hpcwise.sim.simulation import Simulation
    from hpcwise.sim.workload import Workload

    job, now_s = loaded.job, time.time()
    workload = Workload(shots_a_scene=1, shot_s=14.0) if job.workflow == "streamwise-podcast" else Workload()
    if cluster is not None:
        config = simcluster.of_file(cluster)
    elif fleet is not None:
        config = simcluster.of_devices(fleet, job, workload, profiles)
    else:
        config = simcluster.of_this_machine()
    config = simcluster.with_knobs(config, _knobs(knobs), "--set")
    config = msgspec.structs.replace(config, seed=sim_seed, wall0_s=now_s)
    name = job.name or spec.stem
    arrivals = (
        at_once(job, name) if per_hour is None else poisson(job, requests, per_hour, sim_seed, wall0_s=now_s)
    )
    records: list[tuple[float, m.Event, list[m.Command]]] = []
    watch = (lambda at_s, event, commands: records.append((at_s, event, commands))) if gantt else None
    online = None
    if provision:
        from hpcwise.sim.provisioning import online_of

        engine = msgspec.structs.replace(config.engine, planned=True)
        config = msgspec.structs.replace(config, engine=engine)
        online = online_of(config)
    result = Simulation(config, arrivals, workload, provision=online, watch=watch).run()
    if gantt is not None:
        _draw(records, now_s, gantt, name)
    paid = {config.site(item.kind).spot for item in config.engine.fleet}
    prices = "reserved and spot" if len(paid) == 2 else "spot" if True in paid else "reserved"
    guessed = _unmeasured(config.engine.catalogue, config.engine.fleet, job)
    if as_json:
        print_json({"result": result, "unmeasured": guessed, "prices": prices, "gantt": gantt and str(gantt)})
    else:
        _print(result, guessed, gantt, prices)
    return 0 if all(r.state == "done" for r in result.requests) else _EXIT_FAILED


def _knobs(pairs: tuple[str, ...]) -> dict[str, float | bool]:
    found: dict[str, float | bool] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if value in ("yes", "no"):
            found[name] = value == "yes"
            continue
        try:
            found[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(f"--set: {pair!r} is not NAME=NUMBER or NAME=yes|no")
    return found


def _unmeasured(catalogue: Any, fleet: Any, job: Any) -> list[str]:
    """Pairs of model and hardware that the job may use and nobody has measured: counted as one second."""
    from hpcwise.core import planner, streamcast

    if job.workflow == "graph":
        names = {task.model for task in job.graph}
    elif job.workflow == "streamwise-podcast":
        names = set({**streamcast.STAGE_MODELS, **job.models}.values())
    else:
        names = {planner.models_of(job, stage)[0] for stage in planner.STAGE_MODELS}
    pairs = {(x, item.hardware) for item in fleet if item.max_workers for x in item.models if x in names}
    return sorted(
        f"{model} on {hardware}" for model, hardware in pairs if not _known(catalogue, model, hardware)
    )


def _known(catalogue: Any, model: str, hardware: str) -> bool:
    return model in catalogue.models and hardware in catalogue.models[model].profiles


def _draw(
    records: list[tuple[float, m.Event, list[m.Command]]], wall0_s: float, path: Path, name: str
) -> None:
    from hpcwise.cli.gantt import draw
    from hpcwise.cli.timebuild import build
    from hpcwise.head.ledger import Record
    from hpcwise.store.paths import storage_errors

    timeline = build(
        Record(at_s, wall0_s + at_s, event, tuple(commands)) for at_s, event, commands in records
    )
    with storage_errors(path):
        draw(timeline, path, printable(f"{name} (simulated)", 60))


def _print(result: SimResult, guessed: list[str], gantt: Path | None, prices: str) -> None:
    out = console()
    one = result.requests[0]
    if len(result.requests) == 1:
        for line in _lines(result, prices):
            out.print(line, markup=False)
    else:
        columns = ("request", "state", "SLO", "met", "ready", "first frame", "stall-free", "cost")
        rows = [
            (
                r.request_id, r.state, r.slo, {True: "yes", False: "no", None: "-"}[r.slo_met],
                _time(r.ready_s), _time(r.ttff_s), _time(r.ttff_stall_free_s), f"${r.cost_usd:.2f}",
            )
            for r in result.requests[:_MOST_ROWS]
        ]  # fmt: skip
        out.print(table(columns, rows, right=("ready", "first frame", "stall-free", "cost")))
        if len(result.requests) > _MOST_ROWS:
            out.print(f"... and {len(result.requests) - _MOST_ROWS} more; --json has all", markup=False)
        done = sum(r.state == "done" for r in result.requests)
        out.print(f"{done} of {len(result.requests)} done; {_sums(result, prices)}", markup=False)
    out.print()
    kinds = [
        (
            k.kind, k.hardware, k.workers, k.devices, f"{100 * k.utilisation:.0f} %", format_s(k.held_s),
            f"${k.held_usd:.2f}",
        )
        for k in result.kinds
    ]  # fmt: skip
    of_kinds = ("kind", "hardware", "workers", "devices each", "busy", "held", "cost held")
    out.print(table(of_kinds, kinds, right=of_kinds[2:]))
    if result.plans:
        out.print(_plans(result), markup=False)
    if guessed:
        out.print(f"never measured, counted as 1 s: {', '.join(guessed)}", markup=False)
    if gantt is not None:
        out.print(f"gantt         {relative(gantt)}", markup=False)
    if one.state != "done" and len(result.requests) == 1:
        click.echo(f"hpcwise: {one.request_id}: {one.state}: {one.reason}", err=True)


def _plans(result: SimResult) -> str:
    taken = f"; {result.taken_back} launches taken back" if result.taken_back else ""
    return f"plans         {result.plans}{taken}"


def _lines(result: SimResult, prices: str) -> list[str]:
    [r] = result.requests
    lines = [f"asked for     {r.slo}" + {True: "; kept", False: "; missed", None: ""}[r.slo_met]]
    lines.append(
        f"ready         {_time(r.ready_s)}" + (f" for {format_s(r.film_s)} of film" if r.film_s else "")
    )
    if r.ttff_s is not None:
        lines.append(f"first frame   {format_s(r.ttff_s)}; stall-free {_time(r.ttff_stall_free_s)}")
    if r.stalls:
        lines.append(
            f"stalls        {r.stalls}, {format_s(r.stall_s)} in all, if played from the first frame"
        )
    if r.degraded:
        lines.append(f"quality       {r.degraded} of {r.shots} shots below the best tier")
    return [*lines, *_sums(result, prices).split("; ")]


def _sums(result: SimResult, prices: str) -> str:
    kwh = result.energy_j / 3.6e6
    return (
        f"cost          ${result.busy_usd:.4f} while working, ${result.held_usd:.4f} for all workers held; "
        f"prices        {prices}, by the second; "
        f"energy        {kwh:.3f} kWh with idle power; "
        f"utilisation   {100 * result.utilisation:.0f} % of {result.workers} workers"
    )


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_s(seconds)
