"""Which Slurm: 22.05 (Debian 12) or 24.11 (Debian 13); this machine's own where it is that.

Another one is fetched as packages with all that they link to (31 MB), unpacked into a folder, and its
programs are told to look for their libraries there. They then run on this machine's own file system, as
jobs must, and nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from hpcwise.core.errors import UsageError
from hpcwise.testbed.packages import SYSTEM_PATH, program
from hpcwise.testbed.services import Programs
from hpcwise.testbed.shape import TestbedError

#: For everybody: other users' jobs run these programs too, and cannot look into a home directory.
CACHE: Final = Path("/var/cache/hpcwise")
#: Version -> the Debian that has it, and what its PMIx is called.
_SUITES: Final = {"22.05": ("bookworm", "libpmix2"), "24.11": ("trixie", "libpmix2t64")}
_PACKAGES: Final = (
    "slurmctld", "slurmd", "slurmdbd", "slurm-client", "slurm-wlm-mysql-plugin", "patchelf",
)  # fmt: skip
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Where Debian's PMIx plugin looks for its library. Ours must fit into the same bytes.
_PMIX: Final = "/usr/lib/{}/pmix2/lib"
_OURS: Final = "p"


def programs(version: str, cache: Path, say: Callable[[str], None]) -> Programs:
    """The programs of a Slurm: this machine's own, or those in the cache, fetched first if need be.

    Raises UsageError where they cannot be had, TestbedError where fetching fails.
    """
    own = shutil.which("slurmctld", path=SYSTEM_PATH)
    if own is not None:
        said = subprocess.run([own, "-V"], capture_output=True, text=True, check=False).stdout
        if f" {version}." in said:
            return installed("")
    root = cache.absolute() / f"slurm-{version}"
    if not root.is_dir():
        fetch(version, root, say)
    return installed(str(root))


def installed(root: str) -> Programs:
    """The programs of this machine, or those that were fetched into a folder."""
    if root:
        folder = Path(root)
        return Programs(bin=folder / "slurm", sbin=folder / "slurm", root=folder)
    return Programs(bin=Path(program("sbatch")).parent, sbin=Path(program("slurmctld")).parent)


def fetch(version: str, root: Path, say: Callable[[str], None]) -> None:
    """Download and unpack a Slurm into a folder; made beside and renamed. Raises TestbedError."""
    apt, unpack = (_needed(name, name.split("-")[0]) for name in ("apt-get", "dpkg-deb"))
    if not _KEYRING.is_file():
        raise UsageError(f"{_KEYRING}: not there; apt-get install debian-archive-keyring")
    if len(str(root / _OURS)) > len(_PMIX.format("x86_64-linux-gnu")):
        raise UsageError(f"--cache: {root.parent} is too long for Slurm's PMIx; use {CACHE}")
    for left in root.parent.glob(f"{root.name}.*"):
        # Of a fetch that was killed.
        if not Path("/proc", left.suffix[1:]).exists():
            shutil.rmtree(left, ignore_errors=True)
    beside = root.with_name(f"{root.name}.{os.getpid()}")
    try:
        for name in ("apt/state/lists/partial", "apt/cache/archives/partial"):
            (beside / name).mkdir(parents=True)
        suite, pmix = _SUITES[version]
        say(f"fetching Slurm {version} of Debian {suite} (31 MB, once)")
        archives = _download(apt, beside / "apt", suite, (*_PACKAGES, pmix))
        say(f"unpacking {len(archives)} packages into {root}")
        for archive in archives:
            _call([unpack, "-x", str(archive), str(beside)])
        shutil.rmtree(beside / "apt")
        _relocate(beside, root)
        try:
            beside.rename(root)
        except OSError:
            # Somebody else was faster; theirs is as good.
            if not root.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _download(apt: str, folder: Path, suite: str, packages: Iterable[str]) -> list[Path]:
    """All packages down to libc, with an apt of their own that takes nothing for installed."""
    (folder / "status").touch()
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror(apt)} {suite} main\n", encoding="ascii")
    options = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    _call([apt, *given, "-q", "update"])
    _call([apt, *given, "-q", "-y", "--download-only", "install", *packages])
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _mirror(apt: str) -> str:
    """Where this machine gets its own packages of Debian. Raises UsageError where it gets none."""
    found = subprocess.run(
        [apt, "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for line in found.stdout.splitlines():
        if line.startswith("Debian Debian "):
            return line.split()[2]
    raise UsageError("--slurm: apt has no archive of Debian to fetch a Slurm from; add one to its sources")


def _relocate(beside: Path, root: Path) -> None:
    """Let the programs find libraries and loader in `root`; so far everything lies in `beside`."""
    libraries = next((beside / "usr" / "lib").glob("*-linux-gnu"))
    # Debian 12 still has the oldest of them in /lib.
    folders = [path for path in (libraries, beside / "lib" / libraries.name) if path.is_dir()]
    places = [*(beside / name for name in ("lib64", "usr/lib64", "lib", "usr/lib")), *folders]
    loader = next(file for place in places for file in sorted(place.glob("ld-linux*.so.*")))
    path = ":".join(f"{root / place.relative_to(beside)}" for place in (*folders, libraries / "slurm-wlm"))
    near = ":".join(str(place) for place in folders)
    patch = [str(loader), "--library-path", near, str(beside / "usr" / "bin" / "patchelf")]
    own = beside / "slurm"
    own.mkdir()
    for file in [*_programs(beside / "usr" / "bin"), *_programs(beside / "usr" / "sbin")]:
        # Debian adds a suffix where another package has a program of that name.
        shutil.copy2(file, own / file.name.removesuffix("-wlm"))
    found = [str(file) for file in own.iterdir()]
    _call([*patch, "--set-interpreter", str(root / loader.relative_to(beside)), *found])
    # Their plugins also name the folder in which this machine's own Slurm would be.
    plugins = [file for file in (libraries / "slurm-wlm").glob("*.so*") if not file.is_symlink()]
    _call([*patch, "--force-rpath", "--set-rpath", path, *found, *map(str, plugins)])
    theirs = _PMIX.format(libraries.name).encode() + b"\0"
    ours = str(root / _OURS).encode().ljust(len(theirs), b"\0")
    pmix = libraries / "pmix2" / "lib"
    (beside / _OURS).symlink_to(pmix.relative_to(beside))
    # 22.05 opens it by the name that only a development package would add.
    (pmix / "libpmix.so").symlink_to("libpmix.so.2")
    for file in plugins:
        if file.name.startswith("mpi_pmix"):
            file.write_bytes(file.read_bytes().replace(theirs, ours))


def _programs(folder: Path) -> Iterable[Path]:
    """Slurm's programs among all that were unpacked."""
    for file in sorted(folder.glob("s*")):
        if file.is_file() and b"slurm" in file.read_bytes() and file.read_bytes()[:4] == b"\x7fELF":
            yield file


def _needed(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UsageError(f"--slurm: {name} is missing to fetch another Slurm; install {package}")
    return found


def _call(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise TestbedError(f"{Path(command[0]).name}: {lines[-1]}")
