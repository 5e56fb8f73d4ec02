"""`hpcwise submit`: a job goes into the inbox, whether or not a head runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcwise.cli import completion
from hpcwise.cli.output import print_json
from hpcwise.cli.run import Run, given, json_option, run_dir_option
from hpcwise.cli.specfile import Loaded, Overrides, load_document, load_job, looks_like_spec
from hpcwise.core.errors import UsageError

if TYPE_CHECKING:
    from hpcwise.cli.contract import Deal
    from hpcwise.core.contract import Terms

F = TypeVar("F", bound=Callable[..., Any])


def job_options(function: F) -> F:
    """What may be said instead of the spec file."""
    options = [
        click.option("--live", is_flag=True, help="Watched while it is made."),
        click.option("--ttff", metavar="TIME", help="With --live: time to the first frame, such as 10s."),
        click.option("--by", metavar="08:00", help="Ready at that time of day, or at 2026-11-21T08:00."),
        click.option("--zone", metavar="NAME", help="Time zone of --by, such as Europe/Madrid."),
        click.option("--in", "within", metavar="90m", help="Ready in so long."),
        click.option("--batch", is_flag=True, help="In no hurry."),
        click.option("--duration", metavar="TIME", help="Length of the film, such as 90s or 10m."),
        click.option("--resolution", metavar="WxH", help="Such as 640x400."),
        click.option("--fps", type=float, metavar="N", help="Frames a second."),
        click.option("--seed", type=int, metavar="N", help="Equal seeds give equal films."),
        click.option("--name", metavar="TEXT", help="Title of the film."),
        click.option(
            "--script",
            type=click.Path(),
            metavar="FILE",
            help="Film this screenplay of `hpcwise script` as it stands.",
        ),
        click.option(
            "--models",
            metavar="SET",
            shell_complete=completion.model_sets,
            help="A set of models (configs/model-sets/), such as tiny.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def load(path: Path, options: dict[str, Any], *, to_plan: bool = False) -> Loaded:
    """The job of a spec or of a document, with what the command line says instead.

    to_plan: nothing is to be made of it, so a workflow whose models have no adapters will do.
    """
    if options.get("script"):
        options["script"] = str(Path(options["script"]).absolute())
    overrides = Overrides(**options)
    if not looks_like_spec(path):
        loaded = load_document(path, time.time(), overrides)
    else:
        loaded = load_job(path, time.time(), overrides)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    if not to_plan:
        from hpcwise.cli.modelset import build_missing, check_runnable, read_set
        from hpcwise.head.settings import find_models_dir

        if overrides.models is not None and read_set(overrides.models).build:
            models = loaded.job.models.values()
            build_missing(models, find_models_dir(), lambda text: click.echo(text, err=True))
        check_runnable(loaded.job, path)
    return loaded


@click.command("submit")
@click.argument("spec", type=click.Path(path_type=Path))
@job_options
@click.option("--again", is_flag=True, help="Even if the same job was handed in before.")
@click.option(
    "--cluster", envvar="HPCWISE_CLUSTER", metavar="NAME", shell_complete=completion.sites,
    help="Print the ready-by contract on this cluster first (configs/clusters/NAME.yaml).",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="With --cluster: print the contract and stop.")
@click.option("--confidence", type=float, default=0.9, show_default=True, help="Of the contract.")
@click.option("--partition", default="", metavar="NAME", help="With --cluster: this partition only.")
@run_dir_option
@json_option
def submit_command(
    spec: Path, again: bool, cluster: str | None, dry_run: bool, confidence: float, partition: str, run: Run,
    as_json: bool, **options: Any,
) -> int:  # fmt: skip
    """Hand in the job of SPEC (or film a document with all defaults); prints the request's id.

    The job is safe once this returns. A head takes it as soon as one runs. With --cluster and a deadline the
    ready-by contract is printed first; a deadline that cannot be met is not handed in (exit code 1).
    """
    if dry_run and cluster is None:
        raise UsageError("--dry-run: needs a cluster to say anything about; add --cluster NAME")
    for option in ("confidence", "partition"):
        if cluster is None and given(option):
            raise UsageError(f"--{option}: belongs to --cluster; add --cluster NAME, or leave it out")
    loaded = load(spec, options, to_plan=dry_run)
    agreed = (
        _contract(loaded, cluster, confidence, partition) if cluster and _dated(loaded, dry_run) else None
    )
    if agreed is not None:
        from hpcwise.cli import contract as contracts

        deal = agreed[0]
        if dry_run or not contracts.sellable(deal):
            if as_json:
                print_json({"contract": deal, "request_id": None})
            else:
                contracts.show(deal)
            if contracts.sellable(deal):
                return 0
            contracts.refuse(deal)
            return 1
    from hpcwise.cli.localhead import connect_ok
    from hpcwise.cli.submission import known_states, request_id_of, submit

    states = known_states(run) if run.exists or run.paths.inbox.is_dir() else {}
    request_id = request_id_of(loaded, states, run, again=again)
    before = states.get(request_id)
    if before is None:
        if agreed is not None:
            contracts.agree(run.film(request_id) / "contract.json", request_id, *agreed)
        submit(run, loaded, request_id)
    running = connect_ok(run)
    if as_json:
        said = {"contract": agreed[0]} if agreed is not None else {}
        print_json(
            {
                "request_id": request_id, "new": before is None, "state": before or "submitted",
                "head": running, **said,
            }
        )  # fmt: skip
        return 0
    if agreed is not None:
        contracts.show(agreed[0])
    if before is not None:
        click.echo(f"{request_id}: the same job was handed in before and is {before}; --again makes it anew")
        return 0
    waits = "a head runs and takes it" if running else "no head runs; `hpcwise head start` begins the work"
    click.echo(f"{request_id}: submitted; {waits}")
    return 0


def _dated(loaded: Loaded, dry_run: bool) -> bool:
    """Whether there is a deadline to make a contract on; a dry run has to have one."""
    from hpcwise.core.spec import By

    return dry_run or isinstance(loaded.job.slo, By)


def _contract(loaded: Loaded, cluster: str, confidence: float, partition: str) -> tuple[Deal, Terms]:
    from hpcwise.cli.contract import check_level, make, site_of
    from hpcwise.launch.slurmquery import need

    level = check_level(confidence)
    site = site_of(cluster)
    need("sbatch", "sinfo")
    return make(loaded.job, site, time.time(), level, partition)
