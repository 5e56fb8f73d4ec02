"""Prompts that text encoders take together come out as they do alone, to rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcwise.core.errors import UsageError
from hpcwise.models.base import Batched, Devices, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.store.latents import read_latent
from scripts.bench.batchload import SIZES, gains
from tests.models.tinies import called

#: Importing diffusers takes seconds on a quiet machine, and many on a busy one.
pytestmark = pytest.mark.timeout(400)

PROMPTS = ("A host speaks.", "Two people look at a figure, and one of them points at it.", "Rain")


def loaded(checkpoint: str, folder: Path, **options: Any) -> DiffusersAdapter:
    if not folder.exists():
        tiny.build(checkpoint, folder)
    adapter = DiffusersAdapter()
    given = {"dtype": "float32", "parts": "encode", **options}
    adapter.load(ModelSpec(checkpoint, "1", "diffusers", folder, given), Devices())
    return adapter


@pytest.mark.parametrize(
    ("checkpoint", "files"),
    [
        ("tiny-wan2.1-t2v", {"prompt_embeds.h5", "negative_prompt_embeds.h5"}),
        ("tiny-flux", {"prompt_embeds.h5", "pooled_prompt_embeds.h5"}),
    ],
)
def test_prompts_encoded_together_are_those_encoded_alone(
    checkpoint: str, files: set[str], tmp_path: Path
) -> None:
    video = checkpoint != "tiny-flux"
    adapter = loaded(checkpoint, tmp_path / checkpoint, batch=4, video=video)
    assert isinstance(adapter, Batched) and adapter.batch == 4
    calls = [
        called("encode", tmp_path / f"with-{i}", {"prompt": text, "negative_prompt": "blurred" * (i % 2)}, {})
        for i, text in enumerate(PROMPTS)
    ]  # fmt: skip
    together = dict(adapter.run_batch(calls, lambda *_: None, lambda: False))
    assert sorted(together) == [0, 1, 2]
    for index, call in enumerate(calls):
        alone = called("encode", tmp_path / f"alone-{index}", dict(call.params), {})
        (output,) = adapter.run(alone, lambda *_: None, lambda: False)
        assert set(output.files) == set(together[index].files) == files
        assert output.facts == together[index].facts
        for name in files:
            one, meta = read_latent(output.files[name])
            of_many, of_many_meta = read_latent(together[index].files[name])
            assert (one.shape, meta.dtype) == (of_many.shape, of_many_meta.dtype)
            assert np.abs(one - of_many).max() <= 1e-5


def test_a_card_says_that_prompts_may_go_together_and_only_where_they_are_encoded_apart(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "wan"
    assert loaded("tiny-wan2.1-t2v", folder).batch == 1
    assert loaded("tiny-wan2.1-t2v", folder, batch=4, parts="denoise", text=False).batch == 1
    with pytest.raises(UsageError, match=r"options.*batch"):
        loaded("tiny-wan2.1-t2v", folder, batch=0)


def test_the_bench_says_how_many_times_less_an_item_takes_in_the_best_batch() -> None:
    asked: list[int] = []

    def work(n: int) -> None:
        asked.append(n)
        sum(range(200_000 * (n if n < 4 else n // 2)))

    figures = gains(2, {"halved": lambda: work})
    assert asked == [1, *SIZES, *SIZES]
    assert list(figures) == ["batch_item_s_halved", "batch_gain_halved", "batch_best_halved"]
    assert 1.5 < figures["batch_gain_halved"] < 2.7 and figures["batch_best_halved"] in (4.0, 8.0)
