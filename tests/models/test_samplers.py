"""Every sampler that a card may name: killed at a random step, another process ends in the same bits."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from hpcwise.core.errors import UsageError
from hpcwise.models.base import Devices, LoopState, ModelSpec
from hpcwise.models.diffusion import sampler, tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.store.checkpoints import CheckpointStore
from hpcwise.store.paths import RunPaths
from tests.models import sampler_runs
from tests.models.forks import context
from tests.models.sampler_runs import SAMPLERS, STEPS

pytestmark = [
    pytest.mark.timeout(300),
    # How diffusers converts tensors; not ours to change.
    pytest.mark.filterwarnings("ignore:__array(_wrap)?__ :DeprecationWarning"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samplers") / "tiny-wan2.1-t2v"
    tiny.build(folder.name, folder)
    return folder


@pytest.fixture(scope="module")
def pipe(checkpoint: Path) -> Any:
    threads = torch.get_num_threads()
    yield sampler_runs.loaded(checkpoint)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def forks() -> Any:
    return context()


def test_every_sampler_that_is_supported_is_tested() -> None:
    assert {cls for cls, _ in SAMPLERS.values()} == set(sampler.SUPPORTED)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_loop_that_is_killed_at_a_random_step_ends_elsewhere_in_the_same_bits(
    name: str, checkpoint: Path, pipe: Any, forks: Any, tmp_path: Path
) -> None:
    paths = RunPaths(tmp_path / "run")
    paths.create()
    at, key = random.randrange(1, STEPS), hashlib.sha256(name.encode()).hexdigest()
    victim = forks.Process(
        target=sampler_runs.killed, args=(checkpoint, paths.root, key, name, 7, at), daemon=True
    )
    victim.start()
    states: dict[int, LoopState] = {}
    whole = sampler_runs.run(pipe, name, 7, None, lambda step, state: states.update({step: state()}))
    victim.join(120.0)
    assert victim.exitcode == -9
    found = CheckpointStore(paths).latest(key, 0)
    assert found is not None and found.step == at
    kept = LoopState(found.arrays, found.facts, found.bfloat16)
    nothing = lambda *_: None  # noqa: E731
    # Another process would have other random numbers: they come from the state.
    assert torch.equal(sampler_runs.run(pipe, name, 99, (at, kept), nothing), whole), f"after step {at}"
    # And from every other step, of a loop in this process.
    for step in set(range(1, STEPS)) - {at}:
        rest = sampler_runs.run(pipe, name, 99, (step, states[step]), nothing)
        assert torch.equal(rest, whole), f"after step {step}"


def test_a_sampler_that_cannot_be_gone_on_with_is_refused_when_it_is_loaded(checkpoint: Path) -> None:
    says = r"options.sampler: 'DDIMScheduler' cannot be left and gone on with; use UniPCMultistepScheduler, "
    spec = ModelSpec("m", "1", "diffusers", checkpoint, {"dtype": "float32", "sampler": "DDIMScheduler"})
    with pytest.raises(UsageError, match=says):
        DiffusersAdapter().load(spec, Devices())
