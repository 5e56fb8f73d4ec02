"""Values as people write them: `90s`, `640x400`, `16:10`, `5 usd`, `08:00` in a zone.

Every parser takes text and raises ValueError with the fix ("write 90s, 10m or 1h30m"), which the spec
loader and the command line complete with file, line, field and value.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
)
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0)
_SIZE = re.compile(r"(\d{1,5})\s*[x×]\s*(\d{1,5})")
_ASPECT = re.compile(r"(\d{1,3})\s*:\s*(\d{1,3})")
_MONEY = re.compile(r"\$?\s*(\d+(?:\.\d+)?)\s*(?:usd|dollars?|\$)?", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
#: Short side of a film that states its aspect only, pixels; 16:10 gives 640x400 and 16:9 640x360.
_LONG_SIDE_PX = 640
#: Sizes that differ from their aspect by less than this are meant (854x480 for 16:9).
_ASPECT_TOLERANCE = 0.01
_FURTHEST_S = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """A wall-clock deadline: Unix time, and how it is shown."""

    wall_s: float
    text: str
    zone: str


def parse_duration_s(text: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `1h30m`, `7d`; never below 0."""
    compact = text.strip().lower().replace(" ", "")
    match = _DURATION.fullmatch(compact)
    if match is not None and any(match.groups()):
        parts = (float(g) * unit for g, unit in zip(match.groups(), _UNITS_S, strict=True) if g)
        return _finite(sum(parts))
    try:
        seconds = _finite(float(compact))
    except ValueError:
        raise ValueError("write 90s, 10m or 1h30m") from None
    if seconds < 0:
        raise ValueError("write 90s, 10m or 1h30m")
    return seconds


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of `640x400`."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("write width x height in pixels, such as 640x400")
    return int(match[1]), int(match[2])


def parse_aspect(text: str) -> Fraction:
    """`16:10` as a number."""
    match = _ASPECT.fullmatch(text.strip())
    if match is None or not int(match[1]) or not int(match[2]):
        raise ValueError("write an aspect ratio such as 16:10, 16:9 or 1:1")
    return Fraction(int(match[1]), int(match[2]))


def size_of(aspect: Fraction) -> tuple[int, int]:
    """A size of that aspect with even sides, the longer one 640."""
    short = 2 * max(1, round(_LONG_SIDE_PX * min(aspect, 1 / aspect) / 2))
    return (_LONG_SIDE_PX, short) if aspect >= 1 else (short, _LONG_SIDE_PX)


def fits(size: tuple[int, int], aspect: Fraction) -> bool:
    """Whether a size has that aspect."""
    width, height = size
    return height > 0 and abs(width / height / float(aspect) - 1) <= _ASPECT_TOLERANCE


def parse_usd(text: str) -> float:
    """Dollars of `5`, `5 usd`, `$5`."""
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        raise ValueError("write dollars such as 5 usd")
    return _finite(float(match[1]))


def zone_of(name: str) -> tuple[tzinfo, str]:
    """The zone of that name, the machine's own for an empty one, and its name."""
    if not name:
        return local_zone()
    try:
        return ZoneInfo(name), name
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"name a time zone such as {_nearest_zone(name)}") from None


def local_zone() -> tuple[tzinfo, str]:
    """The machine's zone by name where it says one, else its present offset."""
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    try:
        target = str(Path("/etc/localtime").resolve())
        candidates.append(target.partition("/zoneinfo/")[2])
    except OSError:
        pass
    for name in candidates:
        if name:
            try:
                return ZoneInfo(name), name
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
    zone = datetime.now().astimezone().tzinfo
    return (zone, str(zone)) if zone is not None else (UTC, "UTC")


