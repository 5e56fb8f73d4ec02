"""Reads configs/published.csv: what the artifact's simulator gave, to be drawn and printed beside ours."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError

FILE: Final = "published.csv"
KINDS: Final = ("a100", "h100", "h200", "gb200")


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration of a series. ttff_s: start without a stall; total_s: sum of the stages' times, for
    which the cost is billed, at the artifact's prices. energy_kwh: 0 where it says nothing."""

    series: str
    devices: dict[str, int]
    ttff_s: float
    total_s: float
    cost_usd: float
    energy_kwh: float = 0.0


def read_published(configs_dir: Path) -> tuple[Published, ...]:
    """Raises UsageError that names the line that cannot be read."""
    path = configs_dir / FILE
    found = []
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(line for line in lines if not line.startswith("#")):
            try:
                found.append(
                    Published(
                        series=row["series"],
                        devices={kind: int(row[kind]) for kind in KINDS if int(row[kind])},
                        ttff_s=float(row["ttff_s"]),
                        total_s=float(row["total_s"]),
                        cost_usd=float(row["cost_usd"]),
                        energy_kwh=float(row["energy_kwh"]),
                    )
                )
            except (KeyError, TypeError, ValueError):
                made_by = "make it anew by scripts/extract-published"
                raise UsageError(f"{path}: row {len(found) + 1} is not readable: {row}; {made_by}") from None
    return tuple(found)
