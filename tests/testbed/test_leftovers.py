"""Nothing of a testbed stays, whatever was killed; and several live side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.testbed import network, record, services
from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape, TestbedError
from tests.testbed.making import made_or_said, name, need

_CLONE = Path(__file__).resolve().parents[2]
_ONE = Shape(a100=1, h200=0, gpus=1)


def test_two_testbeds_know_nothing_of_each_other_and_one_ends_though_all_its_daemons_were_killed() -> None:
    with made_or_said(_ONE, "b") as first:
        with made_or_said(Shape(a100=0, h200=2), "c") as second:
            assert first.status().ready
            assert first.states() == {"a100-0": "idle"}
            assert second.states() == {"h200-0": "idle", "h200-1": "idle"}
            assert first.record.subnet != second.record.subnet
            with pytest.raises(UsageError, match=f"testbed '{second.name}' exists"):
                Testbed.up(_ONE, second.name)
            second.slow("h200-0", 5)
            network.kill(second.record)
            assert _traces(second.record) != []
        assert _traces(second.record) == []
        assert first.run(["srun", "hostname"]).stdout == "a100-0\n"
    assert _traces(first.record) == []


@pytest.mark.parametrize("moment", ["on hwb", "slurmctld"])
def test_an_up_that_was_killed_half_way_leaves_nothing_after_down(moment: str) -> None:
    need(_ONE)
    called = name("k")
    command = [sys.executable, "-m", "hpcwise", "testbed"]
    made = [*command, "up", "--name", called, "--a100", "1", "--h200", "0"]
    with subprocess.Popen(made, cwd=_CLONE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert any(moment in line.decode() for line in process.stderr)
        process.send_signal(signal.SIGKILL)
    left = record.find(called)
    assert left is not None
    assert not left.ready
    assert _traces(left) != []
    if moment == "slurmctld":
        # The next `up` of that name cleans up by itself.
        with Testbed.up(_ONE, called) as again:
            assert again.states() == {"a100-0": "idle"}
    else:
        subprocess.run([*command, "down", "--name", called], cwd=_CLONE, check=True)
    assert _traces(left) == []
    assert record.find(called) is None


def test_a_daemon_that_does_not_start_is_named_and_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    need(_ONE)
    real = services.start_service

    def broken(known: record.Record, programs: services.Programs, service: str) -> None:
        if service == "slurmctld":
            (known.folder / "etc" / "slurm.conf").write_text("Nonsense=1\n")
        real(known, programs, service)

    monkeypatch.setattr(services, "start_service", broken)
    seen: list[record.Record] = []
    real_write = record.write

    def noted(known: record.Record) -> None:
        seen.append(known)
        real_write(known)

    monkeypatch.setattr(record, "write", noted)
    with pytest.raises(TestbedError, match=r"slurmctld: ended; its log says: .*configuration file"):
        Testbed.up(_ONE, name("e"))
    assert [(known.name, known.ready) for known in seen] == [(name("e"), False)]
    assert _traces(seen[0]) == []


def _traces(known: record.Record) -> list[str]:
    """Whatever exists of a testbed: processes, namespaces, interfaces, mounts, files."""
    found = [f"process {pid}" for pid in network.processes(known)]
    found += [str(path) for path in Path("/run/netns").glob(f"{known.namespace('')}*")]
    found += [path.name for path in Path("/sys/class/net").glob(f"hw{known.index}[vrs]*")]
    found += [path.name for path in Path("/sys/class/net").glob(known.bridge)]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if known.dir in line]
    found += [str(known.folder)] if known.folder.exists() else []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if known.dir.encode() in line and int(path.parent.name) != os.getpid():
            found.append(f"{path.parent.name}: {line.decode(errors='replace')}")
    return found
