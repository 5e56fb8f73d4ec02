"""A head and a worker whose GPU counts joules, and then is not well."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from hpcwise.cli.generate import _measured
from hpcwise.core.report import Receipt
from hpcwise.wire import messages as w
from tests.head.harness import Site, graph, node, until
from tests.worker.standin import Gpus

#: A worker of a GPU imports torch where that is installed.
pytestmark = pytest.mark.timeout(300)
SLOW_S = 120.0


def test_a_receipt_has_the_counters_joules_and_a_gpu_that_falls_ill_is_left_and_shown(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = Gpus(tmp_path / "nvml", monkeypatch)
    gpus.say(0, watts=700)
    site.workers = 1
    site.configure(device_kind="cuda", memory_gb=80, launch={"gpus_per_node": 1})
    site.start()
    site.submit(graph(node("a", seconds=0.5, steps=5)), "first")
    assert site.ended("first", SLOW_S).row.state == "done"
    made = site.get(Receipt, w.AskReceipt, "first")
    assert _measured(made) == " (measured)"
    assert made.energy_measured_j == made.energy_j
    assert 700 * 0.5 <= made.energy_j <= 700 * (made.total_s + 1)
    assert site.status().unwell == ()

    [ill] = site.status().view.workers
    gpus.say(0, retired_pending=1)
    site.submit(graph(node("b", seconds=0.1, steps=1, fail="error")), "second")
    [line] = until(lambda: site.status().unwell, SLOW_S)
    said = "unhealthy: GPU 0: pages of its memory wait to be retired by a reset"
    assert line == f"{ill.worker_id} on {socket.gethostname()}: {said}"
    # Whoever comes next finds it mended, and has what was left.
    gpus.say(0, retired_pending=0)
    site.submit(graph(node("c", seconds=0.1, steps=1)), "third")
    assert site.ended("third", SLOW_S).row.state == "done"
    assert ill.worker_id not in {worker.worker_id for worker in site.status().view.workers}
