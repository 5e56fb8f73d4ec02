"""`hpcwise script`: the screenplay alone, for approval before anything else is spent."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from hpcwise.cli.output import print_json
from hpcwise.cli.run import json_option
from hpcwise.cli.specfile import relative
from hpcwise.cli.submit import job_options, load
from hpcwise.core.document import Document
from hpcwise.core.errors import UsageError
from hpcwise.core.screenplay import Screenplay
from hpcwise.core.spec import JobSpec


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What `hpcwise script --json` prints. traced: lines that rest on a sentence of the document."""

    file: str
    title: str
    expected_s: float
    scenes: int
    shots: int
    lines: int
    traced: int
    written_by: str
    notes: tuple[str, ...]


@click.command("script")
@click.argument("source", metavar="DOCUMENT|SPEC", type=click.Path(path_type=Path))
@job_options
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Default: NAME.script.yaml.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
def script_command(source: Path, target: Path | None, force: bool, as_json: bool, **options: Any) -> None:
    """Write the screenplay of a DOCUMENT or a job SPEC to a YAML file, and make nothing else.

    Read it, change what you like, and film it with `hpcwise generate --script FILE`. What you did not change
    and was filmed before is not made again.
    """
    loaded = load(source, options)
    if loaded.job.workflow != "podcast":
        raise UsageError(f"{source}: workflow: {loaded.job.workflow!r} has no screenplay; use podcast")
    target = target or Path(f"{source.stem}.script.yaml")
    if target.exists() and not force:
        raise UsageError(f"{target}: is there already; name another with -o, or --force to write over it")
    from hpcwise.cli.scriptfile import write_script

    with _screenplay(loaded.job, quiet=as_json) as (play, document):
        command = f"hpcwise generate --script {shlex.quote(relative(target))}"
        job = os.path.relpath(source.absolute(), target.absolute().parent)
        text = write_script(play, document, loaded.job.input_sha256, job, command)
    beside = target.with_name(f".{target.name}.part")
    beside.write_text(text, "utf-8")
    beside.replace(target)
    shots = [shot for scene in play.scenes for shot in scene.shots]
    lines = [line for shot in shots for line in shot.lines]
    written = Written(
        file=str(target),
        title=play.title,
        expected_s=round(sum(shot.expected_s for shot in shots), 1),
        scenes=len(play.scenes),
        shots=len(shots),
        lines=len(lines),
        traced=sum(bool(line.source) for line in lines),
        written_by=play.written_by,
        notes=play.notes,
    )
    if as_json:
        print_json(written)
        return
    for note in play.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(
        f"{relative(target)}: about {written.expected_s:.0f} s, {written.shots} shots, "
        f"{written.lines} lines, {written.traced} of them with their source"
    )
    click.echo(f"film it: {command}")


@contextmanager
def _screenplay(job: JobSpec, *, quiet: bool) -> Iterator[tuple[Screenplay, Document]]:
    """Run the document and the screenplay stage here, as a worker would. Raises what they raise."""
    from rich.console import Console

    from hpcwise.core.planner import first_tasks
    from hpcwise.core.state import RequestRecord
    from hpcwise.core.workflow import TaskSpec
    from hpcwise.head.settings import find_configs, find_models_dir
    from hpcwise.models.base import Call, Devices, Input, Output
    from hpcwise.models.registry import Registry

    registry = Registry.read(find_configs() / "models", find_models_dir())
    tasks = first_tasks(RequestRecord(request_id="script", ordinal=0, job=job, arrived_s=0.0)).tasks
    by_stage: dict[str, TaskSpec] = {task.stage: task for task in tasks}
    console = Console(stderr=True, quiet=quiet or not os.isatty(2))
    folder_of_ours = tempfile.TemporaryDirectory(prefix="hpcwise-script-")
    with folder_of_ours as scratch, console.status("reading") as status:

        def run(stage: str, inputs: dict[str, Iterator[Input]]) -> list[Output]:
            task = by_stage[stage]
            chosen = task.alternatives[0]
            adapter = registry.adapter(chosen.model)
            adapter.load(registry.spec(chosen.model), Devices(threads=len(os.sched_getaffinity(0))))
            work = Path(scratch) / stage
            work.mkdir()
            call = Call(stage, {**task.params, **chosen.params, **task.local}, task.seed, inputs, work)

            def on_step(done: int, total: int, note: str) -> None:
                status.update(f"{stage}: {note}")

            return list(adapter.run(call, on_step, lambda: False))

        read = run("document", {})[-1]
        folder = read.files["document.json"].parent
        written = run("screenplay", {"document": iter([Input(folder, read.facts)])})[-1]
        play = msgspec.json.decode(written.files["screenplay.json"].read_bytes(), type=Screenplay)
        yield play, msgspec.json.decode(read.files["document.json"].read_bytes(), type=Document)
