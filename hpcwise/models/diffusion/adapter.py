"""Family `diffusers`: text or image to picture or video latents, by any pipeline that diffusers has.

Stages: `encode` (conditions of a prompt), `image` and `edit` (one picture), `sketch`, also called `denoise`
(latents of a video, in chained segments), `decode` (their pictures), `animate` (both at once).
Which components a replica loads follows from the card: a DiT replica has no decoder's work to do, a VAE
replica loads nothing else. The pipeline's own `__call__` runs; the loop inside it is left and entered through
its sampler (sampler.py), so every step can be the last one here and go on elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from hpcwise.core.errors import BadOutput, UsageError
from hpcwise.models.base import Call, Devices, Input, ModelSpec, OnStep, Output
from hpcwise.models.device import device_of
from hpcwise.models.diffusion import decode, look, sampler, stepcache, text
from hpcwise.models.diffusion.checkpoint import DENOISERS, check, denoisers, not_loaded
from hpcwise.models.diffusion.grid import fitted, grid_of, named_for
from hpcwise.models.diffusion.loop import Loop as Loop
from hpcwise.models.diffusion.options import DTYPES as DTYPES
from hpcwise.models.diffusion.options import DiffuseParams as DiffuseParams
from hpcwise.models.diffusion.options import DiffusersOptions, picture_of, plain, tensor_of
from hpcwise.models.diffusion.options import converted as converted
from hpcwise.models.frames import Frame, checked, write_frames
from hpcwise.models.parallel.shared import Replica

_VIDEO: Final = ("sketch", "denoise", "animate")
#: What each part of a pipeline can do.
_STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "all": ("encode", "image", "edit", *_VIDEO, "decode"),
    "encode": ("encode",),
    "denoise": ("sketch", "denoise"),
    "decode": ("decode",),
}


class DiffusersAdapter:
    """See the module. Loaded once; the components of one pipeline serve all calls. passes: of the denoiser in
    a step with guidance. skips: whether steps may be skipped by the first-block cache."""

    passes = 2
    skips = True
    _replica: Replica | None = None

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Raises ModelMissing for a checkpoint that is not whole, UsageError for a card that is wrong."""
        import diffusers

        options = converted(spec.options, DiffusersOptions, f"model {spec.name}: options")
        assert spec.path is not None, "the registry names a checkpoint's folder"
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._options, self._name = options, spec.name
        self._device = device_of(devices)
        dtype = DTYPES[options.dtype]
        spared = not_loaded(options.parts, options.text)
        index = check(spec.path, spec.name, spared)
        if options.first_block and not self.skips:
            of = f"the family {spec.family} has no use for it"
            raise UsageError(f"model {spec.name}: options.first_block: {of}; leave it out")
        if options.first_block and devices.world > 1:
            raise UsageError(
                f"model {spec.name}: options.first_block: ranks could skip different steps; leave it out "
                "where a replica has several processes"
            )
        together = devices.world > 1 and options.parallel.vae
        if options.parts == "decode":
            # One process decodes, frame by frame, and the others have nothing to do with it; or all do.
            if devices.rank == 0 or together:
                self._vae = decode.load_vae(spec.path, dtype, self._device)
            if together:
                self._replica = Replica({}, options.parallel, devices, self._name, vae=self._vae)
            return
        if devices.rank:
            if options.parts == "encode":
                return
            vae = decode.load_vae(spec.path, dtype, self._device) if together else None
            self._share(denoisers(spec.path, dtype, self._device), devices, vae)
            return
        diffusers.utils.logging.set_verbosity_error()
        absent = dict.fromkeys(name for name in spared if name in index)
        # The class itself: DiffusionPipeline would load components that are left out where they are optional.
        named = options.pipeline or str(index.get("_class_name"))
        kind = getattr(diffusers, named, None)
        if kind is None:
            raise UsageError(f"model {spec.name}: diffusers {diffusers.__version__} has no pipeline {named}")
        pipe = kind.from_pretrained(spec.path, dtype=dtype, local_files_only=True, **absent)
        if options.sampler:
            cls = getattr(diffusers, options.sampler, None)
            if cls is None:
                raise UsageError(f"model {spec.name}: options.sampler: diffusers has no {options.sampler!r}")
            pipe.scheduler = cls.from_config(pipe.scheduler.config, **options.sampler_options)
        if options.parts != "encode":
            sampler.check_supported(pipe.scheduler, spec.name)
        sees_picture = getattr(getattr(getattr(pipe, "transformer", None), "config", None), "image_dim", None)
        if sees_picture and options.call.get("max_sequence_length", 512) != 512:
            # diffusers takes all but the last 512 tokens for the picture's, whatever the text's length.
            raise UsageError(f"model {spec.name}: options.call.max_sequence_length: leave it at 512")
        pipe.set_progress_bar_config(disable=True)
        pipe.to(self._device)
        self._pipe, self._sampler = pipe, pipe.scheduler
        if options.parts != "encode":
            self._grid, self._vae = grid_of(pipe), pipe.vae
            self._factor = look.factor_of(pipe.vae, video=options.video)
            if not options.video:
                decode.patiently(pipe.vae)
            models = {part: model for part in DENOISERS if (model := getattr(pipe, part, None))}
            self._share(models, devices, pipe.vae if together else None)

    def _share(self, models: Mapping[str, Any], devices: Devices, vae: Any = None) -> None:
        for model in models.values():
            self._tune(model)
        self._transformer = models.get("transformer")
        if devices.world > 1:
            self._replica = Replica(
                models, self._options.parallel, devices, self._name, vae=vae, passes=self.passes
            )

    def assist(self, payload: bytes) -> None:
        """Ranks other than 0: their part of one call of the denoiser, or of the decoder."""
        assert self._replica is not None
        self._replica.assist(payload)

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """`encode`: a file for each condition. `image`, `edit`: picture.png. `sketch`, `denoise`: latents.h5
        a segment. `decode`: frames.mkv. `animate`: frames.mkv a segment."""
        params = converted(call.params, DiffuseParams, call.stage)
        known = _STAGES[self._options.parts]
        if call.stage not in known:
            raise UsageError(f"model {self._name}: stage is {call.stage!r}; it does {', '.join(known)}")
        if call.stage == "decode":
            yield self._decode(call, params, on_step)
        elif call.stage == "encode":
            yield self._encode(call, params, on_step)
        elif call.stage in _VIDEO:
            yield from self._clips(call, params, on_step)
        else:
            yield self._picture(call, params, on_step)

    @property
    def batch(self) -> int:
        """Prompts at once, where text encoders stand alone."""
        return self._options.batch if self._options.parts == "encode" else 1

    def run_batch(
        self, calls: Sequence[Call], on_step: OnStep, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output]]:
        """Stage `encode`."""
        asked = [self._within_tokens(converted(call.params, DiffuseParams, call.stage)) for call in calls]
        on_step(0, 1, f"encoding {len(calls)} prompts")
        prompts = [params for params, _ in asked]
        many = text.encoded_together(self._pipe, prompts, self._options.call, self._device)
        for index, (call, conditions) in enumerate(zip(calls, many, strict=True)):
            yield index, Output(files=text.written(call, conditions), facts=asked[index][1])

    # -- stages ------------------------------------------------------------------------------------------

    def _encode(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Output:
        params, facts = self._within_tokens(params)
        on_step(0, 1, "encoding the prompt")
        conditions = text.encoded(self._pipe, params, self._options.call, self._device)
        on_step(1, 1, "encoded")
        return Output(files=text.written(call, conditions), facts=facts)

    def _picture(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Output:
        fitted(params, self._options, self._grid, self._name)
        asked, facts = self._asked(call, params)
        loop = Loop(call, params, 0, 1, on_step, self._preview)
        given = {**asked, **self._given_picture(call), "output_type": "pil"}
        (picture,) = self._generate(loop, params, given).images
        for _ in checked([np.asarray(picture.convert("RGB"))], self._name):
            pass
        path = call.work / "picture.png"
        picture.save(path)
        return Output(files={"picture.png": path}, facts={"w": picture.width, "h": picture.height, **facts})

    def _clips(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Iterator[Output]:
        """One chunk a segment. Each later one starts from the last picture of the one before, which only that
        one's own decoded end shows exactly. Latents are committed before anything decodes them."""
        assert call.latents is not None
        given = self._given_picture(call)
        params = fitted(params, self._options, self._grid, self._name)
        asked, cut = self._asked(call, params)
        for chunk in range(call.first_chunk, params.chunks):
            if chunk and self._options.from_image:
                given = {"image": self._end_of(call, chunk - 1)}
            loop = Loop(call, params, chunk, params.chunks, on_step, self._preview)
            latents, noise, files = self._denoised(loop, params, {**asked, **given}, call)
            chained = chunk > 0 and self._options.from_image
            facts = {
                "latent_frames": int(latents.shape[2]), "chained": chained, "fps": params.fps,
                "model": self._name, **cut, **(noise.facts if noise is not None else {}),
            }  # fmt: skip
            if call.stage == "animate":
                path = call.work / f"frames-{chunk}.mkv"
                shown = self._write(path, latents, noise, facts, on_step)
                yield Output(files={"frames.mkv": path, **files}, facts={**cut, **shown})
            else:
                yield Output(files=files, facts=facts)

    def _denoised(
        self, loop: Loop, params: DiffuseParams, given: Mapping[str, Any], call: Call
    ) -> tuple[torch.Tensor, decode.Noise | None, dict[str, Path]]:
        """Latents of one segment, what its decoder mixes in, and the files that hold both."""
        assert call.latents is not None
        made = self._generate(loop, params, {**given, "output_type": "latent"}).frames
        latents = decode.unpacked(self._pipe, made, params.frames, *params.size)
        if not bool(torch.isfinite(latents).all()):
            raise BadOutput(f"{self._name}: latents that are no numbers, segment {loop.chunk}")
        noise = decode.noise_for(self._pipe, latents, loop.generator, self._options.call)
        files = {}
        for name, tensor in (("latents", latents), ("noise", None if noise is None else noise.drawn)):
            if tensor is None:
                continue
            path = files[f"{name}.h5"] = call.work / f"{name}-{loop.chunk}.h5"
            kind, array = plain(tensor[0])
            call.latents.write(
                path, array, dtype=kind, scale=1.0, sampler=type(self._sampler).__name__, step=loop.steps
            )
        return latents, noise, files

    def _decode(self, call: Call, params: DiffuseParams, on_step: OnStep) -> Output:
        source = next(iter(call.inputs["latents"]))
        facts = {"fps": params.fps, **source.facts}
        path = call.work / "frames.mkv"
        shown = self._write(path, *self._read(call, source), facts, on_step)
        return Output(files={"frames.mkv": path}, facts=shown)

    def _read(self, call: Call, source: Input) -> tuple[torch.Tensor, decode.Noise | None]:
        """Raises UsageError for latents that this decoder cannot take: another model's, or no floats."""
        assert call.latents is not None
        array, kind = call.latents.read(source, "latents.h5")
        decode.check_latents(self._vae, array.shape, kind, self._name)
        latents = tensor_of(array, kind).unsqueeze(0).to(self._device)
        if not (source.path / "noise.h5").is_file():
            return latents, None
        drawn = tensor_of(*call.latents.read(source, "noise.h5")).unsqueeze(0).to(self._device)
        told = source.facts["decode_timestep"], source.facts["decode_noise_scale"]
        return latents, decode.Noise(drawn, *told)

    def _write(
        self, path: Path, latents: torch.Tensor, noise: decode.Noise | None, of: Mapping[str, Any],
        on_step: OnStep,
    ) -> dict[str, Any]:  # fmt: skip
        """The pictures of `latents`, in `path`; the facts of the file."""
        total = int(latents.shape[2])
        pictures = self._pictures(latents, lambda done: on_step(done, total, "decoding"), noise)
        # The first picture of a segment that goes on is the last one of the segment before it.
        skip = int(of.get("overlap", 1 if of.get("chained") else 0))
        kept = (frame for index, frame in enumerate(pictures) if index >= skip)
        fps = int(of["fps"])
        frames = write_frames(path, checked(kept, self._name), fps)
        height, width = (side * decode.spatial(self._vae) for side in latents.shape[-2:])
        return {"frames": frames, "fps": fps, "w": width, "h": height}

    def _end_of(self, call: Call, chunk: int) -> Any:
        """The last picture of a segment that is committed."""
        from PIL import Image

        assert call.own is not None
        latents, noise = self._read(call, call.own(chunk))
        *_, last = self._pictures(latents, lambda _: None, noise)
        return Image.fromarray(last)

    def _pictures(
        self, latents: torch.Tensor, on_frame: Callable[[int], object], noise: decode.Noise | None = None
    ) -> Iterator[Frame]:
        shared = self._replica.vae if self._replica is not None else None
        return decode.pictures(self._vae, latents, on_frame, noise, shared)

    # -- the loop ----------------------------------------------------------------------------------------

    def _generate(self, loop: Loop, params: DiffuseParams, given: Mapping[str, Any]) -> Any:
        """Run the pipeline from its first step, or from the last one that a checkpoint holds."""
        done, state = loop.begin()
        generator = loop.generator = torch.Generator(self._device).manual_seed(loop.seed)
        torch.random.manual_seed(loop.seed)
        width, height = params.size
        named: dict[str, Any] = {
            **named_for(self._pipe, params, self._options.call), **self._options.call,
            "prompt": params.prompt, "negative_prompt": params.negative_prompt or None, **given,
            "width": width, "height": height, "num_inference_steps": params.steps, "generator": generator,
        }  # fmt: skip
        if named["negative_prompt"] is None:
            del named["negative_prompt"]
        if self._options.video:
            named["num_frames"] = params.frames
        if state is not None:
            sampler.restore_random(state, generator)
            named["latents"] = sampler.latents_of(state, self._device)
        if self._options.first_block:
            cached = {part: model for part in DENOISERS if (model := getattr(self._pipe, part, None))}
            stepcache.begin(cached, state, self._device)
            loop.cached = lambda: stepcache.held(cached)
        self._pipe.scheduler = sampler.resumable(self._sampler, state, done)
        loop.done = done

        def after(pipe: Any, _index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            loop.after(pipe.scheduler, tensors["latents"], generator)
            return tensors

        with torch.no_grad():
            return self._pipe(**named, callback_on_step_end=after)

    def _asked(self, call: Call, params: DiffuseParams) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments that say what is to be seen, and facts about them."""
        if "prompt" in call.inputs:
            conditions = text.read(call, next(iter(call.inputs["prompt"])), self._device)
            return {**conditions, "prompt": None, "negative_prompt": None}, {}
        if not self._options.text:
            raise UsageError(
                f"model {self._name}: has no text encoder (options.text); give it an input `prompt`"
            )
        params, facts = self._within_tokens(params)
        return {"prompt": params.prompt, "negative_prompt": params.negative_prompt or None}, facts

    def _within_tokens(self, params: DiffuseParams) -> tuple[DiffuseParams, dict[str, Any]]:
        """A prompt that is too long is cut, and the facts say what was left out."""
        kept, left_out = text.cut(self._pipe, params.prompt, self._options.call)
        never, _ = text.cut(self._pipe, params.negative_prompt, self._options.call)
        facts = {"prompt_left_out": left_out} if left_out else {}
        return msgspec.structs.replace(params, prompt=kept, negative_prompt=never), facts

    def _given_picture(self, call: Call) -> dict[str, Any]:
        if not self._options.from_image:
            return {}
        return {"image": picture_of(next(iter(call.inputs["image"])))}

    def _preview(self, latents: torch.Tensor, params: DiffuseParams) -> bytes:
        grid = decode.unpacked(self._pipe, latents, params.frames, *params.size)
        return look.preview_jpeg(grid, self._vae, self._factor)

    def _tune(self, model: Any) -> None:
        options = self._options
        if options.backend:
            model.set_attention_backend(options.backend)
        if options.first_block:
            from diffusers import FirstBlockCacheConfig

            model.enable_cache(FirstBlockCacheConfig(threshold=options.first_block))
        if options.compile:
            model.compile_repeated_blocks(fullgraph=True)
