"""`hpcwise ls, show, watch, cancel, explain`: requests and their shots."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import click

from hpcwise.cli.client import ask, connect, need_head
from hpcwise.cli.completion import request_ids
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.values import format_s, printable
from hpcwise.core.errors import HeadError, UsageError
from hpcwise.store.inbox import Inbox
from hpcwise.wire import messages as w

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_STATE_STYLE: Final = {
    "done": "green",
    "running": "cyan",
    "growing": "cyan",
    "failed": "red",
    "cancelled": "yellow",
    "submitted": "dim",
}
#: Attempts that do not stop between two steps are killed by the engine well before this.
_CANCEL_S: Final = 60.0


def ask_of(run: Run, request_id: str, query: Callable[[int], w.Query], kind: type[T]) -> tuple[T, bool]:
    """As `ask`; says so where the request still lies in the inbox."""
    try:
        return ask(run, query, kind)
    except UsageError as error:
        waiting = [s.token for s in Inbox(run.paths).pending()] if run.paths.inbox.is_dir() else []
        if any(token.startswith(request_id) for token in waiting if request_id):
            raise UsageError(
                f"{printable(request_id)}: was handed in and waits for a head; "
                "`hpcwise head start` starts one"
            ) from error
        raise


def request_argument(function: F) -> F:
    """REQUEST: an id or its beginning; the shell completes it."""
    return click.argument("request_id", metavar="REQUEST", shell_complete=request_ids)(function)


@click.command("ls")
@click.option("--live", "only_live", is_flag=True, help="Only those that are not over.")
@run_dir_option
@json_option
def ls_command(only_live: bool, run: Run, as_json: bool) -> None:
    """List requests, oldest first."""
    from hpcwise.core.report import RequestRow

    waiting = [s.token for s in Inbox(run.paths).pending()] if run.paths.inbox.is_dir() else []
    found, by_head = ask(run, w.AskList, tuple[RequestRow, ...])
    rows = [row for row in found if not only_live or row.state in ("growing", "running")]
    pending = [token for token in waiting if all(row.request_id != token for row in found)]
    if as_json:
        print_json({"requests": rows, "pending": pending, "head": by_head})
        return
    if not rows and not pending:
        click.echo(f"no requests in {run.results}")
        return
    from rich.text import Text

    cells = [
        (
            row.request_id,
            Text(row.state, style=_STATE_STYLE.get(row.state, "")),
            row.name,
            row.slo,
            f"{row.shots_done}/{row.shots}" if row.workflow != "graph" else f"{row.tasks_done}/{row.tasks}",
            format_s(row.age_s),
            "-" if not row.eta_s else format_s(row.eta_s),
            "-" if row.ttff_s is None else format_s(row.ttff_s),
            f"{row.cost_usd:.4f}",
            row.reason,
        )
        for row in rows
    ]
    cells += [
        (token, Text("submitted", style="dim"), "", "", "", "", "", "", "", "waits for a head")
        for token in pending
    ]
    columns = ("REQUEST", "STATE", "NAME", "SLO", "SHOTS", "AGE", "ETA", "TTFF", "USD", "")
    out = console()
    right = ("SHOTS", "AGE", "ETA", "TTFF", "USD")
    out.print(table(columns, cells, right, drop=("NAME", "TTFF", "USD", "SLO", "AGE", "ETA", "")))
    if not by_head:
        out.print("no head runs; this is what its journal says", style="dim")


@click.command("show")
@request_argument
@run_dir_option
@json_option
def show_command(request_id: str, run: Run, as_json: bool) -> None:
    """One request: its stages, its shots, how its playback goes."""
    from hpcwise.cli.progress import picture, receipt_table
    from hpcwise.cli.specfile import relative
    from hpcwise.core.report import Receipt, RequestView

    view, by_head = ask_of(run, request_id, lambda ident: w.AskShow(ident, request_id), RequestView)
    if as_json:
        print_json(view)
        return
    name = view.row.request_id
    folder = run.film(name)
    out = console()
    film, live = folder / "film.mp4", folder / "live" / "index.m3u8"
    plays = film if film.is_file() and not live.is_file() else live  # gc --live leaves the film alone
    out.print(picture(view, relative(plays), view.row.reason, width=out.width))
    if view.shots:
        receipt, _ = ask(run, lambda ident: w.AskReceipt(ident, name), Receipt)
        out.print()
        out.print(receipt_table(receipt))
    out.print()
    state = f"{view.row.state}, ${view.row.cost_usd:.4f}" + ("" if by_head else "; no head runs")
    out.print(f"{state}; {relative(folder)}", markup=False)


@click.command("watch")
@request_argument
@run_dir_option
@click.option("--no-preview", is_flag=True, help="Without pictures of what is being denoised.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each change.")
def watch_command(request_id: str, run: Run, no_preview: bool, as_json: bool) -> int:
    """Follow a request until it ends; Ctrl-C leaves it running. Exit code 1 where it failed."""
    from hpcwise.cli.follow import Events, Screen, ended, views
    from hpcwise.core.report import RequestView

    view, _ = ask_of(run, request_id, lambda ident: w.AskShow(ident, request_id), RequestView)
    name = view.row.request_id
    shown = Events(run, name, previews=not no_preview) if as_json else None
    with shown or Screen(run, name, previews=not no_preview) as screen:
        screen.show(view)
        if not ended(view):
            need_head(run).close()
            for view in views(run, name, screen.look_at_disk):
                screen.show(view)
    if not as_json:
        said = f"{view.row.state}: {view.row.reason}" if view.row.reason else view.row.state
        click.echo(f"{name}: {said}")
    return 0 if view.row.state == "done" else 1


@click.command("cancel")
@request_argument
@run_dir_option
@json_option
def cancel_command(request_id: str, run: Run, as_json: bool) -> None:
    """Stop a request; returns when no worker works for it any more."""
    from hpcwise.core.report import RequestView

    client = connect(run)
    if client is None:
        return _cancel_without_head(request_id, run, as_json)
    with client:
        view = client.ask(lambda ident: w.AskShow(ident, request_id), RequestView)[0]
        name = view.row.request_id
        if view.row.state not in ("growing", "running"):
            if as_json:
                print_json({"request_id": name, "state": view.row.state, "stopped_s": 0.0})
            else:
                click.echo(f"{name}: is {view.row.state} already")
            return None
        began_s = time.monotonic()
        client.ask(lambda ident: w.CancelRequest(ident, name), RequestView)
        while True:
            view, version = client.ask(lambda ident: w.AskShow(ident, name), RequestView)
            if view.row.state not in ("growing", "running") and not view.row.running:
                break
            if time.monotonic() - began_s > _CANCEL_S:
                raise HeadError(f"{name}: {view.row.running} tasks still run; see `hpcwise head status`")
            client.ask(partial(_watch, name, version), RequestView, 15.0)
    took_s = time.monotonic() - began_s
    if as_json:
        print_json({"request_id": name, "state": view.row.state, "stopped_s": took_s})
    else:
        click.echo(f"{name}: cancelled; its work has stopped after {format_s(took_s)}")
    return None


def _watch(request_id: str, after: int, ident: int) -> w.Query:
    return w.AskWatch(ident, request_id, after)


def _cancel_without_head(request_id: str, run: Run, as_json: bool) -> None:
    """Nothing works without a head, so only what waits in the inbox can be taken back at once."""
    waiting = [s.token for s in Inbox(run.paths).pending()] if run.paths.inbox.is_dir() else []
    close = [t for t in waiting if t == request_id] or [t for t in waiting if t.startswith(request_id)]
    if len(close) == 1 and request_id:
        name = close[0]
        run.paths.submission(name).unlink(missing_ok=True)
        if as_json:
            print_json({"request_id": name, "state": "withdrawn", "stopped_s": 0.0})
        else:
            click.echo(f"{name}: withdrawn; no head had taken it")
        return
    if len(close) > 1:
        raise UsageError(f"{printable(request_id)}: is the beginning of {', '.join(close[:5])}; name one")
    from hpcwise.core.report import RequestView

    view, _ = ask_of(run, request_id, lambda ident: w.AskShow(ident, request_id), RequestView)
    if view.row.state in ("growing", "running"):
        raise UsageError(
            f"{view.row.request_id}: no head runs, so nothing works on it now; "
            "start one with `hpcwise head start`, then cancel"
        )
    if as_json:
        print_json({"request_id": view.row.request_id, "state": view.row.state, "stopped_s": 0.0})
    else:
        click.echo(f"{view.row.request_id}: is {view.row.state} already")


@click.command("explain")
@request_argument
@click.argument("shot", type=int, required=False)
@run_dir_option
@json_option
def explain_command(request_id: str, shot: int | None, run: Run, as_json: bool) -> None:
    """Why REQUEST, or one SHOT of it, waits, where it runs, why its quality was lowered."""
    from hpcwise.core.explain import Explanation

    found, by_head = ask_of(run, request_id, lambda ident: w.AskExplain(ident, request_id, shot), Explanation)
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(f"{found.request_id}: {found.summary}", markup=False)
    rows = [
        (
            reason.task_id.removeprefix(f"{found.request_id}/"),
            reason.state,
            reason.text,
            reason.quality,
            "-" if reason.slack_s is None else f"{reason.slack_s:+.1f} s",
        )
        for reason in found.reasons
    ]
    if rows:
        out.print(table(("TASK", "STATE", "WHY", "QUALITY", "SLACK"), rows, ("SLACK",), drop=("STATE",)))
    if not by_head:
        out.print("no head runs; this is what its journal says", style="dim")
