"""Every mistake is one line that says what to do, exit code 2, and nothing is made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwise.cli.main import run
from hpcwise.core.errors import UsageError
from hpcwise.testbed import packages, record
from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape
from tests.testbed.making import made_or_said, name, need

_CLONE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small() -> Iterator[Testbed]:
    with made_or_said(Shape(a100=1, h200=0, gpus=1), "s") as made:
        yield made


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cut", "a100-7"], "NODE: 'a100-7' is not in this testbed; it has a100-0 and ctl"),
        (["kill", "slurm"], "NODE: 'slurm' is not in this testbed; it has a100-0 and ctl"),
        (["restart", "ctl"], "NODE: 'ctl' runs no slurmd; name one of munged, mariadbd, slurmdbd, slurmctld"),
        (["slow", "a100-0", "1e9"], "MS: 1e+09 is not usable; give 0 to 10000 milliseconds"),
        (["exec", "--", "no-such-command"], "COMMAND: 'no-such-command' is not on PATH"),
    ],
)
def test_a_wrong_word_about_a_testbed_is_one_line(
    small: Testbed, capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run(["testbed", words[0], "--name", small.name, *words[1:]]) == 2
    assert capfd.readouterr().err == f"hpcwise: {says}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--a100", "-1"], "testbed.a100: -1 is not usable; give 0 to 200"),
        (["--a100", "0", "--h200", "0"], "testbed: 0 nodes are not usable; ask for 1 to 200"),
        (["--spot", "9"], "testbed.spot: 9 is not usable; there are 6 GPU nodes"),
        (["--slurm", "19.05"], "testbed.slurm: '19.05' is not known; use 22.05 or 24.11"),
        (["--user", "nosuch"], "--user: 'nosuch' is no Unix user of this machine; useradd nosuch"),
        (["--dir", "/tmp/bed"], "--dir: /tmp/bed is in /tmp, of which each node has its own; choose another"),
        (["--dir", "/usr"], "--dir: /usr exists; name a folder that does not"),
        (["--name", "B"], "--name: 'B' is not usable; give a small letter, then up to 19 of a-z, 0-9 and -"),
    ],
)  # fmt: skip
def test_a_testbed_that_cannot_be_is_refused_in_one_line(
    capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    need(Shape())
    before = record.known()
    assert run(["testbed", "up", "--name", name("w"), *words]) == 2
    assert capfd.readouterr().err == f"hpcwise: {says}\n"
    assert {known.name for known in record.known()} >= {known.name for known in before}
    assert record.find(name("w")) is None


def test_a_name_that_no_testbed_has_lists_those_there_are(
    small: Testbed, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["testbed", "down", "--name", "nobodys"]) == 2
    said = capfd.readouterr().err
    assert said.startswith("hpcwise: --name: no testbed 'nobodys' on this machine; there are: ")
    assert small.name in said


def test_without_the_rights_it_says_so_and_makes_nothing() -> None:
    need(Shape())
    lacking = ["setpriv", "--bounding-set", "-net_admin,-sys_admin"]
    done = subprocess.run(
        [*lacking, sys.executable, "-m", "hpcwise", "testbed", "up", "--name", name("r")],
        cwd=_CLONE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "hpcwise: testbed: CAP_NET_ADMIN and CAP_SYS_ADMIN is missing to make network namespaces; "
        "run it as root (sudo)\n"
    )
    assert record.find(name("r")) is None


def test_missing_packages_are_named_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need(Shape())
    for program in ("ip", "nsenter", "unshare", "setsid", "mount", "hostname"):
        (tmp_path / program).symlink_to("/bin/true")
    monkeypatch.setattr(packages, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(UsageError) as caught:
        packages.require(Shape())
    assert str(caught.value) == (
        "munged, mariadbd, mariadb-install-db: not installed; apt-get install munge mariadb-server"
    )


def test_status_and_env_are_for_programs_too(small: Testbed, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["testbed", "status", "--name", small.name, "--json"]) == 0
    status = json.loads(capfd.readouterr().out)
    assert status["nodes"] == [
        {
            "node": "a100-0", "address": status["login_address"][:-1] + "10", "state": "idle", "slurmd": True,
            "cut": False, "slow_ms": 0.0, "gpu": "a100", "gpus": 1,
        }
    ]  # fmt: skip
    assert status["ready"] and status["slurm"] == "22.05" and all(status["services"].values())
    assert run(["testbed", "env", "--name", small.name]) == 0
    assert f"export SLURM_CONF={small.folder}/etc/slurm.conf\n" in capfd.readouterr().out
    assert run(["testbed", "exec", "--name", small.name, "--", "sh", "-c", "sinfo -h -o %N; exit 7"]) == 7
    assert capfd.readouterr().out == "a100-0\n"
    assert run(["testbed", "exec", "--name", small.name, "--node", "a100-0", "--", "hostname"]) == 0
    assert capfd.readouterr().out == "a100-0\n"
