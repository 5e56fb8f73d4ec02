"""When a film must be ready: the spec's `slo` and what the command line says instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcwise.cli import specread as f
from hpcwise.cli import values
from hpcwise.cli.specerrors import Complaints
from hpcwise.cli.yamlread import Value
from hpcwise.core.errors import UsageError
from hpcwise.core.spec import Batch, By, Live


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the file; None for nothing. Text as it was typed."""

    live: bool = False
    ttff: str | None = None
    by: str | None = None
    zone: str | None = None
    within: str | None = None
    batch: bool = False
    duration: str | None = None
    resolution: str | None = None
    fps: float | None = None
    seed: int | None = None
    name: str | None = None
    script: str | None = None
    models: str | None = None

    def typed(self, field: str) -> str | float | None:
        """What the command line says of a field of the spec, None for nothing."""
        found: dict[str, str | float | None] = {
            "duration": self.duration, "resolution": self.resolution, "fps": self.fps, "seed": self.seed,
            "name": self.name,
        }  # fmt: skip
        return found.get(field)


def deadline_of(
    given: dict[str, Any],
    fields: Mapping[str, Value],
    overrides: Overrides,
    now_s: float,
    complaints: Complaints,
) -> str:
    """Settle the SLO; returns how it was asked for."""
    chosen = [
        flag
        for flag, on in (
            ("--live", overrides.live),
            ("--by", overrides.by),
            ("--in", overrides.within),
            ("--batch", overrides.batch),
        )
        if on
    ]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)}: choose one of them")
    if overrides.ttff is not None and chosen not in ([], ["--live"]):
        raise UsageError(f"--ttff: belongs to --live, not to {chosen[0]}; leave it out")
    if overrides.zone is not None and chosen != ["--by"]:
        raise UsageError("--zone: belongs to --by; add --by, or leave it out")
    if chosen or overrides.ttff is not None:
        given["slo"], asked = _asked_slo(overrides, given.get("slo"), now_s)
        return asked
    slo = given.get("slo", Batch())
    if isinstance(slo, dict):
        text, zone, day = (_text(slo.get(name)) for name in ("by", "zone", "date"))
        try:
            values.zone_of(zone)
        except ValueError as error:
            complaints.add("slo.zone", slo["zone"], str(error))
            given.pop("slo")
            return ""
        try:
            if not isinstance(slo["by"].data, str):
                raise ValueError('write "08:00" in quotes, or an ISO date and time')
            deadline = values.parse_by(text, zone, day, now_s)
        except ValueError as error:
            complaints.add("slo.by", slo["by"], str(error))
            given.pop("slo")
            return ""
        given["slo"] = By(wall_s=deadline.wall_s, text=deadline.text, zone=deadline.zone)
        return f"by {text} {day} {zone}"
    given["slo"] = slo
    return repr(slo)


def _asked_slo(overrides: Overrides, slo: Any, now_s: float) -> tuple[Live | By | Batch, str]:
    def usage(flag: str, value: str, error: ValueError) -> UsageError:
        return UsageError(f"{flag}: {values.printable(repr(value))} is not usable; {error}")

    if overrides.by:
        zone = overrides.zone or ""
        try:
            values.zone_of(zone)
        except ValueError as error:
            raise usage("--zone", zone, error) from None
        try:
            deadline = values.parse_by(overrides.by, zone, "", now_s)
        except ValueError as error:
            raise usage("--by", overrides.by, error) from None
        by = By(wall_s=deadline.wall_s, text=deadline.text, zone=deadline.zone)
        return by, f"by {overrides.by}  {zone}"
    if overrides.within:
        try:
            deadline = values.deadline_in(values.parse_duration_s(overrides.within), now_s)
        except ValueError as error:
            raise usage("--in", overrides.within, error) from None
        by = By(wall_s=deadline.wall_s, text=deadline.text, zone=deadline.zone)
        return by, f"in {overrides.within}"
    if overrides.batch:
        return Batch(), repr(Batch())
    live = slo if isinstance(slo, Live) else Live()
    if overrides.ttff is not None:
        try:
            live = Live(ttff_s=f.duration(0.1, 3600)(Value(overrides.ttff, 1, overrides.ttff)))
        except ValueError as error:
            raise usage("--ttff", overrides.ttff, error) from None
    return live, repr(live)


def _text(value: Value | None) -> str:
    return "" if value is None or value.data is None else value.text or str(value.data)
