"""The emulated model and the registry that finds it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hpcwise.core.errors import BadOutput, ModelMissing, Stopped, UsageError
from hpcwise.models.base import Call, Devices, Input, ModelSpec, Output
from hpcwise.models.emulated import EmulatedAdapter
from hpcwise.models.registry import FAMILIES, Registry
from tests.worker.scripted import CONFIGS


def run(
    work: Path,
    params: Mapping[str, Any],
    *,
    seed: int = 1,
    first_chunk: int = 0,
    inputs: Mapping[str, list[dict[str, Any]]] | None = None,
    steps: list[tuple[int, int]] | None = None,
) -> list[tuple[dict[str, Any], bytes]]:
    """(facts, bytes of data.bin) of each output."""
    adapter = EmulatedAdapter()
    adapter.load(ModelSpec("emulated", "1", "emulated"), Devices())

    def chunks(facts: list[dict[str, Any]]) -> Iterator[Input]:
        yield from (Input(work, f) for f in facts)

    call = Call(
        "emulated", params, seed, {k: chunks(v) for k, v in (inputs or {}).items()}, work, first_chunk
    )
    out: list[tuple[dict[str, Any], bytes]] = []

    def on_step(done: int, total: int, _note: str) -> None:
        if steps is not None:
            steps.append((done, total))

    output: Output
    for output in adapter.run(call, on_step, lambda: False):
        path = output.files.get("data.bin")
        out.append((dict(output.facts), path.read_bytes() if path else b""))
    return out


def test_it_takes_its_time_and_reports_each_step(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    at = time.monotonic()
    out = run(tmp_path, {"seconds": 0.2, "steps": 4, "chunks": 2}, steps=steps)
    assert time.monotonic() - at >= 0.2
    assert steps == [(0, 4), (1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]
    assert len(out) == 2


def test_sizes_are_true_and_bytes_follow_from_the_recipe_alone(tmp_path: Path) -> None:
    params = {"chunks": 3, "nbytes": 2_500_001}
    out = run(tmp_path, params)
    assert [len(data) for _, data in out] == [833_333, 833_334, 833_334]
    assert run(tmp_path, params) == out
    assert run(tmp_path, params, first_chunk=1) == out[1:]
    for other in (run(tmp_path, params, seed=2), run(tmp_path, {**params, "salt": 1})):
        assert not {data for _, data in other} & {data for _, data in out}


def test_inputs_are_drawn_chunk_by_chunk_and_change_what_comes_out(tmp_path: Path) -> None:
    stream = {"in": [{"v": 1}, {"v": 2}, {"v": 3}]}
    whole = run(tmp_path, {"chunks": 2}, inputs=stream)
    assert run(tmp_path, {"chunks": 2}, inputs=stream, first_chunk=1) == whole[1:]
    late = run(tmp_path, {"chunks": 2}, inputs={"in": [{"v": 1}, {"v": 2}, {"v": 9}]})
    assert late[0] == whole[0] and late[1] != whole[1]


def test_facts_can_be_those_of_the_stage_that_it_stands_for(tmp_path: Path) -> None:
    out = run(tmp_path, {"chunks": 2, "facts": {"fps": 24}, "chunk_facts": [{"frames": 84}, {"frames": 12}]})
    assert [(facts["fps"], facts["frames"]) for facts, _ in out] == [(24, 84), (24, 12)]


def test_it_fails_as_it_is_told_unless_it_resumes_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="emulated failure"):
        run(tmp_path, {"chunks": 3, "fail": "error", "fail_at_chunk": 1})
    with pytest.raises(BadOutput):
        run(tmp_path, {"fail": "bad_output"})
    assert len(run(tmp_path, {"chunks": 3, "fail": "error", "fail_at_chunk": 1}, first_chunk=1)) == 2
    with pytest.raises(UsageError, match="chunks must be at least 1"):
        run(tmp_path, {"chunks": 0})


def test_it_stops_between_two_steps(tmp_path: Path) -> None:
    class Stopping(list[tuple[int, int]]):
        def append(self, step: tuple[int, int]) -> None:
            super().append(step)
            if step[0] == 3:
                raise Stopped("cancel")

    steps = Stopping()
    with pytest.raises(Stopped):
        run(tmp_path, {"seconds": 1.0, "steps": 100}, steps=steps)
    assert [done for done, _ in steps] == [0, 1, 2, 3]


def test_every_card_of_the_project_has_a_family_and_models_are_found_by_name(tmp_path: Path) -> None:
    registry = Registry.read(CONFIGS / "models", tmp_path)
    assert {card.family for card in registry.cards.values()} <= set(FAMILIES)
    assert registry.spec("emulated") == ModelSpec("emulated", "1", "emulated", None, {})
    assert isinstance(registry.adapter("emulated"), EmulatedAdapter)
    with pytest.raises(
        ModelMissing, match=r"model 'nonesuch': no card in configs/models; known are .*emulated"
    ):
        registry.spec("nonesuch")


def test_wrong_cards_are_named(tmp_path: Path) -> None:
    good = (CONFIGS / "models" / "emulated.yaml").read_text()
    with pytest.raises(UsageError, match="no model cards"):
        Registry.read(tmp_path, tmp_path)
    (tmp_path / "a.yaml").write_text(good)
    (tmp_path / "b.yaml").write_text(good)
    with pytest.raises(UsageError, match=r"b\.yaml: name: 'emulated' is another card's too"):
        Registry.read(tmp_path, tmp_path)
    (tmp_path / "b.yaml").write_text(
        good.replace("name: emulated", "name: b").replace("family: emulated", "family: x")
    )
    with pytest.raises(UsageError, match=r"b\.yaml: family: 'x' is unknown; use document"):
        Registry.read(tmp_path, tmp_path)
