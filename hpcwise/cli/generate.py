"""`hpcwise generate`: a film in the foreground, from whatever state an earlier call left."""

from __future__ import annotations

import signal
import time
import types
from collections import deque
from pathlib import Path
from typing import Any, Final

import click

from hpcwise.cli.output import console, print_json
from hpcwise.cli.progress import receipt_table
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.specfile import relative
from hpcwise.cli.submit import job_options, load
from hpcwise.cli.values import format_bytes, format_s, printable
from hpcwise.core.errors import HeadError, HpcwiseError, UsageError
from hpcwise.core.report import Receipt, RequestView

_EXIT_FAILED: Final = 1
#: A head takes what lies in the inbox within this time, seconds.
_TAKEN_S: Final = 30.0


@click.command("generate")
@click.argument("source", metavar="[DOCUMENT|SPEC]", required=False, type=click.Path(path_type=Path))
@job_options
@click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N", help="Workers at most; default one a core."
)
@click.option("--again", is_flag=True, help="A new request, even if this film was made before.")
@run_dir_option
@json_option
def generate_command(
    source: Path | None, workers: int | None, again: bool, run: Run, as_json: bool, **options: Any
) -> int:
    """Make the film of a DOCUMENT (PDF, PPTX, Markdown, HTML, EPUB, text) or a job SPEC (YAML); wait for it.

    Starts a head and workers if none run, and stops those that it started when the film is there. Ctrl-C
    stops cleanly; the same command goes on where it stopped, or shows the film that is there already.
    A document is filmed to be watched live unless --by, --in or --batch says otherwise. With --script FILE
    the spec or document is the one that the file names, unless another is given.
    """
    loaded = load(source or _source_of(options["script"]), options)
    from hpcwise.cli import submission
    from hpcwise.cli.localhead import LocalHead, connect_ok

    run.create()
    states = submission.known_states(run)
    request_id = submission.request_id_of(loaded, states, run, again=again)
    if states.get(request_id) == "done":
        if loaded.job.workflow == "graph" or _film_is_there(run, request_id):
            return _finish(run, request_id, as_json, made=False)
        # Somebody deleted the film. What it was made of may still be in the store.
        request_id = submission.request_id_of(loaded, states, run, again=True)
    head = LocalHead(run, workers, with_us=True)
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        submission.submit(run, loaded, request_id)
        if not connect_ok(run):
            head.start()
        elif not as_json:
            click.echo("a head runs already for this folder; it makes the film", err=True)
        view = _watch(run, request_id, head, quiet=as_json)
        code = _finish(run, request_id, as_json, made=True)
        return code if view.row.state == "done" else _EXIT_FAILED
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends this process at once
        _stopped(run, request_id, head)
        return 130
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        try:
            head.stop()
        except HpcwiseError as error:
            click.echo(f"hpcwise: {error}", err=True)


def _source_of(script: str | None) -> Path:
    """What a script file is of. Raises UsageError where there is none."""
    if not script:
        raise UsageError("DOCUMENT|SPEC: is missing; name a document, a job spec, or --script FILE")
    from hpcwise.cli.scriptfile import job_of

    return job_of(Path(script), script)


def _watch(run: Run, request_id: str, head: Any, *, quiet: bool) -> RequestView:
    from hpcwise.cli.follow import Screen, views

    _wait_until_taken(run, request_id, head)
    last: RequestView | None = None
    if quiet:
        last = deque(views(run, request_id, head.look_after), maxlen=1).pop()
    else:
        with Screen(run, request_id) as screen:

            def look_after() -> bool:
                screen.look_at_disk()
                if not head.look_after():
                    return False
                screen.note(f"the head ended unexpectedly and was started again ({head.restarts})")
                return True

            for last in views(run, request_id, look_after):
                screen.show(last)
    assert last is not None
    return last


def _wait_until_taken(run: Run, request_id: str, head: Any) -> None:
    from hpcwise.cli.submission import answer_to

    until_s = time.monotonic() + _TAKEN_S
    while (answer := answer_to(run, request_id)) is None:
        head.look_after()
        if time.monotonic() > until_s:
            raise HeadError(f"the head does not take {request_id}; see {run.paths.head_log}")
        time.sleep(0.02)
    if not answer.accepted:
        raise UsageError(f"{request_id}: refused: {answer.error}")


