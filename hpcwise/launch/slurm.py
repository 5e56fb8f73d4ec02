"""Slurm's commands and their answers. Everything but `ask` is a pure function of text."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpcwise.launch.base import JobState, LaunchError, NoAnswer, Unreachable

#: One line a job: id (each member of an array on a line of its own), state, name, nodes, end, reason.
SQUEUE_FORMAT: Final = "%i|%T|%j|%N|%e|%r"
SACCT_FORMAT: Final = "JobID,State,JobName,NodeList,End,ExitCode"
COMMAND_TIMEOUT_S: Final = 30.0

_PENDING: Final = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SUSPENDED"}
)
_RUNNING: Final = frozenset({"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"})
#: States that are no fault of the job: its node failed under it, or never got it going.
NODE_FAULTS: Final = frozenset({"NODE_FAIL", "BOOT_FAIL"})
#: Reasons to be pending that no waiting cures.
NEVER: Final = frozenset({
    "PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "InvalidAccount", "InvalidQOS",
    "AssocMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit", "JobHeldAdmin", "AccountNotAllowed",
    "QOSNotAllowed",
})  # fmt: skip
#: An answer that did not come says nothing about what happened to the question.
_NO_ANSWER: Final = ("timed out", "Zero Bytes were transmitted", "Connection reset")
_UNREACHABLE: Final = (
    "Unable to contact", "connect failure", "Connection refused", "temporarily unable",
    "Transport endpoint is not connected", "Slurm controller is in standby", "Error connecting",
    "Address family not supported", "Resource temporarily unavailable",
)  # fmt: skip
#: What a person can do, by the words that Slurm uses.
_HINTS: Final = (
    ("invalid partition", "no such partition here; run `hpcwise cluster discover` again"),
    ("Invalid account", "this account may not be used here; set account: and qos: in the cluster file"),
    ("User's group not permitted", "you may not use this partition; set `use: no` for its pool"),
    ("Invalid qos", "this QoS is not yours; set qos: in the cluster file (sacctmgr show assoc has yours)"),
    ("time limit is invalid", "the walltime is over the partition's limit; lower max_min: of the pool"),
    ("exceeds partition time limit", "lower max_min: of the pool in the cluster file"),
    ("Invalid feature", "no node has these features; run `hpcwise cluster discover` again"),
    ("Invalid generic resource", "no node has this GPU type; run `hpcwise cluster discover` again"),
    ("node configuration is not", "ask for less of a node, or run `hpcwise cluster discover` again"),
    ("accounting/QOS policy", "a limit of your account or QoS is reached; lower jobs_max: or wait"),
    ("submit limit", "a limit of your account or QoS is reached; lower jobs_max: in the cluster file"),
    ("Access/permission denied", "sbatch is not allowed here; use `mode: steps` in the cluster file"),
    ("Access denied", "sbatch is not allowed here; use `mode: steps` in the cluster file"),
    ("accounting storage is not", "accounting is off here; set `accounting: no` in the cluster file"),
    ("storage is disabled", "accounting is off here; set `accounting: no` in the cluster file"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """A job as Slurm shows it. state: Slurm's own word; nodes: in Slurm's notation; ends: as printed."""

    job_id: str
    state: str
    name: str
    nodes: str = ""
    ends: str = ""
    reason: str = ""

    @property
    def meaning(self) -> JobState:
        return job_state(self.state)

    @property
    def hopeless(self) -> bool:
        """Whether it waits for what will not come."""
        return self.meaning == "pending" and self.reason.strip("()") in NEVER

    @property
    def words(self) -> str:
        """`job 12 PENDING (Resources)`, `job 12 OUT_OF_MEMORY on n3`."""
        said = f"job {self.job_id} {self.state}"
        if self.nodes and self.nodes != "(null)":
            said += f" on {self.nodes}"
        reason = self.reason.strip("()")
        return f"{said} ({reason})" if reason and reason != "None" else said


def parse_squeue(text: str) -> list[Job]:
    """Jobs of `squeue --array --format=SQUEUE_FORMAT`; lines of another form are skipped."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 6 and fields[0][:1].isdigit():
            found.append(Job(*fields))
    return found


