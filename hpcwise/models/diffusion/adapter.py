"""Family `diffusers`: text or image to picture or video latents, by any pipeline that diffusers has.

Stages: `image` (one picture), `sketch` (latents of a video, in chained segments), `decode` (their pictures).
Which components a replica loads follows from the card: a DiT replica has no decoder's work to do, a VAE
replica loads nothing else. The pipeline's own `__call__` runs; the loop inside it is left and entered through
its sampler (sampler.py), so every step can be the last one here and go on elsewhere.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.models.base import Call, Devices, Input, LoopState, ModelSpec, OnStep, Output
from hpcwise.models.diffusion import decode, sampler
from hpcwise.models.diffusion.checkpoint import check, denoisers
from hpcwise.models.frames import checked, write_frames
from hpcwise.models.parallel.shared import Replica
from hpcwise.models.parallel.usp import ParallelOptions

_TEXT: Final = frozenset({"text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"})
DTYPES: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
#: Loss of precision that turns up as infinities: the latents are looked at this often, in steps.
_LOOK_STEPS: Final = 8


class DiffusersOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a model card. parts: what of the pipeline this model is: all of it, its denoiser with the encoders
    that condition it, or its decoder alone. call: arguments of every call of the pipeline. video: whether it
    makes one. from_image: whether it starts from a picture; last_image: whether it was trained to end in one
    (asked by stages that have one). fps, most_frames: the model's own rate, 0 for any, and its longest clip.
    sampler: a class of diffusers and its settings,
    in place of the checkpoint's. backend: of attention, by diffusers' names. compile: torch.compile for the
    transformer's blocks. first_block: threshold of the first-block cache, 0 for none. parallel: how the
    processes of a replica share the denoiser. """

    parts: Literal["all", "denoise", "decode"] = "all"
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
    parallel: ParallelOptions = ParallelOptions()


#: Components of a pipeline that denoise; some have one for early steps and one for late ones.
DENOISERS: Final = ("transformer", "transformer_2")


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


