"""`hpcwise cluster`, the contract of `submit --cluster`, `plan --cluster NAME` and `report`, with programs on
PATH that answer what Slurm 24.11 answered on a real site."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from hpcwise.cli import main
from hpcwise.cli.clusterfile import Learned, learned_path, write_learned
from hpcwise.cli.run import Run
from hpcwise.core.queuewait import WaitSample, learn
from tests.cli.making import call, call_json, half_done, journal, paper

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "slurm" / "24.11"
SITE = """#!/bin/sh
here={here}
case "$(basename $0) $*" in
  "scontrol show config") cat $here/config.txt ;;
  "scontrol -o show partition") cat $here/partitions.txt ;;
  "sinfo --json") cat $here/sinfo.json ;;
  "sinfo -h -N"*) cat $here/sinfo.txt ;;
  "sacctmgr -nP show qos"*) cat $here/qos.txt ;;
  "sacctmgr -nP show assoc"*) cat $here/assoc.txt ;;
  "sacctmgr -nP show user"*) cat $here/user.txt ;;
  "sacct -a"*) cat $here/sacct.txt ;;
  "sbatch --test-only"*) echo "$@" >> $here/asked
     echo "sbatch: Job 7 to start at 2026-01-01T00:00:00 using 1 processors on nodes a in partition b" >&2 ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the answers; the configurations are a copy."""
    answers = tmp_path / "answers"
    shutil.copytree(FIXTURES, answers)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sinfo", "scontrol", "sacctmgr", "sacct", "sbatch"):
        (programs / name).write_text(SITE.format(here=answers))
        (programs / name).chmod(0o755)
    configs = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", configs, ignore=shutil.ignore_patterns("clusters"))
    monkeypatch.setenv("HPCWISE_CONFIGS", str(configs))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.delenv("HPCWISE_CLUSTER", raising=False)
    return answers


def discovered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    assert call(capsys, "cluster", "discover", "--name", "mine", "--shared-dir", "/scratch")[0] == 0
    return tmp_path / "configs" / "clusters" / "mine.yaml"


def test_a_site_is_discovered_checked_edited_and_taken_over(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = discovered(capsys, tmp_path)
    first = path.read_text()
    assert "# price of a billing unit" in first and yaml.safe_load(first)["pools"][2]["pool"] == "spot-a100"
    assert call(capsys, "cluster", "check", "mine") == (0, "mine.yaml: as Slurm says\n", "")
    # The file is called as its owner likes; in it stands Slurm's own name, by which a head knows its site.
    assert yaml.safe_load(first)["cluster"] == "kc24"
    path.write_text(first.replace('"kc24"', '"mine"'))
    said = (1, "mine.yaml: cluster: the file has mine, Slurm kc24\n", "")
    assert call(capsys, "cluster", "check", "mine") == said
    path.write_text(
        first.replace("grace_s: 20.0", "grace_s: 60.0").replace("usd_per_gpu_h: null", "usd_per_gpu_h: 2.5")
    )
    edited = path.read_text()
    code, out, _ = call(capsys, "cluster", "check", "mine")
    assert (code, out.splitlines()) == (1, [
        "mine.yaml: pools.spot-a100.grace_s: the file has 60.0, Slurm 20.0",
        "mine.yaml: pools.spot-h200.grace_s: the file has 60.0, Slurm 20.0",
    ])  # fmt: skip
    code, _, err = call(capsys, "cluster", "discover", "--name", "../x")
    assert code == 2 and err.startswith("hpcwise: --name: '../x' is not usable; use 1 to 40 letters")
    # Without --write the file stays as people left it.
    code, out, _ = call(capsys, "cluster", "discover", "--name", "mine")
    assert code == 0 and "differs; --write takes Slurm's facts over" in out and path.read_text() == edited
    answer = call_json(capsys, "cluster", "discover", "--name", "mine", "--write")
    assert answer["done"] == "written" and len(answer["drift"]) == 2
    assert path.read_text() == first.replace("usd_per_gpu_h: null", "usd_per_gpu_h: 2.5")
    assert call_json(capsys, "cluster", "show", "mine")["cluster"]["shared_dir"] == "/scratch"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("nodes: 2", "nodes: 0", "pools[0] (a100).nodes: 0 is not usable; give more than 0"),
        ('hardware: "a100"', 'hardware: "b1"', "pools[0] (a100).hardware: 'b1' is not in hardware.yaml"),
        ("max_min: 2880", "max_min: soon", "Expected `int | null`, got `str` - at `$.pools[0].max_min`"),
        ("use: yes", "usage: yes", "Object contains unknown field `usage` - at `$.pools[0]`"),
    ],
)
def test_an_edit_that_cannot_be_is_one_line_with_its_field(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, line: str
) -> None:
    path = discovered(capsys, tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    code, out, err = call(capsys, "cluster", "show", "mine")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert line in err and "mine.yaml" in err


def test_waits_are_learned_from_accounting_and_from_a_log(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = discovered(capsys, tmp_path)
    answer = call_json(capsys, "cluster", "learn", "mine")
    assert (answer["jobs"], answer["source"]) == (4, "sacct, 60 days")
    log = tmp_path / "old.swf"
    lines = [f"{i} {i * 60} {i} 100 64 -1 -1 64 3600 -1 1 1 1 -1 1 -1 -1 -1" for i in range(1, 101)]
    log.write_text("; UnixStartTime: 1700000000\n; MaxNodes: 10\n; MaxProcs: 320\n" + "\n".join(lines))
    answer = call_json(capsys, "cluster", "learn", "mine", "--swf", log, "--partition", "h200")
    assert answer["jobs"] == 100
    assert answer["not_rehearsed"] == "0 days with 100 jobs; 14 days with 200 are needed"
    learned = json.loads(learned_path(path).read_text())
    [cell] = [
        c for c in learned["waits"]["cells"] if (c["partition"], c["size"], c["walltime"]) == ("h200", -1, -1)
    ]
    assert cell["wait_s"][10] == 50.0 and cell["n"] == 100
    log.write_text("1 2 3\n")
    assert call(capsys, "cluster", "learn", "mine", "--swf", log)[2] == (
        "hpcwise: old.swf:1: 3 fields; the Standard Workload Format has 18 in a line\n"
    )


def test_nights_of_the_logs_own_past_are_rehearsed_and_contracts_say_how_many(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = discovered(capsys, tmp_path)
    # Four weeks of a job every two hours, which wait longer in the evenings and much longer in one week.
    waits = [300 + 900 * (h >= 18) + 3600 * (day // 7 == 2) for day in range(28) for h in range(0, 24, 2)]
    lines = [
        f"{i} {i * 7200} {wait} 100 32 -1 -1 32 3600 -1 1 1 1 -1 1 -1 -1 -1" for i, wait in enumerate(waits)
    ]
    log = tmp_path / "old.swf"
    log.write_text("; UnixStartTime: 1700000000\n; MaxNodes: 10\n; MaxProcs: 320\n" + "\n".join(lines))
    words = ("cluster", "learn", "mine", "--swf", log, "--partition", "a100", "--nights", 12)
    code, out, _ = call(capsys, *words)
    assert code == 0
    [said] = [line for line in out.splitlines() if line.startswith("rehearsed")]
    assert said.startswith("rehearsed     12 nights of that past; promises at 50 % held ")
    kept = json.loads(learned_path(path).read_text())["calibration"]
    assert kept["nights"] == 12 and kept["held"].keys() == {"0.50", "0.75", "0.90", "0.95"}
    # Nights of the slow week took longer than the other weeks had told.
    assert kept["stretch"]["0.90"] > 1.05
    # Learned again without rehearsing, the stretch stays.
    call(capsys, *words[:-1], 0)
    assert json.loads(learned_path(path).read_text())["calibration"] == kept
    _, out, _ = call(capsys, "submit", paper(tmp_path), "--in", "9h", "--cluster", "mine", "--dry-run")
    assert "checked on 12 nights of that past (held 50 %: " in out


def test_without_slurm_or_accounting_one_line_says_what_to_do(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovered(capsys, tmp_path)
    (tmp_path / "bin" / "sacct").write_text(
        "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n"
    )
    code, _, err = call(capsys, "cluster", "learn", "mine")
    assert code == 2 and err.count("\n") == 1 and "give a log instead (--swf FILE)" in err
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for words in (["cluster", "discover"], ["cluster", "check", "mine"]):
        assert call(capsys, *words) == (
            2, "", "hpcwise: sinfo: is not on PATH; log in to the cluster, or load its Slurm module, "
            "and try again\n",
        )  # fmt: skip
    code, out, err = call(
        capsys, "submit", paper(tmp_path), "--in", "1h", "--cluster", "mine", "--run-dir", tmp_path / "films"
    )
    assert (code, out) == (2, "") and err.startswith("hpcwise: sbatch: is not on PATH")
    assert not (tmp_path / "films").exists()


def test_a_dry_run_prints_the_contract_and_hands_nothing_in(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = discovered(capsys, tmp_path)
    samples = [
        WaitSample(partition=p, nodes=1, walltime_s=900, hour=h, wait_s=w * 10.0)
        for p in ("a100", "h200", "spot") for h in range(24) for w in range(40)
    ]  # fmt: skip
    write_learned(path, Learned(waits=learn(samples, "test")))
    films = tmp_path / "films"
    words = ("submit", paper(tmp_path), "--in", "2h", "--cluster", "mine", "--run-dir", films)
    code, out, err = call(capsys, *words, "--dry-run")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line[:1].strip()}
    assert lines["contract"].endswith("with 95 % confidence")
    assert "spot price" in lines["price"] and "by the second" in lines["price"]
    assert lines["partitions"].split()[1] == "spot:" and "Slurm says it starts in" in lines["partitions"]
    assert lines["quality"] == "quality       high tier, as asked for"
    assert "learned from 2880 jobs (test)" in lines["waits"]
    assert not films.exists()
    asked = (site / "asked").read_text().splitlines()
    assert len(asked) == len(set(asked)) <= 4 and all("-A research -q normal" in line for line in asked)
    deal = call_json(capsys, *words)
    # The same questions within a minute are not asked again.
    assert (site / "asked").read_text().splitlines() == asked and deal["contract"]["asked_slurm"] == 0
    assert deal["new"] and deal["contract"]["verdict"] == "sold"
    kept = json.loads((films / deal["request_id"] / "contract.json").read_text())
    assert kept["request_id"] == deal["request_id"] and kept["cluster"] == "mine"
    assert [o["name"] for o in kept["terms"]["offers"]] == [o["name"] for o in deal["contract"]["offers"]]


def test_a_deadline_that_cannot_be_met_is_not_handed_in(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = discovered(capsys, tmp_path)
    samples = [WaitSample(partition="a100", nodes=1, walltime_s=900, hour=1, wait_s=9e4)] * 40
    write_learned(path, Learned(waits=learn(samples, "test")))
    # Slurm itself expects the same: every node is taken until tomorrow.
    (tmp_path / "bin" / "sbatch").write_text(
        "#!/bin/sh\necho \"sbatch: Job 7 to start at $(date -d '+30 hours' +%Y-%m-%dT%H:%M:%S) using\" >&2\n"
    )
    films = tmp_path / "films"
    words = ("submit", paper(tmp_path), "--in", "1h", "--cluster", "mine", "--run-dir", films)
    code, out, err = call(capsys, *words)
    assert code == 1 and "cannot be met by" in out and "the earliest time with 90 %:" in out
    assert err.startswith("hpcwise: by: cannot be met; choose ") and "(nothing was submitted)" in err
    assert not films.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--in", "1h", "--partition", "gpu"],
         "partition: 'gpu' is not in the cluster file of 'kc24'; it has a100, h200, spot"),
        (["--by", "2020-01-01T08:00"], "--by: '2020-01-01T08:00' is not usable; it is past since"),
        (["--batch"], "contract: this job has no deadline; add --by 08:00 or --in 9h"),
        (["--in", "1h", "--confidence", "2"], "--confidence: 2 is not usable; choose 0.5 to 0.99"),
        (["--in", "1h", "--cluster", "other"], "--cluster: 'other' has no file"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], line: str
) -> None:
    discovered(capsys, tmp_path)
    code, out, err = call(capsys, "submit", paper(tmp_path), "--cluster", "mine", "--dry-run", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"hpcwise: {line}")


def test_what_slurm_refuses_is_said_in_its_words(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    discovered(capsys, tmp_path)
    (tmp_path / "bin" / "sbatch").write_text(
        "#!/bin/sh\n"
        "echo 'allocation failure: Invalid account or account/partition combination specified' >&2\n"
        "exit 1\n"
    )
    code, out, err = call(
        capsys, "submit", paper(tmp_path), "--in", "1h", "--cluster", "mine", "--run-dir", tmp_path / "films"
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Invalid account" in err and "hpcwise cluster check mine" in err
    assert not (tmp_path / "films").exists()


def test_shapes_of_a_site_are_compared_in_a_table_and_a_picture(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    discovered(capsys, tmp_path)
    picture = tmp_path / "shapes.png"
    answer = call_json(
        capsys, "plan", ROOT / "jobs" / "streamwise.yaml", "--cluster", "mine", "--plot", picture
    )
    rows = answer["shapes"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [row["usd"] for row in rows] == sorted(row["usd"] for row in rows)
    assert {row["offer"]["partition"] for row in rows} == {"a100", "spot"}
    assert all(row["ready50_s"] <= row["ready90_s"] for row in rows) and any(row["best"] for row in rows)
    code, out, _ = call(capsys, "plan", ROOT / "jobs" / "streamwise.yaml", "--cluster", "mine", "--in", "5m")
    assert code == 1 and "too late" in out and "queues        a guess" in out


def test_the_mornings_page_tells_what_was_lost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hpcwise.core import messages as m

    run = Run.at(str(tmp_path / "films"))
    journal(run, [*half_done(), (5.0, m.WorkerLost("w1", "preempted, 20 s notice"))])
    page = call_json(capsys, "report", "pair", "--run-dir", run.results)
    [loss] = page["losses"]
    assert (loss["worker"], loss["why"], loss["back_s"]) == ("w1", "preempted, 20 s notice", None)
    assert loss["wasted_s"] == pytest.approx(1.6) and loss["at_s"] == pytest.approx(4.0)
    assert page["kinds"][0]["lost"] == 1 and page["heads"] == 1
    text = Path(page["html"]).read_text()
    assert "preempted, 20 s notice" in text and "data:image/png;base64," in text
    assert Path(page["png"]).read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in run.film("pair-1").iterdir()) == ["report.html", "report.png"]
    assert main.run(["report", "none", "--run-dir", str(run.results)]) == 2
