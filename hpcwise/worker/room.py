"""The memory that is really free for another model, and who holds the rest.

The engine keeps books by cards: what a model was said to need. Here is looked, before weights are read:
another process on the same GPU, a card that said too little, or a host whose memory others use would end a
load halfway, or the whole worker.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hpcwise.core.errors import NoRoom
from hpcwise.worker.nvml import Gpu, asked

log = logging.getLogger(__name__)

_GB: Final = 1e9
#: A worker that was given less of a card than this shares it with others.
SHARES_BELOW: Final = 0.75
#: As much as a process's own context takes on a card, GB: no model's, so not missed in its size.
_CONTEXT_GB: Final = 0.6


class Room:
    """Of one process. memory_gb: what the worker was given, of each device. gpus: empty on a host's cores.

    Only where something can be read is anything refused. proc, cgroup: where the kernel tells.
    """

    def __init__(
        self, kind: str, memory_gb: float, gpus: tuple[Gpu, ...], *,
        proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup"),
    ) -> None:  # fmt: skip
        self._kind, self._memory_gb, self._gpus = kind, memory_gb, gpus
        self._proc, self._cgroup = proc, cgroup
        self._sizes: dict[str, float] = {}
        self._base_gb = self._own_gb() if kind == "cpu" else 0.0

    @property
    def share(self) -> float:
        """Of a card's memory that this worker was given; 1 where it has all of it, or that is not known."""
        totals = [memory[1] for gpu in self._gpus if (memory := _memory(gpu))]
        if not totals or self._memory_gb >= SHARES_BELOW * min(totals):
            return 1.0
        return self._memory_gb / min(totals)

    def free_gb(self) -> float | None:
        """On the fullest device, or on the host; None where nothing can be read."""
        if self._kind == "cpu":
            own_gb = self._own_gb() - self._base_gb
            return max(0.0, min(self._memory_gb - own_gb, _available_gb(self._proc, self._cgroup)))
        found = [memory[0] for gpu in self._gpus if (memory := _memory(gpu))]
        return min(found) if found else None

    def used_gb(self) -> float | None:
        """By this worker on a host, by all on the fullest device; None where that says nothing of a model."""
        if self._kind == "cpu":
            return self._own_gb()
        used = [memory[1] - memory[0] for gpu in self._gpus if (memory := _memory(gpu))]
        return max(used) if used and self.share == 1.0 else None

    def check(self, model: str, needs_gb: float) -> None:
        """Before a model is loaded. Raises NoRoom."""
        free_gb = self.free_gb()
        if free_gb is not None and free_gb < needs_gb:
            free_memory()
            free_gb = self.free_gb()
        if free_gb is None or free_gb >= needs_gb:
            return
        raise NoRoom(
            f"NoRoom: {model} needs {needs_gb:g} GB, {free_gb:.1f} GB {self._where()} free; "
            f"held by {self._holders() or 'others'}",
            free_gb,
        )

    def measured(self, model: str, before_gb: float | None) -> float:
        """What loading `model` took, GB, where so much was used before; 0 where that cannot be read."""
        after_gb = self.used_gb() if before_gb is not None else None
        took_gb = 0.0 if before_gb is None or after_gb is None else max(0.0, after_gb - before_gb)
        if self._kind != "cpu" and not self._sizes:
            took_gb = max(0.0, took_gb - _CONTEXT_GB)
        self._sizes[model] = took_gb
        return round(took_gb, 3)

    def gone(self, model: str) -> None:
        """It was unloaded."""
        self._sizes.pop(model, None)

    def _own_gb(self) -> float:
        """Memory that is this process's group's alone: without files that are mapped, which the kernel can
        drop."""
        group, total = os.getpgrp(), 0.0
        for pid in filter(str.isdigit, os.listdir(self._proc)):  # noqa: PTH208 (names, not paths)
            try:
                stat = (self._proc / pid / "stat").read_text().rpartition(")")[2].split()
                if int(stat[2]) == group:
                    total += _status_gb((self._proc / pid / "status").read_text())
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile
        return total

    def _where(self) -> str:
        if not self._gpus:
            return f"of {self._memory_gb:g} GB are"
        fullest = min(self._gpus, key=lambda gpu: (_memory(gpu) or (0.0, 0.0))[0])
        return f"of {(_memory(fullest) or (0.0, 0.0))[1]:.1f} GB are on GPU {fullest.name}"

    def _holders(self) -> str:
        held = [f"{name} {gb:.1f} GB" for name, gb in self._sizes.items()]
        if self._kind == "cpu":
            return ", ".join([*held, f"this worker's processes {self._own_gb():.1f} GB"])
        for gpu in self._gpus:
            for process in _told("nvmlDeviceGetComputeRunningProcesses", gpu.handle) or ():
                used = process.usedGpuMemory
                if process.pid != os.getpid():
                    said = "" if used is None else f" {used / _GB:.1f} GB"
                    held.append(f"process {process.pid} ({self._name(process.pid)}){said}")
        return ", ".join(held)

    def _name(self, pid: int) -> str:
        try:
            return (self._proc / str(pid) / "comm").read_text().strip()
        except OSError:
            return "not visible here"


def free_memory() -> None:
    """Give back what libraries keep for later."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _memory(gpu: Gpu) -> tuple[float, float] | None:
    """Free and all, GB; of a slice its own."""
    found = _told("nvmlDeviceGetMemoryInfo", gpu.handle)
    return None if found is None else (found.free / _GB, found.total / _GB)


def _told(function: str, handle: Any) -> Any:
    """None also from a device that is lost: whether it is well is asked elsewhere."""
    try:
        return asked(function, handle)
    except Exception as error:
        log.warning("%s: %s", function, error)
        return None


def _status_gb(text: str) -> float:
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return sum(_kb(fields, name) for name in ("RssAnon", "RssShmem")) * 1024 / _GB


def _kb(fields: Mapping[str, str], name: str) -> float:
    return float(fields.get(name, "0 kB").split()[0])


def _available_gb(proc: Path, cgroup: Path) -> float:
    """By the kernel, and by the limits of the cgroups that this process is in (Slurm's, a container's)."""
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    least = _kb(fields, "MemAvailable") * 1024
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            folder = cgroup / controllers / path.lstrip("/")
            names = ("memory.max", "memory.current") if not controllers else (
                "memory.limit_in_bytes", "memory.usage_in_bytes"
            )  # fmt: skip
            for one in (folder, *folder.parents):
                if not one.is_relative_to(cgroup):
                    break
                least = min(least, _left_in(one, *names))
    return least / _GB


def _left_in(folder: Path, limit: str, used: str) -> float:
    """Bytes; files that are cached count as free, since the kernel drops them first."""
    try:
        most = (folder / limit).read_text().strip()
        if most == "max":
            return float("inf")
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        return max(0.0, float(most) - float((folder / used).read_text()) + cached)
    except (OSError, ValueError):
        return float("inf")
