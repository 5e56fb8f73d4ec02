"""A loop that skips work by what it keeps of earlier steps ends in the same bits wherever it was left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpcwise.core.errors import UsageError
from hpcwise.models.base import Devices, Input, LoopState, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.framepack.adapter import FramePackAdapter
from hpcwise.models.sync.adapter import SyncAdapter
from tests.models.tinies import Kept, Left, called, picture, ran

#: Options and stage. Wan 2.2 has two denoisers, each with a cache; Flux's keeps the text's residuals too.
MODELS: dict[str, tuple[dict[str, Any], str, str]] = {
    "tiny-wan2.2-i2v": (
        {"parts": "denoise", "from_image": True, "call": {"guidance_scale": 3.0, "guidance_scale_2": 3.0}},
        "sketch", "latents.h5",
    ),
    "tiny-flux": ({"video": False, "call": {"max_sequence_length": 16}}, "image", "picture.png"),
}  # fmt: skip
PARAMS = {
    "prompt": "A host", "negative_prompt": "blurred", "steps": 6, "frames": 5, "fps": 16, "render_width": 64,
    "render_height": 48,
}  # fmt: skip


def _loaded(folder: Path, options: dict[str, Any], first_block: float) -> DiffusersAdapter:
    adapter = DiffusersAdapter()
    chosen = {"dtype": "float32", "first_block": first_block, **options}
    adapter.load(ModelSpec("m", "1", "diffusers", folder, chosen), Devices())
    return adapter


def _made(adapter: DiffusersAdapter, stage: str, place: Path, start: Input, **more: Any) -> Path:
    place.mkdir()
    ((_, made),) = ran(adapter, called(stage, place / "work", PARAMS, {"image": [start]}, **more), place)
    return made.path


@pytest.mark.filterwarnings("ignore:__array(_wrap)?__ :DeprecationWarning")
@pytest.mark.parametrize("name", MODELS)
def test_what_a_cache_holds_goes_with_the_loop_and_stays_with_no_other(name: str, tmp_path: Path) -> None:
    tiny.build(name, tmp_path / name)
    options, stage, file = MODELS[name]
    start = picture(tmp_path)
    plain, one, other = (_loaded(tmp_path / name, options, threshold) for threshold in (0.0, 9.0, 9.0))

    def bits(adapter: DiffusersAdapter, place: str, **more: Any) -> bytes:
        return (_made(adapter, stage, tmp_path / place, start, **more) / file).read_bytes()

    whole = bits(one, "whole")
    assert whole != bits(plain, "plain"), "steps are skipped"
    for step in (1, 5):  # in the midst of either expert's steps
        kept = Kept(stop_at=step)
        with pytest.raises(Left):
            bits(one, f"left-{step}", checkpoints=kept)
        assert bits(one, f"again-{step}") == whole, "nothing was left in it"
        kept.stop_at = -1
        assert bits(other, f"rest-{step}", checkpoints=kept) == whole
        state = kept.states[0, step]
        arrays = {name: array for name, array in state.arrays.items() if not name.startswith("cache.")}
        assert len(arrays) < len(state.arrays)
        kept.states[0, step] = LoopState(arrays, state.facts, state.bfloat16)
        assert bits(other, f"without-{step}", checkpoints=kept) != whole


@pytest.mark.parametrize("adapter", [SyncAdapter(), FramePackAdapter()])
def test_a_family_whose_steps_cannot_be_skipped_says_so_when_it_is_loaded(
    adapter: DiffusersAdapter, tmp_path: Path
) -> None:
    name = "tiny-framepack" if isinstance(adapter, FramePackAdapter) else "tiny-fantasytalking"
    tiny.build(name, tmp_path / name)
    spec = ModelSpec("m", "1", name, tmp_path / name, {"dtype": "float32", "first_block": 0.1})
    with pytest.raises(
        UsageError, match=r"^model m: options.first_block: the family .* has no use for it; leave"
    ):
        adapter.load(spec, Devices())
