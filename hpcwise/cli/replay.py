"""`hpcwise replay`: the journal as a timeline, and whether this version would have decided the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from hpcwise.cli.completion import request_ids
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.specfile import relative
from hpcwise.cli.timebuild import build
from hpcwise.cli.timeline import Timeline
from hpcwise.cli.trace import trace
from hpcwise.cli.values import format_s, printable
from hpcwise.core.config import EngineConfig
from hpcwise.core.errors import UsageError
from hpcwise.core.messages import Command
from hpcwise.head.ledger import Record, read_records
from hpcwise.store.paths import storage_errors, write_beside

#: Fleet sizes that are tried when a head was started with another number of workers.
_MOST_WORKERS = 64
#: Moments of a request that are printed; the trace has all of them.
_MOST_NOTES = 40


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this version decides as the journal says. events: compared; from_event: the first that
    differs, -1 for none; epoch: its journal; recorded and decided: what was and what would be decided."""

    same: bool
    events: int
    from_event: int = -1
    epoch: int = 0
    at_s: float = 0.0
    event: str = ""
    recorded: tuple[str, ...] = ()
    decided: tuple[str, ...] = ()
    code_changed: bool = False
    config_changed: bool = False
    profiles_changed: bool = False


@click.command("replay")
@click.argument("request_id", metavar="REQUEST", required=False, shell_complete=request_ids)
@click.option("--all", "everything", is_flag=True, help="The whole run instead of one request.")
@click.option("--perfetto", type=click.Path(path_type=Path), metavar="FILE", help="Write the trace here.")
@click.option(
    "--gantt", type=click.Path(path_type=Path), metavar="FILE", help="Write the picture (PNG) here."
)
@click.option("--verify", is_flag=True, help="Decide again, and say from which event on it would differ.")
@run_dir_option
@json_option
def replay_command(
    request_id: str | None,
    everything: bool,
    perfetto: Path | None,
    gantt: Path | None,
    verify: bool,
    run: Run,
    as_json: bool,
) -> int:
    """Draw the timeline of REQUEST (or of --all) from the journal; a head may run meanwhile.

    Without --perfetto, --gantt or --verify both files go into the request's folder: timeline.json, which
    ui.perfetto.dev opens, and timeline.png. Exit code 1 where --verify finds a difference.
    """
    if bool(request_id) == everything:
        raise UsageError("replay: name a REQUEST, or give --all")
    records = list(records_of(run))
    if not records:
        raise UsageError(f"{run.results}: has no journal yet; nothing was run here")
    whole = build(record for _, record in records)
    name = ""
    timeline = whole
    if request_id:
        name = find_track(whole, request_id)
        timeline = whole.of(name)
    if not (perfetto or gantt or verify):
        folder = run.film(name) if name else run.results
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        perfetto, gantt = folder / "timeline.json", folder / "timeline.png"
    if perfetto is not None:
        _writable(perfetto)
        with storage_errors(perfetto):
            write_beside(perfetto, msgspec.json.encode(trace(timeline)), durable=False)
    if gantt is not None:
        from hpcwise.cli.gantt import draw

        _writable(gantt)
        with storage_errors(gantt):
            draw(timeline, gantt, printable(timeline.requests[0].name if name else str(run.results.name), 60))
    verdict = judge(run, records) if verify else None
    if as_json:
        files = {"perfetto": perfetto and str(perfetto), "gantt": gantt and str(gantt)}
        print_json({"timeline": timeline, "files": files, "verify": verdict})
    else:
        _print(timeline, perfetto, gantt, verdict)
    return 1 if verdict is not None and not verdict.same else 0


def judge(run: Run, records: list[tuple[int, Record]]) -> Verdict:
    """Feed the events to this version's engine, with this machine's configuration, and compare."""
    from hpcwise.core.engine import Engine
    from hpcwise.head.config import code_digest, digest
    from hpcwise.store.journal import read_header

    engine: Engine | None = None
    epoch, code, config, profiles = 0, False, False, False
    for number, (record_epoch, record) in enumerate(records):
        if engine is None or record_epoch != epoch:
            epoch = record_epoch
            header = read_header(run.paths.journal_file(epoch))
            chosen, config_changed = _config(header.config_hash)
            code = code or header.code_hash != code_digest()
            config = config or config_changed
            profiles = profiles or header.profiles_hash != digest(chosen.catalogue)
            # As a head does it: a new epoch begins with what the last one left, under its own configuration.
            engine = Engine(chosen) if engine is None else Engine.restore(chosen, engine.snapshot())
        decided = _as_recorded(record, engine.handle(record.event, record.now_s))
        if decided != record.commands:
            recorded, would = _differing(record.commands, decided)
            return Verdict(
                same=False,
                events=number + 1,
                from_event=number,
                epoch=epoch,
                at_s=record.now_s,
                event=printable(record.event, 200),
                recorded=recorded,
                decided=would,
                code_changed=code,
                config_changed=config,
                profiles_changed=profiles,
            )
    return Verdict(
        same=True,
        events=len(records),
        epoch=epoch,
        code_changed=code,
        config_changed=config,
        profiles_changed=profiles,
    )


