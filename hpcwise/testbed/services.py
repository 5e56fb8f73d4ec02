"""The daemons of a testbed: munged, MariaDB, slurmdbd and slurmctld on its controller, slurmd on every node.

Each is started on its own, so that a test can kill and restart it; none is asked for more than once.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.testbed import hosts, network
from hpcwise.testbed.packages import program
from hpcwise.testbed.record import Record
from hpcwise.testbed.shape import CONTROLLER, Node, TestbedError

#: Daemons of the controller, in the order in which they start.
SERVICES: Final = ("munged", "mariadbd", "slurmdbd", "slurmctld")
#: How long a daemon may take until it answers, seconds; a machine may be busy.
_START_S: Final = 60.0
_DATABASE: Final = (
    "--skip-grant-tables", "--skip-networking", "--skip-name-resolve", "--skip-log-bin",
    "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0", "--innodb-lock-wait-timeout=900", "--performance-schema=OFF",
    "--aria-pagecache-buffer-size=8M", "--key-buffer-size=8M",
)  # fmt: skip


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """Where the programs of the chosen Slurm are. root: None for this machine's own."""

    bin: Path
    sbin: Path
    root: Path | None = None

    @property
    def plugin_dir(self) -> str:
        """Where its plugins are; empty for where it was built to look."""
        return str(self.root / "usr/lib/x86_64-linux-gnu/slurm-wlm") if self.root else ""


def prepare_database(record: Record) -> subprocess.Popen[bytes]:
    """Begin to make an empty database; wait for it before `start_service(…, "mariadbd")`."""
    (record.folder / "memory" / "mysql").mkdir(mode=0o700)
    with (record.folder / "log" / "mariadbd.log").open("ab") as log:
        return subprocess.Popen(
            [
                program("mariadb-install-db"), "--no-defaults", f"--datadir={record.dir}/memory/mysql/data",
                "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal",
                "--innodb-log-file-size=8M",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            env=network.marked(record),
        )  # fmt: skip


def prepare_files(record: Record) -> None:
    """Folders, the munge key and the devices that stand for GPUs."""
    folder = record.folder
    for name in ("log", "run", "nodes", "dev", "munge", "memory"):
        (folder / name).mkdir(mode=0o755)
    # Where daemons wait for the disk at every step: tens of seconds on a busy machine, and all of it for
    # what ends with the testbed.
    memory = folder / "memory"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=755,size=1g", f"hpcwise-{record.name}", str(memory)],
        env=network.marked(record), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        raise TestbedError(f"{memory}: {mounted.stderr.strip()}")
    (memory / "state").mkdir(mode=0o700)
    # The file system that all nodes share, for everybody, like /scratch of a site.
    (folder / "shared").mkdir()
    (folder / "shared").chmod(0o1777)
    key = folder / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    for index in range(max(node.gpus for node in record.shape.nodes())):
        device = folder / "dev" / f"nvidia{index}"
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.chmod(0o666)


def remove_files(record: Record) -> None:
    """Take away all files of a testbed; its processes must be gone."""
    if (record.folder / "memory").is_mount():
        done = subprocess.run(
            ["umount", str(record.folder / "memory")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise TestbedError(f"{record.dir}/memory: {done.stderr.strip()}; is somebody in there?")
    if record.folder.is_dir():
        shutil.rmtree(record.folder)


def start_service(record: Record, programs: Programs, name: str) -> None:
    """Start a daemon of the controller and return when it answers.

    Raises TestbedError with the last line of its log if it ends, or does not answer in a minute.
    """
    if name not in SERVICES:
        raise UsageError(f"SERVICE: {name!r} is not known; use {', '.join(SERVICES)}")
    folder = record.folder
    log = folder / "log" / f"{name}.log"
    address = record.address(record.shape.node(CONTROLLER))
    environment = {"SLURM_CONF": str(folder / "etc" / "slurm.conf")}
    ready: Callable[[], bool]
    match name:
        case "munged":
            at = folder / "munge"
            at.chmod(0o755)
            (at / "socket").unlink(missing_ok=True)
            (at / "socket.lock").unlink(missing_ok=True)
            command = [
                program(name), "--foreground", "--force", f"--socket={at}/socket", f"--key-file={at}/key",
                f"--pid-file={at}/pid", f"--seed-file={at}/seed", f"--log-file={log}",
            ]  # fmt: skip
            ready = lambda: _answers(str(at / "socket"))  # noqa: E731
        case "mariadbd":
            at = folder / "memory" / "mysql"
            command = [
                program(name), "--no-defaults", f"--datadir={at}/data", f"--socket={at}/socket",
                f"--pid-file={at}/pid", "--user=root", *_DATABASE,
            ]  # fmt: skip
            ready = lambda: _answers(str(at / "socket"))  # noqa: E731
        case "slurmdbd":
            command = [str(programs.sbin / name), "-D"]
            environment["MYSQL_UNIX_PORT"] = str(folder / "memory" / "mysql" / "socket")
            ready = lambda: _answers((address, 6819))  # noqa: E731
        case _:
            command = [str(programs.sbin / name), "-D", "-f", str(folder / "etc" / "slurm.conf")]
            ready = lambda: _answers((address, 6817))  # noqa: E731
    hosts.start(record, CONTROLLER, command, log, environment)
    _await(record, CONTROLLER, name, ready, log)


def start_slurmd(record: Record, programs: Programs, node: Node, *, booted: bool = False) -> None:
    """Start slurmd on a node; it registers by itself. booted: it says that the node was switched on."""
    spool = record.folder / "nodes" / node.name / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    conf = str(record.folder / "etc" / "slurm.conf")
    log = record.folder / "log" / f"slurmd.{node.name}.log"
    command = [str(programs.sbin / "slurmd"), "-D", "-N", node.name, "-f", conf]
    if booted:
        command += ["-b"]
    if programs.root:
        command += ["-d", str(programs.sbin / "slurmstepd")]
    hosts.start(record, node.name, command, log, {"SLURM_CONF": conf})


def _await(record: Record, host: str, name: str, ready: Callable[[], bool], log: Path) -> None:
    """Poll: daemons that are no children of ours tell nobody that they are ready."""
    end_s = time.monotonic() + _START_S
    while not ready():
        # Between fork and exec it still is the `setsid` that starts it.
        runs = {name, "setsid"} & set(network.programs(record, host))
        if not runs or time.monotonic() > end_s:
            raise TestbedError(
                f"{name}: {'does not answer' if runs else 'ended'}; its log says: {last_line(log)}"
            )
        time.sleep(0.02)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it is empty")


def _answers(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(1.0)
        return attempt.connect_ex(address) == 0
