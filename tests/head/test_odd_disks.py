"""A head and workers, real processes all, on file systems that are slow to sync or have no working locks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.head.harness import Site, graph, node, until

#: Imported by every Python process of the site before anything else: what such a file system answers.
SLOW = """
import os, threading
_fsync, _fdatasync = os.fsync, os.fdatasync
def _late(sync):
    def call(fd):
        threading.Event().wait(0.4)
        return sync(fd)
    return call
os.fsync, os.fdatasync = _late(_fsync), _late(_fdatasync)
"""
LOCKLESS = """
import errno, fcntl, os
def _refuse(*arguments):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = fcntl.lockf = os.lockf = _refuse
os.environ["HDF5_USE_FILE_LOCKING"] = "TRUE"
"""


def on_disk(site: Site, monkeypatch: pytest.MonkeyPatch, folder: Path, behaviour: str) -> None:
    """All processes that `site` starts find the file system to behave like that."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(behaviour)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{before}" if before else str(folder))


def test_a_disk_that_syncs_slowly_delays_no_answer_and_loses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_disk(site, monkeypatch, tmp_path / "slow", SLOW)
    site.start()
    site.submit(graph(*(node(f"t{i}", nbytes=1000, i=i) for i in range(3))), "r")
    waits = []
    while site.view("r").row.state not in ("done", "failed"):
        began = time.monotonic()
        site.status()
        waits.append(time.monotonic() - began)
        time.sleep(0.02)  # somebody who asks without a pause would only slow the others down
    assert site.view("r").row.state == "done"
    assert len(site.digests()) == 3
    # An answer never waits for a sync, of which each takes 0.4 s: most come at once on a busy machine too.
    assert sorted(waits)[len(waits) // 2] < 0.3


def test_a_file_system_without_locks_is_as_good_as_any(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_disk(site, monkeypatch, tmp_path / "lockless", LOCKLESS)
    first = site.start()
    site.submit(graph(node("a", nbytes=1000), node("b", "a", nbytes=1000)), "r")
    assert site.ended("r").row.state == "done"
    second = site.start("--takeover")
    assert first.wait(20) == 3
    assert second.poll() is None
    assert site.address().epoch == 2
    assert site.ended("r").row.state == "done"


def test_a_head_that_could_not_write_for_long_loses_none_of_its_workers(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    behaviour = f"""
import errno, os
_pwrite = os.pwrite
def _full(fd, data, at):
    if os.path.exists({str(full)!r}) and "/journal/" in os.readlink(f"/proc/self/fd/{{fd}}"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _pwrite(fd, data, at)
os.pwrite = _full
"""
    on_disk(site, monkeypatch, tmp_path / "filling", behaviour)
    head = psutil.Process(site.start().pid)
    site.submit(graph(node("a", seconds=1.0, steps=4), node("b", "a", seconds=3.0, steps=30)), "r")
    until(lambda: site.runs("r"))
    before = {worker.worker_id for worker in site.status().view.workers}
    full.touch()
    until(lambda: "paused: " in site.log())
    began_s, busy_s = time.monotonic(), head.cpu_times()
    # Longer than a worker may be silent.
    until(lambda: time.monotonic() - began_s > 12.0, 20.0)
    # It waits: what workers say meanwhile, and nobody reads, keeps nothing busy.
    assert sum(head.cpu_times()[:2]) - sum(busy_s[:2]) < 2.0
    full.unlink()
    until(lambda: "can be written again" in site.log())
    assert site.ended("r").row.state == "done"
    assert "no heartbeat" not in site.log()
    assert before <= {worker.worker_id for worker in site.status().view.workers}
