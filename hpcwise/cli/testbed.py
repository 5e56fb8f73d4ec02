"""`hpcwise testbed`: a real Slurm with several hosts on this machine, to try and to break."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcwise.cli.completion import nodes, testbeds
from hpcwise.cli.group import Group
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.run import json_option
from hpcwise.core.errors import UsageError

if TYPE_CHECKING:
    from hpcwise.testbed.cluster import Testbed

_cache: Callable[[Any], Any] = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where a Slurm is kept that is not this machine's own. [/var/cache/hpcwise]",
)
_name: Callable[[Any], Any] = click.option(
    "--name",
    default=None,
    metavar="NAME",
    shell_complete=testbeds,
    help="Which testbed. Default: your user name.",
)


@click.group("testbed", cls=Group)
def testbed_command() -> None:
    """A real Slurm on this machine: a network namespace, host name and /tmp for every node.

    Needs root, and the packages that its error names. `down` leaves nothing behind.
    """


@testbed_command.command("up")
@click.option("--a100", default=4, show_default=True, metavar="N", help="Nodes with A100s.")
@click.option("--h200", default=2, show_default=True, metavar="N", help="Nodes with H200s and InfiniBand.")
@click.option("--cpu", default=0, show_default=True, metavar="N", help="Nodes without GPUs.")
@click.option("--spot", default=None, type=int, metavar="N", help="GPU nodes in partition spot too. [all]")
@click.option("--gpus", default=4, show_default=True, metavar="N", help="GPUs of a GPU node.")
@click.option("--slurm", default="22.05", show_default=True, metavar="22.05|24.11", help="Which Slurm.")
@click.option(
    "--user", "users", multiple=True, metavar="NAME", help="A Unix user who gets an account; repeat."
)
@click.option("--grace", default=20, show_default=True, metavar="S", help="Notice of a preemption, seconds.")
@click.option("--user-signal", is_flag=True, help="A preemption sends a job's own --signal too.")
@click.option(
    "--slurmd-timeout", default=12, show_default=True, metavar="S", help="Silence of a node that is down."
)
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where its files go.")
@_cache
@_name
def up(
    a100: int,
    h200: int,
    cpu: int,
    spot: int | None,
    gpus: int,
    slurm: str,
    users: tuple[str, ...],
    grace: int,
    user_signal: bool,
    slurmd_timeout: int,
    folder: Path | None,
    cache: Path | None,
    name: str | None,
) -> None:
    """Make a testbed; returns when all nodes are idle."""
    import time

    from hpcwise.testbed import versions
    from hpcwise.testbed.cluster import Testbed
    from hpcwise.testbed.shape import Shape

    shape = Shape(
        a100=a100,
        h200=h200,
        cpu=cpu,
        spot=spot,
        gpus=gpus,
        slurm=slurm,
        users=users,
        grace_s=grace,
        user_signal=user_signal,
        slurmd_timeout_s=slurmd_timeout,
    )
    begun_s = time.monotonic()
    made = Testbed.up(shape, name or _user(), folder, _say, cache or versions.CACHE)
    took_s = time.monotonic() - begun_s
    _show(made)
    chosen = f" --name {name}" if name else ""
    click.echo(f'up in {took_s:.1f} s; use it: eval "$(hpcwise testbed env{chosen})"')


@testbed_command.command("fetch")
@click.option("--slurm", default="24.11", show_default=True, metavar="22.05|24.11", help="Which Slurm.")
@_cache
def fetch(slurm: str, cache: Path | None) -> None:
    """Fetch a Slurm that is not this machine's own, as `up` does when it is first asked for it."""
    from hpcwise.testbed import packages, versions
    from hpcwise.testbed.shape import Shape

    packages.require_rights()
    found = versions.programs(Shape(slurm=slurm).slurm, cache or versions.CACHE, _say)
    click.echo(f"Slurm {slurm}: {found.root or 'this machine has it'}")


@testbed_command.command("down")
@click.option("--all", "every", is_flag=True, help="All testbeds of this machine.")
@_name
def down(every: bool, name: str | None) -> None:
    """End a testbed and remove every trace of it, also of one that was killed while it was made."""
    from hpcwise.testbed import packages, record
    from hpcwise.testbed.cluster import Testbed

    packages.require_rights()
    if every and name:
        raise UsageError("--name: not together with --all; give one of them")
    names = [known.name for known in record.known()] if every else [name or _user()]
    for one in names:
        Testbed.find(one).down()
        click.echo(f"{one}: down")
    if not names:
        click.echo("no testbed on this machine")


@testbed_command.command("status")
@_name
@json_option
def status(name: str | None, as_json: bool) -> None:
    """The nodes and daemons as they are now."""
    found = _find(name)
    if as_json:
        print_json(found.status())
    else:
        _show(found)


