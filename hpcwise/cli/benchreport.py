"""What every measuring command prints: one JSON object, or a table for people."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Literal

import msgspec

Op = Literal[">=", "<=", ">", "<", "=="]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    system: str
    processor: str
    cpus: int
    memory_gb: float
    python: str


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by flat name, goals as (operator, number) by figure; met: all goals are."""

    name: str
    figures: dict[str, float]
    goals: dict[str, tuple[Op, float]]
    met: bool
    machine: Machine


def report(name: str, figures: Mapping[str, float], goals: Mapping[str, tuple[Op, float]]) -> BenchReport:
    """Judge the figures; a goal whose figure is missing is not met."""
    met = all(figure in figures and _holds(figures[figure], *goal) for figure, goal in goals.items())
    return BenchReport(name=name, figures=dict(figures), goals=dict(goals), met=met, machine=machine())


def show(result: BenchReport, *, as_json: bool) -> None:
    """Print to standard output: the JSON object and nothing else, or a table."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
        return
    width = max((len(figure) for figure in result.figures), default=0)
    lines = [f"{result.name} on {result.machine.processor}, {result.machine.cpus} CPUs"]
    for figure, value in result.figures.items():
        line = f"  {figure:<{width}}  {value:>12.4g}"
        if (goal := result.goals.get(figure)) is not None:
            line += f"   goal {goal[0]} {goal[1]:g}: {'met' if _holds(value, *goal) else 'missed'}"
        lines.append(line)
    lines += [f"  {figure:<{width}}  not measured" for figure in result.goals if figure not in result.figures]
    sys.stdout.write("\n".join(lines) + "\n")


def machine() -> Machine:
    """This machine; only what it costs nothing to ask for."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("model name"):
                    processor = line.partition(":")[2].strip()
                    break
    except OSError:
        pass
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=processor,
        cpus=len(os.sched_getaffinity(0)),
        memory_gb=round(memory_gb, 1),
        python=platform.python_version(),
    )


def _holds(value: float, op: Op, bound: float) -> bool:
    match op:
        case ">=":
            return value >= bound
        case "<=":
            return value <= bound
        case ">":
            return value > bound
        case "<":
            return value < bound
        case "==":
            return value == bound
