"""Files of measurements (configs/profiles/measured/*.csv): one line a configuration, `#` starts a comment.

    hardware,n_devices,steps,frames,width_px,height_px,runs,total_s
    h100,8,10,77,640,480,6,24.61

The name of the file is the model's. total_s is the least that any of the runs took.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from hpcwise.core.errors import UsageError
from hpcwise.core.measure import Measurement, check_measurement

COLUMNS = ("hardware", "n_devices", "steps", "frames", "width_px", "height_px", "runs", "total_s")


def read_measurements(path: Path) -> list[Measurement]:
    """All of a file.

    Raises UsageError with the line that is wrong.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    found: list[Measurement] = []
    header: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = next(csv.reader([line]))
        if not header:
            header = cells
            if tuple(header) != COLUMNS:
                raise UsageError(f"{path}:{number}: columns must be {','.join(COLUMNS)}")
            continue
        if len(cells) != len(header):
            raise UsageError(f"{path}:{number}: {len(cells)} values for {len(header)} columns")
        found.append(_measurement(path.stem, dict(zip(header, cells, strict=True)), f"{path}:{number}"))
    if not found:
        raise UsageError(f"{path}: no measurements in it; run hpcwise profile {path.stem} --write")
    return found


def read_all(folder: Path) -> list[Measurement]:
    """Every file of a folder. Raises UsageError when there is none, or one is wrong."""
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise UsageError(f"{folder}: no measurements (*.csv) there; name a folder that has them")
    return [m for path in paths for m in read_measurements(path)]


def write_measurements(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a file of measurements, beside and then renamed; `head` becomes comments."""
    lines = [f"# {line}".rstrip() for line in head]
    lines.append(",".join(COLUMNS))
    lines += [",".join(str(cell) for cell in row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text("\n".join(lines) + "\n", "utf-8")
    beside.replace(path)


def _measurement(model: str, row: dict[str, str], where: str) -> Measurement:
    def number(name: str) -> float:
        try:
            return float(row[name])
        except ValueError:
            raise UsageError(f"{where}: {name}: {row[name]!r} is not a number; write it with a dot") from None

    def count(name: str) -> int:
        value = number(name)
        if not value.is_integer():
            raise UsageError(f"{where}: {name}: {row[name]!r} is not a whole number; measure again")
        return int(value)

    features = {
        "steps": number("steps"),
        "frames": number("frames"),
        "frame_mpx": number("width_px") * number("height_px") / 1e6,
    }
    m = Measurement(
        model=model, hardware=row["hardware"], n_devices=count("n_devices"), features=features,
        seconds=number("total_s"), runs=count("runs"),
    )  # fmt: skip
    check_measurement(m, where)
    return m
