"""A testbed as a value with methods: `with Testbed.up(Shape(), "name") as cluster: cluster.run([...])`."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from hpcwise.core.errors import UsageError
from hpcwise.testbed import accounts, configfiles, network, packages, record, services, versions
from hpcwise.testbed.record import Record
from hpcwise.testbed.shape import CONTROLLER, Node, Shape, TestbedError, checked_name

#: Where a testbed's files are, unless --dir says otherwise. Not in /tmp: a node has its own.
HOME: Final = Path("/var/lib/hpcwise-testbed")
#: Longest folder: sockets lie in it, and their names have an end.
_LONGEST: Final = 80
_SLOWEST_MS: Final = 10_000.0
#: How long nodes may take to register, seconds; a machine may be busy.
_NODES_S: Final = 60.0


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it is. state: Slurm's word, empty where slurmctld does not answer. slow_ms: added delay."""

    node: str
    address: str
    state: str
    slurmd: bool
    cut: bool
    slow_ms: float
    gpu: str
    gpus: int


class TestbedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A testbed as it is. services: those of its controller that run."""

    name: str
    slurm: str
    ready: bool
    dir: str
    bridge: str
    login_address: str
    services: dict[str, bool]
    nodes: tuple[NodeStatus, ...]


@dataclass(frozen=True, slots=True)
class Testbed:
    """A running testbed. Leaving a `with` block ends it."""

    record: record.Record
    programs: services.Programs

    __test__ = False

    @classmethod
    def up(
        cls,
        shape: Shape,
        name: str,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
        cache: Path = versions.CACHE,
    ) -> Testbed:
        """Make a testbed and wait until its nodes are idle. What a killed `up` of that name left goes first.

        say: told of each step. cache: where another Slurm is kept. Raises UsageError where something is
        missing or the name is taken, TestbedError with the end of its log where a daemon does not start;
        nothing else of the testbed stays then.
        """
        checked_name(name)
        packages.require(shape)
        programs = versions.programs(shape.slurm, cache, say)
        left = record.find(name)
        if left is not None:
            if left.ready or record.being_made(left):
                raise UsageError(
                    f"--name: testbed {name!r} exists; hpcwise testbed down --name {name} ends it"
                )
            say(f"cleaning what a killed up of {name} left")
            cls(left, programs).down()
        made = cls(record.claim(name, _folder(folder, name), shape, str(programs.root or "")), programs)
        try:
            return cls(made._make(say), programs)
        except BaseException:
            made.down()
            raise

    @classmethod
    def find(cls, name: str) -> Testbed:
        """The testbed of that name. Raises UsageError that lists those there are."""
        found = record.find(name)
        if found is None:
            others = ", ".join(known.name for known in record.known()) or "none"
            raise UsageError(f"--name: no testbed {name!r} on this machine; there are: {others}")
        return cls(found, versions.installed(found.root))

    def __enter__(self) -> Testbed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def name(self) -> str:
        """Its name, also Slurm's name for the cluster."""
        return self.record.name

    @property
    def folder(self) -> Path:
        """All its files: etc, log, shared, nodes/NODE/tmp."""
        return self.record.folder

    @property
    def shared(self) -> Path:
        """A folder that everybody may write and that all nodes see, as /scratch is on a site."""
        return self.record.folder / "shared"

    @property
    def address(self) -> str:
        """This machine's address as the nodes see it."""
        return self.record.login_address

    @property
    def interface(self) -> str:
        """The interface that has this address: what a head on this machine listens on."""
        return self.record.bridge

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of this cluster adds to the present one."""
        path = os.environ.get("PATH", packages.SYSTEM_PATH)
        if self.programs.root:
            path = f"{self.programs.bin}:{path}"
        return {"SLURM_CONF": str(self.folder / "etc" / "slurm.conf"), "PATH": path}

    @property
    def env(self) -> dict[str, str]:
        """The present environment with this cluster's: SLURM_CONF and no other of Slurm's variables."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        return {**kept, **self.variables}

    def run(
        self,
        command: Sequence[str],
        *,
        user: str | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout_s: float = 60.0,
        text: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the login node, also as another Unix user; returns what it printed.

        Raises TestbedError with its error output when it fails, unless `check` is False.
        """
        done = subprocess.run(
            [str(word) for word in command],
            env=self.env,
            cwd=cwd or self.shared,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise TestbedError(f"{command[0]}: exit code {done.returncode}: {said}")
        return done

    def enter(self, node: str) -> list[str]:
        """What comes before a command to run it on a node, as its slurmd sees the machine.

        Raises TestbedError where slurmd does not run there.
        """
        self.record.shape.node(node)
        daemon = "slurmctld" if node == CONTROLLER else "slurmd"
        running = network.daemons(self.record, node, daemon)
        if not running:
            raise TestbedError(f"{node}: {daemon} does not run; hpcwise testbed restart {node}")
        return ["nsenter", "-t", str(running[0]), "-m", "-u", "-i", "-n", "--"]

    def cut(self, node: str) -> None:
        """Pull a node's cable (also the controller's, `ctl`): both sides live on."""
        network.cut(self.record, self.record.shape.node(node))

    def heal(self, node: str) -> None:
        """Put a node's cable back, and take a delay away. The node registers at once.

        slurmctld by itself would look for a node that is down only every half a minute. After the cable of
        the controller all nodes register.
        """
        network.heal(self.record, self.record.shape.node(node))
        for name in [known.name for known in self.record.shape.nodes() if node in (known.name, CONTROLLER)]:
            network.signal_all(network.daemons(self.record, name, "slurmd"), signal.SIGHUP)

    def slow(self, node: str, ms: float) -> None:
        """Delay everything between a node and the rest by `ms` each way; 0 ends it. Raises UsageError."""
        if not 0 <= ms <= _SLOWEST_MS:
            raise UsageError(f"MS: {ms:g} is not usable; give 0 to {_SLOWEST_MS:g} milliseconds")
        network.slow(self.record, self.record.shape.node(node), ms)

    def kill(self, target: str, *, daemon_only: bool = False) -> None:
        """kill -9: all processes of a node (a crash), its slurmd only, or a service of the controller."""
        if target in services.SERVICES:
            network.kill(self.record, CONTROLLER, target)
            return
        self.record.shape.node(target)
        network.kill(self.record, target, "slurmd" if daemon_only else None)

    def pause(self, target: str) -> None:
        """Let a node's processes, or a service of the controller, hang: they lose nothing.

        What is sent to a paused slurmctld is read when it goes on, though the sender has long given up.
        """
        network.signal_all(self._processes(target), signal.SIGSTOP)

    def resume(self, target: str) -> None:
        """Let go on what was paused."""
        network.signal_all(self._processes(target), signal.SIGCONT)

    def restart(self, target: str) -> None:
        """Start a node's slurmd, or a service of the controller, again; one that runs is killed first.

        Returns when a service answers; a node registers by itself (`wait_state`). One that had crashed says
        that it was switched on.
        """
        if target in services.SERVICES:
            network.kill(self.record, CONTROLLER, target)
            services.start_service(self.record, self.programs, target)
            return
        node = self._slurm_node(target)
        crashed = not network.processes(self.record, target)
        network.kill(self.record, target, "slurmd")
        services.start_slurmd(self.record, self.programs, node, booted=crashed)

    def states(self) -> dict[str, str]:
        """sinfo's long word for every node; {} where slurmctld does not answer."""
        done = self.run(["sinfo", "-h", "-N", "-o", "%N|%T"], check=False)
        lines = [line.split("|") for line in done.stdout.splitlines() if "|" in line]
        return {line[0]: line[1] for line in lines} if done.returncode == 0 else {}

    def wait_state(self, node: str, *states: str, timeout_s: float = 60.0) -> str:
        """Wait until Slurm says that a node is in one of these states (`idle`, `down`, …; `*` as in sinfo).

        Raises TestbedError after the time-out.
        """
        self._slurm_node(node)
        return self._wait([node], states, timeout_s)[node]

    def job_state(self, job: str | int) -> str:
        """Slurm's state of a job (`PENDING`, `RUNNING`, `COMPLETED`, …), of slurmctld's memory."""
        done = self.run(["squeue", "-h", "-t", "all", "-j", str(job), "-o", "%T"])
        return done.stdout.strip()

    def wait_job(self, job: str | int, *states: str, timeout_s: float = 60.0) -> str:
        """Wait until a job is in one of these states. Raises TestbedError after the time-out."""
        end_s = time.monotonic() + timeout_s
        while (state := self.job_state(job)) not in states:
            if time.monotonic() > end_s:
                wanted = " or ".join(states)
                raise TestbedError(f"job {job}: {state}, not {wanted}, after {timeout_s:g} s")
            time.sleep(0.1)
        return state

    def status(self) -> TestbedStatus:
        """The testbed as it is now."""
        known = self.record
        running = set(network.programs(known, CONTROLLER))
        states = self.states() if "slurmctld" in running else {}
        return TestbedStatus(
            name=known.name,
            slurm=known.shape.slurm,
            ready=known.ready,
            dir=known.dir,
            bridge=known.bridge,
            login_address=known.login_address,
            services={name: name in running for name in services.SERVICES},
            nodes=tuple(
                NodeStatus(
                    node=node.name,
                    address=known.address(node),
                    state=states.get(node.name, ""),
                    slurmd=bool(network.daemons(known, node.name, "slurmd")),
                    cut=network.is_cut(known, node),
                    slow_ms=network.slow_ms(known, node),
                    gpu=node.gpu,
                    gpus=node.gpus,
                )
                for node in known.shape.nodes()
            ),
        )

    def down(self) -> None:
        """End everything and remove every trace; does nothing for what is gone already."""
        if record.being_made(self.record) and self.record.pid != os.getpid():
            # Nothing may be made while it is removed.
            network.end([self.record.pid])
        network.kill(self.record)
        network.remove(self.record)
        folder = self.record.folder
        services.remove_files(self.record)
        if folder.parent == HOME and HOME.is_dir() and not any(HOME.iterdir()):
            HOME.rmdir()
        record.forget(self.record)

    def _make(self, say: Callable[[str], None]) -> Record:
        known, shape = self.record, self.record.shape
        self.folder.mkdir(parents=True)
        services.prepare_files(known)
        configfiles.write_configs(known, self.programs.plugin_dir)
        database = services.prepare_database(known)
        say(f"{len(shape.nodes())} nodes on {known.bridge}, Slurm {shape.slurm}")
        try:
            network.lay(known)
            services.start_service(known, self.programs, "munged")
        finally:
            failed = database.wait()
        if failed:
            log = self.folder / "log" / "mariadbd.log"
            raise TestbedError(f"mariadb-install-db: exit code {failed}; {services.last_line(log)}")
        say("accounting: MariaDB, slurmdbd")
        services.start_service(known, self.programs, "mariadbd")
        services.start_service(known, self.programs, "slurmdbd")
        accounts.add(self.run, known.name, shape.users)
        say("slurmctld and the nodes")
        services.start_service(known, self.programs, "slurmctld")
        for node in shape.nodes():
            services.start_slurmd(known, self.programs, node)
        self._wait([node.name for node in shape.nodes()], ["idle"], _NODES_S)
        accounts.limit(self.run)
        ready = msgspec.structs.replace(known, ready=True)
        record.write(ready)
        return ready

    def _wait(self, nodes: Collection[str], states: Collection[str], timeout_s: float) -> dict[str, str]:
        end_s = time.monotonic() + timeout_s
        while True:
            seen = self.states()
            if all(seen.get(node) in states for node in nodes):
                return {node: seen[node] for node in nodes}
            if time.monotonic() > end_s:
                slow = ", ".join(
                    f"{n} is {seen.get(n, 'unknown')}" for n in nodes if seen.get(n) not in states
                )
                wanted = " or ".join(states)
                raise TestbedError(f"{slow}, not {wanted}, after {timeout_s:g} s; see {self.folder}/log")
            time.sleep(0.1)

    def _processes(self, target: str) -> list[int]:
        if target in services.SERVICES:
            return network.daemons(self.record, CONTROLLER, target)
        return network.processes(self.record, self.record.shape.node(target).name)

    def _slurm_node(self, name: str) -> Node:
        node = self.record.shape.node(name)
        if name == CONTROLLER:
            raise UsageError(f"NODE: {name!r} runs no slurmd; name one of {', '.join(services.SERVICES)}")
        return node


def _folder(chosen: Path | None, name: str) -> Path:
    folder = (chosen or HOME / name).absolute()
    where = os.path.realpath(folder)
    if where == "/tmp" or where.startswith("/tmp/"):
        raise UsageError(f"--dir: {folder} is in /tmp, of which each node has its own; choose another")
    if len(str(folder)) > _LONGEST:
        raise UsageError(f"--dir: {folder} is too long for sockets; give at most {_LONGEST} characters")
    if folder.exists():
        raise UsageError(f"--dir: {folder} exists; name a folder that does not")
    return folder
