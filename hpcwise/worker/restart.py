"""A worker process that replaces itself by a fresh one, in place.

The same process id, the same command: submitit's controller, the Slurm step and whoever looks for the job by
its command line notice nothing. Only what a broken CUDA context spoils is new. How often that happened within
the last hour, and since when the worker lives, travels in the environment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

log = logging.getLogger(__name__)

#: Only restarts within the last hour count.
MEMORY_S: Final = 3600.0
_TIMES: Final = "HPCWISE_RESTARTS_S"
_BEGAN: Final = "HPCWISE_BEGAN_S"
#: Notices that must not end a process that cannot handle them yet.
NOTICES: Final = (signal.SIGTERM, signal.SIGUSR2)


def times_s(environ: Mapping[str, str], now_s: float) -> tuple[float, ...]:
    """When this worker was restarted within the last hour, by the machine's monotonic clock."""
    found = []
    for text in environ.get(_TIMES, "").split(","):
        with contextlib.suppress(ValueError):
            found.append(float(text))
    return tuple(at_s for at_s in found if now_s - MEMORY_S < at_s <= now_s)


def began_s(environ: Mapping[str, str], now_s: float) -> float:
    """When the first process of this worker began, by the monotonic clock; now for that one itself."""
    with contextlib.suppress(ValueError):
        return min(now_s, float(environ.get(_BEGAN, "")))
    return now_s


def listen_again() -> None:
    """Notices that came during a restart are handled now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NOTICES)


def replace(worker_began_s: float, now_s: float) -> NoReturn:
    """Start this process's own command in its place. What models have started ends first."""
    kept = (*times_s(os.environ, now_s), now_s)
    os.environ[_TIMES] = ",".join(f"{at_s:.3f}" for at_s in kept)
    os.environ[_BEGAN] = f"{worker_began_s:.3f}"
    for pid in _helpers():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    # Python's own files are closed by exec; a driver's may not be, and would keep the device.
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if int(entry) > 2:
                os.set_inheritable(int(entry), False)
    signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)
    log.info("this process is replaced by a fresh one")
    for handler in logging.getLogger().handlers:
        handler.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _helpers() -> list[int]:
    """Other processes of the group that this worker leads."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 (names, not paths)
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(stat[2]) == os.getpgrp() and int(pid) != os.getpid():
                found.append(int(pid))
    return found
