"""The cables: a bridge, and for every node a network namespace with one end of a veth pair in it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hpcwise.testbed.record import Record
from hpcwise.testbed.shape import CONTROLLER, Node, TestbedError

_NAMESPACES: Final = Path("/run/netns")
#: How long processes may take to vanish after SIGKILL, seconds.
_KILL_S: Final = 20.0


def lay(record: Record) -> None:
    """Make the bridge and all namespaces."""
    hosts = all_hosts(record)
    bridge = record.bridge
    for node in hosts:
        _ip(["netns", "add", record.namespace(node.name)])
    lines = [f"link add {bridge} type bridge", f"addr add {record.login_address}/24 dev {bridge}"]
    for node in hosts:
        space, link = record.namespace(node.name), record.link(node)
        lines += [f"link add {link} type veth peer name eth0 netns {space}"]
        lines += [f"link set {link} master {bridge} up"]
    _ip(["-batch", "-"], "\n".join([*lines, f"link set {bridge} up", ""]))
    for node in hosts:
        inside = f"link set lo up\naddr add {record.address(node)}/24 dev eth0\nlink set eth0 up\n"
        _ip(["-n", record.namespace(node.name), "-batch", "-"], inside)


def remove(record: Record) -> None:
    """Take away whatever of the network exists, also of a half made one. Its processes must be gone."""
    prefix = record.namespace("")
    for space in _NAMESPACES.glob(f"{prefix}*"):
        subprocess.run(["ip", "netns", "del", space.name], capture_output=True, check=False)
        space.unlink(missing_ok=True)
    # A cable goes with its namespace; the kernel may take a moment for that.
    for link in Path("/sys/class/net").glob(f"hw{record.index}[vr]*"):
        subprocess.run(["ip", "link", "del", link.name], capture_output=True, check=False)
    subprocess.run(["ip", "link", "del", record.bridge], capture_output=True, check=False)


def cut(record: Record, node: Node) -> None:
    """Pull a node's cable: both sides live on."""
    _ip(["link", "set", record.link(node), "down"])


def heal(record: Record, node: Node) -> None:
    """Put a node's cable back."""
    _ip(["link", "set", record.link(node), "up"])


def is_cut(record: Record, node: Node) -> bool:
    """Whether a node's cable is out."""
    flags = Path(f"/sys/class/net/{record.link(node)}/flags").read_text(encoding="ascii")
    return not int(flags, 16) & 1


def processes(record: Record, node: str | None = None) -> list[int]:
    """All processes on a node, or on every host of the testbed (its controller included)."""
    wanted = set()
    prefix = record.namespace("")
    names = [record.namespace(node)] if node else [path.name for path in _NAMESPACES.glob(f"{prefix}*")]
    for name in names:
        try:
            wanted.add((_NAMESPACES / name).stat().st_ino)
        except FileNotFoundError:
            continue
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                inode = os.stat(f"/proc/{entry}/ns/net").st_ino
            except OSError:
                continue
            if inode in wanted:
                found.append(int(entry))
    return found


def daemons(record: Record, node: str, program: str) -> list[int]:
    """Processes of a node that run a program (a base name such as slurmd)."""
    return [pid for pid in processes(record, node) if _program(pid) == program]


def programs(record: Record, node: str) -> list[str]:
    """Base names of the programs that run on a node."""
    return [_program(pid) for pid in processes(record, node)]


def slow(record: Record, node: Node, ms: float) -> None:
    """Delay a node's cable."""
    raise TestbedError("slow: comes with the next commit")


def slow_ms(record: Record, node: Node) -> float:
    """The delay added to a node's cable, each way."""
    return 0.0


def kill(record: Record, node: str | None = None, program: str | None = None) -> None:
    """SIGKILL for every process of a node (of one program only) or of all hosts; returns when they are gone.

    Raises TestbedError if one does not go.
    """
    end_s = time.monotonic() + _KILL_S
    while True:
        # Looked for again until there is none: what was killed may just have forked.
        pids = processes(record, node)
        pids = [pid for pid in pids if program in (None, _program(pid))]
        if not pids:
            return
        signal_all(pids)
        if time.monotonic() > end_s:
            raise TestbedError(f"testbed {record.name}: processes {pids} do not end; see ps -l")
        time.sleep(0.01)


def signal_all(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Send a signal; a process that has gone is no error."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def all_hosts(record: Record) -> tuple[Node, ...]:
    """The nodes and the controller."""
    return (record.shape.node(CONTROLLER), *record.shape.nodes())


def _program(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return os.path.basename(words[0]).decode(errors="replace").rstrip(":")


def _ip(arguments: Sequence[str], text: str = "") -> None:
    done = subprocess.run(["ip", *arguments], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TestbedError(f"ip {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
