"""Local jobs through submitit, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.launch.base import Entry, Handle, LaunchProfile
from hpcwise.launch.launcher import SubmititLauncher
from hpcwise.launch.processes import by_folder, kill_all

#: Leads a group, starts a helper, says that it is up, and waits for ever.
WORK = """
import os, subprocess, time
from pathlib import Path
os.setpgid(0, 0)
helper = subprocess.Popen(["sleep", "1000"])
up = Path({up!r})
up.with_suffix(".tmp").write_text(f"{{os.getpid()}} {{helper.pid}}")
up.with_suffix(".tmp").rename(up)
time.sleep(1000)
"""


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def entry(up: Path) -> Entry:
    return Entry("builtins:exec", WORK.format(up=str(up)).encode())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    workers = tmp_path / "workers"
    workers.mkdir()
    yield workers
    for folder in workers.iterdir():
        kill_all(folder / "submitit")


def local(root: Path) -> SubmititLauncher:
    return SubmititLauncher(root, {"cpu": LaunchProfile()})


def test_a_job_runs_and_a_kill_ends_it_with_all_that_it_started(root: Path, tmp_path: Path) -> None:
    launcher = local(root)
    handle = launcher.launch("cpu", "w1", entry(tmp_path / "up"))
    assert launcher.states([handle]) == {"w1": "running"}
    until((tmp_path / "up").exists)
    pids = [int(pid) for pid in (tmp_path / "up").read_text().split()]
    assert launcher.find("w1") == handle
    assert launcher.log_path("w1").suffix == ".err"
    assert (root / "w1" / "submitit").stat().st_mode & 0o777 == 0o700

    launcher.kill(handle)

    assert launcher.states([handle]) == {"w1": "gone"}
    until(lambda: not any(alive(pid) for pid in pids))
    assert alive(os.getpid())
    launcher.kill(handle)  # a second time is no error


def test_a_launch_outlives_its_launcher_and_is_found_without_its_note(root: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from hpcwise.launch.base import Entry, LaunchProfile
        from hpcwise.launch.launcher import SubmititLauncher
        launcher = SubmititLauncher(Path({str(root)!r}), {{"cpu": LaunchProfile()}})
        launcher.launch("cpu", "w2", Entry("builtins:exec", {entry(tmp_path / "up").payload!r}))
        os.killpg(0, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    # Ctrl-C in the terminal of the head: whoever launched ends, the worker does not.
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as head:
        head.wait(30)
    (root / "w2" / "launch.json").unlink(missing_ok=True)
    until((tmp_path / "up").exists)

    launcher = local(root)
    handle = launcher.find("w2")

    assert handle is not None and handle.token == "w2"
    assert launcher.states([handle]) == {"w2": "running"}
    launcher.kill(handle)
    assert launcher.states([handle]) == {"w2": "gone"}


def test_a_job_that_ended_is_still_found_so_that_its_launch_is_not_repeated(root: Path) -> None:
    launcher = local(root)
    handle = launcher.launch("cpu", "w3", Entry("builtins:exec", b"pass"))
    until(lambda: launcher.states([handle]) == {"w3": "gone"})
    assert local(root).find("w3") == handle
    assert local(root).find("w4") is None


def test_a_job_of_another_host_is_left_to_its_heartbeats(root: Path) -> None:
    elsewhere = Handle(token="w5", job_id="7", host="another-host.example")
    assert local(root).states([elsewhere]) == {"w5": "unknown"}
    local(root).kill(elsewhere)


def test_a_kind_without_a_profile_is_named(root: Path) -> None:
    with pytest.raises(UsageError, match="fleet kind 'gpu': no launch profile of that name; known are cpu"):
        local(root).launch("gpu", "w6", Entry("builtins:exec", b"pass"))
    assert list(root.iterdir()) == []


def test_a_terminated_job_gets_the_signal_from_its_controller(root: Path, tmp_path: Path) -> None:
    code = f"""
import signal, time
from pathlib import Path
def term(*_):
    Path({str(tmp_path / "term")!r}).touch()
    raise SystemExit
signal.signal(signal.SIGTERM, term)
Path({str(tmp_path / "up")!r}).touch()
time.sleep(1000)
"""
    launcher = local(root)
    handle = launcher.launch("cpu", "w7", Entry("builtins:exec", code.encode()))
    until((tmp_path / "up").exists)
    controller = by_folder([root / "w7" / "submitit"])[root / "w7" / "submitit"][0]
    os.kill(controller, signal.SIGTERM)
    until((tmp_path / "term").exists)
    until(lambda: launcher.states([handle]) == {"w7": "gone"})