def parse_by(text: str, zone_name: str, day: str, now_s: float) -> Deadline:
    """The Unix time that `08:00` (its next occurrence, or on `day`) or an ISO date and time mean.

    A time that the clocks skip is refused on a stated day; without one the moment of the change is taken.
    Of a time that comes twice the earlier is taken: a deadline may be met too early, never too late.
    """
    zone, name = zone_of(zone_name)
    text = text.strip()
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        moment = _iso(text, zone, zone_name, day)
        shown = moment.strftime("%Y-%m-%d %H:%M")
    else:
        at = _time(clock)
        moment = _on_day(at, _day(day), zone) if day else _next(at, zone, now_s)
        shown = moment.strftime("%Y-%m-%d %H:%M") if day else f"{at:%H:%M}"
    wall_s = moment.timestamp()
    if wall_s <= now_s:
        ago = format_s(now_s - wall_s)
        raise ValueError(f"it is past since {ago}; choose a later time")
    if wall_s - now_s > _FURTHEST_S:
        raise ValueError("choose a time within a year")
    return Deadline(wall_s, shown, zone_name or name)


def deadline_in(seconds: float, now_s: float) -> Deadline:
    """The deadline `seconds` from now, shown in the machine's zone."""
    if not 0 < seconds <= _FURTHEST_S:
        raise ValueError("choose a time from 1s to a year")
    zone, name = local_zone()
    wall_s = now_s + seconds
    return Deadline(wall_s, datetime.fromtimestamp(wall_s, zone).strftime("%Y-%m-%d %H:%M:%S"), name)


def format_s(seconds: float) -> str:
    """Seconds for people: 4.2 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, name, below, below_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name} {rest} {below_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def format_bytes(count: float) -> str:
    """Bytes for people, decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def printable(text: object, most: int = 80) -> str:
    """Text of others for one line: no control characters, not too long."""
    shown = "".join(c if c.isprintable() else "?" for c in str(text))
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("write a finite number")
    return value


def _nearest_zone(name: str) -> str:
    import difflib

    zones = available_timezones()
    city = {zone.rpartition("/")[2].lower(): zone for zone in sorted(zones)}
    wanted = name.rpartition("/")[2].lower().replace(" ", "_")
    close = difflib.get_close_matches(wanted, city, n=1)
    return city[close[0]] if close else "Europe/Madrid or UTC"


def _time(clock: re.Match[str]) -> time:
    try:
        return time(int(clock[1]), int(clock[2]), int(clock[3] or 0))
    except ValueError:
        raise ValueError("choose a time from 00:00 to 23:59") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("write the date as 2026-11-21") from None


def _iso(text: str, zone: tzinfo, zone_name: str, day: str) -> datetime:
    if day:
        raise ValueError('write the time alone beside a date, such as "08:00"')
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError('write "08:00", or 2026-11-21T08:00') from None
    if len(text) <= 10:
        raise ValueError("add a time, such as 2026-11-21T08:00")
    if moment.tzinfo is None:
        return _on_day(moment.time(), moment.date(), zone)
    if zone_name:
        raise ValueError("state the zone once: leave it out of the time, or leave out zone")
    return moment


def _on_day(at: time, day: date, zone: tzinfo) -> datetime:
    try:
        moment = datetime.combine(day, at, zone)
        back = moment.astimezone(UTC).astimezone(zone)
    except OverflowError:
        raise ValueError("choose a time within a year") from None
    if back.replace(tzinfo=None) != moment.replace(tzinfo=None):
        raise ValueError(f"the clocks skip that time on {day}; choose {back:%H:%M}")
    return moment


def _next(at: time, zone: tzinfo, now_s: float) -> datetime:
    today = datetime.fromtimestamp(now_s, zone).date()
    for offset in range(3):
        day = today + timedelta(days=offset)
        moment = datetime.combine(day, at, zone)
        back = moment.astimezone(UTC).astimezone(zone)
        if back.replace(tzinfo=None) != moment.replace(tzinfo=None):
            moment = _change(moment)
        if moment.timestamp() > now_s:
            return moment
    raise AssertionError("a time of day comes within two days")


def _change(skipped: datetime) -> datetime:
    """The moment at which the clocks skip this time: the last one that exists before it, plus an instant."""
    low, high = skipped.timestamp() - 86400, skipped.timestamp() + 86400
    zone = skipped.tzinfo
    before = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 0.5:
        middle = (low + high) / 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(round(high), zone)
