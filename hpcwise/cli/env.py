"""`hpcwise env`: Python from a node-local copy, not from thousands of small files on a shared file system."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from hpcwise.cli.group import Group
from hpcwise.cli.output import print_json
from hpcwise.cli.run import json_option
from hpcwise.core.errors import HpcwiseError, UsageError

#: What a worker imports before its first Hello.
_START: Final = "import hpcwise.worker.main, hpcwise.worker.loop, hpcwise.store.artifacts, submitit"


class PackError(HpcwiseError):
    """tar or the packed interpreter failed; the message is the line of it that says why."""


@click.group("env", cls=Group)
def env_command() -> None:
    """The environment that workers start from: packed into one file, unpacked on each node."""


@env_command.command("pack")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(), metavar="FOLDER", show_default="here",
    help="Where the archive goes: a folder that the nodes see.",
)  # fmt: skip
@click.option("--node-local", default="${TMPDIR:-/tmp}", show_default=True, metavar="DIR",
              help="Where nodes unpack it; may hold variables of the node.")  # fmt: skip
@click.option(
    "--without", multiple=True, metavar="PACKAGE", help="Leave a folder of site-packages out; repeat."
)
@json_option
def pack(output: Path, node_local: str, without: tuple[str, ...], as_json: bool) -> None:
    """Pack this Python environment and hpcwise into one archive, and print the line that unpacks it."""
    output = output.absolute()
    if not output.is_dir():
        raise UsageError(f"--output: {output} is no folder; name one that the nodes see")
    if not os.access(output, os.W_OK):
        raise UsageError(
            f"--output: {output} cannot be written to; name a folder of yours that the nodes see"
        )
    begun_s = time.monotonic()
    archive, files = write_archive(output, without)
    script = archive.with_name(archive.name.split(".")[0] + ".sh")
    _beside(script, unpack_script(archive, node_local))
    nbytes = archive.stat().st_size
    facts = {
        "archive": str(archive), "script": str(script), "files": files, "bytes": nbytes,
        "seconds": round(time.monotonic() - begun_s, 1),
        "setup": f". {shlex.quote(str(script))}",
    }  # fmt: skip
    if as_json:
        print_json(facts)
        return
    click.echo(f"{archive}: {files} files in {nbytes / 1e6:.0f} MB, {facts['seconds']} s")
    click.echo("for workers to start from it, put this line into your configs/clusters/NAME.yaml:")
    click.echo(f'setup: ["{facts["setup"]}"]')


@env_command.command("measure")
@click.argument("script", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def measure(script: Path, as_json: bool) -> None:
    """Start-up of a worker's Python here: from where it is installed, unpacking SCRIPT's archive, and from
    the unpacked copy. Run it on a compute node (srun hpcwise env measure FILE.sh)."""
    with tempfile.TemporaryDirectory(prefix="hpcwise-measure-") as folder:
        variables = {**os.environ, "HPCWISE_ENV_DIR": folder}
        installed_s = _timed([sys.executable, "-c", _START], {**os.environ})
        unpack_s = _timed(["bash", "-c", f". {shlex.quote(str(script))}"], variables)
        use = f'. {shlex.quote(str(script))}; exec "$HPCWISE_PYTHON" -c "$0"'
        local_s = _timed(["bash", "-c", use, _START], variables)
    facts = {"installed_s": installed_s, "unpack_s": unpack_s, "local_s": local_s}
    if as_json:
        print_json(facts)
        return
    click.echo(f"as installed          {installed_s:6.2f} s")
    click.echo(f"unpacking, once a node{unpack_s:6.2f} s")
    click.echo(f"from the local copy   {local_s:6.2f} s")


def write_archive(output: Path, without: tuple[str, ...]) -> tuple[Path, int]:
    """`hpcwise-env-<digest>.tar.zst` (or .tar.gz without zstd) of this environment; and how many files.

    The name follows from the content's list, so that nodes keep a copy of each version apart.
    """
    root = Path(sys.prefix)
    purelib = Path(sysconfig.get_path("purelib"))
    package = Path(__file__).resolve().parents[1]
    left_out = [purelib / name for name in without]
    for path in left_out:
        if not path.exists():
            raise UsageError(f"--without: {path.name!r} is not in {purelib}; name a folder of it")
    names: list[str] = []
    digest = hashlib.sha256()
    for base, prefix in ((root, ""), (package, "hpcwise/")):
        for folder, folders, files in os.walk(base):
            here = Path(folder)
            folders[:] = sorted(f for f in folders if here / f not in left_out)
            for name in sorted([*files, *(f for f in folders if (here / f).is_symlink())]):
                path = here / name
                status = path.lstat()
                relative = f"{prefix}{path.relative_to(base)}"
                digest.update(f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
                names.append(relative)
    fast = shutil.which("zstd") is not None
    final = output / f"hpcwise-env-{digest.hexdigest()[:12]}.tar.{'zst' if fast else 'gz'}"
    beside = final.with_name(f".{final.name}")
    inside = purelib.relative_to(root)
    command = ["tar", "-cf", str(beside), *(["-I", "zstd -T0 -3"] if fast else ["-z"]),
               *(f"--exclude=./{path.relative_to(root)}" for path in left_out)]  # fmt: skip
    if not (purelib / "hpcwise").exists():
        # Run out of a clone: the package goes to where an installed one would be.
        command.append(f"--transform=s,^hpcwise,./{inside}/hpcwise,")
    command += ["-C", str(root), "."]
    if not (purelib / "hpcwise").exists():
        command += ["-C", str(package.parent), "hpcwise"]
    _run(command, dict(os.environ))
    beside.replace(final)
    return final, len(names)


def unpack_script(archive: Path, node_local: str) -> str:
    """Shell to be sourced: unpacks the archive unless the node has it, and sets HPCWISE_PYTHON.

    Into a folder of this user's alone; several workers that start at once wait for the first.
    """
    name = archive.name.split(".")[0]
    return f"""# Sourced by a job before its worker starts; written by `hpcwise env pack`.
hpcwise_env="${{HPCWISE_ENV_DIR:-{node_local}}}/$(id -u)-{name}"
(
    umask 077
    exec 9> "$hpcwise_env.lock" && flock 9 || exit 1
    if [ ! -O "$hpcwise_env" ] || [ ! -x "$hpcwise_env/bin/python" ]; then
        scratch=$(mktemp -d "$hpcwise_env.XXXXXX") &&
            tar -xf {shlex.quote(str(archive))} -C "$scratch" && chmod 700 "$scratch" &&
            mv -T "$scratch" "$hpcwise_env"
    fi
) && export HPCWISE_PYTHON="$hpcwise_env/bin/python" && unset PYTHONPATH && cd "$hpcwise_env" ||
    echo "hpcwise: the packed environment could not be unpacked; starting from the shared one" >&2
"""


def _beside(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(text, "utf-8")
    scratch.replace(path)


def _run(command: list[str], environment: dict[str, Any]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        # tar says first what went wrong and last that it ends; Python the other way round.
        raise PackError(f"{Path(command[0]).name}: {lines[0 if command[0] == 'tar' else -1]}")


def _timed(command: list[str], environment: dict[str, Any]) -> float:
    begun_s = time.monotonic()
    _run(command, environment)
    return round(time.monotonic() - begun_s, 2)
