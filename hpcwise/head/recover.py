"""From the run directory to an engine: the newest sound snapshot, then the decisions journalled after it.

Decisions are applied, not taken again: a newer version or another profile does not rewrite the past.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.errors import CoreError, StoreError
from hpcwise.head.ledger import Record, SnapshotBody, read_records
from hpcwise.store.journal import Snapshots
from hpcwise.store.paths import RunPaths


@dataclass(frozen=True, slots=True)
class Recovered:
    """The engine as the last head left it; times of the last record (0 for a new run); what was read."""

    engine: Engine
    now_s: float
    wall_s: float
    records: int


def recover(paths: RunPaths, config: EngineConfig) -> Recovered:
    """Raises StoreError for a journal or snapshot that is damaged or of another version."""
    snapshot = Snapshots(paths).latest()
    after_epoch, after_seq = (0, 0) if snapshot is None else (snapshot.epoch, snapshot.seq)
    now_s = wall_s = 0.0
    if snapshot is None:
        engine = Engine(config)
    else:
        try:
            body = msgspec.msgpack.decode(snapshot.payload, type=SnapshotBody)
            engine = Engine.restore(config, body.engine)
        except (msgspec.MsgspecError, CoreError) as error:
            raise StoreError(
                f"{paths.snapshots}: {error}; use the version that wrote it, or another run directory"
            ) from error
        now_s, wall_s = body.now_s, body.wall_s
    records = 0
    for epoch in paths.epoch_numbers():
        path = paths.journal_file(epoch)
        if epoch < after_epoch or not path.exists():
            continue  # an epoch without a journal: its head ended before it decided anything
        for number, record in enumerate(read_records(path)):
            if epoch == after_epoch and number < after_seq:
                continue
            _apply(engine, record, f"{path} record {number}")
            now_s, wall_s = record.now_s, record.wall_s
            records += 1
    return Recovered(engine, now_s, wall_s, records)


def _apply(engine: Engine, record: Record, where: str) -> None:
    try:
        engine.apply_recorded(record.event, record.commands, record.now_s)
    except (CoreError, LookupError) as error:
        raise StoreError(
            f"{where}: cannot be applied ({error}); recover with the version that wrote it"
        ) from error
