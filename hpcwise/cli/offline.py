"""What the journal says, for when no head runs: the same engine, decisions applied and none taken."""

from __future__ import annotations

from typing import Any

from hpcwise.cli.run import Run
from hpcwise.core.config import EngineConfig
from hpcwise.core.engine import Engine
from hpcwise.core.errors import UsageError
from hpcwise.wire import messages as w


def engine_config() -> EngineConfig:
    """The engine's configuration as a head started here would have it."""
    from hpcwise.head.settings import find_configs, find_models_dir, read_settings

    return read_settings(find_configs(), find_models_dir()).engine


def engine_of(run: Run) -> Engine:
    """The engine as the last head left it; an empty one where none ever ran. Reads only."""
    config = engine_config()
    if not run.exists:
        return Engine(config)
    from hpcwise.head.recover import recover

    return recover(run.paths, config).engine


def answer(run: Run, query: w.Query) -> Any:
    """The answer that a head would give. Raises UsageError for what is not known here."""
    from hpcwise.head.answers import READ

    read = READ.get(type(query))
    if read is None:
        raise UsageError(f"no head runs for {run.results}; start one with `hpcwise head start`")
    return read(engine_of(run), query)
