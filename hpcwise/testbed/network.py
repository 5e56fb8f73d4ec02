"""The cables: a bridge, and for every node a network namespace with one end of a veth pair in it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hpcwise.testbed.record import Record
from hpcwise.testbed.shape import CONTROLLER, Node, TestbedError

_NAMESPACES: Final = Path("/run/netns")
_INTERFACES: Final = Path("/sys/class/net")
#: In the environment of processes that serve a testbed outside of its hosts: the testbed's name.
MARK: Final = "HPCWISE_TESTBED_OF"
#: How long processes may take to vanish after SIGKILL, seconds.
_KILL_S: Final = 20.0


def lay(record: Record) -> None:
    """Make the bridge and all namespaces."""
    hosts = all_hosts(record)
    bridge = record.bridge
    for node in hosts:
        _ip(record, ["netns", "add", record.namespace(node.name)])
    lines = [f"link add {bridge} type bridge", f"addr add {record.login_address}/24 dev {bridge}"]
    for node in hosts:
        space, link = record.namespace(node.name), record.link(node)
        lines += [f"link add {link} type veth peer name eth0 netns {space}"]
        lines += [f"link set {link} master {bridge} up"]
    # Slurm's daemons send a message in two pieces; without quickack each costs 40 ms of delayed ACK.
    route = f"route change {record.subnet} dev {{}} proto kernel scope link src {{}} quickack 1"
    lines += [f"link set {bridge} up", route.format(bridge, record.login_address)]
    _ip(record, ["-batch", "-"], "\n".join([*lines, ""]))
    for node in hosts:
        address = record.address(node)
        inside = ["link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up"]
        inside += [route.format("eth0", address), ""]
        _ip(record, ["-n", record.namespace(node.name), "-batch", "-"], "\n".join(inside))


def remove(record: Record) -> None:
    """Take away whatever of the network exists, also of a half made one. Its processes must be gone."""
    spaces = list(_NAMESPACES.glob(f"{record.namespace('')}*"))
    # The kernel takes tens of milliseconds for each: all at once.
    going = [
        subprocess.Popen(["ip", "netns", "del", space.name], stderr=subprocess.DEVNULL) for space in spaces
    ]
    for process, space in zip(going, spaces, strict=True):
        process.wait()
        space.unlink(missing_ok=True)
    # A cable goes with its namespace; the kernel may take a moment for that.
    for link in _INTERFACES.glob(f"hw{record.index}[vrs]*"):
        subprocess.run(["ip", "link", "del", link.name], capture_output=True, check=False)
    subprocess.run(["ip", "link", "del", record.bridge], capture_output=True, check=False)


def cut(record: Record, node: Node) -> None:
    """Pull a node's cable: both sides live on."""
    _ip(record, ["link", "set", record.link(node), "down"])


def heal(record: Record, node: Node) -> None:
    """Put a node's cable back, and take its delay away."""
    slow(record, node, 0)
    _ip(record, ["link", "set", record.link(node), "up"])


def is_cut(record: Record, node: Node) -> bool:
    """Whether a node's cable is out."""
    flags = Path(f"/sys/class/net/{record.link(node)}/flags").read_text(encoding="ascii")
    return not int(flags, 16) & 1


def processes(record: Record, node: str | None = None) -> list[int]:
    """All processes on a node; or on every host of the testbed, with what serves it outside of them."""
    prefix = record.namespace("")
    names = [record.namespace(node)] if node else [path.name for path in _NAMESPACES.glob(f"{prefix}*")]
    wanted = set()
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            wanted.add((_NAMESPACES / name).stat().st_ino)
    mark = f"{MARK}={record.name}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # One that has just ended, or is a zombie, has no namespace.
            with contextlib.suppress(OSError):
                if (entry / "ns" / "net").stat().st_ino in wanted or (
                    node is None and mark in (entry / "environ").read_bytes().split(b"\0")
                ):
                    found.append(int(entry.name))
    return found


def daemons(record: Record, node: str, program: str) -> list[int]:
    """Processes of a node that run a program (a base name such as slurmd)."""
    return [pid for pid in processes(record, node) if _program(pid) == program]


