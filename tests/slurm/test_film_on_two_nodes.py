"""A film through the real architectures on the virtual Slurm, its denoiser shared by four processes on two
nodes (Ulysses in the node, the ring between them), of which one is killed in the middle of the loop."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import yaml

from hpcwise.cli.replay import records_of
from hpcwise.core import messages as m
from hpcwise.core.workflow import TaskSpec
from hpcwise.media.probe import probe
from hpcwise.models.base import Call, Devices, Input, ModelSpec
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.store.artifacts import Store
from hpcwise.store.latents import read_latent
from hpcwise.testbed.cluster import Testbed
from hpcwise.worker.exchange import LatentFiles
from scripts.e2esite import NightSite
from tests.e2e.test_a_film_by_real_architectures import DOCUMENT, MADE_BY, SCRIPT, SPEC
from tests.head.harness import until
from tests.models.tinies import ran

pytestmark = pytest.mark.timeout(600)
SLOW_S = 400.0
DENOISER = "tiny-wan-dit"
#: The kind of a pool's workers that have two processes on each of two nodes.
WIDE = "nodes-2x2"
T = TypeVar("T")


class WideSite(NightSite):
    """Nodes without GPUs as far as this site says; checkpoints of its own."""

    def __init__(self, testbed: Testbed) -> None:
        super().__init__(testbed, "wide", 1, pools=("a100",))
        path = self.configs / "clusters" / "here.yaml"
        content = yaml.safe_load(path.read_text())
        [pool] = [pool for pool in content["pools"] if pool["use"]]
        pool |= {
            "pool": "nodes", "hardware": "cpu", "gpu": "", "gpus_per_node": 0, "losses_per_h": 1e9,
            "replicas": [{"nodes": 2, "tasks_per_node": 2, "models": [DENOISER]}],
        }  # fmt: skip
        content["pools"] = [pool]
        path.write_text(yaml.safe_dump(content))

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "HPCWISE_MODELS_DIR": str(self.root / "models")}

    def spec(self) -> Path:
        (self.root / "kites.md").write_text(DOCUMENT)
        (self.root / "kites.script.yaml").write_text(yaml.safe_dump(SCRIPT))
        path = self.root / "film.yaml"
        path.write_text(yaml.safe_dump(SPEC))
        return path

    def of(self, kind: type[T]) -> list[T]:
        """Events in the head's journal."""
        return [r.event for _, r in records_of(self.run) if isinstance(r.event, kind)]

    def replicas(self) -> list[m.WorkerJoined]:
        """The two-node workers that have come, in order. A greeting that is answered late is said again."""
        came = [event for event in self.of(m.WorkerJoined) if event.worker.kind == WIDE]
        return list({event.worker.worker_id: event for event in came}.values())

    def sketch(self) -> tuple[TaskSpec, list[m.Dispatch], dict[str, str]]:
        """The denoiser's task, where it was sent, and the recipe of every task."""
        specs: dict[str, TaskSpec] = {}
        sent: list[m.Dispatch] = []
        for _, record in records_of(self.run):
            for command in record.commands:
                if isinstance(command, m.AddTasks):
                    specs |= {spec.task_id: spec for spec in command.tasks}
                elif isinstance(command, m.Dispatch):
                    sent.append(command)
        [spec] = [spec for spec in specs.values() if spec.stage == "sketch"]
        keys = {command.task_id: command.key for command in sent}
        return spec, [command for command in sent if command.task_id == spec.task_id], keys


@pytest.fixture
def site(testbed: Testbed) -> Iterator[WideSite]:
    made = WideSite(testbed)
    yield made
    made.close()
    until(lambda: not made.jobs(), 40)


