"""The testbed's accounting: a cluster, accounts, QoS and users, as a site has them."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable
from typing import Final

from hpcwise.testbed.shape import TestbedError

#: One `sacctmgr` for all: a line each. `closed` has nobody in it, for tests of a refusal.
_LINES: Final = """\
add cluster {cluster}
modify qos normal set priority=100 maxjobspu=200
add qos high priority=1000 usagefactor=2
add qos short priority=500 maxwall=00:30:00 maxjobspu=20 flags=DenyOnLimit
add account research description=research organization=testbed
add account teaching description=teaching organization=testbed
add account closed description=closed organization=testbed
"""
_USER: Final = """\
add user {user} account=research defaultaccount=research qos=normal,high,short defaultqos=normal
add user {user} account=teaching qos=normal defaultqos=normal
"""
#: slurmdbd learns of GPUs from slurmctld, so this comes after that has started.
_LIMITS: Final = "modify qos high set maxtresperuser=gres/gpu=8\n"
_TRES_S: Final = 30.0


def add(run: Callable[..., subprocess.CompletedProcess[str]], cluster: str, users: tuple[str, ...]) -> None:
    """Fill an empty slurmdbd. Raises TestbedError with what sacctmgr said."""
    # With sudo it is the person before it who will submit.
    names = dict.fromkeys([pwd.getpwuid(os.getuid()).pw_name, *users])
    if "SUDO_USER" in os.environ:
        names[os.environ["SUDO_USER"]] = None
    text = _LINES.format(cluster=cluster) + "".join(_USER.format(user=name) for name in names)
    _sacctmgr(run, text)


def limit(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Limit what `high` may take. Raises TestbedError with what sacctmgr said."""
    end_s = time.monotonic() + _TRES_S
    while "gres|gpu" not in run(["sacctmgr", "-nP", "show", "tres", "format=type,name"]).stdout:
        if time.monotonic() > end_s:
            raise TestbedError(f"sacctmgr: slurmdbd knows no GPUs {_TRES_S:g} s after slurmctld's start")
        time.sleep(0.05)
    _sacctmgr(run, _LIMITS)


def _sacctmgr(run: Callable[..., subprocess.CompletedProcess[str]], text: str) -> None:
    done = run(["sacctmgr", "-i"], text=text)
    wrong = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line or "nvalid" in line]
    if wrong:
        raise TestbedError(f"sacctmgr: {wrong[0].strip()}")
