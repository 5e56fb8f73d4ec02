"""The report of a request with a contract makes itself; without one nothing is made."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from hpcwise.cli.run import Run
from hpcwise.core.contract import Offer, Terms
from hpcwise.core.contracthead import Agreement
from hpcwise.core.contractquote import Calibration, contract
from hpcwise.core.queuewait import flat
from hpcwise.head.morning import Morning
from tests.cli.making import WALL_S, half_done, journal
from tests.head.harness import REPOSITORY


def promise(run: Run, request_id: str) -> None:
    offer = Offer(name="a", partition="a", nodes=1, gpus=1, walltime_s=600, load_s=1, work_s=60, usd_per_h=1,
                  pools=("a",))  # fmt: skip
    terms = Terms(offers=(offer,), waits=((flat(1.0),) * 24,))
    made = contract(terms, WALL_S + 600, WALL_S, Calibration())
    agreement = Agreement(request_id=request_id, cluster="here", made_s=WALL_S, terms=terms, contract=made)
    run.film(request_id).mkdir(parents=True)
    (run.film(request_id) / "contract.json").write_bytes(msgspec.json.encode(agreement))


def end(morning: Morning, *request_ids: str) -> None:
    async def main() -> None:
        for request_id in request_ids:
            morning.ended(request_id)
        await morning.close(60.0)

    asyncio.run(main())


def test_a_request_with_a_contract_gets_its_report_and_what_fails_is_a_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    run = Run.at(str(tmp_path / "films"))
    journal(run, half_done("pair-1"))
    promise(run, "pair-1")
    promise(run, "unknown")
    end(Morning(run.paths.root, run.results), "pair-1", "unknown", "nothing-promised")
    assert sorted(path.name for path in run.film("pair-1").iterdir()) == [
        "contract.json",
        "report.html",
        "report.png",
    ]
    assert "on cluster here" in (run.film("pair-1") / "report.html").read_text()
    assert not run.film("nothing-promised").exists()
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("no report of unknown: hpcwise: ")
