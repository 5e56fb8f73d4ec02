"""FantasyTalking's released file: converted, it speaks as the same weights in our layout do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hpcwise.core.errors import UsageError
from hpcwise.models.base import Devices, ModelSpec
from hpcwise.models.diffusion import tiny
from hpcwise.models.sync.adapter import SyncAdapter
from hpcwise.models.sync.attention import windows
from hpcwise.models.sync.released import convert
from tests.cli.making import call as cli
from tests.cli.making import call_json
from tests.models.test_sync import _call, _clip, _made, _spoken

OPTIONS: dict[str, Any] = {"dtype": "float32", "from_image": True, "call": {"guidance_scale": 5.0}}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sync") / "tiny-fantasytalking"
    tiny.build(folder.name, folder)
    return folder


def _released(checkpoint: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The checkpoint's own weights by the names of the authors' code: two dictionaries, keys of Wan's."""
    own = load_file(checkpoint / "audio_condition" / WEIGHTS)
    blocks = {}
    for name, tensor in own.items():
        if name.startswith(("keys.", "values.")):
            part, index, _ = name.split(".")
            blocks[f"blocks.{index}.cross_attn.processor.{part[0]}_proj.weight"] = tensor
    projection = {name: own[name] for name in ("proj.weight", "norm.weight", "norm.bias")}
    assert len(projection) + len(blocks) == len(own)
    return {"proj_model": projection, "audio_processor": blocks}