def parse_sacct(text: str) -> list[Job]:
    """Jobs of `sacct -X -n -P -o SACCT_FORMAT`."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 6 and fields[0][:1].isdigit():
            job_id, state, name, nodes, ends, code = fields
            nodes = "" if nodes == "None assigned" else nodes
            found.append(Job(job_id, state, name, nodes, ends, "" if code == "0:0" else f"exit {code}"))
    return found


def job_state(state: str) -> JobState:
    """What a Slurm state means to us; `CANCELLED by 0` and the like are gone."""
    word = state.split()[0].rstrip("+") if state.split() else ""
    if word in _PENDING:
        return "pending"
    return "running" if word in _RUNNING else "gone"


def longest_living(jobs: Iterable[Job]) -> Job | None:
    """Of several jobs the one that lives longest, and of equal ones the latest."""
    order: dict[JobState, int] = {"gone": 0, "unknown": 1, "pending": 2, "running": 3}
    return max(jobs, key=lambda job: (order[job.meaning], _number(job.job_id)), default=None)


def parse_sbatch(text: str) -> str:
    """Job id of `sbatch --parsable`. Raises LaunchError for anything else."""
    word = text.strip().splitlines()[-1].split(";")[0] if text.strip() else ""
    if not word.isdigit():
        raise LaunchError(f"sbatch: answered {text.strip()[:80]!r}, which is no job id")
    return word


def parse_test_only(text: str) -> str:
    """Start time, as printed, of `sbatch --test-only` (it speaks on standard error)."""
    match = re.search(r"to start at (\S+)", text)
    if match is None:
        raise LaunchError(complaint("sbatch --test-only", text))
    return match[1]


def parse_limits(text: str) -> dict[str, float]:
    """Longest walltime by partition, minutes, of `sinfo --noheader --format "%R|%l"`."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, limit = line.strip().partition("|")
        if name and limit:
            found[name] = minutes_of(limit)
    return found


def minutes_of(limit: str) -> float:
    """`2-00:00:00`, `1:30:00`, `30:00`, `infinite` in minutes."""
    days, dash, clock = limit.rpartition("-")
    parts = [float(part) for part in clock.split(":") if part.isdigit()]
    if not parts:
        return float("inf")
    if dash:
        hours, minutes, seconds = [*parts, 0.0, 0.0][:3]
    else:
        hours, minutes, seconds = ([0.0] * 3 + (parts if len(parts) > 1 else [*parts, 0.0]))[-3:]
    return float(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def ids_for_scancel(job_ids: Iterable[str]) -> list[str]:
    """The same jobs in fewer words: members of one array become `7_[0,2]`, which is one call of Slurm's."""
    arrays: dict[str, list[int]] = {}
    for job_id in job_ids:
        main, _, index = job_id.partition("_")
        members = arrays.setdefault(main, [])
        if index.isdigit():
            members.append(int(index))
    return [f"{m}_[{','.join(map(str, sorted(i)))}]" if i else m for m, i in arrays.items()]


def expand_nodes(text: str) -> list[str]:
    """`n[1-3,07],m1` -> n1 n2 n3 n07 m1."""
    found: list[str] = []
    for prefix, inside, suffix in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?([^,\[\]]*)", text):
        if not inside:
            found.append(prefix + suffix)
            continue
        for part in inside.split(","):
            low, _, high = part.partition("-")
            numbers = range(int(low), int(high or low) + 1)
            found.extend(f"{prefix}{number:0{len(low)}d}{suffix}" for number in numbers)
    return [name for name in found if name and name != "(null)"]


def complaint(command: str, text: str) -> str:
    """One line of what Slurm complains about, with what to do where that is known."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line or "failure" in line] or lines
    noise = r"^(allocation failure: |\w+: (error: )?)"
    said = re.sub(noise, "", errors[-1]) if errors else ""
    for words, hint in _HINTS:
        if any(words.lower() in line.lower() for line in lines):
            return f"{command}: {said or words}; {hint}"
    return f"{command}: {said or 'failed without a word'}"


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a submission: nothing of the job that we run in ourselves. sbatch and srun read
    SLURM_* and SBATCH_* as options, MPI libraries read PMI*. SLURM_CONF says where Slurm is and stays.
    Folders on PYTHONPATH become absolute: the job starts elsewhere."""
    kept = {
        name: value
        for name, value in environment.items()
        if name == "SLURM_CONF"
        or not name.startswith(("SLURM", "SBATCH_", "SRUN_", "SALLOC_", "PMI", "SUBMITIT_", "HPCWISE_END_S"))
    }
    if kept.get("PYTHONPATH"):
        parts = kept["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts if part)
    return kept


def ask(
    command: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S, variables: Mapping[str, str] | None = None
) -> str:
    """Standard output of a Slurm command; its standard error where it has none.

    variables: added to the (scrubbed) environment, which sbatch hands on to the job. Raises LaunchError,
    Unreachable or NoAnswer, with one line.
    """
    name = Path(command[0]).name
    try:
        # A group of its own, which goes as a whole: sites wrap these commands in scripts.
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env={**scrubbed(os.environ), **(variables or {})}, process_group=0,
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.communicate()
                raise NoAnswer(f"{name}: no answer within {timeout_s:g} s") from None
    except FileNotFoundError:
        raise LaunchError(
            f"{name}: is not on PATH here; load the site's Slurm module, or start the head where Slurm is"
        ) from None
    except OSError as error:
        raise LaunchError(f"{name}: {error.strerror or error}") from error
    if process.returncode:
        said = err or out
        reason = complaint(name, said)
        if any(words in said for words in _UNREACHABLE):
            raise Unreachable(reason)
        if any(words in said for words in _NO_ANSWER):
            raise NoAnswer(reason)
        raise LaunchError(reason if said.strip() else f"{name}: exit status {process.returncode}")
    return out or err


def _number(job_id: str) -> int:
    digits = re.match(r"\d+", job_id)
    return int(digits[0]) if digits else 0