def slow(record: Record, node: Node, ms: float) -> None:
    """Delay a node's cable by `ms` each way, by a relay between it and the bridge; 0 takes the relay away."""
    link = record.link(node)
    inner, outer = _relay_links(record, node)
    signal_all(_relays(record, node))
    there = (_INTERFACES / inner).exists()
    if ms == 0:
        if there:
            _ip(record, ["link", "set", link, "master", record.bridge])
            _ip(record, ["link", "del", inner])
        return
    if not there:
        _ip(record, ["link", "add", inner, "type", "veth", "peer", "name", outer])
        _ip(record, ["link", "set", outer, "master", record.bridge, "up"])
        _ip(record, ["link", "set", inner, "up"])
    done = subprocess.run(
        [sys.executable, "-I", str(Path(__file__).with_name("relay.py")), link, inner, f"{ms:g}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        env=marked(record), check=False,
    )  # fmt: skip
    if done.returncode:
        raise TestbedError(f"{node.name}: its cable cannot be delayed: relay ended with {done.returncode}")
    _ip(record, ["link", "set", link, "nomaster"])


def slow_ms(record: Record, node: Node) -> float:
    """The delay added to a node's cable, each way, ms."""
    relays = _relays(record, node)
    return float(_words(relays[0])[-1]) if relays else 0.0


def programs(record: Record, node: str) -> list[str]:
    """Base names of the programs that run on a node."""
    return names(processes(record, node))


def names(pids: Iterable[int]) -> list[str]:
    """Base names of the programs that processes run; "" for one that has ended."""
    return [_program(pid) for pid in pids]


def kill(record: Record, node: str | None = None, program: str | None = None) -> None:
    """SIGKILL for every process of a node (of one program only) or of all hosts; returns when they are gone.

    Raises TestbedError if one does not go.
    """
    end_s = time.monotonic() + _KILL_S
    ending: set[int] = set()
    while True:
        # Looked for again until there is none: what was killed may just have forked.
        pids = [pid for pid in processes(record, node) if program in (None, _program(pid))]
        signal_all(pids)
        ending = {pid for pid in ending.union(pids) if _holds_files(pid)}
        if not pids and not ending:
            return
        if time.monotonic() > end_s:
            left = ", ".join(str(pid) for pid in ending.union(pids))
            raise TestbedError(f"testbed {record.name}: processes {left} do not end; see ps -l")
        time.sleep(0.01)


def end(pids: Iterable[int]) -> None:
    """SIGKILL for these processes; returns when they hold nothing any more."""
    left = set(pids)
    signal_all(left)
    end_s = time.monotonic() + _KILL_S
    while left := {pid for pid in left if _holds_files(pid)}:
        if time.monotonic() > end_s:
            raise TestbedError(f"processes {', '.join(map(str, left))} do not end; see ps -l")
        time.sleep(0.01)


def _holds_files(pid: int) -> bool:
    """Whether a killed process may still hold files. It loses its name and namespaces before."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return state.split()[0] not in "ZX" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def marked(record: Record) -> dict[str, str]:
    """The environment of what `up` starts: it is found and ended also where `up` was killed meanwhile."""
    return {**os.environ, MARK: record.name}


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


def _relay_links(record: Record, node: Node) -> tuple[str, str]:
    """The relay's end and the bridge's end of the cable that is added where one is slow."""
    return f"hw{record.index}r{node.number}", f"hw{record.index}s{node.number}"


def _relays(record: Record, node: Node) -> list[int]:
    mark = f"{MARK}={record.name}".encode()
    inner = _relay_links(record, node)[0]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inner in _words(int(entry.name)):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _words(pid: int) -> list[str]:
    """A process's command line; empty for one that has ended."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in line.rstrip(b"\0").split(b"\0")]


def _program(pid: int) -> str:
    words = _words(pid)
    if words and words[0]:
        return Path(words[0].partition(":")[0]).name
    # In the midst of exec a process has its new name before it has a command line.
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return ""


def _ip(record: Record, arguments: Sequence[str], text: str = "") -> None:
    done = subprocess.run(
        ["ip", *arguments], input=text, capture_output=True, text=True, check=False, env=marked(record)
    )
    if done.returncode:
        raise TestbedError(f"ip {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