def _as_recorded(record: Record, commands: Sequence[Command]) -> tuple[Command, ...]:
    """Commands as they come back from a journal, which makes lists of the tuples in free-form parameters."""
    frame = msgspec.msgpack.encode((record.now_s, record.wall_s, record.event, commands))
    return msgspec.msgpack.decode(frame, type=Record).commands


def _differing(
    recorded: Sequence[object], decided: Sequence[object]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first command that differs, cut to where it does; the next few of the longer list otherwise."""
    for one, other in zip(recorded, decided, strict=False):
        if one != other:
            a, b = str(one), str(other)
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            return (_cut(a, at),), (_cut(b, at),)
    both = min(len(recorded), len(decided))
    return tuple(_cut(str(c), 0) for c in recorded[both:][:3]), tuple(
        _cut(str(c), 0) for c in decided[both:][:3]
    )


def _cut(text: str, at: int) -> str:
    """The command's name and what stands around position `at`."""
    name = text.partition("(")[0]
    if at < 120:
        return printable(text, 240)
    return printable(f"{name}(… {text[at - 80 : at + 120]} …", 260)


def _config(wanted_hash: str) -> tuple[EngineConfig, bool]:
    """This machine's configuration; with another number of workers where that is what the head had."""
    from hpcwise.head.config import digest
    from hpcwise.head.settings import find_configs, find_models_dir, read_settings

    def hashed(config: EngineConfig) -> str:
        return digest(msgspec.structs.replace(config, catalogue=type(config.catalogue)()))

    configs, models = find_configs(), find_models_dir()
    here = read_settings(configs, models).engine
    if hashed(here) == wanted_hash:
        return here, False
    for workers in range(1, _MOST_WORKERS + 1):
        other = read_settings(configs, models, workers).engine
        if hashed(other) == wanted_hash:
            return other, False
    return here, True


def records_of(run: Run) -> Iterator[tuple[int, Record]]:
    for path in run.paths.journal_files():
        epoch = int(path.stem.rpartition("-")[2])
        for record in read_records(path):
            yield epoch, record


def find_track(timeline: Timeline, request_id: str) -> str:
    names = [track.request_id for track in timeline.requests]
    close = [name for name in names if name == request_id] or [n for n in names if n.startswith(request_id)]
    if len(close) != 1:
        problem = "is not unique" if close else "is not known"
        raise UsageError(f"request: {printable(repr(request_id))} {problem}; see `hpcwise ls`")
    return close[0]


def _writable(path: Path) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist; make it, or name another file")


def _print(timeline: Timeline, perfetto: Path | None, gantt: Path | None, verdict: Verdict | None) -> None:
    out = console()
    for track in timeline.requests:
        out.print(f"{track.request_id}  {track.slo}  {track.state}", style="bold", markup=False)
        for note in track.notes[:_MOST_NOTES]:
            out.print(
                f"  {note.at_s - track.arrived_s:8.2f} s  {note.kind:10}  {printable(note.text, 120)}",
                markup=False,
            )
    rows = []
    for life in timeline.workers:
        mine = [item for item in timeline.slices if item.worker == life.worker]
        ended_s = life.ended_s if life.ended_s is not None else timeline.end_s
        busy_s = sum(item.end_s - item.start_s for item in mine)
        lived_s = max(1e-9, min(ended_s, timeline.end_s) - max(life.joined_s, timeline.start_s))
        rows.append(
            (
                life.worker,
                life.node,
                len(mine),
                format_s(busy_s),
                f"{100 * busy_s / lived_s:.0f} %",
                life.reason,
            )
        )
    out.print(
        table(
            ("WORKER", "NODE", "ATTEMPTS", "BUSY", "SHARE", "LEFT"), rows, right=("ATTEMPTS", "BUSY", "SHARE")
        )
    )
    if perfetto is not None:
        out.print(f"trace    {relative(perfetto)}  (open it in ui.perfetto.dev)", markup=False)
    if gantt is not None:
        out.print(f"picture  {relative(gantt)}", markup=False)
    if verdict is None:
        return
    changed = [
        name
        for name, is_changed in (
            ("code", verdict.code_changed),
            ("configuration", verdict.config_changed),
            ("profiles", verdict.profiles_changed),
        )
        if is_changed
    ]
    since = f" ({' and '.join(changed)} changed since)" if changed else ""
    if verdict.same:
        out.print(
            f"verify   all {verdict.events} events are decided the same{since}", style="green", markup=False
        )
        return
    out.print(
        f"verify   from event {verdict.from_event} on (epoch {verdict.epoch}, {verdict.at_s:.3f} s) "
        f"this version would decide otherwise{since}",
        style="yellow",
        markup=False,
    )
    out.print(f"  event     {verdict.event}", markup=False)
    for label, commands in (("recorded", verdict.recorded), ("decided", verdict.decided)):
        for command in commands or ("nothing",):
            out.print(f"  {label:9} {command}", markup=False)
