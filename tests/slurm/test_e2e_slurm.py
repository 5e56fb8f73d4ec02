"""A short night of `scripts/e2e-slurm`: a film on a real Slurm, disturbed; and both Slurms' notices."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from hpcwise.cli.run import Run
from hpcwise.testbed.cluster import Testbed
from hpcwise.testbed.shape import Shape
from scripts import e2efigures as figures
from scripts.e2efaults import Faults
from scripts.e2eload import KITES
from scripts.e2esite import NightSite
from tests.head.harness import REPOSITORY, graph, node, until
from tests.slurm.sites import SlurmSite
from tests.testbed.making import made_or_said

FILM_S = 20


@pytest.fixture
def site(testbed: Testbed) -> Iterator[NightSite]:
    made = NightSite(testbed, "night", 1, pools=("h200", "spot-a100"))
    # Spoken by the fallback voice, which loads and speaks in no time: the voice is not what is tested.
    card = made.configs / "models" / "kokoro-82m.yaml"
    content = yaml.safe_load(card.read_text())
    content["sources"] = [{"kind": "folder", "path": str(made.root / "none")}]
    card.write_text(yaml.safe_dump(content))
    yield made
    made.close()
    until(lambda: not made.jobs(), 40)


@pytest.mark.timeout(300)  # two films, on a machine that may do other things
def test_a_film_by_sbatch_survives_a_preemption_and_its_heads_death_unchanged(
    site: NightSite,
) -> None:
    said: list[str] = []
    faults = Faults(site, said.append)
    site.start()
    spec = KITES.write(site.root, FILM_S)
    request = site.submit(spec, "--in", "9h", "--cluster", "here")
    faults.preempt()
    faults.kill_head()
    site.wait(lambda: site.done(request), "the film is complete", 150.0)
    site.stop()
    site.wait(lambda: not site.jobs(), "all jobs have ended", 40.0)
    film = site.run.film(request)
    assert json.loads((film / "contract.json").read_bytes())["cluster"] == "here"
    assert figures.recomputed(site.run) == 0
    assert len(site.run.paths.journal_files()) == 2

    # The same film by the one-job way, undisturbed.
    local = site.root / "alone"
    words = ["--parsable", "--partition=a100", f"--output={site.root / 'alone.out'}", "--cpus-per-task=2"]
    done = subprocess.run(
        ["sbatch", *words, "slurm/film.sbatch", str(spec), "--in", "9h"],
        env={**site.env, "HPCWISE_RUN_DIR": str(local), "HPCWISE_PYTHON": sys.executable}, cwd=REPOSITORY,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    site.testbed.wait_job(done.stdout.strip(), "COMPLETED", "FAILED", timeout_s=150.0)
    assert figures.artifacts(site.run) == figures.artifacts(Run.at(str(local)))
    [other] = [path.parent for path in local.glob("*/film.mp4")]
    assert figures.film_files(film) == figures.film_files(other)
    assert (film / "film.mp4").is_file()


@pytest.fixture
def newer() -> Iterator[Testbed]:
    with made_or_said(Shape(a100=1, h200=1, slurm="24.11", user_signal=True), "u") as made:
        yield made


def test_on_the_newer_slurm_a_preemption_by_the_jobs_own_signal_moves_its_task(newer: Testbed) -> None:
    site = SlurmSite(newer, ["spot"], user_signal=True)
    try:
        site.start()
        site.submit(graph(node("film", seconds=4.0, steps=80, chunks=8, nbytes=8000)), "film")
        until(lambda: site.runs("film"))
        [worker] = site.status().view.workers
        # The job's end comes from Slurm itself there (SLURM_JOB_END_TIME).
        assert worker.ends_in_s is not None and 500 < worker.ends_in_s <= 600
        urgent = newer.run(
            ["sbatch", "--parsable", "-A", "research", "-p", "a100", "--gres=gpu:a100:4", "-t", "5",
             "-o", "/dev/null", "--wrap", "sleep 300"]
        ).stdout.strip()  # fmt: skip
        log = site.paths.worker_log(worker.worker_id)
        until(lambda: "SIGUSR2: preempted or cancelled" in log.read_text())
        newer.wait_job(urgent, "RUNNING")
        newer.run(["scancel", urgent])
        assert site.ended("film").row.state == "done", site.log()
        script = next(site.paths.workers.glob("*/submitit/submission.sh")).read_text()
        assert re.search(r"#SBATCH --signal=USR2@60\n", script)
    finally:
        site.close()
