"""A running head asks the provisioner, follows it, writes it down, and stays up when the search fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
import yaml

from hpcwise.core import messages as m
from hpcwise.core.engine import Engine
from hpcwise.core.errors import UsageError
from hpcwise.core.provisioner.online import Online, OnlineSettings
from hpcwise.core.spec import JobSpec
from hpcwise.head.ledger import Record, read_records
from hpcwise.head.provisioning import Ground, Provisioning, ground_of, search
from hpcwise.head.settings import Settings, read_settings
from tests.head.harness import Site, graph, node, until


def configure(site: Site, **head: object) -> Settings:
    """Two kinds of emulated workers, of which the dear one is twice as fast and four times the price."""
    path = site.configs / "models" / "emulated.yaml"
    card = yaml.safe_load(path.read_text())
    card["profiles"] = {"cheap": {"per": {"seconds": 1.0}}, "dear": {"per": {"seconds": 0.5}}}
    card["options"] = {"speeds": {"cheap": 1.0, "dear": 2.0}}
    path.write_text(yaml.safe_dump(card))
    prices = {"hardware": {"cheap": {"usd_per_h": 1.0}, "dear": {"usd_per_h": 4.0}}}
    (site.configs / "hardware.yaml").write_text(yaml.safe_dump(prices))
    fleet = [
        {"kind": kind, "hardware": kind, "workers": 4, "models": ["emulated"], "device_kind": kind,
         "memory_gb": 1.0, "idle_timeout_s": 1.0}
        for kind in ("cheap", "dear")
    ]  # fmt: skip
    (site.configs / "head.yaml").write_text(yaml.safe_dump({"cluster": "local", "fleet": fleet, **head}))
    return read_settings(site.configs, site.models_dir)


def work(n: int, seconds: float, due_s: float | None) -> JobSpec:
    tasks = [
        msgspec.structs.replace(
            node(f"t{i}", seconds=seconds, seed=i), features={"seconds": seconds}, deadline_s=due_s
        )
        for i in range(n)
    ]
    return graph(*tasks)


def records(site: Site) -> list[Record]:
    return [r for n in site.paths.epoch_numbers() for r in read_records(site.paths.journal_file(n))]


def test_a_head_has_the_workers_of_the_plan_and_its_journal_shows_why(tmp_path: Path) -> None:
    site = Site(tmp_path)
    settings = configure(site, provision=True)
    try:
        head = site.start()
        # 4 s of work until a distant deadline: one cheap worker is enough, where demand would take all eight.
        site.submit(work(8, 0.5, 300.0), "relaxed")
        assert site.ended("relaxed").row.state == "done"
        until(lambda: not site.status().view.workers)
        head.terminate()
        assert head.wait(30) == 0
    finally:
        site.close()
    found = records(site)
    launched = [c.kind for r in found for c in r.commands if isinstance(c, m.Launch)]
    assert launched == ["cheap"]
    plans = [(r.event.why, r.event.wanted) for r in found if isinstance(r.event, m.PlanReady)]
    assert plans[0] == ("start", {"cheap": 1, "dear": 0})
    assert plans[-1] == ("ended: relaxed", {"cheap": 0, "dear": 0})
    # The journal is replayed to the same decisions, and the search repeated to the same answers.
    ground = ground_of(settings)
    assert ground is not None
    engine, views = Engine(settings.engine), {}
    online = Online(ground.catalogue, ground.offers, ground.settings)
    for record in found:
        assert tuple(engine.handle(record.event, record.now_s)) == record.commands
        views[engine.state_version] = online.view(engine.state)
    for record in found:
        if isinstance(event := record.event, m.PlanReady):
            assert online.plan(views[event.state_version], event.why) == event


def test_a_near_deadline_brings_more_workers(tmp_path: Path) -> None:
    site = Site(tmp_path)
    configure(site, provision=True, objective="cost")
    try:
        site.start()
        site.submit(work(24, 0.5, 8.0), "urgent")
        assert site.ended("urgent").row.state == "done"
    finally:
        site.close()
    found = records(site)
    [first, *_] = [r.event for r in found if isinstance(r.event, m.PlanReady)]
    launched = [c for r in found for c in r.commands if isinstance(c, m.Launch)]
    assert 2 <= sum(first.wanted.values()) <= len(launched)


def test_a_search_that_fails_leaves_the_workers_to_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    settings = configure(site, provision=True)
    ground = ground_of(settings)
    assert ground is not None
    engine = Engine(settings.engine)
    taken: list[m.Event] = []

    def take(event: m.Event) -> None:
        taken.append(event)

    async def main() -> None:
        asked = Provisioning(engine, ground, take, lambda: engine.now_s)
        event = m.RequestArrived("r", work(3, 1.0, None))
        commands = engine.handle(event, 1.0)
        assert [c for c in commands if isinstance(c, m.Launch)] == []
        # What the process cannot read is as bad as a bug in the search.
        asked._ground = b"not a ground"
        asked.heard(event, commands)
        while not taken:
            await asyncio.sleep(0.01)
        asked.close()

    asyncio.run(main())
    [answer] = taken
    assert isinstance(answer, m.PlanReady) and answer.wanted == {}
    assert answer.why.startswith("start; by demand, as the search failed: ")
    launched = [c for c in engine.handle(answer, 2.0) if isinstance(c, m.Launch)]
    assert len(launched) == 6
    site.close()


def test_a_state_that_cannot_be_read_switches_planning_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    settings = configure(site, provision=True)
    engine = Engine(settings.engine)
    taken: list[m.Event] = []

    def broken(_self: object, _state: object) -> None:
        raise KeyError("no such stage")

    monkeypatch.setattr(Online, "view", broken)

    async def main() -> None:
        asked = Provisioning(engine, ground_of(settings), taken.append, lambda: engine.now_s)
        event = m.RequestArrived("r", work(3, 1.0, None))
        asked.heard(event, engine.handle(event, 1.0))
        while not taken:
            await asyncio.sleep(0.01)
        asked.heard(event, ())
        await asyncio.sleep(0)
        asked.close()

    asyncio.run(main())
    assert taken == [m.PlanReady(1, {}, why="by demand from now on: 'no such stage'")]
    site.close()


def test_the_search_gives_equal_bytes_for_equal_bytes(tmp_path: Path) -> None:
    site = Site(tmp_path)
    settings = configure(site, provision=True)
    ground = ground_of(settings)
    assert ground is not None and ground.settings == OnlineSettings()
    engine = Engine(settings.engine)
    engine.handle(m.RequestArrived("r", work(9, 2.0, 20.0)), 1.0)
    online = Online(ground.catalogue, ground.offers, ground.settings)
    view = msgspec.msgpack.encode(online.view(engine.state))
    encoded = msgspec.msgpack.encode(ground)
    assert search(encoded, view, "start") == search(encoded, view, "start")
    assert msgspec.msgpack.decode(encoded, type=Ground) == ground
    site.close()


@pytest.mark.parametrize(
    ("head", "on"), [({}, False), ({"provision": True}, True), ({"provision": False}, False)]
)
def test_a_head_on_this_host_alone_goes_by_demand_unless_told_otherwise(
    tmp_path: Path, head: dict[str, object], on: bool
) -> None:
    site = Site(tmp_path)
    settings = configure(site, **head)
    assert (settings.provision is not None) == on == settings.engine.planned
    assert (ground_of(settings) is not None) == on
    with pytest.raises(UsageError, match="provision"):
        configure(site, provision="perhaps")
    site.close()