class DiffusersAdapter:
    """See the module. Loaded once; the components of one pipeline serve all calls."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Raises ModelMissing for a checkpoint that is not whole, UsageError for a card that is wrong."""
        import diffusers

        options = converted(spec.options, DiffusersOptions, f"model {spec.name}: options")
        assert spec.path is not None, "the registry names a checkpoint's folder"
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._options, self._name = options, spec.name
        self._device = (
            torch.device(devices.kind, devices.indices[0]) if devices.kind == "cuda" else torch.device("cpu")
        )
        torch.set_num_threads(max(1, devices.threads))
        dtype = DTYPES[options.dtype]
        check(spec.path, spec.name)
        if devices.world > 1 and options.first_block:
            raise UsageError(
                f"model {spec.name}: options.first_block: ranks could skip different steps; leave it out "
                "where a replica has several processes"
            )
        if options.parts == "decode":
            # One process decodes, frame by frame; the others of a gang have nothing to do with it.
            if devices.rank == 0:
                self._vae = decode.load_vae(spec.path, dtype, self._device)
            return
        if devices.rank:
            self._share(denoisers(spec.path, dtype, self._device), devices)
            return
        diffusers.utils.logging.set_verbosity_error()
        pipe = diffusers.DiffusionPipeline.from_pretrained(spec.path, dtype=dtype, local_files_only=True)
        if options.sampler:
            cls = getattr(diffusers, options.sampler, None)
            if cls is None:
                raise UsageError(f"model {spec.name}: options.sampler: diffusers has no {options.sampler!r}")
            pipe.scheduler = cls.from_config(pipe.scheduler.config, **options.sampler_options)
        sees_picture = getattr(getattr(getattr(pipe, "transformer", None), "config", None), "image_dim", None)
        if sees_picture and options.call.get("max_sequence_length", 512) != 512:
            # diffusers takes all but the last 512 tokens for the picture's, whatever the text's length.
            raise UsageError(f"model {spec.name}: options.call.max_sequence_length: leave it at 512")
        pipe.set_progress_bar_config(disable=True)
        pipe.to(self._device)
        self._share({part: model for part in DENOISERS if (model := getattr(pipe, part, None))}, devices)
        self._pipe, self._sampler = pipe, pipe.scheduler

    def _share(self, models: Mapping[str, Any], devices: Devices) -> None:
        for model in models.values():
            self._tune(model)
        self._transformer, self._replica = models.get("transformer"), None
        if devices.world > 1:
            self._replica = Replica(models, self._options.parallel, devices, self._name)

    def assist(self, payload: bytes) -> None:
        """Ranks other than 0: their part of one call of the denoiser."""
        assert self._replica is not None
        self._replica.assist(payload)

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """`image`: picture.png. `sketch`: latents.h5 a segment. `decode`: frames.mkv."""
        params = converted(call.params, DiffuseParams, call.stage)
        if call.stage == "decode":
            yield self._decode(call, params, on_step)
        elif call.stage == "image":
            yield self._picture(call, params, on_step)
        elif call.stage == "sketch":
            yield from self._sketch(call, params, on_step)
        else:
            raise UsageError(f"model {self._name}: stage is {call.stage!r}; it does image, sketch and decode")

    # -- stages ------------------------------------------------------------------------------------------

    def _picture(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Output:
        loop = Loop(call, params, 0, 1, on_step, self._preview)
        made = self._generate(loop, params, {**self._given_picture(call), "output_type": "pil"})
        path = call.work / "picture.png"
        made.images[0].save(path)
        return Output(
            files={"picture.png": path}, facts={"w": made.images[0].width, "h": made.images[0].height}
        )

    def _sketch(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Iterator[Output]:
        """One chunk a segment. Each later one starts from the last picture of the one before, which only that
        one's own decoded end shows exactly."""
        assert call.latents is not None
        given = self._given_picture(call)
        params = self._in_frames(params)
        for chunk in range(call.first_chunk, params.chunks):
            if chunk and self._options.from_image:
                assert call.own is not None
                given = {"image": picture_of(call.own(chunk - 1))}
            loop = Loop(call, params, chunk, params.chunks, on_step, self._preview)
            latents = self._generate(loop, params, {**given, "output_type": "latent"})
            latents = latents.frames if hasattr(latents, "frames") else latents.images
            if not bool(torch.isfinite(latents).all()):
                raise BadOutput(f"{self._name}: latents that are no numbers, segment {chunk}")
            path = call.work / f"latents-{chunk}.h5"
            kind, array = _plain(latents[0])
            call.latents.write(
                path, array, dtype=kind, scale=1.0, sampler=type(self._sampler).__name__, step=loop.steps
            )
            facts = {
                "latent_frames": int(latents.shape[2]), "chained": chunk > 0, "fps": params.fps,
                "model": self._name,
            }  # fmt: skip
            if self._options.from_image and chunk + 1 < params.chunks:
                end = call.work / f"end-{chunk}.png"
                self._last_picture(latents).save(end)
                yield Output(files={"latents.h5": path, "end.png": end}, facts=facts)
            else:
                yield Output(files={"latents.h5": path}, facts=facts)

    def _decode(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Output:
        assert call.latents is not None
        source = next(iter(call.inputs["latents"]))
        array, kind = call.latents.read(source, "latents.h5")
        latents = _tensor(array, kind).unsqueeze(0).to(self._device)
        total = int(latents.shape[2])
        fps = int(source.facts.get("fps", params.fps))
        path = call.work / "frames.mkv"
        pictures = decode.pictures(self._vae, latents, lambda done: on_step(done, total, "decoding"))
        # The first picture of a segment that goes on is the last one of the segment before it.
        skip = 1 if source.facts.get("chained") else 0
        kept = (frame for index, frame in enumerate(pictures) if index >= skip)
        frames = write_frames(path, checked(kept, self._name), fps)
        height, width = (side * decode.spatial(self._vae) for side in latents.shape[-2:])
        return Output(
            files={"frames.mkv": path}, facts={"frames": frames, "fps": fps, "w": width, "h": height}
        )

    # -- the loop ----------------------------------------------------------------------------------------

    def _generate(self, loop: Loop, params: DiffuseParams, given: Mapping[str, Any]) -> Any:
        """Run the pipeline from its first step, or from the last one that a checkpoint holds."""
        done, state = loop.begin()
        generator = torch.Generator(self._device).manual_seed(loop.seed)
        torch.random.manual_seed(loop.seed)
        width, height = params.size
        named: dict[str, Any] = {
            **self._options.call, **given, "prompt": params.prompt, "width": width, "height": height,
            "num_inference_steps": params.steps, "generator": generator,
        }  # fmt: skip
        if params.negative_prompt:
            named["negative_prompt"] = params.negative_prompt
        if self._options.video:
            named["num_frames"] = params.frames
        if state is not None:
            sampler.restore_random(state, generator)
            named["latents"] = sampler.latents_of(state, self._device)
        self._pipe.scheduler = sampler.resumable(self._sampler, state, done)
        loop.done = done

        def after(pipe: Any, _index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            loop.after(pipe.scheduler, tensors["latents"], generator)
            return tensors

        with torch.no_grad():
            return self._pipe(**named, callback_on_step_end=after)

    def _in_frames(self, params: DiffuseParams) -> DiffuseParams:
        """The recipe with the model's rate and a number of frames that its VAE can make: 4n + 1."""
        fps = self._options.fps or params.fps
        # A segment that goes on gives its first picture away.
        wanted = params.frames or math.ceil(params.seconds * fps) + (params.chunks > 1)
        frames = min(4 * math.ceil((wanted - 1) / 4) + 1, self._options.most_frames)
        return msgspec.structs.replace(params, fps=fps, frames=max(5, frames))

    def _given_picture(self, call: Call) -> dict[str, Any]:
        if not self._options.from_image:
            return {}
        source = next(iter(call.inputs["image"]))
        return {"image": picture_of(source)}

    def _last_picture(self, latents: torch.Tensor) -> Any:
        from PIL import Image

        *_, last = decode.pictures(self._pipe.vae, latents, lambda _: None)
        return Image.fromarray(last)

    def _preview(self, latents: torch.Tensor) -> bytes:
        return preview_jpeg(latents)

    def _tune(self, model: Any) -> None:
        options = self._options
        if options.backend:
            model.set_attention_backend(options.backend)
        if options.first_block:
            from diffusers import FirstBlockCacheConfig

            model.enable_cache(FirstBlockCacheConfig(threshold=options.first_block))
        if options.compile:
            model.compile_repeated_blocks(fullgraph=True)


class Loop:
    """One denoising loop: what it reports and keeps after each step."""

    def __init__(
        self,
        call: Call,
        params: DiffuseParams,
        chunk: int,
        chunks: int,
        on_step: OnStep,
        preview: Callable[[torch.Tensor], bytes],
    ) -> None:
        self._call, self._chunk, self._chunks = call, chunk, chunks
        self._on_step, self._preview = on_step, preview
        self.steps = params.steps
        self.seed = call.seed + chunk
        self.done = 0

    def begin(self) -> tuple[int, LoopState | None]:
        """Steps done and state of the checkpoint to go on from."""
        kept = self._call.checkpoints.latest(self._chunk) if self._call.checkpoints is not None else None
        if kept is None or kept[0] >= self.steps:
            return 0, None
        return kept

    def after(self, of: Any, latents: torch.Tensor, generator: torch.Generator) -> None:
        """A step is done. Raises Stopped when the task is to stop, BadOutput for numbers that are none."""
        self.done += 1
        if self.done % _LOOK_STEPS == 0 and not bool(torch.isfinite(latents).all()):
            raise BadOutput(f"latents that are no numbers after step {self.done}")
        base, total = self._chunk * self.steps, self._chunks * self.steps
        if self._call.preview is not None and latents.ndim == 5:
            self._call.preview(lambda: self._preview(latents))
        if self._call.checkpoints is not None and self.done < self.steps:
            self._call.checkpoints.offer(
                self._chunk, self.done, (base + self.done) / total,
                lambda: sampler.loop_state(of, latents, generator),
            )  # fmt: skip
        self._on_step(base + self.done, total, f"step {self.done} of {self.steps}")


def preview_jpeg(latents: torch.Tensor) -> bytes:
    """A small picture of the middle frame: three fixed mixtures of the channels, spread over the range."""
    from PIL import Image

    middle = latents[0, :, latents.shape[2] // 2].float().cpu()
    channels = middle.shape[0]
    mix = torch.tensor(
        [[np.cos(2.1 * c + 2.0 * rgb) for c in range(channels)] for rgb in range(3)], dtype=torch.float32
    )
    picture = torch.einsum("rc,chw->hwr", mix / channels, middle)
    low, high = picture.amin(), picture.amax()
    scaled = ((picture - low) / (high - low).clamp_min(1e-6) * 255).to(torch.uint8).numpy()
    held = io.BytesIO()
    Image.fromarray(scaled).resize((scaled.shape[1] * 4, scaled.shape[0] * 4)).save(held, "JPEG", quality=70)
    return held.getvalue()


def converted(raw: Mapping[str, Any], kind: type[Any], where: str) -> Any:
    """`raw` as a `kind`; raises UsageError that names the field."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}") from error


def picture_of(source: Input) -> Any:
    from PIL import Image

    for name in ("picture.png", "crop.png", "end.png", "backdrop.png"):
        path = Path(source.path) / name
        if path.is_file():
            with Image.open(path) as opened:
                return opened.convert("RGB")
    raise BadOutput("the input holds no picture")


def _plain(tensor: torch.Tensor) -> tuple[str, Any]:
    held = tensor.detach().cpu().contiguous()
    if held.dtype == torch.bfloat16:
        return "bfloat16", held.view(torch.uint16).numpy()
    return str(held.dtype).removeprefix("torch."), held.numpy()


def _tensor(array: Any, kind: str) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if kind == "bfloat16" else tensor
