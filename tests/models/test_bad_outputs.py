"""What comes out of a model and shows nothing: numbers that are none, one colour, no movement. Found wherever
it begins, in one line, and nothing of it is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hpcwise.core.errors import BadOutput, ModelMissing
from hpcwise.models.base import Call, Devices, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.diffusion.adapter import DiffusersAdapter
from hpcwise.models.framepack.adapter import FramePackAdapter
from hpcwise.models.sync.adapter import SyncAdapter
from hpcwise.models.upscale.adapter import UpscaleAdapter
from tests.models import test_framepack as framepack
from tests.models import test_upscale_and_detect as upscale
from tests.models.test_families import CLIP, FLUX
from tests.models.test_sync import _call, _clip, _spoken
from tests.models.tinies import called, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = ("tiny-wan2.1-i2v", "tiny-flux", "tiny-fantasytalking", "tiny-framepack", "tiny-esrgan")
PLAIN: dict[str, Any] = {"dtype": "float32"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in NAMES:
        tiny.build(name, folder / name)
    return folder


def _loaded(adapter: Any, folder: Path, options: dict[str, Any]) -> Any:
    adapter.load(ModelSpec(folder.name, "1", "x", folder, {**PLAIN, **options}), Devices())
    return adapter


def wan(checkpoints: Path, place: Path) -> tuple[Any, Call]:
    adapter = _loaded(DiffusersAdapter(), checkpoints / "tiny-wan2.1-i2v", {"from_image": True})
    params = {**CLIP, "steps": 2}
    return adapter, called("animate", place / "work", params, {"image": [picture(place)]})


def flux(checkpoints: Path, place: Path) -> tuple[Any, Call]:
    adapter = _loaded(DiffusersAdapter(), checkpoints / "tiny-flux", {"video": False, "call": FLUX})
    params = {"prompt": "A studio", "steps": 2, "width": 64, "height": 48}
    return adapter, called("image", place / "work", params, {})


def text(checkpoints: Path, place: Path) -> tuple[Any, Call]:
    adapter = _loaded(DiffusersAdapter(), checkpoints / "tiny-wan2.1-i2v", {"parts": "encode"})
    return adapter, called("encode", place / "work", CLIP, {})


def sync(checkpoints: Path, place: Path) -> tuple[Any, Call]:
    options = {"from_image": True, "call": {"guidance_scale": 5.0}}
    adapter = _loaded(SyncAdapter(), checkpoints / "tiny-fantasytalking", options)
    return adapter, _call(place, {}, _spoken(place / "speech", 0.2), _clip(place / "clip"))


def frames(checkpoints: Path, place: Path) -> tuple[Any, Call]:
    options = {"from_image": True, "call": framepack.CALL}
    adapter = _loaded(FramePackAdapter(), checkpoints / "tiny-framepack", options)
    params = {**framepack.FILM, "chunks": 1}
    return adapter, called("sketch", place / "work", params, {"image": [picture(place, 32, 32)]})


def larger(checkpoints: Path, place: Path) -> tuple[Any, Call]:
    adapter = _loaded(UpscaleAdapter(), checkpoints / "tiny-esrgan", upscale.NET)
    return adapter, called("upscale", place / "work", {}, {"video": [upscale._clip(place / "clip")]})


def _nan(module: Any) -> None:
    """Numbers that are none in the last of its weights."""
    with torch.no_grad():
        list(module.parameters())[-1].fill_(float("nan"))


def _flat(module: Any) -> None:
    """All pixels of a decoder the same."""
    last = module.conv_out
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-2.0)


def _still(adapter: Any) -> None:
    """A decoder that gives the same picture again and again."""
    real = adapter._pictures

    def pictures(*given: Any, **named: Any) -> Iterator[Any]:
        made = list(real(*given, **named))
        yield from itertools.repeat(made[0], len(made))

    adapter._pictures = pictures


Made = Callable[[Path, Path], tuple[Any, Call]]
CASES: dict[str, tuple[Made, Callable[[Any], None], str]] = {
    "a video's denoiser": (wan, lambda a: _nan(a._pipe.transformer), "no numbers after step 2"),
    "a video's decoder": (wan, lambda a: _nan(a._vae.decoder), "decoded values that are no numbers"),
    "a black video": (wan, lambda a: _flat(a._vae.decoder), "tiny-wan2.1-i2v: 9 frames of one colour"),
    "a frozen video": (wan, _still, "tiny-wan2.1-i2v: 9 frames without any movement"),
    "a picture's denoiser": (flux, lambda a: _nan(a._pipe.transformer), "latents that are no numbers after"),
    "a picture's decoder": (flux, lambda a: _nan(a._pipe.vae.decoder), "decoded values that are no numbers"),
    "a black picture": (flux, lambda a: _flat(a._pipe.vae.decoder), "tiny-flux: 1 frames of one colour"),
    "a text encoder": (text, lambda a: _nan(a._pipe.text_encoder), "embeds holds values that are no numbers"),
    "a speaker's sound": (sync, lambda a: _nan(a._conductor._condition.values[1]), "no numbers after step 2"),
    "a speaker's decoder": (sync, lambda a: _nan(a._vae.decoder), "decoded values that are no numbers"),
    "black speakers": (sync, lambda a: _flat(a._vae.decoder), "tiny-fantasytalking: 5 frames of one colour"),
    "a section": (frames, lambda a: _nan(a._pipe.transformer), "latents that are no numbers"),
    "an upscaler": (larger, lambda a: _nan(a._net), "tiny-esrgan: pictures that are no numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_shows_nothing_is_one_line_and_is_not_handed_on(
    case: str, checkpoints: Path, tmp_path: Path
) -> None:
    make, spoil, says = CASES[case]
    adapter, call = make(checkpoints, tmp_path)
    spoil(adapter)
    handed: list[Any] = []
    with pytest.raises(BadOutput, match=says) as told:
        handed.extend(adapter.run(call, lambda *_: None, lambda: False))
    assert handed == [] and "\n" not in str(told.value)


def test_a_speech_encoder_that_lacks_and_weights_that_would_run_something_are_one_line(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "fantasytalking"
    folder.symlink_to(checkpoints / "tiny-fantasytalking")
    from hpcwise.models.sync.sound import SpeechEncoder

    with pytest.raises(ModelMissing, match=r"model m: .*none holds no speech encoder: "):
        SpeechEncoder(tmp_path / "none", "m", torch.device("cpu"), torch.float32)

    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"params": Runs()}, tmp_path / "weights.pth")
    options = {**PLAIN, **upscale.NET, "file": "weights.pth"}
    with pytest.raises(ModelMissing, match=r"model m: .*weights.pth: "):
        UpscaleAdapter().load(ModelSpec("m", "1", "upscale", tmp_path, options), Devices())
    assert not (tmp_path / "ran").exists()
