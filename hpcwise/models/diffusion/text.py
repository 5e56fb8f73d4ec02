"""Prompts: as long as an encoder takes, and encoded apart from the denoiser.

Text encoders are as large as small denoisers and needed for a moment: they may be a stage with replicas of
its own. What they give travels as latents do, and a denoiser that gets it needs no text encoder.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.models.base import Call, Input
from hpcwise.models.diffusion.options import DiffuseParams, plain, tensor_of

#: What `encode_prompt` of a pipeline returns, by the beginning of its name; "" is not handed on.
_RETURNS: Final[Mapping[str, tuple[str, ...]]] = {
    "Wan": ("prompt_embeds", "negative_prompt_embeds"),
    "Flux": ("prompt_embeds", "pooled_prompt_embeds", ""),
    "LTX": (
        "prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask",
    ),
    "HunyuanVideoFramepack": ("prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask"),
}  # fmt: skip
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+")


def cut(pipe: Any, text: str, options: Mapping[str, Any]) -> tuple[str, str]:
    """The prompt as far as the encoder reads, and the rest: cut after a sentence where half remains, else
    after a word. A pipeline would cut it anywhere, and say nothing."""
    tokenizer = getattr(pipe, "tokenizer_2", None) if type(pipe).__name__.startswith("Flux") else None
    tokenizer = tokenizer or getattr(pipe, "tokenizer", None)
    limit = _limit(pipe, options)
    if tokenizer is None or not limit or _tokens(tokenizer, text) <= limit:
        return text, ""
    for pieces in (_SENTENCE.split(text), text.split()):
        low, high = 0, len(pieces)
        while low < high:  # the most pieces that fit
            middle = (low + high + 1) // 2
            if _tokens(tokenizer, " ".join(pieces[:middle])) <= limit:
                low = middle
            else:
                high = middle - 1
        kept = " ".join(pieces[:low])
        if low and (len(kept) * 2 >= len(text) or pieces == text.split()):
            return kept, " ".join(pieces[low:])
    raise UsageError(f"prompt: its first word has more than the {limit} tokens that are read; shorten it")


def encoded(pipe: Any, params: DiffuseParams, options: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """Conditions by the argument of the pipeline that takes them. Raises UsageError for a pipeline whose
    encoders cannot stand apart."""
    (conditions,) = encoded_together(pipe, (params,), options, device)
    return conditions


def encoded_together(
    pipe: Any, many: Sequence[DiffuseParams], options: Mapping[str, Any], device: Any
) -> list[dict[str, Any]]:
    """The conditions of each, computed in one batch."""
    kind = type(pipe).__name__
    names = next((found for prefix, found in _RETURNS.items() if kind.startswith(prefix)), None)
    if names is None:
        raise UsageError(f"encode: {kind} does not take its prompts from elsewhere; use parts: all")
    known = inspect.signature(pipe.encode_prompt).parameters
    wanted = {
        "prompt": [params.prompt for params in many], "prompt_2": None,
        "negative_prompt": [params.negative_prompt for params in many],
        "do_classifier_free_guidance": True, "device": device,
        # As the pipeline's call has it: the default of encode_prompt may be another, and pads otherwise.
        "max_sequence_length": _limit(pipe, options),
        **{key: value for key, value in options.items() if key == "prompt_template"},
    }  # fmt: skip
    with torch.no_grad():
        found = pipe.encode_prompt(**{k: v for k, v in wanted.items() if k in known})
    held = {name: value for name, value in zip(names, found, strict=True) if name and value is not None}
    return [{name: value[i : i + 1] for name, value in held.items()} for i in range(len(many))]


def written(call: Call, conditions: Mapping[str, Any]) -> dict[str, Path]:
    """A file for each condition. Raises BadOutput for values that are no numbers."""
    assert call.latents is not None
    files = {}
    for name, tensor in conditions.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BadOutput(f"encode: {name} holds values that are no numbers")
        kind, array = plain(tensor)
        path = call.work / f"{name}.h5"
        call.latents.write(path, array, dtype=kind, scale=1.0, sampler="", step=0)
        files[f"{name}.h5"] = path
    return files


def read(call: Call, source: Input, device: Any) -> dict[str, Any]:
    """The conditions that `written` wrote."""
    assert call.latents is not None
    found = {}
    for path in sorted(Path(source.path).glob("*embeds.h5")) + sorted(Path(source.path).glob("*mask.h5")):
        array, kind = call.latents.read(source, path.name)
        tensor = tensor_of(array, kind)
        # A mask of truth values has no type of its own in a file.
        found[path.stem] = (tensor.bool() if kind == "uint8" else tensor).to(device)
    if "prompt_embeds" not in found:
        raise BadOutput("the input holds no encoded prompt")
    return found


def _limit(pipe: Any, options: Mapping[str, Any]) -> int:
    """Tokens that the pipeline reads of a prompt, 0 where it does not say."""
    known = inspect.signature(type(pipe).__call__).parameters.get("max_sequence_length")
    return int(options.get("max_sequence_length", known.default if known is not None else 0))


def _tokens(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text).input_ids)
