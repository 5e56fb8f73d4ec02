"""Kills at random instants, a frozen head: what is in the store afterwards equals an undisturbed run's."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest

from hpcwise.core.errors import HpcwiseError
from hpcwise.core.spec import JobSpec
from tests.head.harness import Site, graph, node, until


def lattice(width: int, depth: int) -> JobSpec:
    """Rows of streamed and finished edges: each task reads two of the row above."""
    tasks = []
    for row in range(depth):
        for column in range(width):
            sources = [] if row == 0 else [f"t{row - 1}-{column}", f"t{row - 1}-{(column + 1) % width}"]
            kind = "stream" if (row + column) % 2 else "finish"
            tasks.append(
                node(f"t{row}-{column}", *sources, kind=kind, chunks=2, nbytes=4000, seconds=0.2, steps=10)
            )
    return graph(*tasks)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """What lies in the store after the lattice has run and nothing was killed."""
    quiet = Site(tmp_path_factory.mktemp("quiet"))
    try:
        quiet.start()
        quiet.submit(lattice(4, 5), "r")
        assert quiet.ended("r").row.state == "done"
        return quiet.digests()
    finally:
        quiet.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_of_head_and_workers_at_random_instants_change_nothing(
    site: Site, undisturbed: dict[str, tuple[str, ...]], seed: int
) -> None:
    assert len(undisturbed) == 17  # the four tasks of the first row are equal: computed once
    job = lattice(4, 5)
    chance = random.Random(seed)
    site.start()
    site.submit(job, "r")
    kills = {"head": 0, "worker": 0}
    for victim in ("worker", "head", "worker", "head", "worker"):
        time.sleep(chance.uniform(0.1, 0.6))  # the instant is the point; nothing is waited for
        if site.view("r").row.state != "running":
            break
        kills[victim] += 1
        if victim == "head":
            site.heads[-1].kill()
            site.heads[-1].wait()
            site.start()
        elif pids := [pid for each in site.worker_pids().values() for pid in each]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
    view = site.ended("r", 90.0)
    assert (view.row.state, view.row.reason) == ("done", "")
    assert site.digests() == undisturbed
    assert kills["head"] >= 1 and kills["worker"] >= 1


def test_a_head_that_was_frozen_and_replaced_stops_when_it_wakes(site: Site) -> None:
    first = site.start()
    site.submit(graph(node("slow", seconds=3.0, steps=60, chunks=3, nbytes=300)), "r")
    until(lambda: site.runs("r") == 1)
    first.send_signal(signal.SIGSTOP)
    site.start()
    assert site.address().epoch == 2
    first.send_signal(signal.SIGCONT)
    assert first.wait(20) == 3
    assert site.ended("r").row.state == "done"
    journal = site.paths.journal_file(1).stat().st_size
    with contextlib.suppress(HpcwiseError):
        site.status()
    assert site.paths.journal_file(1).stat().st_size == journal
    assert "epoch 1 is over" in site.log()
