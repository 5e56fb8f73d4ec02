"""What one head process is started with: a run directory, its settings, and times to wait."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from hpcwise.head.settings import Settings


class HeadConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Paths absolute. lost_after_s: without heartbeat. patience_s: how long workers live without a head.
    grace_s: what workers get at an orderly end. worker_grace_s: what a running task gets after SIGTERM.
    join_s: from start to Hello of a local worker. durable: fsync artifacts (the journal always is).
    rpcs_per_minute: questions to Slurm at most. hand_over: at SIGTERM workers are kept for the next head.
    """

    run_dir: str
    results_dir: str
    settings: Settings
    heartbeat_s: float = 1.0
    lost_after_s: float = 10.0
    patience_s: float = 120.0
    grace_s: float = 15.0
    worker_grace_s: float = 20.0
    join_s: float = 60.0
    snapshot_records: int = 100_000
    snapshot_s: float = 60.0
    durable: bool = True
    takeover: bool = False
    rpcs_per_minute: int = 6
    hand_over: bool = False


def digest(value: Any) -> str:
    """Hash of a configuration value, for the journal's header."""
    # Profiles are measured by numbers of devices, and JSON sorts by text alone.
    plain = msgspec.to_builtins(value, str_keys=True)
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


def code_digest() -> str:
    """Hash of the engine's source: what decided is as much part of the journal as what was decided."""
    folder = Path(__file__).resolve().parent.parent / "core"
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]
