"""What a testbed needs of the machine: rights and programs. Anything missing is one line with its fix."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Final

from hpcwise.core.errors import UsageError
from hpcwise.testbed.shape import Shape

#: Program -> the Debian package that has it.
_PROGRAMS: Final = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "hostname": "hostname",
}
#: Bits of CapEff: CAP_NET_ADMIN and CAP_SYS_ADMIN.
_CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
_SYSTEM: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
#: The PATH of daemons, whatever that of the person who starts them.
SYSTEM_PATH: Final = ":".join(_SYSTEM)


def program(name: str) -> str:
    """The path of a program of this machine, also where sbin is not on PATH. Raises UsageError."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
    if found is None:
        raise UsageError(f"{name}: not installed; apt-get install {_PROGRAMS.get(name, 'slurm-wlm')}")
    return found


def require(shape: Shape) -> None:
    """Raise UsageError, one line, for the first right, program or user that is missing for this shape."""
    require_rights()
    missing = [name for name in _PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        packages = " ".join(dict.fromkeys(_PROGRAMS[name] for name in missing))
        raise UsageError(f"{', '.join(missing)}: not installed; apt-get install {packages}")
    for user in shape.users:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise UsageError(f"--user: {user!r} is no Unix user of this machine; useradd {user}") from None


def require_rights() -> None:
    """Raise UsageError unless this process may make network and mount namespaces."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    lacking = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if os.geteuid() != 0 or lacking:
        what = " and ".join(lacking) or "root"
        raise UsageError(f"testbed: {what} is missing to make network namespaces; run it as root (sudo)")