def _flat(released: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{group}.{name}": t for group, held in released.items() for name, t in held.items()}


@pytest.mark.parametrize("kind", ["ckpt", "safetensors"])
def test_converted_weights_make_the_bytes_of_the_same_weights_in_our_layout(
    kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / f"fantasytalking_model.{kind}"
    if kind == "ckpt":
        torch.save(_released(checkpoint), file)
    else:
        save_file(_flat(_released(checkpoint)), file)
    other = tmp_path / "fantasytalking"
    shutil.copytree(checkpoint, other, ignore=shutil.ignore_patterns("audio_condition", "SHA256SUMS"))
    sizes = {"audio_dim": 16, "context_dim": 24, "inner_dim": 48, "layers": 2}
    assert convert(file, other / "audio_condition") == sizes
    ours = checkpoint / "audio_condition"
    assert json.loads((other / "audio_condition" / "config.json").read_text()) == sizes
    assert (other / "audio_condition" / WEIGHTS).read_bytes() == (ours / WEIGHTS).read_bytes()
    assert sorted(p.name for p in (other / "audio_condition").iterdir()) == ["config.json", WEIGHTS]
    made = []
    for index, folder in enumerate((checkpoint, other)):
        adapter = SyncAdapter()
        adapter.load(ModelSpec("m", "1", "sync", folder, OPTIONS), Devices())
        place = tmp_path / str(index)
        speech, clip = _spoken(tmp_path / "speech", 0.3), _clip(tmp_path / "clip")
        _, found = _made(adapter, _call(place, {}, speech, clip), place)
        made.append((found.path / "frames.mkv").read_bytes())
    assert made[0] == made[1]


def test_weights_of_sixteen_bits_stay_so(checkpoint: Path, tmp_path: Path) -> None:
    halves = {name: tensor.bfloat16() for name, tensor in _flat(_released(checkpoint)).items()}
    save_file(halves, tmp_path / "f.safetensors")
    convert(tmp_path / "f.safetensors", tmp_path / "audio_condition")
    assert {t.dtype for t in load_file(tmp_path / "audio_condition" / WEIGHTS).values()} == {torch.bfloat16}


class _Runs:
    """What a file that was made to harm runs when it is opened without care."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_a_file_that_is_another_is_one_line_and_nothing_is_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = _flat(_released(checkpoint))
    key = "audio_processor.blocks.1.cross_attn.processor.k_proj.weight"
    wrong: dict[str, tuple[Any, str]] = {
        "lacks": ({k: v for k, v in whole.items() if "norm.bias" not in k},
                  "lacks proj_model.norm.bias; fetch it again"),
        "half": ({k: v for k, v in whole.items() if not k.endswith("1.cross_attn.processor.v_proj.weight")},
                 "lacks audio_processor.blocks.1.cross_attn.processor.v_proj.weight; fetch it again"),
        "keyless": ({k: v for k, v in whole.items() if k != key},
                    "audio_processor.blocks.1.cross_attn.processor.v_proj.weight has no keys beside it"),
        "shape": ({**whole, key: torch.zeros(48, 25)},
                  r"blocks.1.cross_attn.processor.k_proj.weight is of shape \[48, 25\], where the others ask "
                  r"for \[48, 24\]; fetch it again"),
        "flat": ({**whole, "proj_model.proj.weight": torch.zeros(3)}, r"is of shape \[3\], no matrix"),
        "other": ({"blocks.0.attn1.to_q.weight": torch.zeros(2, 2)},
                  "blocks.0.attn1.to_q.weight is none of FantasyTalking's tensors; give its own file"),
        "whole": ({**whole, key: torch.zeros(48, 24, dtype=torch.int8)},
                  "is none of FantasyTalking's tensors"),
        "empty": ({}, "lacks proj_model.proj.weight"),
    }  # fmt: skip
    for name, (tensors, says) in wrong.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        with pytest.raises(UsageError, match=says):
            convert(tmp_path / f"{name}.safetensors", tmp_path / "audio_condition")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    (tmp_path / "torn.ckpt").write_bytes(b"PK\x03\x04 no zip")
    (tmp_path / "torn.safetensors").write_bytes(b"none")
    torch.save({"proj_model": _Runs(), "audio_processor": {}}, tmp_path / "harm.ckpt")
    files = {
        "other.ckpt": "holds no proj_model and audio_processor; give FantasyTalking's own file",
        "torn.ckpt": "is no file of weights", "torn.safetensors": "is no file of weights",
        "harm.ckpt": "is no file of weights", "none.ckpt": "cannot be read: No such file",
        "none.safetensors": "cannot be read: No such file",
    }  # fmt: skip
    for name, says in files.items():
        with pytest.raises(UsageError, match=f"{name}: {says}"):
            convert(tmp_path / name, tmp_path / "audio_condition")
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.glob("*audio_condition*"))
    (tmp_path / "audio_condition").mkdir()
    with pytest.raises(UsageError, match="audio_condition: is there already; remove it first"):
        convert(tmp_path / "half.safetensors", tmp_path / "audio_condition")


def test_the_command_puts_it_where_the_model_looks(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCWISE_MODELS_DIR", str(tmp_path / "models"))
    file = tmp_path / "fantasytalking_model.ckpt"
    torch.save(_released(checkpoint), file)
    said = call_json(capsys, "models", "convert", "fantasytalking", file)
    place = tmp_path / "models" / "fantasytalking" / "audio_condition"
    assert said == {
        "model": "fantasytalking", "path": str(place), "audio_dim": 16, "context_dim": 24, "inner_dim": 48,
        "layers": 2,
    }  # fmt: skip
    assert (place / WEIGHTS).is_file()
    code, out, err = cli(capsys, "models", "convert", "fantasytalking", file)
    assert (code, out) == (2, "") and f"{place}: is there already; remove it first" in err
    code, out, err = cli(capsys, "models", "convert", "flux", file)
    assert (code, out) == (2, "") and "model flux: of family diffusers, whose files are read as they" in err


def test_latent_frames_hear_the_stretches_that_the_released_weights_were_trained_with() -> None:
    # The example in the authors' code: 173 tokens of 81 pictures, four more tokens on either side.
    spans = [
        (int(row.nonzero().min()), int(row.nonzero().max()))
        for row in windows(latent_frames=21, per_frame=1, sound_tokens=173)
    ]
    middles = [int(173 / 81 * (4 * frame - 1)) - 1 for frame in range(1, 21)]
    assert spans == [(0, 1 + 4), *((max(0, at - 8), min(172, at + 8)) for at in middles)]
    assert spans[1] == (0, 13) and spans[-1] == (159, 172)