def test_a_denoiser_on_two_nodes_that_loses_one_in_its_loop_ends_with_its_name_and_the_film_is_made(
    site: WideSite, tmp_path: Path
) -> None:
    site.start()
    request = site.submit(site.spec(), "--models", "tiny")
    checkpoints = site.run.paths.checkpoints
    saved = until(lambda: list(checkpoints.glob("*/*/00001-00000[23].h5")), SLOW_S)
    [first] = site.replicas()
    nodes = ["a100-0", "a100-0", "a100-1", "a100-1"]
    assert [rank.node for rank in first.worker.ranks] == nodes
    worker = first.worker.worker_id
    process = re.search(r", process (\d+)", site.run.paths.rank_log(worker, 3).read_text())
    assert process is not None
    os.kill(int(process[1]), signal.SIGKILL)
    killed_s = time.monotonic()
    [end] = until(lambda: site.of(m.WorkerLost), 30.0)
    lost = "left: rank 3 on a100-1 was lost: its connection closed"
    assert (end.worker_id, end.reason) == (worker, lost)
    assert time.monotonic() - killed_s < 15.0

    site.wait(lambda: site.done(request), "the film is complete", SLOW_S)
    folder = site.run.film(request)
    film = probe(folder / "film.mp4")
    assert (film.width, film.height, film.audio_codec) == (352, 224, "aac")
    assert set(json.loads((folder / "receipt.json").read_bytes())["licences"]) == MADE_BY
    # Two replicas of two nodes; the second one went on where the first one's last checkpoint was.
    assert [[rank.node for rank in event.worker.ranks] for event in site.replicas()] == [nodes, nodes]
    spec, sent, keys = site.sketch()
    second = site.replicas()[1].worker.worker_id
    # (The engine may hear of the attempt's end before it hears that its worker goes, and ask once more.)
    assert {command.worker_id for command in sent[:-1]} == {worker} and sent[-1].worker_id == second
    assert (sent[0].first_chunk, sent[-1].first_chunk) == (0, 1)
    found = re.findall(
        rf"{saved[0].parent.name[:12]}: goes on after step (\d+) of chunk 1",
        site.run.paths.worker_log(second).read_text(),
    )
    assert len(found) == 1 and 2 <= int(found[0]) < 10
    site.hpcwise("replay", request, "--perfetto", str(tmp_path / "trace.json"))
    trace = (tmp_path / "trace.json").read_text()
    assert [f"{name} on a100-0, a100-1" in trace for name in (worker, second)] == [True, True]

    # One process denoises the same.
    store = Store(site.run.paths)
    params = {**spec.params, **spec.alternatives[sent[0].alternative].params}
    for chunk, alone in enumerate(_by_one_process(site, store, spec, params, keys, tmp_path)):
        shared = read_latent(store.read(sent[0].key, chunk).path / "latents.h5")[0]
        assert shared.shape == alone.shape
        # The ring adds up in another order; ten steps later that is some 1e-6 of the largest value.
        assert np.abs(shared - alone).max() <= 1e-5 * np.abs(alone).max()


def _by_one_process(
    site: WideSite, store: Store, spec: TaskSpec, params: dict[str, Any], keys: dict[str, str], place: Path
) -> list[Any]:
    """Latents of each segment of the task, by its model in this process."""
    card = yaml.safe_load((site.configs / "models" / f"{DENOISER}.yaml").read_text())
    adapter = DiffusersAdapter()
    folder = site.root / "models" / card["folder"]
    adapter.load(ModelSpec(DENOISER, "1", "diffusers", folder, card["options"]), Devices())

    def artifact(source: str) -> Input:
        found = store.read(keys[source], 0)
        return Input(found.path, found.manifest.facts)

    (place / "work").mkdir()
    call = Call(
        spec.stage, params, spec.seed, {edge.name: iter([artifact(edge.source)]) for edge in spec.inputs},
        place / "work", latents=LatentFiles("test"), own=lambda chunk: Input(place / f"chunk-{chunk}", {}),
    )  # fmt: skip
    return [read_latent(made.path / "latents.h5")[0] for _, made in ran(adapter, call, place)]
