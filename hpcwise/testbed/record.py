"""What is known of the testbeds of this machine: one small file each in /run, written before anything else
is made, so that what `up` left when it was killed is found by its name."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.testbed.shape import Node, Shape, TestbedError

RECORDS: Final = Path("/run/hpcwise-testbed")
#: 10.213.N.0/24 belongs to the testbed with index N.
_SUBNET: Final = "10.213"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A testbed. index: of its /24 and of its interface names. pid, started: of the `up` that makes it.

    root: where another Slurm's files are; empty for this machine's own. ready: `up` came to its end.
    """

    name: str
    index: int
    dir: str
    shape: Shape
    root: str = ""
    pid: int = 0
    started: int = 0
    ready: bool = False

    @property
    def bridge(self) -> str:
        """The interface of this machine through which it talks with the nodes."""
        return f"hwb{self.index}"

    @property
    def subnet(self) -> str:
        """Its network."""
        return f"{_SUBNET}.{self.index}.0/24"

    @property
    def login_address(self) -> str:
        """This machine's address on the bridge."""
        return f"{_SUBNET}.{self.index}.1"

    def address(self, node: Node) -> str:
        """A node's address."""
        return f"{_SUBNET}.{self.index}.{node.number}"

    def namespace(self, node: str) -> str:
        """Name of a node's network namespace, as `ip netns` lists it."""
        return f"hw{self.index}-{node}"

    def link(self, node: Node) -> str:
        """This machine's end of a node's cable."""
        return f"hw{self.index}v{node.number}"

    @property
    def folder(self) -> Path:
        """All files of the testbed."""
        return Path(self.dir)


def known() -> list[Record]:
    """All testbeds of this machine, also half made ones."""
    found = []
    for path in sorted(RECORDS.glob("*.json")):
        # One that is just being removed is none.
        with contextlib.suppress(FileNotFoundError):
            found.append(_read(path))
    return found


def find(name: str) -> Record | None:
    """The testbed of that name."""
    try:
        return _read(RECORDS / f"{name}.json")
    except FileNotFoundError:
        return None


def claim(name: str, folder: Path, shape: Shape, root: str) -> Record:
    """Write a record with a free index. Raises UsageError where the name is taken."""
    with _lock():
        taken = {record.index for record in known()} | _addresses_in_use()
        if find(name) is not None:
            raise UsageError(f"--name: testbed {name!r} exists; hpcwise testbed down --name {name} ends it")
        free = next((index for index in range(1, 255) if index not in taken), None)
        if free is None:
            raise TestbedError(f"no free subnet in {_SUBNET}.0.0/16; hpcwise testbed down --all")
        record = Record(
            name=name,
            index=free,
            dir=str(folder),
            shape=shape,
            root=root,
            pid=os.getpid(),
            started=started(os.getpid()),
        )
        write(record)
    return record


def write(record: Record) -> None:
    """Write or replace a record."""
    path = RECORDS / f"{record.name}.json"
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(record))
    beside.rename(path)


def forget(record: Record) -> None:
    """Remove a record, and the folder of records with the last one."""
    with _lock():
        (RECORDS / f"{record.name}.json").unlink(missing_ok=True)
        if not list(RECORDS.glob("*.json")):
            (RECORDS / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                RECORDS.rmdir()


def being_made(record: Record) -> bool:
    """Whether the `up` that writes this testbed still runs."""
    return not record.ready and record.started != 0 and started(record.pid) == record.started


def started(pid: int) -> int:
    """When a process began, in ticks since boot; 0 if there is none. Tells a process from a later one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def _read(path: Path) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: {error}; another version wrote it: end that testbed with it") from None


def _addresses_in_use() -> set[int]:
    """Indices whose network somebody else on this machine uses."""
    used = set()
    for line in Path("/proc/net/fib_trie").read_text(encoding="ascii").splitlines():
        parts = line.strip(" |+-").split("/")[0].split(".")
        if len(parts) == 4 and ".".join(parts[:2]) == _SUBNET and parts[2].isdigit():
            used.add(int(parts[2]))
    return used


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Held while the records change. The last testbed removes the folder: is it still the same file?"""
    while True:
        RECORDS.mkdir(mode=0o755, exist_ok=True)
        try:
            handle = os.open(RECORDS / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                current = (RECORDS / "lock").stat().st_ino
            except FileNotFoundError:
                continue
            if current == os.fstat(handle).st_ino:
                yield
                return
        finally:
            os.close(handle)
