"""Answers to clients' queries: a table from query to a function of the head's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from hpcwise.core.engine import Engine
from hpcwise.core.explain import explain
from hpcwise.core.report import HeadView, head_view, list_requests, receipt, show_request
from hpcwise.launch.base import SlurmUse
from hpcwise.wire import messages as w


class HeadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to AskStatus. paused: why the head waits (no space), empty for not at all; garbage: messages
    that could not be understood; events, journal_bytes: since this head started. slurm: what it asked of
    Slurm since then, None where it needs none. unwell: the last workers that left as their device or node is
    not well."""

    pid: int
    host: str
    version: str
    run_dir: str
    up_s: float
    events: int
    journal_bytes: int
    garbage: int
    paused: str
    publishing: int
    launching: tuple[str, ...]
    view: HeadView
    slurm: SlurmUse | None = None
    unwell: tuple[str, ...] = ()


#: Queries that read the engine alone. AskStatus adds what only the head knows; the rest acts.
READ: Final[Mapping[type, Callable[[Engine, Any], object]]] = {
    w.AskList: lambda engine, _query: list_requests(engine),
    w.AskShow: lambda engine, query: show_request(engine, query.request_id),
    w.AskExplain: lambda engine, query: explain(engine, query.request_id, query.shot),
    w.AskReceipt: lambda engine, query: receipt(engine, query.request_id),
    w.AskWatch: lambda engine, query: show_request(engine, query.request_id),
}


def status(engine: Engine, **facts: Any) -> HeadStatus:
    """The head's own facts beside the engine's view."""
    return HeadStatus(view=head_view(engine), **facts)
