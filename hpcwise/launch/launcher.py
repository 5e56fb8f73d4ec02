"""Workers as processes of this host, through submitit.

Each launch has a folder `root/<token>/submitit` of its own (0700: submitit unpickles what lies in it) and
a note `launch.json` beside it. If the head dies between submission and note, the job is found by its folder,
which is among the arguments of its processes.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpcwise.core.errors import UsageError
from hpcwise.launch.base import Entry, Handle, JobState, LaunchError, LaunchProfile, SlurmUse
from hpcwise.launch.notes import Notes
from hpcwise.launch.processes import by_folder, kill_all
from hpcwise.launch.submission import local_parameters, private


class SubmititLauncher:
    """See `Launcher`. Safe to call from several threads; one submission at a time."""

    at_once = 1

    def __init__(self, root: Path, profiles: Mapping[str, LaunchProfile]) -> None:
        self._root = root.absolute()
        self._profiles = profiles
        self._notes = Notes(self._root)
        self._host = socket.gethostname()
        self._lock = threading.Lock()
        #: Jobs that are children of this process.
        self._children: dict[str, Any] = {}

    def may_launch(self) -> bool:
        return True

    def launch(self, kind: str, token: str, entry: Entry) -> Handle:
        """Submit one job; a second call with the same token is for `find` to prevent."""
        profile = profile_of(self._profiles, kind)
        folder = self._folder(token)
        with self._lock:
            try:
                self._children[token] = job = self._submit(private(folder), token, profile, entry)
            except (LaunchError, UsageError):
                raise
            except Exception as error:
                raise LaunchError(f"{kind}: {last_line(error)}") from error
        handle = Handle(token=token, job_id=str(job.job_id), host=self._host)
        self._notes.write(handle)
        return handle

    def launch_many(
        self, kind: str, entries: Mapping[str, Entry], minutes: int | None = None
    ) -> Mapping[str, Handle]:
        return {token: self.launch(kind, token, entry) for token, entry in entries.items()}

    def find(self, token: str) -> Handle | None:
        """By note, else by process."""
        handle = self._notes.read(token)
        if handle is not None:
            return handle
        folder = self._folder(token)
        pids = by_folder([folder])[folder]
        return Handle(token=token, job_id=str(pids[0]), host=self._host) if pids else None

    def states(self, handles: Iterable[Handle]) -> Mapping[str, JobState]:
        """One pass over /proc."""
        wanted = list(handles)
        folders = {handle.token: self._folder(handle.token) for handle in wanted}
        alive = by_folder(folders.values())
        found: dict[str, JobState] = {}
        for handle in wanted:
            if handle.host != self._host:
                found[handle.token] = "unknown"
            elif alive[folders[handle.token]] or not self._reaped(handle.token):
                found[handle.token] = "running"
            else:
                found[handle.token] = "gone"
        return found

    def hurry(self, urgent: bool = False) -> None:
        """Looking is cheap here; it is done every second anyway."""

    def words(self, token: str) -> str:
        return ""

    def avoid(self, nodes: Iterable[str]) -> None:
        """There is only this host."""

    def kill(self, handle: Handle) -> None:
        """SIGKILL to all processes of the job."""
        if handle.host != self._host:
            return
        if not kill_all(self._folder(handle.token)):
            raise LaunchError(f"worker {handle.token}: processes of it do not end")
        while not self._reaped(handle.token):
            time.sleep(0.005)

    def kill_many(self, handles: Iterable[Handle]) -> None:
        for handle in handles:
            self.kill(handle)

    def log_path(self, token: str) -> Path:
        """Newest standard error of the job."""
        folder = self._folder(token)
        logs = sorted(folder.glob("*_0_log.err"), key=lambda path: path.stat().st_mtime)
        return logs[-1] if logs else folder

    def use(self) -> SlurmUse | None:
        return None

    # -- inside ------------------------------------------------------------------------------------------

    def _reaped(self, token: str) -> bool:
        """Whether a child of ours has fully ended; asks for its status, so that it stays no zombie. A
        process has lost its command line a moment before that."""
        job = self._children.get(token)
        if job is not None and job.done():
            self._children.pop(token, None)
            return True
        return job is None

    def _folder(self, token: str) -> Path:
        return self._root / token / "submitit"

    def _python(self, token: str, profile: LaunchProfile) -> str | None:
        """What starts Python, None for our own interpreter."""
        return None

    def _submit(self, folder: Path, token: str, profile: LaunchProfile, entry: Entry) -> Any:
        import submitit

        # cluster is always given: without it submitit takes Slurm wherever srun is on PATH.
        executor = submitit.AutoExecutor(folder, cluster="local", local_python=self._python(token, profile))
        executor.update_parameters(**local_parameters(token, profile))
        # Ctrl-C goes to the whole process group of a terminal. The mask is inherited: a head stops its
        # workers itself, or leaves them to the next head.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return executor.submit(entry)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)


def profile_of(profiles: Mapping[str, LaunchProfile], kind: str) -> LaunchProfile:
    """Raises UsageError for a kind without one."""
    if kind not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise UsageError(f"fleet kind {kind!r}: no launch profile of that name; known are {known}")
    return profiles[kind]


def last_line(error: BaseException) -> str:
    """submitit raises its own, subprocess's and the operating system's errors."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
