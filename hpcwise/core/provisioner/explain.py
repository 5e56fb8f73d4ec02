"""A plan in words: what it holds, what it bought beyond another plan, and what binds it."""

from __future__ import annotations

from hpcwise.core.provisioner.fleet import devices_used
from hpcwise.core.provisioner.types import Plan


def explain(plan: Plan) -> tuple[str, ...]:
    """Lines on a plan by itself."""
    lines = [f"{plan.variant}: {_devices(plan)}"]
    if plan.misses:
        lines.insert(0, f"closest plan, not what was asked for: {'; '.join(plan.misses)}")
    slow = [f"{'+'.join(row.models)} on {row.pool} at {row.mhz} MHz" for row in plan.replicas if row.mhz]
    if slow:
        lines.append(f"clocks held down: {', '.join(slow)}")
    return (*lines, *_binds(plan))


def explain_step(before: Plan | None, plan: Plan) -> tuple[str, ...]:
    """Lines on a point of a frontier; before: the next cheaper one, None for the cheapest."""
    if before is None:
        return (f"cheapest: {plan.variant} on {_devices(plan)}", *_binds(plan))
    old, new = before.estimate, plan.estimate
    paid = f"${new.cost_usd - old.cost_usd:.2f} more"
    if new.ttff_eff_s < old.ttff_eff_s:
        gain = f"playback starts {_s(old.ttff_eff_s - new.ttff_eff_s)} earlier"
    else:
        gain = f"{max(0.0, old.energy_kwh - new.energy_kwh):.2f} kWh less"
    lines = [f"{paid}, {gain}"]
    if before.variant != plan.variant:
        lines.append(f"changes from {before.variant} to {plan.variant}")
    changes = _changes(before, plan)
    if changes:
        lines.append("bought: " + ", ".join(changes))
    return (*lines, *_binds(plan))


def _binds(plan: Plan) -> tuple[str, ...]:
    e = plan.estimate
    times = {time.stage: time for time in e.stages}
    first = times[e.first_binds]
    share = 100 * first.first_s / e.ttff_s if e.ttff_s > 0 else 0.0
    lines = [f"first segment: {share:.0f} % of its {_s(e.ttff_s)} is {e.first_binds}"]
    if e.rest_binds == "link":
        lines.append(f"pace: the link between regions needs {_s(e.ready_s - e.ttff_s)} for the rest")
    else:
        rest = times[e.rest_binds]
        lines.append(f"pace: {e.rest_binds} is the slowest, {_s(rest.rest_s)} for the rest of the film")
    return tuple(lines)


def _devices(plan: Plan) -> str:
    counts = devices_used(plan.replicas)
    return ", ".join(f"{n} {pool}" for pool, n in counts.items()) or "nothing"


def _changes(before: Plan, plan: Plan) -> list[str]:
    """Replicas by model and size that one has more of than the other, most devices first."""
    counts: dict[tuple[str, str, int], int] = {}
    for sign, each in ((1, plan), (-1, before)):
        for row in each.replicas:
            key = ("+".join(row.models), row.pool, row.devices)
            counts[key] = counts.get(key, 0) + sign * row.n
    rows = [(-abs(n) * size, model, pool, size, n) for (model, pool, size), n in counts.items() if n]
    return [
        f"{'+' if n > 0 else '-'}{abs(n)} {model} of {size} {pool}"
        for _, model, pool, size, n in sorted(rows)
    ][:6]


def _s(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
