"""`hpcwise logs`: what the head and the workers wrote."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from hpcwise.cli.completion import log_names
from hpcwise.cli.run import Run, run_dir_option
from hpcwise.cli.values import printable
from hpcwise.core.errors import UsageError
from hpcwise.store.paths import check_token

_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
_POLL_S: Final = 0.25
Wanted = Callable[[str], bool]


@click.command("logs")
@click.argument("name", metavar="REQUEST|WORKER|head", shell_complete=log_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on; Ctrl-C ends it.")
@click.option("-n", "--lines", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@run_dir_option
def logs_command(name: str, follow: bool, lines: int | None, run: Run) -> None:
    """Print the log of one WORKER, of the `head`, or what both say about a REQUEST, in order of time."""
    files, wanted = _files(run, name)
    heads = {
        path: (path.parent.name if path.parent.parent == run.paths.workers else "head") for path in files
    }
    several = sum(path.is_file() and path.stat().st_size > 0 for path in files) > 1
    offsets: dict[Path, int] = {}
    entries: list[tuple[str, str]] = []
    for path in files:
        text, offsets[path] = _read(path, 0)
        mark = f"{heads[path]}: " if several else ""
        entries += [(stamp, mark + line) for stamp, line in _entries(text) if wanted(line)]
    found = [line for _, line in sorted(entries, key=lambda entry: entry[0])]
    for line in found if lines is None else found[-lines:] if lines else []:
        click.echo(line)
    while follow:
        for path in files:
            text, offsets[path] = _read(path, offsets[path])
            mark = f"{heads[path]}: " if several else ""
            for _, line in _entries(text):
                if wanted(line):
                    click.echo(mark + line)
        time.sleep(_POLL_S)


def _files(run: Run, name: str) -> tuple[list[Path], Wanted]:
    def every(_line: str) -> bool:
        return True

    if name == "head":
        if not run.paths.head_log.exists():
            raise UsageError(f"head: has no log in {run.results}; `hpcwise head start` starts one")
        return [run.paths.head_log, run.paths.logs / "head.out"], every
    check_token(name, "log of")
    worker = run.paths.worker(name)
    if worker.is_dir():
        return [run.paths.worker_log(name), *sorted(worker.glob("submitit/*_log.err"))], every
    known = [
        path.stem for folder in (run.paths.done, run.paths.inbox) for path in sorted(folder.glob("*.job"))
    ]
    close = [request for request in known if request.startswith(name)]
    if name in known:
        close = [name]
    if len(close) != 1:
        workers = [path.name for path in sorted(run.paths.workers.glob("*"))][-5:]
        problem = "is not unique" if close else "is neither a request nor a worker"
        hint = f"workers are {', '.join(workers)}" if workers else "nothing ran here yet"
        raise UsageError(f"{printable(repr(name))} {problem}; see `hpcwise ls`; {hint}")
    request = close[0]
    logs = [run.paths.head_log, *sorted(run.paths.workers.glob("*/worker.log"))]
    return [path for path in logs if path.is_file()], lambda line: request in line


def _read(path: Path, offset: int) -> tuple[str, int]:
    """Whole lines from `offset` on, and where to go on."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return "", offset
    end = data.rfind(b"\n") + 1
    return data[:end].decode("utf-8", "replace"), offset + end


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """(time, entry): lines without a time, such as those of a traceback, belong to the one before."""
    stamp, lines = "", list[str]()
    for line in text.splitlines():
        clean = "".join(c if c.isprintable() or c == "\t" else "?" for c in line)
        if _STAMP.match(clean):
            if lines:
                yield stamp, "\n".join(lines)
            stamp, lines = clean[:23], [clean]
        else:
            lines.append(clean)
    if lines:
        yield stamp, "\n".join(lines)
