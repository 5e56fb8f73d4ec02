"""`hpcwise spec`: check a job spec, print the JSON Schema."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from hpcwise.cli.group import Group
from hpcwise.cli.output import print_json
from hpcwise.cli.run import json_option
from hpcwise.cli.specfields import json_schema
from hpcwise.cli.specfile import load_job


@click.group("spec", cls=Group)
def spec_command() -> None:
    """Job specs: YAML files that say what film is wanted, and when."""


@spec_command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Read FILE as `submit` would; every mistake is one line with its fix."""
    loaded = load_job(file, time.time())
    if as_json:
        print_json(loaded.job)
        return
    from hpcwise.core.report import slo_text

    job = loaded.job
    if job.workflow == "graph":
        click.echo(f"{file}: usable: graph of {len(job.graph)} tasks, {slo_text(job)}")
        return
    click.echo(
        f"{file}: usable: {Path(job.input_path).name}, {job.duration_s:g} s, "
        f"{job.width}x{job.height} at {job.fps} frames/s, {slo_text(job)}"
    )


@spec_command.command("schema")
def schema() -> None:
    """Print the JSON Schema of job specs, for editors and programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
