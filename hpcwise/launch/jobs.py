"""Workers as Slurm jobs: an sbatch job each, equal ones as one array.

The note of a launch is written before sbatch is called, with the job's name and without its id. An sbatch
that does not answer in time leaves it so: the next sweep over all jobs finds the job by its name, or, when
it has not shown up for `UNSURE_S`, there is none.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from hpcwise.core.errors import UsageError
from hpcwise.launch import slurm
from hpcwise.launch.avoid import Avoid
from hpcwise.launch.base import (
    Entry,
    Handle,
    JobState,
    LaunchError,
    LaunchProfile,
    NoAnswer,
    SlurmUse,
    Unreachable,
)
from hpcwise.launch.launcher import last_line, profile_of
from hpcwise.launch.notes import Notes
from hpcwise.launch.rpc import RpcBudget
from hpcwise.launch.submission import private, slurm_parameters, write_submission

log = logging.getLogger(__name__)

#: A job that sbatch may have made is looked for so long.
UNSURE_S: Final = 90.0
#: All jobs are looked at so often, and after something happened no sooner than this.
SWEEP_S: Final = 30.0
#: And while all of them run: heartbeats say whether their workers live.
QUIET_SWEEP_S: Final = 300.0
HURRIED_SWEEP_S: Final = 3.0
#: Calls a minute that a sweep leaves to submissions.
KEEP: Final = 2
#: While submissions wait for the budget, there are so many sweeps a minute at most.
SWEEPS: Final = 3
WAITING_S: Final = 5.0


class SlurmLauncher:
    """See `Launcher`. Safe to call from several threads; one call of Slurm's at a time."""

    #: Members of one array; sites allow 1,001 and more.
    at_once = 256

    def __init__(
        self,
        root: Path,
        profiles: Mapping[str, LaunchProfile],
        *,
        rpcs_per_minute: int = 6,
        timeout_s: float = slurm.COMMAND_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root.absolute()
        self._profiles = profiles
        self._timeout_s = timeout_s
        self._clock = clock
        self._notes = Notes(self._root)
        self._budget = RpcBudget(rpcs_per_minute, clock())
        self._budget.recall(self._notes.calls_s(), clock())
        self._avoid = Avoid()
        self._lock = threading.Lock()
        self._swept_s = float("-inf")
        self._hurry = True
        self._urgent = False
        self._refused_s = float("-inf")
        self._seen: dict[str, slurm.Job] = {}
        self._asked_s: dict[str, float] = {}

    @property
    def run_name(self) -> str:
        """Begins the names of all jobs of this run directory; two runs of a user do not find each other's."""
        return f"hw-{hashlib.sha256(os.fsencode(self._root.resolve())).hexdigest()[:8]}"

    def may_launch(self) -> bool:
        now_s = self._clock()
        if self._budget.may(now_s, keep=1):  # a kill does not wait
            return True
        self._refused_s = now_s
        return False

    def launch(self, kind: str, token: str, entry: Entry) -> Handle:
        return self.launch_many(kind, {token: entry})[token]

    def launch_many(
        self, kind: str, entries: Mapping[str, Entry], minutes: int | None = None
    ) -> dict[str, Handle]:
        """One sbatch. A handle without a job id: nobody knows yet whether Slurm took it.

        Raises Unreachable when it surely did not and may later, LaunchError where it refuses.
        """
        profile = profile_of(self._profiles, kind)
        tokens = list(entries)
        name = f"{self.run_name}-{tokens[0]}"
        handles = {
            token: Handle(
                token=token, job_id="", name=name, index=i if len(tokens) > 1 else None, group=tokens[0]
            )
            for i, token in enumerate(tokens)
        }
        limit = min(minutes or profile.timeout_min, profile.timeout_min)
        chosen = slurm_parameters(name, profile, limit, self._avoid.nodes(self._clock()), len(tokens))
        with self._lock:
            try:
                script = write_submission(
                    private(self._folder(tokens[0])), list(entries.values()), profile, chosen
                )
            except (LaunchError, UsageError):
                raise
            except Exception as error:
                raise LaunchError(f"{kind}: {last_line(error)}") from error
            for handle in handles.values():
                self._notes.write(handle)
                self._asked_s[handle.token] = self._clock()
            try:
                answer = self._ask(["sbatch", "--parsable", str(script)])
                job_id = slurm.parse_sbatch(answer)
            except NoAnswer:
                self._hurry = True
                return handles
            except LaunchError:
                for token in tokens:
                    self._notes.drop(token)
                raise
            self._swept_s = self._clock()  # there is nothing to see yet
            return {token: self._known(handle, job_id) for token, handle in handles.items()}

    def find(self, token: str) -> Handle | None:
        """By its note. Without one nothing was ever asked for; one without a job id is looked up, unless a
        sweep will do that soon."""
        handle = self._notes.read(token)
        if handle is None or handle.job_id:
            return handle
        if self._notes.age_s(token) < UNSURE_S or not self._budget.may(self._clock()):
            self._hurry = True
            return handle
        with self._lock:
            job = self._by_name(handle)
        if job is None:
            self._notes.drop(token)
            return None
        return self._known(handle, job.job_id.partition("_")[0])

    def states(self, handles: Iterable[Handle]) -> dict[str, JobState]:
        """One squeue for all of them, when one is due."""
        now_s = self._clock()
        wanted = list(handles)
        quiet = all((job := self._seen.get(h.token)) and job.meaning == "running" for h in wanted)
        soon = self._hurry or self._urgent
        least_s = HURRIED_SWEEP_S if soon else QUIET_SWEEP_S if quiet else SWEEP_S
        keep = 0 if self._urgent else 1 if self._hurry else KEEP
        if now_s - self._swept_s < least_s or not self._budget.may(now_s, keep=keep):
            return {}
        waiting = now_s - self._refused_s < WAITING_S
        if waiting and self._budget.last_minute(now_s, "squeue") >= SWEEPS:
            return {}
        with self._lock:
            # Before the question: what happens during it is a reason for another.
            self._hurry = self._urgent = False
            try:
                jobs = self._squeue()
            except LaunchError:
                self._hurry = True
                return {handle.token: "unknown" for handle in wanted}
            self._swept_s = self._clock()
        by_id = {job.job_id: job for job in jobs}
        by_name: dict[str, list[slurm.Job]] = {}
        for job in jobs:
            by_name.setdefault(job.name, []).append(job)
        found = {handle.token: self._state(handle, by_id, by_name) for handle in wanted}
        hopeless = [h for h in wanted if (job := self._seen.get(h.token)) and job.hopeless]
        if hopeless:
            self.kill_many(hopeless)
        # What is ending has an end worth knowing, and soon.
        ending = [h for h in wanted if (job := self._seen.get(h.token)) and job.state == "COMPLETING"]
        self._hurry = self._hurry or bool(ending)
        return found

    def hurry(self, urgent: bool = False) -> None:
        self._hurry = True
        self._urgent = self._urgent or urgent

    def words(self, token: str) -> str:
        seen = self._seen.get(token)
        return seen.words if seen else ""

    def avoid(self, nodes: Iterable[str]) -> None:
        self._avoid.shun(nodes, self._clock())

    def kill(self, handle: Handle) -> None:
        self.kill_many([handle])

    def kill_many(self, handles: Iterable[Handle]) -> None:
        """One scancel; nobody waits for it in vain, so it does not wait for the budget either."""
        with self._lock, contextlib.suppress(LaunchError):
            noted = [h if h.job_id else self._notes.read(h.token) or h for h in handles]
            unsure = [handle for handle in noted if not handle.job_id]
            ids = [handle.job_id for handle in noted if handle.job_id]
            there = self._squeue() if unsure else []  # once, however many they are
            ids += [job.job_id for job in there if any(_is(handle, job) for handle in unsure)]
            if ids:
                grouped = slurm.ids_for_scancel(ids)
                self._ask(["scancel", "--quiet", *grouped], len(grouped))
        self._hurry = True

    def log_path(self, token: str) -> Path:
        """Newest standard error of the job: the batch script's, into which the worker writes too."""
        note = self._notes.read(token)
        folder = self._folder(note.group if note is not None and note.group else token)
        if note is not None and note.job_id:
            path = folder / f"{note.job_id}_0_log.err"
            return path if path.exists() else folder
        logs = sorted(folder.glob("*_0_log.err"), key=lambda path: path.stat().st_mtime)
        return logs[-1] if logs else folder

    def use(self) -> SlurmUse:
        now_s = self._clock()
        return SlurmUse(
            calls=dict(self._budget.calls),
            total=self._budget.calls.total(),
            last_minute=self._budget.last_minute(now_s),
            per_minute=round(self._budget.per_minute(now_s), 2),
            trouble=self._budget.trouble,
            avoided=self._avoid.nodes(now_s),
        )

    # -- inside ------------------------------------------------------------------------------------------

    def _folder(self, token: str) -> Path:
        return self._root / token / "submitit"

    def _known(self, handle: Handle, job_id: str) -> Handle:
        """Note the id that Slurm gave the job."""
        member = job_id if handle.index is None else f"{job_id}_{handle.index}"
        known = replace(handle, job_id=member)
        self._notes.write(known)
        return known

    def _ask(self, command: Sequence[str], n: int = 1) -> str:
        """Counted, timed, and remembered when it fails. Call it with the lock held."""
        began_s = self._clock()
        self._budget.spent(command[0], began_s, n)
        self._notes.write_calls(self._budget.ages_s(began_s))
        try:
            text = slurm.ask(command, self._timeout_s)
        except Unreachable as error:
            self._budget.failed(self._clock(), str(error))
            raise
        except LaunchError:
            self._budget.answered(self._clock(), self._clock() - began_s)
            raise
        self._budget.answered(self._clock(), self._clock() - began_s)
        return text

    def _squeue(self, *options: str) -> list[slurm.Job]:
        command = ["squeue", "--array", "--noheader", f"--user={os.geteuid()}", "--states=all", *options]
        return slurm.parse_squeue(self._ask([*command, f"--format={slurm.SQUEUE_FORMAT}"]))

    def _by_name(self, handle: Handle) -> slurm.Job | None:
        """The job of a launch whose sbatch did not answer: in the queue, or in the books."""
        found = slurm.longest_living(j for j in self._squeue(f"--name={handle.name}") if _is(handle, j))
        if found is not None:
            return found
        with contextlib.suppress(LaunchError):  # a site without accounting
            over = self._ask(["sacct", "-X", "-n", "-P", "-o", slurm.SACCT_FORMAT, "--name", handle.name])
            return slurm.longest_living(j for j in slurm.parse_sacct(over) if _is(handle, j))
        return None

    def _state(
        self, handle: Handle, by_id: Mapping[str, slurm.Job], by_name: Mapping[str, list[slurm.Job]]
    ) -> JobState:
        token = handle.token
        note = handle if handle.job_id else self._notes.read(token) or handle
        job = by_id.get(note.job_id) if note.job_id else None
        if not note.job_id:
            job = slurm.longest_living(j for j in by_name.get(note.name, ()) if _is(note, j))
            if job is not None:
                self._known(note, job.job_id.partition("_")[0])
        if job is None:
            return self._missing(note)
        before = self._seen.get(token)
        self._seen[token] = job
        if before is None or before.words != job.words:
            log.info("%s: %s", token, job.words)
        if job.state.split()[0] in slurm.NODE_FAULTS and (before is None or before.state != job.state):
            self._avoid.note(slurm.expand_nodes(job.nodes), self._clock())
        return "gone" if job.hopeless else job.meaning

    def _missing(self, note: Handle) -> JobState:
        """Slurm does not show it: over for long, or never there."""
        if note.job_id:
            last = self._seen.get(note.token)
            if last is not None and last.meaning != "gone":
                self._seen[note.token] = replace_state(last, "GONE")
            return "gone"
        age_s = min(
            self._clock() - self._asked_s.get(note.token, float("-inf")), self._notes.age_s(note.token)
        )
        if age_s < UNSURE_S:
            self._hurry = True
            return "pending"
        return "gone"


def replace_state(job: slurm.Job, state: str) -> slurm.Job:
    """The same job, which Slurm has forgotten since."""
    return slurm.Job(job.job_id, state, job.name, job.nodes, job.ends)


def _is(handle: Handle, job: slurm.Job) -> bool:
    """Whether a job of that name is this launch's: the same member of the array."""
    _, _, index = job.job_id.partition("_")
    return job.name == handle.name and index == ("" if handle.index is None else str(handle.index))
