"""What a card may say of a diffusers model, what a recipe may ask of it, and small conversions of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.models.base import Input
from hpcwise.models.parallel.usp import ParallelOptions

DTYPES: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class DiffusersOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a model card. parts: what of the pipeline this model is: all of it, its text encoders alone, its
    denoiser with the encoders that condition it, or its decoder alone. text: whether a denoiser has text
    encoders of its own; without, prompts come from a stage `encode`. pipeline: class of diffusers, where it
    is to be another than the checkpoint says (image-to-video with text-to-video's files). call: arguments of
    every call of the pipeline. video: whether it makes one. from_image: whether it starts from a picture;
    last_image: whether it was trained to end in one (asked by stages that have one). fps, most_frames: the
    model's own rate, 0 for any, and its longest clip. sampler: a class of diffusers and its settings, in
    place of the checkpoint's. backend: of attention, by diffusers' names. compile: torch.compile for the
    transformer's blocks. first_block: threshold of the first-block cache, 0 for none. parallel: how the
    processes of a replica share the denoiser. batch: prompts that text encoders take at once; more than one
    may round otherwise, so the same prompt in other company gives other bits.
    """

    parts: Literal["all", "encode", "denoise", "decode"] = "all"
    text: bool = True
    pipeline: str = ""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    call: dict[str, Any] = {}
    video: bool = True
    from_image: bool = False
    last_image: bool = False
    fps: int = 0
    most_frames: int = 81
    sampler: str = ""
    sampler_options: dict[str, Any] = {}
    backend: str = ""
    compile: bool = False
    first_block: float = 0.0
    batch: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    parallel: ParallelOptions = ParallelOptions()


class DiffuseParams(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe. render_width, render_height: pixels that the model draws. chunks: segments of `frames`
    frames each (or `seconds` at the model's own rate) that go on where the one before ended. Fields of
    other stages are ignored."""

    prompt: str = ""
    negative_prompt: str = ""
    steps: int = 10
    render_width: int = 0
    render_height: int = 0
    width: int = 0
    height: int = 0
    frames: int = 0
    seconds: float = 0.0
    chunks: int = 1
    fps: int = 24
    segment: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.render_width or self.width, self.render_height or self.height


def converted(raw: Mapping[str, Any], kind: type[Any], where: str) -> Any:
    """`raw` as a `kind`; raises UsageError that names the field."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}") from error


def picture_of(source: Input) -> Any:
    """The picture that an input holds, in RGB."""
    from PIL import Image

    for name in ("picture.png", "crop.png", "end.png", "backdrop.png"):
        path = Path(source.path) / name
        if path.is_file():
            with Image.open(path) as opened:
                return opened.convert("RGB")
    raise BadOutput("the input holds no picture")


def plain(tensor: torch.Tensor) -> tuple[str, Any]:
    """dtype and numpy array of a tensor, as `Latents.write` takes them."""
    held = tensor.detach().cpu().contiguous()
    if held.dtype == torch.bfloat16:
        return "bfloat16", held.view(torch.uint16).numpy()
    if held.dtype == torch.bool:
        return "uint8", held.to(torch.uint8).numpy()
    return str(held.dtype).removeprefix("torch."), held.numpy()


def tensor_of(array: Any, kind: str) -> torch.Tensor:
    """The tensor of what `Latents.read` gave."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if kind == "bfloat16" else tensor
