"""Where things are: the folder of films, and the run's state in a hidden folder inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from hpcwise.cli.values import printable
from hpcwise.core.errors import StoreError, UsageError
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
        """Make the run directory. Raises NotOwner, DiskFull, StoreError; UsageError where none can be."""
        above = next((p for p in (self.results, *self.results.parents) if p.exists()), None)
        if above is not None and not above.is_dir():
            raise UsageError(f"--run-dir: {above} is no folder; name one that you can write to")
        try:
            self.paths.create()
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # such as in /proc
                raise UsageError(
                    f"--run-dir: {self.results}: no folder can be made there; name one that you can write to"
                ) from error
            raise


def run_dir_option(function: F) -> F:
    """`--run-dir`, passed on as `run: Run`."""

    def convert(_context: click.Context, _parameter: click.Parameter, value: str) -> Run:
        return Run.at(value)

    return click.option(
        "--run-dir", "run", default=DEFAULT, envvar="HPCWISE_RUN_DIR", show_default=True, callback=convert,
        metavar="FOLDER", help="Folder of films; the run's state lies in .hpcwise inside it.",
    )(function)  # fmt: skip


def given(name: str) -> bool:
    """Whether an option of the command that runs was given, not taken from its default."""
    found = click.get_current_context().get_parameter_source(name)
    return found not in (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def picture_file(flag: str, path: Path | None) -> None:
    """Raises UsageError where no picture can be written at `path`, before anything is computed for it."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"{flag}: {path} cannot be written; name a file in a folder that exists")


def json_option(function: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON value and nothing else.")(
        function
    )
