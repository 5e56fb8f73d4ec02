"""Processes of their own for the tests of this folder, forked by one that has imported what they need and
has computed nothing: torch, diffusers and transformers take seconds of a processor each time."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

#: All of them: a process of tests has one server, and that imports what it is told of before it starts.
_PRELOADED: Final = ["tests.models.preloaded", "tests.models.sampler_runs", "tests.models.on_ranks"]
#: Of glibc's mallopt: from how many bytes on memory is returned as soon as it is free.
_TRIM, _MAP = -1, -3
_KEPT_BYTES: Final = 1 << 30


def context() -> ForkServerContext:
    """For `Process`."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(_PRELOADED)
    return made


def start(
    function: Callable[..., None], *given: Any, log: Path, environment: Mapping[str, str]
) -> BaseProcess:
    """A process that runs `function`, on one thread, says what it says into `log`, and dies with this one."""
    process = context().Process(target=_run, args=(function, given, log, dict(environment)), daemon=True)
    process.start()
    return process


def _run(
    function: Callable[..., None], given: tuple[Any, ...], log: Path, environment: dict[str, str]
) -> None:
    import torch

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    # Decoders take and free large tensors all the time: kept, they need not be cleared page by page.
    libc = ctypes.CDLL(None)
    assert libc.mallopt(_MAP, _KEPT_BYTES) == libc.mallopt(_TRIM, _KEPT_BYTES) == 1
    function(*given)
