"""Workers through submitit: as processes of this host, or as Slurm jobs.

Each launch has a folder `root/<token>/submitit` of its own (0700: submitit unpickles what lies in it) and
a note `launch.json` beside it. The note is written after the submission; if the head dies in between,
the job is found by its folder (local) or by its name (Slurm), both of which hold the token.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.launch import slurm
from hpcwise.launch.base import Entry, Handle, JobState, LaunchError, LaunchProfile
from hpcwise.launch.processes import by_folder, kill_all


class SubmititLauncher:
    """See `Launcher`. Safe to call from several threads; one submission at a time."""

    def __init__(
        self, cluster: Literal["local", "slurm"], root: Path, profiles: Mapping[str, LaunchProfile]
    ) -> None:
        self._cluster = cluster
        self._root = root.absolute()
        self._profiles = profiles
        self._host = socket.gethostname() if cluster == "local" else ""
        self._lock = threading.Lock()
        #: Local jobs that are children of this process.
        self._children: dict[str, Any] = {}

    def launch(self, kind: str, token: str, entry: Entry) -> Handle:
        """Submit one job; a second call with the same token is for `find` to prevent."""
        profile = self._profiles.get(kind)
        if profile is None:
            known = ", ".join(sorted(self._profiles)) or "none"
            raise UsageError(f"fleet kind {kind!r}: no launch profile of that name; known are {known}")
        folder = self._folder(token)
        with self._lock:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                job = self._submit(folder, token, profile, entry)
            except (LaunchError, UsageError):
                raise
            except Exception as error:
                # submitit raises its own, subprocess's and the operating system's errors.
                lines = str(error).strip().splitlines()
                raise LaunchError(f"{kind}: {lines[-1] if lines else type(error).__name__}") from error
            if self._cluster == "local":
                self._children[token] = job
        handle = Handle(token=token, job_id=str(job.job_id), host=self._host)
        self._note(handle)
        return handle

    def find(self, token: str) -> Handle | None:
        """By note, else by process or job name."""
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            return msgspec.json.decode((self._root / token / "launch.json").read_bytes(), type=Handle)
        if self._cluster == "local":
            folder = self._folder(token)
            pids = by_folder([folder])[folder]
            return Handle(token=token, job_id=str(pids[0]), host=self._host) if pids else None
        job = slurm.parse_squeue(self._squeue(token)).get(token)
        if job is not None:
            return Handle(token=token, job_id=job[0])
        with contextlib.suppress(LaunchError):  # a site without accounting
            over = slurm.run(["sacct", "-X", "-n", "-P", "-o", "JobID,JobName", "--name", token])
            job_id = slurm.parse_sacct(over).get(token)
            if job_id is not None:
                return Handle(token=token, job_id=job_id)
        return None

    def states(self, handles: Iterable[Handle]) -> Mapping[str, JobState]:
        """One pass over /proc, or one squeue."""
        wanted = list(handles)
        if self._cluster == "slurm":
            return self._slurm_states(wanted)
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

    def kill(self, handle: Handle) -> None:
        """SIGKILL to all processes of a local job; scancel for a Slurm job."""
        if self._cluster == "slurm":
            with contextlib.suppress(LaunchError):
                slurm.run(["scancel", handle.job_id])
        elif handle.host == self._host:
            if not kill_all(self._folder(handle.token)):
                raise LaunchError(f"worker {handle.token}: processes of it do not end")
            while not self._reaped(handle.token):
                time.sleep(0.005)

    def log_path(self, token: str) -> Path:
        """Newest standard error of the job."""
        folder = self._folder(token)
        logs = sorted(folder.glob("*_0_log.err"), key=lambda path: path.stat().st_mtime)
        return logs[-1] if logs else folder

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

    def _note(self, handle: Handle) -> None:
        final = self._root / handle.token / "launch.json"
        beside = final.with_name(".launch.json")
        beside.write_bytes(msgspec.json.encode(handle))
        beside.replace(final)

    def _submit(self, folder: Path, token: str, profile: LaunchProfile, entry: Entry) -> Any:
        import submitit

        # cluster is always given: without it submitit takes Slurm wherever srun is on PATH.
        executor = submitit.AutoExecutor(folder, cluster=self._cluster)
        executor.update_parameters(**parameters(self._cluster, token, profile))
        # Ctrl-C goes to the whole process group of a terminal. The mask is inherited: a head stops its
        # workers itself, or leaves them to the next head.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return executor.submit(entry)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def _squeue(self, token: str = "") -> str:
        command = ["squeue", "--user", str(os.geteuid()), "--noheader", f"--format={slurm.SQUEUE_FORMAT}"]
        return slurm.run([*command, "--states=all", *([f"--name={token}"] if token else [])])

    def _slurm_states(self, wanted: list[Handle]) -> dict[str, JobState]:
        try:
            jobs = slurm.parse_squeue(self._squeue())
        except LaunchError:
            return {handle.token: "unknown" for handle in wanted}
        return {h.token: jobs[h.token][1] if h.token in jobs else "gone" for h in wanted}


def parameters(cluster: str, token: str, profile: LaunchProfile) -> dict[str, Any]:
    """submitit's parameters of one launch; only what the profile states."""
    chosen: dict[str, Any] = {
        "name": token,
        "nodes": profile.nodes,
        "tasks_per_node": profile.tasks_per_node,
        "timeout_min": profile.timeout_min,
        "gpus_per_node": profile.gpus_per_node or None,
        "cpus_per_task": profile.cpus_per_task or None,
        "mem_gb": profile.memory_gb or None,
    }
    if cluster == "slurm":
        chosen |= {
            "slurm_partition": profile.partition or None,
            "slurm_account": profile.account or None,
            "slurm_qos": profile.qos or None,
            "slurm_constraint": profile.constraint or None,
            "slurm_setup": list(profile.setup) or None,
            # The name can be cut or rewritten by a site; the comment is kept as it is.
            "slurm_additional_parameters": {"comment": token, **profile.extra},
        }
    return {name: value for name, value in chosen.items() if value is not None}
