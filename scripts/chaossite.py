"""What `scripts/chaos` breaks: a run directory on a file system of its own, and a site whose jobs have little
memory and whose sbatch can be made slow."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from hpcwise.launch.processes import by_folder
from hpcwise.testbed.cluster import Testbed
from scripts.e2esite import NightSite

#: Not in /tmp, of which every node has its own.
HOME: Final = Path("/var/tmp")
_SIZE: Final = "1500M"
#: Memory of a job, GB: enough for a worker, too little for a task that takes half a GB more.
JOB_GB: Final = 1.0
GREEDY_GB: Final = 1.6


class Disk:
    """A file system in a file, shared by all nodes: it can hang, be full, and be read-only for the workers.

    Mounted before the testbed starts, whose nodes see what was mounted then.
    """

    def __init__(self, home: Path, root: Path) -> None:
        self._home = home
        self.root = root
        self._ballast = root / "ballast"

    @property
    def store(self) -> Path:
        """A mount of its own, where a run's artifacts are to lie."""
        return self.root / "store"

    def hang(self, seconds: float) -> None:
        """Nothing can be written for so long. One process freezes and thaws: no way out leaves it frozen."""
        self._freezing(f"fsfreeze -f {self.root}; sleep {seconds:.1f}; fsfreeze -u {self.root}")

    def stutter(self, seconds: float) -> None:
        """Slow: of every 0.8 s writes pass in 0.2 only."""
        turn = f"fsfreeze -f {self.root}; sleep 0.6; fsfreeze -u {self.root}; sleep 0.2"
        self._freezing(f"for i in $(seq {round(seconds / 0.8)}); do {turn}; done")

    def fill(self) -> None:
        """No byte is left."""
        size = 1 << 30
        with self._ballast.open("wb") as file:
            while size >= 512:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                except OSError:
                    size //= 2

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def read_only(self, enter: list[str], wanted: bool) -> bool:
        """Artifacts cannot be written on the node that `enter` leads to; False while something is open."""
        how = "ro" if wanted else "rw"
        command = [*enter, "mount", "-o", f"remount,bind,{how}", str(self.store)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def close(self) -> None:
        for mounted in (self.store, self.root):
            subprocess.run(["umount", "--lazy", str(mounted)], capture_output=True, check=False)
        shutil.rmtree(self._home)

    def _freezing(self, line: str) -> None:
        # In a session of its own: Ctrl-C must not leave it frozen.
        subprocess.run(["sh", "-c", line], start_new_session=True, capture_output=True, check=False)


@contextlib.contextmanager
def disk() -> Iterator[Disk]:
    """A file system for a run. Raises CalledProcessError where it cannot be made (it takes root)."""
    home = Path(tempfile.mkdtemp(prefix="hpcwise-chaos-", dir=HOME))
    home.chmod(0o755)
    image, root = home / "image", home / "shared"
    root.mkdir()
    made = Disk(home, root)
    try:
        for command in (
            ["truncate", "-s", _SIZE, str(image)],
            ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)],
            ["mount", "-o", "loop", str(image), str(root)],
        ):
            subprocess.run(command, check=True, capture_output=True)
        root.chmod(0o1777)
        made.store.mkdir(mode=0o700)
        subprocess.run(["mount", "--bind", str(made.store), str(made.store)], check=True)
        yield made
    finally:
        made.close()


class ChaosSite(NightSite):
    """disk: where the run lies; without one in the testbed's shared folder, which cannot be broken."""

    def __init__(self, testbed: Testbed, name: str, workers: int, disk: Disk | None = None) -> None:
        super().__init__(testbed, name, workers, shared=disk.root if disk else None)
        self.disk = disk
        path = self.configs / "clusters" / "here.yaml"
        content = yaml.safe_load(path.read_text())
        for pool in content["pools"]:
            share = pool.get("gpus_per_node") or pool["cpus_per_node"]
            pool["memory_gb_per_node"] = JOB_GB * share / 0.95
        path.write_text(yaml.safe_dump(content))
        self.run.create()
        if disk is not None:
            self.run.paths.store.rmdir()
            self.run.paths.store.symlink_to(disk.store)
        self._make_sbatch_slow()

    @property
    def late(self) -> Path:
        """While this file exists, the next sbatch takes its job and does not answer."""
        return self.root / "late"

    def worker_pids(self, worker_id: str) -> list[int]:
        """Its processes, whatever node they run on; the controller first."""
        folder = self.run.paths.workers / worker_id / "submitit"
        return by_folder([folder])[folder]

    def processes(self) -> list[int]:
        """All that runs for this run: workers, head, batch scripts."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    line = (entry / "cmdline").read_bytes()
                    ours = str(self.run.results).encode() in line
                    if ours and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                        found.append(int(entry.name))
        return found

    def _make_sbatch_slow(self) -> None:
        path = self.root / "bin" / "sbatch"
        real = shutil.which("sbatch", path=self.testbed.env["PATH"])
        path.write_text(
            "#!/bin/sh\n"
            f'echo "$(date +%s.%N) sbatch" >> {self.root / "calls"}\n'
            f'if [ "$1" = --parsable ] && mv {self.late} {self.late}.$$ 2>/dev/null; then\n'
            f'    {real} "$@"\n    exec sleep 120\nfi\n'
            f'exec {real} "$@"\n'
        )
