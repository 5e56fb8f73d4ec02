"""`hpcwise head`: the process that plans, one a run directory."""

from __future__ import annotations

import click

from hpcwise.cli.client import connect
from hpcwise.cli.completion import pools, sites
from hpcwise.cli.group import Group
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.values import format_bytes, format_s, printable
from hpcwise.wire import messages as w


@click.group("head", cls=Group)
def head_command() -> None:
    """The head plans, talks to workers and publishes films. It outlives this terminal."""


@head_command.command("start")
@run_dir_option
@click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N", help="Workers at most; default one a core."
)
@click.option(
    "--cluster", default="", metavar="NAME", shell_complete=sites,
    help="Submit the head as a job of this Slurm site (configs/clusters/NAME.yaml).",
)  # fmt: skip
@click.option("--here", is_flag=True, help="With --cluster: run the head here, its workers as Slurm jobs.")
@click.option(
    "--nodes", "nodes", multiple=True, metavar="POOL=N", shell_complete=pools,
    help="With steps: nodes of the allocation; repeat. Default: one of each pool.",
)  # fmt: skip
def start(run: Run, workers: int | None, cluster: str, here: bool, nodes: tuple[str, ...]) -> None:
    """Start a head in the background; says so if one runs already."""
    from hpcwise.cli.localhead import LocalHead, connect_ok

    if (here or nodes) and not cluster:
        raise click.UsageError("--here and --nodes: need --cluster NAME")
    running = connect_ok(run)
    if cluster and not here and not running:
        from hpcwise.cli.headjob import start_head_job

        job, said = start_head_job(run, cluster, _nodes(nodes), workers)
        running_now = connect_ok(run)
        click.echo(
            f"head: {said}" + ("" if running_now else "; it runs when Slurm lets it, jobs may be handed in")
        )
        click.echo(
            f"log: {run.paths.logs / 'head-job.out'}; end it with `hpcwise head stop` or scancel {job.job_id}"
        )
        return
    if not running:
        LocalHead(run, workers, with_us=False, cluster=cluster).start()
        verb = "started"
    else:
        verb = "runs already"
    client = connect(run)
    if client is None:
        raise click.ClickException(f"the head does not answer; see {run.paths.head_log}")
    with client:
        address = client.address
    click.echo(f"head {verb}: epoch {address.epoch}, process {address.pid} on {address.host}, {run.results}")


def _nodes(given: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in given:
        pool, _, number = text.partition("=")
        if not pool or not number.isdigit():
            raise click.UsageError(f"--nodes: {text!r} is not POOL=N")
        found[pool] = int(number)
    return found


@head_command.command("stop")
@run_dir_option
@click.option("--keep-workers", is_flag=True, help="Leave workers alive for the next head.")
def stop(run: Run, keep_workers: bool) -> None:
    """Stop the head in order; live requests go on when a head is started again."""
    from hpcwise.cli.localhead import stop_head

    pid = stop_head(run, keep_workers=keep_workers, on_wait=lambda: click.echo("stopping …", err=True))
    click.echo("no head runs" if pid is None else f"head stopped (process {pid})")


@head_command.command("status")
@run_dir_option
@json_option
def status(run: Run, as_json: bool) -> int:
    """Whether a head runs, and its workers; exit code 1 when none does."""
    from hpcwise.head.answers import HeadStatus

    client = connect(run)
    if client is None:
        if as_json:
            print_json({"running": False, "run_dir": str(run.results)})
        else:
            click.echo(f"no head runs for {run.results}; start one with `hpcwise head start`")
        return 1
    with client:
        found = client.ask(w.AskStatus, HeadStatus)[0]
    if as_json:
        print_json({"running": True, "run_dir": str(run.results), "head": found})
        return 0
    view = found.view
    out = console()
    out.print(
        f"head of epoch {view.epoch}, process {found.pid} on {found.host}, up {format_s(found.up_s)}; "
        f"{view.requests_live} live requests, {view.tasks} tasks, "
        f"{format_bytes(found.journal_bytes)} of journal",
        markup=False,
    )
    for trouble in (found.paused and f"paused: {found.paused}", view.store_full):
        if trouble:
            out.print(trouble, style="yellow", markup=False)
    if found.slurm is not None:
        use = found.slurm
        out.print(
            f"Slurm: {use.total} questions, {use.per_minute:.1f} a minute, {use.last_minute} in the last",
            markup=False,
        )
        if use.trouble:
            out.print(use.trouble, style="yellow", markup=False)
        if use.avoided:
            out.print(f"avoided after failures: {', '.join(use.avoided)}", markup=False)
    for line in found.unwell:
        out.print(printable(line, 200), style="yellow", markup=False)
    rows = [
        (
            worker.worker_id,
            worker.state,
            worker.hardware,
            ",".join(worker.nodes),
            ",".join(worker.loaded),
            ", ".join(worker.running),
            worker.dispatches,
            format_s(worker.busy_s),
        )
        for worker in view.workers
    ]
    if rows:
        columns = ("WORKER", "STATE", "HARDWARE", "NODE", "LOADED", "RUNS", "TASKS", "BUSY")
        out.print(table(columns, rows, ("TASKS", "BUSY"), drop=("LOADED", "HARDWARE", "NODE", "BUSY")))
    else:
        out.print(f"no workers{' yet; some are being launched' if found.launching else ''}")
    return 0
