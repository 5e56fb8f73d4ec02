"""Where things are: the folder of films, and the run's state in a hidden folder inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from hpcwise.cli.values import printable
from hpcwise.core.errors import UsageError
from hpcwise.store.paths import RunPaths

F = TypeVar("F", bound=Callable[..., Any])
#: The run directory (journal, store, keys) lies here, inside the folder of films, closed to others.
STATE: Final = ".hpcwise"
DEFAULT: Final = "results"


@dataclass(frozen=True, slots=True)
class Run:
    """results: films, one folder a request. paths: the run directory."""

    results: Path
    paths: RunPaths

    @classmethod
    def at(cls, folder: str) -> Run:
        """The run of a folder of films; nothing is made. Raises UsageError for an unusable path."""
        if not folder.strip() or not folder.isprintable():
            raise UsageError(f"--run-dir: {printable(repr(folder))} is not usable; name a folder")
        results = Path(folder).expanduser().absolute()
        if results.exists() and not results.is_dir():
            raise UsageError(f"--run-dir: {printable(folder)} is a file; name a folder")
        return cls(results, RunPaths(results / STATE))

    @property
    def exists(self) -> bool:
        """Whether anything was ever submitted or run here."""
        return self.paths.journal.is_dir()

    @property
    def inputs(self) -> Path:
        """Documents by their hash, so that a job survives the loss of the original."""
        return self.paths.root / "inputs"

    def film(self, request_id: str) -> Path:
        """Folder of a request's film."""
        return self.results / request_id

    def create(self) -> None:
        """Make the run directory. Raises NotOwner, DiskFull, StoreError."""
        self.paths.create()


def run_dir_option(function: F) -> F:
    """`--run-dir`, passed on as `run: Run`."""

    def convert(_context: click.Context, _parameter: click.Parameter, value: str) -> Run:
        return Run.at(value)

    return click.option(
        "--run-dir", "run", default=DEFAULT, envvar="HPCWISE_RUN_DIR", show_default=True, callback=convert,
        metavar="FOLDER", help="Folder of films; the run's state lies in .hpcwise inside it.",
    )(function)  # fmt: skip


def json_option(function: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON value and nothing else.")(
        function
    )