def _stopped(run: Run, request_id: str, head: Any) -> None:
    from hpcwise.cli.localhead import connect_ok

    if not head.ours and connect_ok(run):
        click.echo(
            f"\nleft; the head that was running goes on. `hpcwise cancel {request_id}` stops the work",
            err=True,
        )
        return
    click.echo("\nstopping …", err=True)
    head.stop()
    done = _segments(run, request_id)
    kept = f"{done} segments are kept; " if done else ""
    click.echo(f"stopped; {kept}the same command goes on with {request_id}", err=True)


def _segments(run: Run, request_id: str) -> int:
    folder = run.film(request_id) / "live"
    return len(list(folder.glob("seg-?????.m4s"))) if folder.is_dir() else 0


def _film_is_there(run: Run, request_id: str) -> bool:
    folder = run.film(request_id)
    return (folder / "film.mp4").is_file() or (folder / "live" / "index.m3u8").is_file()


def _finish(run: Run, request_id: str, as_json: bool, *, made: bool) -> int:
    from hpcwise.cli.client import ask
    from hpcwise.wire import messages as w

    receipt, _ = ask(run, lambda ident: w.AskReceipt(ident, request_id), Receipt)
    folder = run.film(request_id)
    film = folder / "film.mp4"
    if as_json:
        print_json({
            "request_id": request_id, "state": receipt.state, "reason": receipt.reason, "folder": str(folder),
            "film": str(film) if film.is_file() else None, "made_now": made, "receipt": receipt,
        })  # fmt: skip
        return 0 if receipt.state == "done" else _EXIT_FAILED
    if receipt.state != "done":
        click.echo(
            f"hpcwise: {request_id}: {receipt.state}: {receipt.reason or 'no reason was given'}", err=True
        )
        log = f"hpcwise logs {request_id}" + (
            "" if run.results == Path("results").absolute() else f" --run-dir {run.results}"
        )
        click.echo(f"hpcwise: the log: {log}", err=True)
        return _EXIT_FAILED
    out = console()
    out.print()
    out.print(receipt_table(receipt))
    out.print()
    for line in summary(run, receipt, made=made):
        out.print(line, markup=False)
    return 0


def summary(run: Run, receipt: Receipt, *, made: bool = True) -> list[str]:
    """The last lines: where the film is, how long it took, what it cost."""
    folder = run.film(receipt.request_id)
    film = folder / "film.mp4"
    lines = [f"asked for     {receipt.slo}"]
    if film.is_file():
        there = "" if made else "  (made before; --again makes it anew)"
        lines.append(f"film          {relative(film)}  {format_bytes(film.stat().st_size)}{there}")
    elif (folder / "live" / "index.m3u8").is_file():
        lines.append(f"film          {relative(folder / 'live' / 'index.m3u8')}")
    if receipt.ttff_s is not None:
        lines.append(f"first frame   {format_s(receipt.ttff_s)}")
    length = f" for {format_s(receipt.play.duration_s)} of film" if receipt.play else ""
    lines.append(f"total         {format_s(receipt.total_s)}{length}")
    if receipt.play is not None and receipt.play.stalls and receipt.slo_met is not None:
        lines.append(f"stalls        {receipt.play.stalls}, {format_s(receipt.play.stall_s)} in all")
    energy = f"{receipt.energy_j / 3600:.2f} Wh{_measured(receipt)}"
    lines.append(f"cost          ${receipt.cost_usd:.4f}, {energy}")
    if receipt.n_degraded:
        lines.append(f"quality       {receipt.n_degraded} of {len(receipt.shots)} shots below the best tier")
    if receipt.script_notes:
        more = len(receipt.script_notes) - 1
        others = f" (and {more} more in the receipt)" if more else ""
        lines.append(f"screenplay    {printable(receipt.script_notes[0], 200)}{others}")
    lines.append(f"receipt       {relative(folder / 'receipt.json')}")
    return lines


def _measured(receipt: Receipt) -> str:
    """How much of the energy is by counters; nothing where it is all estimated."""
    share = receipt.energy_measured_j / receipt.energy_j if receipt.energy_j > 0 else 0.0
    if share <= 0:
        return ""
    return " (measured)" if share > 0.995 else f" ({share:.0%} of it measured)"


def _interrupt(_signal: int, _frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt
