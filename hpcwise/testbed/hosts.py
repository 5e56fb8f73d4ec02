"""Starts programs on a host of the testbed: in its network namespace, with a host name, /tmp, /dev/shm and
/etc/hosts of its own. These mounts live in a namespace of the program, and go with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hpcwise.testbed.network import MARK
from hpcwise.testbed.packages import SYSTEM_PATH
from hpcwise.testbed.record import Record
from hpcwise.testbed.shape import TestbedError

#: $0 host, $1 folder of the testbed, $2 number of paths under /tmp to keep, the paths, the program.
_ENTER: Final = """
host=$0 dir=$1 keep=$2
shift 2
hostname "$host"
mount --bind "$dir/etc/hosts" /etc/hosts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
while [ "$keep" -gt 0 ]; do
    mkdir -p "$dir/nodes/$host$1"
    mount --rbind "$1" "$dir/nodes/$host$1"
    keep=$((keep - 1))
    shift
done
mount --rbind "$dir/nodes/$host/tmp" /tmp
exec setsid --fork "$@"
"""


def start(
    record: Record, host: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Start a program that outlives us, in a session of its own; its output is appended to a log.

    When this returns the host is set up and the program runs, or has ended. Raises TestbedError.
    """
    kept = _kept()
    (record.folder / "nodes" / host / "tmp").mkdir(parents=True, exist_ok=True)
    (record.folder / "nodes" / host / "tmp").chmod(0o1777)
    line = [
        "nsenter", f"--net=/run/netns/{record.namespace(host)}",
        "unshare", "--mount", "--uts", "--ipc", "sh", "-ec", _ENTER, host, record.dir, str(len(kept)), *kept,
        *command,
    ]  # fmt: skip
    clean = {
        "PATH": SYSTEM_PATH,
        "LANG": "C.UTF-8",
        "HOME": "/root",
        MARK: record.name,
        **(environment or {}),
    }
    with log.open("ab") as out:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=clean, cwd="/", check=False
        )
    if done.returncode:
        raise TestbedError(f"{command[0]}: could not be started on {host}; see {log}")


def _kept() -> list[str]:
    """What the nodes must see although it lies under /tmp: the program itself and its Python."""
    clone = str(Path(__file__).resolve().parents[2])
    found = {os.path.realpath(path) for path in (clone, sys.prefix, sys.base_prefix)}
    return sorted(path for path in found if path.startswith("/tmp/"))
