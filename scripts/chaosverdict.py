"""The figures of a run under faults, taken once it is quiet."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from hpcwise.core.errors import HpcwiseError
from scripts import chaosfigures as figures
from scripts.chaosrun import ChaosRun

#: Slower recoveries are hangs.
SLOWEST_S = 300.0
#: Jobs and processes may take so long to go after the head has stopped.
GOING_S = 60.0


def figures_of(run: ChaosRun, say: Callable[[str], None]) -> dict[str, float]:
    """Stop the head and judge. say: told of each thing that is wrong."""
    site = run.site
    unfinished = run.unfinished
    with contextlib.suppress(HpcwiseError):
        site.stop()
    until_s = time.monotonic() + GOING_S
    while (left := [*site.jobs(), *map(str, site.processes())]) and time.monotonic() < until_s:
        time.sleep(0.5)
    told = figures.Told(site.run)
    damaged = figures.damaged(site.run, told)
    ended = run.asked.ended
    unknown = [token for token in unfinished if token not in told.arrived]
    named = [t for t, row in ended.items() if row.state == "done" or (row.state == "failed" and row.reason)]
    failed = [t for t, row in ended.items() if row.state == "failed"]
    recovered = {fault.number: told.recovery_s(fault) for fault in run.faults}
    never = [f for f in run.faults if (s := recovered[f.number]) is None or s > SLOWEST_S]
    times = [s for s in recovered.values() if s is not None]
    for words, things in (
        ("orphan", left), ("damaged", damaged), ("doubled", told.doubled), ("unfinished", unfinished),
        ("unknown", unknown), ("never recovered", [f"{f.number} {f.kind} {f.what}" for f in never]),
        ("skipped", run.skipped), ("failed", [f"{t}: {ended[t].reason}" for t in failed]),
    ):  # fmt: skip
        for thing in things[:20]:
            say(f"{words}: {thing}")
    kinds = figures.by_kind(run.faults)
    medians = {
        f"recovery_s.{kind}": figures.median(
            [s for f in run.faults if f.kind == kind and (s := recovered[f.number]) is not None]
        )
        for kind in kinds
    }
    return {
        "faults": len(run.faults),
        **{f"faults.{kind}": n for kind, n in kinds.items()},
        "skipped": len(run.skipped),
        "asked": len(run.asked.tokens),
        "completed_fraction": len(named) / max(1, len(run.asked.tokens)),
        "failed": len(failed),
        "tasks": len(told.finished),
        "lost": len(unknown) + len(damaged),
        "doubled": len(told.doubled),
        "orphans": len(left),
        "hangs": len(unfinished) + len(never),
        "recovery_p50_s": figures.percentile(times, 0.5),
        "recovery_p99_s": figures.percentile(times, 0.99),
        **medians,
    }