@testbed_command.command("cut")
@click.argument("node", shell_complete=nodes)
@_name
def cut(node: str, name: str | None) -> None:
    """Pull NODE's cable: both sides live on, Slurm says `down` after its time-out."""
    _find(name).cut(node)


@testbed_command.command("heal")
@click.argument("node", shell_complete=nodes)
@_name
def heal(node: str, name: str | None) -> None:
    """Put NODE's cable back and take its delay away."""
    _find(name).heal(node)


@testbed_command.command("slow")
@click.argument("node", shell_complete=nodes)
@click.argument("ms", type=float, default=100.0)
@_name
def slow(node: str, ms: float, name: str | None) -> None:
    """Delay all that NODE sends and gets by MS milliseconds each way [100]; 0 ends it."""
    _find(name).slow(node, ms)


@testbed_command.command("kill")
@click.argument("target", shell_complete=nodes)
@click.option("--daemon", is_flag=True, help="Only slurmd of a node; its jobs live on.")
@_name
def kill(target: str, daemon: bool, name: str | None) -> None:
    """kill -9 all processes of a node, or slurmctld, slurmdbd, mariadbd, munged."""
    _find(name).kill(target, daemon_only=daemon)


@testbed_command.command("restart")
@click.argument("target", shell_complete=nodes)
@_name
def restart(target: str, name: str | None) -> None:
    """Start a node's slurmd again, or slurmctld, slurmdbd, mariadbd, munged."""
    _find(name).restart(target)


@testbed_command.command("pause")
@click.argument("target", shell_complete=nodes)
@_name
def pause(target: str, name: str | None) -> None:
    """Let all processes of a node hang, or slurmctld, slurmdbd, mariadbd, munged."""
    _find(name).pause(target)


@testbed_command.command("resume")
@click.argument("target", shell_complete=nodes)
@_name
def resume(target: str, name: str | None) -> None:
    """Let go on what was paused."""
    _find(name).resume(target)


@testbed_command.command("env")
@_name
def env(name: str | None) -> None:
    """Print what a shell needs to use the testbed: eval "$(hpcwise testbed env)"."""
    for key, value in _find(name, as_root=False).variables.items():
        click.echo(f"export {key}={shlex.quote(value)}")


@testbed_command.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--node", default=None, metavar="NODE", shell_complete=nodes, help="On that node, not on this machine."
)
@_name
def exec_(command: tuple[str, ...], node: str | None, name: str | None) -> int:
    """Run a command in the testbed: hpcwise testbed exec -- sinfo. Its exit code is ours."""
    found = _find(name, as_root=node is not None)
    return _call([*(found.enter(node) if node else ()), *command], found)


@testbed_command.command("shell")
@click.option(
    "--node", default=None, metavar="NODE", shell_complete=nodes, help="On that node, not on this machine."
)
@_name
def shell(node: str | None, name: str | None) -> int:
    """A shell in the testbed."""
    found = _find(name, as_root=node is not None)
    return _call([*(found.enter(node) if node else ()), os.environ.get("SHELL", "/bin/bash")], found)


def _say(step: str) -> None:
    click.echo(f"  {step}", err=True)


def _call(command: list[str], found: Testbed) -> int:
    try:
        return subprocess.run(command, env=found.env, check=False).returncode
    except FileNotFoundError:
        raise UsageError(f"COMMAND: {command[0]!r} is not on PATH") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except KeyError:  # a user without a name
        raise UsageError("--name: your user has no name on this machine; give --name NAME") from None


def _find(name: str | None, *, as_root: bool = True) -> Testbed:
    from hpcwise.testbed import packages
    from hpcwise.testbed.cluster import Testbed

    if as_root:
        packages.require_rights()
    return Testbed.find(name or _user())


def _show(found: Testbed) -> None:
    status = found.status()
    state = "" if status.ready else ", not ready: `up` runs or was killed"
    click.echo(f"{status.name}: Slurm {status.slurm}, this machine is {status.login_address}{state}")
    rows = [
        [
            node.node,
            node.address,
            node.state or "?",
            f"{node.gpus} {node.gpu}" if node.gpu else "",
            ", ".join(
                word
                for word, true in (
                    ("cut", node.cut),
                    (f"{node.slow_ms:g} ms", node.slow_ms),
                    ("no slurmd", not node.slurmd),
                )
                if true
            ),
        ]
        for node in status.nodes
    ]
    console().print(table(["node", "address", "state", "GPUs", "faults"], rows))
    for service, runs in status.services.items():
        if not runs:
            click.echo(f"{service} does not run; hpcwise testbed restart {service}")
