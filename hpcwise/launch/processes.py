"""Processes of local jobs, found by the folder among their arguments.

A process id in a file would be ambiguous after a reboot and useless when the launcher died before it was
written; the folder of a job is in the command line of its controller and of each of its tasks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

_TASK = b"submitit.core._submit"


def by_folder(folders: Iterable[Path], proc: Path = Path("/proc")) -> dict[Path, list[int]]:
    """Process ids of each folder's job, controllers first; zombies do not count. One pass over /proc."""
    wanted = {os.fsencode(folder): folder for folder in folders}
    found: dict[Path, list[tuple[bool, int]]] = {folder: [] for folder in wanted.values()}
    for entry in os.listdir(proc):  # noqa: PTH208 (names, not paths: half the time)
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            arguments = (proc / entry / "cmdline").read_bytes().split(b"\0")
            for argument in arguments[1:]:
                folder = wanted.get(argument)
                if folder is not None:
                    found[folder].append((_TASK in arguments, int(entry)))
                    break
    return {folder: [pid for _, pid in sorted(pids)] for folder, pids in found.items()}


def kill_all(folder: Path, patience_s: float = 3.0) -> bool:
    """SIGKILL every process of the folder's job and what those started in groups of their own.

    Repeats while new ones appear (a controller may be about to start its task). False if some live on.
    """
    end = time.monotonic() + patience_s
    while pids := by_folder([folder])[folder]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # A worker leads a group with all that its models start. A controller is in the group of
                # whoever launched it, which must live.
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
