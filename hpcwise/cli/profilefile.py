"""Writes files of profiles (configs/profiles/*.yaml); read by hpcwise/head/planning.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hpcwise.core.catalogue import LinearProfile


def encode_profiles(profiles: Mapping[str, Mapping[str, LinearProfile]], head: Sequence[str]) -> str:
    """The text of a file: `head` as comments, models and hardware sorted, nothing that is a default."""
    import yaml

    data = {
        model: {hardware: _plain(profile) for hardware, profile in sorted(by_hardware.items())}
        for model, by_hardware in sorted(profiles.items())
    }
    lines = [f"# {line}".rstrip() for line in head]
    # A line a profile's field: short enough to read, and a change of one number is a change of one line.
    body: str = yaml.safe_dump({"profiles": data}, sort_keys=False, width=110, default_flow_style=None)
    return "\n".join(lines) + "\n" + body


def write_profiles(
    path: Path, profiles: Mapping[str, Mapping[str, LinearProfile]], head: Sequence[str]
) -> None:
    """Write such a file, beside and then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(encode_profiles(profiles, head), "utf-8")
    beside.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = zip(value.__struct_fields__, value.__struct_defaults__, strict=True)
        return {
            name: _plain(item)
            for name, default in fields
            if (item := getattr(value, name)) != default and item not in ({}, ())
        }
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
