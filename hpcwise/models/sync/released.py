"""FantasyTalking's released weights as the folder `audio_condition` that the adapter reads.

The authors publish one file beside Wan's (github.com/Fantasy-AMAP/fantasy-talking, model.py): `proj_model`,
a projection without bias and a norm, and `audio_processor`, keys and values of each block's cross-attention
by the names of Wan's own checkpoint. As a torch file the two are dictionaries in one, as safetensors they
are prefixes.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from hpcwise.core.errors import UsageError
from hpcwise.models.sync.attention import AudioCondition

_GROUPS: Final = ("proj_model", "audio_processor")
_BLOCK: Final = re.compile(r"blocks\.(\d+)\.cross_attn\.processor\.([kv])_proj\.weight")
_OWN: Final[Mapping[str, str]] = {"k": "keys", "v": "values"}
#: Name in the released file -> ours.
_PROJECTION: Final[Mapping[str, str]] = {
    "proj_model.proj.weight": "proj.weight",
    "proj_model.norm.weight": "norm.weight",
    "proj_model.norm.bias": "norm.bias",
}


def convert(file: Path, folder: Path) -> dict[str, int]:
    """Write `file` as the audio condition `folder`, beside and renamed; its sizes. Raises UsageError, one
    line, for a file that is not FantasyTalking's, and for a folder that is there."""
    if folder.exists():
        raise UsageError(f"{folder}: is there already; remove it first")
    named = _ours(_read(file), file)
    sizes = _sizes(named, file)
    condition = AudioCondition(**sizes)
    # As they are: weights of 16 bits stay so.
    condition.load_state_dict(named, assign=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        condition.save(beside)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sizes


def _read(file: Path) -> dict[str, Any]:
    """The tensors of the file, by the names that they have as safetensors. Nothing in it is run."""
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        held = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(held, dict) or not all(isinstance(held.get(group), dict) for group in _GROUPS):
            raise UsageError(f"{file}: holds no {' and '.join(_GROUPS)}; give FantasyTalking's own file")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        # torch says over many lines how to run what is in it, which nobody should.
        raise UsageError(f"{file}: is no file of weights; give FantasyTalking's own file") from error
    return {f"{group}.{name}": tensor for group in _GROUPS for name, tensor in held[group].items()}


def _ours(found: Mapping[str, Any], file: Path) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, tensor in found.items():
        block = _BLOCK.fullmatch(name.removeprefix("audio_processor."))
        own = f"{_OWN[block[2]]}.{block[1]}.weight" if block else _PROJECTION.get(name)
        if own is None or not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise UsageError(f"{file}: {name} is none of FantasyTalking's tensors; give its own file")
        named[own] = tensor.contiguous()
    return named


def _sizes(named: Mapping[str, Any], file: Path) -> dict[str, int]:
    """Those of an AudioCondition with these tensors. Raises UsageError for one that lacks or does not fit."""
    layers = 1 + max((int(name.split(".")[1]) for name in named if name.startswith("keys.")), default=-1)
    wanted = [*_PROJECTION.values(), *(f"{part}.{i}.weight" for part in _OWN.values() for i in range(layers))]
    for name in wanted if layers else [*wanted, "keys.0.weight"]:
        if name not in named:
            raise UsageError(f"{file}: lacks {_theirs(name)}; fetch it again")
    context, audio = _matrix(named, "proj.weight", file)
    inner, _ = _matrix(named, "keys.0.weight", file)
    sizes = {"audio_dim": audio, "context_dim": context, "inner_dim": inner, "layers": layers}
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in AudioCondition(**sizes).state_dict().items()}
    for name, tensor in named.items():
        if name not in shapes:
            raise UsageError(f"{file}: {_theirs(name)} has no keys beside it; fetch it again")
        if tuple(tensor.shape) != shapes[name]:
            raise UsageError(
                f"{file}: {_theirs(name)} is of shape {list(tensor.shape)}, where the others ask for "
                f"{list(shapes[name])}; fetch it again"
            )
    return sizes


def _matrix(named: Mapping[str, Any], name: str, file: Path) -> tuple[int, int]:
    shape = tuple(named[name].shape)
    if len(shape) != 2:
        raise UsageError(f"{file}: {_theirs(name)} is of shape {list(shape)}, no matrix; fetch it again")
    return int(shape[0]), int(shape[1])


def _theirs(name: str) -> str:
    """The released file's name of one of our tensors."""
    for theirs, own in _PROJECTION.items():
        if own == name:
            return theirs
    part, index, _ = name.split(".")
    kind = next(kind for kind, own in _OWN.items() if own == part)
    return f"audio_processor.blocks.{index}.cross_attn.processor.{kind}_proj.weight"
