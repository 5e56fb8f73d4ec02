"""A ready-by contract on a real Slurm: others hold spot, and the dedicated partition is asked in time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
import yaml

from hpcwise.core import messages as m
from hpcwise.core.contract import Offer, Terms
from hpcwise.core.contracthead import Agreement
from hpcwise.core.contractquote import Calibration, contract
from hpcwise.core.queuewait import flat
from hpcwise.core.spec import By
from hpcwise.head.ledger import read_records
from hpcwise.testbed.cluster import Testbed
from tests.head.harness import graph, node, until
from tests.slurm.sites import SlurmSite


@pytest.fixture
def site(testbed: Testbed) -> Iterator[SlurmSite]:
    made = SlurmSite(testbed, ("spot", "a100"))
    head = made.configs / "head.yaml"
    head.write_text(yaml.safe_dump({**yaml.safe_load(head.read_text()), "provision": True}))
    yield made
    made.close()


def offer(pool: str, usd_per_h: float) -> Offer:
    return Offer(
        name=f"{pool} x1", partition=pool, nodes=1, gpus=1, walltime_s=600.0, load_s=10.0, work_s=10.0,
        usd_per_h=usd_per_h, pools=(pool,),
    )  # fmt: skip


def test_spot_is_held_by_others_so_the_dedicated_partition_is_asked_in_time_and_the_contract_kept(
    testbed: Testbed, site: SlurmSite
) -> None:
    others = testbed.run(
        ["sbatch", "--parsable", "-A", "research", "-p", "spot", "-N", "2", "--gres=gpu:a100:4", "-t", "30",
         "-o", "/dev/null", "--wrap", "srun sleep 600"]
    ).stdout.strip()  # fmt: skip
    try:
        testbed.wait_job(others, "RUNNING")
        now_s = time.time()
        terms = Terms(
            offers=(offer("spot", 1.0), offer("a100", 4.0)), waits=((flat(12.0),) * 24,) * 2, sigma=0.0
        )
        made = contract(terms, now_s + 40.0, now_s, Calibration())
        agreement = Agreement(request_id="film", cluster="here", made_s=now_s, terms=terms, contract=made)
        folder = site.results / "film"
        folder.mkdir(parents=True)
        (folder / "contract.json").write_bytes(msgspec.json.encode(agreement))
        job = graph(*(node(f"t{i}", seconds=1.0, steps=10, nbytes=1000) for i in range(4)))
        site.start()
        site.submit(msgspec.structs.replace(job, slo=By(wall_s=made.by_s)), "film")
        assert site.ended("film").row.state == "done"
        assert time.time() < made.by_s
        # What waits for spot is not wanted any more.
        until(lambda: not site.jobs("PENDING"))
    finally:
        testbed.run(["scancel", others])
        # Those who had to give way ended by their signal, or wait for another turn and are cancelled.
        testbed.wait_job(others, "CANCELLED", "FAILED")
    records = [r for n in site.paths.epoch_numbers() for r in read_records(site.paths.journal_file(n))]
    launched = [(r.wall_s, c.kind) for r in records for c in r.commands if isinstance(c, m.Launch)]
    assert [kind for _, kind in launched] == ["spot", "a100"]
    # 40 s less 12 s of queue, 10 s of loading and 10 s of work.
    assert launched[1][0] - now_s == pytest.approx(8.0, abs=3.0)
